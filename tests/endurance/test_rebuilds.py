"""Thirty of the sequences of edits that tests/endurance/rebuilds.py does at random. All: ``nox -s endurance``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import campaign
import pytest
import rebuilds


@pytest.fixture
def variables() -> Iterator[None]:
    """The campaign sets variables of this process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("variables")
def test_wheels_are_those_of_a_build_of_everything() -> None:
    figures = campaign.Figures("rebuilds", seed=1)
    rebuilds.run(figures, range(30))
    assert "\n".join(figures.findings) == ""
    assert figures.counts["sequences"] + figures.counts["refused"] == 30
    assert figures.counts["runs with wheels stamped"] > 0
    assert figures.counts["runs with wheels up to date"] > 0
