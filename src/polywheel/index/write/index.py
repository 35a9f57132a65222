"""Write the index of a folder: the variants.json of each release, and the simple API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from polywheel.errors import ConfigError, Problem
from polywheel.formats.variants_json import variants_json
from polywheel.index.wheel_file import VARIANTS_JSON_SUFFIX, parse_filename, variants_json_filename
from polywheel.index.write.output import MANIFEST, ROOT, OutputFolder
from polywheel.index.write.releases import ExpectedRelease, FolderContent, Release, read_releases

if TYPE_CHECKING:
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
    content = read_releases(folder, hashed=simple, expected=expected)
    if not content.releases and not content.problems and not (out / MANIFEST).exists():
        raise ConfigError(f"{folder} contains no wheels", hint="pass the folder with the wheels")
    with ExitStack() as opened:
        output = OutputFolder(out, opened, notify=notify)
        tree = SimpleTree(output, in_place=out.resolve() == folder.resolve()) if simple else None
        return _write_all(content, output, tree, notify)


def _write_all(
    content: FolderContent,
    output: OutputFolder,
    tree: SimpleTree | None,
    notify: Callable[[str], None],
) -> IndexResult:
    """Write releases without problems, keep files of the others, and remove stale files."""
    problems = [*content.problems, *output.problems]
    published: list[Release] = []
    withheld: list[Release] = []
    # The other files of a release may have been left out.
    names = map(parse_filename, content.left_out)
    kept = {variants_json_filename(name.project, name.version) for name in names if name}
    if tree is not None:
        tree.record([release for release in content.releases if not release.problems])
    for release in content.releases:
        new_problems = release.problems or (tree.place_files(release) if tree is not None else ())
        if new_problems:
            withheld.append(release)
            problems += new_problems
            kept.add(release.variants_json)
            if tree is not None:
                kept |= tree.keep(release)
            continue
        published.append(release)
        document = None
        if release.metadata is not None:
            document = variants_json(release.metadata)
            output.write(release.variants_json, document)
        if tree is not None:
            tree.add(release, document)
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
        left_out=content.left_out,
    )
