"""Workflows for GitHub Actions, and the include file for GitLab CI.

No cell of the matrix is named in them: every run makes the plan anew, so a change of the matrix needs no
other workflow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from polywheel.ci.rendering import Action, Expression, SafeYaml, render_template, uses
from polywheel.errors import ConfigError

RUNNER = "ubuntu-24.04"
"""Where plan, collect and publish run."""
PYTHON = "3.13"
"""The Python that polywheel runs with there."""
ENVIRONMENT = "pypi"
BRANCHES = ("main", "master")
TAGS = ("v*",)
_REF = re.compile(r"[A-Za-z0-9_.*?!+@\[\]/-]+")
_VERSION = re.compile(r"3\.[1-9][0-9]")
_ADDRESS = re.compile(r"https://[!-~]+")
_LONGEST = 255
_FOR_A_PULL_REQUEST = Expression(
    "${{ github.event_name == 'pull_request' && '--pr-subset' || '' }}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """Where wheels are published, by trusted publishing."""

    environment: str = ENVIRONMENT
    """The environment whose rules hold a release back."""

    repository_url: str | None = None
    """The upload address of an index; None for PyPI's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowSettings:
    """What workflows have in common, whatever builds."""

    header: str
    source: str
    """The project's folder, from the root of the repository."""

    action: Action
    runner: str = RUNNER
    python: str = PYTHON
    branches: tuple[str, ...] = BRANCHES
    tags: tuple[str, ...] = TAGS
    publication: Publication | None = None

    @property
    def name(self) -> str:
        """What the workflow is called."""
        return "wheels" if self.source == "." else f"wheels of {self.source.removeprefix('./')}"


def check_settings(settings: WorkflowSettings) -> WorkflowSettings:
    """The settings, if GitHub would take it. Raises ConfigError."""
    for option, texts in {"--branch": settings.branches, "--tag": settings.tags}.items():
        for text in texts:
            if not _REF.fullmatch(text):
                raise ConfigError(f"malformed pattern {text!r}", at=option, hint="such as 'v*'")
    if not _VERSION.fullmatch(settings.python) or int(settings.python[2:]) < 11:
        raise ConfigError(f"{settings.python!r} is no Python from 3.11 on", at="--python")
    _check_name("--runner", settings.runner)
    if settings.publication is not None:
        _check_name("--environment", settings.publication.environment)
        address = settings.publication.repository_url
        if address is not None and not _ADDRESS.fullmatch(address):
            raise ConfigError(
                f"malformed address {address!r}", at="--repository-url", hint="https://…"
            )
    return settings


def _check_name(option: str, text: str) -> None:
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST:
        raise ConfigError(f"expected a name in one line, found {text!r}", at=option)


def github_workflow(
    settings: WorkflowSettings, *, config: str | None, pr_subset: bool, max_jobs: int | None
) -> str:
    """The workflow. ``config`` is the file of ``--config``, from the root of the repository."""
    where = [settings.source, *([f"--config={config}"] if config is not None else [])]
    return render_template(
        "github.yml.j2",
        **template_values(settings),
        plan=[
            *where,
            "--format=github",
            *([f"--max-jobs={max_jobs}"] if max_jobs is not None else []),
            *([_FOR_A_PULL_REQUEST] if pr_subset else []),
        ],
        build=[
            *where,
            Expression("--only=${{ matrix.jobs }}"),
            "--output=dist",
            Expression("--report=report/report-${{ matrix.id }}.json"),
            "--log-dir=logs",
            "--install-python",
        ],
        collect=_collect("needs.build.result"),
    )


def _collect(result: str) -> Sequence[str]:
    return [
        *("collect", "collected", "--output=dist", "--report=report.json"),
        Expression(f"--result=${{{{ {result} }}}}"),
    ]


def template_values(settings: WorkflowSettings) -> dict[str, object]:
    """What every template of a workflow takes."""
    return {
        "header": SafeYaml(settings.header),
        "workflow": settings,
        "polywheel": uses(settings.action),
        # An action of the checkout has to be there before it is used, and nothing else needs one.
        "checkout": settings.action.local,
    }


IMAGE = "python:3.13"
"""Where plan and collect run."""
REQUIREMENT = "polywheel[cli]"
FILE = ".gitlab/polywheel.yml"


def gitlab_include(
    header: str,
    *,
    file: str,
    source: str,
    config: str | None,
    pr_subset: bool,
    max_jobs: int | None,
    image: str = IMAGE,
    requirement: str = REQUIREMENT,
) -> str:
    """The include. ``file`` is where it will lie, which it says itself where it starts the child; it,
    ``source`` and ``config`` are paths from the root of the repository. Raises ConfigError.
    """
    for option, text in {"--image": image, "--requirement": requirement}.items():
        if not text.strip() or not text.isprintable():
            raise ConfigError(f"expected a text in one line, found {text!r}", at=option)
    # GitLab knows wildcards there, and no way to say that a name has such a letter.
    if any(letter in file for letter in "*?[]{}$\\"):
        raise ConfigError(f"GitLab can't include a file of the name {file!r}", at="-o")
    return render_template(
        "gitlab.yml.j2",
        header=SafeYaml(header),
        file=f"/{file.removeprefix('./')}",
        source=source,
        config=config or "",
        pr_subset="--pr-subset" if pr_subset else "",
        max_jobs=f"--max-jobs={max_jobs}" if max_jobs is not None else "",
        image=image,
        requirement=requirement,
    )
