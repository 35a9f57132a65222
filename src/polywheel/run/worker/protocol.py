"""The protocol between a run and its workers: the types of requests and responses, and their files.

A worker is a child process. It takes one step of a build, in the environment of that build. The steps
are :class:`RequirementsStep`, :class:`BuildStep`, and :class:`SdistStep`. Run and worker are always the
same polywheel (see :mod:`polywheel.run.own_package`), so the files have no version number.

Order of events:

1. The run creates a temporary folder, and writes ``request.json`` into it (:func:`write_request`).
2. The run starts ``PYTHON …/polywheel/run/worker/_script.py REQUEST RESPONSE``. PYTHON is the
   interpreter of the build environment; the current folder is the copy of the source. Standard input
   is empty. Standard output and standard error go to the log of the build.
3. The worker writes the number of its process group into the file ``group_file``, in ASCII digits (not
   on Windows). A later run leaves the folder alone while that group lives.
4. The worker runs the step. It writes wheels and sdists into the folder ``out`` of the step, and other
   files into the folder ``scratch``. Temporary files of the worker lie beside ``request.json``.
5. The worker writes ``response.json`` (:func:`write_response`), and exits.
6. The run ends what is left of the process group. Then it reads the response (:func:`read_response`),
   and removes the temporary folder.

Exit codes: 0 with a result; the exit code of the error with problems; a negative number for a signal. A
mistake in polywheel ends in a traceback in the log and exit code 1, without a response.

The response may be missing, incomplete, or forged: the worker can be killed, the disk can be full, and
the code of a build can write to the file. The run reads a regular file of at most ``MAX_ANSWER`` bytes,
follows no link, and checks every value. Filenames in it are names, not paths. A wheel that is named in
it need not exist.

Time limit: all steps of a build share one limit (:class:`polywheel.run.worker.requests.TimeBudget`). A
worker that exceeds it, or whose run is interrupted, is ended with its process group, as
:func:`polywheel.system.processes.run_child` does it. Its response does not count then.

File descriptors: ``keep_open`` are the numbers of descriptors that the worker inherits, and passes on
to the processes of the real backend. They hold the lock of the build's folder. So the folder stays
locked while any process of the build lives. On Windows there are none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from polywheel.errors import Problem
from polywheel.model.setup import SetupValues
from polywheel.system.files import MAX_ANSWER, read_regular

if TYPE_CHECKING:
    from polywheel.model.plan import Job

Result = TypeVar("Result")


def _is_filename(text: str) -> bool:
    return bool(text) and os.path.basename(text) == text


def _is_duration(seconds: float) -> bool:
    return 0 <= seconds <= 1e9  # no build takes longer, and NaN is not in this range


UNSTAMPED = "unstamped"
"""The folder in ``scratch`` for the wheel of the real backend, repaired, before it is stamped."""

Filename = Annotated[str, _is_filename]
Seconds = Annotated[float, _is_duration]
"""The annotations of values with a condition."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedJob:
    """A job, as far as a worker has to know it."""

    id: str
    label: str | None
    """None for the non-variant wheel."""

    properties: tuple[str, ...]


