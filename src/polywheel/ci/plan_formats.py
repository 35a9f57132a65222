"""Plans in the formats of CI systems: one entry for each build, or for each pack of builds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from polywheel.ci.time_limits import (
    AFTER_THE_BUILD,
    BuildJob,
    github_job_minutes,
    gitlab_job_timeout,
)
from polywheel.config.build_values import variable_in_image
from polywheel.errors import ConfigError
from polywheel.matrix.shards import Pack
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan
from polywheel.system.terminal import json_text

GITHUB_MOST = 256
"""The maximum number of jobs in one matrix on GitHub."""
GITHUB_OUTPUT = 1024 * 1024
"""The maximum size of the outputs of a GitHub job, in bytes of UTF-16."""
_OLD_IMAGE = re.compile(r"manylinux(1|2010|2014|_?2_([0-9]|1[0-9]|2[0-7]))(?![0-9])")
"""Images with a glibc older than 2.28 (PEP 600)."""
GITLAB_TEMPLATE = ".polywheel"
_GITLAB_TEST = ".polywheel-test"
"""The hidden job of the jobs that test."""
_GITLAB_PLANNED = ".polywheel-planned"
"""The hidden job whose script writes the ids of all jobs to `_GITLAB_PLAN`, for the job that collects.

They are no variable, because a process accepts at most 128 KiB for one.
"""
_GITLAB_PLAN = "polywheel-planned.json"
GITLAB_MOST = 2 * 1024 * 1024
"""The maximum size of a file of a pipeline on GitLab, in bytes of Ruby objects (``max_yaml_size_bytes``)."""
_GITLAB_NAME = 255
"""The maximum length of the name of a GitLab job."""


Entry = dict[str, str | int | list[str] | dict[str, str]]


def entries(plan: Plan, packs: Sequence[Pack]) -> Iterator[Entry]:
    """The entries for CI jobs: ``id``, ``runner`` (a label or a list of labels), and texts: ``image`` (or empty),
    ``container`` (``job`` or ``step``, or empty without an image), ``options`` (of the container), ``python`` (all
    Pythons of the pack, separated by spaces), ``target``, ``label`` (of the first job), and ``labels`` and ``jobs``
    (all, separated by spaces, as ``polywheel build --only`` accepts them). ``axes`` has the values by axis.

    Raises ConfigError for a build without a runner.
    """
    wheels = {job.id: job for job in plan.jobs}
    for pack in packs:
        target, settings = plan.targets[pack.target], pack.builds[0].settings
        pack_labels = list(dict.fromkeys(wheels[name].label or NON_VARIANT for name in pack.jobs))
        image = settings.image or ""
        yield {
            "id": pack.builds[0].id,
            "runner": runner_value(require_runner(plan, pack.builds[0])),
            "image": image,
            "container": github_container(plan.platform_of(target.name), image),
            "options": settings.container_options or "",
            "python": " ".join(pack.pythons),
            "target": pack.target,
            "label": pack_labels[0],
            "labels": " ".join(pack_labels),
            "axes": axis_values(wheels[name] for name in pack.jobs),
            "jobs": " ".join(pack.jobs),
        }


def github_container(platform: str, image: str) -> str:
    """Where a container runs on GitHub: ``job``, ``step`` if GitHub's actions can't run in it, or empty.

    In the container of a job, GitHub's own actions run in a Node.js that needs glibc 2.28. For Alpine, the runner
    has one for x86-64 only (``StepHost.cs`` in actions/runner). In the container of a step, only the build runs.
    """
    if not image:
        return ""
    alpine = platform.startswith("musllinux") and not platform.endswith("x86_64")
    return "step" if alpine or _OLD_IMAGE.search(image) else "job"


def require_runner(plan: Plan, build: Build) -> tuple[str, ...]:
    """The labels of the runner of a build. Raises ConfigError if there is none."""
    if not build.settings.runner:
        by_override = "runner" in build.set_by
        raise ConfigError(
            f"an override leaves builds for {build.target!r} without a runner for CI"
            if by_override
            else f"the target {build.target!r} has no runner for CI",
            at=plan.setting_at(build, "runner"),
            hint="set the label of a runner, or remove this setting"
            if by_override
            else f'[tool.polywheel.targets.{build.target}] runner = "…"',
        )
    return build.settings.runner


def find_test_runners(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the labels of each machine that tests wheels after all builds, in the order of the plan.

    Raises ConfigError for a ``test-runner`` of a wheel that has no test.
    """
    runners: dict[tuple[str, ...], None] = {}
    for job in plan.jobs:
        settings = plan.settings_of(job)
        if settings.test_runner and not settings.test_command:
            raise ConfigError(
                f"{job.id} has a test-runner, but no test-command",
                at=job.at,
                hint="add a test-command, or remove test-runner",
            )
        if settings.test_runner:
            runners[settings.test_runner] = None
    return tuple(runners)


def runner_value(labels: Sequence[str]) -> str | list[str]:
    """The label of a runner, or the list of its labels."""
    return labels[0] if len(labels) == 1 else list(labels)


