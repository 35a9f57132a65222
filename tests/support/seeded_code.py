"""Programs with functions that use one instruction set extension of x86-64 each, in several languages.

Function N of each program is for extension N of :data:`SEEDS`. Its name contains ``partN_``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seed:
    """A use of one extension."""

    target: str
    """The features for GCC's attribute ``target``."""

    type: str
    """The type of the operands ``x`` and ``y``, and of the result."""

    expression: str
    assembly: str | None = None
    """The instruction, where Rust has no stable intrinsic for it."""


SEEDS = {
    "SSE3": Seed("sse3", "__m128", "_mm_hadd_ps(x, y)"),
    "SSSE3": Seed("ssse3", "__m128i", "_mm_shuffle_epi8(x, y)"),
    "SSE4.1": Seed("sse4.1", "__m128i", "_mm_mullo_epi32(x, y)"),
    "SSE4.2": Seed("sse4.2", "__m128i", "_mm_cmpgt_epi64(x, y)"),
    "POPCNT": Seed("popcnt", "long long", "_mm_popcnt_u64(x)"),
    "SSE4A": Seed("sse4a", "__m128i", "_mm_insert_si64(x, y)"),
    "AVX": Seed("avx", "__m256", "_mm256_add_ps(x, y)"),
    "AVX2": Seed("avx2", "__m256i", "_mm256_add_epi32(x, y)"),
    "FMA": Seed("fma", "__m256", "_mm256_fmadd_ps(x, y, y)"),
    "FMA4": Seed("fma4", "__m128", "_mm_macc_ps(x, y, y)", "vfmaddps xmm0, xmm0, xmm1, xmm1"),
    "XOP": Seed("xop", "__m128i", "_mm_rot_epi32(x, y)", "vprotd xmm0, xmm0, xmm1"),
    "F16C": Seed("f16c", "__m128", "_mm_cvtph_ps(_mm_castps_si128(x))"),
    "BMI1": Seed("bmi", "long long", "_andn_u64(x, y)"),
    "BMI2": Seed("bmi2", "long long", "_pdep_u64(x, y)"),
    "LZCNT": Seed("lzcnt", "long long", "_lzcnt_u64(x)"),
    "MOVBE": Seed(
        "movbe", "long long", '0; asm("movbe %1, %0" : "=r"(r) : "m"(global))', "movbe rax, [rdi]"
    ),
    "ADX": Seed("adx", "long long", '0; asm("adcx %1, %0" : "+r"(r) : "r"(x))', "adcx rax, rdi"),
    "AES": Seed("aes", "__m128i", "_mm_aesenc_si128(x, y)"),
    "VAES": Seed("vaes,avx2", "__m256i", "_mm256_aesenc_epi128(x, y)"),
    "PCLMULQDQ": Seed("pclmul", "__m128i", "_mm_clmulepi64_si128(x, y, 1)"),
    "VPCLMULQDQ": Seed("vpclmulqdq,avx2", "__m256i", "_mm256_clmulepi64_epi128(x, y, 1)"),
    "SHA": Seed("sha", "__m128i", "_mm_sha1nexte_epu32(x, y)"),
    "GFNI": Seed("gfni", "__m128i", "_mm_gf2p8mul_epi8(x, y)"),
    "RDRAND": Seed("rdrnd", "long long", "_rdrand64_step(&global)"),
    "RDSEED": Seed("rdseed", "long long", "_rdseed64_step(&global)"),
    "RDPID": Seed("rdpid", "long long", "_rdpid_u32()", "rdpid rax"),
    "CLFLUSHOPT": Seed("clflushopt", "long long", "0; _mm_clflushopt(&global)", "clflushopt [rdi]"),
    "CLWB": Seed("clwb", "long long", "0; _mm_clwb(&global)", "clwb [rdi]"),
    "RTM": Seed("rtm", "long long", "_xbegin()", "xtest"),
    "AVX-VNNI": Seed("avxvnni", "__m256i", "_mm256_dpbusd_avx_epi32(x, y, y)"),
    "AVX512F": Seed("avx512f", "__m512", "_mm512_add_ps(x, y)"),
    "AVX512VL": Seed("avx512vl", "__m256i", "_mm256_ternarylogic_epi32(x, y, y, 3)"),
    "AVX512BW": Seed("avx512bw", "__m512i", "_mm512_add_epi8(x, y)"),
    "AVX512DQ": Seed("avx512dq", "__m512i", "_mm512_mullo_epi64(x, y)"),
    "AVX512CD": Seed("avx512cd", "__m512i", "_mm512_conflict_epi32(x)"),
    "AVX512_IFMA": Seed("avx512ifma", "__m512i", "_mm512_madd52lo_epu64(x, y, y)"),
    "AVX512_VBMI": Seed("avx512vbmi", "__m512i", "_mm512_permutexvar_epi8(x, y)"),
    "AVX512_VBMI2": Seed("avx512vbmi2", "__m512i", "_mm512_shldv_epi32(x, y, y)"),
    "AVX512_VNNI": Seed("avx512vnni", "__m512i", "_mm512_dpbusd_epi32(x, y, y)"),
    "AVX512_BITALG": Seed("avx512bitalg", "__m512i", "_mm512_popcnt_epi8(x)"),
    "AVX512_VPOPCNTDQ": Seed("avx512vpopcntdq", "__m512i", "_mm512_popcnt_epi32(x)"),
    "AVX512_BF16": Seed("avx512bf16", "__m512bh", "_mm512_cvtne2ps_pbh((__m512)x, (__m512)x)"),
    "AVX512_FP16": Seed("avx512fp16", "__m512h", "_mm512_add_ph(x, y)"),
    "AMX_TILE": Seed("amx-tile", "long long", "0; _tile_zero(1)", "tilezero tmm1"),
    "AMX_INT8": Seed(
        "amx-int8,amx-tile", "long long", "0; _tile_dpbssd(0, 1, 2)", "tdpbssd tmm0, tmm1, tmm2"
    ),
}
"""By extension."""

