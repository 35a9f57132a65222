"""What became of a run, in Markdown: for the page that GitHub shows of it.

Texts of wheels and of builds are strangers': every letter that Markdown or HTML could read something
into is written as a character reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polywheel.ci.collecting import THERE, Reports
from polywheel.model.plan import NON_VARIANT

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-/")
_ROWS = 400
"""GitHub shows a megabyte of a step's summary, and no more of it."""
_LONGEST = 300
_FAILURES = 50
"""Failures, and warnings, that are shown."""
_NAMED = 3
"""Jobs with one warning that are shown."""


def summary(reports: Reports, *, wheels: int, result: str | None) -> str:
    """A table of all jobs, those that went wrong first, and why they did.

    ``wheels`` is how many are there in the end, ``result`` what CI says of the jobs, where it does.
    """
    return "\n".join(_lines(reports, wheels, result)) + "\n"


def _lines(reports: Reports, wheels: int, result: str | None) -> Iterator[str]:
    lacking = reports.lacking
    name = f"Wheels of {shown(reports.project)}" if reports.project else "Wheels"
    yield f"## {name}"
    yield ""
    size = sum(job["size"] or 0 for job in reports.jobs)
    counts = [counted(wheels, "wheel"), f"{size / 1e6:.1f} MB"]
    if lacking:
        counts.append(f"**{len(lacking)} not made**")
    yield ", ".join(counts) + f", {reports.seconds:.0f} s on all machines together"
    if result not in {None, "success"}:
        yield ""
        yield f"The build jobs ended with **{shown(str(result))}**."
    yield ""
    if reports.jobs:
        yield from _table(reports, [*lacking, *reports.made])
    yield from _failures(reports)
    yield from _warnings(reports)


def _table(reports: Reports, jobs: list[Mapping[str, Any]]) -> Iterator[str]:
    targets = {build["id"]: build["target"] for build in reports.builds}
    yield "| variant | Python | target | state | MB | s |"
    yield "|---|---|---|---|--:|--:|"
    for job in jobs[:_ROWS]:
        state = shown(job["state"])
        cells = (
            shown(job["label"] or NON_VARIANT),
            shown(", ".join(job["pythons"])),
            shown(targets.get(job["build"]) or ", ".join(job["targets"])),
            state if job["state"] in THERE else f"**{state}**",
            "" if job["size"] is None else f"{job['size'] / 1e6:.2f}",
            "" if job["seconds"] is None else f"{job['seconds']:.1f}",
        )
        yield f"| {' | '.join(cells)} |"
    if len(jobs) > _ROWS:
        yield ""
        yield f"and {len(jobs) - _ROWS} more"


def _failures(reports: Reports) -> Iterator[str]:
    failed = [build for build in reports.builds if build["error"]]
    if failed:
        yield ""
        yield "### What went wrong"
        yield ""
    for build in failed[:_FAILURES]:
        yield f"- {shown(build['id'])}: {shown(build['error'].strip().partition(chr(10))[0])}"
    if len(failed) > _FAILURES:
        yield f"- and {len(failed) - _FAILURES} more"


def _warnings(reports: Reports) -> Iterator[str]:
    if reports.warnings:
        yield ""
        yield "### Warnings and notes"
        yield ""
    for one in reports.warnings[:_FAILURES]:
        jobs = ", ".join(one["jobs"][:_NAMED])
        more = f" and {len(one['jobs']) - _NAMED} more" if len(one["jobs"]) > _NAMED else ""
        yield f"- {one['level']}: {shown(one['text'])} ({shown(jobs)}{more})"
    if len(reports.warnings) > _FAILURES:
        yield f"- and {len(reports.warnings) - _FAILURES} more"


def shown(text: str) -> str:
    """A text in which Markdown finds nothing but the text; of a long one, the beginning."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(letter if letter in _SAFE else _reference(letter) for letter in cut)


def _reference(letter: str) -> str:
    # Control characters, halves of pairs and what turns the direction of a line have no picture.
    return f"&#{ord(letter)};" if letter.isprintable() else "&#65533;"


def counted(number: int, what: str) -> str:
    """``1 wheel``, ``2 wheels``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
