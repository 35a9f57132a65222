"""abi3audit on the extension modules of wheels."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from polywheel.audit.abi3 import check_abi3
from polywheel.audit.findings import Check, Finding, Severity
from support.binary_files import elf_file
from support.wheels import zipped


def module(*names: str) -> bytes:
    return elf_file(functions=dict.fromkeys(("PyInit__m", *names), (0, 1)))


PRIVATE = module("_PyObject_Dump", "PyType_GetName", "PyLong_FromLong")


def check(wheel: Path, files: dict[str, bytes]) -> list[Finding]:
    wheel.write_bytes(zipped(files))
    return list(check_abi3(wheel, files, stop=Event()))


def error(what: str) -> Finding:
    return Finding(severity=Severity.ERROR, check=Check.ABI3, what=what, file="m/_m.abi3.so")


def test_functions_outside_of_the_stable_abi_are_named(tmp_path: Path) -> None:
    label = tmp_path / "m-1.0-cp39.cp310-abi3-linux_x86_64-x86_64_v3.whl"
    private = error("outside of the stable ABI: _PyObject_Dump")
    newer = "newer than the stable ABI of Python 3.9, the oldest of the wheel: PyType_GetName"
    assert check(label, {"m/_m.abi3.so": PRIVATE}) == [private, error(f"{newer} (Python 3.11)")]
    tagged = tmp_path / "m-1.0-cp311-cp311-linux_x86_64.whl"
    assert check(tagged, {"m/_m.abi3.so": PRIVATE, "m/_x.so": PRIVATE}) == [private]


def test_a_damaged_file_does_not_hide_those_of_others(tmp_path: Path) -> None:
    files = {
        "m/-v; echo _m.pyd": b"MZ" + bytes(100),
        "m/_m.abi3.so": PRIVATE,
    }
    wheel = tmp_path / "m-1.0-cp312-abi3-linux_x86_64.whl"
    damaged, private = check(wheel, files)
    assert private == error("outside of the stable ABI: _PyObject_Dump")
    assert (damaged.severity, damaged.check) == (Severity.WARNING, Check.FILE)
    assert damaged.file == "m/-v; echo _m.pyd"
    why = "abi3audit can't examine it: failed to collect symbols in shared object: "
    assert damaged.what.startswith(why)
    assert str(tmp_path) not in damaged.what


def test_the_time_of_abi3audit_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polywheel.audit.abi3.SECONDS", 0.01)
    (finding,) = check(tmp_path / "m-1.0-cp39-abi3-win_amd64.whl", {"m/_m.abi3.so": PRIVATE})
    assert finding.what == "abi3audit can't examine it: it took longer than 0.01 seconds"
