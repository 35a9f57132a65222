"""Ask plugins in a child process, with a time limit, and check the answers.

A plugin can reach the files of the child process. So each answer file may be missing, of another kind, too
long, or have any content.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import Requirement

from polywheel.config.project import PROVIDER_TIMEOUT
from polywheel.errors import ProviderError
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.variant import FEATURE, NAMESPACE, VALUE
from polywheel.system.processes import create_killer
from polywheel.system.temporary import temporary_folder
from polywheel.system.terminal import log_line, one_line

_MARK = "_POLYWHEEL_PROVIDERS"
_HOST = Path(__file__).with_name("_host.py")


def run_host(python: str, folder: Path, timeout: float) -> int | None:
    """Run the host; its exit code, or None where it ran past ``timeout`` seconds.

    Whatever it started is killed with it: its process group, and on Linux also what left the
    group, found by a number in its environment and among its limits (see the host). Where this
    process is killed, the host and its group end by themselves. Raises OSError where ``python`` can't be started.
    """
    # As a limit it must be above any file and below 2**63.
    mark = str(2**50 + secrets.randbits(50))
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-P", "-X", "utf8", str(_HOST), str(folder), mark, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, _MARK: mark},
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )
    kill = create_killer(process)
    try:
        ended = _wait(process, timeout)
    finally:
        kill()
        process.wait()
        if sys.platform == "linux":
            _kill_marked(mark)
    code: int = process.returncode
    return code if ended else None


def _wait(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether the process ends in time.

    Where the system can tell, that is known at once, and its number stays its own until its group
    is killed; ``Popen.wait`` looks every 50 ms and gives the number back.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                return bool(poll.poll(timeout * 1000))
            finally:
                os.close(descriptor)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_marked(mark: str) -> None:
    """Kill what carries the mark, until nothing is left of it: it may fork meanwhile."""
    if sys.platform == "win32":
        return
    for _ in range(100):
        found = [number for number in _own_processes() if _is_marked(number, mark)]
        if not found:
            return
        for number in found:
            with contextlib.suppress(OSError):  # gone meanwhile
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)


def _own_processes() -> list[int]:
    if sys.platform == "win32":
        return []
    try:
        with os.scandir("/proc") as entries:
            names = [entry.name for entry in entries if entry.name.isdecimal()]
    except OSError:
        return []
    found = []
    for name in names:
        with contextlib.suppress(OSError):
            if Path("/proc", name).stat().st_uid == os.getuid():
                found.append(int(name))
    return found


def _is_marked(number: int, mark: str) -> bool:
    """Whether a process is alive and has the mark in its environment or among its limits."""
    folder = Path("/proc", str(number))
    try:
        if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
            return True
        if mark.encode() not in (folder / "limits").read_bytes():
            return False
        # One that has ended keeps its limits until its parent has looked.
        return (folder / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


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
                f"{plugin_name(query)} has the malformed namespace {namespace[:80]!a}",
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
            f"{plugin_name(query)} damaged the answer of the process that asks it", at=query.at
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
            yield _not_asked_error(queries, f"{python}: {error.strerror or error}")
            return
        for number, query in enumerate(queries):
            for line in read_log(folder / f"log-{number}"):
                notify(f"{query.namespace or query.reference}: {line}")
        said = read_answers(folder, len(queries)) if code == 0 else None
        calls = [read_call(folder, number) for number in range(len(queries))]
        log = " ".join(read_log(folder / "log")[-3:])
    if said is None:
        late = f"no answer within {timeout:g} seconds" if code is None else ""
        yield _unfinished_error(queries, calls, code, timeout) or _not_asked_error(
            queries, late or log
        )
        return
    for query, one, call in zip(queries, said, calls, strict=True):
        try:
            yield _plugin_error(query, one, call) or answer_of(query, one)
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


def _unfinished_error(
    queries: Sequence[PluginQuery],
    calls: Sequence[str | None],
    code: int | None,
    timeout: float,
) -> ProviderError | None:
    """The plugin that was being asked, the last one, when the host ended or ran out of time."""
    for query, call in zip(reversed(queries), reversed(calls), strict=True):
        if call is not None and code is not None:
            return _crash_error(query, call, code)
        if call is not None:
            return ProviderError(
                f"{plugin_name(query)} did not answer within {timeout:g} seconds (in {call})",
                at=query.at,
                hint="set a longer time: [tool.polywheel] provider-timeout = seconds",
            )
    return None


def _crash_error(query: PluginQuery, call: str | None, code: int) -> ProviderError:
    how = f"was killed by signal {-code}" if code < 0 else f"ended its process (exit code {code})"
    return ProviderError(f"{plugin_name(query)} {how} in {call or 'a call'}", at=query.at)


def _plugin_error(
    query: PluginQuery, said: dict[str, Any], call: str | None
) -> ProviderError | None:
    """The error that a plugin ended in, if it did."""
    if isinstance(code := said.get("ended"), int):
        return _crash_error(query, call, code)
    if "error" not in said:
        return None
    what = one_line(" ".join(str(said["error"]).split()))
    if said.get("missing") is True:
        return ProviderError(
            f"{plugin_name(query)} can't be imported: {what}",
            at=query.at,
            hint=_install_hint(query),
        )
    call = one_line(str(said.get("call")))
    return ProviderError(f"{plugin_name(query)} failed in {call}: {what}", at=query.at)


def _install_hint(query: PluginQuery) -> str | None:
    if query.namespace is None or not query.requires:
        return None
    return (
        f"install {', '.join(query.requires)} into the build environment, or build in isolation; "
        "for a plugin that can't be installed, set "
        f'[tool.polywheel.providers.{query.namespace}] query = "preset" or "never"'
    )


def _not_asked_error(queries: Sequence[PluginQuery], why: str) -> ProviderError:
    """Nobody knows at which of the plugins it went wrong, so all of them are named."""
    names = ", ".join(map(plugin_name, queries))
    return ProviderError(f"{names} can't be asked: {why or 'unknown reason'}", at=queries[0].at)
