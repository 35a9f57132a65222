"""The options of ``polywheel ci``, and the command line that a generated file states in its header."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.ci import github, gitlab
from polywheel.ci.generated_files import Repository, generated_header
from polywheel.ci.rendering import parse_action
from polywheel.cli.arguments import CommandParser, number_up_to
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
    """Parse the options of ``polywheel ci``. Raises ConfigError if options contradict each other."""
    parser = CommandParser(
        prog="polywheel ci",
        description="Write workflows for CI systems, and collect the wheels of a CI run.",
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
        raise ConfigError(f"--check can't be used with {other}", at="--check")
    if not getattr(options, "publish", True):
        for name in ("environment", "repository_url"):
            if getattr(options, name) != _defaults(options, name):
                raise ConfigError(
                    f"{_VALUES[name]} has no effect without --publish", at=_VALUES[name]
                )


def _defaults(options: argparse.Namespace, name: str) -> object:
    return options.defaults.get(name)


def _add_github(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = _file_parser(
        kinds,
        "github",
        file=_WORKFLOW,
        summary="write a workflow for GitHub Actions",
        description="Write a workflow for GitHub Actions with the jobs plan, build (one for each "
        "entry of polywheel matrix --format github), and collect. It reads the matrix when it runs, "
        "so it stays the same when the matrix changes.",
        epilog="example: polywheel ci github --pr-subset --publish --environment release",
    )
    add_config(parser)
    _add_plan(parser)
    _add_frame(parser)


def _add_gitlab(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = _file_parser(
        kinds,
        "gitlab",
        file=gitlab.FILE,
        summary="write a file to include in .gitlab-ci.yml",
        description="Write a file to include in .gitlab-ci.yml. It has a plan job, a child pipeline "
        "with a job for each build, and a collect job.",
        epilog="example: polywheel ci gitlab --pr-subset",
    )
    add_config(parser)
    _add_plan(parser)
    parser.add_argument(
        "--image",
        default=gitlab.IMAGE,
        help="the image of the plan and collect jobs (default: %(default)s)",
    )
    parser.add_argument(
        "--requirement",
        default=gitlab.REQUIREMENT,
        metavar="REQUIREMENT",
        help="the requirement that each job installs with pip (default: %(default)s)",
    )


def _add_cibuildwheel(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = _file_parser(
        kinds,
        "cibuildwheel",
        file=_WORKFLOW,
        summary="write a workflow for GitHub Actions that runs cibuildwheel",
        description="Write a workflow for GitHub Actions that runs cibuildwheel for each variant and "
        "target. The workflow contains the matrix; use --check to find out if the matrix has "
        "changed.",
        epilog="example: polywheel ci cibuildwheel --check",
    )
    parser.set_defaults(config=None)
    _add_frame(parser)


def _add_collect(kinds: argparse._SubParsersAction[CommandParser]) -> None:
    parser = kinds.add_parser(
        "collect",
        help="collect the wheels and reports of all jobs of a CI run",
        description="Copy the wheels of all jobs of a CI run into one folder, merge their reports, "
        "and print a summary in Markdown. The exit code is 1 if a wheel is missing, and 4 if a "
        "wheel does not match its report.",
        epilog="example: polywheel ci collect artifacts -o dist --report report.json",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="the folder with the artifacts of all jobs"
    )
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        default=Path("dist"),
        metavar="DIST",
        help="write the wheels to DIST (default: dist)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write the merged report to FILE"
    )
    parser.add_argument(
        "--result",
        choices=RESULTS,
        help="the result of the build jobs in CI; anything but success is a failure",
    )


def _file_parser(
    kinds: argparse._SubParsersAction[CommandParser],
    kind: str,
    *,
    file: str,
    summary: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    parser = kinds.add_parser(kind, help=summary, description=description, epilog=epilog)
    parser.set_defaults(file=file)
    parser.add_argument(
        "source", nargs="?", default=".", metavar="SOURCE", help="the project (default: .)"
    )
    parser.add_argument(
        *("-o", "--output"),
        metavar="FILE",
        help=f"write to FILE (default: {file} in the repository of SOURCE); - prints it",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; if the file is out of date, print a diff and exit with 1",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite a file that polywheel did not write"
    )
    return parser


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pr-subset",
        action="store_true",
        help="for pull or merge requests, run only the fewest jobs that cover every value of every "
        "axis",
    )
    parser.add_argument(
        "--max-jobs",
        type=number_up_to(10_000),
        metavar="N",
        help="combine builds into at most N CI jobs",
    )


def _add_frame(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--publish",
        action="store_true",
        help="when a tag is pushed, publish its wheels with trusted publishing",
    )
    texts = {
        "environment": (github.ENVIRONMENT, "NAME", "with --publish: the GitHub environment"),
        "repository_url": (None, "URL", "with --publish: the upload URL (default: PyPI)"),
        "runner": (github.RUNNER, "NAME", "the runner of all jobs except the builds"),
        "python": (github.PYTHON, "VERSION", "the Python version that runs polywheel"),
        "action": (None, "USES", "use this action instead of polywheel's, such as a fork"),
    }
    for name, (default, metavar, text) in texts.items():
        more = f" (default: {default})" if default is not None else ""
        parser.add_argument(_VALUES[name], default=default, metavar=metavar, help=text + more)
    parser.add_argument(
        "--branch",
        action="append",
        metavar="NAME",
        help="build pushes to this branch; may be repeated (default: "
        f"{' and '.join(github.BRANCHES)})",
    )
    parser.add_argument(
        "--tag",
        action="append",
        metavar="GLOB",
        help=f"build tags that match GLOB; may be repeated (default: {', '.join(github.TAGS)})",
    )
    parser.set_defaults(defaults={name: default for name, (default, _, _) in texts.items()})


def read_workflow_settings(
    options: argparse.Namespace, repository: Repository, command: Sequence[str]
) -> github.WorkflowSettings:
    """The settings of a workflow, from the options. Raises ConfigError."""
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
    """The arguments that write the same file again, from the root of the repository."""
    source = repository.path(Path(options.source), at="SOURCE")
    words = ["ci", options.kind, *([source] if source != "." else [])]
    defaults = {"image": gitlab.IMAGE, "requirement": gitlab.REQUIREMENT}
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
    for word in words:
        if not word.isprintable():
            raise ConfigError(
                f"{word!r} contains unprintable characters", at=word.partition("=")[0]
            )
    return words
