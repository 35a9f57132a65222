"""``polywheel test``: run the tests of wheels that exist already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polywheel.ci.collect import read_planned
from polywheel.cli import say
from polywheel.cli.arguments import CommandParser, add_options, number_up_to
from polywheel.cli.build import observer_of, print_report
from polywheel.cli.plans import add_config, add_selection, config_path, select_jobs
from polywheel.matrix.selection import Selection, select
from polywheel.model.plan import Plan
from polywheel.run.context import prepare_run
from polywheel.run.options import RunOptions
from polywheel.run.testing.existing_wheels import test_wheels

_OPTIONS = """\
--plan FILE       the plan of the wheels, which polywheel matrix has written with --json or --format
                  github (default: the plan of the project)
--test-runner LABELS
                  only wheels with this test-runner; several labels are separated by spaces
--source DIR      the project with the tests (default: .)
"""
_TESTS = """\
--require-tests   fail if this machine can't test a wheel
--install-python  install missing Python versions with uv
-j --jobs N       test the wheels of up to N builds at a time (default: 1)
"""
_OUTPUT = """\
--report FILE     write a JSON report to FILE
--log-dir DIR     write the logs of tests to DIR (default: logs in the folder of the wheels)
--json            print events as JSON lines
"""


def run(arguments: Sequence[str]) -> int:
    """Test wheels, and print a summary.

    Returns 0 if no test failed, 1 if one failed or a wheel is missing, or 130 after an interrupt.
    """
    parser = CommandParser(
        prog="polywheel test",
        description="Test the wheels in DIR with the test commands of their project. Each wheel is "
        "installed into a new environment. No wheel is moved or changed.",
        epilog="example: polywheel test dist --plan plan.json --target linux-x86_64",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder of the wheels")
    add_options(parser, _OPTIONS)
    add_config(parser)
    add_selection(parser)
    add_options(parser.add_argument_group("tests"), _TESTS, jobs=number_up_to(1024))
    add_options(parser.add_argument_group("output"), _OUTPUT)
    parser.set_defaults(source=Path(), jobs=1)
    options = parser.parse_args(arguments)
    config = config_path(options)
    planned = read_planned(options.plan) if options.plan else None
    with prepare_run(
        options.source,
        config=config,
        plan=planned if isinstance(planned, Plan) else None,
        plan_name=options.plan.name if options.plan else "",
    ) as prepared:
        plan = select_jobs(prepared.plan, options)
        if isinstance(planned, tuple):
            plan = select(plan, Selection(jobs=planned))
        if options.test_runner is not None:
            words = options.test_runner.split()
            ids = [
                job.id
                for job in plan.jobs
                # A label may have spaces itself.
                if words and " ".join(plan.settings_of(job).test_runner or ()).split() == words
            ]
            if not ids:
                say(f"no wheel of the plan has the test-runner {options.test_runner!r}")
                return 0
            plan = select(plan, Selection(jobs=tuple(ids)))
        run_options = RunOptions(
            out=options.folder,
            max_parallel=options.jobs,
            logs=options.log_dir,
            install_python=options.install_python,
            require_tests=options.require_tests,
            config=config,
            report=options.report,
        )
        with observer_of(run_options.log_folder, as_json=options.json) as observer:
            report = test_wheels(prepared, plan, run_options, observer)
    return print_report(
        report, options.report, as_json=options.json, install_python=options.install_python
    )
