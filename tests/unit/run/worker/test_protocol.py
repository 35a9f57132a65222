"""Requests and responses of workers: a round trip, and malformed messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polywheel.errors import BuildError, Problem
from polywheel.model.setup import SetupValues
from polywheel.run.worker.protocol import (
    BuildResult,
    BuildStep,
    BuiltWheel,
    EnvironmentCheck,
    Message,
    RequestedJob,
    RequirementsResult,
    RequirementsStep,
    SdistResult,
    SdistStep,
    Step,
    WorkerRequest,
    WorkerResponse,
    read_request,
    read_response,
    write_request,
    write_response,
)
from polywheel.run.worker.requests import StepFailedError, TimeBudget, check_response
from polywheel.system.processes import ChildResult

JOBS = (
    RequestedJob(id="a", label=None, properties=()),
    RequestedJob(id="b", label="x", properties=("n::f::v", "n::f::\udcff")),
)
STEPS = [
    RequirementsStep(jobs=JOBS),
    BuildStep(jobs=JOBS, out="/out"),
    BuildStep(
        jobs=JOBS,
        out="/out",
        check=EnvironmentCheck(jobs=JOBS, installed=("a==1",)),
        repair="auditwheel repair",
    ),
    SdistStep(out="/out"),
    SdistStep(out="/out", installed=("a==1",)),
]
RESULTS = [
    (RequirementsStep(jobs=JOBS), RequirementsResult(requires=("a", "b>1"))),
    (BuildStep(jobs=JOBS, out="/out"), BuildResult(requires=("a",), wheels=None, seconds=0.0)),
    (
        BuildStep(jobs=JOBS, out="/out"),
        BuildResult(
            requires=None,
            wheels=(BuiltWheel(job="a", file="a-1-py3-none-any.whl", setup_digest="ab"),),
            seconds=1.5,
        ),
    ),
    (SdistStep(out="/out"), SdistResult(file=None, missing=("a",))),
    (SdistStep(out="/out"), SdistResult(file="a-1.tar.gz")),
    (SdistStep(out="/out"), SdistResult(file=None, reason="it makes none")),
]
BUILD = BuildStep(jobs=JOBS, out="/out")
BUILT = {
    "requires": None,
    "wheels": [{"job": "a", "file": "b", "setup_digest": "ab"}],
    "seconds": 1.0,
    "unstamped": "b",
    "setup": [{"name": "cflags", "values": ["-O3"], "origin": "pyproject.toml"}],
}
PROBLEM = {"what": "a\nb", "at": "c\rd", "hint": None, "output": ["e\n::error::f"]}
NOTE = {"text": "note: a", "jobs": ["a"]}


NO_RESULTS: list[object] = [None, [], {}, "a"]
NO_REQUIREMENTS: list[object] = ["a", [1], {}]
NO_WHEELS: list[object] = [
    "a",
    ["a"],
    [{"job": "a"}],
    [{"job": "a", "file": ["b"], "setup_digest": ""}],
    [{"job": "a", "file": "b"}],
    *([{"job": "a", "file": name, "setup_digest": ""}] for name in ("", "/b", "a/b")),
]
NO_SECONDS: list[object] = ["1", None, True, -1, 10**400, float("nan"), float("inf")]
NO_PROBLEMS: list[object] = [None, 7, [7], [{}], [{"what": 1}], "text", [{**PROBLEM, "at": 1}]]
NO_MESSAGES: list[object] = [None, "a", [1], [{**NOTE, "jobs": "a"}], [{**NOTE, "text": 1}]]


def response_of(**fields: object) -> dict[str, object]:
    return {"result": BUILT, "problems": [], "permanent": False, "messages": [], **fields}


def read(folder: Path, document: object) -> WorkerResponse[BuildResult] | None:
    path = folder / "response.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return read_response(path, BUILD)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_request_is_read_as_it_was_written(tmp_path: Path, step: Step[Any]) -> None:
    request = WorkerRequest(
        step=step,
        source="/source",
        settings={"a": "b", "c": ["d", "e"]},
        scratch="/scratch",
        group_file="/group",
        keep_open=(3, 4),
    )
    write_request(tmp_path / "request.json", request)
    assert read_request(tmp_path / "request.json") == request


@pytest.mark.parametrize(("step", "result"), RESULTS)
def test_a_response_is_read_as_it_was_written(
    tmp_path: Path, step: Step[Any], result: object
) -> None:
    response = WorkerResponse(result=result, messages=(Message("note: a", ("a", "b")),))
    write_response(tmp_path / "response.json", response)
    assert read_response(tmp_path / "response.json", step) == response


def test_a_response_with_problems_is_read_as_it_was_written(tmp_path: Path) -> None:
    problems = (Problem("it failed", output=("last line",)), Problem("and", "here", "do this"))
    response: WorkerResponse[BuildResult] = WorkerResponse(
        problems=problems, permanent=True, messages=(Message("warning: a", ()),)
    )
    write_response(tmp_path / "response.json", response)
    assert read_response(tmp_path / "response.json", BUILD) == response


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        *(response_of(result=value) for value in NO_RESULTS),
        *(response_of(result={**BUILT, "requires": value}) for value in NO_REQUIREMENTS),
        *(response_of(result={**BUILT, "wheels": value}) for value in NO_WHEELS),
        *(response_of(result={**BUILT, "seconds": value}) for value in NO_SECONDS),
        *(response_of(result={**BUILT, "setup": value}) for value in ("a", ["a"], [{"name": "a"}])),
        *(response_of(problems=value) for value in NO_PROBLEMS),
    ],
    ids=str,
)
def test_a_response_of_another_shape_is_none(tmp_path: Path, document: object) -> None:
    assert read(tmp_path, document) is None
    assert read(tmp_path, response_of(messages=[NOTE])) == WorkerResponse(
        result=BuildResult(
            requires=None,
            wheels=(BuiltWheel(job="a", file="b", setup_digest="ab"),),
            seconds=1.0,
            unstamped="b",
            setup=(SetupValues(name="cflags", values=("-O3",), origin="pyproject.toml"),),
        ),
        messages=(Message("note: a", ("a",)),),
    )


def test_a_response_that_is_no_json_is_none(tmp_path: Path) -> None:
    path = tmp_path / "response.json"
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b"9" * 10_000):
        path.write_bytes(content)
        assert read_response(path, BUILD) is None


@pytest.mark.parametrize(("permanent", "error"), [(True, StepFailedError), (False, BuildError)])
def test_an_error_that_a_worker_repeats_is_escaped_once(
    tmp_path: Path, permanent: bool, error: type[BuildError]
) -> None:
    response = read(tmp_path, response_of(problems=[PROBLEM], permanent=permanent))
    with pytest.raises(BuildError) as caught:
        check_response(response, ChildResult(code=1), TimeBudget(None))
    assert type(caught.value) is error
    assert caught.value.render().split("\n") == [
        r"error: a\nb",
        r"  | e\n::error::f",
        r"  at: c\rd",
    ]


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (ChildResult(code=0), "the worker ended without a valid response"),
        (ChildResult(code=3), "the worker ended with exit code 3"),
        (ChildResult(code=-9), "the worker was killed by signal 9"),
        (ChildResult(code=-15, late=True), "timed out after 7 seconds"),
        (ChildResult(code=-15, stopped=True), "stopped"),
    ],
)
def test_the_end_of_a_worker_without_a_response(child: ChildResult, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        check_response(None, child, TimeBudget(7))
    assert caught.value.problems == (Problem(message),)


def test_a_result_of_a_worker_that_failed_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="exit code 1"):
        check_response(read(tmp_path, response_of()), ChildResult(code=1), TimeBudget(None))


@pytest.mark.parametrize("messages", NO_MESSAGES)
def test_malformed_messages_do_not_hide_the_result(messages: object, tmp_path: Path) -> None:
    response = read(tmp_path, response_of(messages=messages))
    assert response is not None
    assert response.result is not None
    assert response.messages == ()
