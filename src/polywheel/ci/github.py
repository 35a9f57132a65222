"""The workflow for GitHub Actions.

It does not contain the matrix: every run creates the plan, so a change of the matrix does not change the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from polywheel.ci.plan_formats import github_container
from polywheel.ci.publication import is_pypi
from polywheel.ci.rendering import (
    Action,
    Expression,
    SafeYaml,
    read_pins,
    render_template,
    uses,
)
from polywheel.config.reader import Problems, parse_size
from polywheel.errors import ConfigError, Problem
from polywheel.model.ci import GitHubSettings, GitLabSettings
from polywheel.model.matrix import Credentials
from polywheel.model.plan import Build, Plan

_REFUSED_OPTION = re.compile(r"(?:^|\s)(--network|--entrypoint)\b")
_FOR_A_PULL_REQUEST = Expression(
    "${{ github.event_name == 'pull_request' && '--pr-subset' || '' }}"
)
_SELECT = Expression("${{ inputs.select && format('--select={0}', inputs.select) }}")
_TAG = "startsWith(github.ref, 'refs/tags/')"


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """What all workflows have, whatever tool builds."""

    header: str
    source: str
    """The folder of the project, relative to the root of the repository."""

    action: Action
    submodules: bool = False
    """Whether jobs that build check out the submodules of the repository."""

    settings: GitHubSettings
    config: str | None = None
    """The file of ``--config``, relative to the root of the repository."""

    credentials: Credentials | None = None
    """The login for the images of builds."""

    compiler_cache: str = "off"
    """The compiler cache of the project."""

    test_runners: tuple[tuple[str, ...], ...] = ()
    """The labels of each machine that tests wheels after all builds."""

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return "wheels" if self.source == "." else f"wheels of {self.source.removeprefix('./')}"


def container_credentials(plan: Plan) -> Credentials | None:
    """Return the login for the images of all builds; None without one.

    GitHub refuses an empty user name (``non-empty-string`` in workflow-v1.0.json of actions/runner), so all
    containers of a job have the same login. Raises ConfigError if the images need different ones, or if their
    options are not possible on GitHub.
    """
    problems = Problems(found=_without_image(plan))
    by_login: dict[Credentials | None, list[Build]] = {}
    for build in plan.builds:
        settings = build.settings
        if not settings.image:
            continue
        by_login.setdefault(settings.container_credentials, []).append(build)
        in_job = github_container(plan.platform_of(build.target), settings.image) == "job"
        if settings.container_credentials is not None and not in_job:
            problems.add(
                f"GitHub's own actions can't run in {settings.image}, so it is started in a step, "
                "without a login",
                at=plan.setting_at(build, "container-credentials"),
                hint="copy the image to a registry that needs no login",
            )
        option = _REFUSED_OPTION.search(settings.container_options or "")
        if in_job and option:
            problems.add(
                f"GitHub does not support {option[1]} for the container of a job",
                at=plan.setting_at(build, "container-options"),
            )
    problems.raise_all()
    if len(by_login) > 1:
        logins = sorted(by_login, key=lambda login: login is None)
        first, second = (by_login[login][0] for login in logins[:2])
        have = "has some, and {} has none" if None in logins[:2] else "and {} have different ones"
        raise ConfigError(
            "on GitHub, all images of a workflow need the same container-credentials, or none: "
            f"{first.id} {have.format(second.id)}",
            at=plan.setting_at(second, "container-credentials"),
            hint=f"set the ones of {first.id} here too ({plan.setting_at(first, 'container-credentials')}); or "
            "write a workflow for each registry, with a --config file",
        )
    return next(iter(by_login), None)


def _without_image(plan: Plan) -> list[Problem]:
    """The settings of containers that have no effect, because none of their builds has an image."""
    effective: dict[tuple[str, str], bool] = {}
    for build in plan.builds:
        for key, value in (
            ("container-options", build.settings.container_options),
            ("container-credentials", build.settings.container_credentials),
        ):
            if value:
                place = (key, plan.setting_at(build, key))
                effective[place] = effective.get(place, False) or bool(build.settings.image)
    return [
        Problem(f"{key} has no effect without an image", at, "set image, or remove it")
        for (key, at), has_image in effective.items()
        if not has_image
    ]


def github_workflow(workflow: Workflow) -> str:
    """Return the workflow."""
    settings, config = workflow.settings, workflow.config
    project_arguments = [workflow.source, *([f"--config={config}"] if config is not None else [])]
    limit = [] if settings.max_jobs is None else [f"--max-jobs={settings.max_jobs}"]
    return render_template(
        "github.yml.j2",
        **template_values(workflow, selectable=True, logins=[workflow.credentials]),
        credentials=workflow.credentials,
        setup_action=_local_action(settings.setup_action),
        after_build_action=_local_action(settings.after_build_action),
        **cache_sizes(settings),
        plan=[
            *project_arguments,
            "--format=github",
            *limit,
            *([_FOR_A_PULL_REQUEST] if settings.pr_subset else []),
            _SELECT,
        ],
        build=[
            *project_arguments,
            Expression("--only=${{ matrix.jobs }}"),
            "--output=dist",
            Expression("--report=report/report-${{ matrix.id }}.json"),
            "--log-dir=logs",
            "--install-python",
        ],
        tests=[" ".join(labels) for labels in workflow.test_runners],
        test_runners=[
            labels[0] if len(labels) == 1 else list(labels) for labels in workflow.test_runners
        ],
        test=[
            "dist",
            f"--source={workflow.source}",
            *([f"--config={config}"] if config is not None else []),
            "--plan=plan/polywheel-output.txt",
            Expression("--test-runner=${{ matrix.labels }}"),
            "--require-tests",
            "--report=report/report.json",
            "--log-dir=logs",
            "--install-python",
        ],
        collect=[
            *("collect", "collected", "--output=dist", "--report=report.json"),
            f"--plan=collected/{settings.artifact_prefix}plan/polywheel-output.txt",
            Expression("--result=${{ needs.build.result }}"),
        ],
    )


def template_values(
    workflow: Workflow, *, selectable: bool, logins: Iterable[Credentials | None]
) -> dict[str, object]:
    """Return the values for the templates of all workflows.

    ``selectable``: whether they can build a part. ``logins`` are those for images.
    """
    settings = workflow.settings
    publishes = settings.publish or settings.release_assets
    # The token of a job has a reserved name, which a workflow can't declare.
    secrets = [
        login.password_secret for login in logins if login is not None and not login.is_job_token
    ]
    asked = "inputs.publish"
    if not settings.reusable:
        asked = f"(github.event_name == 'push' && {_TAG} || inputs.publish)"
    return {
        "header": SafeYaml(workflow.header),
        "workflow": workflow,
        "settings": settings,
        "polywheel": uses(workflow.action),
        # A local action needs the checkout first. Otherwise no job needs one only for the action.
        "checkout": workflow.action.local,
        "prefix": SafeYaml(settings.artifact_prefix),
        "selectable": selectable,
        "publishes": publishes,
        "compiler_cache": settings.cache and workflow.compiler_cache != "off",
        "compiler_cache_size": compiler_cache_size(settings),
        "secrets": list(dict.fromkeys([*secrets, *filter(None, [settings.password_secret])])),
        "after_collect": [
            "collect",
            *(["sdist"] if settings.sdist else []),
            *(["test"] if workflow.test_runners else []),
        ],
        "publish_condition": SafeYaml(f"${{{{ {asked} }}}}"),
        "release_condition": SafeYaml(f"${{{{ {_TAG} && {asked} }}}}"),
        "to_pypi": is_pypi(settings.repository_url),
        "build_version": read_pins().packages["build"],
        "tables": workflow.config or "",
    }


def cache_sizes(settings: GitHubSettings | GitLabSettings) -> dict[str, object]:
    """Return the sizes of polywheel's cache in the templates: the size at which it is emptied, and the limit for builds.

    Its files need more space on the disk than their sizes, so the limit is lower.
    """
    kilobytes = (parse_size(settings.cache_size) or 0) >> 10
    return {"cache_kilobytes": kilobytes, "cache_limit": f"{kilobytes * 3 // 4}k"}


def compiler_cache_size(settings: GitHubSettings | GitLabSettings) -> str:
    """Return the largest compiler cache, as ccache and sccache read it."""
    return f"{(parse_size(settings.compiler_cache_size) or 0) >> 20}M"


def _local_action(path: str | None) -> SafeYaml | None:
    """``uses:`` of an action in the repository of the workflow, which needs no checkout."""
    return None if path is None else uses(Action(uses=f"$/{path.removeprefix('./')}"))
