"""Ask plugins in a child process, with a time limit, and check the answers.

A plugin can change the files of the child process. So each answer file may be missing, of another kind, too long, or
have any content.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from packaging.requirements import Requirement

from polywheel.config.project import PROVIDER_TIMEOUT
from polywheel.errors import ProviderError
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.variant import FEATURE, NAMESPACE, VALUE
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder
from polywheel.system.terminal import log_line, one_line

_MARK = "_POLYWHEEL_PROVIDERS"
_HOST = Path(__file__).with_name("_host.py")


def run_host(
    python: str, folder: Path, timeout: float, variables: Mapping[str, str] = os.environ
) -> int | None:
    """Run the host with these variables. Return its exit code, or None if it took more than ``timeout`` seconds.

    All its child processes are killed with it: its process group, and on Linux also processes that left the group.
    They are found by a number in their environment and in their limits (see the host). If this process is killed,
    the host and its group end by themselves. Raises OSError if ``python`` can't be started.
    """
    # As a limit, it must be larger than any file and smaller than 2**63.
    mark = str(2**50 + secrets.randbits(50))
    try:
        result = run_child(
            [python, "-P", "-X", "utf8", str(_HOST), str(folder), mark, str(os.getpid())],
            folder=Path(),
            environment={**variables, _MARK: mark},
            log=folder / "log",
            stop=Event(),
            seconds=timeout,
            grace=0,
        )
    finally:
        if sys.platform == "linux":
            _kill_marked(mark)
    return None if result.late else result.code


def _kill_marked(mark: str) -> None:
    """Kill all processes with the mark. They may fork meanwhile, so this is repeated."""
    if sys.platform == "win32":
        return
    for _ in range(100):
        marked = [number for number in _own_processes() if _is_marked(number, mark)]
        if not marked:
            return
        for number in marked:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)


def _own_processes() -> list[int]:
    numbers: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            if sys.platform != "win32" and path.stat().st_uid == os.getuid():
                numbers.append(int(path.name))
    return numbers


def _is_marked(number: int, mark: str) -> bool:
    """Whether a process is alive and has the mark in its environment or in its limits."""
    folder = Path("/proc", str(number))
    try:
        if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
            return True
        if mark.encode() not in (folder / "limits").read_bytes():
            return False
        # A zombie keeps its limits until its parent has waited for it.
        return (folder / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


T = TypeVar("T")

_ANSWER_LIMIT = 256 * 1024 * 1024
_LOG_LIMIT = 64 * 1024
"""Bytes at the end of a plugin's output that are shown."""


def _plugin(query: PluginQuery) -> str:
    """The name of a plugin in a message."""
    namespace = f" of the namespace {query.namespace!r}" if query.namespace else ""
    return f"the provider plugin {query.reference!r}{namespace}"


def _error(query: PluginQuery, what: str, hint: str | None = None) -> ProviderError:
    return ProviderError(f"{_plugin(query)} {what}", at=query.at, hint=hint)


