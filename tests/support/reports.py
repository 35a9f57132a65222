"""Reports of runs of any size, as values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from polywheel.report.model import (
    Machine,
    ReportBuild,
    ReportCacheUse,
    ReportFinding,
    ReportJob,
    ReportRun,
    ReportSetup,
    ReportTest,
    ReportWarning,
    RunReport,
)
from polywheel.run.outcome import PRESENT, State, WheelTestState

PYTHONS = ("3.11", "3.12", "3.13", "3.13t", "3.14")
TARGETS = ("linux-x86_64", "linux-aarch64", "macos-arm64", "windows-x86_64")
PLACES = [(python, target) for target in TARGETS for python in PYTHONS]
BLAS = ("openblas", "mkl", "blis", "accelerate")
SLOTS = 32


def variants(number: int) -> list[tuple[str | None, tuple[str, ...]]]:
    """Labels and properties; the first is the non-variant wheel."""
    made: list[tuple[str | None, tuple[str, ...]]] = [(None, ())]
    for index in range(1, number):
        level, blas = f"v{1 + index % 4}", BLAS[index // 4 % 4]
        cuda = 118 + index // 16
        properties: tuple[str, ...] = (f"x86_64 :: level :: {level}", f"blas :: library :: {blas}")
        if index >= 16:
            properties = (*properties, f"nvidia :: cuda :: {cuda}")
        made.append(("_".join([level, blas, *([f"cu{cuda}"] if index >= 16 else [])]), properties))
    return made


def make_report(builds: int, failed: Sequence[int] = (), *, errors: int = 3) -> RunReport:
    """A run with one wheel for each build. ``failed``: the numbers of those that failed, by ``errors`` causes."""
    random_numbers = random.Random(builds)
    free = [0.0] * SLOTS
    made, jobs = [], []
    names = variants(builds // len(PLACES) + 1)
    for number in range(builds):
        label, properties = names[number // len(PLACES)]
        python, target = PLACES[number % len(PLACES)]
        name = f"{target}-cp{python.replace('.', '')}-{label or 'non-variant'}"
        state = (State.BUILT, State.BUILT, State.BUILT, State.UP_TO_DATE, State.STAMPED)[number % 5]
        if number in failed:
            state = State.TEST_FAILED if number % 3 == 2 else State.FAILED
        seconds = 0.1 if state is State.UP_TO_DATE else round(random_numbers.uniform(5, 90), 3)
        slot = free.index(min(free))
        started, free[slot] = free[slot], free[slot] + seconds + 0.5
        has_wheel = state in PRESENT
        made.append(
            ReportBuild(
                id=name,
                run=0,
                python=python,
                target=target,
                jobs=(name,),
                state=state,
                seconds=seconds,
                hook_seconds=seconds * 0.8,
                started=round(started, 3),
                slot=slot,
                setup=(
                    ReportSetup(
                        name="cflags", values=("-O3", "-march=x86-64-v3"), origin="preset x86_64"
                    ),
                ),
                compiler_cache=ReportCacheUse(hits=17 + number % 9, misses=number % 4),
                error=None
                if has_wheel
                else f"Python {python}: error {number % errors}: the compiler ended with exit code 1",
                log=f"/src/demo/dist/logs/{name}.log",
            )
        )
        jobs.append(
            ReportJob(
                id=name,
                run=0,
                label=label,
                properties=properties,
                pythons=(python,),
                targets=(target,),
                build=name,
                state=state,
                file=f"demo-1.0-{name}.whl" if has_wheel else None,
                size=random_numbers.randrange(5_000, 90_000_000) if has_wheel else None,
                sha256=f"{number:064x}" if has_wheel else None,
                seconds=seconds if has_wheel else None,
                reasons=("source: src/demo.c changed",),
                test=ReportTest(
                    state=WheelTestState.FAILED, reason="pytest ended with exit code 1", seconds=2.5
                )
                if state is State.TEST_FAILED
                else ReportTest(state=WheelTestState.PASSED, seconds=1.5, cpu="Haswell")
                if has_wheel
                else None,
                audit=(
                    ReportFinding(
                        severity="note",
                        check="libraries",
                        what="libz.so.1 is not part of the platform",
                    ),
                )
                if number % 7 == 0
                else (),
                reproduce=f"polywheel build /src/demo --only {name} --rebuild",
            )
        )
    return RunReport(
        project="demo",
        runs=(
            ReportRun(
                path="report.json",
                source="/src/demo",
                out="/src/demo/dist",
                began="2026-11-29T12:00:00+00:00",
                seconds=max(free) if builds else 0.2,
                exit_code=1 if failed else 0,
                slots=SLOTS,
                machine=Machine(system="Linux-6.1-x86_64", processors=64),
            ),
        ),
        builds=tuple(made),
        jobs=tuple(jobs),
        warnings=(
            ReportWarning(
                level="warning",
                text="setuptools does not support defines",
                jobs=tuple(job.id for job in jobs[:30]),
            ),
        )
        if builds
        else (),
    )


def with_texts(report: RunReport, text: str) -> RunReport:
    """The report with a text in every field that a stranger may have written."""
    names = [f"{text} {number}" for number in range(len(report.jobs))]
    return replace(
        report,
        project=text,
        runs=tuple(
            replace(run, source=text, out=text, machine=Machine(system=text, processors=1))
            for run in report.runs
        ),
        builds=tuple(
            replace(
                build,
                id=name,
                jobs=(name,),
                python=text,
                target=text,
                error=text,
                log=f"{text}.log",
                tool_logs=(text,),
                setup=(ReportSetup(name=text, values=(text,), origin=text),),
            )
            for build, name in zip(report.builds, names, strict=True)
        ),
        jobs=tuple(
            replace(
                job,
                id=name,
                build=name,
                label=text,
                properties=(text,),
                pythons=(text,),
                targets=(text,),
                file=text,
                sha256=text,
                reasons=(text,),
                reproduce=text,
                test=ReportTest(state=WheelTestState.FAILED, reason=text, cpu=text, log=text),
                audit=(ReportFinding(severity="error", check=text, what=text, symbol=text),),
            )
            for job, name in zip(report.jobs, names, strict=True)
        ),
        warnings=(ReportWarning(level="warning", text=text, jobs=tuple(names)),),
    )
