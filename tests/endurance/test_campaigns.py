"""A small part of the campaigns, so that they still run, and find nothing, where every change is tested.

All of them: ``nox -s endurance``; what they promise and their figures: docs/reliability.md.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import campaign
import inputs
import kill_tools
import pytest
import zoo

proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks into /proc, which this system has not"
)


def findings(figures: campaign.Figures) -> str:
    return "\n".join(figures.findings)


@pytest.mark.skipif(sys.platform == "win32", reason="limits time with SIGALRM")
def test_inputs() -> None:
    seed = 1
    chunk = inputs.read_chunk(seed, 0, 1000, [])
    assert not [(seed, one.number, one.reader, one.what) for one in chunk.findings]
    assert chunk.refused.total() > 500
    assert len(chunk.read) > 20


def test_an_input_is_the_same_each_time() -> None:
    readers = inputs.readers_named([])
    one, other = (inputs.input_of(1, 17, readers) for _ in range(2))
    assert one == other
    assert one != inputs.input_of(2, 17, readers)


@proc
def test_a_change_in_place_that_is_killed(tmp_path: Path) -> None:
    figures = campaign.Figures("test", random.randrange(1 << 32))
    mark = os.urandom(16).hex()
    place = kill_tools.Place(tmp_path, campaign.environment(tmp_path, ENDURANCE_MARK=mark), mark)
    command = kill_tools.label_commands(tmp_path)[1]
    kill_tools.prepared(place, command)
    for number in range(2):
        kill_tools.one_kill(place, command, figures, number)
    assert findings(figures) == ""


@proc
def test_a_backend_of_the_zoo(tmp_path: Path) -> None:
    (animal,) = (one for one in zoo.ANIMALS if one.does == "build_wheel: another project")
    mark = os.urandom(16).hex()
    environment = campaign.environment(tmp_path, ENDURANCE_MARK=mark)
    animal = replace(animal, seconds=600)  # a busy machine takes its time for what does not hang
    assert list(zoo.visit(animal, tmp_path, environment, mark, job_timeout=300)) == []