def read_answers(folder: Path, number: int) -> list[dict[str, Any]] | None:
    """The answers of ``number`` plugins; None if the host did not write them."""
    content, _ = _end_of(folder / "answer.json", _ANSWER_LIMIT)
    try:
        answers = json.loads(content.decode("ascii"))["answers"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(answers, list) or len(answers) != number:
        return None
    return answers if all(isinstance(answer, dict) for answer in answers) else None


def read_call(folder: Path, number: int) -> str | None:
    """The last call of a plugin; None if there was none."""
    content, _ = _end_of(folder / f"call-{number}", 100)
    return one_line(content.decode("ascii", errors="replace")) or None


def read_log(path: Path) -> list[str]:
    """The last lines of a log, safe to print."""
    content, cut = _end_of(path, _LOG_LIMIT)
    lines = content.decode("utf-8", errors="replace").splitlines()
    return (["…"] if cut else []) + [log_line(line) for line in lines if line.strip()]


def _end_of(path: Path, limit: int) -> tuple[bytes, bool]:
    """The last bytes of a regular file, and whether it has more. Other files count as empty."""
    try:
        # Do not wait for the other end of a pipe.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return b"", False
            file.seek(max(0, status.st_size - limit))
            return file.read(limit), status.st_size > limit
    except OSError:
        return b"", False


def answer_of(query: PluginQuery, document: dict[str, Any]) -> PluginAnswer:
    """Read an answer of the host. Raises ProviderError if it is invalid."""
    try:
        namespace = query.namespace or _optional_text(document["namespace"]) or ""
        if namespace and not NAMESPACE.fullmatch(namespace):
            raise _error(query, f"has the malformed namespace {namespace[:80]!a}")
        version = _optional_text(document["version"])
        valid = [_of(bool, value) for value in document["valid"]]
        each = [_flags(query, setup) for setup in document["setup_each"]]
        return PluginAnswer(
            query=query,
            namespace=namespace,
            generation=_of(str, document["generation"]),
            version=None if version is None else one_line(version, longest=100),
            all_configs=_configs(query, document["all"], "get_all_configs"),
            valid=dict(zip(query.properties, valid, strict=True)),
            supported=_configs(query, document["supported"], "get_supported_configs"),
            all_compatible=_of(bool, document["compatible"]),
            setup=_flags(query, document["setup"]),
            # The host does not ask for setup if a property is not valid.
            setup_each=dict(zip(query.setup, each, strict=bool(each))),
        )
    except (KeyError, TypeError, ValueError):
        raise _error(query, "damaged the answer of the process that asks it") from None


def _of(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _of(str, value)


def _flags(query: PluginQuery, document: object) -> dict[str, tuple[str, ...]]:
    """Flags by key. They are put into environment variables, so they must be printable."""
    flags = {
        key: tuple(_of(str, value) for value in _of(list, values))
        for key, values in _of(dict, document).items()
    }
    for text in (text for key, values in flags.items() for text in (key, *values)):
        if not text.isprintable():
            what = "returned characters that can't be printed from get_build_setup"
            raise _error(query, f"{what}: {text[:80]!a}")
    return flags


def _configs(query: PluginQuery, document: object, call: str) -> tuple[FeatureConfig, ...] | None:
    """Feature configs with valid names, each once."""
    if document is None:
        return None
    configs: dict[str, FeatureConfig] = {}
    for name, listed, multi_value in _of(list, document):
        values = [_of(str, value) for value in listed]
        malformed = next((value for value in values if not VALUE.fullmatch(value)), None)
        problem = None
        if not FEATURE.fullmatch(name):
            problem = f"the malformed feature name {name[:80]!a}"
        elif name in configs:
            problem = f"the feature {name!r} twice"
        elif not values:
            problem = f"no values of the feature {name!r}"
        elif malformed is not None:
            problem = f"the malformed value {malformed[:80]!a} of {name!r}"
        elif len(set(values)) != len(values):
            problem = f"a value of {name!r} twice"
        if problem:
            raise _error(query, f"returned {problem} from {call}")
        configs[name] = FeatureConfig(name, tuple(values), _of(bool, multi_value))
    return tuple(configs.values())


_MAX_VALUES = 100_000
"""The maximum number of values of one plugin."""


def ask_plugins(
    queries: Sequence[PluginQuery],
    *,
    python: str,
    timeout: float = PROVIDER_TIMEOUT,
    notify: Callable[[str], None],
    variables: Mapping[str, str] = os.environ,
) -> tuple[PluginAnswer, ...]:
    """Ask plugins in the environment of the interpreter ``python``, all in one process with these variables.

    Each line that they print is passed to ``notify``, after the namespace. Raises ProviderError with all problems if
    a plugin can't be asked or its answer is invalid. A plugin that ends or blocks the process is named.
    """
    # The host forks a process for each plugin. On systems without fork, it can ask only one plugin.
    batches = [queries] if hasattr(os, "fork") else [[query] for query in queries]
    results = [
        result
        for batch in batches
        if batch
        for result in _ask(batch, python, timeout, notify, variables)
    ]
    problems = [
        p for result in results if isinstance(result, ProviderError) for p in result.problems
    ]
    if problems:
        raise ProviderError.collected(problems)
    return tuple(result for result in results if isinstance(result, PluginAnswer))


def _ask(
    queries: Sequence[PluginQuery],
    python: str,
    timeout: float,
    notify: Callable[[str], None],
    variables: Mapping[str, str],
) -> Iterator[PluginAnswer | ProviderError]:
    """The answers or errors of the plugins. One error may be for several plugins."""
    with temporary_folder() as folder:
        (folder / "request.json").write_text(json.dumps(_request(queries)), encoding="utf-8")
        try:
            code = run_host(python, folder, timeout, variables)
        except OSError as error:
            yield _unknown_error(queries, f"{python}: {error.strerror or error}")
            return
        for number, query in enumerate(queries):
            for line in read_log(folder / f"log-{number}"):
                notify(f"{query.namespace or query.reference}: {line}")
        documents = read_answers(folder, len(queries)) if code == 0 else None
        calls = [read_call(folder, number) for number in range(len(queries))]
        log = " ".join(read_log(folder / "log")[-3:])
    if documents is None:
        late = f"no answer within {timeout:g} seconds" if code is None else None
        yield _unfinished_error(queries, calls, code, timeout) or _unknown_error(
            queries, late or log
        )
        return
    for query, document, call in zip(queries, documents, calls, strict=True):
        try:
            yield _plugin_error(query, document, call) or answer_of(query, document)
        except ProviderError as error:
            yield error


def _request(queries: Sequence[PluginQuery]) -> dict[str, Any]:
    return {
        "limit": _MAX_VALUES,
        "plugins": [
            {
                "namespace": query.namespace,
                "reference": query.reference,
                "distribution": (
                    Requirement(query.requires[0]).name
                    if query.version and query.requires
                    else None
                ),
                "properties": [[prop.feature, prop.value] for prop in query.properties],
                "setup": [[prop.feature, prop.value] for prop in query.setup],
                "supported": query.supported,
            }
            for query in queries
        ],
    }


def _unfinished_error(
    queries: Sequence[PluginQuery], calls: Sequence[str | None], code: int | None, timeout: float
) -> ProviderError | None:
    """The error for the last plugin that was asked before the host ended or was killed."""
    called = [(query, call) for query, call in zip(queries, calls, strict=True) if call is not None]
    if not called:
        return None
    query, call = called[-1]
    if code is not None:
        return _crash_error(query, call, code)
    return _error(
        query,
        f"did not answer within {timeout:g} seconds (in {call})",
        "set a longer time: [tool.polywheel] provider-timeout = seconds",
    )


def _crash_error(query: PluginQuery, call: str | None, code: int) -> ProviderError:
    how = f"was killed by signal {-code}" if code < 0 else f"ended its process (exit code {code})"
    return _error(query, f"{how} in {call or 'a call'}")


def _plugin_error(
    query: PluginQuery, document: dict[str, Any], call: str | None
) -> ProviderError | None:
    """The error that the host reports for a plugin, if there is one."""
    if isinstance(code := document.get("ended"), int):
        return _crash_error(query, call, code)
    if "error" not in document:
        return None
    what = one_line(" ".join(str(document["error"]).split()))
    if document.get("missing") is True:
        return _error(query, f"can't be imported: {what}", _install_hint(query))
    return _error(query, f"failed in {one_line(str(document.get('call')))}: {what}")


def _install_hint(query: PluginQuery) -> str | None:
    if query.namespace is None or not query.requires:
        return None
    return (
        f"install {', '.join(query.requires)} into the build environment, or build in isolation; "
        "for a plugin that can't be installed, set "
        f'[tool.polywheel.providers.{query.namespace}] query = "preset" or "never"'
    )


def _unknown_error(queries: Sequence[PluginQuery], why: str) -> ProviderError:
    """The error if it is unknown which plugin caused it."""
    names = ", ".join(map(_plugin, queries))
    return ProviderError(f"{names} can't be asked: {why or 'unknown reason'}", at=queries[0].at)
