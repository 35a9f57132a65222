"""The simple API as a tree of files, with HTML pages for installers (PEP 503, 714) and for people.

A page of PEP 503 may contain any HTML besides its anchors. The page of a project is a table with
variants as rows, Pythons and platforms as columns, and anchors in the cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from polywheel.data import template_environment
from polywheel.errors import Problem
from polywheel.index.write.output import ROOT, OutputFolder
from polywheel.index.write.releases import Release
from polywheel.index.write.simple import (
    API_VERSION,
    CORE_METADATA,
    ListedFile,
    ListedRelease,
    find_listed_release,
    list_release,
    project_json,
    root_json,
)
from polywheel.model.variant import NULL_LABEL, Variant
from polywheel.model.wheelname import WheelName
from polywheel.system.terminal import format_size

if TYPE_CHECKING:
    from jinja2 import Environment


Column = tuple[str, str]
"""A Python tag, and a platform tag."""


def project_page(project: str, releases: Iterable[ListedRelease]) -> bytes:
    """``simple/{project}/index.html``, newest release first. Raises ConfigError without jinja2."""
    sections = [
        {
            "version": str(release.version),
            "table": _table(release),
            "others": [
                *(file for name, file in release.files if name.wheel is None),
                *([release.variants_json] if release.variants_json is not None else []),
            ],
            "namespaces": release.metadata.namespaces if release.metadata is not None else (),
        }
        for release in sorted(releases, key=lambda release: release.version, reverse=True)
    ]
    return _render("simple-project.html.j2", project=project, releases=sections)


def root_page(projects: Iterable[str]) -> bytes:
    """``simple/index.html``. Raises ConfigError without jinja2."""
    return _render("simple-root.html.j2", projects=sorted(projects))


def _table(release: ListedRelease) -> dict[str, object] | None:
    """Return the table of a release; None if it has only sdists.

    ``pythons`` are Python tags with the number of their columns. ``rows`` are the variants and the
    non-variant wheels, each with the wheels of every column.
    """
    wheels = [(name.wheel, file) for name, file in release.files if name.wheel is not None]
    if not wheels:
        return None
    columns = sorted({_column(name) for name, _ in wheels}, key=_natural)
    by_cell: dict[tuple[str | None, Column], list[ListedFile]] = {}
    for name, file in wheels:
        by_cell.setdefault((name.label, _column(name)), []).append(file)
    variants: Mapping[Any, Variant] = {}
    if release.metadata is not None:
        variants = release.metadata.variants
    rows = [
        {
            "label": label,
            "properties": [] if label not in variants else variants[label].properties,
            "cells": [by_cell.get((label, column), []) for column in columns],
        }
        for label in sorted({name.label for name, _ in wheels}, key=_rank)
    ]
    pythons = groupby(python for python, _ in columns)
    return {
        "pythons": [(python, len(list(same))) for python, same in pythons],
        "platforms": [platform for _, platform in columns],
        "rows": rows,
    }


def _column(name: WheelName) -> Column:
    return f"{name.python}-{name.abi}", name.platform


def _natural(column: Column) -> tuple[list[tuple[int, str]], str]:
    """Sort cp39 before cp310."""
    python, platform = column
    return [(len(part), part) for part in python.replace("-", ".").split(".")], platform


def _rank(label: str | None) -> tuple[int, str]:
    """Sort the null variant after other variants, and non-variant wheels last (PEP 825, "Variant
    ordering").
    """
    if label is None:
        return 2, ""
    return (1 if label == NULL_LABEL else 0), label


def _render(template: str, **values: object) -> bytes:
    text = _environment().get_template(template).render(api_version=API_VERSION, **values)
    return text.encode("utf-8")


@cache
def _environment() -> Environment:
    environment = template_environment(
        "--simple", hint="install polywheel[cli], or omit --simple", autoescape=True
    )
    environment.filters["size"] = format_size
    return environment


class SimpleTree:
    """Writes the simple API, one release after the other. ``in_place``: the wheels are already
    there.
    """

    def __init__(self, output: OutputFolder, *, in_place: bool) -> None:
        self.in_place = in_place
        self._output = output
        self._listed: dict[str, list[ListedRelease]] = {}

    def record(self, releases: Sequence[Release]) -> None:
        """Record the files of releases in the manifest, before the first is placed."""
        if not self.in_place:
            files = [file for release in releases for file in release.files]
            self._output.record({file.path.name: file.sha256 for file in files if file.sha256})

    def place_files(self, release: Release) -> Sequence[Problem]:
        """Place the files of a release in the output folder. Return the problems."""
        if self.in_place:
            return ()
        problems = [self._output.place_file(file.path, file.sha256 or "") for file in release.files]
        return [problem for problem in problems if problem is not None]

    def add(self, release: Release, variants_json: bytes | None) -> None:
        """List a release whose files are in the output folder."""
        for file in release.files:
            if file.metadata is not None:
                self._output.write(file.name.filename + CORE_METADATA, file.metadata)
        self._listed.setdefault(release.project, []).append(list_release(release, variants_json))

    def keep(self, release: Release) -> set[str]:
        """List a release as an earlier run listed it. Return the names of its files."""
        names = {release.variants_json, *(file.name.filename for file in release.files)}
        before = find_listed_release(release, self._output)
        if before is not None:
            self._listed.setdefault(release.project, []).append(before)
            names.update(file.filename for file in before.all_files())
        return names | {name + CORE_METADATA for name in names}

    def write(self) -> None:
        """Write the pages of all listed releases."""
        for project, releases in self._listed.items():
            self._output.write(f"{ROOT}/{project}/index.json", project_json(project, releases))
            self._output.write(f"{ROOT}/{project}/index.html", project_page(project, releases))
        self._output.write(f"{ROOT}/index.json", root_json(self._listed))
        self._output.write(f"{ROOT}/index.html", root_page(self._listed))
