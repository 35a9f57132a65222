"""The workflow for GitHub Actions.

It does not contain the matrix: every run creates the plan, so a change of the matrix does not change the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from polywheel.ci.plan_formats import github_container
from polywheel.ci.rendering import Action, Expression, SafeYaml, render_template, uses
from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError
from polywheel.model.matrix import LOWEST_PYTHON, Credentials, can_build
from polywheel.model.plan import Build, Plan

RUNNER = "ubuntu-24.04"
"""The runner of the jobs ``plan``, ``collect``, and ``publish``."""
PYTHON = "3.13"
"""The Python that runs polywheel on GitHub."""
ENVIRONMENT = "pypi"
USERNAME = "__token__"
"""The user name that indexes expect with a token."""
BRANCHES = ("main", "master")
TAGS = ("v*",)
_REF = re.compile(r"[A-Za-z0-9_.*?!+@\[\]/-]+")
_VERSION = re.compile(r"3\.[1-9][0-9]")
_SECRET = re.compile(r"(?!GITHUB_)[A-Za-z_][A-Za-z0-9_]*", re.IGNORECASE)
_REFUSED_OPTION = re.compile(r"(?:^|\s)(--network|--entrypoint)\b")
_PYPI_UPLOADS = frozenset({"upload.pypi.org", "test.pypi.org"})
_RELEASE_MOST = 1000
"""The maximum number of files of a release on GitHub."""
_ADDRESS = re.compile(r"https://[!-~]+")
_MAX_LENGTH = 255
_FOR_A_PULL_REQUEST = Expression(
    "${{ github.event_name == 'pull_request' && '--pr-subset' || '' }}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """An index to publish wheels to, with trusted publishing or with a password."""

    environment: str = ENVIRONMENT
    """The GitHub environment, whose rules protect a release."""

    repository_url: str | None = None
    """The upload URL of an index; None means PyPI."""

    username: str = USERNAME
    password_secret: str | None = None
    """The name of the secret with the password or token; None means trusted publishing."""

    @property
    def to_pypi(self) -> bool:
        """Whether the index is PyPI or TestPyPI, which accept no filename with a label."""
        return (
            self.repository_url is None or urlsplit(self.repository_url).hostname in _PYPI_UPLOADS
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowSettings:
    """Settings that all workflows have, whatever tool builds."""

    header: str
    source: str
    """The folder of the project, relative to the root of the repository."""

    action: Action
    submodules: bool = False
    """Whether jobs that build check out the submodules of the repository."""

    runner: str = RUNNER
    python: str = PYTHON
    branches: tuple[str, ...] = BRANCHES
    tags: tuple[str, ...] = TAGS
    publication: Publication | None = None
    release_assets: bool = False
    """Whether wheels for a tag are uploaded to its release on GitHub."""

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return "wheels" if self.source == "." else f"wheels of {self.source.removeprefix('./')}"


def check_settings(settings: WorkflowSettings) -> WorkflowSettings:
    """Return the settings if GitHub accepts them. Raises ConfigError."""
    for option, texts in {"--branch": settings.branches, "--tag": settings.tags}.items():
        for text in texts:
            if not _REF.fullmatch(text):
                raise ConfigError(f"malformed pattern {text!r}", at=option, hint="for example 'v*'")
    if not _VERSION.fullmatch(settings.python) or not can_build(settings.python):
        what = f"expected Python {LOWEST_PYTHON} or newer, got {settings.python!r}"
        raise ConfigError(what, at="--python")
    _check_name("--runner", settings.runner)
    if settings.publication is not None:
        _check_name("--environment", settings.publication.environment)
        address = settings.publication.repository_url
        if address is not None and not _ADDRESS.fullmatch(address):
            what = f"malformed URL {address!r}"
            raise ConfigError(what, at="--repository-url", hint="expected https://…")
        _check_name("--username", settings.publication.username)
        secret = settings.publication.password_secret
        if secret is not None and not _SECRET.fullmatch(secret):
            what = f"{secret!r} is not the name of a secret"
            hint = "expected letters, digits, and _, as in INDEX_TOKEN"
            raise ConfigError(what, at="--password-secret", hint=hint)
    return settings


def check_publication(settings: WorkflowSettings, project: Project, plan: Plan) -> Iterator[str]:
    """Return notes about wheels that are not published. Raises ConfigError if no upload can succeed."""
    labelled = [job for job in plan.jobs if job.label is not None]
    publication = settings.publication
    if settings.release_assets and len(plan.jobs) >= _RELEASE_MOST:
        raise ConfigError(
            f"the plan has {len(plan.jobs)} wheels, and a release on GitHub has at most "
            f"{_RELEASE_MOST} files, one of them for the index",
            at="--release-assets",
        )
    if publication is None or not labelled:
        return
    others = "publish to an index of your own (--repository-url) or to GitHub (--release-assets)"
    if not publication.to_pypi:
        if project.settings.metadata_fields:
            raise ConfigError(
                "twine, which uploads the wheels, refuses Variant-* fields in METADATA",
                at=project.at("tool.polywheel.metadata-fields"),
                hint="add metadata-fields = false to [tool.polywheel]; installers read variant.json, "
                "not these fields",
            )
    elif len(labelled) == len(plan.jobs):
        raise ConfigError(
            "PyPI does not accept wheels with a label, and the matrix has no others",
            at="--publish",
            hint=f"add plain = true to [tool.polywheel.matrix], or {others}",
        )
    else:
        yield (
            f"PyPI does not accept wheels with a label: {len(labelled)} of {len(plan.jobs)} wheels "
            f"will not be published; to publish them too, {others}"
        )


def _check_name(option: str, text: str) -> None:
    if not text.strip() or not text.isprintable() or len(text) > _MAX_LENGTH:
        raise ConfigError(f"expected a name without line breaks, got {text!r}", at=option)


def container_credentials(plan: Plan) -> Credentials | None:
    """Return the login for the images of all builds; None without one.

    GitHub refuses an empty user name (``non-empty-string`` in workflow-v1.0.json of actions/runner), so all
    containers of a job have the same login. Raises ConfigError if the images need different ones, or if their
    options are not possible on GitHub.
    """
    problems = Problems()
    by_login: dict[Credentials | None, list[Build]] = {}
    for build in plan.builds:
        settings, target = build.settings, plan.targets[build.target]
        if not settings.image:
            continue
        by_login.setdefault(settings.container_credentials, []).append(build)
        in_job = github_container(plan.platform_of(build.target), settings.image) == "job"
        if settings.container_credentials is not None and not in_job:
            problems.add(
                f"GitHub's own actions can't run in {settings.image}, so it is started in a step, "
                "without a login",
                at=f"{build.set_by.get('container-credentials', target.at)}.container-credentials",
                hint="copy the image to a registry that needs no login",
            )
        option = _REFUSED_OPTION.search(settings.container_options or "")
        if in_job and option:
            problems.add(
                f"GitHub does not support {option[1]} for the container of a job",
                at=f"{build.set_by.get('container-options', target.at)}.container-options",
            )
    problems.raise_all()
    if len(by_login) > 1:
        examples = " and ".join(builds[0].id for builds in by_login.values())
        raise ConfigError(
            f"on GitHub, all images of a workflow need the same container-credentials, or none: {examples} "
            "have different ones",
            at="tool.polywheel.targets",
            hint="take all images from one registry, or write a workflow for each, with a --config file",
        )
    return next(iter(by_login), None)


def github_workflow(
    settings: WorkflowSettings,
    *,
    config: str | None,
    pr_subset: bool,
    max_jobs: int | None,
    credentials: Credentials | None = None,
) -> str:
    """Return the workflow. ``config``: the file of ``--config``, relative to the root."""
    project_arguments = [settings.source, *([f"--config={config}"] if config is not None else [])]
    return render_template(
        "github.yml.j2",
        **template_values(settings),
        credentials=credentials,
        plan=[
            *project_arguments,
            "--format=github",
            *([f"--max-jobs={max_jobs}"] if max_jobs is not None else []),
            *([_FOR_A_PULL_REQUEST] if pr_subset else []),
        ],
        build=[
            *project_arguments,
            Expression("--only=${{ matrix.jobs }}"),
            "--output=dist",
            Expression("--report=report/report-${{ matrix.id }}.json"),
            "--log-dir=logs",
            "--install-python",
        ],
        collect=[
            *("collect", "collected", "--output=dist", "--report=report.json"),
            Expression("--result=${{ needs.build.result }}"),
        ],
    )


def template_values(settings: WorkflowSettings) -> dict[str, object]:
    """Return the values for the templates of all workflows."""
    return {
        "header": SafeYaml(settings.header),
        "workflow": settings,
        "polywheel": uses(settings.action),
        # A local action needs the checkout first. Otherwise no job needs one only for the action.
        "checkout": settings.action.local,
    }
