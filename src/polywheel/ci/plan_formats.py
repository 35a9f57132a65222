"""Plans in the formats of CI systems: one entry for each build, or for each pack of builds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from polywheel.errors import ConfigError
from polywheel.matrix.shards import Pack
from polywheel.model.plan import NON_VARIANT, Plan
from polywheel.system.terminal import json_text

GITHUB_MOST = 256
"""The maximum number of jobs in one matrix on GitHub."""
GITHUB_OUTPUT = 1024 * 1024
"""The maximum size of the outputs of a GitHub job, in bytes of UTF-16."""
_OLD_IMAGE = re.compile(r"manylinux(1|2010|2014|_2_([0-9]|1[0-9]|2[0-7]))_")
"""Images with a glibc older than 2.28 (PEP 600)."""
GITLAB_TEMPLATE = ".polywheel"
_GITLAB_NAME = 255
"""The maximum length of the name of a GitLab job."""


Entry = dict[str, str | list[str]]


def entries(plan: Plan, packs: Sequence[Pack]) -> Iterator[Entry]:
    """The entries for CI jobs: ``id``, ``runner`` (a label or a list of labels), and texts: ``image`` (or empty),
    ``container`` (``job`` or ``step``, or empty without an image), ``options`` (of the container), ``python`` (all
    Pythons of the pack, separated by spaces), ``target``, ``label`` (of the first job), and ``labels`` and ``jobs``
    (all, separated by spaces, as ``polywheel build --only`` accepts them).

    Raises ConfigError for a build without a runner.
    """
    labels = {job.id: job.label or NON_VARIANT for job in plan.jobs}
    for pack in packs:
        target, settings = plan.targets[pack.target], pack.builds[0].settings
        pack_labels = list(dict.fromkeys(labels[job] for job in pack.jobs))
        at = target.at or f"tool.polywheel.targets.{target.name}"
        runner, image = require_runner(target.name, settings.runner, at), settings.image or ""
        options = settings.container_options or ""
        texts = (("image", image), ("container-options", options))
        for key, text in (*texts, *(("runner", text) for text in settings.runner or ())):
            if not text.isprintable():
                what = f"the {key} of {target.name!r} contains an unprintable character"
                raise ConfigError(what, at=at)
        yield {
            "id": pack.builds[0].id,
            "runner": runner,
            "image": image,
            "container": github_container(plan.platform_of(target.name), image),
            "options": options,
            "python": " ".join(pack.pythons),
            "target": pack.target,
            "label": pack_labels[0],
            "labels": " ".join(pack_labels),
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


def require_runner(target: str, runner: tuple[str, ...] | None, at: str = "") -> str | list[str]:
    """The label of a runner, or the list of its labels. Raises ConfigError if there is none."""
    if not runner:
        raise ConfigError(
            f"the target {target!r} has no runner for CI",
            at=at or f"tool.polywheel.targets.{target}",
            hint=f'[tool.polywheel.targets.{target}] runner = "…"',
        )
    return runner[0] if len(runner) == 1 else list(runner)


def github(plan: Plan, packs: Sequence[Pack]) -> str:
    """``{"include": [...]}`` in one line, for ``matrix: ${{ fromJSON(…) }}``.

    Raises ConfigError if it is too long for the output of a job.
    """
    text = json_text({"include": [*entries(plan, packs)]}, exact=True, dense=True)
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

    Each job extends the hidden job ``.polywheel``. The project writes this job, and includes it with this file.
    """
    jobs: dict[str, dict[str, Any]] = {}
    for entry in entries(plan, packs):
        runner = entry["runner"]
        tags = [runner] if isinstance(runner, str) else runner
        job: dict[str, Any] = {"extends": GITLAB_TEMPLATE, "tags": tags}
        if entry["image"]:
            job["image"] = entry["image"]
        keys = ("jobs", "python", "target", "label")
        job["variables"] = {f"POLYWHEEL_{key.upper()}": entry[key] for key in keys}
        jobs[_job_name(str(entry["id"]))] = job
    # JSON would escape other characters as pairs of surrogates, which YAML does not support.
    return json_text(jobs, indent=2, exact=True, ascii_only=False)


def _job_name(identifier: str) -> str:
    """A valid name of a GitLab job: without a leading dot, which hides a job, and not too long.

    Ids are never keywords of GitLab, because they contain the tag of a Python between hyphens.
    """
    name = f"job{identifier}" if identifier.startswith(".") else identifier
    if len(name) <= _GITLAB_NAME:
        return name
    digest = hashlib.sha256(identifier.encode("ascii")).hexdigest()[:12]
    return f"{name[: _GITLAB_NAME - 13]}-{digest}"
