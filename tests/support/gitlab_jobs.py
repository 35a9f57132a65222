"""Jobs of a GitLab pipeline, merged as GitLab does, for runs of their scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
    job = merged(name, pipeline)
    return "\n".join([*job["before_script"], *job["script"]])


def variables_of(name: str, pipeline: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a job, as they are written."""
    return {
        key: one["value"] if isinstance(one, dict) else str(one)
        for key, one in merged(name, pipeline)["variables"].items()
    }
