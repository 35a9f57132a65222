"""The end of a CI run: one folder of wheels, one report, and a safe summary."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from polywheel.cli.ci import run
from polywheel.errors import ConfigError
from polywheel.matrix.shards import read_durations
from polywheel.report.markdown import escape_markdown
from support.plans import job, plan_of

WHEEL = "demo-1.0-py3-none-any-{}.whl"


def handed(folder: Path, label: str, content: bytes = b"wheel", **job: Any) -> dict[str, Any]:
    """What the job of a variant hands over: a wheel, and a report."""
    name = WHEEL.format(label)
    identifier = f"any-py3-{label}"
    if job.get("state", "built") == "built":
        path = folder / f"wheels-{identifier}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    state = job.get("state", "built")
    made = {
        "file": name,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "seconds": 1.5,
    }
    document = {
        "shape": 1,
        "project": "demo",
        "out": "/src/dist",
        "seconds": 2.0,
        "interrupted": False,
        "exit-code": 0,
        "warnings": [],
        "stale": [],
        "builds": [
            {
                "id": identifier,
                "python": "3.12",
                "target": "linux-x86_64",
                "jobs": [identifier],
                "state": state,
                "seconds": 2.0,
                "hook-seconds": 1.0,
                "error": None,
                "log": None,
                **job.get("build", {}),
            }
        ],
        "jobs": [
            {
                "id": identifier,
                "label": label,
                "properties": [f"demo :: kind :: {label}"],
                "pythons": ["3.12"],
                "targets": ["linux-x86_64"],
                "build": identifier,
                "state": state,
                **(made if state == "built" else dict.fromkeys(made)),
                "test": None,
                **job.get("job", {}),
            }
        ],
    }
    report = folder / f"report-{identifier}" / f"report-{identifier}.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps(document), encoding="utf-8")
    return document


def collect(folder: Path, *arguments: str) -> int:
    out, report = str(folder / "dist"), str(folder / "report.json")
    return run(["collect", str(folder / "all"), "-o", out, "--report", report, *arguments])


def test_wheels_and_reports_of_all_jobs_come_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = handed(tmp_path / "all", "a")
    second = handed(tmp_path / "all", "b")
    assert collect(tmp_path, "--result", "success") == 0
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == [
        WHEEL.format("a"),
        WHEEL.format("b"),
    ]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["builds"] == first["builds"] + second["builds"]
    assert report["jobs"] == first["jobs"] + second["jobs"]
    assert report["exit-code"] == 0
    assert {*report} == {*first}
    assert read_durations(tmp_path / "report.json") == {"any-py3-a": 1.5, "any-py3-b": 1.5}
    out = capsys.readouterr().out
    assert "2 wheels" in out
    assert "| a | 3.12 | linux-x86&#95;64 | built |" in out


def test_wheels_whose_test_failed_are_not_collected(tmp_path: Path) -> None:
    """A build has moved them to a folder of their own, and its report has the result."""
    handed(tmp_path / "all", "a")
    test = {"state": "failed", "reason": "x", "seconds": 1.5, "cpu": None, "log": "l", "wheel": "w"}
    handed(tmp_path / "all", "b", state="test-failed", job={"test": test})
    failed = tmp_path / "all" / "wheels-b" / "failed"
    failed.mkdir(parents=True)
    (failed / WHEEL.format("b")).write_bytes(b"refused")
    assert collect(tmp_path) == 1
    assert [path.name for path in (tmp_path / "dist").iterdir()] == [WHEEL.format("a")]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [(job["state"], job["test"]) for job in report["jobs"]] == [
        ("built", None),
        ("test-failed", test),
    ]


def test_warnings_of_all_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("a", "b"):
        document = handed(tmp_path / "in", label)
        job = document["jobs"][0]["id"]
        document["warnings"] = [
            {"level": "note", "text": "all the same", "jobs": [job]},
            {"level": "warning", "text": f"<b>lost</b> by {label}", "jobs": [job]},
        ]
        (path,) = (tmp_path / "in").rglob(f"report*-{job}.json")
        path.write_text(json.dumps(document), encoding="utf-8")
    report = tmp_path / "report.json"
    out = ["-o", str(tmp_path / "out"), "--report", str(report)]
    assert run(["collect", str(tmp_path / "in"), *out]) == 0
    both = ["any-py3-a", "any-py3-b"]
    assert json.loads(report.read_text("utf-8"))["warnings"] == [
        {"level": "warning", "text": "<b>lost</b> by a", "jobs": both[:1]},
        {"level": "warning", "text": "<b>lost</b> by b", "jobs": both[1:]},
        {"level": "note", "text": "all the same", "jobs": both},
    ]
    page = capsys.readouterr().out
    assert "### Warnings and notes" in page
    assert "- note: all the same (any-py3-a, any-py3-b)" in page
    assert "<b>" not in page


def test_a_failure_comes_first_and_is_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a")
    handed(tmp_path / "all", "z", state="failed", build={"error": "no compiler\nmore"})
    assert collect(tmp_path) == 1
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| z |")
    assert "**failed**" in rows[1]
    assert "any-py3-z".replace("_", "&#95;") in out
    assert "no compiler" in out
    assert "more" not in out
    assert "missing: 1 wheel" in err
    assert (tmp_path / "dist" / WHEEL.format("a")).exists()


@pytest.mark.parametrize("order", ["12", "21"])
def test_a_failure_is_not_replaced_by_the_report_of_another_machine(
    order: str, tmp_path: Path
) -> None:
    failed = {"error": "gcc failed"}
    handed(tmp_path / "all" / order[0], "a", state="failed", build=failed)
    handed(tmp_path / "all" / order[1], "a", state="elsewhere")
    assert collect(tmp_path) == 1
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [(one["state"], one["error"]) for one in report["builds"]] == [("failed", "gcc failed")]
    assert [one["state"] for one in report["jobs"]] == ["failed"]


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped"])
def test_a_job_that_left_no_report_is_told_by_the_ci(
    tmp_path: Path, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a")
    assert collect(tmp_path, "--result", result) == 1
    assert f"ended with **{result}**" in capsys.readouterr().out


def test_nothing_at_all_is_a_mistake_unless_the_jobs_failed(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    with pytest.raises(ConfigError, match="no wheels and no reports"):
        collect(tmp_path)
    assert collect(tmp_path, "--result", "failure") == 1
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        run(["collect", str(tmp_path / "nowhere")])
    (tmp_path / "wheels.zip").touch()
    with pytest.raises(ConfigError, match=r"wheels\.zip is not a folder"):
        run(["collect", str(tmp_path / "wheels.zip")])


def test_two_wheels_of_one_name_are_not_written_over_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a")
    other = tmp_path / "all" / "other"
    other.mkdir()
    (other / WHEEL.format("a")).write_bytes(b"another")
    assert collect(tmp_path) == 4
    assert (
        "several jobs built demo-1.0-py3-none-any-a.whl with different content"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "dist").exists()
    (other / WHEEL.format("a")).write_bytes(b"wheel")
    assert collect(tmp_path) == 0


def test_a_wheel_is_the_one_of_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a", job={"sha256": "0" * 64})
    handed(tmp_path / "all", "b", job={"file": WHEEL.format("c")})
    assert collect(tmp_path) == 4
    out, err = capsys.readouterr()
    assert "0 wheels, 0.0 MB, **2 refused**" in out
    for label in ("a", "b"):
        assert f"| {label} | 3.12 | linux-x86&#95;64 | **refused** |" in out
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["exit-code"] == 1
    for entry in report["jobs"]:
        assert (entry["state"], entry["file"], entry["sha256"]) == ("failed", None, None)
    assert "demo-1.0-py3-none-any-a.whl has another SHA-256 than in the report" in err
    assert "the report lists demo-1.0-py3-none-any-c.whl, but no job uploaded it" in err
    assert "no report lists demo-1.0-py3-none-any-b.whl as built" in err
    assert not (tmp_path / "dist").exists()


def test_a_file_that_no_report_lists_is_not_collected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a")
    handed(tmp_path / "all", "z", state="failed", job={"file": WHEEL.format("z")})
    evil = tmp_path / "all" / "wheels-any-py3-a" / "evil-1.0-py3-none-any.whl"
    evil.write_text("text", encoding="utf-8")
    evil.with_name(WHEEL.format("z")).write_text("text", encoding="utf-8")
    assert collect(tmp_path) == 4
    err = capsys.readouterr().err
    assert "no report lists evil-1.0-py3-none-any.whl as built; it is not collected" in err
    assert f"no report lists {WHEEL.format('z')} as built" in err
    assert f"at: {evil}" in err
    assert [path.name for path in (tmp_path / "dist").iterdir()] == [WHEEL.format("a")]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"sha256": None}, "no SHA-256"),
        ({"sha256": "0" * 63}, "no SHA-256"),
        ({"sha256": "A" * 64}, "no SHA-256"),
        ({"file": None}, "expected the filename of a wheel"),
        ({"file": "../demo-1.0-py3-none-any-a.whl"}, "expected the filename of a wheel"),
        ({"file": "/etc/demo-1.0-py3-none-any-a.whl"}, "expected the filename of a wheel"),
        ({"file": "..\\demo-1.0-py3-none-any-a.whl"}, "expected the filename of a wheel"),
        ({"file": "passwd"}, "expected the filename of a wheel"),
        ({"size": -1}, "expected the size of a wheel in bytes"),
        ({"size": 1e308}, "expected the size of a wheel in bytes"),
    ],
)
def test_what_a_report_claims_is_checked(
    tmp_path: Path, job: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a", job=job)
    handed(tmp_path / "all", "b")
    assert collect(tmp_path) == 4
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in out + err
    there = sorted(path.name for path in (tmp_path / "dist").iterdir())
    assert there == [WHEEL.format(one) for one in ("ab" if "size" in job else "b")]


def test_reports_that_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second report has another hash for one wheel, and another wheel for the job of the other."""
    handed(tmp_path / "all", "a")
    handed(tmp_path / "all", "b")
    handed(tmp_path / "all", "c")
    other, sha256 = tmp_path / "other", hashlib.sha256(b"evil").hexdigest()
    document = handed(other, "a", job={"sha256": sha256})
    document["jobs"] += handed(other, "b", job={"file": WHEEL.format("d")})["jobs"]
    (tmp_path / "all" / "report-x.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "all" / WHEEL.format("d")).write_bytes(b"wheel")
    assert collect(tmp_path) == 4
    err = capsys.readouterr().err
    assert err.count("reports contradict each other") == 2
    assert [path.name for path in (tmp_path / "dist").iterdir()] == [WHEEL.format("c")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes links and pipes")
@pytest.mark.parametrize("kind", ["link", "dangling", "link to a folder", "pipe"])
@pytest.mark.parametrize("name", [WHEEL.format("b"), "report-b.json"])
def test_links_and_pipes_are_neither_wheels_nor_reports(
    tmp_path: Path, kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    handed(tmp_path / "all", "a")
    (tmp_path / "secret").write_bytes(b"secret")
    path = tmp_path / "all" / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        target = {"link": "secret", "dangling": "nowhere"}.get(kind, "all")
        path.symlink_to(tmp_path / target)
    assert collect(tmp_path) == 4
    assert f"{name} is not a regular file" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "dist").iterdir()] == [WHEEL.format("a")]


def test_a_report_with_numbers_that_count_nothing(tmp_path: Path) -> None:
    document = handed(tmp_path / "all", "a")
    path = next((tmp_path / "all").rglob("*.json"))
    for number in ("1e999", "-1e999", "9" * 5000):
        text = json.dumps({**document, "seconds": "X"}).replace('"X"', number)
        path.write_text(text, encoding="utf-8")
        assert collect(tmp_path) == 4


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"shape": 2}', '{"shape": 1, "builds": {}}', '{"shape": 1, "jobs": [7]}',
     '{"shape": 1, "jobs": [{"id": "x", "state": "fine"}]}', '{"shape": 1, "builds": [{}]}',
     '{"shape": 1, "project": 7}'],
)  # fmt: skip
def test_a_broken_report_is_told_and_keeps_no_wheel_back(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handed(tmp_path / "all", "a")
    (tmp_path / "all" / "report-broken.json").write_text(content, encoding="utf-8")
    assert collect(tmp_path) == 4
    assert "report-broken.json" in capsys.readouterr().err
    assert (tmp_path / "dist" / WHEEL.format("a")).exists()


class Tags(HTMLParser):
    """What a browser sees of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "a | b", "[x](javascript:y)", "`code`", "**bold**", "@everyone",
     "![](https://evil/x.png)", "a\n## heading", "&lt;b&gt;", "https://evil", "::error::x"],
)  # fmt: skip
def test_a_summary_shows_texts_and_obeys_none(text: str) -> None:
    found = escape_markdown(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9 .,/-]|&#[0-9]+;)*", found)
    page = Tags()
    page.feed(found)
    page.close()
    assert page.tags == []
    assert page.text == text.replace("\n", "\ufffd")


def test_a_summary_of_a_hostile_report_keeps_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = {"error": "<b>|\x1b[31m `x`", "target": "a|b\n| c"}
    handed(tmp_path / "all", "a", state="failed", build=evil, job={"pythons": ["|", "<i>"]})
    assert collect(tmp_path) == 1
    out = capsys.readouterr().out
    assert not {"<", "\x1b", "`"} & {*out}
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows} == {7}


def test_a_long_summary_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = handed(tmp_path / "all", "a")
    (job,) = document["jobs"]
    document["jobs"] = [{**job, "id": f"{number}"} for number in range(2000)]
    path = next((tmp_path / "all").rglob("*.json"))
    path.write_text(json.dumps(document), encoding="utf-8")
    assert collect(tmp_path) == 0
    out = capsys.readouterr().out
    assert "and 1600 more" in out
    assert len(out) < 1_000_000


def test_wheels_of_a_lost_job_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its runner died, so it handed over no report that would name them."""
    folder, plan = tmp_path / "all", tmp_path / "plan.json"
    folder.mkdir()
    handed(folder, "v1")
    entries = [{"jobs": "any-py3-v1 any-py3-v2"}, {"jobs": "any-py3-v_3"}]
    plan.write_text(json.dumps({"include": entries}), encoding="utf-8")
    report = tmp_path / "report.json"
    command = ["collect", str(folder), "-o", str(tmp_path / "dist"), "--plan", str(plan)]
    assert run([*command, "--report", str(report)]) == 1
    said = capsys.readouterr()
    assert "missing: 2 wheels" in said.err
    assert "**2 not built**" in said.out
    assert "### Without a report\n\n- any-py3-v2\n- any-py3-v&#95;3\n" in said.out
    assert json.loads(report.read_text(encoding="utf-8"))["exit-code"] == 1
    plan.write_text(json.dumps({"include": entries[:0]}), encoding="utf-8")
    assert run(command) == 0
    # Without any artifact, all of them.
    capsys.readouterr()
    plan.write_text(plan_of([job("v1")], [job("v2")]).to_json(), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(["collect", str(empty), "-o", str(tmp_path / "dist"), "--plan", str(plan)]) == 1
    assert "missing: 2 wheels" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[1]", '{"include": 1}', '{"include": [{"jobs": 1}]}', "{}"])
def test_a_plan_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(text, encoding="utf-8")
    handed(tmp_path / "all", "v1")
    command = ["collect", str(tmp_path / "all"), "-o", str(tmp_path / "dist")]
    with pytest.raises(ConfigError):
        run([*command, "--plan", str(tmp_path / "plan")])
    with pytest.raises(ConfigError, match="can't be read"):
        run([*command, "--plan", str(tmp_path / "missing")])
