"""Changing a wheel where it lies: only the end of the file is written, where dist-info is its end.

How it survives a kill at any moment. Let *first* be where the first changed member starts. The new
end (the members from *first* on, the directory, the end record) is made in memory, and then:

1. It is appended behind the old file, with its own offsets and an end record whose comment says that
   there is a gap between *first* and here. Until the end record is whole, the file is the old wheel
   with something behind it; zipfile, and so pip, reads the old wheel while that is less than 64 KiB,
   and polywheel, which knows the mark in front of it, does at any length. It is one call of a
   fraction of a millisecond.
2. From then on the file is the new wheel, with a gap. The new end is written once more, into the gap.
3. The file is cut behind it: at once it is the new wheel without a gap, byte for byte what a copying
   change would have written.
4. It gets its new name, and then loses the old one.

Steps 1 to 3 are done by a child in a session of its own, where the system can fork: a kill of this
process or of its group does not stop them half way.

Whatever was left undone, the next change of that wheel, in place or not, takes from there: what
stands behind an old wheel is cut off, a gap is left out. A crash of the whole machine is another
matter: nothing here waits for the disk.

A file with a second name (a link in some cache) is not changed in place, nor one where most of the
file would have to move: those are copied, and the old name goes when the new one is there.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError
from polywheel.system.files import open_regular
from polywheel.system.locks import try_lock
from polywheel.wheel.archive import open_archive
from polywheel.wheel.dist_info import find_dist_info
from polywheel.wheel.interrupted import gap_mark, unfinished_mark
from polywheel.wheel.rewrite import Change, write_directory, write_end, write_members
from polywheel.wheel.stamp import MakeChange, changed_wheel, move, taken


def change_in_place(path: Path, target: Path, make: MakeChange, *, overwrite: bool) -> None:
    """Make the wheel ``path`` the changed wheel ``target`` (in one folder), see above.

    Raises WheelError: where it can't be read or written, or where the name is taken and
    ``overwrite`` does not allow it.
    """
    if target != path and target.exists():
        if target.samefile(path):  # a run that was killed while it gave the new name
            path.unlink()
            return
        if not overwrite:
            raise taken(target)
    try:
        with _alone(path) as file:
            change = _change_end(file, path, make)
        if change is not None:
            changed_wheel(path, target, lambda _: change, overwrite=overwrite or target == path)
            if target != path:
                path.unlink()
        elif target != path:
            move(path, target, overwrite=overwrite)
    except OSError as error:
        raise WheelError(
            f"{path.name} can't be changed: {error.strerror or error}", at=str(path.parent)
        ) from None


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The open file, while no other run changes it. Raises WheelError where one does."""
    open_regular(path).close()  # nothing else, such as a pipe, is opened for writing
    with path.open("r+b") as file:
        if not try_lock(file):
            raise WheelError(f"{path.name} is being changed by another run", at=str(path.parent))
        yield file


def _change_end(file: BinaryIO, path: Path, make: MakeChange) -> Change | None:
    """Steps 1 to 3; the change, where the wheel is better copied and nothing has been done."""
    status = os.fstat(file.fileno())
    archive = open_archive(file, path)
    found = find_dist_info(archive)
    change = make(found)
    found.check()
    end = _End()
    written = write_members(archive, end, change, front=end)
    first, old = end.first, archive.size
    if status.st_nlink > 1 or path.is_symlink() or 2 * (old - first) > old:
        return change
    if old < status.st_size:
        file.truncate(old)  # what an interrupted change left behind the wheel
    members = end.getvalue()
    write_directory(end, archive, written)
    offset = first + len(members)
    count = written.count(archive)
    write_end(end, archive, count=count, offset=offset, length=end.tell() - offset)
    final = end.getvalue()

    # Behind the old file, and behind where the new one will end.
    mark = unfinished_mark(old)
    start = max(old + len(mark), first + len(final))
    shift = start - first
    again = io.BytesIO()
    again.write(members)
    write_directory(again, archive, written, shift=shift)
    length = again.tell() - len(members)
    gap = gap_mark(first, start)
    write_end(again, archive, count=count, offset=offset + shift, length=length, comment=gap)
    appended = mark.ljust(start - old, b"\0") + again.getvalue()

    def write() -> None:
        try:
            _put(file, old, appended)
        except BaseException:
            file.truncate(old)
            raise
        _put(file, first, final)
        file.truncate(first + len(final))

    _shielded(write)
    return None


def _shielded(write: Callable[[], None]) -> None:
    """Do steps 1 to 3 where a kill of this process, or of its group, does not reach them.

    That is a child in a session of its own, which lives for these few writes alone. Raises OSError
    as the writes do.
    """
    if sys.platform == "win32":
        write()
        return
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.setsid()
            write()
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        number = code if code > 0 else errno.EINTR
        raise OSError(number, os.strerror(number))


def _put(file: BinaryIO, at: int, content: bytes) -> None:
    file.seek(at)
    file.write(content)
    file.flush()


class _End(io.BytesIO):
    """The end of a file whose front stays: positions are those in the file."""

    first = 0

    def settle(self, first_change: int) -> int:
        self.first = first_change
        return first_change

    def tell(self) -> int:
        return self.first + super().tell()
