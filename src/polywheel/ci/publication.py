"""What generated CI files publish: wheels that an index does not accept, and uploads that can't succeed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError
from polywheel.model.ci import GitHubSettings, GitLabSettings
from polywheel.model.plan import Plan

_PYPI_UPLOADS = frozenset({"upload.pypi.org", "test.pypi.org"})
_RELEASE_MOST = 1000
"""The maximum number of files of a release on GitHub."""
_GITLAB_DEFAULTS = GitLabSettings()


def is_pypi(repository_url: str | None) -> bool:
    """Whether an upload URL is that of PyPI (the default) or TestPyPI, which accept no filename with a label."""
    return repository_url is None or urlsplit(repository_url).hostname in _PYPI_UPLOADS


def is_for_pypi(settings: GitLabSettings) -> bool:
    """Whether wheels are published on PyPI, not in the package registry of GitLab or on another index."""
    url = settings.repository_url
    return url is not None and is_pypi(url)


def check_publication(settings: GitHubSettings, project: Project, plan: Plan) -> Iterator[str]:
    """Return notes about wheels that are not published. Raises ConfigError if no upload can succeed."""
    if settings.release_assets and len(plan.jobs) + 2 > _RELEASE_MOST:
        raise ConfigError(
            f"the plan has {len(plan.jobs)} wheels, and a release on GitHub has at most "
            f"{_RELEASE_MOST} files, including *-variants.json and an sdist",
            at="--release-assets",
        )
    if settings.publish:
        yield from check_upload(
            project,
            plan,
            to_pypi=is_pypi(settings.repository_url),
            sdist=settings.sdist,
            at="--publish",
            others="publish to an index of your own (--repository-url)"
            + ("" if settings.release_assets else " or to GitHub (--release-assets)"),
            released=settings.release_assets,
        )


def check_gitlab_publication(
    settings: GitLabSettings, project: Project, plan: Plan
) -> Iterator[str]:
    """Return notes about wheels that are not published.

    Raises ConfigError if no upload can succeed, and for settings of uploads without `publish`.
    """
    if not settings.publish:
        problems = Problems()
        for name in ("publish_rules", "environment", "repository_url"):
            if getattr(settings, name) != getattr(_GITLAB_DEFAULTS, name):
                key = name.replace("_", "-")
                problems.add(f"{key} has no effect without publish", at=f"{settings.at}.{key}")
        problems.raise_all()
    else:
        yield from check_upload(
            project,
            plan,
            to_pypi=is_for_pypi(settings),
            sdist=settings.sdist,
            at=f"{settings.at}.repository-url",
            others="choose another repository-url",
        )


def check_upload(
    project: Project,
    plan: Plan,
    *,
    to_pypi: bool,
    sdist: bool,
    at: str,
    others: str,
    released: bool = False,
) -> Iterator[str]:
    """Return notes about wheels that an index does not accept. Raises ConfigError if nothing can be uploaded.

    ``at`` is the place of the setting, and ``others`` what to do with the wheels that PyPI does not accept.
    ``released``: they are uploaded to a release on GitHub.
    """
    labelled = [job for job in plan.jobs if job.label is not None]
    if not labelled:
        return
    if not to_pypi:
        if project.settings.metadata_fields:
            raise ConfigError(
                "twine, which uploads the wheels, refuses Variant-* fields in METADATA",
                at=project.at("tool.polywheel.metadata-fields"),
                hint="add metadata-fields = false to [tool.polywheel]; installers read variant.json, "
                "not these fields",
            )
    elif len(labelled) == len(plan.jobs) and not sdist:
        raise ConfigError(
            "PyPI does not accept wheels with a label, and the matrix has no others",
            at=at,
            hint=f"add plain = true to [tool.polywheel.matrix], or {others}",
        )
    else:
        yield (
            f"PyPI does not accept wheels with a label: {len(labelled)} of {len(plan.jobs)} wheels will "
            + (
                "be on GitHub only"
                if released
                else f"not be published; to publish them too, {others}"
            )
        )


def check_sdist(settings: GitHubSettings | GitLabSettings, project: Project) -> Iterator[str]:
    """Return a note about an sdist that may need requirements that only variants have."""
    declared = {_package(text) for text in project.build_system.requires}
    requires = [
        text
        for rule in project.settings.setup
        for fields in rule.all_fields
        for text in fields.requires or ()
        if _package(text) not in declared
    ]
    if settings.sdist and requires:
        also = ", and the wheel from it that is the test," if settings.sdist_check else ""
        yield (
            f"the sdist{also} must be possible without the requires of setup rules "
            f"({', '.join(dict.fromkeys(requires))}), because it has no variant: see docs/build-setup.md"
        )


def _package(requirement: str) -> str:
    """The package of a requirement, which may have placeholders."""
    return canonicalize_name(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])
