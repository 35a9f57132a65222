"""The report of one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.audit.device_code import CudaArchitecture, DeviceCode
from polywheel.audit.examine import FileReport, examine_file
from polywheel.audit.findings import Check, Finding, Severity
from polywheel.errors import WheelError
from polywheel.model.variant import VariantProperty
from support.binary_files import AARCH64, elf_file, mach_o_file, universal_file
from support.wheels import wheel_files, zipped

SDOT = bytes.fromhex("2094824e c0035fd6")  # sdot v0.4s, v1.16b, v2.16b; ret
SMMLA = bytes.fromhex("20a4824e c0035fd6")  # smmla v0.4s, v1.16b, v2.16b; ret
RISCV = 243
VPADDD = b"\xc5\xf5\xfe\xc2\xc3"


def test_a_report_as_json() -> None:
    finding = Finding(
        severity=Severity.ERROR,
        check=Check.INSTRUCTIONS,
        what="AVX2",
        file="a.so",
        symbol="\udcff",
        offset=1,
        instruction="vpaddd",
        count=2,
        hint="…",
    )
    architecture = CudaArchitecture(number=90, suffix="a", is_virtual=False)
    report = FileReport(
        file="a.so",
        findings=(finding,),
        extensions=(("x86_64", ("AVX2",)), ("aarch64", ())),
        unchecked_machines=("aarch64",),
        code_bytes=5,
        patterns=("a.so",),
        libraries=("libm.so.6",),
        device_code=DeviceCode(
            cuda=frozenset({architecture}), hip=frozenset({"gfx90a"}), damage=("x",), has_cuda=True
        ),
    )
    assert FileReport.from_json(report.to_json()) == report


def wheel_with(folder: Path, content: bytes) -> Path:
    wheel = folder / "demo-1.0-py3-none-any.whl"
    wheel.write_bytes(zipped(wheel_files({"a.so": content})))
    return wheel


def test_a_file_for_one_machine(tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, elf_file(VPADDD, libraries=["libm.so.6"]))
    report = examine_file(wheel, "a.so", (), ())
    assert [finding.what for finding in report.findings] == ["AVX2 (level v3): beyond x86-64-v1"]
    assert report.extensions == (("x86_64", ("AVX2",)),)
    assert (report.libraries, report.code_bytes) == (("libm.so.6",), len(VPADDD))
    (allowed,) = [examine_file(wheel, "a.so", (), ("a.so",))]
    assert (allowed.findings, allowed.patterns) == ((), ("a.so",))


def test_a_universal_file(tmp_path: Path) -> None:
    content = universal_file(mach_o_file(VPADDD), mach_o_file(SMMLA, arm=True))
    report = examine_file(wheel_with(tmp_path, content), "a.so", (), ())
    assert [(finding.file, finding.what) for finding in report.findings] == [
        ("a.so (x86_64)", "AVX2 (level v3): beyond Penryn"),
        ("a.so (aarch64)", "I8MM: beyond Apple M1"),
    ]
    assert report.extensions == (("x86_64", ("AVX2",)), ("aarch64", ("I8MM",)))


def test_every_mac_has_more_than_the_baseline(tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, mach_o_file(SDOT, arm=True))
    report = examine_file(wheel, "a.so", (), ())
    assert (report.findings, report.extensions) == ((), (("aarch64", ("DotProd",)),))
    wheel = wheel_with(tmp_path, elf_file(SDOT, machine=AARCH64))
    (finding,) = examine_file(wheel, "a.so", (), ()).findings
    assert finding.what == "DotProd (version 8.4a): beyond armv8-a"
    label = [VariantProperty("aarch64", "version", "8.4a")]
    assert examine_file(wheel, "a.so", label, ()).findings == ()


def test_other_machines_are_not_checked(tmp_path: Path) -> None:
    report = examine_file(wheel_with(tmp_path, elf_file(machine=RISCV)), "a.so", (), ())
    assert (report.findings, report.unchecked_machines) == ((), ("riscv",))


def test_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=r"a\.so can't be examined"):
        examine_file(wheel_with(tmp_path, elf_file()[:-100]), "a.so", (), ())
