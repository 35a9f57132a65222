"""``polywheel audit`` on files that end, block, or exhaust the process that examines them."""

from __future__ import annotations

import io
import random
import re
import struct
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from polywheel.audit import pool
from polywheel.audit.audit import AuditOptions, audit_wheel
from polywheel.audit.binaries import binary_members
from polywheel.audit.examine import FileReport
from polywheel.audit.findings import Check
from polywheel.audit.pool import ExamineOptions, examine_files
from polywheel.system.processes import ChildResult, run_child
from support.binary_files import elf_file
from support.commands import polywheel
from support.seeded_code import c_source
from support.wheels import wheel_files, zipped

NAME = "demo-1.0-cp311-cp311-linux_x86_64.whl"
VPADDD = b"\xc5\xf5\xfe\xc2\xc3"
HOSTILE = """
import os, signal, time
import polywheel.audit.binaries as binaries
real = binaries.read_member
def read_member(wheel, name):
    if "exits" in name: os._exit(3)
    if "segfault" in name: os.kill(os.getpid(), signal.SIGSEGV)
    if "aborts" in name: print("terminate called"); os.abort()
    if "memory" in name: bytearray(5 * 1024**3)
    if "blocks" in name: time.sleep(600)
    return real(wheel, name)
binaries.read_member = read_member
"""
"""What files may do to the process that examines them, by their names."""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that examine files import :data:`HOSTILE`."""
    if sys.platform != "linux":
        pytest.skip("limits of memory hold on Linux")
    (tmp_path / "sitecustomize.py").write_text(HOSTILE, encoding="utf-8")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))


def examined(folder: Path, *names: str) -> list[FileReport]:
    """The reports of files, of which all but the last are damaged: `whole.so`."""
    wheel = folder / NAME
    files = {f"demo/{name}.so": elf_file(VPADDD) for name in names}
    wheel.write_bytes(zipped(wheel_files(files)))
    reports = examine_files(wheel, binary_members(wheel), ExamineOptions(processes=1), stop=Event())
    assert [report.file for report in reports] == list(files)
    return list(reports)


@pytest.mark.usefixtures("hostile")
def test_files_that_end_their_process_do_not_hide_the_others(tmp_path: Path) -> None:
    *damaged, whole = examined(tmp_path, "exits", "segfault", "aborts", "memory", "whole")
    assert [[finding.what for finding in report.findings] for report in damaged] == [
        ["demo/exits.so can't be examined: the process ended with exit code 3"],
        ["demo/segfault.so can't be examined: the process ended with signal 11"],
        ["demo/aborts.so can't be examined: the process ended with signal 6: terminate called"],
        ["demo/memory.so can't be examined: it needs too much memory"],
    ]
    assert {finding.check for report in damaged for finding in report.findings} == {Check.FILE}
    assert [finding.check for finding in whole.findings] == [Check.INSTRUCTIONS]


@pytest.mark.usefixtures("hostile")
def test_a_file_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = iter([1.0])  # of the first process; the second one has the usual time

    def run(*arguments: Any, seconds: float, **options: Any) -> ChildResult:
        return run_child(*arguments, seconds=next(limits, seconds), **options)

    monkeypatch.setattr(pool, "run_child", run)
    blocked, whole = examined(tmp_path, "blocks", "whole")
    assert [finding.what for finding in blocked.findings] == [
        "demo/blocks.so can't be examined: it took too long"
    ]
    assert [finding.check for finding in whole.findings] == [Check.INSTRUCTIONS]


def test_names_cannot_change_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[2Ja\n::error::b"
    wheel = tmp_path / NAME
    files = {"demo/\u202e.so": elf_file(VPADDD, functions={name: (0, 5)}), "demo/b.so": b"MZ" * 9}
    wheel.write_bytes(zipped(wheel_files(files)))
    done = polywheel("audit", wheel, cwd=tmp_path, check=False, apart=True)
    assert done.returncode == 4, done.stderr
    first, error, *_ = done.stdout.splitlines()
    assert first.startswith(f"{NAME}: 1 error, 1 warning (2 files, ")
    assert error.startswith("  error: demo/\\u202e.so: \\x1b[2Ja\\n::error::b: AVX2 (level v3)")
    assert "\x1b" not in done.stdout


def test_archives_that_are_refused(tmp_path: Path) -> None:
    """Zip bombs, two members of one name, a name that changes the terminal: one error, and no traceback."""
    once = zipped(wheel_files({"demo/a.so": elf_file(), "demo/b.so": elf_file()}))
    wheels = {
        "twice": once.replace(b"demo/b.so", b"demo/a.so"),
        "escape": once.replace(b"demo/b.so", b"demo/\x1b.so"),
        "bomb": overlapping(once),
        "cut": once[:-30],
    }
    paths = []
    for name, content in wheels.items():
        paths.append(tmp_path / NAME.replace("demo", name))
        paths[-1].write_bytes(content)
    done = polywheel("audit", *paths, cwd=tmp_path, check=False, apart=True)
    assert (done.returncode, done.stdout) == (4, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(wheels)
    for error, expected in zip(errors, ("two members", "malformed", "overlap", "zip"), strict=True):
        assert expected in error, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.audit
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
def test_a_file_of_1_gb(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("it has no getrusage")
    import resource

    size, content = 1_000_000_000, bytearray(elf_file(VPADDD, sections={".rodata": b"data"}))
    (table,) = struct.unpack_from("<Q", content, 40)
    rodata = table + 5 * 64  # its header: offset and size
    struct.pack_into("<QQ", content, rodata + 24, len(content), size)
    wheel = tmp_path / NAME
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in wheel_files({}).items():
            archive.writestr(name, data)
        with archive.open("demo/_core.so", "w") as member:
            member.write(content)
            for _ in range(size // 1_000_000):
                member.write(bytes(1_000_000))
    audit = audit_wheel(wheel, AuditOptions(), stop=Event()).audit
    assert [finding.what for finding in audit.findings] == ["AVX2 (level v3): beyond x86-64-v1"]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3.2e6


@pytest.mark.audit
def test_compiled_files_that_are_damaged(tmp_path: Path) -> None:
    """For each file a finding or a result, whatever its bytes do to the process that examines it."""
    if not find_spec("ziglang"):
        pytest.skip("needs the package ziglang")
    generator, files = random.Random(1), {}
    for target in ("x86_64-linux-gnu", "x86_64-macos", "x86_64-windows-gnu"):
        (tmp_path / "source.c").write_text(c_source(), encoding="utf-8")
        command = [sys.executable, "-m", "ziglang", "cc", "-w", "-O2", "-shared"]
        subprocess.run(
            [*command, "-target", target, "source.c", "-o", "library"], cwd=tmp_path, check=True
        )
        content = (tmp_path / "library").read_bytes()
        for number in range(60):
            files[f"demo/{target}-cut{number}.so"] = content[: len(content) * number // 60 + 8]
            changed = bytearray(content)
            for _ in range(generator.choice((1, 4, 64))):
                place = generator.randrange(4, generator.choice((1024, 4096, len(content))))
                changed[place] = generator.randrange(256)
            files[f"demo/{target}-changed{number}.so"] = bytes(changed)
    wheel = tmp_path / NAME
    wheel.write_bytes(zipped(wheel_files(files)))
    reports = examine_files(wheel, binary_members(wheel), ExamineOptions(), stop=Event())
    assert [report.file for report in reports] == list(files)
    for report in reports:
        for finding in report.findings:
            assert not re.search("exit code|Traceback|too long", finding.what), finding
            if "-cut" in report.file and len(files[report.file]) < 4096:
                assert finding.check is Check.FILE


def overlapping(wheel: bytes) -> bytes:
    """The archive with two members whose data are the same bytes, as in a zip bomb."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        first, second = archive.infolist()[:2]
    offset = struct.pack("<I", second.header_offset)
    directory = wheel.rindex(b"PK\x05\x06")
    at = wheel.rindex(offset, 0, directory)
    return wheel[:at] + struct.pack("<I", first.header_offset) + wheel[at + 4 :]
