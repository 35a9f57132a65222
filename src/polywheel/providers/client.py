"""Asking plugins, in one process of their own, and checking what comes back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from polywheel.errors import ProviderError
from polywheel.model.answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.properties import FEATURE, VALUE
from polywheel.providers.process import run_host

DEFAULT_TIMEOUT = 60.0
"""Seconds that one batch of plugins may take."""

_LIMIT = 100_000
"""Values that one plugin may name."""
_LOG_LIMIT = 64 * 1024
"""Bytes of a plugin's output that reach the log: its end."""


def ask_plugins(
    queries: Sequence[PluginQuery],
    *,
    python: str,
    timeout: float = DEFAULT_TIMEOUT,
    notify: Callable[[str], None],
) -> tuple[PluginAnswer, ...]:
    """Ask plugins in the environment of the interpreter ``python``, all in one process.

    What they print goes to ``notify``, a line at a time, the namespace in front. Raises
    ProviderError, with everything that is wrong, where one can't be asked or its answer can't be
    used; a plugin that ends or hangs the process is named.
    """
    if not queries:
        return ()
    with tempfile.TemporaryDirectory(prefix="polywheel-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps(_request(queries)), encoding="utf-8")
        code = run_host(python, folder, timeout)
        for number, query in enumerate(queries):
            for line in _log(folder / f"log-{number}"):
                notify(f"{query.namespace}: {line}")
        answer = folder / "answer.json"
        if code is None or not answer.is_file():
            raise _ended(folder, queries, code, timeout)
        said = json.loads(answer.read_text(encoding="ascii"))["answers"]
    errors = [
        _refused(query, one) for query, one in zip(queries, said, strict=True) if "error" in one
    ]
    if errors:
        raise ProviderError.collected(problem for error in errors for problem in error.problems)
    return tuple(_answer(query, one) for query, one in zip(queries, said, strict=True))


def _request(queries: Sequence[PluginQuery]) -> dict[str, Any]:
    return {
        "limit": _LIMIT,
        "plugins": [
            {
                "namespace": query.namespace,
                "reference": query.reference,
                "distribution": Requirement(query.requires[0]).name if query.requires else None,
                "properties": [[one.feature, one.value] for one in query.properties],
                "setup": [[one.feature, one.value] for one in query.setup],
                "supported": query.supported,
            }
            for query in queries
        ],
    }


def _log(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_LIMIT))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    cut = ["…"] if size > _LOG_LIMIT else []
    return cut + [
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
        for line in text.replace("\t", "    ").splitlines()
        if line.strip()
    ]


def _named(query: PluginQuery) -> str:
    return f"the provider plugin {query.reference!r} of the namespace {query.namespace!r}"


def _ended(
    folder: Path, queries: Sequence[PluginQuery], code: int | None, timeout: float
) -> ProviderError:
    """The plugin that was being asked when the process ended or ran out of time."""
    try:
        number, _, call = (folder / "progress").read_text(encoding="ascii").partition(" ")
        query = queries[int(number)]
    except (OSError, ValueError, IndexError):
        log = " ".join(_log(folder / "log")[-3:])
        return ProviderError(f"the provider plugins can't be asked: {log or 'no reason is given'}")
    if code is None:
        return ProviderError(
            f"{_named(query)} did not answer within {timeout:g} seconds (in {call})",
            at=query.at,
            hint="a longer time can be given: [tool.polywheel] provider-timeout = seconds",
        )
    how = f"was killed by signal {-code}" if code < 0 else f"ended its process (exit code {code})"
    return ProviderError(f"{_named(query)} {how} in {call}", at=query.at)


def _refused(query: PluginQuery, said: dict[str, Any]) -> ProviderError:
    if said["missing"]:
        return ProviderError(
            f"{_named(query)} can't be imported: {said['error']}",
            at=query.at,
            hint=f"install {', '.join(query.requires)} into the build environment, or build "
            "in isolation; a provider that can't be installed is told to polywheel by "
            f'[tool.polywheel.providers.{query.namespace}] query = "preset" or "never"',
        )
    return ProviderError(f"{_named(query)} failed in {said['call']}: {said['error']}", at=query.at)


def _answer(query: PluginQuery, said: dict[str, Any]) -> PluginAnswer:
    return PluginAnswer(
        namespace=query.namespace,
        generation=said["generation"],
        version=said["version"],
        all_configs=_configs(query, said["all"], "get_all_configs"),
        valid=dict(zip(query.properties, said["valid"], strict=True)),
        supported=_configs(query, said["supported"], "get_supported_configs"),
        all_compatible=said["compatible"],
        setup=_flags(said["setup"]),
        setup_each=dict(zip(query.setup, map(_flags, said["setup_each"]), strict=True)),
    )


def _flags(said: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in said.items()}


def _configs(
    query: PluginQuery, said: list[Any] | None, call: str
) -> tuple[FeatureConfig, ...] | None:
    """Feature configs with names that match the patterns, none of them twice."""
    if said is None:
        return None
    found: dict[str, FeatureConfig] = {}
    for name, values, multi_value in said:
        problem = None
        if not FEATURE.fullmatch(name):
            problem = f"the malformed feature name {name!a}"
        elif name in found:
            problem = f"the feature {name!r} twice"
        elif bad := next((value for value in values if not VALUE.fullmatch(value)), None):
            problem = f"the malformed value {bad!a} of {name!r}"
        elif "" in values:
            problem = f"an empty value of {name!r}"
        elif len(set(values)) != len(values):
            problem = f"a value of {name!r} twice"
        if problem:
            raise ProviderError(f"{_named(query)} returned {problem} from {call}", at=query.at)
        found[name] = FeatureConfig(name, tuple(values), multi_value)
    return tuple(found.values())
