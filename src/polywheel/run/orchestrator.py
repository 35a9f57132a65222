"""A whole plan, from its source to a directory of finished wheels."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

from polywheel.config.project import Project
from polywheel.config.reader import bytes_of
from polywheel.errors import BuildError, WheelError
from polywheel.model.plan import Build, Plan
from polywheel.model.setup import BackendChoice
from polywheel.run.equal_setups import Compare, with_equal_setups
from polywheel.run.executors.cibuildwheel import by_variant, serves
from polywheel.run.executors.create import RunContext, create_executor
from polywheel.run.existing_wheels import Planned, find_stale, prune
from polywheel.run.journal import opened_journal
from polywheel.run.loop import BuildExecutor, BuildLoop, RunObserver
from polywheel.run.options import RunOptions
from polywheel.run.own_package import own_package_folder
from polywheel.run.report import Report
from polywheel.run.source.snapshot import Source, read_opened_source
from polywheel.run.worker.jobserver import compile_slots
from polywheel.run.worker.requests import WorkerContext
from polywheel.run.workplace import remove_abandoned_work
from polywheel.system.cache import cache_directory
from polywheel.system.processes import on_interrupt, raise_interrupt
from polywheel.system.source_date_epoch import source_date_epoch
from polywheel.system.temporary import remove_abandoned


def run_plan(
    plan: Plan,
    project: Project,
    source: Path,
    wishes: RunOptions,
    *,
    tree: Path,
    planned: Planned,
    here: str,
    choice: BackendChoice,
    watcher: RunObserver,
    compare: Compare,
) -> Report:
    """Make the wheels of a plan that this machine (the target ``here``) can make.

    ``tree`` is the folder that was opened for ``source``: the one that ``project`` was read from.
    ``planned`` is all of the plan that ``plan`` was chosen from. ``compare`` says of which jobs it is
    worth a warning, or an error, that they asked the same of their builds.

    A failure of one build is an outcome in the report; PolywheelError is raised for what keeps all
    of them from being made, and KeyboardInterrupt before the first has begun. After that what runs
    is ended, and the report says so. SIGTERM and SIGHUP are the same as Ctrl-C meanwhile.
    """
    started = time.monotonic()
    if wishes.cibuildwheel is not None:
        plan = by_variant(plan)
    builds = builds_here(plan, here, within=wishes.cibuildwheel is not None)
    with (
        _as_build_error(),
        on_interrupt(raise_interrupt),
        opened_journal(wishes.out) as journal,
        compile_slots(wishes.at_once, wishes.at_once) as slots,
    ):
        read = read_opened_source(tree, source, without=wishes.no_source())
        for note in journal.notes:
            watcher.said(note)
        _remove_abandoned(wishes.out, _place(source))
        _make_folder(wishes.logs)
        run = RunContext(
            plan=plan,
            builds=builds,
            project=project,
            choice=choice,
            origin=source,
            tree=read,
            unpacked=not source.is_dir(),
            place=_place(source),
            shop=_workshop(read, wishes, Event()),
            wishes=wishes,
            journal=journal,
            slots=slots,
            watcher=watcher,
        )
        maker, missing = create_executor(run)
        outcomes, interrupted = _turns(run, maker).all(builds, missing)
        outcomes = with_equal_setups(plan, outcomes, compare)
        order = {build.id: number for number, build in enumerate(plan.builds)}
        known = {build.id for build in builds}
        report = Report(
            plan=plan,
            out=wishes.out,
            outcomes=tuple(sorted(outcomes, key=lambda one: order[one.build])),
            elsewhere=tuple(build.id for build in plan.builds if build.id not in known),
            all_of_it=wishes.all_of_it,
            seconds=time.monotonic() - started,
            interrupted=interrupted,
        )
        made = [wheel.file for one in report.outcomes for wheel in one.wheels]
        planned = replace(planned, config=wishes.config_name)
        stale = find_stale(wishes.out, journal, planned, made)
        # Not before what takes their place is there.
        if wishes.prune and report.exit_code == 0:
            stale = prune(wishes.out, stale)
    return replace(report, stale=stale, seconds=time.monotonic() - started)


def builds_here(plan: Plan, here: str, *, within: bool) -> list[Build]:
    """The builds for this machine, the target ``here``; ``within`` cibuildwheel if that is so.

    Raises BuildError where there is none, though there are builds.
    """
    if within:
        builds = [build for build in plan.builds if serves(here, build.target)]
    else:
        builds = plan.builds_for(here)
    if plan.builds and not builds:
        others = sorted({build.target for build in plan.builds})
        raise BuildError(
            f"nothing of this can be built here: this machine is {here}, and the builds are for "
            + ", ".join(others),
            hint="run it there; polywheel matrix shows what is for which machine",
        )
    return builds


@contextmanager
def _as_build_error() -> Iterator[None]:
    """What the system refuses (no room, no permission) is a BuildError."""
    try:
        yield
    except OSError as error:
        raise BuildError(str(error.strerror or error), at=str(error.filename or "")) from None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WheelError(
            f"the folder for logs can't be made: {error.strerror or error}", at=str(path)
        ) from None


def _remove_abandoned(out: Path, place: Path) -> None:
    """Remove what killed runs have left in the output directory and in the cache."""
    remove_abandoned(out)
    remove_abandoned_work(place)
    with suppress(OSError):
        for path in cache_directory().iterdir():
            remove_abandoned(path)
            for users in path.glob("*.users"):  # of a snapshot, or of an environment
                remove_abandoned(users)


def _place(source: Path) -> Path:
    """Where the builds of a source lie: always the same folder, so that compiler caches hit."""
    resolved = os.fsencode(source.resolve())
    # Some backends take a path for a text with variables in it.
    shown = re.sub(r"[^\w.-]", "_", source.resolve().stem, flags=re.ASCII)[:40]
    name = f"{shown}-{hashlib.sha256(resolved).hexdigest()[:10]}"
    return cache_directory() / "work" / name


def _workshop(tree: Source, wishes: RunOptions, stop: Event) -> WorkerContext:
    return WorkerContext(
        polywheel=own_package_folder(),
        config=wishes.config,
        settings=wishes.settings,
        epoch=source_date_epoch() or tree.epoch,
        seconds=wishes.seconds,
        stop=stop,
        keep_work=wishes.keep_work,
    )


def _turns(run: RunContext, maker: BuildExecutor) -> BuildLoop:
    def seconds(build: Build) -> float | None:
        """How long a build took the last time, as far as that is known."""
        took = [run.wishes.recorded.get(job) or run.journal.seconds(job) for job in build.jobs]
        known = [one for one in took if one is not None]
        return sum(known) if known else None

    def memory(build: Build) -> int:
        said = run.wishes.memory_per_job
        target = run.plan.targets[build.target]
        return said or bytes_of(target.memory_per_job or "") or 0

    return BuildLoop(
        maker=maker,
        stop=run.shop.stop,
        watcher=run.watcher,
        seconds=seconds,
        at_once=run.wishes.at_once,
        memory=memory,
        keep_going=run.wishes.keep_going,
    )
