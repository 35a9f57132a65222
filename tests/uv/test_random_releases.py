"""A few random releases; ``nox -s uv-choices`` compares hundreds."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest
import random_releases
from packaging.version import Version


@pytest.fixture(autouse=True)
def _uv_with_variants() -> None:
    said = subprocess.run(["uv", "--version"], capture_output=True, encoding="utf-8", check=True)
    if Version(said.stdout.split()[1]) < Version("0.13.9"):
        pytest.skip("needs uv 0.13.9 or newer, with its preview of wheel variants")


def alike(counts: Counter[str]) -> int:
    return sum(number for what, number in counts.items() if what.startswith("alike: "))


def test_a_few(capsys: pytest.CaptureFixture[str]) -> None:
    counts = random_releases.compare(6, seed=1, only=None, keep=None)
    assert not counts["unexplained"], capsys.readouterr().out
    assert alike(counts) >= 4


@pytest.mark.slow
def test_many(capsys: pytest.CaptureFixture[str]) -> None:
    counts = random_releases.compare(150, seed=2, only=None, keep=None)
    assert not counts["unexplained"], capsys.readouterr().out
    assert alike(counts) > 130
