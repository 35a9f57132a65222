"""Write the index of a folder: the documents of each release, and the tree of the simple API."""

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
    expected: ExpectedRelease | None = None,
) -> IndexResult:
    """Write ``{name}-{version}-variants.json`` for every release of ``folder`` that has variants.

    Of a wheel its variant alone is looked at, unless something about it is unusual.

    ``simple``: the simple API as well, of wheels that are looked at from all sides. Where ``out`` is another folder than ``folder``, it gets the
    wheels too then, so that it can be served alone. Releases of which something is wrong are told
    in ``problems``, the others are written. Where a release is ``expected``, it is written alone, and
    only if all of it is there. Raises ConfigError where there is nothing to index, or
    where jinja2 is missing; WheelError where ``out`` can't be written.
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
        raise ConfigError(f"{folder} holds no wheel", hint="name the folder in which they are")
    with ExitStack() as opened:
        output = OutputFolder(out, opened, notify=notify)
        tree = SimpleTree(output, in_place=out.resolve() == folder.resolve()) if simple else None
        done = _write_all(releases, problems, output, tree, notify, others=_documents(left_out))
    return done._replace(left_out=left_out)


def _documents(left_out: Iterable[str]) -> set[str]:
    """The documents of the releases that other wheels of the folder belong to."""
    names = (parse_filename(file) for file in left_out)
    return {variants_json_filename(one.project, one.version) for one in names if one is not None}


def _read_expected(
    folder: Path, expected: ExpectedRelease, *, hashed: bool
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
    output: OutputFolder,
    tree: SimpleTree | None,
    notify: Callable[[str], None],
    *,
    others: Collection[str],
) -> IndexResult:
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
