"""The end of ``polywheel build``: each error is shown once, however many builds it ended."""

from __future__ import annotations

from pathlib import Path

from polywheel.cli.build import _failures, _next_step
from polywheel.run.outcome import Outcome, State
from polywheel.run.report import Report
from support.plans import job, plan_of


def failed(build: str, error: str, log: Path | None = None) -> Outcome:
    return Outcome(build=build, state=State.FAILED, error=error, log=log)


def test_the_same_error_is_one_line_with_its_builds() -> None:
    outcomes = [
        failed("cp311-a", "Python 3.11: can't install nowhere\nno such package"),
        failed("cp312-a", "Python 3.12: can't install nowhere\nno such package"),
        failed("cp312-b", "it took too long"),
    ]
    assert list(_failures(outcomes)) == [
        "failed: 2 builds: can't install nowhere",
        "  builds: cp311-a, cp312-a",
        "failed: cp312-b: it took too long",
    ]


def test_one_message_with_two_causes_is_two_errors(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("CC a.c\n" + ("no header\n" if name == "c" else "no room\n"))
    outcomes = [failed(name, "the backend failed", tmp_path / name) for name in "abc"]
    assert list(_failures(outcomes)) == [
        "failed: 2 builds: the backend failed",
        "  builds: a, b",
        f"  log: {tmp_path / 'a'}",
        "failed: c: the backend failed",
        f"  log: {tmp_path / 'c'}",
    ]


def test_the_next_step_is_no_option_that_was_given() -> None:
    outcomes = (Outcome(build="cp399-a", state=State.NO_PYTHON, error="no Python 3.99"),)
    report = Report(
        plan=plan_of([job("a")]), out=Path("dist"), outcomes=outcomes, elsewhere=(), seconds=1
    )
    given, not_given = (_next_step(report, install_python=given) for given in (True, False))
    assert given == "install the missing Python versions, or select others with --python"
    assert not_given == "use --install-python to install the missing Python versions with uv"
