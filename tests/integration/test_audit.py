"""``polywheel audit`` on wheels with programs that gcc compiles here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from polywheel.audit import x86_64
from polywheel.audit.audit import AuditOptions, audit_wheel
from polywheel.audit.binaries import binary_members, parse_binaries
from polywheel.audit.pool import ExamineOptions, examine_files
from support.binary_files import elf_file
from support.commands import polywheel
from support.wheels import wheel_files, zipped

pytestmark = pytest.mark.usefixtures("x86_64_gcc")

NAME = "demo-1.0-cp311-cp311-linux_x86_64.whl"
INTRINSICS = {
    # extension: target, type, expression of x and y
    "SSE3": ("sse3", "__m128", "_mm_hadd_ps(x, y)"),
    "SSSE3": ("ssse3", "__m128i", "_mm_shuffle_epi8(x, y)"),
    "SSE4.1": ("sse4.1", "__m128i", "_mm_mullo_epi32(x, y)"),
    "SSE4.2": ("sse4.2", "__m128i", "_mm_cmpgt_epi64(x, y)"),
    "POPCNT": ("popcnt", "long long", "_mm_popcnt_u64(x)"),
    "SSE4A": ("sse4a", "__m128i", "_mm_insert_si64(x, y)"),
    "AVX": ("avx", "__m256", "_mm256_add_ps(x, y)"),
    "AVX2": ("avx2", "__m256i", "_mm256_add_epi32(x, y)"),
    "FMA": ("fma", "__m256", "_mm256_fmadd_ps(x, y, y)"),
    "FMA4": ("fma4", "__m128", "_mm_macc_ps(x, y, y)"),
    "XOP": ("xop", "__m128i", "_mm_rot_epi32(x, y)"),
    "F16C": ("f16c", "__m128", "_mm_cvtph_ps(_mm_castps_si128(x))"),
    "BMI1": ("bmi", "long long", "_andn_u64(x, y)"),
    "BMI2": ("bmi2", "long long", "_pdep_u64(x, y)"),
    "LZCNT": ("lzcnt", "long long", "_lzcnt_u64(x)"),
    "MOVBE": ("movbe", "long long", '0; asm("movbe %1, %0" : "=r"(r) : "m"(global))'),
    "ADX": ("adx", "long long", '0; asm("adcx %1, %0" : "+r"(r) : "r"(x))'),
    "AES": ("aes", "__m128i", "_mm_aesenc_si128(x, y)"),
    "VAES": ("vaes,avx2", "__m256i", "_mm256_aesenc_epi128(x, y)"),
    "PCLMULQDQ": ("pclmul", "__m128i", "_mm_clmulepi64_si128(x, y, 1)"),
    "VPCLMULQDQ": ("vpclmulqdq,avx2", "__m256i", "_mm256_clmulepi64_epi128(x, y, 1)"),
    "SHA": ("sha", "__m128i", "_mm_sha1nexte_epu32(x, y)"),
    "GFNI": ("gfni", "__m128i", "_mm_gf2p8mul_epi8(x, y)"),
    "RDRAND": ("rdrnd", "long long", "_rdrand64_step(&global)"),
    "RDSEED": ("rdseed", "long long", "_rdseed64_step(&global)"),
    "RDPID": ("rdpid", "long long", "_rdpid_u32()"),
    "CLFLUSHOPT": ("clflushopt", "long long", "0; _mm_clflushopt(&global)"),
    "CLWB": ("clwb", "long long", "0; _mm_clwb(&global)"),
    "RTM": ("rtm", "long long", "_xbegin()"),
    "AVX-VNNI": ("avxvnni", "__m256i", "_mm256_dpbusd_avx_epi32(x, y, y)"),
    "AVX512F": ("avx512f", "__m512", "_mm512_add_ps(x, y)"),
    "AVX512VL": ("avx512vl", "__m256i", "_mm256_ternarylogic_epi32(x, y, y, 3)"),
    "AVX512BW": ("avx512bw", "__m512i", "_mm512_add_epi8(x, y)"),
    "AVX512DQ": ("avx512dq", "__m512i", "_mm512_mullo_epi64(x, y)"),
    "AVX512CD": ("avx512cd", "__m512i", "_mm512_conflict_epi32(x)"),
    "AVX512_IFMA": ("avx512ifma", "__m512i", "_mm512_madd52lo_epu64(x, y, y)"),
    "AVX512_VBMI": ("avx512vbmi", "__m512i", "_mm512_permutexvar_epi8(x, y)"),
    "AVX512_VBMI2": ("avx512vbmi2", "__m512i", "_mm512_shldv_epi32(x, y, y)"),
    "AVX512_VNNI": ("avx512vnni", "__m512i", "_mm512_dpbusd_epi32(x, y, y)"),
    "AVX512_BITALG": ("avx512bitalg", "__m512i", "_mm512_popcnt_epi8(x)"),
    "AVX512_VPOPCNTDQ": ("avx512vpopcntdq", "__m512i", "_mm512_popcnt_epi32(x)"),
    "AVX512_BF16": ("avx512bf16", "__m512bh", "_mm512_cvtne2ps_pbh((__m512)x, (__m512)x)"),
    "AVX512_FP16": ("avx512fp16", "__m512h", "_mm512_add_ph(x, y)"),
    "AMX_TILE": ("amx-tile", "long long", "0; _tile_zero(1)"),
    "AMX_INT8": ("amx-int8,amx-tile", "long long", "0; _tile_dpbssd(0, 1, 2)"),
}
EVERY = "#include <x86intrin.h>\nunsigned long long global;\n" + "".join(
    f'__attribute__((target("{target}"))) {type_} part{number}({type_} x, {type_} y)'
    f"{{ {type_} r = {expression}; return r; }}\n"
    for number, (target, type_, expression) in enumerate(INTRINSICS.values())
)
LOOP = """
static void add(float *restrict x, const float *restrict y) {
    for (int i = 0; i < 1024; i++) x[i] = x[i] * y[i] + 1;
}
int count(unsigned long x) { return __builtin_popcountl(x) + __builtin_ctzl(x); }
long run(float *x, float *y, long n) { add(x, y); return n * 3 + count(n); }
"""
CLONES = """
__attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
int sum(const int *x) { int s = 0; for (int i = 0; i < 1024; i++) s += x[i] * 2; return s; }
"""
ASKED = """
#include <immintrin.h>
__attribute__((target("avx2"), noinline)) static void fast(int *x) {
    _mm256_storeu_si256((__m256i *)x, _mm256_add_epi32(_mm256_loadu_si256((__m256i *)x), _mm256_set1_epi32(1)));
}
void run(int *x) { if (__builtin_cpu_supports("avx2")) fast(x); else x[0]++; }
static void (*chosen)(int *);
__attribute__((target("avx512f"), noinline)) static void wide(int *x) {
    _mm512_storeu_si512(x, _mm512_add_epi32(_mm512_loadu_si512(x), _mm512_set1_epi32(1)));
}
static void plain(int *x) { x[0]++; }
__attribute__((constructor)) static void choose(void) {
    chosen = __builtin_cpu_supports("avx512f") ? wide : plain;
}
void run_chosen(int *x) { chosen(x); }
"""
FORGOTTEN = """
__attribute__((target("avx2"))) float exported(const float *x) {
    float s = 0; for (int i = 0; i < 1024; i++) s += x[i] * 2; return s;
}
"""
DATA = """
.text
.globl before
.type before, @function
before:
    mov $1, %eax
    ret
    .byte 0xc5, 0xf5, 0xfe, 0xc2, 0x06, 0x0e, 0xff, 0xff    # vpaddd, and nonsense
    .byte 0xc4, 0xe2, 0x7d, 0x18, 0x00, 0x27, 0x17, 0x62
