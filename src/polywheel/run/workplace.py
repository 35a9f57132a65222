"""The folders that builds work in: a copy of the source, and room for what they make.

The folder of a build is always the same one, so that compiler caches find what they know. Its lock is
inherited by the worker and by the process of the real backend, and the number of their process group is
noted. So a worker, or a compiler, that outlives a killed run still has its folder for itself. The next
run does not wait for it, but takes another one. Nor does it wait for a process that a build has left
running, and that holds the lock as long as it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event

from polywheel.errors import PolywheelError
from polywheel.system.files import portable_folder_name, read_regular
from polywheel.system.locks import lock_first_free, try_lock
from polywheel.system.logs import keep_tool_logs
from polywheel.system.processes import is_group_alive
from polywheel.system.temporary import remove_tree

_LOCK = "lock"
_KEPT = "kept"
_GROUP = "group"
_MOST_DIGITS = 20
_CIBUILDWHEEL = "cibuildwheel"
_OTHERS = "[0-9]*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Workplace:
    """A folder that this process, and the children that inherit its lock, have for themselves."""

    folder: Path
    lock: int
    """The file descriptor that children inherit."""

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def clear(self) -> None:
        """Remove all that is in it, as far as that can be done."""
        for path in (self.source, self.scratch, self.folder / _KEPT, self.folder / _GROUP):
            remove_tree(path)

    def keep(self) -> None:
        """Keep the files at the end, until the next build that works here."""
        with suppress(OSError):  # nothing in it can be of more use than the error of the build
            (self.folder / _KEPT).touch()

    @property
    def is_kept(self) -> bool:
        return (self.folder / _KEPT).exists()


def group_file(scratch: Path) -> Path:
    """Where a worker notes its process group, for a folder with this scratch space."""
    return scratch.with_name(_GROUP)


def _is_idle(folder: Path) -> bool:
    """Whether no process is left of the group of the last worker: a compiler has no lock."""
    try:
        number = int(read_regular(folder / _GROUP, limit=_MOST_DIGITS))
    except (OSError, ValueError):
        return True
    return not is_group_alive(number)


def build_place(place: Path, build: str, *, cibuildwheel: bool = False) -> Path:
    """The usual folder of a build, below that of its source."""
    name = portable_folder_name(build)
    return place / _CIBUILDWHEEL / name if cibuildwheel else place / name


@contextmanager
def workplace(place: Path) -> Iterator[Workplace]:
    """The folder ``place``, or another one within it where somebody is at work there, and empty.

    Its files are removed at the end, unless :meth:`Workplace.keep` has been called. Raises OSError.
    """
    folders = (place if number == 1 else place / str(number) for number in count(1))
    locks = (folder / _LOCK for folder in folders)
    with lock_first_free(locks, fits=lambda lock: _is_idle(lock.parent)) as (lock, descriptor):
        work = Workplace(folder=lock.parent, lock=descriptor)
        # Nothing of an earlier build stays: equal sizes and times say nothing about content.
        work.clear()
        try:
            yield work
        finally:
            if not work.is_kept:
                work.clear()


@contextmanager
def failures_examined(
    work: Workplace, log: Path, *, stop: Event, keep: bool, notify: Callable[[str], None]
) -> Iterator[None]:
    """Keep what tells why a build failed in a folder: logs of its tools; with ``keep``, all of it."""
    try:
        yield
    except (PolywheelError, OSError):
        if not stop.is_set():
            keep_tool_logs(log, [work.source, work.scratch])
            if keep:
                work.keep()
                notify(f"{log.stem}: its files are kept in {work.folder} until it is built again")
        raise


def remove_abandoned_work(place: Path) -> None:
    """Remove the files that killed runs have left in the folders of a source."""
    for within in (place, place / _CIBUILDWHEEL):
        for pattern in (f"*/{_LOCK}", f"*/{_OTHERS}/{_LOCK}"):
            for path in within.glob(pattern):
                with suppress(OSError), path.open("r+b") as file:
                    work = Workplace(folder=path.parent, lock=file.fileno())
                    if not work.is_kept and try_lock(file) and _is_idle(work.folder):
                        work.clear()
