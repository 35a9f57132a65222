"""SOURCE_DATE_EPOCH: one rule for stamps and runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from polywheel.errors import ConfigError
from polywheel.run import orchestrator
from polywheel.run.options import RunOptions
from polywheel.system.source_date_epoch import source_date_epoch

FIRST, LAST = 315_532_800, 4_354_819_198


def of_a_run(monkeypatch: pytest.MonkeyPatch) -> int:
    """The time that builds of ``polywheel build`` are given."""
    monkeypatch.setattr(orchestrator, "own_package_folder", lambda: Path("polywheel"))
    tree = cast(Any, SimpleNamespace(epoch=5))
    options = RunOptions(out=Path("out"), max_parallel=1, logs=Path("logs"))
    return orchestrator.worker_context(tree, options).epoch


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", 1_700_000_000),
        (" 1700000000\n", 1_700_000_000),
        ("0001700000000", 1_700_000_000),
        ("0" * 5000 + "1700000000", 1_700_000_000),
        ("0", FIRST),
        ("1", FIRST),
        (str(LAST), LAST),
    ],
)
def test_a_time(text: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    assert source_date_epoch() == of_a_run(monkeypatch) == seconds


@pytest.mark.parametrize("text", ["", "  "])
def test_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    assert source_date_epoch() is None
    assert of_a_run(monkeypatch) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-1", "not a number of seconds: '-1'"),
        ("1_700_000_000", "not a number of seconds"),
        ("1.5", "not a number of seconds"),
        ("\uff11\uff17", "not a number of seconds"),
        ("today", "not a number of seconds: 'today'"),
        (str(LAST + 1), "a time after 2107"),
        ("1700000000000", "a time after 2107"),
        ("9" * 5000, f"is {'9' * 40}…: a time after 2107"),
    ],
)
def test_no_time(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(ConfigError, match=said) as caught:
        source_date_epoch()
    assert caught.value.problems[0].at == "environment variable SOURCE_DATE_EPOCH"
    with pytest.raises(ConfigError, match=said):
        of_a_run(monkeypatch)
