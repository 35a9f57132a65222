"""The options of ``polywheel ci``, and the command line that a generated file states in its header."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.ci import github, gitlab
from polywheel.ci.generated_files import Repository, generated_header
from polywheel.ci.rendering import parse_action
from polywheel.cli.arguments import CommandParser, add_flag, add_option, number_up_to
from polywheel.cli.plans import add_config, add_source
from polywheel.errors import ConfigError

_WORKFLOW = ".github/workflows/wheels.yml"
RESULTS = ("success", "failure", "cancelled", "skipped")
_WORDS = (
    *("config", "output", "max_jobs", "runner", "python", "action", "image", "requirement"),
    *("environment", "repository_url", "pr_subset", "publish", "branch", "tag"),
)
"""The options in the command line of a generated file, in this order. Files that exist have it."""


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
            if getattr(options, name) != options.parser.get_default(name):
                option = _option(name)
                raise ConfigError(f"{option} has no effect without --publish", at=option)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
    text = "the image of the plan and collect jobs (default: %(default)s)"
    add_option(parser, "--image", "IMAGE", text, default=gitlab.IMAGE)
    text = "the requirement that each job installs with pip (default: %(default)s)"
    add_option(parser, "--requirement", "REQUIREMENT", text, default=gitlab.REQUIREMENT)


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
    text = "write the wheels to DIST (default: dist)"
    add_option(parser, "-o --output", "DIST", text, type=Path, default=Path("dist"))
    add_option(parser, "--report", "FILE", "write the merged report to FILE", type=Path)
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
    parser.set_defaults(file=file, parser=parser)
    add_source(parser)
    text = f"write to FILE (default: {file} in the repository of SOURCE); - prints it"
    add_option(parser, "-o --output", "FILE", text)
    text = "write nothing; if the file is out of date, print a diff and exit with 1"
    add_flag(parser, "--check", text)
    add_flag(parser, "--force", "overwrite a file that polywheel did not write")
    return parser


def _add_plan(parser: argparse.ArgumentParser) -> None:
    add_flag(
        parser,
        "--pr-subset",
        "for pull or merge requests, run only the fewest jobs that cover every value of every axis",
    )
    text = "combine builds into at most N CI jobs"
    add_option(parser, "--max-jobs", "N", text, type=number_up_to(10_000))


def _add_frame(parser: argparse.ArgumentParser) -> None:
    text = "when a tag is pushed, publish its wheels with trusted publishing"
    add_flag(parser, "--publish", text)
    for name, value, default, text in (
        ("--environment", "NAME", github.ENVIRONMENT, "with --publish: the GitHub environment"),
        ("--repository-url", "URL", None, "with --publish: the upload URL (default: PyPI)"),
        ("--runner", "NAME", github.RUNNER, "the runner of all jobs except the builds"),
        ("--python", "VERSION", github.PYTHON, "the Python version that runs polywheel"),
        ("--action", "USES", None, "use this action instead of polywheel's, such as a fork"),
    ):
        remark = f" (default: {default})" if default is not None else ""
        add_option(parser, name, value, text + remark, default=default)
    text = "build pushes to this branch; may be repeated (default: "
    text += f"{' and '.join(github.BRANCHES)})"
    add_option(parser, "--branch", "NAME", text, action="append")
    text = f"build tags that match GLOB; may be repeated (default: {', '.join(github.TAGS)})"
    add_option(parser, "--tag", "GLOB", text, action="append")


def read_workflow_settings(
    options: argparse.Namespace, repository: Repository
) -> github.WorkflowSettings:
    """The settings of a workflow, from the options. Raises ConfigError."""
    publication = None
    if options.publish:
        publication = github.Publication(
            environment=options.environment, repository_url=options.repository_url
        )
    return github.check_settings(
        github.WorkflowSettings(
            header=generated_header(command_line(options, repository)),
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
    for name in _WORDS:
        option, value = _option(name), getattr(options, name, None)
        if value is None or value == options.parser.get_default(name):
            continue
        if name in {"config", "output"}:
            if value == "-":
                continue
            path = repository.path(Path(value), at=option)
            if name == "config" or path != f"./{options.file}":
                words.append(f"{option}={path}")
        elif isinstance(value, list):
            words += [f"{option}={entry}" for entry in value]
        else:
            words.append(option if value is True else f"{option}={value}")
    for word in words:
        if not word.isprintable():
            raise ConfigError(
                f"{word!r} contains unprintable characters", at=word.partition("=")[0]
            )
    return words
