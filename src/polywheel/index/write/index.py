"""Write the index of a folder: the variants.json of each release, and the simple API."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from polywheel.errors import ConfigError, Problem
from polywheel.formats.variants_json import variants_json
from polywheel.index.wheel_file import (
    VARIANTS_JSON_SUFFIX,
    parse_filename,
    variants_json_filename,
)
from polywheel.index.write.output import MANIFEST, ROOT, OutputFolder
from polywheel.index.write.releases import (
    ExpectedRelease,
    Release,
    read_releases,
)

if TYPE_CHECKING:
    from polywheel.index.wheel_file import FileName
    from polywheel.index.write.pages import SimpleTree


class IndexResult(NamedTuple):
    """The result of indexing a folder."""

    published: tuple[Release, ...]
    withheld: tuple[Release, ...]
    """Releases with problems. Their files from earlier runs are kept."""

    removed: tuple[str, ...]
    """Files of earlier runs that are stale."""

    problems: tuple[Problem, ...]
    left_out: Mapping[str, str] = {}
    """Files that are not part of the expected release, with the reason."""


def write_index(
    folder: Path,
    out: Path,
    *,
    simple: bool,
    notify: Callable[[str], None],
    expected: ExpectedRelease | None = None,
) -> IndexResult:
    """Write ``{name}-{version}-variants.json`` for every release of ``folder`` that has variants.

    Only the variant of a wheel is read, unless the wheel is unusual.

    ``simple``: also write the simple API. Wheels are then inspected completely. If ``out`` is
    another folder than ``folder``, wheels are linked or copied into it, so that it can be served
    alone.

    ``expected``: write only this release, and only if it is complete.

    Releases with problems are not written, and listed in ``problems``; the others are written.
    Raises ConfigError if there is nothing to index, or if jinja2 is missing, and WheelError if
    ``out`` can't be written.
    """
    if simple:
        from polywheel.index.write.pages import SimpleTree, root_page

        root_page([])  # fail before the first file is written if jinja2 is missing
    left_out: Mapping[str, str] = {}
    if expected is None:
        releases, problems = read_releases(folder, hashed=simple)
    else:
        releases, problems, left_out = _read_expected(folder, expected, hashed=simple)
    if not releases and not problems and not (out / MANIFEST).exists():
        raise ConfigError(f"{folder} contains no wheels", hint="pass the folder with the wheels")
    with ExitStack() as opened:
        output = OutputFolder(out, opened, notify=notify)
        tree = SimpleTree(output, in_place=out.resolve() == folder.resolve()) if simple else None
        result = _write_all(releases, problems, output, tree, notify, others=_documents(left_out))
    return result._replace(left_out=left_out)


def _documents(left_out: Iterable[str]) -> set[str]:
    """Return the variants.json filenames of the releases to which the excluded files belong."""
    names = (parse_filename(filename) for filename in left_out)
    return {
        variants_json_filename(name.project, name.version) for name in names if name is not None
    }


def _read_expected(
    folder: Path, expected: ExpectedRelease, *, hashed: bool
) -> tuple[list[Release], list[Problem], Mapping[str, str]]:
    """Read the expected release. Return it, its problems, and the files that are not part of it."""
    left_out: dict[str, str] = {}

    def leave_out(names: Sequence[FileName]) -> Mapping[str, str]:
        left_out.update(expected.left_out(names))
        return left_out

    # Invalid filenames are not part of the expected release either.
    releases, _ = read_releases(folder, hashed=hashed, leave_out=leave_out)
    problems = list(expected.problems(releases))
    releases = [release._replace(problems=(*release.problems, *problems)) for release in releases]
    return releases, problems, left_out


def _write_all(
    releases: Sequence[Release],
    invalid_names: Sequence[Problem],
    output: OutputFolder,
    tree: SimpleTree | None,
    notify: Callable[[str], None],
    *,
    others: Collection[str],
) -> IndexResult:
    """Write releases without problems, keep files of the others, and remove stale files.

    The files ``others`` are kept, unless this run writes them.
    """
    problems = [*invalid_names, *output.problems]
    published: list[Release] = []
    withheld: list[Release] = []
    kept: set[str] = set(others)
    if tree is not None:
        tree.record([release for release in releases if not release.problems])
    for release in releases:
        found = release.problems or (tree.place_files(release) if tree is not None else ())
        if not found:
            published.append(release)
            _write(release, output, tree)
            continue
        withheld.append(release)
        problems += found
        kept.add(release.variants_json)
        if tree is not None:
            kept |= tree.keep(release)
    if tree is not None:
        tree.write()
    elif any(path.startswith(f"{ROOT}/") for path in output.before):
        notify(f"{ROOT}/ is from an earlier run; update it with --simple")
    removed = output.finish(
        # A run without the tree keeps the files of the tree.
        keep=lambda path: (
            path in kept or (tree is None and not path.endswith(VARIANTS_JSON_SUFFIX))
        ),
        archives=tree is not None and not tree.in_place,
    )
    return IndexResult(
        published=tuple(published),
        withheld=tuple(withheld),
        removed=tuple(removed),
        problems=tuple(dict.fromkeys(problems)),
    )


def _write(release: Release, output: OutputFolder, tree: SimpleTree | None) -> None:
    document = None
    if release.metadata is not None:
        document = variants_json(release.metadata)
        output.write(release.variants_json, document)
    if tree is not None:
        tree.add(release, document)