def requested_jobs(jobs: Iterable[Job]) -> tuple[RequestedJob, ...]:
    """Jobs of a plan for a request."""
    return tuple(
        RequestedJob(id=job.id, label=job.label, properties=tuple(map(str, job.properties)))
        for job in jobs
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentCheck:
    """A condition of a build: the environment has what the backend requires for these jobs."""

    jobs: tuple[RequestedJob, ...]
    installed: tuple[str, ...]
    """The requirements that were installed into the environment, normalized."""


@dataclass(frozen=True, slots=True)
class Message:
    """A warning or a note about jobs."""

    text: str
    """Begins with ``warning:`` or ``note:``."""

    jobs: tuple[str, ...]
    """Their ids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementsResult:
    """What is required beside ``build-system.requires``."""

    requires: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """The wheel of one job, in the folder ``out``."""

    job: str
    """The id of the job."""

    file: Filename
    setup_digest: str
    """The digest of the build setup of its variant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """The wheels of a build; or the requirements that its environment lacks."""

    requires: tuple[str, ...] | None
    """What the backend requires; None if the request has no check."""

    wheels: tuple[BuiltWheel, ...] | None
    """None if the check failed. Then nothing was built."""

    seconds: Seconds
    """How long the real backend took."""

    unstamped: Filename | None = None
    """The wheel in the folder :data:`UNSTAMPED`; None if nothing was built."""

    setup: tuple[SetupValues, ...] = ()
    """The build setup that the real backend got."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistResult:
    """The sdist in the folder ``out``; or why there is none."""

    file: Filename | None
    missing: tuple[str, ...] = ()
    """What the backend requires, if the environment lacks some of it. Then nothing was made."""

    reason: str = ""
    """Otherwise: why the backend makes no sdist of this source, now and later."""


class Step(Generic[Result]):
    """One step of a build, a dataclass. The type parameter is the type of its result."""

    __slots__ = ()
    result_type: ClassVar[type[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementsStep(Step[RequirementsResult]):
    """Ask the real backend, and the setup of the variants, what the builds of jobs require."""

    result_type = RequirementsResult
    jobs: tuple[RequestedJob, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildStep(Step[BuildResult]):
    """Run the real backend once, and make the wheel of every job of it."""

    result_type = BuildResult
    jobs: tuple[RequestedJob, ...]
    """At least one."""

    out: str
    check: EnvironmentCheck | None = None
    repair: str | None = None
    """The repair command of the target."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistStep(Step[SdistResult]):
    """Make an sdist."""

    result_type = SdistResult
    out: str
    installed: tuple[str, ...] | None = None
    """The normalized requirements in the environment; None if these are all that the backend has."""


_STEPS = {step.__name__: step for step in (RequirementsStep, BuildStep, SdistStep)}


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRequest:
    """What a worker is to do. All paths are absolute."""

    step: Step[Any]
    source: str
    """The copy of the source."""

    settings: Mapping[str, str | Sequence[str]]
    """Config settings for the real backend."""

    scratch: str
    """An existing folder for files that are not kept."""

    group_file: str
    keep_open: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResponse(Generic[Result]):
    """What a worker has done: either there is a result, or there are problems."""

    result: Result | None = None
    problems: tuple[Problem, ...] = ()
    permanent: bool = False
    """Whether the step would fail again."""

    messages: tuple[Message, ...] = ()


def write_request(path: Path, request: WorkerRequest) -> None:
    """Write a request for a worker. Raises OSError."""
    document = asdict(request)
    step = {"name": type(request.step).__name__, **document["step"]}
    path.write_text(json.dumps({**document, "step": step}), encoding="utf-8")


def read_request(path: Path) -> WorkerRequest:
    """Read what :func:`write_request` wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    step = _from_json(_STEPS[document["step"].pop("name")], document["step"])
    return WorkerRequest(**{**document, "step": step, "keep_open": tuple(document["keep_open"])})


def write_response(path: Path, response: WorkerResponse[Any]) -> None:
    """Write the response of a worker. Raises OSError."""
    # A build may have put a pipe there. Opening it would wait for a reader forever.
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(asdict(response)), encoding="utf-8")


def read_response(path: Path, step: Step[Result]) -> WorkerResponse[Result] | None:
    """Read the response to a step; None if there is none, or if it is malformed."""
    try:
        document = json.loads(read_regular(path, limit=MAX_ANSWER, follow_links=False))
        problems = _from_json(tuple[Problem, ...], document["problems"])
        return WorkerResponse(
            result=None if problems else _from_json(step.result_type, document["result"]),
            problems=problems,
            permanent=document["permanent"] is True,
            messages=_messages(document["messages"]),
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _messages(value: object) -> tuple[Message, ...]:
    """The messages that are well-formed: the others must not hide the result and the problems."""
    messages = []
    for message in value if isinstance(value, list) else ():
        with suppress(TypeError, KeyError):
            messages.append(_from_json(Message, message))
    return tuple(messages)


def _from_json(kind: Any, value: object) -> Any:  # noqa: ANN401  # a type, and a value of this type
    """Return a JSON value as a value of a type.

    Raises ValueError, TypeError, KeyError, and OverflowError if it is no value of this type.
    """
    expected = get_origin(kind) or kind
    if NoneType in get_args(kind):
        return None if value is None else _from_json(get_args(kind)[0], value)
    if expected is tuple and isinstance(value, list):
        return tuple(_from_json(get_args(kind)[0], item) for item in value)
    if is_dataclass(expected) and isinstance(value, dict):
        types = get_type_hints(expected, include_extras=True)
        return kind(
            **{
                field.name: _from_json(types[field.name], value[field.name])
                for field in fields(kind)
            }
        )
    if expected is Annotated:
        base, condition = get_args(kind)
        checked = _from_json(base, value)
        if not condition(checked):
            raise ValueError(f"unexpected value {value!r}")
        return checked
    if expected is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if expected is str and isinstance(value, str):
        return value
    raise TypeError(f"expected {kind}, got {type(value).__name__}")
