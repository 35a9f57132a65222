"""The include file for GitLab CI.

It does not contain the matrix: every pipeline creates the plan, in a child pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from polywheel.ci.github import cache_sizes, compiler_cache_size
from polywheel.ci.publication import is_for_pypi
from polywheel.ci.rendering import SafeYaml, render_template
from polywheel.ci.time_limits import gitlab_timeout
from polywheel.errors import ConfigError, nearest, os_error_as
from polywheel.matrix.platforms import known_targets
from polywheel.model.ci import GitLabSettings
from polywheel.model.plan import Plan
from polywheel.system.files import read_regular

FILE = ".gitlab/polywheel.yml"
_WILDCARDS = frozenset("*?[]{}$\\")
"""Characters that GitLab reads as wildcards or variables in the name of an included file. They can't be escaped."""
_TOP_LEVEL_KEY = re.compile(r"""^["']?([^\s"'#:][^\n"'#:]*)["']?[ \t]*:(?:\s|$)""", re.MULTILINE)
"""A key of a YAML file, without blanks before it."""
_MAX_INCLUDED = 4 * 1024 * 1024
"""Maximum size of an included file in bytes. GitLab accepts less."""


def gitlab_include(
    header: str,
    settings: GitLabSettings,
    *,
    file: str,
    source: str,
    config: str | None,
    submodules: bool = False,
    compiler_cache: str = "off",
) -> str:
    """Return the include file. Raises ConfigError.

    ``file`` is the path of the include file itself, which the child pipeline includes as well.
    ``file``, ``source``, and ``config`` are relative to the root of the repository.
    """
    if not _WILDCARDS.isdisjoint(file):
        raise ConfigError(f"GitLab can't include a file named {file!r}", at="-o")
    return render_template(
        "gitlab.yml.j2",
        header=SafeYaml(header),
        settings=settings,
        file=_from_root(file),
        source=source,
        config=config or "",
        include=[_from_root(path) for path in settings.include],
        submodules=submodules,
        publish_conditions=_publish_conditions(settings) if settings.publish else [],
        to_pypi=is_for_pypi(settings),
        timeout=None if settings.timeout is None else gitlab_timeout(settings.timeout),
        **cache_sizes(settings),
        compiler_cache=settings.cache and compiler_cache != "off",
        compiler_cache_size=compiler_cache_size(settings),
        max_jobs="" if settings.max_jobs is None else str(settings.max_jobs),
    )


def check_included_files(settings: GitLabSettings, root: Path) -> None:
    """Raise ConfigError if a file of ``include`` is not in the repository, of which ``root`` is the root folder, or if
    these files do not have the job of ``extends``.
    """
    texts = []
    for number, path in enumerate(settings.include):
        # Globs are GitLab's own.
        if _WILDCARDS.isdisjoint(path) and not (root / path.removeprefix("/")).is_file():
            raise ConfigError(
                f"the repository has no file {path!r}",
                at=f"{settings.at}.include[{number}]",
                hint=f"paths start at the root of the repository, {root}",
            )
        if not _WILDCARDS.isdisjoint(path):
            continue
        with os_error_as(
            ConfigError, f"{path} can't be read", at=f"{settings.at}.include[{number}]"
        ):
            content = read_regular(root / path.removeprefix("/"), limit=_MAX_INCLUDED)
        if not content.lstrip().startswith(
            b"{"
        ):  # the keys of JSON are not at the beginning of a line
            texts.append(content.decode("utf-8", errors="replace"))
    names = [name for text in texts for name in _TOP_LEVEL_KEY.findall(text)]
    # Globs are for GitLab, and a file may include others.
    complete = len(texts) == len(settings.include)
    if settings.extends is not None and complete and not {settings.extends, "include"} & {*names}:
        hidden = [name for name in names if name.startswith(".")]
        raise ConfigError(
            f"the files of include have no job {settings.extends!r}",
            at=f"{settings.at}.extends",
            hint=nearest(settings.extends, hidden),
        )


def unsupported_settings(plan: Plan) -> Iterator[str]:
    """Yield a warning for each setting of builds that GitLab can't use, and for each target that it can't build."""
    seen: dict[str, None] = {}
    for build in plan.builds:
        settings = build.settings
        platform = plan.platform_of(build.target)
        known = known_targets().get(platform)
        if platform.startswith("windows"):
            what = f"jobs for {build.target} will fail: the scripts need sh, which GitLab lacks on Windows"
            seen[what] = None
        elif known is not None and settings.runner == known.settings.runner:
            seen[
                f"the runner of {build.target} is {' '.join(settings.runner or ())!r}, a machine of GitHub: set "
                f"runner in [tool.polywheel.targets.{build.target}] to the tags of a GitLab runner"
            ] = None
        for key, value, where in (
            ("container-options", settings.container_options, "the configuration of the runner"),
            (
                "container-credentials",
                settings.container_credentials,
                "the CI/CD variable DOCKER_AUTH_CONFIG",
            ),
        ):
            if settings.image and value is not None:
                at = plan.setting_at(build, key)
                seen[f"{key} have no effect on GitLab, which reads them from {where} ({at})"] = None
    yield from seen


def _publish_conditions(settings: GitLabSettings) -> list[str]:
    """The conditions of pipelines that build wheels and publish them."""
    conditions = ['$POLYWHEEL_PUBLISH == "yes"', *settings.publish_rules]
    if not settings.rules:
        return conditions
    return [f"({rule}) && ({condition})" for condition in conditions for rule in settings.rules]


def _from_root(path: str) -> str:
    """The path of a file of the repository, as ``include: local`` expects it."""
    return f"/{path.removeprefix('./').removeprefix('/')}"
