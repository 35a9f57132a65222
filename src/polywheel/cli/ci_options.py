"""The options of ``polywheel ci``, and the command line that a generated file says it is made by."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.ci import github
from polywheel.ci.generated import Repository, generated_header
from polywheel.ci.rendering import parse_action
from polywheel.cli.arguments import CommandParser
from polywheel.cli.plans import add_config
from polywheel.errors import ConfigError

_WORKFLOW = ".github/workflows/wheels.yml"
RESULTS = ("success", "failure", "cancelled", "skipped")
_PATHS = {"config": "--config", "output": "--output"}
_VALUES = {
    "max_jobs": "--max-jobs",
    "runner": "--runner",
    "python": "--python",
    "action": "--action",
    "image": "--image",
    "requirement": "--requirement",
    "environment": "--environment",
    "repository_url": "--repository-url",
}
_SWITCHES = {"pr_subset": "--pr-subset", "publish": "--publish"}
_LISTS = {"branch": "--branch", "tag": "--tag"}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; those that contradict each other raise ConfigError."""
    parser = CommandParser(
        prog="polywheel ci",
        description="Files for CI systems, and the end of a CI run.",
        epilog="example: polywheel ci github --pr-subset --publish",
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True, dest="kind")
    _add_github(kinds)
    _add_gitlab(kinds)
    _add_cibuildwheel(kinds)
    _add_collect(kinds)
    options = parser.parse_args(arguments)
    if options.kind != "collect":
        _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    if options.check and (options.force or options.output == "-"):
        other = "--force" if options.force else "-o -"
        raise ConfigError(f"--check writes nothing, {other} does", at="--check")
    if not getattr(options, "publish", True):
        for name in ("environment", "repository_url"):
            if getattr(options, name) != _defaults(options, name):
                raise ConfigError("it is without effect without --publish", at=_VALUES[name])


def _defaults(options: argparse.Namespace, name: str) -> object:
    return options.defaults.get(name)


