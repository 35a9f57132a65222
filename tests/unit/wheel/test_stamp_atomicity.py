"""Stamping writes the whole wheel or nothing, in bounded memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from polywheel.errors import WheelError
from polywheel.wheel.stamp import Stamp, stamp_wheel
from support.wheels import (
    KINDS,
    LABELLED,
    NAME,
    big_wheel,
    names,
    silent,
    stamp,
)


def test_a_source_that_is_not_there_is_a_wheel_error(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=f"{NAME} can't be read") as raised:
        stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=silent)
    assert str(tmp_path) in str(raised.value)
    assert names(tmp_path) == []


def test_a_target_that_cannot_be_written_is_a_wheel_error(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(KINDS["deflated"])
    with pytest.raises(WheelError, match=f"{LABELLED} can't be written"):
        stamp_wheel(tmp_path / NAME, tmp_path / "none" / LABELLED, stamp(), notify=silent)
    (tmp_path / LABELLED).mkdir()
    (tmp_path / LABELLED / "file").touch()
    with pytest.raises(WheelError, match=f"{LABELLED} can't be written"):
        stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=silent)
    assert names(tmp_path) == [LABELLED, NAME]


def test_a_stamp_that_fails_leaves_the_old_target_alone(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(KINDS["deflated"])
    (tmp_path / LABELLED).write_bytes(b"old")

    def fails(_: bytes) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stamp_wheel(
            *(tmp_path / NAME, tmp_path / LABELLED, Stamp(fails, b"{}")),
            notify=silent,
        )
    assert names(tmp_path) == [LABELLED, NAME]
    assert (tmp_path / LABELLED).read_bytes() == b"old"


@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_big_wheel_takes_no_memory(
    in_kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_kernel:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    source = big_wheel(tmp_path, 60)
    tracemalloc.start()
    stamp_wheel(source, tmp_path / LABELLED, stamp(), notify=silent)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000
    assert (tmp_path / LABELLED).stat().st_size > 60_000_000
