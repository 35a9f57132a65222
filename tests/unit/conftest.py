"""Unit tests start no processes. A test that starts one fails here, and belongs in tests/integration."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from unittest import mock

import pytest

FOLDER = Path(__file__).parent
_STARTS = {
    *("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"),
    *("os.startfile", "os.system"),
}
"""Audit events for the start of a process."""


class _ProcessGuard:
    """Refuses to start processes while a unit test is running."""

    def __init__(self) -> None:
        self.active = False
        self.refused = ""

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.active and event in _STARTS:
            self.refused = f"{event} {arguments[:2]}"
            self.check()

    def check(self) -> None:
        if self.refused:
            raise AssertionError(
                f"a unit test starts a process: {self.refused}; see tests/unit/conftest.py"
            )


_guard = _ProcessGuard()
sys.addaudithook(_guard.audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hide programs too: code that uses git only if it is installed does without it."""
    if not item.path.is_relative_to(FOLDER):  # pytest calls this for the tests of every folder
        return (yield)
    _guard.active, _guard.refused = True, ""
    try:
        with mock.patch.dict("os.environ", {"PATH": ""}):
            return (yield)
    finally:
        _guard.active = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Fail the test even if the code that it tests caught the error."""
    result = yield
    _guard.check()
    return result
