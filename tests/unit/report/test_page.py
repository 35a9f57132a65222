"""The page of a report, without a browser. ``tests/integration/test_report_page.py`` opens it in one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from polywheel.errors import WheelError
from polywheel.report.model import RunReport
from polywheel.report.page import render_page, write_page
from support.reports import make_report, with_texts

VOID = {"meta", "link", "input", "br"}
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]><img src=x onerror=alert(1)>",
    "\u202egnp.exe\u2028\x00\x1b[31mred\x1b]0;title\x07\ud800",
    "$RUN $STYLE ${SCRIPT} \\u003c &lt; '\"`",
)


class Elements(HTMLParser):
    """The elements of a page, with the text of each. Every one must be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self._open: list[int] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts.append((tag, dict(attrs), ""))
        if tag not in VOID:
            self._open.append(len(self.texts) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.texts[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, attributes, text = self.texts[self._open[-1]]
            self.texts[self._open[-1]] = (tag, attributes, text + data)

    def of(self, tag: str) -> list[str]:
        return [text for name, _, text in self.texts if name == tag]

    def data(self, name: str) -> Any:
        (text,) = [text for _, attributes, text in self.texts if attributes.get("id") == name]
        return json.loads(text)


def shape(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """All tags and attributes of a page."""
    return [(tag, attributes) for tag, attributes, _ in Elements(page).texts]


def with_log(report: RunReport, path: Path, content: bytes) -> RunReport:
    path.write_bytes(content)
    return replace(report, builds=tuple(replace(b, log=str(path)) for b in report.builds))


def test_a_page_loads_nothing_and_runs_only_its_own_script() -> None:
    page = render_page(make_report(30, (3,)))
    elements = Elements(page)
    for tag, attributes, _ in elements.texts:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]
    (style,), scripts = elements.of("style"), elements.of("script")
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [
        str(attributes["content"])
        for _, attributes, _ in elements.texts
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    for text in (style, scripts[-1]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_script_never_makes_markup_of_texts() -> None:
    script = Elements(render_page(make_report(0))).of("script")[-1]
    ways = r"innerHTML|outerHTML|insertAdjacent|document\.write|createContextual|DOMParser|eval|Function\(|fetch|XMLHttp"
    assert not re.findall(ways, script)
    assert len(script.splitlines()) <= 520


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_texts_of_strangers_add_no_markup(text: str, tmp_path: Path) -> None:
    report = make_report(4, (1, 2))
    hostile = with_texts(report, text)
    hostile = with_log(hostile, tmp_path / "a.log", text.encode("utf-8", "replace") + b"\xff\x00\n")
    page = render_page(hostile, against=hostile)
    assert shape(page) == shape(render_page(report))
    for part in ("run", "logs"):
        raw = page.partition(f'id="{part}">')[2].partition("</script>")[0]
        assert not re.search(r"[<>&\x00-\x1f\x7f-\uffff]", raw)
        values = raw.replace("\\\\", "")
        # Escaped by JSON, they would come back.
        assert not re.search(r"\\u(?:202e|2028|001b|0000|d800)", values)
    if text.isprintable():
        assert {job["label"] for job in Elements(page).data("run")["jobs"]} == {text}


def test_the_page_has_the_whole_report() -> None:
    report = make_report(25, (4,))
    run = Elements(render_page(report)).data("run")
    assert [job["id"] for job in run["jobs"]] == [job.id for job in report.jobs]
    assert run["jobs"][7]["audit"][0]["what"] == "libz.so.1 is not part of the platform"
    assert run["builds"][0]["setup"][0]["values"] == ["-O3", "-march=x86-64-v3"]
    assert run["builds"][4]["cause"] == "error 1: the compiler ended with exit code 1"
    assert run["builds"][5]["cause"] is None
    assert "previous" not in run


def test_sizes_of_an_earlier_report() -> None:
    report = make_report(2)
    earlier = replace(report, jobs=(replace(report.jobs[0], size=7),))
    run = Elements(render_page(report, against=earlier)).data("run")
    assert run["previous"] == {report.jobs[0].id: {"size": 7}}


def test_failures_with_the_same_error_line_in_their_logs_have_one_cause(tmp_path: Path) -> None:
    report = make_report(2, (0, 1))
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    for log in logs:
        line = f"{tmp_path}/{log.stem}/src/x.c:3:1: error: unknown type name 'foo'"
        log.write_text(f"cc -c x.c -Werror\n{line}\nerror: another\n", encoding="utf-8")
    builds = (replace(b, log=str(path)) for b, path in zip(report.builds, logs, strict=True))
    run = Elements(render_page(replace(report, builds=tuple(builds)))).data("run")
    causes = {build["cause"] for build in run["builds"]}
    assert causes == {"x.c:3:1: error: unknown type name 'foo'"}


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ("x.c:1:2: fatal error: a.h: No such file or directory", True),
        ("error[E0425]: cannot find value `x` in this scope", True),
        ("x.c(3): error C2065: 'x': undeclared identifier", True),
        ("ModuleNotFoundError: No module named 'numpy'", True),
        ("ld: x.o: undefined reference to `f'", True),
        ("cc -Werror=format: x", False),
        ("0 errors: all good", False),
    ],
)
def test_lines_with_errors(line: str, is_error: bool, tmp_path: Path) -> None:
    report = with_log(make_report(1, (0,)), tmp_path / "a.log", f"start\n{line}\nend".encode())
    run = Elements(render_page(report)).data("run")
    assert (run["builds"][0]["cause"] == line) == is_error


def test_the_end_of_a_log_is_in_the_page(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(100_000)]
    report = with_log(make_report(1), tmp_path / "a.log", "\n".join(lines).encode())
    logs = Elements(render_page(report)).data("logs")
    assert logs["builds"][report.builds[0].id].splitlines() == lines[-200:]


def test_logs_have_a_limit_together_and_failures_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polywheel.report.page._MOST_LOG_BYTES", 100_000)
    content = (("\x00" * 39 + "\n") * 1000).encode()
    report = with_log(make_report(60, range(55, 60)), tmp_path / "a.log", content)
    logs = Elements(render_page(report)).data("logs")["builds"]
    assert 50_000 < sum(len(json.dumps(text)) for text in logs.values()) <= 100_000
    assert {build.id for build in report.builds if build.has_failed} <= set(logs)


def test_a_page_that_cant_be_written(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="the page can't be written"):
        write_page(make_report(0), tmp_path)
    write_page(make_report(0), tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE")