.size before, .-before
.globl after
.type after, @function
after:
    lea table(%rip), %rax
    ret
table:
    .byte 0xc5, 0xf5, 0xfe, 0xc2, 0xc5, 0xf5, 0xfe, 0xc2, 0xc3
"""


def compiled(folder: Path, code: str, *flags: str, suffix: str = ".c") -> bytes:
    """A shared library."""
    source, library = folder / f"source{suffix}", folder / "library.so"
    source.write_text(code, encoding="utf-8")
    command = ["gcc", "-O2", "-shared", "-fPIC", *flags, str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library.read_bytes()


def audited(folder: Path, files: dict[str, bytes], *options: str, code: int = 0) -> dict[str, Any]:
    """The JSON entry of a wheel with files."""
    wheel = folder / NAME
    wheel.write_bytes(zipped(wheel_files(files)))
    done = polywheel("audit", wheel, "--json", *options, cwd=folder, check=False, apart=True)
    assert done.returncode == code, done.stdout + done.stderr
    (entry,) = json.loads(done.stdout)["wheels"]
    assert isinstance(entry, dict)
    return entry


def errors(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The errors of a wheel by function."""
    found = [one for one in entry["findings"] if one["severity"] == "error"]
    return {one["symbol"]: one for one in found}


def test_every_extension_is_found_and_named(tmp_path: Path) -> None:
    entry = audited(tmp_path, {"demo/_core.so": compiled(tmp_path, EVERY)}, code=4)
    found = errors(entry)
    for number, extension in enumerate(INTRINSICS):
        finding = found.pop(f"part{number}")
        names = finding["what"].partition(":")[0].partition(" (")[0].split(", ")
        assert extension in names, (extension, finding)
        assert finding["file"] == "demo/_core.so"
        assert finding["instruction"]
    assert not found
    assert set(INTRINSICS) <= set(entry["extensions"])


