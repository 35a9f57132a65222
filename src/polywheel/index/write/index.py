"""Write the index of a folder: the documents of each release, and the tree of the simple API."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from polywheel.errors import ConfigError, Problem
from polywheel.formats.variants_json import variants_json
from polywheel.index.wheel_file import parse_name
from polywheel.index.write.output import MANIFEST, ROOT, Output
from polywheel.index.write.pages import project_page, root_page
from polywheel.index.write.releases import (
    VARIANTS_JSON,
    Expected,
    Release,
    read_releases,
    variants_name,
)
from polywheel.index.write.simple import (
    CORE_METADATA,
    ListedRelease,
    listed,
    listed_before,
    project_json,
    root_json,
)

if TYPE_CHECKING:
    from polywheel.index.wheel_file import FileName


class Indexed(NamedTuple):
    """What became of the files of a folder."""

    published: tuple[Release, ...]
    withheld: tuple[Release, ...]
    """Releases of which something is wrong: what an earlier run wrote of them stays."""

    removed: tuple[str, ...]
    """Files of earlier runs that belong to nothing any more."""

    problems: tuple[Problem, ...]
    left_out: Mapping[str, str] = {}
    """Files that do not belong to the release that was expected, and why."""


def write_index(
    folder: Path,
    out: Path,
    *,
    simple: bool,
    notify: Callable[[str], None],
    expected: Expected | None = None,
) -> Indexed:
    """Write ``{name}-{version}-variants.json`` for every release of ``folder`` that has variants.

    Of a wheel its variant alone is looked at, unless something about it is unusual.

    ``simple``: the simple API as well, of wheels that are looked at from all sides. Where ``out`` is another folder than ``folder``, it gets the
    wheels too then, so that it can be served alone. Releases of which something is wrong are told
    in ``problems``, the others are written. Where a release is ``expected``, it is written alone, and
    only if all of it is there. Raises ConfigError where there is nothing to index, or
    where jinja2 is missing; WheelError where ``out`` can't be written.
    """
    if simple:
        from polywheel.index.write.pages import root_page

        root_page([])  # what it needs must not be found missing half way through
    left_out: Mapping[str, str] = {}
    if expected is None:
        releases, problems = read_releases(folder, hashed=simple)
    else:
        releases, problems, left_out = _read_expected(folder, expected, hashed=simple)
    if not releases and not problems and not (out / MANIFEST).exists():
        raise ConfigError(f"{folder} holds no wheel", hint="name the folder in which they are")
    with ExitStack() as opened:
        output = Output(out, opened, notify=notify)
        tree = Tree(output, in_place=out.resolve() == folder.resolve()) if simple else None
        done = _write_all(releases, problems, output, tree, notify, others=_documents(left_out))
    return done._replace(left_out=left_out)


def _documents(left_out: Iterable[str]) -> set[str]:
    """The documents of the releases that other wheels of the folder belong to."""
    names = (parse_name(file) for file in left_out)
    return {variants_name(one.project, one.version) for one in names if one is not None}


def _read_expected(
    folder: Path, expected: Expected, *, hashed: bool
) -> tuple[list[Release], list[Problem], Mapping[str, str]]:
    """The release that is expected, what it lacks, and the files that do not belong to it."""
    left_out: dict[str, str] = {}

    def leave_out(names: Sequence[FileName]) -> Mapping[str, str]:
        left_out.update(expected.left_out(names))
        return left_out

    # Names that belong to no release do not belong to this one either.
    releases, _ = read_releases(folder, hashed=hashed, leave_out=leave_out)
    problems = list(expected.problems(releases))
    named = [one._replace(problems=(*one.problems, *problems)) for one in releases]
    return named, problems, left_out


def _write_all(
    releases: Sequence[Release],
    strays: Sequence[Problem],
    output: Output,
    tree: Tree | None,
    notify: Callable[[str], None],
    *,
    others: Collection[str],
) -> Indexed:
    """Write what is good, keep what earlier runs wrote of the rest, remove what is stale.

    The documents ``others`` are kept, unless this run writes them.
    """
    problems = [*strays, *output.problems]
    published: list[Release] = []
    withheld: list[Release] = []
    kept: set[str] = set(others)
    if tree is not None:
        tree.announce([one for one in releases if not one.problems])
    for release in releases:
        wrong = release.problems or (tree.take(release) if tree is not None else ())
        if not wrong:
            published.append(release)
            _write(release, output, tree)
            continue
        withheld.append(release)
        problems += wrong
        kept.add(release.variants_json)
        if tree is not None:
            kept |= tree.keep(release)
    if tree is not None:
        tree.write()
    elif any(path.startswith(f"{ROOT}/") for path in output.before):
        notify(f"{ROOT}/ is that of an earlier run: add --simple to bring it up to date")
    removed = output.finish(
        # What belongs to the tree is looked after by the runs that write one.
        keep=lambda path: path in kept or (tree is None and not path.endswith(VARIANTS_JSON)),
        archives=tree is not None and not tree.in_place,
    )
    return Indexed(
        published=tuple(published),
        withheld=tuple(withheld),
        removed=tuple(removed),
        problems=tuple(dict.fromkeys(problems)),
    )


def _write(release: Release, output: Output, tree: Tree | None) -> None:
    document = None
    if release.metadata is not None:
        document = variants_json(release.metadata)
        output.write(release.variants_json, document)
    if tree is not None:
        tree.add(release, document)


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
