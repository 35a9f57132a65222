"""A plan in the words of a CI system: an entry for each build, or each pack of builds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from polywheel.errors import ConfigError
from polywheel.matrix.shards import Pack
from polywheel.model.plan import NON_VARIANT, Plan
from polywheel.system.terminal import json_text

GITHUB_MOST = 256
"""Jobs that GitHub makes of one matrix in a run."""
GITHUB_OUTPUT = 1024 * 1024
"""Bytes in UTF-16 of everything that one GitHub job may hand to those after it."""
GITLAB_TEMPLATE = ".polywheel"
_GITLAB_NAME = 255
"""Letters that the name of a GitLab job may have."""


def entries(plan: Plan, packs: Sequence[Pack]) -> Iterator[dict[str, str]]:
    """What a CI job has to know, every value a string: ``id``, ``runner``, ``image`` (empty where
    there is none), ``python`` (several with a blank between them, where a pack has builds for
    several), ``target``, ``label`` (that of the first job), ``labels`` and ``jobs`` (all, with
    blanks between them, as ``polywheel build --only`` takes them).

    Raises ConfigError for a target without a runner.
    """
    labels = {job.id: job.label or NON_VARIANT for job in plan.jobs}
    for one in packs:
        of_jobs = list(dict.fromkeys(labels[job] for job in one.jobs))
        yield {
            "id": one.builds[0].id,
            "runner": _target_text(plan, one.target, "runner"),
            "image": _target_text(plan, one.target, "image"),
            "python": " ".join(one.pythons),
            "target": one.target,
            "label": of_jobs[0],
            "labels": " ".join(of_jobs),
            "jobs": " ".join(one.jobs),
        }


def _target_text(plan: Plan, name: str, what: str) -> str:
    target = plan.targets[name]
    text: str = getattr(target, what) or ""
    at = target.at or f"tool.polywheel.targets.{name}"
    if what == "runner" and not text:
        raise ConfigError(
            f"the target {name!r} has no runner for CI",
            at=at,
            hint=f'[tool.polywheel.targets.{name}] runner = "…"',
        )
    if not text.isprintable():
        raise ConfigError(f"the {what} of {name!r} contains an unprintable character", at=at)
    return text


def github(plan: Plan, packs: Sequence[Pack]) -> str:
    """``{"include": [...]}`` in one line, for ``matrix: ${{ fromJSON(…) }}``."""
    return json_text({"include": [*entries(plan, packs)]}, exact=True, dense=True)


def gitlab(plan: Plan, packs: Sequence[Pack]) -> str:
    """A child pipeline in JSON, which is YAML: a job for each entry.

    Each extends the hidden job ``.polywheel``, which the project writes itself and includes beside
    this file where it triggers the pipeline.
    """
    jobs: dict[str, dict[str, Any]] = {}
    for one in entries(plan, packs):
        job: dict[str, Any] = {"extends": GITLAB_TEMPLATE, "tags": [one["runner"]]}
        if one["image"]:
            job["image"] = one["image"]
        job["variables"] = {
            "POLYWHEEL_JOBS": one["jobs"],
            "POLYWHEEL_PYTHON": one["python"],
            "POLYWHEEL_TARGET": one["target"],
            "POLYWHEEL_LABEL": one["label"],
        }
        jobs[_job_name(one["id"])] = job
    # YAML knows no pairs of surrogates, which is what other letters would become.
    return json_text(jobs, indent=2, exact=True, ascii_only=False)


def _job_name(identifier: str) -> str:
    """A name that GitLab takes: not hidden, as with a dot in front, and not too long.

    No id is one of its keywords: each has the tag of a Python between two hyphens.
    """
    name = f"job{identifier}" if identifier.startswith(".") else identifier
    if len(name) <= _GITLAB_NAME:
        return name
    digest = hashlib.sha256(identifier.encode("ascii")).hexdigest()[:12]
    return f"{name[: _GITLAB_NAME - 13]}-{digest}"
