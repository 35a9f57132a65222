"""Work folders of builds: a copy of the source, and scratch space.

A build always uses the same path, so that compiler caches hit. The worker and the process of the
real backend inherit the lock of the folder, and a file has the number of their process group. So a
worker or a compiler that outlives a killed run keeps its folder. The next run does not wait for it
and uses another folder. It does not wait either for a process that a build left running and that
holds the lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from polywheel.system.cache_entries import record_use
from polywheel.system.files import portable_folder_name, read_regular
from polywheel.system.locks import lock_first_free, try_lock
from polywheel.system.processes import is_group_alive
from polywheel.system.temporary import remove_tree

_LOCK = "lock"
_KEPT = "kept"
_GROUP = "group"
_MOST_DIGITS = 20
_CIBUILDWHEEL = "cibuildwheel"
_OTHERS = "[0-9]*"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkFolder:
    """A folder that only this process, and the children that inherit its lock, use."""

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
        """Remove the content of the folder, as far as possible."""
        for path in (self.source, self.scratch, self.folder / _KEPT, self.folder / _GROUP):
            remove_tree(path)

    def keep(self) -> None:
        """Keep the files until the next build in this folder."""
        with suppress(OSError):  # the error of the build matters more
            (self.folder / _KEPT).touch()

    @property
    def is_kept(self) -> bool:
        return (self.folder / _KEPT).exists()


def group_file(scratch: Path) -> Path:
    """Return the file for the number of a worker's process group, next to its scratch space."""
    return scratch.with_name(_GROUP)


def _is_idle(folder: Path) -> bool:
    """Return whether no process of the last worker's group is alive: a compiler has no lock."""
    try:
        number = int(read_regular(folder / _GROUP, limit=_MOST_DIGITS))
    except (OSError, ValueError):
        return True
    return not is_group_alive(number)


def work_folder_path(folder: Path, build: str, *, cibuildwheel: bool = False) -> Path:
    """Return the usual work folder of a build, in the folder of its source."""
    name = portable_folder_name(build)
    return folder / _CIBUILDWHEEL / name if cibuildwheel else folder / name


@contextmanager
def open_work_folder(path: Path) -> Iterator[WorkFolder]:
    """Lock and empty the folder ``path``; if another process uses it, a numbered folder in it.

    Its files are removed at the end, unless :meth:`WorkFolder.keep` was called. Raises OSError.
    """
    folders = (path if number == 1 else path / str(number) for number in count(1))
    locks = (folder / _LOCK for folder in folders)
    of_source = path.parent.parent if path.parent.name == _CIBUILDWHEEL else path.parent

    def fits(lock: Path) -> bool:
        # Recorded while the lock is held: the cache removes folders whose locks are free.
        return _is_idle(lock.parent) and record_use(of_source)

    with lock_first_free(locks, fits=fits) as (lock, descriptor):
        work = WorkFolder(folder=lock.parent, lock=descriptor)
        # Remove everything of an earlier build: equal sizes and times do not prove equal content.
        work.clear()
        try:
            yield work
        finally:
            if not work.is_kept:
                work.clear()


def remove_abandoned_work(folder: Path) -> None:
    """Remove the files of killed runs from the work folders of a source."""
    for path in work_folder_locks(folder):
        with suppress(OSError), path.open("r+b") as file:
            work = WorkFolder(folder=path.parent, lock=file.fileno())
            if not work.is_kept and try_lock(file) and _is_idle(work.folder):
                work.clear()


def work_folder_locks(folder: Path) -> list[Path]:
    """Return the locks of the work folders of a source."""
    return [
        path
        for parent in (folder, folder / _CIBUILDWHEEL)
        for pattern in (f"*/{_LOCK}", f"*/{_OTHERS}/{_LOCK}")
        for path in parent.glob(pattern)
    ]


def is_work_folder_idle(lock: Path) -> bool:
    """Whether no process of the last build in the work folder of a lock is alive."""
    return _is_idle(lock.parent)
