"""The repository that a project lies in: workflows stand at its root, and name files from there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A folder in which CI runs."""

    root: Path
    """Absolute; links are followed."""

    def path(self, path: Path, *, at: str) -> str:
        """A path in it, from its root, with ``/``; ``.`` for the root, else with ``./`` in front.

        Raises ConfigError, which names ``at``, for one that lies elsewhere or that no line can hold.
        """
        # The file may be a link, and it is the link that CI is to be told of.
        absolute = Path(os.path.abspath(path))  # noqa: PTH100
        absolute = absolute.parent.resolve() / absolute.name if absolute.name else absolute
        if not absolute.is_relative_to(self.root):
            absolute = path.resolve()
        if not absolute.is_relative_to(self.root):
            raise ConfigError(
                f"{path} lies outside of the repository, where CI has nothing of it",
                at=at,
                hint=f"the repository is {self.root}",
            )
        inner = absolute.relative_to(self.root).as_posix()
        if not inner.isprintable():
            raise ConfigError(f"the path {inner!r} holds what no line of a file can hold", at=at)
        return inner if inner == "." else f"./{inner}"


def repository_of(source: Path) -> Repository:
    """The checkout of git that a project's folder lies in; the folder itself where it is in none."""
    start = source.resolve()
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return Repository(root=folder)
    return Repository(root=start)
