"""``polywheel audit`` on the output of compilers for several languages and systems."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import pytest

from polywheel.audit.audit import AuditOptions, audit_wheel
from polywheel.audit.findings import Finding, Severity
from polywheel.model.variant import VariantProperty
from support.seeded_code import (
    DETECTION,
    FORTRAN,
    FORTRAN_FLAGS,
    LOOPS,
    SEEDS,
    c_source,
    cpp_source,
    cython_source,
    rust_source,
)
from support.wheels import wheel_files, zipped

pytestmark = pytest.mark.usefixtures("x86_64_gcc")

TARGETS = {"elf": "x86_64-linux-gnu", "mach_o": "x86_64-macos", "pe": "x86_64-windows-gnu"}
"""Of clang, by file format."""
SETUP = """
from setuptools import Extension, setup
from Cython.Build import cythonize
setup(name="source", ext_modules=cythonize([Extension("source", ["source.pyx"])]))
"""


def run(command: Sequence[object], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def need(tool: str) -> None:
    if not shutil.which(tool):
        pytest.skip(f"needs {tool}")


def need_module(name: str) -> None:
    if not find_spec(name):
        pytest.skip(f"needs the package {name}")


def gcc(folder: Path, suffix: str, code: str, *flags: str) -> bytes:
    """A shared library of GCC."""
    tool = {".c": "gcc", ".cpp": "g++", ".f90": "gfortran"}[suffix]
    need(tool)
    (folder / f"source{suffix}").write_text(code, encoding="utf-8")
    run([tool, "-w", "-shared", "-fPIC", *flags, f"source{suffix}", "-o", "library.so"], folder)
    return (folder / "library.so").read_bytes()


def clang(folder: Path, code: str, *flags: str, system: str) -> bytes:
    """A shared library of clang, which the package ziglang has for all systems."""
    need_module("ziglang")
    (folder / "source.c").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "ziglang", "cc", "-w", "-shared", "-target", TARGETS[system]]
    pic = () if system == "pe" else ("-fPIC",)
    run([*command, *pic, *flags, "source.c", "-o", "library"], folder)
    return (folder / "library").read_bytes()


def rust(folder: Path, code: str, *flags: str) -> bytes:
    need("rustc")
    (folder / "source.rs").write_text(code, encoding="utf-8")
    command = ["rustc", "-O", "--crate-type=cdylib", "--edition=2021", *flags]
    run([*command, "source.rs", "-o", "library.so"], folder)
    return (folder / "library.so").read_bytes()


def cython(folder: Path, code: str, *flags: str) -> bytes:
    """An extension module of Cython and setuptools."""
    need_module("Cython")
    (folder / "source.pyx").write_text(code, encoding="utf-8")
    (folder / "setup.py").write_text(SETUP, encoding="utf-8")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    run(command, folder, CFLAGS=" ".join(["-O2", "-w", *flags]))
    (library,) = folder.glob("source*.so")
    return library.read_bytes()


def nvcc(folder: Path, code: str, *flags: str) -> bytes:
    need("nvcc")
    (folder / "source.cu").write_text(code, encoding="utf-8")
    host = [f"-Xcompiler={flag}" for flag in ("-fPIC", "-w", *flags)]
    command = ["nvcc", "-O3", "-shared", "-arch=sm_90", "-cudart=none", *host]
    run([*command, "source.cu", "-o", "library.so"], folder)
    return (folder / "library.so").read_bytes()


def findings(folder: Path, content: bytes, *properties: str) -> tuple[Finding, ...]:
    """The findings of a wheel with a file and, in the place of a label, a baseline."""
    wheel = folder / "demo-1.0-cp311-cp311-linux_x86_64.whl"
    wheel.write_bytes(zipped(wheel_files({"demo/_core.so": content})))
    baseline = tuple(map(VariantProperty.parse, properties))
    return audit_wheel(wheel, AuditOptions(baseline=baseline), stop=Event()).audit.findings


def found_in(audited: Sequence[Finding], name: str = "") -> set[str]:
    """The extensions of the errors about functions with ``name`` in their names."""
    return {
        extension
        for finding in audited
        if finding.severity is Severity.ERROR and name in (finding.symbol or "")
        for extension in finding.what.partition(":")[0].partition(" (")[0].split(", ")
    }


def missed(audited: Sequence[Finding]) -> list[str]:
    """The extensions of seeded code that are not found in their functions."""
    return [
        extension
        for number, extension in enumerate(SEEDS)
        if extension not in found_in(audited, f"part{number}_")
    ]


@dataclass(frozen=True, slots=True)
class Build:
    """A way to compile the seeded code of a language."""

    source: Callable[[], str]
    compile: Callable[..., bytes]
    has_names: bool = True
    flags: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    """The extensions that all machines of the system have."""


def _gcc(suffix: str) -> Callable[..., bytes]:
    return lambda folder, code, *flags: gcc(folder, suffix, code, *flags)


def _clang(system: str) -> Callable[..., bytes]:
    return lambda folder, code, *flags: clang(folder, code, *flags, system=system)


BUILDS = {
    "c": Build(c_source, _gcc(".c"), flags=("-O2",)),
    "c_debug": Build(c_source, _gcc(".c"), flags=("-O1", "-g", "-fcf-protection=full")),
    "c_stripped": Build(c_source, _gcc(".c"), flags=("-O2", "-s"), has_names=False),
    **{
        f"cpp_{number}": Build(lambda number=number: cpp_source(number), _gcc(".cpp"), flags=flags)  # type: ignore[misc]
        for number, flags in enumerate(
            (
                ("-O2",),
                ("-O3", "-fno-plt"),
                ("-Os", "-fvisibility=hidden"),
                ("-O2", "-flto"),
                ("-O2", "-ffunction-sections", "-Wl,--gc-sections"),
            )
        )
    },
    "cpp_stripped": Build(
        cpp_source, _gcc(".cpp"), flags=("-O2", "-s", "-static-libstdc++"), has_names=False
    ),
    "clang": Build(c_source, _clang("elf"), flags=("-O2",)),
    "mach_o": Build(
        c_source, _clang("mach_o"), flags=("-O2",), baseline=("SSE3", "SSSE3", "SSE4.1")
    ),
    "pe": Build(c_source, _clang("pe"), flags=("-O2",)),
    "rust": Build(rust_source, rust),
    "rust_stripped": Build(rust_source, rust, flags=("-Cstrip=symbols", "-Clto"), has_names=False),
    "cython": Build(cython_source, cython),
    "nvcc": Build(c_source, nvcc),
}
FAST = ("cpp_0", "rust")
"""What the suite compiles. The others are for `nox -s audit`."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FAST else [pytest.mark.audit]) for name in BUILDS],
)
def test_every_extension_is_found(tmp_path: Path, name: str) -> None:
    build = BUILDS[name]
    audited = findings(tmp_path, build.compile(tmp_path, build.source(), *build.flags))
    not_found = missed(audited) if build.has_names else [*set(SEEDS) - found_in(audited)]
    assert not_found == [*build.baseline]


