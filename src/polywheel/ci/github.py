"""A workflow for GitHub Actions: plan, build, collect, and publish where that is asked for.

It names no cell of the matrix: the plan is made in every run, so a change of the matrix needs no other
workflow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from polywheel.ci.pins import Action
from polywheel.ci.rendering import Expression, Rendered, rendered, uses
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
class Frame:
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


def checked(frame: Frame) -> Frame:
    """The frame, if GitHub would take it. Raises ConfigError."""
    for option, texts in {"--branch": frame.branches, "--tag": frame.tags}.items():
        for text in texts:
            if not _REF.fullmatch(text):
                raise ConfigError(f"malformed pattern {text!r}", at=option, hint="such as 'v*'")
    if not _VERSION.fullmatch(frame.python) or int(frame.python[2:]) < 11:
        raise ConfigError(f"{frame.python!r} is no Python from 3.11 on", at="--python")
    _check_name("--runner", frame.runner)
    if frame.publication is not None:
        _check_name("--environment", frame.publication.environment)
        address = frame.publication.repository_url
        if address is not None and not _ADDRESS.fullmatch(address):
            raise ConfigError(
                f"malformed address {address!r}", at="--repository-url", hint="https://…"
            )
    return frame


def _check_name(option: str, text: str) -> None:
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST:
        raise ConfigError(f"expected a name in one line, found {text!r}", at=option)


def github_workflow(
    frame: Frame, *, config: str | None, pr_subset: bool, max_jobs: int | None
) -> str:
    """The workflow. ``config`` is the file of ``--config``, from the root of the repository."""
    where = [frame.source, *([f"--config={config}"] if config is not None else [])]
    return rendered(
        "github.yml.j2",
        **values(frame),
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


def values(frame: Frame) -> dict[str, object]:
    """What every template of a workflow takes."""
    return {
        "header": Rendered(frame.header),
        "frame": frame,
        "polywheel": uses(frame.action),
        # An action of the checkout has to be there before it is used, and nothing else needs one.
        "checkout": frame.action.local,
    }
