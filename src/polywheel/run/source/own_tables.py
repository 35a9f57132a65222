"""The tables in a source that polywheel itself reads: ``[variant]`` and ``[tool.polywheel]``.

What they mean for a build is known without the file. So an edit of them is no change of the source, unless a wheel
contains the file, or a build script reads the tables itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath

from polywheel.config.project import PYPROJECT
from polywheel.run.source.snapshot import Source, copy_files, unpacked_source
from polywheel.system.files import sha256_of
from polywheel.system.temporary import temporary_folder

_MAX_SIZE = 16 << 20
"""Bytes of a file that is parsed. Larger ones count with their bytes."""
_BUILD_SCRIPTS = frozenset({"CMakeLists.txt", "meson.build", "build.rs", "SConstruct", "Makefile"})
_SCRIPT_SUFFIXES = frozenset({".py", ".cmake"})
_DEEPEST_SCRIPT = 2
"""Parts of the path of a Python file that may be a build script or a part of an in-tree backend."""
_MAX_SCRIPT = 4 << 20
"""Bytes of a script that are read."""
_TABLE = re.compile(rb"polywheel|[\"']variant[\"']")


def names_with_tables(source: Source, config: Path | None, root: Path) -> list[str]:
    """Return the files of a source with tables that polywheel reads: pyproject.toml, and the ``--config`` file.

    ``root`` is the folder of the project. There are none if a build script may read these tables itself.
    """
    names = [PYPROJECT]
    if config is not None and config.is_relative_to(root.resolve()):
        names.append(config.relative_to(root.resolve()).as_posix())
    names = [name for name in names if "file " in source.contents.get(name, "")]
    return [] if _reads_tables(source.root, source.files, source.digest) else names


@cache
def _reads_tables(root: Path, files: tuple[str, ...], _digest: str) -> bool:
    """Whether a build script of a source mentions pyproject.toml and a table of polywheel."""
    for name in files:
        path = PurePosixPath(name)
        is_script = path.name in _BUILD_SCRIPTS or path.suffix in _SCRIPT_SUFFIXES
        if is_script and (path.suffix != ".py" or len(path.parts) <= _DEEPEST_SCRIPT):
            with suppress(OSError):
                content = (root / name).read_bytes()[:_MAX_SCRIPT]
                if b"pyproject" in content and _TABLE.search(content):
                    return True
    return False


def contents_without_tables(source: Source, names: Sequence[str]) -> dict[str, str]:
    """Return the contents of a source, in which the tables of these files do not count."""
    contents = dict(source.contents)
    for name in names:
        if digest := _digest_without_tables(source.root / name):
            contents[name] = digest
    return contents


def digests(source: Source, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of files of a source. Raises OSError."""
    return {name: sha256_of(source.root / name) for name in names}


def copy_with_tables(old: Source, new: Source, names: Sequence[str], kept: Path) -> Source | None:
    """Copy the unpacked sdist ``old`` to the folder ``kept`` of the cache, with these files of the source ``new``.

    Returns None if it can't be copied.
    """
    try:
        with temporary_folder(kept.parent) as folder:
            tree = folder / "new" / old.root.name
            copy_files(old.root, old.files, tree)
            for name in names:
                (tree / name).write_bytes((new.root / name).read_bytes())
                times = (old.root / name).stat()
                os.utime(tree / name, ns=(times.st_atime_ns, times.st_mtime_ns))
            return unpacked_source(folder / "new", kept, epoch=old.epoch)
    except OSError:
        return None


def _digest_without_tables(path: Path) -> str | None:
    """A digest of a TOML file without the tables; None if it can't be parsed."""
    try:
        if path.stat().st_size > _MAX_SIZE:
            return None
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        document.pop("variant", None)
        tools = document.get("tool")
        if isinstance(tools, dict):
            tools.pop("polywheel", None)
            if not tools:
                del document["tool"]
        # In the order of the file: METADATA may have this order, too.
        text = json.dumps(document, default=repr)
    except (OSError, ValueError, RecursionError):
        return None
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"file without the tables of polywheel {digest}"
