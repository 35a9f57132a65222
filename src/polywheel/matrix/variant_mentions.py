"""Whether a build may read its variant from the environment: then no other variant has its result."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from polywheel.errors import BuildError
from polywheel.system.files import open_regular
from polywheel.system.source_files import (
    JOURNAL,
    entries,
    files_below,
    git_prefix,
    known_to_git,
)

PREFIX = "POLYWHEEL_VARIANT_"
"""How the variables begin that the real backend gets: the label and the properties."""

_HEAD = 8192
_LARGEST_BINARY = 4 << 20
_LARGEST_TEXT = 64 << 20
"""Bytes: what is larger is data, and no part of a build system."""
_MOST = 1 << 30
"""Bytes of a whole source; a gigabyte takes some seconds."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def why_variant_is_read(root: Path, *, most: int = _MOST) -> str | None:
    """Why a build of a source may read its variant: the first file that mentions a variable of it.

    None where no file does. Every file of the source counts, whatever its name: which of them a build
    runs, nobody can know. Files with a NUL byte near their start are binary; binary files over 4 MiB
    and text files over 64 MiB are not read. Neither is what lies outside the source, such as an
    installed plugin, or a folder that a link leads to which stays a link in a copy of the source. A
    source with more than ``most`` bytes to read may hold a mention.
    """
    mark = PREFIX.encode()
    read = 0
    for name, _ in entries(root, _names(root)):
        content = _content(root / name)
        if mark in content.upper():
            return f"{name} mentions {PREFIX}, so a build may read its variant"
        read += len(content)
        if read > most:
            return (
                f"the source has more than {most >> 20} MiB to search for {PREFIX}, so a build may "
                "read its variant"
            )
    return None


def _names(root: Path) -> Iterable[str]:
    """The files of a source; outside of git too many rather than too few."""
    try:
        names = known_to_git(root, git_prefix(root))
    except BuildError:
        names = None
    if names is None:
        names = sorted(files_below(root, ignore=True, ignore_at_top=False, strict=False))
    written = tuple(one.removesuffix(JOURNAL) for one in names if one.endswith(f"/{JOURNAL}"))
    # Left out: an output folder of polywheel, with its logs.
    return [name for name in names if not name.startswith(written)]


def _content(path: Path) -> bytes:
    """What is to be looked at of a file; nothing of one that is large, or can't be read."""
    try:
        with open_regular(path) as file:
            content = file.read(_HEAD)
            binary = b"\0" in content
            most = _LARGEST_BINARY if binary else _LARGEST_TEXT
            if os.fstat(file.fileno()).st_size > most:
                return b""
            content += file.read(most)
    except OSError:
        return b""
    return content.replace(b"\0", b"") if content.startswith(_UTF16) else content
