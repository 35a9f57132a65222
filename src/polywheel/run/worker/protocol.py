"""The protocol between a run and its workers: the types of requests and responses, and their files.

A worker is a child process. It takes one step of a build, in the environment of that build. The steps
are :class:`RequirementsStep`, :class:`BuildStep`, :class:`SdistRequirementsStep`, and
:class:`SdistStep`. Run and worker are always the same polywheel (see
:mod:`polywheel.run.own_package`), so the files have no version number.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from polywheel.errors import Problem
from polywheel.system.files import MAX_ANSWER, read_regular

if TYPE_CHECKING:
    from polywheel.model.plan import Job

_MAX_SECONDS = 1e9
"""No build takes longer; also excludes what is no number of seconds, such as NaN."""

T = TypeVar("T")
Result = TypeVar("Result")


# --- parts of requests and responses -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedJob:
    """A job, as far as a worker has to know it."""

    id: str
    label: str | None
    """None for the non-variant wheel."""

    properties: tuple[str, ...]

    @classmethod
    def from_json(cls, value: object) -> RequestedJob:
        document = _object(value)
        return cls(
            id=_string(document["id"]),
            label=_optional(_string, document["label"]),
            properties=_strings(document["properties"]),
        )


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

    @classmethod
    def from_json(cls, value: object) -> EnvironmentCheck:
        document = _object(value)
        return cls(
            jobs=_tuple(RequestedJob.from_json, document["jobs"]),
            installed=_strings(document["installed"]),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """A warning or a note about jobs."""

    text: str
    """Begins with ``warning:`` or ``note:``."""

    jobs: tuple[str, ...]
    """Their ids."""


# --- results -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementsResult:
    """What is required beside ``build-system.requires``."""

    requires: tuple[str, ...]

    @classmethod
    def from_json(cls, value: object) -> RequirementsResult:
        return cls(requires=_strings(_object(value)["requires"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """The wheel of one job, in the folder ``out``."""

    job: str
    """The id of the job."""

    file: str
    """The filename."""

    setup_digest: str
    """The digest of the build setup of its variant."""

    @classmethod
    def from_json(cls, value: object) -> BuiltWheel:
        document = _object(value)
        return cls(
            job=_string(document["job"]),
            file=_filename(document["file"]),
            setup_digest=_string(document["setup_digest"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """The wheels of a build; or the requirements that its environment lacks."""

    requires: tuple[str, ...] | None
    """What the backend requires; None if the request has no check."""

    wheels: tuple[BuiltWheel, ...] | None
    """None if the check failed. Then nothing was built."""

    seconds: float
    """How long the real backend took."""

    @classmethod
    def from_json(cls, value: object) -> BuildResult:
        document = _object(value)
        wheels = document["wheels"]
        return cls(
            requires=_optional(_strings, document["requires"]),
            wheels=None if wheels is None else _tuple(BuiltWheel.from_json, wheels),
            seconds=_seconds(document["seconds"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistResult:
    """The sdist in the folder ``out``; or the reason why the backend makes none."""

    file: str | None
    """The filename; None if the backend makes no sdist of this source, now and later."""

    reason: str = ""
    """Why there is none."""

    @classmethod
    def from_json(cls, value: object) -> SdistResult:
        document = _object(value)
        return cls(file=_optional(_filename, document["file"]), reason=_string(document["reason"]))


# --- steps ---------------------------------------------------------------------------------------


class Step(Generic[Result]):
    """One step of a build, a dataclass. The type parameter is the type of its result."""

    __slots__ = ()

    def result_from_json(self, value: object) -> Result:
        """Read a result of this step. Raises ValueError, TypeError, and KeyError."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementsStep(Step[RequirementsResult]):
    """Ask the real backend, and the setup of the variants, what the builds of jobs require."""

    jobs: tuple[RequestedJob, ...]

    def result_from_json(self, value: object) -> RequirementsResult:
        return RequirementsResult.from_json(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildStep(Step[BuildResult]):
    """Run the real backend once, and make the wheel of every job of it."""

    jobs: tuple[RequestedJob, ...]
    """At least one."""

    out: str
    check: EnvironmentCheck | None = None
    repair: str | None = None
    """The repair command of the target."""

    def result_from_json(self, value: object) -> BuildResult:
        return BuildResult.from_json(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistRequirementsStep(Step[RequirementsResult]):
    """Ask the real backend what an sdist requires."""

    def result_from_json(self, value: object) -> RequirementsResult:
        return RequirementsResult.from_json(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistStep(Step[SdistResult]):
    """Make an sdist."""

    out: str

    def result_from_json(self, value: object) -> SdistResult:
        return SdistResult.from_json(value)


def _step_from_json(value: object) -> Step[Any]:
    document = _object(value)
    match document["name"]:
        case "RequirementsStep":
            return RequirementsStep(jobs=_tuple(RequestedJob.from_json, document["jobs"]))
        case "BuildStep":
            return BuildStep(
                jobs=_tuple(RequestedJob.from_json, document["jobs"]),
                out=_string(document["out"]),
                check=_optional(EnvironmentCheck.from_json, document["check"]),
                repair=_optional(_string, document["repair"]),
            )
        case "SdistRequirementsStep":
            return SdistRequirementsStep()
        case "SdistStep":
            return SdistStep(out=_string(document["out"]))
        case name:
            raise ValueError(f"unknown step {name!r}")


# --- requests and responses ----------------------------------------------------------------------


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

    @classmethod
    def from_json(cls, value: object) -> WorkerRequest:
        document = _object(value)
        return cls(
            step=_step_from_json(document["step"]),
            source=_string(document["source"]),
            settings={
                key: value if isinstance(value, str) else list(_strings(value))
                for key, value in _object(document["settings"]).items()
            },
            scratch=_string(document["scratch"]),
            group_file=_string(document["group_file"]),
            keep_open=_tuple(_integer, document["keep_open"]),
        )


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
    return WorkerRequest.from_json(json.loads(path.read_text(encoding="utf-8")))


def write_response(path: Path, response: WorkerResponse[Any]) -> None:
    """Write the response of a worker. Raises OSError."""
    # A build may have put a pipe there. Opening it would wait for a reader forever.
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(asdict(response)), encoding="utf-8")


def read_response(path: Path, step: Step[Result]) -> WorkerResponse[Result] | None:
    """Read the response to a step; None if there is none, or if it is malformed."""
    try:
        document = json.loads(read_regular(path, limit=MAX_ANSWER, follow_links=False))
        problems = _tuple(_problem, document["problems"])
        return WorkerResponse(
            result=None if problems else step.result_from_json(document["result"]),
            problems=problems,
            permanent=document["permanent"] is True,
            messages=_messages(document["messages"]),
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


# --- values --------------------------------------------------------------------------------------


def _problem(value: object) -> Problem:
    document = _object(value)
    return Problem(
        what=_string(document["what"]),
        at=_optional(_string, document["at"]),
        hint=_optional(_string, document["hint"]),
        output=_strings(document["output"]),
    )


def _messages(value: object) -> tuple[Message, ...]:
    """The messages that are well-formed: the others must not hide the result and the problems."""
    messages = []
    for message in value if isinstance(value, list) else ():
        with suppress(TypeError, KeyError):
            document = _object(message)
            messages.append(Message(_string(document["text"]), _strings(document["jobs"])))
    return tuple(messages)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


def _tuple(read: Callable[[object], T], value: object) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise TypeError(f"expected an array, got {type(value).__name__}")
    return tuple(map(read, value))


def _optional(read: Callable[[object], T], value: object) -> T | None:
    return None if value is None else read(value)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}")
    return value


def _strings(value: object) -> tuple[str, ...]:
    return _tuple(_string, value)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected an integer, got {type(value).__name__}")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    if not 0 <= value <= _MAX_SECONDS:
        raise ValueError(f"expected seconds, got {value!r}")
    return float(value)


def _filename(value: object) -> str:
    name = _string(value)
    if not name or os.path.basename(name) != name:
        raise ValueError(f"expected a filename, got {name!r}")
    return name
