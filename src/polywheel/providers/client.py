"""Asking plugins, in one process of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from packaging.requirements import Requirement

from polywheel.config.settings import PROVIDER_TIMEOUT
from polywheel.errors import ProviderError
from polywheel.model.answers import PluginAnswer, PluginQuery
from polywheel.providers.answer_file import (
    answer_of,
    plugin_name,
    read_answers,
    read_call,
    read_log,
)
from polywheel.providers.process import run_host
from polywheel.system.temporary import temporary_folder
from polywheel.terminal import one_line

_LIMIT = 100_000
"""Values that one plugin may name."""


def ask_plugins(
    queries: Sequence[PluginQuery],
    *,
    python: str,
    timeout: float = PROVIDER_TIMEOUT,
    notify: Callable[[str], None],
) -> tuple[PluginAnswer, ...]:
    """Ask plugins in the environment of the interpreter ``python``, all in one process.

    What they print goes to ``notify``, a line at a time, the namespace in front. Raises
    ProviderError, with everything that is wrong, where one can't be asked or its answer can't be
    used; a plugin that ends or hangs the process is named.
    """
    found: list[PluginAnswer] = []
    errors: list[ProviderError] = []
    # The host gives each plugin a process of its own by forking; where it can't, it asks one only.
    batches = [queries] if hasattr(os, "fork") else [[query] for query in queries]
    for batch in filter(None, batches):
        for one in _ask(batch, python, timeout, notify):
            if isinstance(one, ProviderError):
                errors.append(one)
            else:
                found.append(one)
    if errors:
        raise ProviderError.collected(problem for error in errors for problem in error.problems)
    return tuple(found)


def _ask(
    queries: Sequence[PluginQuery], python: str, timeout: float, notify: Callable[[str], None]
) -> Iterator[PluginAnswer | ProviderError]:
    """What became of each query; an error may end it for the ones that follow, too."""
    with temporary_folder() as folder:
        (folder / "request.json").write_text(json.dumps(_request(queries)), encoding="utf-8")
        try:
            code = run_host(python, folder, timeout)
        except OSError as error:
            yield _unasked(queries, f"{python}: {error.strerror or error}")
            return
        for number, query in enumerate(queries):
            for line in read_log(folder / f"log-{number}"):
                notify(f"{query.namespace or query.reference}: {line}")
        said = read_answers(folder, len(queries)) if code == 0 else None
        calls = [read_call(folder, number) for number in range(len(queries))]
        log = " ".join(read_log(folder / "log")[-3:])
    if said is None:
        late = f"no answer within {timeout:g} seconds" if code is None else ""
        yield _ended(queries, calls, code, timeout) or _unasked(queries, late or log)
        return
    for query, one, call in zip(queries, said, calls, strict=True):
        try:
            yield _refusal(query, one, call) or answer_of(query, one)
        except ProviderError as error:
            yield error


def _request(queries: Sequence[PluginQuery]) -> dict[str, Any]:
    return {
        "limit": _LIMIT,
        "plugins": [
            {
                "namespace": query.namespace,
                "reference": query.reference,
                "distribution": (
                    Requirement(query.requires[0]).name
                    if query.version and query.requires
                    else None
                ),
                "properties": [[one.feature, one.value] for one in query.properties],
                "setup": [[one.feature, one.value] for one in query.setup],
                "supported": query.supported,
            }
            for query in queries
        ],
    }


def _ended(
    queries: Sequence[PluginQuery],
    calls: Sequence[str | None],
    code: int | None,
    timeout: float,
) -> ProviderError | None:
    """The plugin that was being asked, the last one, when the host ended or ran out of time."""
    for query, call in zip(reversed(queries), reversed(calls), strict=True):
        if call is not None and code is not None:
            return _died(query, call, code)
        if call is not None:
            return ProviderError(
                f"{plugin_name(query)} did not answer within {timeout:g} seconds (in {call})",
                at=query.at,
                hint="a longer time can be given: [tool.polywheel] provider-timeout = seconds",
            )
    return None


def _died(query: PluginQuery, call: str | None, code: int) -> ProviderError:
    how = f"was killed by signal {-code}" if code < 0 else f"ended its process (exit code {code})"
    return ProviderError(f"{plugin_name(query)} {how} in {call or 'a call'}", at=query.at)


def _refusal(query: PluginQuery, said: dict[str, Any], call: str | None) -> ProviderError | None:
    """The error that a plugin ended in, if it did."""
    if isinstance(code := said.get("ended"), int):
        return _died(query, call, code)
    if "error" not in said:
        return None
    what = one_line(" ".join(str(said["error"]).split()))
    if said.get("missing") is True:
        return ProviderError(
            f"{plugin_name(query)} can't be imported: {what}", at=query.at, hint=_install(query)
        )
    call = one_line(str(said.get("call")))
    return ProviderError(f"{plugin_name(query)} failed in {call}: {what}", at=query.at)


def _install(query: PluginQuery) -> str | None:
    if query.namespace is None or not query.requires:
        return None
    return (
        f"install {', '.join(query.requires)} into the build environment, or build in isolation; "
        "a provider that can't be installed is told to polywheel by "
        f'[tool.polywheel.providers.{query.namespace}] query = "preset" or "never"'
    )


def _unasked(queries: Sequence[PluginQuery], why: str) -> ProviderError:
    """Nobody knows at which of the plugins it went wrong, so all of them are named."""
    names = ", ".join(map(plugin_name, queries))
    return ProviderError(f"{names} can't be asked: {why or 'no reason is given'}", at=queries[0].at)
