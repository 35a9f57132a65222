"""The processors and the memory of this machine, or of its container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polywheel.system import limits


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a container sees its limits; it is empty, so there are none."""
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    return tmp_path


def processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@pytest.mark.usefixtures("container")
def test_processors_are_those_that_this_process_may_use() -> None:
    assert limits.cpu_count() == processors()


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("50000 100000\n", 1),
        ("150000 100000", 2),
        ("100000000 100000", None),
        ("max 100000", None),
        ("100000 0", None),
        ("nonsense", None),
    ],
)
def test_a_container_may_have_fewer(container: Path, limit: str, count: int | None) -> None:
    (container / "cpu.max").write_text(limit)
    assert limits.cpu_count() == min(processors(), count or processors())


@pytest.mark.usefixtures("container")
def test_memory_that_is_free_is_some_and_no_more_than_there_is() -> None:
    free = limits.free_memory()
    if free is None:
        pytest.skip("this system does not say")
    assert 1 << 20 < free < 1 << 50
    if hasattr(os, "sysconf"):
        assert free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_container_may_have_less(container: Path) -> None:
    (container / "memory.max").write_text("50000000\n")
    (container / "memory.current").write_text("40000000\n")
    assert limits.free_memory() == 10_000_000
    # What files take that nobody reads any more is given back.
    (container / "memory.stat").write_text("anon 1\ninactive_file 5000000\nactive_file 7\n")
    assert limits.free_memory() == 15_000_000
    (container / "memory.current").write_text("90000000\n")
    assert limits.free_memory() == 0
    before = limits.free_memory()
    (container / "memory.max").write_text("max\n")
    found = limits.free_memory()
    assert found is None or found != before
