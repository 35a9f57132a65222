"""A report as one HTML page that loads nothing else.

The page is ``page_parts/page.html`` with its style and script. Its content is data: JSON in two elements, with
``run`` (the report) and ``logs`` (the ends of logs, which the script parses when the first log is shown). The
script puts texts into the page as text nodes only. A content security policy with the hashes of the style and the
script forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from polywheel.errors import WheelError, os_error_as
from polywheel.report.causes import cause_of, is_problem
from polywheel.report.log_ends import MOST_BYTES, MOST_LINES, read_log_end
from polywheel.report.model import ReportBuild, ReportRun, RunReport
from polywheel.run.outcome import WheelTestState
from polywheel.system.temporary import write_output
from polywheel.system.terminal import log_line, one_line

_MOST_LOG_BYTES = 8 << 20
"""The size of all logs in a page. With many builds, each has a smaller part, and those of failures come first."""
_LEAST_BYTES = 4 * 1024
"""The least part of a log that is embedded, if any of it is."""
_LONGEST_LINE = 4000


def write_page(report: RunReport, path: Path, *, against: RunReport | None = None) -> None:
    """Write the page of a report completely or not at all. Raises WheelError."""
    content = render_page(report, against=against).encode()
    with os_error_as(WheelError, "the page can't be written", at=path):
        write_output(path, content)


def render_page(report: RunReport, *, against: RunReport | None = None) -> str:
    """Return the page of a report. ``against`` is an earlier report: the page shows the change of each wheel's size."""
    logs = _read_logs(report)
    run = _as_json(report)
    for entry, build in zip(run["builds"], report.builds, strict=True):
        entry["cause"] = _cause(build, logs) if is_problem(build) else None
    if against is not None:
        run["previous"] = {_clean(job.id): {"size": job.size} for job in against.jobs}
    project = f" of {one_line(report.project, longest=200)}" if report.project else ""
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_part("page.html")).substitute(
        POLICY=policy,
        TITLE=html.escape(f"Wheels{project}"),
        STYLE=style,
        SCRIPT=script,
        RUN=_embed(run),
        LOGS=_embed({"builds": logs.builds, "tests": logs.tests}),
    )


@cache
def _part(name: str) -> str:
    return (Path(__file__).with_name("page_parts") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash of an element as a source in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embed(value: object) -> str:
    """Return a value as JSON in a script element, where only ``<`` could end it. All of it is ASCII."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _as_json(value: Any) -> Any:  # noqa: ANN401 -- any value of a report
    """Return a part of a report as JSON values, with the names of its fields and clean texts."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, tuple):
        return [_as_json(entry) for entry in value]
    if is_dataclass(value):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value)}
    return value


def _clean(text: str) -> str:
    """Return a text with escapes for characters that are invisible or reorder text. Lines stay."""
    if text.isascii() and text.isprintable():
        return one_line(text, longest=_LONGEST_LINE)
    return "\n".join(one_line(line, longest=_LONGEST_LINE) for line in text.split("\n"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Logs:
    builds: dict[str, str]
    """By the id of the build, clean."""

    tests: dict[str, str]
    """Logs of failed tests, by the id of the job, clean."""


def _read_logs(report: RunReport) -> _Logs:
    """Read the ends of the logs, those of failures first: one of each error, then the others."""
    logs = _Logs(builds={}, tests={})
    places = list(_log_places(report))
    most = min(MOST_BYTES, max(_LEAST_BYTES, _MOST_LOG_BYTES // max(1, len(places))))
    left = _MOST_LOG_BYTES
    for part, name, log, run in places:
        if left < _LEAST_BYTES:
            break
        size = min(most, left)
        text = read_log_end(log, run, lines=MOST_LINES, size=size)
        if text is not None:
            lines = (log_line(line, longest=_LONGEST_LINE) for line in text.split("\n"))
            text = _cut("\n".join(lines), size)
            getattr(logs, part)[_clean(name)] = text
            left -= _embedded_size(text)
    return logs


def _cut(text: str, size: int) -> str:
    """Return the end of a text that is not longer than a size where it is embedded: escapes make texts longer."""
    while (longer := _embedded_size(text)) > size:
        text = text[-max(1, len(text) * size // longer - 1) :]
    return text


def _embedded_size(text: str) -> int:
    return len(_embed(text))


def _log_places(report: RunReport) -> Iterator[tuple[str, str, str, ReportRun]]:
    """Yield the kind of a log, the id of its build or job, its path, and its run, in the order of reading."""
    for job in report.jobs:
        test = job.test
        if test is not None and test.log is not None and test.state is WheelTestState.FAILED:
            yield "tests", job.id, test.log, report.run_of(job)
    seen: Counter[str | None] = Counter()
    failed, others = [], []
    for build in report.builds:
        if build.log is None:
            continue
        place = ("builds", build.id, build.log, report.run_of(build))
        if build.has_failed:
            seen[build.error] += 1
            failed.append((seen[build.error], place))
        else:
            others.append(place)
    yield from (place for _, place in sorted(failed, key=lambda entry: entry[0]))
    yield from others


def _cause(build: ReportBuild, logs: _Logs) -> str:
    """Return the cause of a failed build, from the logs of its failed tests and its own."""
    texts = [logs.tests.get(_clean(name)) for name in build.jobs]
    return _clean(cause_of(build, [*texts, logs.builds.get(_clean(build.id))]))