_HEAD = "#include <x86intrin.h>\nunsigned long long global;\n"


def c_source() -> str:
    """C, which nvcc takes too."""
    return _HEAD + "".join(
        f'__attribute__((target("{seed.target}"))) {seed.type} part{number}_({seed.type} x, {seed.type} y)'
        f"{{ {seed.type} r = {seed.expression}; return r; }}\n"
        for number, seed in enumerate(SEEDS.values())
    )


_SHAPES = (
    # Explicit instantiation of a template: a weak symbol in a section of its own.
    """template <typename T> {a} T part{n}_(T x, T y) {{ T r = {e}; return r; }}
template {t} part{n}_<{t}>({t}, {t});
""",
    # Inline member function whose address is taken.
    """struct S{n} {{ {a} {t} part{n}_({t} x, {t} y) {{ {t} r = {e}; return r; }} }};
{t} (S{n}::*use{n})({t}, {t}) = &S{n}::part{n}_;
""",
    # Lambda.
    """{t} (*part{n}_())({t}, {t}) {{
    return []({t} x, {t} y) {a} -> {t} {{ {t} r = {e}; return r; }};
}}
""",
    # Handler of an exception.
    """{a} {t} part{n}_({t} x, {t} y) {{
    try {{ may_throw(); }} catch (int) {{ {t} r = {e}; return r; }}
    return x;
}}
""",
    # Virtual function.
    """struct B{n} {{ virtual {t} f({t} x, {t}) {{ return x; }} virtual ~B{n}() {{}} }};
struct part{n}_ : B{n} {{ {a} {t} f({t} x, {t} y) override {{ {t} r = {e}; return r; }} }};
B{n} *make{n}() {{ return new part{n}_; }}
""",
)


def cpp_source(shift: int = 0) -> str:
    """C++. With a shift from 0 to 4, each extension is in another kind of function."""
    functions = (
        _SHAPES[(number + shift) % len(_SHAPES)].format(
            n=number,
            t=seed.type,
            e=seed.expression,
            a=f'__attribute__((target("{seed.target}")))',
        )
        for number, seed in enumerate(SEEDS.values())
    )
    return _HEAD + "void may_throw();\n" + "".join(functions)