def github(plan: Plan, packs: Sequence[Pack], *, minutes: int) -> str:
    """``{"include": [...]}`` in one line, for ``matrix: ${{ fromJSON(…) }}``.

    Besides the keys of `entries`, an entry has the time limits in minutes: ``timeout`` of the CI job, and
    ``build_timeout`` of the step that builds. ``minutes`` are those of the settings.
    Raises ConfigError if it is too long for the output of a job.
    """
    found = [
        variable_in_image(build.settings.image, at=plan.setting_at(build, "image"))
        for build in plan.builds
    ]
    if problems := [problem for problem in found if problem is not None]:
        raise ConfigError.collected(problems)
    include = []
    for entry, pack in zip(entries(plan, packs), packs, strict=True):
        runner = pack.builds[0].settings.runner or ()
        limit = github_job_minutes(minutes, runner, _limits(pack))
        include.append({**entry, "timeout": limit, "build_timeout": limit - AFTER_THE_BUILD})
    text = json_text({"include": include}, exact=True, dense=True)
    if 2 * len(text) > GITHUB_OUTPUT:
        raise ConfigError(
            f"the matrix of {len(plan.jobs)} wheels has {len(text)} characters, and a job output on "
            f"GitHub has at most {GITHUB_OUTPUT // 2}",
            hint="build a part of the matrix in each workflow, with a --config file for each; or use "
            "shorter labels, or fewer wheels (--select, --target, or --shard of polywheel matrix)",
        )
    return text


def gitlab(plan: Plan, packs: Sequence[Pack]) -> str:
    """A child pipeline in JSON, which is also YAML, with one job for each entry.

    Each job extends the hidden job ``.polywheel``. There is also one for each ``test-runner``, which extends
    ``.polywheel-test``. The project writes these jobs, and includes them with this file.
    The hidden job ``.polywheel-planned`` has a script that writes a file for ``polywheel ci collect --plan``.
    Raises ConfigError if GitLab would refuse the file for its size.
    """
    wheels = {job.id: job for job in plan.jobs}
    jobs: dict[str, dict[str, Any]] = {}
    for entry, pack in zip(entries(plan, packs), packs, strict=True):
        runner = entry["runner"]
        tags = [runner] if isinstance(runner, str) else runner
        job: dict[str, Any] = {"extends": GITLAB_TEMPLATE, "tags": tags}
        if entry["image"]:
            job["image"] = entry["image"]
        timeout = gitlab_job_timeout(_limits(pack))
        if timeout is not None:
            job["timeout"] = timeout
        keys = ("jobs", "python", "target", "label", "labels")
        job["variables"] = {f"POLYWHEEL_{key.upper()}": entry[key] for key in keys}
        for axis, values in axis_values(wheels[name] for name in pack.jobs).items():
            job["variables"][f"POLYWHEEL_AXIS_{axis}"] = values
        jobs[_job_name(str(entry["id"]))] = job
    for number, labels in enumerate(find_test_runners(plan), 1):
        jobs[f"polywheel-test-{number}"] = {
            "extends": _GITLAB_TEST,
            "tags": list(labels),
            "variables": {"POLYWHEEL_TEST_RUNNER": " ".join(labels)},
        }
    planned = {_GITLAB_PLANNED: {"script": [_write_gitlab_plan(packs)]}}
    size = ruby_size({**planned, **jobs})
    if size > GITLAB_MOST:
        raise ConfigError(
            f"a child pipeline with {len(jobs)} jobs has {size} bytes as GitLab counts them, and "
            f"GitLab accepts at most {GITLAB_MOST}",
            hint=f"combine builds with --max-jobs={len(jobs) * GITLAB_MOST // size // 2}, or select fewer jobs",
        )
    # JSON would escape other characters as pairs of surrogates, which YAML does not support.
    return json_text({**planned, **jobs}, indent=2, exact=True, ascii_only=False)


def _write_gitlab_plan(packs: Iterable[Pack]) -> str:
    """The line of sh that writes the file for ``polywheel ci collect --plan``. Ids need no quotes."""
    names = " ".join(name for pack in packs for name in pack.jobs)
    plan = json_text({"include": [{"jobs": names}]}, exact=True, dense=True)
    return f"cat > {_GITLAB_PLAN} <<'END'\n{plan}\nEND\n"


def _limits(pack: Pack) -> list[float | None]:
    """The time limits of the builds of a pack, in seconds."""
    return [build.settings.job_timeout for build in pack.builds]


def build_jobs(packs: Iterable[Pack]) -> Iterator[BuildJob]:
    """The packs as CI jobs, for checks of their time limits."""
    for pack in packs:
        first = pack.builds[0]
        yield BuildJob(name=first.id, runner=first.settings.runner or (), limits=_limits(pack))


def axis_values(jobs: Iterable[Job]) -> dict[str, str]:
    """The values of jobs by axis. Several values are separated by spaces."""
    values: dict[str, dict[str, None]] = {}
    for job in jobs:
        for axis, value in job.axes.items():
            values.setdefault(axis, {})[value] = None
    return {axis: " ".join(several) for axis, several in values.items()}


def ruby_size(value: object) -> int:
    """The size of a value in bytes as GitLab computes it, or a little more.

    GitLab adds up what Ruby's ``ObjectSpace.memsize_of`` says of each object of the parsed file
    (``lib/gitlab/utils/deep_size.rb``), which is several times the size of the text.
    """
    if isinstance(value, Mapping):
        # Up to 8 entries are a short list. More are in a table whose size is a power of 2.
        table = 168 if len(value) <= 8 else 96 + 28 * max(32, 1 << len(value).bit_length())
        return table + sum(ruby_size(key) + ruby_size(item) for key, item in value.items())
    if isinstance(value, str):
        length = len(value.encode())
        return 40 if length < 24 else 41 + length
    if isinstance(value, Sequence):
        table = 0 if len(value) <= 3 else 8 * max(20, len(value) * 3 // 2)
        return 40 + table + sum(map(ruby_size, value))
    return 40


def _job_name(identifier: str) -> str:
    """A valid name of a GitLab job: not too long.

    Ids are never keywords of GitLab, because they contain the tag of a Python between hyphens. They do not begin
    with a dot, which would hide the job.
    """
    if len(identifier) <= _GITLAB_NAME:
        return identifier
    digest = hashlib.sha256(identifier.encode("ascii")).hexdigest()[:12]
    return f"{identifier[: _GITLAB_NAME - 13]}-{digest}"
