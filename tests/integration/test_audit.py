"""``polywheel audit`` on wheels with programs that gcc compiles here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from polywheel.audit import x86_64
from polywheel.audit.audit import AuditOptions, audit_wheel
from polywheel.audit.binaries import parse_binaries
from support.binary_files import elf_file
from support.commands import polywheel
from support.seeded_code import SEEDS, c_source
from support.wheels import wheel_files, zipped

pytestmark = pytest.mark.usefixtures("x86_64_gcc")

NAME = "demo-1.0-cp311-cp311-linux_x86_64.whl"
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
THROUGH_THE_LINKAGE_TABLE = """
#include <immintrin.h>
int supported(void) { return __builtin_cpu_supports("avx2"); }
__attribute__((target("avx2"))) void quick(int *x) {
    _mm256_storeu_si256((__m256i *)x, _mm256_add_epi32(_mm256_loadu_si256((__m256i *)x), _mm256_set1_epi32(1)));
}
void run(int *x) { if (supported()) quick(x); else x[0]++; }
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
    entry = audited(tmp_path, {"demo/_core.so": compiled(tmp_path, c_source())}, code=4)
    found = errors(entry)
    for number, extension in enumerate(SEEDS):
        finding = found.pop(f"part{number}_")
        names = finding["what"].partition(":")[0].partition(" (")[0].split(", ")
        assert extension in names, (extension, finding)
        assert finding["file"] == "demo/_core.so"
        assert finding["instruction"]
    assert not found
    assert set(SEEDS) <= set(entry["extensions"])


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


def test_calls_through_the_linkage_table(tmp_path: Path) -> None:
    # All functions are exported. Only the call of quick() without a check is wrong.
    content = compiled(tmp_path, THROUGH_THE_LINKAGE_TABLE)
    entry = audited(tmp_path, {"demo/_core.so": content})
    assert [finding["severity"] for finding in entry["findings"]] == ["note"]
    more = "void other(int *x) { quick(x); }"
    content = compiled(tmp_path, THROUGH_THE_LINKAGE_TABLE + more)
    assert [*errors(audited(tmp_path, {"demo/_core.so": content}, code=4))] == ["quick"]


def test_exports_of_a_bundled_library_that_no_file_uses(tmp_path: Path) -> None:
    library = compiled(tmp_path, ASKED + FORGOTTEN, "-Wl,-soname,libfast-1a2b3c4d.so")
    (tmp_path / "libfast-1a2b3c4d.so").write_bytes(library)
    link = ("-Wl,--no-as-needed", f"-L{tmp_path}", "-l:libfast-1a2b3c4d.so")
    for call, code in (("run(x)", 0), ("exported((void *)x)", 4)):
        source = f"extern int run(), exported(); void f(int *x) {{ {call}; }}"
        files = {
            "demo/_core.so": compiled(tmp_path, source, *link),
            "demo.libs/libfast-1a2b3c4d.so": library,
        }
        assert [*errors(audited(tmp_path, files, code=code))] == ["exported"] * bool(code)
    # Nothing needs it, so that it is loaded by name:
    files = {"demo.libs/libfast-1a2b3c4d.so": library}
    assert [*errors(audited(tmp_path, files, code=4))] == ["exported"]


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