def _add_github(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = _file_parser(
        kinds,
        "github",
        file=_WORKFLOW,
        description="Write a workflow for GitHub Actions: plan, build (a job for each entry of "
        "polywheel matrix --format github), collect. It need not change when the matrix does.",
        epilog="example: polywheel ci github --pr-subset --publish --environment release",
    )
    add_config(parser)
    _add_plan(parser)
    _add_frame(parser)


def _add_gitlab(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = _file_parser(
        kinds,
        "gitlab",
        file=github.FILE,
        description="Write a file to include in .gitlab-ci.yml: a job that plans, a child pipeline "
        "with a job for each build, and one that collects.",
        epilog="example: polywheel ci gitlab --pr-subset",
    )
    add_config(parser)
    _add_plan(parser)
    parser.add_argument(
        "--image", default=github.IMAGE, help="where plan and collect run (default: %(default)s)"
    )
    parser.add_argument(
        "--requirement",
        default=github.REQUIREMENT,
        metavar="REQUIREMENT",
        help="what pip installs in each job (default: %(default)s)",
    )


def _add_cibuildwheel(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = _file_parser(
        kinds,
        "cibuildwheel",
        file=_WORKFLOW,
        description="Write a workflow for GitHub Actions in which cibuildwheel builds, one run of it "
        "for each variant and target. It holds the matrix: --check tells when that has changed.",
        epilog="example: polywheel ci cibuildwheel --check",
    )
    parser.set_defaults(config=None)
    _add_frame(parser)


def _add_collect(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    about = (
        "Put the wheels that the jobs of a CI run made into one folder, their reports into one, and "
        "print a summary in Markdown. The exit code is 1 where a wheel is missing, 4 where one is "
        "not what it should be."
    )
    parser = kinds.add_parser(
        "collect",
        help="the wheels and reports of all jobs, in one place",
        description=about,
        epilog="example: polywheel ci collect artifacts -o dist --report report.json",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder with all artifacts")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("dist"), metavar="DIST", help="(default: dist)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write one report of all")
    parser.add_argument(
        "--result", choices=RESULTS, help="what CI says of the jobs; all but success is a failure"
    )


def _file_parser(
    kinds: argparse._SubParsersAction[CommandParser],
    kind: str,
    *,
    file: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    parser = kinds.add_parser(kind, help=f"write {file}", description=description, epilog=epilog)
    parser.set_defaults(file=file)
    parser.add_argument(
        "source", nargs="?", default=".", metavar="SOURCE", help="the project (default: .)"
    )
    parser.add_argument(
        *("-o", "--output"),
        metavar="FILE",
        help=f"(default: {file} in the repository of SOURCE); - prints it",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; print how the file differs from what would be written, exit code 1",
    )
    parser.add_argument(
        "--force", action="store_true", help="write over a file that polywheel did not write"
    )
    return parser


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pr-subset",
        action="store_true",
        help="for pull requests (merge requests) only the fewest jobs that have every value of "
        "every axis",
    )
    parser.add_argument(
        "--max-jobs", type=_count, metavar="N", help="put builds together into at most N jobs"
    )


def _add_frame(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--publish",
        action="store_true",
        help="publish what a pushed tag builds, by trusted publishing from an environment",
    )
    texts = {
        "environment": (github.ENVIRONMENT, "NAME", "its environment"),
        "repository_url": (None, "URL", "its upload address (default: PyPI's)"),
        "runner": (github.RUNNER, "NAME", "where all but the builds runs"),
        "python": (github.PYTHON, "VERSION", "the Python that polywheel runs with"),
        "action": (None, "USES", "another action in place of polywheel's own, such as a fork's"),
    }
    for name, (default, shown, text) in texts.items():
        more = f" (default: {default})" if default is not None else ""
        option = _VALUES[name]
        parser.add_argument(option, default=default, metavar=shown, help=text + more)
    parser.add_argument(
        "--branch",
        action="append",
        metavar="NAME",
        help=f"a branch whose pushes are built (default: {' and '.join(github.BRANCHES)})",
    )
    parser.add_argument(
        "--tag",
        action="append",
        metavar="GLOB",
        help=f"tags that are built (default: {', '.join(github.TAGS)})",
    )
    parser.set_defaults(defaults={name: default for name, (default, _, _) in texts.items()})


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 10000, found {text!r}")
    return int(text)


def read_workflow_settings(
    options: argparse.Namespace, repository: Repository, command: Sequence[str]
) -> github.WorkflowSettings:
    """What the options say of a workflow. Raises ConfigError."""
    publication = None
    if options.publish:
        publication = github.Publication(
            environment=options.environment, repository_url=options.repository_url
        )
    return github.check_settings(
        github.WorkflowSettings(
            header=generated_header(command),
            source=repository.path(Path(options.source), at="SOURCE"),
            action=parse_action(options.action),
            runner=options.runner,
            python=options.python,
            branches=tuple(options.branch or github.BRANCHES),
            tags=tuple(options.tag or github.TAGS),
            publication=publication,
        )
    )


def command_line(options: argparse.Namespace, repository: Repository) -> list[str]:
    """The arguments that make the same file again, from the root of the repository."""
    source = repository.path(Path(options.source), at="SOURCE")
    words = ["ci", options.kind, *([source] if source != "." else [])]
    defaults = {"image": github.IMAGE, "requirement": github.REQUIREMENT}
    defaults |= getattr(options, "defaults", {})
    for name, option in _PATHS.items():
        value = getattr(options, name, None)
        if value not in {None, "-"}:
            path = repository.path(Path(value), at=option)
            if name != "output" or path != f"./{options.file}":
                words.append(f"{option}={path}")
    for name, option in _VALUES.items():
        value = getattr(options, name, None)
        if value is not None and value != defaults.get(name):
            words.append(f"{option}={value}")
    words += [option for name, option in _SWITCHES.items() if getattr(options, name, False)]
    for name, option in _LISTS.items():
        words += [f"{option}={value}" for value in getattr(options, name, None) or ()]
    return _printable(words)


def _printable(words: list[str]) -> list[str]:
    for word in words:
        if not word.isprintable():
            raise ConfigError(
                f"{word!r} holds what no line of a file can hold", at=word.partition("=")[0]
            )
    return words
