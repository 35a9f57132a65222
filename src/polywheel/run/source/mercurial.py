"""Read checkouts of Mercurial. A copy has the ``.hg`` of the original, so it is a checkout too.

The program hg answers all questions: Mercurial has no stable Python interface, and its server starts hg too.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from polywheel.system.processes import capture_output
from polywheel.system.source_files import files_below

_REGENERATED = ("cache/", "wcache/", "store/lock", "wlock")
"""Caches and locks in ``.hg`` that Mercurial writes when it runs."""


CHANGED_BY_STATUS = (".hg/dirstate",)
"""The file with the current commit and the state of the files at the last ``hg status``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """A checkout, at its root."""

    state: str
    """The commit that is checked out."""

    files: tuple[str, ...]
    """Tracked files, new ones that are not ignored, and the repository itself; sorted."""

    changed: bool
    """Whether it has uncommitted changes."""

    time: int | None
    """The time of the commit that is checked out, in seconds since 1970."""

    at: str = ""

    def write(self, tree: Path) -> None:
        """Do nothing: the repository is part of the files."""


def read_checkout(root: Path) -> Checkout | None:
    """Read a checkout. Return None if a folder is not the root of one, or if there is no Mercurial."""
    if not (root / ".hg").is_dir():
        return None
    kinds = ("--modified", "--added", "--clean", "--unknown")
    names = _hg(root, "status", "--no-status", "--print0", *kinds)
    if names is None:
        return None
    repository = (
        f".hg/{name}" for name in files_below(root / ".hg") if not name.startswith(_REGENERATED)
    )
    output = _hg(root, "log", "--rev", ".", "--template", "{node} {date|hgdate}") or ""
    node, seconds, *_ = [*output.split(), "", ""]
    return Checkout(
        state=node,
        files=tuple(sorted({*filter(None, names.split("\0")), *repository})),
        changed=_hg(root, "status", "--print0") != "",
        time=int(seconds) if seconds.isdigit() and int(seconds) else None,
    )


def _hg(root: Path, *arguments: str) -> str | None:
    """Return the output of Mercurial; None if it fails, or if there is no Mercurial."""
    hg = shutil.which("hg")
    if hg is None:
        return None
    output = capture_output(
        [hg, "--noninteractive", *arguments],
        folder=root,
        # The user's configuration must not change the output.
        environment={**os.environ, "HGPLAIN": "1", "HGENCODING": "utf-8"},
    )
    return None if output is None else os.fsdecode(output)
