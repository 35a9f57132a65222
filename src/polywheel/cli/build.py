"""``polywheel build``: build the wheels of the matrix and print a summary."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

from polywheel.cli.build_options import parse
from polywheel.cli.dry_run import print_dry_run
from polywheel.cli.plans import config_path, select_jobs
from polywheel.matrix.plan_json import read_plan
from polywheel.run.compiler_cache import total_use
from polywheel.run.context import prepare_run
from polywheel.run.options import RunObserver, RunOptions
from polywheel.run.orchestrator import run_plan
from polywheel.run.outcome import FAILURES, Outcome, State
from polywheel.run.progress import (
    is_terminal,
    json_events,
    live_table,
    log_tail,
    plain_lines,
)
from polywheel.run.report import Report, warnings_as_json
from polywheel.system.terminal import count_others, format_size, join_first, json_text, print_lines

_MOST_LINES = 20
"""How many failures, warnings, and stale wheels the summary lists."""
_MOST_JOBS = 3
"""How many jobs the summary lists for a warning."""


def run(arguments: Sequence[str]) -> int:
    """Build the wheels and print a summary.

    Returns 0 if all wheels exist, 1 if a build failed, or 130 after an interrupt.
    """
    options = parse(arguments)
    config = config_path(options)
    with prepare_run(
        Path(options.source),
        config=config,
        plan=read_plan(options.plan) if options.plan else None,
        plan_name=options.plan.name if options.plan else "",
        clean=options.clean,
        fresh=options.fresh,
    ) as prepared:
        plan = select_jobs(prepared.plan, options)
        run_options = _run_options(options, config)
        if options.dry_run:
            print_dry_run(prepared, plan, options, run_options)
            return 0
        with observer_of(run_options.log_folder, as_json=options.json) as observer:
            explains = options.json or options.explain_rebuild
            shown = observer if explains else replace(observer, explain=lambda *_: None)
            report = run_plan(prepared, plan, run_options, shown)
    return print_report(
        report,
        options.report,
        html=options.html,
        as_json=options.json,
        prune=options.prune,
        install_python=options.install_python,
    )


def print_report(
    report: Report,
    path: Path | None,
    *,
    as_json: bool,
    install_python: bool,
    prune: bool = False,
    html: Path | None = None,
) -> int:
    """Write a report to a file, print its summary, and return its exit code.

    ``html`` is the file for the page. ``prune``: whether stale wheels were to be removed. ``install_python``: whether missing Pythons were to be
    installed.
    """
    try:
        # Write the report before the summary: printing fails if standard output is closed.
        if path is not None:
            report.write(path)
        if html is not None:
            _write_page(report, html)
    finally:
        if as_json:
            sys.stdout.write(json_text(_finish(report)) + "\n")
        else:
            print_lines(_summary(report, prune=prune, install_python=install_python))
    return report.exit_code


def _write_page(report: Report, path: Path) -> None:
    """Write the page of a run. Raises WheelError."""
    from polywheel.report.page import write_page
    from polywheel.report.read import report_of

    write_page(report_of(report.document(), path="polywheel build"), path)


def _run_options(options: argparse.Namespace, config: Path | None) -> RunOptions:
    return RunOptions(
        out=options.output,
        max_parallel=options.jobs,
        logs=options.log_dir,
        keep_going=not options.fail_fast,
        fresh=options.fresh,
        rebuild=options.rebuild,
        dry_run=options.dry_run,
        force=options.force,
        keep_work=options.keep_work,
        prune=options.prune,
        install_python=options.install_python,
        config=config,
        settings=options.settings,
        cibuildwheel=options.cibuildwheel,
        compiler_cache=options.compiler_cache,
        time_limit=options.job_timeout,
        memory_per_job=options.memory_per_job,
        report=options.report,
        html=options.html,
        command=_command(options),
        test=not options.no_tests,
        require_tests=options.require_tests,
        durations=options.durations.seconds if options.durations is not None else {},
        elsewhere_fails=bool(options.target or options.only),
    )


def _command(options: argparse.Namespace) -> tuple[str, ...]:
    """The words of a command that builds the same jobs, without a selection of jobs."""
    paths = {"--config": options.config, "--plan": options.plan, "-o": options.output}
    words = [word for name, path in paths.items() if path is not None for word in (name, str(path))]
    if options.frontend != "polywheel":
        words += ["--frontend", options.frontend]
    if options.compiler_cache is not None:
        words += ["--compiler-cache", options.compiler_cache]
    flags = ("clean", "fresh", "install_python", "no_tests", "require_tests")
    words += [f"--{name.replace('_', '-')}" for name in flags if getattr(options, name)]
    words += [f"-C{setting}" for setting in options.C]
    return "polywheel", "build", options.source, *words


def observer_of(logs: Path, *, as_json: bool) -> AbstractContextManager[RunObserver]:
    """Return what shows the events of a run. ``logs`` is the folder of its logs."""
    if as_json:
        return json_events(sys.stdout)
    if is_terminal(sys.stderr) and find_spec("rich") is not None:
        return live_table(sys.stderr, logs)
    return plain_lines(sys.stderr)


def _finish(report: Report) -> dict[str, object]:
    return {
        "event": "finish",
        "time": round(time.time(), 3),
        "exit-code": report.exit_code,
        "interrupted": report.interrupted,
        "seconds": round(report.seconds, 3),
        "out": str(report.out),
        "warnings": warnings_as_json(report.messages),
        "stale": [asdict(wheel) for wheel in report.stale],
        "tests": {str(state): count for state, count in report.count_tests().items()},
        "builds": {str(state): count for state, count in _count_states(report).items()},
    }


def _count_states(report: Report) -> dict[State, int]:
    counts = {state: len(report.in_state(state)) for state in State}
    counts[State.ELSEWHERE] = len(report.elsewhere)
    return {state: count for state, count in counts.items() if count}


def _warnings(report: Report) -> Iterator[str]:
    """Each warning and note of the builds once, with its jobs."""
    for message in report.messages[:_MOST_LINES]:
        yield message.text
        yield f"  jobs: {join_first(message.jobs, _MOST_JOBS)}"
    noun = " warnings and notes; --report FILE writes all of them"
    yield from count_others(report.messages, _MOST_LINES, noun)


def _failures(failed: Sequence[Outcome]) -> Iterator[str]:
    """Each error once, with its builds and the log of the first one."""
    by_error: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in failed:
        # Backends fail with the same message for many reasons. The end of the log tells them apart.
        last_line = log_tail(outcome.log)[-1:] if outcome.log is not None else []
        by_error.setdefault((_without_python(outcome.error or ""), *last_line), []).append(outcome)
    for (error, *_), outcomes in list(by_error.items())[:_MOST_LINES]:
        reason, first = error.partition("\n")[0], outcomes[0]
        if len(outcomes) == 1:
            yield f"failed: {first.build}: {reason}"
        else:
            yield f"failed: {len(outcomes)} builds: {reason}"
            yield f"  builds: {join_first((outcome.build for outcome in outcomes), _MOST_LINES)}"
        yield from (f"  log: {log}" for log in first.logs)
    yield from count_others(by_error, _MOST_LINES, " errors")


def _without_python(error: str) -> str:
    """An error without the leading Python version, to find the same error of several versions."""
    return re.sub(r"\APython 3\.[0-9]+t?: ", "", error)


def _stale(report: Report) -> Iterator[str]:
    """The wheels that are no longer planned, and whether they were removed."""
    for wheel in report.stale[:_MOST_LINES]:
        foreign = "" if wheel.own else "; polywheel did not build it here, or it has changed"
        yield f"{'removed' if wheel.removed else 'stale'}: {wheel.file}: {wheel.why}{foreign}"
    noun = " stale wheels; --report FILE writes all of them"
    yield from count_others(report.stale, _MOST_LINES, noun)


def _summary(report: Report, *, prune: bool, install_python: bool) -> Iterator[str]:
    """Warnings, stale wheels, failures, counts, size, time, and the next step."""
    yield from _warnings(report)
    yield from _stale(report)
    if prune and report.exit_code and any(wheel.own for wheel in report.stale):
        yield "--prune removes stale wheels after all builds have succeeded"
    yield from _failures(report.in_state(*FAILURES))
    counts = [
        f"{count} {state.replace('-', ' ')}" for state, count in _count_states(report).items()
    ]
    yield f"builds: {', '.join(counts) or 'none'}"
    if tests := report.count_tests():
        yield f"tests: {', '.join(f'{count} {state}' for state, count in tests.items())}"
    if (use := total_use(outcome.compiler_cache for outcome in report.outcomes)) is not None:
        yield f"compiler cache: {use.hits} hits, {use.misses} misses"
    wheels = [wheel for outcome in report.outcomes for wheel in outcome.wheels]
    size = format_size(sum(wheel.size for wheel in wheels))
    yield f"wheels: {len(wheels)} ({size}) in {report.out}, after {report.seconds:.1f} s"
    if next_step := _next_step(report, install_python=install_python):
        yield f"next: {next_step}"


def _next_step(report: Report, *, install_python: bool) -> str | None:
    failed = report.in_state(*FAILURES)
    if failed:
        see_logs = "see the logs; " if any(outcome.logs for outcome in failed) else ""
        what = "build the missing wheels" if report.in_state(State.FAILED) else "test them again"
        return f"{see_logs}fix the errors and run the same command again to {what}"
    if report.in_state(State.NO_PYTHON):
        return (
            "install the missing Python versions, or select others with --python"
            if install_python
            else "use --install-python to install the missing Python versions with uv"
        )
    if report.exit_code != 0:
        return "run the same command again to continue; finished builds are skipped"
    if report.elsewhere:
        return "run the same command on the other machines; polywheel matrix lists their targets"
    if any(wheel.own and not wheel.removed for wheel in report.stale):
        return "use --prune to remove the stale wheels that polywheel built"
    has_wheels = any(outcome.wheels for outcome in report.outcomes)
    return f"polywheel index {report.out}" if has_wheels else None