@pytest.mark.audit
@pytest.mark.parametrize("extension", FORTRAN_FLAGS)
def test_extensions_in_fortran(tmp_path: Path, extension: str) -> None:
    flags = ("-O3", "-ffast-math", "-mprefer-vector-width=512", FORTRAN_FLAGS[extension])
    audited = findings(tmp_path, gcc(tmp_path, ".f90", FORTRAN, *flags))
    assert extension in found_in(audited)


LEVELS = ("v1", "v2", "v3", "v4")


@pytest.mark.audit
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("suffix", LOOPS)
def test_code_for_a_level_is_beyond_those_below(tmp_path: Path, suffix: str, level: str) -> None:
    processor = "x86-64" if level == "v1" else f"x86-64-{level}"
    wide = "-mprefer-vector-width=512"
    compilers: dict[str, Callable[..., bytes]] = {".rs": rust, ".pyx": cython, ".cu": nvcc}
    if suffix == ".rs":
        flags = [f"-Ctarget-cpu={processor}"]
    else:
        flags = ["-O3", f"-march={processor}", wide]
    compiler = compilers.get(suffix) or _gcc(suffix)
    content = compiler(tmp_path, LOOPS[suffix], *flags)
    audited = findings(tmp_path, content)
    if level == "v1":
        assert not found_in(audited)
    else:
        assert f"(level {level})" in " ".join(one.what for one in audited)
    for admitted in LEVELS[LEVELS.index(level) :]:
        allowed = findings(tmp_path, content, f"x86_64 :: level :: {admitted}")
        assert not found_in(allowed), admitted


