"""``polywheel audit`` on programs for AArch64, made by a cross compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from polywheel.audit.aarch64 import decode
from polywheel.audit.binaries import parse_binaries
from polywheel.audit.examine import FileReport, examine_file
from polywheel.audit.findings import Severity
from polywheel.model.variant import VariantProperty
from support.wheels import wheel_files, zipped

GCC = "aarch64-linux-gnu-gcc"
pytestmark = pytest.mark.skipif(
    shutil.which(GCC) is None, reason=f"needs {GCC}: apt install gcc-aarch64-linux-gnu"
)
ATOMICS = "int add(int *x) { return __atomic_fetch_add(x, 1, __ATOMIC_ACQ_REL); }\n"
DOT = """
int dot(const signed char *restrict x, const signed char *restrict y) {
    int s = 0; for (int i = 0; i < 1024; i++) s += x[i] * y[i]; return s;
}
"""
CHOSEN = """
#include <sys/auxv.h>
#include <arm_neon.h>
__attribute__((target("arch=armv8.2-a+dotprod"), noinline))
static int fast(const int8_t *x) {
    int32x4_t s = vdupq_n_s32(0);
    for (int i = 0; i < 64; i++) s = vdotq_s32(s, vld1q_s8(x + 16 * i), vld1q_s8(x + 16 * i));
    return vaddvq_s32(s);
}
static int slow(const int8_t *x) { int s = 0; for (int i = 0; i < 1024; i++) s += x[i] * x[i]; return s; }
static int (*chosen)(const int8_t *);
__attribute__((constructor)) static void choose(void) {
    chosen = getauxval(AT_HWCAP) & 1 << 20 ? fast : slow;
}
int run(const int8_t *x) { return chosen(x); }
"""
FORGOTTEN = """
__attribute__((target("arch=armv8.2-a+dotprod"))) int exported(const int8_t *x) {
    return vaddvq_s32(vdotq_s32(vdupq_n_s32(0), vld1q_s8(x), vld1q_s8(x)));
}
"""
DATA = """
.text
.globl before
.type before, @function
before:
    ret
.size before, .-before
    sdot v0.4s, v1.16b, v2.16b
    .word 0xffffffff
.globl after
.type after, @function
after:
    adr x0, table
    ldr q0, literal
    ret
table:
    .word 0x4e829420, 0x4e829420, 0xd65f03c0
literal:
    .word 0x4e829420, 0x4e829420, 0x4e829420, 0x4e829420
.size after, .-after
"""


def compiled(folder: Path, code: str, *flags: str, suffix: str = ".c") -> bytes:
    """A shared library."""
    source, library = folder / f"source{suffix}", folder / "library.so"
    source.write_text(code, encoding="utf-8")
    command = [GCC, "-O3", "-shared", "-fPIC", *flags, str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library.read_bytes()


def examined(folder: Path, content: bytes, *versions: str) -> FileReport:
    wheel = folder / "demo-1.0-py3-none-any.whl"
    wheel.write_bytes(zipped(wheel_files({"demo/_core.so": content})))
    label = [VariantProperty("aarch64", "version", version) for version in versions]
    return examine_file(wheel, "demo/_core.so", label, ())


def errors(report: FileReport) -> dict[str | None, str]:
    """What is wrong, by function."""
    return {
        finding.symbol: finding.what
        for finding in report.findings
        if finding.severity is Severity.ERROR
    }


@pytest.mark.parametrize(
    ("march", "found"),
    [
        ("armv8-a", {}),
        (
            "armv8.2-a",
            {"add": "LSE (version 8.1a): beyond armv8-a"},
        ),
        (
            "armv8.4-a",
            {
                "add": "LSE (version 8.1a): beyond armv8-a",
                "dot": "DotProd (version 8.4a): beyond armv8-a",
            },
        ),
        (
            "armv9-a",
            {
                "add": "LSE (version 8.1a): beyond armv8-a",
                "dot": "SVE (version 9.0a): beyond armv8-a",
            },
        ),
    ],
)
def test_code_for_a_version(tmp_path: Path, march: str, found: dict[str, str]) -> None:
    for flags in ((), ("-mbranch-protection=standard",)):
        content = compiled(tmp_path, ATOMICS + DOT, f"-march={march}", *flags)
        assert errors(examined(tmp_path, content)) == found
        assert not errors(examined(tmp_path, content, "9.0a"))
    assert bool(errors(examined(tmp_path, content, "8.2a"))) == ("dot" in found)


def test_code_that_is_chosen_at_run_time_and_code_that_is_not(tmp_path: Path) -> None:
    for flags in ((), ("-s",)):
        (note,) = examined(tmp_path, compiled(tmp_path, ATOMICS + CHOSEN, *flags)).findings
        assert note.what == "1 function with DotProd, chosen at run time"
    report = examined(tmp_path, compiled(tmp_path, ATOMICS + CHOSEN + FORGOTTEN))
    assert errors(report) == {"exported": "DotProd (version 8.4a): beyond armv8-a"}


def test_stripped_code_with_atomic_operations_is_not_chosen_at_run_time(tmp_path: Path) -> None:
    """Libgcc's helpers ask the processor, too. The kernel is hidden, and an export calls it."""
    code = DOT.replace("int dot", "__attribute__((noinline)) static int dot") + ATOMICS
    code += "int run(signed char *x) { return dot(x, x); }\n"
    content = compiled(tmp_path, code, "-march=armv8.2-a+dotprod+nolse", "-s")
    (finding,) = examined(tmp_path, content).findings
    assert finding.what == "DotProd (version 8.4a): beyond armv8-a"


def test_data_between_functions_is_no_code(tmp_path: Path) -> None:
    for flags in ((), ("-s",)):
        content = compiled(tmp_path, DATA, "-march=armv8.4-a", *flags, suffix=".S")
        assert examined(tmp_path, content).findings == ()


def test_the_c_library_chooses_at_run_time(tmp_path: Path) -> None:
    """It has functions for MOPS, SVE, and others, and chooses them by ifuncs. A setting turns MTE on in malloc."""
    name = subprocess.run(
        [GCC, "-print-file-name=libc.so.6"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not Path(name).is_absolute():
        pytest.skip("the cross compiler has no C library")
    report = examined(tmp_path, Path(name).read_bytes())
    assert set(errors(report).values()) <= {"MTE: beyond armv8-a"}
    ((machine, extensions),) = report.extensions
    assert machine == "aarch64"
    assert "SVE" in extensions


def test_objdump_agrees_about_instructions(tmp_path: Path) -> None:
    content = compiled(tmp_path, ATOMICS + DOT, "-march=armv9-a")
    listing = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", str(tmp_path / "library.so")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = [line.split("\t") for line in listing.splitlines() if line.count("\t") >= 2]
    vectors = {int(line[0].strip(" :"), 16) for line in lines if " z" in f" {line[2]}"}
    (file,) = parse_binaries(content, "library.so")
    uses = [use for function in decode(file).functions for use in function.uses]
    assert vectors
    assert sum(use.count for use in uses if "SVE" in use.extensions) >= len(vectors)
