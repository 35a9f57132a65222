"""Parts of a file, in this process; tests/integration/test_audit.py has other processes."""

from __future__ import annotations

import pytest

from polywheel.audit import parts
from polywheel.audit.parts import map_parts, split


def test_items_are_split_by_size() -> None:
    assert list(split([3, 1, 1, 5, 2], lambda item: item, 4)) == [[3, 1], [1, 5], [2]]
    assert list(split([], len, 4)) == []


def test_a_system_that_can_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError("no semaphores")

    monkeypatch.setattr(parts, "ProcessPoolExecutor", fail)
    assert list(map_parts(len, ["a", "bc"], 2, 2)) == [1, 2]