_RUST_FEATURES = {"bmi": "bmi1", "rdrnd": "rdrand", "pclmul": "pclmulqdq"}
_RUST_TYPES = {"long long": "i64", "__m512bh": "__m512", "__m512h": "__m512"}
_RUST = {
    "POPCNT": "_popcnt64(x) as i64",
    "BMI1": "_andn_u64(x as u64, y as u64) as i64",
    "BMI2": "_pdep_u64(x as u64, y as u64) as i64",
    "LZCNT": "_lzcnt_u64(x as u64) as i64",
    "RDRAND": "_rdrand64_step(&mut GLOBAL) as i64",
    "RDSEED": "_rdseed64_step(&mut GLOBAL) as i64",
    "AVX512_BF16": "core::mem::transmute(_mm512_cvtne2ps_pbh(x, x))",
    "AVX512_FP16": "core::mem::transmute(_mm512_add_ph(core::mem::transmute(x), core::mem::transmute(x)))",
}


def rust_source() -> str:
    """Rust: kernels with ``#[target_feature]`` that exported functions call without a check."""
    lines = [
        "#![allow(static_mut_refs, unused_unsafe, improper_ctypes_definitions)]",
        "use core::arch::{asm, x86_64::*};",
        "static mut GLOBAL: u64 = 0;",
    ]
    for number, (extension, seed) in enumerate(SEEDS.items()):
        if seed.assembly:
            lines.append(
                f'#[no_mangle] pub unsafe extern "C" fn part{number}_() {{\n'
                f'    asm!("{seed.assembly}", out("rax") _, out("xmm0") _);\n}}'
            )
            continue
        own = _RUST_TYPES.get(seed.type, seed.type)
        features = ",".join(_RUST_FEATURES.get(name, name) for name in seed.target.split(","))
        expression = re.sub(r"(\w+)\((.*), (\d)\)", r"\1::<\3>(\2)", seed.expression)
        lines.append(
            f'#[target_feature(enable = "{features}")] #[inline(never)]\n'
            f"unsafe fn part{number}_(x: {own}, y: {own}) -> {own} {{\n"
            f"    {_RUST.get(extension, expression)}\n}}\n"
            f'#[no_mangle] pub unsafe extern "C" fn run{number}(x: *mut {own}) {{\n'
            f"    *x = part{number}_(*x, *x.add(1));\n}}"
        )
    return "\n".join(lines) + "\n"


def cython_source() -> str:
    """Cython: functions for Python that call functions in C."""
    kernels = [
        f'    __attribute__((target("{seed.target}"), noinline)) static void part{number}_({seed.type} *p) {{\n'
        f"        {seed.type} x = p[0], y = p[1];\n"
        f"        {seed.type} r = {seed.expression}; p[0] = r;\n    }}"
        for number, seed in enumerate(SEEDS.values())
    ]
    return "\n".join(
        (
            '# cython: language_level=3\ncdef extern from *:\n    """',
            "    #include <x86intrin.h>\n    static unsigned long long global;",
            *kernels,
            '    """',
            *(f"    void part{number}_(void *p) noexcept nogil" for number in range(len(SEEDS))),
            *(
                f"def run{number}(buffer):\n"
                "    cdef unsigned char[::1] view = buffer\n"
                f"    part{number}_(&view[0])"
                for number in range(len(SEEDS))
            ),
        )
    )


