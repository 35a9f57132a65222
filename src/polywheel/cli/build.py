"""``polywheel build``: the whole matrix, in parallel, once."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from polywheel.cli import say
from polywheel.cli.build_options import parse
from polywheel.cli.dry_run import DryRun, print_dry_run
from polywheel.cli.plans import chosen
from polywheel.config.project import config_file
from polywheel.errors import PolywheelError
from polywheel.matrix.plan_json import read_plan
from polywheel.matrix.platforms import this_target
from polywheel.matrix.shards import read_durations
from polywheel.providers.plugins import PluginEnvironments
from polywheel.run.executors.create import plan_for_executor
from polywheel.run.loop import RunObserver
from polywheel.run.options import RunOptions
from polywheel.run.outcome import Outcome, State
from polywheel.run.preparation import prepare_run
from polywheel.run.progress import (
    format_size,
    is_terminal,
    json_events,
    live_table,
    log_tail,
    plain_lines,
)
from polywheel.run.report import Report, warnings_as_json
from polywheel.system.terminal import json_text, print_lines

_NAMED = 20
"""How many failures are named at the end, how many warnings, and how many stale wheels."""
_NAMED_JOBS = 3
"""How many jobs are named that have one warning."""


def run(arguments: Sequence[str]) -> int:
    """Build; 0 where all is there, 1 where something failed, 130 after an interrupt."""
    options = parse(arguments)
    source, here = Path(options.source), this_target()
    config = Path(options.config) if options.config is not None else config_file()
    plan = read_plan(options.plan) if options.plan else None
    with prepare_run(
        source,
        config=config,
        plan=plan,
        plan_name=options.plan.name if options.plan else "",
        clean=options.clean,
        fresh=options.fresh,
    ) as prepared:
        plan = chosen(prepared.plan, options)
        if options.dry_run:
            plan, builds = plan_for_executor(
                plan, here, cibuildwheel=options.cibuildwheel is not None
            )
            dry_run = DryRun(
                plan=plan,
                project=prepared.project,
                choice=prepared.choice,
                settings=options.settings,
                here=frozenset(build.id for build in builds),
                machine=here,
                plugins=PluginEnvironments(fresh=options.fresh, notify=say),
            )
            print_dry_run(dry_run, as_json=options.json)
            return 0
        run_options = _run_options(options, config)
        with _observer(options, run_options.logs) as observer:
            report = prepared.run(plan, run_options, observer)
    unwritten = _write_report(report, options.report)
    if options.json:
        finish = {"event": "finish", "time": round(time.time(), 3), **_finish(report)}
        sys.stdout.write(json_text(finish) + "\n")
    else:
        print_lines(_summary(report, prune=options.prune))
    if unwritten is not None:
        raise unwritten
    return report.exit_code


def _write_report(report: Report, path: Path | None) -> PolywheelError | None:
    """Before anything is printed that perhaps nobody reads; why it could not be written."""
    if path is not None:
        try:
            report.write(path)
        except PolywheelError as error:
            return error
    return None


def _run_options(options: argparse.Namespace, config: Path | None) -> RunOptions:
    return RunOptions(
        out=options.output,
        max_parallel=options.jobs,
        logs=options.log_dir or Path(),
        keep_going=not options.fail_fast,
        fresh=options.fresh,
        force=options.force,
        keep_work=options.keep_work,
        prune=options.prune,
        install_python=options.install_python,
        config=config,
        settings=options.settings,
        cibuildwheel=options.cibuildwheel,
        timeout=options.job_timeout,
        memory_per_job=options.memory_per_job,
        report=options.report,
        durations=read_durations(Path(options.durations)) if options.durations else {},
        elsewhere_fails=bool(options.target or options.only),
    )


def _observer(options: argparse.Namespace, logs: Path) -> AbstractContextManager[RunObserver]:
    if options.json:
        return json_events(sys.stdout)
    if is_terminal(sys.stderr) and find_spec("rich") is not None:
        return live_table(sys.stderr, logs)
    return plain_lines(sys.stderr)


def _finish(report: Report) -> dict[str, object]:
    return {
        "exit-code": report.exit_code,
        "interrupted": report.interrupted,
        "seconds": round(report.seconds, 3),
        "out": str(report.out),
        "warnings": warnings_as_json(report.messages),
        "stale": [asdict(one) for one in report.stale],
        "builds": {str(state): count for state, count in _counted(report).items()},
    }


def _counted(report: Report) -> dict[State, int]:
    counts = {state: len(report.in_state(state)) for state in State}
    counts[State.ELSEWHERE] = len(report.elsewhere)
    return {state: count for state, count in counts.items() if count}


def _warnings(report: Report) -> Iterator[str]:
    """The warnings and notes of the builds, each once, with the jobs that have it."""
    messages = report.messages
    for one in messages[:_NAMED]:
        yield one.text
        names = ", ".join(one.jobs[:_NAMED_JOBS])
        more = len(one.jobs) - _NAMED_JOBS
        yield f"  jobs: {names}{f' and {more} more' if more > 0 else ''}"
    if len(messages) > _NAMED:
        yield f"and {len(messages) - _NAMED} more warnings and notes: --report FILE has all of them"


def _failures(failed: Sequence[Outcome]) -> Iterator[str]:
    """Each error once, with the builds that ended with it and the log of the first."""
    by_error: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in failed:
        # Backends fail with one message for every reason: then the end of the log tells.
        said = log_tail(outcome.log)[-1:] if outcome.log is not None else []
        by_error.setdefault((_without_python(outcome.error or ""), *said), []).append(outcome)
    for (error, *_), outcomes in list(by_error.items())[:_NAMED]:
        why, first = error.partition("\n")[0], outcomes[0]
        if len(outcomes) == 1:
            yield f"failed: {first.build}: {why}"
        else:
            names = ", ".join(one.build for one in outcomes[:_NAMED])
            more = f" and {len(outcomes) - _NAMED} more" if len(outcomes) > _NAMED else ""
            yield f"failed: {len(outcomes)} builds: {why}"
            yield f"  builds: {names}{more}"
        yield from (f"  log: {log}" for log in first.logs)
    if len(by_error) > _NAMED:
        yield f"and {len(by_error) - _NAMED} other errors"


def _without_python(error: str) -> str:
    """An error without the Python in front of it: several may have the same one."""
    return re.sub(r"\APython 3\.[0-9]+t?: ", "", error)


def _stale(report: Report) -> Iterator[str]:
    """The wheels that are not planned any more, and what has become of them."""
    for one in report.stale[:_NAMED]:
        other = "" if one.own else "; polywheel did not make it here, or it has changed"
        yield f"{'removed' if one.removed else 'stale'}: {one.file}: {one.why}{other}"
    if len(report.stale) > _NAMED:
        yield f"and {len(report.stale) - _NAMED} more stale wheels: --report FILE has all of them"


def _summary(report: Report, *, prune: bool) -> Iterator[str]:
    """What was built, skipped and failed, sizes and time, and what to do next."""
    yield from _warnings(report)
    yield from _stale(report)
    if prune and report.exit_code and any(one.own for one in report.stale):
        yield "--prune removes stale wheels once all others are there"
    failed = report.in_state(State.FAILED)
    yield from _failures(failed)
    parts = [f"{count} {state.replace('-', ' ')}" for state, count in _counted(report).items()]
    yield f"builds: {', '.join(parts) or 'none'}"
    wheels = [wheel for one in report.outcomes for wheel in one.wheels]
    size = format_size(sum(wheel.size for wheel in wheels))
    yield f"wheels: {len(wheels)} ({size}) in {report.out}, after {report.seconds:.1f} s"
    if following := _next(report):
        yield f"next: {following}"


def _next(report: Report) -> str | None:
    """What to do next."""
    failed = bool(report.in_state(State.FAILED))
    logged = any(one.logs for one in report.in_state(State.FAILED))
    no_python = bool(report.in_state(State.NO_PYTHON))
    to_prune = any(one.own and not one.removed for one in report.stale)
    steps = (
        (
            no_python and not failed,
            "--install-python gets the Pythons that are missing, through uv",
        ),
        (logged, "see the logs; once it is mended, the same command builds what is missing"),
        (failed, "once it is mended, the same command builds what is missing"),
        (
            report.exit_code != 0,
            "run the same command again; what is finished is not built again",
        ),
        (
            bool(report.elsewhere),
            "run the same command on the other machines; polywheel matrix names them",
        ),
        (to_prune, "the same command with --prune removes stale wheels that polywheel made"),
        (any(one.wheels for one in report.outcomes), f"polywheel index {report.out}"),
    )
    return next((step for fits, step in steps if fits), None)
