"""The settings of generated CI files: ``[tool.polywheel.ci]``.

The text under each field is the description of the key in the reference and the JSON schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class GitLabSettings:
    """`[tool.polywheel.ci.gitlab]`: the file that `polywheel ci gitlab` writes. Options of this command replace
    settings.
    """

    image: str = "python:3.13"
    """The image of all jobs except the builds."""

    tags: tuple[str, ...] = ()
    """The tags of the runner of all jobs except the builds."""

    requirement: str = "polywheel[cli]"
    """The polywheel that runs in the jobs, as a requirement for pip. Jobs install it only if their image has
    no polywheel on PATH that meets it."""

    install: bool = True
    """Whether jobs may install `requirement`. `false`: a job fails if its image has no polywheel on PATH
    that meets it."""

    before_script: tuple[str, ...] = ()
    """Lines of sh that run before each build, in the root of the repository. They can use the variables
    `POLYWHEEL_LABEL`, `POLYWHEEL_LABELS`, `POLYWHEEL_PYTHON`, `POLYWHEEL_TARGET`, `POLYWHEEL_JOBS`, and
    `POLYWHEEL_AXIS_name` for each axis."""

    after_build_script: tuple[str, ...] = ()
    """Lines of sh that run after each successful build. Besides the variables of `before-script`,
    `POLYWHEEL_WHEELS` is the folder with the wheels."""

    include: tuple[str, ...] = ()
    """Files of the repository that the generated file includes, such as the one with the job of `extends`."""

    extends: str | None = None
    """A hidden job that all builds extend, such as `.wheels`: for services, retry, secrets, and variables.
    Keys that the generated file sets are not taken from it."""

    rules: tuple[str, ...] = ()
    """Conditions as in `rules: if`. Wheels are built in pipelines that meet one of them. The default is every
    pipeline."""

    changes: tuple[str, ...] = ()
    """Globs of files. In pipelines for pushes and merge requests, wheels are built only if one of these files
    has changed."""

    pr_subset: bool = False
    """Whether pipelines for merge requests build only the smallest set of jobs that covers every value of every
    axis."""

    max_jobs: int | None = None
    """The largest number of jobs for builds. Several builds then share a job. The default is a job for each
    build."""

    sdist: bool = False
    """Whether an sdist is built too. It is published with the wheels."""

    sdist_check: bool = True
    """Whether a wheel is built from the sdist as a test, in `image`."""

    cache: bool = True
    """Whether the environments of builds are kept in GitLab's cache, by target and Python."""

    cache_size: str = "2G"
    """The largest cache of one target and Python. Builds remove from it what was not used for the longest time. If
    what a build uses is larger, it is emptied."""

    compiler_cache_size: str = "500M"
    """The largest compiler cache of one CI job, if the project has a `compiler-cache`."""

    timeout: float | None = None
    """The time limit of a build job in seconds, if its target has no `job-timeout`. The default is the time
    limit of the project on GitLab."""

    expire_in: str = "1 week"
    """How long GitLab keeps the artifacts of builds, as in `artifacts: expire_in`."""

    publish: bool = False
    """Whether wheels are published."""

    publish_rules: tuple[str, ...] = ("$CI_COMMIT_TAG",)
    """Conditions as in `rules: if`. Pipelines that meet one of them publish their wheels; by default, pipelines
    for tags. Others do so if they are started with the variable `POLYWHEEL_PUBLISH=yes`."""

    environment: str | None = None
    """The GitLab environment of the job that publishes. It can require an approval."""

    repository_url: str | None = None
    """The upload URL of an index. The default is the package registry of the project on GitLab."""

    username: str = "__token__"
    """The user name for `repository-url`."""

    password_variable: str | None = None
    """The name of the CI/CD variable with the password or token for `repository-url`. It is required there."""

    at: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GitHubSettings:
    """`[tool.polywheel.ci.github]`: the workflows that `polywheel ci github` and `polywheel ci cibuildwheel`
    write. Options of these commands replace settings.
    """

    branches: tuple[str, ...] = ("main", "master")
    """Wheels are built for pushes to these branches. Globs are possible. An empty list means none. The option is
    `--branch`."""

    tags: tuple[str, ...] = ("v*",)
    """Globs of tags for which wheels are built and published. An empty list means none. The option is `--tag`."""

    paths: tuple[str, ...] = ()
    """Globs of files, as in `on: push: paths`. For pushes to branches and pull requests, wheels are built only
    if one of these files has changed."""

    schedule: tuple[str, ...] = ()
    """Times at which wheels are built, as in cron, such as "0 3 * * 1" (Mondays at 3:00 UTC)."""

    reusable: bool = False
    """Whether other workflows call this one (`workflow_call`), and nothing else starts it."""

    runner: str = "ubuntu-24.04"
    """The runner of all jobs except the builds."""

    python: str = "3.13"
    """The Python that runs polywheel."""

    pr_subset: bool = False
    """Whether pull requests build only the smallest set of jobs that covers every value of every axis."""

    max_jobs: int | None = None
    """The largest number of CI jobs for builds. Several builds then share a job. The default of `polywheel ci
    github`, and the most that it accepts, is 256."""

    timeout_minutes: int = 350
    """The time limit of a build job in minutes. A job has more if the `job-timeout` of its builds needs it.
    GitHub's own runners allow at most 360."""

    setup_action: str | None = None
    """A composite action of the repository that runs before the build, such as
    "./.github/actions/setup". Its inputs are `label`, `labels`, `axes` (the values by axis, as JSON), `python`,
    and `target`."""

    after_build_action: str | None = None
    """A composite action of the repository that runs after a successful build. Its inputs are those of
    `setup-action`, and `wheels`, the folder with the wheels."""

    cache: bool = True
    """Whether build environments are kept in GitHub's cache, for each CI job."""

    cache_size: str = "2G"
    """The largest cache of one CI job. Builds remove from it what was not used for the longest time. If what a build
    uses is larger, it is emptied. GitHub keeps 10 GB for all caches of a repository."""

    compiler_cache_size: str = "500M"
    """The largest compiler cache of one CI job, if the project has a `compiler-cache`."""

    artifact_prefix: str = ""
    """The first part of the names of all artifacts, if other workflows of the same run have artifacts too."""

    sdist: bool = False
    """Whether an sdist is built and published too."""

    sdist_check: bool = True
    """Whether a wheel is built from the sdist as a test, on `runner`."""

    publish: bool = False
    """Whether wheels for a tag are published on an index."""

    environment: str = "pypi"
    """The GitHub environment of the job that publishes. Its rules can require an approval."""

    repository_url: str | None = None
    """The upload URL of an index. The default is PyPI, which accepts only wheels without a label."""

    password_secret: str | None = None
    """The name of the secret with the password or token for the index. The default is trusted publishing."""

    username: str = "__token__"
    """The user name for `password-secret`."""

    release_assets: bool = False
    """Whether wheels for a tag, and `*-variants.json`, are uploaded to its release on GitHub."""

    at: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CiSettings:
    """`[tool.polywheel.ci]`: the files that `polywheel ci` writes."""

    github: GitHubSettings = field(default_factory=GitHubSettings)
    """The workflows that `polywheel ci github` and `polywheel ci cibuildwheel` write."""

    gitlab: GitLabSettings = field(default_factory=GitLabSettings)
    """The file that `polywheel ci gitlab` writes."""
