"""Jobs of a GitLab pipeline, merged as GitLab does, for runs of their scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

PLANNED = ".polywheel-planned"
"""The hidden job of a plan, besides those that build."""


@dataclass(frozen=True)
class Reference:
    """``!reference [JOB, KEY]``."""

    path: tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """YAML with the tag of GitLab."""


def _reference(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> Reference:
    return Reference(tuple(loader.construct_sequence(node)))


_Loader.add_constructor("!reference", _reference)


def load_pipeline(text: str) -> dict[str, Any]:
    """A file of a pipeline. References stay, because they are resolved when all files are merged."""
    document = yaml.load(text, _Loader)
    assert isinstance(document, dict)
    return document


def resolved(value: Any, pipeline: Mapping[str, Any]) -> Any:
    """A value of a merged pipeline with what it refers to."""
    if isinstance(value, Reference):
        target: Any = pipeline
        for key in value.path:
            target = target[key]
        return resolved(target, pipeline)
    if isinstance(value, dict):
        return {key: resolved(inner, pipeline) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, pipeline) for inner in value]
    return value


def plan_jobs(text: str) -> dict[str, Any]:
    """The jobs of a plan that build."""
    jobs: dict[str, Any] = json.loads(text)
    assert PLANNED in jobs
    return {name: job for name, job in jobs.items() if job.get("extends") == ".polywheel"}


def merged(name: str, pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """A job with what it extends, as GitLab merges them."""
    own = dict(pipeline[name])
    extended = own.pop("extends", [])
    result: dict[str, Any] = {}
    for base in [extended] if isinstance(extended, str) else extended:
        result = _joined(result, merged(base, pipeline))
    return _joined(result, own)


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(first)
    for key, value in second.items():
        both = (
            isinstance(value, dict) and isinstance(result.get(key), dict) and "value" not in value
        )
        result[key] = _joined(result[key], value) if both else value
    return result


def script_of(name: str, pipeline: Mapping[str, Any]) -> str:
    """The lines that run in one shell."""
    job = resolved(merged(name, pipeline), pipeline)
    return "\n".join(_flat([job["before_script"], job["script"]]))


def _flat(value: str | list[Any]) -> Iterator[str]:
    """The lines of nested lists, which references make."""
    if isinstance(value, str):
        yield value
    else:
        for inner in value:
            yield from _flat(inner)


def variables_of(name: str, pipeline: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a job, as they are written."""
    return {
        key: one["value"] if isinstance(one, dict) else str(one)
        for key, one in merged(name, pipeline)["variables"].items()
    }