RUST_CHOICE = """
use std::arch::x86_64::*;
#[target_feature(enable = "avx2")] #[inline(never)]
unsafe fn fast(x: *mut __m256i) { _mm256_storeu_si256(x, _mm256_add_epi32(_mm256_loadu_si256(x), _mm256_set1_epi32(1))) }
#[no_mangle] pub unsafe extern "C" fn run(x: *mut __m256i) {
    if is_x86_feature_detected!("avx2") { fast(x) }
}
"""
CPP_CHOICE = """
#include <immintrin.h>
namespace {
struct Plain { virtual void add(int *x) { ++*x; } virtual ~Plain() {} };
struct Fast : Plain {
    __attribute__((target("avx2"))) void add(int *x) override {
        _mm256_storeu_si256((__m256i *)x, _mm256_add_epi32(_mm256_loadu_si256((__m256i *)x), _mm256_set1_epi32(1)));
    }
};
Plain &chosen() {
    static Plain *const it = __builtin_cpu_supports("avx2") ? new Fast : new Plain;
    return *it;
}
}
void run(int *x) { chosen().add(x); }
"""
CHOICE = """
#include <immintrin.h>
__attribute__((target("avx2"), noinline)) static void fast(int *x) {
    _mm256_storeu_si256((__m256i *)x, _mm256_add_epi32(_mm256_loadu_si256((__m256i *)x), _mm256_set1_epi32(1)));
}
"""
CHOICES = {
    "builtin": DETECTION
    + CHOICE
    + 'void run(int *x) { if (__builtin_cpu_supports("avx2")) fast(x); }',
    "cpuid": "#include <cpuid.h>\n"
    + CHOICE
    + """
static int known = -1;
static int ask(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) ? (b >> 5) & 1 : 0;
}
void run(int *x) { if (known < 0) known = ask(); if (known) fast(x); }
""",
    "pointer": DETECTION
    + CHOICE
    + """
static void plain(int *x) { x[0]++; }
static void (*chosen)(int *) = plain;
void choose(void) {
    if (__builtin_cpu_supports("avx2")) chosen = fast;
}
void run(int *x) { chosen(x); }
""",
}
ASKED = {
    "mach_o": CHOICE
    + """
int sysctlbyname(const char *, void *, unsigned long *, void *, unsigned long);
void run(int *x) {
    int has = 0; unsigned long size = sizeof has;
    if (!sysctlbyname("hw.optional.avx2_0", &has, &size, 0, 0) && has) fast(x);
}
""",
    "pe": CHOICE
    + """
__declspec(dllimport) int __stdcall IsProcessorFeaturePresent(unsigned long);
__declspec(dllexport) void run(int *x) { if (IsProcessorFeaturePresent(40)) fast(x); }
""",
}


def assert_chosen(audited: Sequence[Finding]) -> None:
    (note,) = audited
    assert note.severity is Severity.NOTE
    assert note.what == "1 function with AVX, AVX2, chosen at run time"


def test_a_choice_in_rust_and_in_cpp(tmp_path: Path) -> None:
    for flags in ((), ("-s",)):
        assert_chosen(findings(tmp_path, gcc(tmp_path, ".cpp", CPP_CHOICE, "-O2", *flags)))
    for flags in ((), ("-Cstrip=symbols",)):
        assert_chosen(findings(tmp_path, rust(tmp_path, RUST_CHOICE, *flags)))


@pytest.mark.audit
@pytest.mark.parametrize("choice", [*CHOICES, "system"])
@pytest.mark.parametrize("system", ["mach_o", "pe"])
def test_a_choice_on_macos_and_windows(tmp_path: Path, system: str, choice: str) -> None:
    code = CHOICES.get(choice, ASKED[system])
    assert_chosen(findings(tmp_path, clang(tmp_path, code, "-O2", system=system)))
