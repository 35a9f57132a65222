"""The tree of the simple API in the output: wheels, their METADATA, and the pages that list them."""

from __future__ import annotations

from collections.abc import Sequence

from polywheel.errors import Problem
from polywheel.index.output import ROOT, Output
from polywheel.index.page import project_page, root_page
from polywheel.index.releases import Release
from polywheel.index.simple import (
    CORE_METADATA,
    ListedRelease,
    listed,
    listed_before,
    project_json,
    root_json,
)


class Tree:
    """Takes one release after the other; ``in_place``: the wheels lie in the output already."""

    def __init__(self, output: Output, *, in_place: bool) -> None:
        self.in_place = in_place
        self._output = output
        self._listed: dict[str, list[ListedRelease]] = {}

    def announce(self, releases: Sequence[Release]) -> None:
        """Note the files of releases, before the first is taken."""
        if not self.in_place:
            files = [file for release in releases for file in release.files]
            self._output.announce({one.path.name: one.sha256 for one in files if one.sha256})

    def take(self, release: Release) -> Sequence[Problem]:
        """Have the files of a release in the output; what keeps them from it."""
        if self.in_place:
            return ()
        found = [self._output.take(file.path, file.sha256 or "") for file in release.files]
        return [problem for problem in found if problem is not None]

    def add(self, release: Release, variants_json: bytes | None) -> None:
        """List a release, whose files have been taken."""
        for file in release.files:
            if file.metadata is not None:
                self._output.write(file.name.filename + CORE_METADATA, file.metadata)
        self._listed.setdefault(release.project, []).append(listed(release, variants_json))

    def keep(self, release: Release) -> set[str]:
        """List a release as it was listed before; the names of what was there of it."""
        names = {release.variants_json, *(file.name.filename for file in release.files)}
        before = listed_before(release, self._output)
        if before is not None:
            self._listed.setdefault(release.project, []).append(before)
            names.update(file.filename for file in before.every())
        return names | {name + CORE_METADATA for name in names}

    def write(self) -> None:
        """The pages of all that is listed."""
        for project, releases in self._listed.items():
            self._output.write(f"{ROOT}/{project}/index.json", project_json(project, releases))
            self._output.write(f"{ROOT}/{project}/index.html", project_page(project, releases))
        self._output.write(f"{ROOT}/index.json", root_json(self._listed))
        self._output.write(f"{ROOT}/index.html", root_page(self._listed))