def test_code_for_a_level_is_beyond_those_below(tmp_path: Path) -> None:
    flags = ("-O3", "-mprefer-vector-width=512")
    marches = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
    files = {
        f"demo/v{level}.so": compiled(tmp_path, LOOP, f"-march={march}", *flags)
        for level, march in enumerate(marches, 1)
    }
    found = audited(tmp_path, files, code=4)["findings"]
    for name in files:
        texts = [one["what"] for one in found if one["file"] == name]
        level = name.removeprefix("demo/").removesuffix(".so")
        assert f"(level {level})" in " ".join(texts) or (level == "v1" and not texts)
    for baseline in range(1, 5):
        admitted = dict([*files.items()][:baseline])
        entry = audited(tmp_path, admitted, "--baseline", f"x86_64 :: level :: v{baseline}")
        assert not errors(entry)
        if baseline == 1:
            assert entry["extensions"] == []
            assert entry["findings"] == []


def test_code_that_is_chosen_at_run_time_is_noted(tmp_path: Path) -> None:
    files = {
        f"demo/{name}{''.join(flags)}.so": compiled(tmp_path, code, "-O3", *flags)
        for name, code in (("clones", CLONES), ("asked", ASKED))
        for flags in ((), ("-s",))
    }
    notes = audited(tmp_path, files)["findings"]
    assert sorted(note["file"] for note in notes) == sorted(files)
    for note in notes:
        assert note["severity"] == "note"
        assert "AVX2" in note["what"]
        assert "AVX512F" in note["what"]
        assert note["what"].endswith("chosen at run time")


def test_a_function_without_a_check_is_found_beside_those_with_one(tmp_path: Path) -> None:
    content = compiled(tmp_path, ASKED + FORGOTTEN, "-O3")
    found = errors(audited(tmp_path, {"demo/_core.so": content}, code=4))
    assert [*found] == ["exported"]
    allow = "demo/*:exp*"
    assert not errors(audited(tmp_path, {"demo/_core.so": content}, "--allow", allow))


def test_data_between_functions_is_no_code(tmp_path: Path) -> None:
    entry = audited(tmp_path, {"demo/_core.so": compiled(tmp_path, DATA, suffix=".S")})
    assert entry["findings"] == []


def test_a_stripped_file(tmp_path: Path) -> None:
    content = compiled(tmp_path, LOOP, "-march=x86-64-v3", "-O3", "-s", "-fvisibility=hidden")
    entry = audited(tmp_path, {"demo/_core.so": content}, code=4)
    assert all(symbol.startswith("(no symbol) at 0x") for symbol in errors(entry))


def test_the_text_and_the_label(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    content = compiled(tmp_path, FORGOTTEN, "-O3")
    wheel.write_bytes(zipped(wheel_files({"demo/_core.so": content})))
    (tmp_path / "pyproject.toml").write_text('[tool.polywheel.audit]\nallow = ["other.so"]\n')
    done = polywheel("audit", wheel, cwd=tmp_path, check=False)
    assert done.returncode == 4
    first, error, place, *rest = done.stdout.splitlines()
    assert first.startswith(f"{NAME}: 1 error (1 file, ")
    assert error.startswith("  error: demo/_core.so: exported: AVX")
    assert error.endswith(" (level v3): beyond x86-64-v1")
    assert place.strip().startswith("0x")
    assert rest == [
        "polywheel: warning: the pattern 'other.so' allowed nothing in these wheels",
    ]


def test_a_file_that_ends_its_process_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / NAME
    files = {"demo/a.so": elf_file(), "demo/b.so": elf_file()[:-100], "demo/c.so": elf_file()}
    wheel.write_bytes(zipped(wheel_files(files)))
    (tmp_path / "sitecustomize.py").write_text(
        "import polywheel.audit.binaries as e, os\n"
        "real = e.read_member\n"
        "e.read_member = lambda wheel, name: os._exit(3) if 'a.so' in name else real(wheel, name)\n"
    )
    real = sys.executable
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path} exec {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    members = binary_members(wheel)
    reports = examine_files(wheel, members, ExamineOptions(), stop=Event())
    assert [report.file for report in reports] == list(files)
    crashed, truncated, whole = reports
    assert "the process ended with exit code 3" in crashed.findings[0].what
    assert "it is cut short" in truncated.findings[0].what
    assert whole.findings == ()


def test_processes_decode_parts_of_one_file() -> None:
    one = b"\xe8\x02\x00\x00\x00\xc3\x90\xc5\xf5\xfe\xc2\x0f\xa2\xc3"  # call, vpaddd, cpuid
    functions = {f"f{n}": (n * len(one), len(one)) for n in range(64)}
    (binary,) = parse_binaries(elf_file(one * 64, functions=functions), "a.so")
    whole = x86_64.decode(binary)
    assert x86_64.decode(binary, processes=2, part_bytes=64) == whole
    assert len(whole.functions) == 128


def test_options_of_the_api(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    wheel.write_bytes(zipped(wheel_files({"demo/a.so": elf_file(machine=243)})))
    audit = audit_wheel(wheel, AuditOptions(), stop=Event()).audit
    assert [finding.what for finding in audit.findings] == [
        "the instructions of 1 file for riscv are not checked"
    ]
