"""What the host of plugins wrote, checked before anybody believes it.

A plugin can reach the files of the host, and do with them whatever it has a mind to. So each file may be absent, of another kind, too long, or hold anything.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from polywheel.errors import ProviderError
from polywheel.model.answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.properties import FEATURE, NAMESPACE, VALUE
from polywheel.terminal import log_line, one_line

T = TypeVar("T")

_ANSWER_LIMIT = 256 * 1024 * 1024
_LOG_LIMIT = 64 * 1024
"""Bytes of a plugin's output that reach the log: its end."""


def plugin_name(query: PluginQuery) -> str:
    """A plugin in the words of a message."""
    where = f" of the namespace {query.namespace!r}" if query.namespace else ""
    return f"the provider plugin {query.reference!r}{where}"


def read_answers(folder: Path, number: int) -> list[dict[str, Any]] | None:
    """The answers of so many plugins, each an object; None where the host wrote no such thing."""
    content, _ = _end_of(folder / "answer.json", _ANSWER_LIMIT)
    try:
        answers = json.loads(content.decode("ascii"))["answers"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(answers, list) or len(answers) != number:
        return None
    return answers if all(isinstance(one, dict) for one in answers) else None


def read_call(folder: Path, number: int) -> str | None:
    """The call that a plugin is in; None where it was not asked yet."""
    content, _ = _end_of(folder / f"call-{number}", 100)
    return one_line(content.decode("ascii", errors="replace")) or None


def read_log(path: Path) -> list[str]:
    """The last lines of what was printed, safe to show."""
    content, cut = _end_of(path, _LOG_LIMIT)
    lines = content.decode("utf-8", errors="replace").splitlines()
    return (["…"] if cut else []) + [log_line(line) for line in lines if line.strip()]


def _end_of(path: Path, limit: int) -> tuple[bytes, bool]:
    """The last bytes of a plain file, and whether there are more; nothing of anything else."""
    try:
        # A pipe in its place would keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                return b"", False
            file.seek(max(0, about.st_size - limit))
            return file.read(limit), about.st_size > limit
    except OSError:
        return b"", False


def answer_of(query: PluginQuery, said: dict[str, Any]) -> PluginAnswer:
    """A checked answer. Raises ProviderError."""
    try:
        namespace = query.namespace or _optional(str, said["namespace"]) or ""
        if namespace and not NAMESPACE.fullmatch(namespace):
            raise ProviderError(
                f"{plugin_name(query)} governs the malformed namespace {namespace[:80]!a}",
                at=query.at,
            )
        each = [_flags(query, one) for one in said["setup_each"]]
        return PluginAnswer(
            query=query,
            namespace=namespace,
            generation=_of(str, said["generation"]),
            version=_version(said["version"]),
            all_configs=_configs(query, said["all"], "get_all_configs"),
            valid=dict(
                zip(query.properties, [_of(bool, one) for one in said["valid"]], strict=True)
            ),
            supported=_configs(query, said["supported"], "get_supported_configs"),
            all_compatible=_of(bool, said["compatible"]),
            setup=_flags(query, said["setup"]),
            # Not asked where a property is not valid.
            setup_each=dict(zip(query.setup, each, strict=bool(each))),
        )
    except (KeyError, TypeError, ValueError):
        raise ProviderError(
            f"{plugin_name(query)} has spoilt the answer of the process that asks it", at=query.at
        ) from None


def _of(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _optional(kind: type[T], value: object) -> T | None:
    return None if value is None else _of(kind, value)


def _version(value: object) -> str | None:
    text = _optional(str, value)
    return None if text is None else one_line(text, longest=100)


def _flags(query: PluginQuery, said: object) -> dict[str, tuple[str, ...]]:
    """Flags by key. They go into environment variables: nothing in them may be out of place."""
    found = {key: tuple(_of(list, values)) for key, values in _of(dict, said).items()}
    for text in _all_strings(found):
        if not text.isprintable():
            raise ProviderError(
                f"{plugin_name(query)} returned characters that can't be printed from "
                f"get_build_setup: {text[:80]!a}",
                at=query.at,
            )
    return found


def _all_strings(flags: dict[str, tuple[Any, ...]]) -> Iterable[str]:
    for key, values in flags.items():
        yield key
        yield from (_of(str, value) for value in values)


def _configs(query: PluginQuery, said: object, call: str) -> tuple[FeatureConfig, ...] | None:
    """Feature configs with names that match the patterns, none of them twice."""
    if said is None:
        return None
    found: dict[str, FeatureConfig] = {}
    for name, listed, multi_value in _of(list, said):
        values = [_of(str, value) for value in listed]
        problem = None
        if not FEATURE.fullmatch(name):
            problem = f"the malformed feature name {name[:80]!a}"
        elif name in found:
            problem = f"the feature {name!r} twice"
        elif not values:
            problem = f"no values of the feature {name!r}"
        elif (bad := next((one for one in values if not VALUE.fullmatch(one)), None)) is not None:
            problem = f"the malformed value {bad[:80]!a} of {name!r}"
        elif len(set(values)) != len(values):
            problem = f"a value of {name!r} twice"
        if problem:
            raise ProviderError(f"{plugin_name(query)} returned {problem} from {call}", at=query.at)
        found[name] = FeatureConfig(name, tuple(values), _of(bool, multi_value))
    return tuple(found.values())
