"""The options of ``polywheel ci``, and the command line in the header of a generated file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polywheel.ci import gitlab
from polywheel.ci.generated_files import Repository
from polywheel.cli.arguments import CommandParser, add_options, number_up_to
from polywheel.cli.plans import add_config, add_source
from polywheel.config.ci_table import GITHUB, GITLAB, read_github, read_gitlab
from polywheel.config.declaration import SettingsTable
from polywheel.config.project import Project
from polywheel.errors import ConfigError
from polywheel.model.ci import GitHubSettings, GitLabSettings

_WORDS = (
    *("config", "output", "max_jobs", "runner", "python", "action", "image", "requirement"),
    *("environment", "repository_url", "username", "password_secret", "pr_subset", "publish"),
    *("release_assets", "branch", "tag"),
)
"""The options in the command line of a generated file, in this order. Files that exist have it."""


_KINDS = {
    "github": (
        "write a workflow for GitHub Actions",
        """Write a workflow for GitHub Actions with the jobs plan, build (one for each entry of
        polywheel matrix --format github), and collect. It reads the matrix when it runs, so it
        stays the same when the matrix changes.""",
        "--pr-subset --publish --environment release",
    ),
    "gitlab": (
        "write a file to include in .gitlab-ci.yml",
        """Write a file to include in .gitlab-ci.yml. It has a plan job, a child pipeline with a job
        for each build, and a collect job.""",
        "--pr-subset",
    ),
    "cibuildwheel": (
        "write a workflow for GitHub Actions that runs cibuildwheel",
        """Write a workflow for GitHub Actions that runs cibuildwheel for each variant and target. The
        workflow contains the matrix; use --check to find out if the matrix has changed.""",
        "--check",
    ),
    "collect": (
        "collect the wheels and reports of all jobs of a CI run",
        """Copy the wheels of all jobs of a CI run into one folder, merge their reports, and print a
        summary in Markdown. The exit code is 1 if a wheel is missing, and 4 if a wheel does not
        match its report.""",
        "artifacts -o dist --report report.json",
    ),
}
"""Summary, description, and example of each subcommand."""
_FILE = """\
-o --output FILE  write to FILE (default: WORKFLOW in the repository of SOURCE); - prints it
--check           write nothing; if the file is out of date, print a diff and exit with 1
--force           overwrite a file that polywheel did not write
"""
_PR_SUBSET = """\
--pr-subset    for pull or merge requests, run only the fewest jobs that cover every value of every
               axis
"""
_MAX_JOBS = """\
--max-jobs N   combine builds into at most N CI jobs
"""
_GITHUB_DEFAULTS = GitHubSettings()
_FRAME = f"""\
--publish           when a tag is pushed, publish its wheels on an index
--environment NAME  with --publish: the GitHub environment (default: {_GITHUB_DEFAULTS.environment})
--repository-url URL
                    with --publish: the upload URL (default: PyPI, which accepts only wheels without
                    a label)
--password-secret NAME
                    with --publish: the secret with the password or token (default: trusted
                    publishing)
--username NAME     with --password-secret: the user name (default: {_GITHUB_DEFAULTS.username})
--release-assets    when a tag is pushed, upload its wheels and *-variants.json to its release on
                    GitHub
--runner NAME       the runner of all jobs except the builds (default: {_GITHUB_DEFAULTS.runner})
--python VERSION    the Python version that runs polywheel (default: {_GITHUB_DEFAULTS.python})
--action USES       use this action instead of polywheel's, such as a fork
--branch NAME ...   build pushes to this branch; may be repeated (default:
                    {" and ".join(_GITHUB_DEFAULTS.branches)})
--tag GLOB ...      build tags that match GLOB; may be repeated (default: {", ".join(_GITHUB_DEFAULTS.tags)})
"""
_GITLAB_DEFAULTS = GitLabSettings()
_GITLAB = f"""\
--publish      publish the wheels of pipelines for tags
--image IMAGE  the image of all jobs except the builds (default: {_GITLAB_DEFAULTS.image})
--requirement REQUIREMENT
               the polywheel that jobs install with pip (default: {_GITLAB_DEFAULTS.requirement})
"""
_COLLECT = """\
-o --output DIST  write the wheels to DIST (default: dist)
--report FILE     write the merged report to FILE
--plan FILE       the output of polywheel matrix --json or --format github; name its wheels that are
                  in no report, because their jobs were lost
--result {success,failure,cancelled,skipped}
                  the result of the build jobs in CI; anything but success is a failure
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options. Raises ConfigError if they contradict each other."""
    parser = CommandParser(
        prog="polywheel ci",
        description="Write workflows for CI systems, and collect the wheels of a CI run.",
        epilog="example: polywheel ci github --pr-subset --publish",
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True, dest="kind")
    for kind, (summary, description, example) in _KINDS.items():
        epilog = f"example: polywheel ci {kind} {example}"
        kind_parser = kinds.add_parser(kind, help=summary, description=description, epilog=epilog)
        _add_kind_options(kind_parser, kind)
    options = parser.parse_args(arguments)
    if options.kind != "collect":
        _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    if options.check and (options.force or options.output == "-"):
        other = "--force" if options.force else "-o -"
        raise ConfigError(f"--check can't be used with {other}", at="--check")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _add_kind_options(parser: argparse.ArgumentParser, kind: str) -> None:
    if kind == "collect":
        text = "the folder with the artifacts of all jobs"
        parser.add_argument("folder", type=Path, metavar="DIR", help=text)
        add_options(parser, _COLLECT, output=Path)
        parser.set_defaults(output=Path("dist"))
        return
    file = gitlab.FILE if kind == "gitlab" else ".github/workflows/wheels.yml"
    parser.set_defaults(file=file, parser=parser, config=None)
    add_source(parser)
    add_options(parser, _FILE.replace("WORKFLOW", file), output=str)
    if kind != "cibuildwheel":
        add_config(parser)
        add_options(parser, _PR_SUBSET)
    add_options(parser, _MAX_JOBS, max_jobs=number_up_to(10_000))
    if kind == "gitlab":
        add_options(parser, _GITLAB)
    else:
        add_options(parser, _FRAME)


def read_github_settings(options: argparse.Namespace, project: Project) -> GitHubSettings:
    """The settings of the project, and the options that replace them. Raises ConfigError."""
    return read_github(project, _given(options, GITHUB))


def read_gitlab_settings(options: argparse.Namespace, project: Project) -> GitLabSettings:
    """The settings of the project, and the options that replace them. Raises ConfigError."""
    return read_gitlab(project, _given(options, GITLAB))


def _given(options: argparse.Namespace, table: SettingsTable[Any]) -> dict[str, object]:
    """The values of the options that were given, by the key of the setting that each replaces."""
    names = {"branches": "branch", "tags": "tag"}
    values = {
        setting.key: getattr(options, names.get(setting.key, setting.field.name), None)
        for setting in table.settings
    }
    # An option that is not given is None, False, or an empty list. An empty text was given.
    return {key: value for key, value in values.items() if value or value == ""}


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
