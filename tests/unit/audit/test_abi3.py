"""Which files of a wheel use the stable ABI, and of which Python."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from unittest import mock

import pytest

from polywheel.audit.abi3 import abi3_modules, check_abi3, oldest_python
from polywheel.errors import ConfigError
from polywheel.model.wheelname import WheelName

FILES = ["m/_a.abi3.so", "m/_b.so", "m/_c.pyd", "m.libs/libz-1a2b3c4d.so.1", "m.abi3.d/x.dll"]


def name(tags: str) -> WheelName:
    return WheelName.parse(f"m-1.0-{tags}-linux_x86_64-x86_64_v3.whl")


@pytest.mark.parametrize(
    ("tags", "modules"),
    [
        ("cp39-abi3", FILES[:3]),
        ("cp315-abi3.abi3t", FILES[:3]),
        ("cp311-cp311", FILES[:1]),
        ("py3-none", FILES[:1]),
    ],
)
def test_modules_that_use_the_stable_abi(tags: str, modules: list[str]) -> None:
    assert abi3_modules(name(tags), FILES) == modules


@pytest.mark.parametrize(
    ("python", "minor"),
    [("cp39", 9), ("cp310", 10), ("cp311.cp39", 9), ("py3", 2), ("cp32.py2.py3", 2), ("pp310", 2)],
)
def test_the_oldest_python_of_a_wheel(python: str, minor: int) -> None:
    assert oldest_python(name(f"{python}-abi3")) == minor


def test_without_abi3audit_the_error_names_the_extra(tmp_path: Path) -> None:
    wheel = tmp_path / "m-1.0-cp39-abi3-linux_x86_64.whl"
    assert list(check_abi3(wheel, ["m/data.bin"], stop=Event())) == []
    with mock.patch.dict("sys.modules", {"abi3audit": None}), pytest.raises(ConfigError) as error:
        list(check_abi3(wheel, FILES, stop=Event()))
    assert "pip install 'polywheel[audit]'" in str(error.value)
