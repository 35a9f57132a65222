"""Run a plan: from the source to finished wheels in the output directory."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

from polywheel.config.reader import parse_size
from polywheel.errors import BuildError, WheelError
from polywheel.matrix.expansion import equal_when_built
from polywheel.matrix.platforms import this_target
from polywheel.model.plan import Build, Plan
from polywheel.run.cache_content import remove_leftovers
from polywheel.run.compiler_cache import choose_compiler_cache, needs_compiler_cache
from polywheel.run.context import PreparedRun, RunContext
from polywheel.run.executors.create import create_executor, plan_for_executor
from polywheel.run.fingerprint import installed_tools
from polywheel.run.journal import Journal, open_journal, read_journal
from polywheel.run.options import RunObserver, RunOptions, refuse_source_in_output
from polywheel.run.outcome import (
    Outcome,
    State,
    group_by_setup,
    report_equal_setups,
    setups_of,
    with_messages,
)
from polywheel.run.own_package import own_package_folder
from polywheel.run.report import Report, RunStart, check_report_path
from polywheel.run.scheduler import Limits, Task, run_builds
from polywheel.run.source.snapshot import Source, read_opened_source
from polywheel.run.stale_wheels import StaleWheel, find_outdated, find_stale, prune
from polywheel.run.wheel_audit import find_same_content
from polywheel.run.wheel_store import WheelStore
from polywheel.run.work_folder import remove_abandoned_work
from polywheel.run.worker.jobserver import CompileSlots, compile_slots
from polywheel.run.worker.requests import WorkerContext
from polywheel.system.cache import cache_directory
from polywheel.system.limits import free_memory
from polywheel.system.processes import on_interrupt, raise_interrupt
from polywheel.system.source_date_epoch import source_date_epoch
from polywheel.system.temporary import remove_abandoned


def run_plan(
    prepared: PreparedRun, plan: Plan, options: RunOptions, observer: RunObserver
) -> Report:
    """Build the wheels of a plan that this machine can build.

    ``plan`` is the plan of the prepared run, or a selection of it. If a build fails, the report has
    an outcome that says so. Raises PolywheelError if no build can start, and KeyboardInterrupt if
    the run is interrupted before the first build. A later interrupt ends the running builds, and
    the report says so. SIGTERM and SIGHUP are handled like Ctrl-C.
    """
    start = RunStart.now(prepared.source, options)
    refuse_source_in_output(prepared.source, options.out)
    for path in (options.report, options.html):
        if path is not None:
            check_report_path(path)
    with (
        _as_build_error(),
        on_interrupt(raise_interrupt),
        open_journal(options.out) as journal,
        compile_slots(options.max_parallel) as slots,
    ):
        for note in journal.notes:
            observer.note(note)
        run = _run_context(prepared, plan, options, journal=journal, slots=slots, observer=observer)
        _remove_abandoned(options.out, run.work_folder)
        _create_log_folder(options.log_folder)
        outcomes, interrupted = _build(run)
        report = _create_report(run, outcomes, interrupted=interrupted)
        stale = _stale_wheels(run, report)
        run.store.prune()
    return replace(report, stale=stale, start=start, seconds=time.monotonic() - start.clock)


def explain_plan(
    prepared: PreparedRun, plan: Plan, options: RunOptions, observer: RunObserver
) -> Mapping[str, tuple[str, ...]]:
    """Return why a run would build each wheel of a plan for this machine, by job; nothing for up-to-date wheels.

    Nothing is built, and the output directory is not touched. Raises PolywheelError.
    """
    with _as_build_error(), compile_slots(options.max_parallel) as slots:
        journal = read_journal(options.out)
        options = replace(options, dry_run=True)
        run = _run_context(prepared, plan, options, journal=journal, slots=slots, observer=observer)
        executor, missing_pythons = create_executor(run)
        reasons: dict[str, tuple[str, ...]] = {}
        for build in run.builds:
            if build.python in missing_pythons:
                reasons |= dict.fromkeys(build.jobs, (missing_pythons[build.python],))
                continue
            found = executor.find_existing(build).reasons
            reasons |= {job: found.get(job, ()) for job in build.jobs}
    return reasons


def _run_context(
    prepared: PreparedRun,
    plan: Plan,
    options: RunOptions,
    *,
    journal: Journal,
    slots: CompileSlots,
    observer: RunObserver,
) -> RunContext:
    """Read the source, and return the context of a run. Raises BuildError."""
    plan, builds = plan_for_executor(
        plan, this_target(), cibuildwheel=options.cibuildwheel is not None
    )
    here = needs_compiler_cache(builds, cibuildwheel=options.cibuildwheel is not None)
    source = read_opened_source(
        prepared.tree, prepared.source, without=options.paths_outside_source()
    )
    return RunContext(
        prepared=prepared,
        plan=plan,
        builds=builds,
        source=source,
        work_folder=_work_folder(prepared.source),
        worker_context=worker_context(source, options),
        tools=installed_tools(),
        compiler_cache=choose_compiler_cache(prepared.project, options.compiler_cache, here=here),
        options=options,
        journal=journal,
        store=WheelStore(notify=observer.note),
        slots=slots,
        observer=observer,
    )


def _build(run: RunContext) -> tuple[list[Outcome], bool]:
    """Run the builds. Return their outcomes, and whether the run was interrupted."""
    executor, missing_pythons = create_executor(run)
    limits = Limits(
        max_parallel=run.options.max_parallel,
        free_memory=free_memory,
        short_of_memory=lambda task, free: run.observer.note(
            f"note: {task.id} may need {_gibibytes(task.memory)} (memory-per-job), and only "
            f"{_gibibytes(free)} of memory is free: it starts alone"
        ),
        keep_going=run.options.keep_going,
    )
    return run_builds(
        run.builds,
        missing_pythons,
        executor,
        task_of=partial(_task_of, run),
        limits=limits,
        stop=run.worker_context.stop,
        observer=run.observer,
    )


def _create_report(run: RunContext, outcomes: Sequence[Outcome], *, interrupted: bool) -> Report:
    """Return the report of the outcomes, in the order of the plan. Its time is not known yet."""
    plan, by_build = run.plan, {outcome.build: outcome for outcome in outcomes}
    same = group_by_setup(plan, setups_of(outcomes))
    equal = equal_when_built(run.prepared.project, plan.jobs, same)
    here = {build.id for build in run.builds}
    ordered = [by_build[build.id] for build in plan.builds if build.id in by_build]
    reported = report_equal_setups(ordered, equal)
    if run.prepared.project.settings.audit.builds != "off":
        reported = with_messages(reported, find_same_content(plan, run.options.out, reported))
    return Report(
        plan=plan,
        out=run.options.out,
        outcomes=tuple(reported),
        elsewhere=tuple(build.id for build in plan.builds if build.id not in here),
        elsewhere_fails=run.options.elsewhere_fails,
        seconds=0.0,
        interrupted=interrupted,
    )


def _stale_wheels(run: RunContext, report: Report) -> tuple[StaleWheel, ...]:
    """Find the stale wheels. With ``prune``, they are removed if the wheels that replace them exist."""
    files = [wheel.file for outcome in report.outcomes for wheel in outcome.wheels]
    full_plan = replace(run.prepared.full_plan, config=run.options.config_name)
    stale = find_stale(run.options.out, run.journal, full_plan, files)
    if run.options.prune and report.exit_code == 0:
        stale = prune(run.options.out, stale)
    jobs_of = {build.id: build.jobs for build in run.builds}
    done = {wheel.job for outcome in report.outcomes for wheel in outcome.wheels}
    failed = [
        job
        for outcome in report.in_state(State.FAILED, State.TEST_FAILED, State.STOPPED)
        for job in jobs_of[outcome.build]
        if job not in done
    ]
    return (*stale, *find_outdated(run.journal, failed))


def _task_of(run: RunContext, build: Build) -> Task:
    """Return the task of a build: how long it took the last time, and the memory it may need."""
    durations = [run.options.durations.get(job) or run.journal.seconds(job) for job in build.jobs]
    known = [duration for duration in durations if duration is not None]
    memory = parse_size(build.settings.memory_per_job or "")
    return Task(
        id=build.id,
        seconds=sum(known) if known else None,
        memory=run.options.memory_per_job or memory or 0,
    )


def _gibibytes(size: int) -> str:
    """A size as in ``memory-per-job``."""
    return f"{size / (1 << 30):.3g}G"


@contextmanager
def _as_build_error() -> Iterator[None]:
    """Turn an OSError (no space, no permission) into a BuildError."""
    try:
        yield
    except OSError as error:
        raise BuildError(str(error.strerror or error), at=str(error.filename or "")) from None


def _create_log_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WheelError(
            f"the folder for logs can't be created: {error.strerror or error}", at=str(path)
        ) from None


def _remove_abandoned(out: Path, work_folder: Path) -> None:
    """Remove the files of killed runs from the output directory and the cache."""
    remove_abandoned(out)
    remove_abandoned_work(work_folder)
    remove_leftovers()


def _work_folder(source: Path) -> Path:
    """Return the folder for the builds of a source. It never changes, so compiler caches hit."""
    resolved = os.fsencode(source.resolve())
    # Some backends take a path for a text with variables in it.
    readable = re.sub(r"[^\w.-]", "_", source.resolve().stem, flags=re.ASCII)[:40]
    name = f"{readable}-{hashlib.sha256(resolved).hexdigest()[:10]}"
    return cache_directory() / "work" / name


def worker_context(source: Source, options: RunOptions) -> WorkerContext:
    """Return what all workers of a run have in common."""
    return WorkerContext(
        polywheel=own_package_folder(),
        config=options.config,
        settings=options.settings,
        epoch=source_date_epoch() or source.epoch,
        time_limit=options.time_limit,
        stop=Event(),
    )