FORTRAN = """
subroutine bits(x, y, z)
  integer(8) :: x, y, z(2)
  z = [int(popcnt(x), 8) + leadz(y), shiftl(x, y)]
end subroutine
subroutine reals(x, y)
  real :: x(1024), y(1024)
  y = x * y + anint(x)
end subroutine
subroutine integers(x, y)
  integer :: x(1024), y(1024)
  y = max(x, y) * x + popcnt(x)
end subroutine
subroutine long_integers(x, y)
  integer(8) :: x(1024), y(1024)
  y = max(x, y) * x
end subroutine
subroutine short_integers(x, y)
  integer(1) :: x(1024), y(1024)
  y = abs(x) + y
end subroutine
subroutine complexes(x, y)
  complex(8) :: x(1024), y(1024)
  y = x * y
end subroutine
"""
FORTRAN_FLAGS = {
    "SSE3": "-msse3",
    "SSSE3": "-mssse3",
    "SSE4.1": "-msse4.1",
    "SSE4.2": "-msse4.2",
    "POPCNT": "-mpopcnt",
    "LZCNT": "-mlzcnt",
    "BMI2": "-mbmi2",
    "AVX": "-mavx",
    "AVX2": "-mavx2",
    "FMA": "-mfma",
    "FMA4": "-mfma4",
    "XOP": "-mxop",
    "AVX512F": "-mavx512f",
    "AVX512BW": "-mavx512bw",
    "AVX512DQ": "-mavx512dq",
    "AVX512_VPOPCNTDQ": "-mavx512vpopcntdq",
}
"""Fortran has no intrinsics: the flags with which GCC uses an extension for :data:`FORTRAN`."""

LOOPS = {
    ".cpp": """
#include <numeric>
#include <stdexcept>
#include <vector>
template <typename T> struct Series {
    std::vector<T> values;
    T total(T factor) const {
        if (values.empty()) throw std::invalid_argument("empty");
        T sum = 0;
        for (const T &value : values) sum += value * factor + 1;
        return sum;
    }
};
long bits(const std::vector<unsigned long> &words) {
    return std::accumulate(words.begin(), words.end(), 0L, [](long sum, unsigned long word) {
        return sum + __builtin_popcountl(word) * 2;
    });
}
template struct Series<float>;
template struct Series<int>;
""",
    ".rs": """
#[no_mangle] pub extern "C" fn total(data: *const f32, length: usize) -> i64 {
    let values = unsafe { std::slice::from_raw_parts(data, length) };
    let doubled: Vec<f32> = values.iter().map(|value| value.mul_add(2.0, 1.0)).collect();
    doubled.iter().map(|value| value.to_bits().count_ones() as i64 * 3).sum()
}
#[no_mangle] pub extern "C" fn mix(data: *mut u64, length: usize) {
    for word in unsafe { std::slice::from_raw_parts_mut(data, length) } {
        *word = word.rotate_left(7).wrapping_mul(*word);
    }
}
#[no_mangle] pub extern "C" fn text(number: i32) -> usize {
    std::panic::catch_unwind(|| format!("{number:?}").len()).unwrap_or(0)
}
""",
    ".pyx": """
# cython: language_level=3, boundscheck=False, wraparound=False
def scale(float[::1] x, float[::1] y):
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        y[i] = x[i] * y[i] + 1
def largest(int[::1] x):
    cdef int i, most = 0
    for i in range(1024):
        most = max(most, x[i] * 2)
    return most
cdef class Counter:
    cdef unsigned long count
    def add(self, unsigned long by):
        self.count = (self.count << by) + 1
        return self.count
""",
    ".cu": """
__global__ void scale(float *x) { x[threadIdx.x] *= 2; }
void launch(float *x) { scale<<<1, 256>>>(x); }
void host(float *__restrict__ x, const float *__restrict__ y, int *__restrict__ z) {
    for (int i = 0; i < 1024; i++) { x[i] = x[i] * y[i] + 1; z[i] = z[i] * z[i] > 9 ? z[i] : 9; }
}
int count(unsigned long x) { return __builtin_popcountl(x); }
""",
    ".f90": FORTRAN,
}
"""Programs without intrinsics, by the suffix of their language: compilers use extensions according to their flags."""

DETECTION = """
#include <cpuid.h>
/* As libgcc and compiler-rt have it. */
struct model { unsigned vendor, type, subtype, features[1]; } __cpu_model;
__attribute__((constructor)) void __cpu_indicator_init(void) {
    unsigned a, b, c, d, low, high, found = 0;
    if (__cpu_model.vendor || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) == 6) { if (b & 32) found |= 1 << 10; if (b & 65536) found |= 1 << 15; }
    __cpu_model.features[0] = found;
    __cpu_model.vendor = 1;
}
"""
"""What clang links for ``__builtin_cpu_supports`` on macOS and Windows."""
