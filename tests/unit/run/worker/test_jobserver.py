"""Compile slots: shared if the build tool can, fixed shares otherwise; settings of the user win."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from threading import Event

import pytest

from polywheel.environments.virtual_environments import Environment
from polywheel.errors import BuildError
from polywheel.run.worker.jobserver import CompileSlots, compile_slots
from support.setups import profile

SOON = 60.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="the pool is a named pipe of POSIX")
NEW = ("ninja==1.13.0",)
OLD = ("ninja==1.11.1.4",)


def environment(*resolved: str) -> Environment:
    distributions = dict(text.split("==") for text in resolved)
    return Environment(folder=Path("/env"), python="/env/bin/python", distributions=distributions)


@posix
def test_a_job_waits_for_its_slot_until_there_is_one() -> None:
    entered = Event()

    def second(slots: CompileSlots) -> None:
        with slots.take_slot(Event()):
            entered.set()

    with compile_slots(1) as slots:
        with slots.take_slot(Event()):
            thread = threading.Thread(target=second, args=[slots])
            thread.start()
            assert not entered.wait(0.3)
        assert entered.wait(SOON)
        thread.join()


@posix
def test_a_job_that_waits_for_its_slot_can_be_stopped() -> None:
    stop = Event()
    stop.set()
    with (
        compile_slots(1) as slots,
        slots.take_slot(Event()),
        pytest.raises(BuildError, match="stopped"),
        slots.take_slot(stop),
    ):
        pytest.fail("there is one slot for two")


@posix
def test_the_pool_is_gone_when_the_run_is_over() -> None:
    with compile_slots(2) as slots:
        told = slots.settings_for(profile("scikit-build-core"), environment(*NEW), {})
        _, _, pipe = told.environment["MAKEFLAGS"].partition("fifo:")
        assert Path(pipe).is_fifo()
    assert not Path(pipe).parent.exists()


@posix
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (None, " -j6 --jobserver-auth=fifo:PIPE"),
        ("kV=1", "kV=1 -j6 --jobserver-auth=fifo:PIPE"),
        # Of a make that runs polywheel: old ones name descriptors, which no worker inherits.
        ("k -j8 --jobserver-auth=3,4", "k -j6 --jobserver-auth=fifo:PIPE"),
        (" --jobserver-fds=3,4 -j", " -j6 --jobserver-auth=fifo:PIPE"),
        (" -j8 --jobserver-auth=fifo:/tmp/theirs", " -j8 --jobserver-auth=fifo:/tmp/theirs"),
    ],
)
def test_make_flags_of_the_user_are_kept(flags: str | None, expected: str) -> None:
    variables = {} if flags is None else {"MAKEFLAGS": flags}
    with compile_slots(6) as slots:
        told = slots.settings_for(profile("meson-python"), environment(*NEW), variables)
    assert told.settings == {}
    found = re.sub(r"fifo:.*/jobserver$", "fifo:PIPE", told.environment["MAKEFLAGS"])
    assert found == expected


@pytest.mark.parametrize("flags", ["-j4", "k -j4", " --jobs=4"])
def test_a_user_who_says_how_many_jobs_make_may_have_gets_fixed_shares(flags: str) -> None:
    variables = {"MAKEFLAGS": flags}
    with compile_slots(6) as slots:
        slots.share_among(2)
        told = slots.settings_for(profile("meson-python"), environment(*NEW), variables)
    assert not told.pooled
    assert "MAKEFLAGS" not in told.environment
    assert told.settings == {"compile-args": "-j3"}


@pytest.mark.parametrize(
    ("backend", "resolved", "variables", "settings"),
    [
        ("meson-python", OLD, {}, {"compile-args": "-j3"}),
        ("scikit-build-core", OLD, {}, {}),
        ("setuptools", NEW, {}, {}),
        ("maturin", NEW, {}, {}),
        (None, NEW, {}, {}),
        ("scikit-build-core", OLD, {"CMAKE_BUILD_PARALLEL_LEVEL": "1"}, {}),
        ("setuptools", (), {"MAX_JOBS": "1"}, {}),
        ("maturin", (), {"CARGO_BUILD_JOBS": "1"}, {}),
    ],
)
def test_others_have_a_fixed_share_in_the_variables_that_the_user_does_not_set(
    backend: str | None,
    resolved: tuple[str, ...],
    variables: dict[str, str],
    settings: dict[str, str],
) -> None:
    with compile_slots(6) as slots:
        slots.share_among(2)
        told = slots.settings_for(
            profile(backend) if backend else None, environment(*resolved), variables
        )
    assert not told.pooled
    three = dict.fromkeys(("CMAKE_BUILD_PARALLEL_LEVEL", "MAX_JOBS", "CARGO_BUILD_JOBS"), "3")
    assert told.environment == {**three, **variables}
    assert told.settings == settings


@pytest.mark.parametrize(("total", "builds", "share"), [(8, 3, 2), (2, 2, 1), (1, 4, 1), (4, 0, 4)])
def test_a_share_is_at_least_one(total: int, builds: int, share: int) -> None:
    with compile_slots(total) as slots:
        slots.share_among(builds)
        assert slots.share == share


def test_few_builds_have_larger_shares_which_never_add_up_to_more_than_there_is() -> None:
    stop = Event()
    with compile_slots(8) as slots:
        slots.share_among(3)
        with slots.take_slot(stop), slots.take_slot(stop), slots.take_slot(stop):
            assert slots.share == 2
        slots.share_among(10)
        shares = []
        for _ in range(10):
            with slots.take_slot(stop):
                shares.append(slots.share)
        assert shares == [1, 1, 1, 1, 1, 1, 2, 2, 4, 8]


@posix
def test_nobody_is_told_of_the_pool_once_something_refused_it() -> None:
    with compile_slots(6) as slots:
        slots.share_among(2)
        assert slots.settings_for(profile("meson-python"), environment(*NEW), {}).pooled
        slots.disable_pool()
        assert slots.settings_for(profile("meson-python"), environment(*NEW), {}).settings == {
            "compile-args": "-j3"
        }
