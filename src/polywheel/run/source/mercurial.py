"""Checkouts of Mercurial: what is in them. A copy has the ``.hg`` of the original, so it is one too."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from polywheel.system.source_files import files_below

_MADE_ANEW = ("cache/", "wcache/", "store/lock", "wlock")
"""What Mercurial writes into ``.hg`` whenever it looks, or holds while it works."""


CHANGED_BY_STATUS = (".hg/dirstate",)
"""Which commit is checked out, and what Mercurial saw of the files when it looked the last time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """A checkout, at its root."""

    state: str
    """The commit that is checked out."""

    files: tuple[str, ...]
    """Tracked files, new ones that are not ignored, and the repository itself; sorted."""

    changed: bool
    """Whether it holds what is not committed."""

    time: int | None
    """When the commit that is checked out was made, in seconds since 1970."""

    at: str = ""

    def write(self, tree: Path) -> None:
        """Nothing more: all of the repository is among the files."""


def read_checkout(root: Path) -> Checkout | None:
    """None where a folder is not the root of a checkout, or there is no Mercurial."""
    if not (root / ".hg").is_dir() or shutil.which("hg") is None:
        return None
    kinds = ("--modified", "--added", "--clean", "--unknown")
    names = _hg(root, "status", "--no-status", "--print0", *kinds)
    if names is None:
        return None
    repository = (
        f".hg/{one}" for one in files_below(root / ".hg") if not one.startswith(_MADE_ANEW)
    )
    said = _hg(root, "log", "--rev", ".", "--template", "{node} {date|hgdate}") or ""
    node, seconds, *_ = [*said.split(), "", ""]
    return Checkout(
        state=node,
        files=tuple(sorted({*filter(None, names.split("\0")), *repository})),
        changed=_hg(root, "status", "--print0") != "",
        time=int(seconds) if seconds.isdigit() and int(seconds) else None,
    )


def _hg(root: Path, *arguments: str) -> str | None:
    """What Mercurial says; None where it fails."""
    try:
        done = subprocess.run(
            [shutil.which("hg") or "hg", "--noninteractive", *arguments],
            cwd=root,
            # Without what a user's own configuration makes of its answers.
            env={**os.environ, "HGPLAIN": "1", "HGENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None
