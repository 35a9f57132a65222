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
process or of its group does not stop them half way. What they wrote is read back before step 4; where
they failed, the file is made what it was, byte for byte. The wheel is locked from before it is read
until it has its new name, so that no other run takes it for what it was.

Whatever was left undone, the next change of that wheel, in place or not, takes from there: what
stands behind an old wheel is cut off, a gap is left out. A crash of the whole machine is another
matter: nothing here waits for the disk.

A file with a second name (a link in some cache) is not changed in place, nor one where most of the
file would have to move: those are copied, and the old name goes when the new one is there.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError
from polywheel.system.files import open_regular, rename
from polywheel.system.locks import try_lock
from polywheel.wheel.archive.archive import gap_mark, open_archive, unfinished_mark
from polywheel.wheel.archive.rewrite import Change, write_directory, write_end, write_members
from polywheel.wheel.dist_info import find_dist_info
from polywheel.wheel.stamp import Check, MakeChange, name_taken, write_changed_wheel

_LARGEST_END = 32 * 1024 * 1024
"""Bytes that are kept in memory, more than once; no dist-info is as large."""


def change_in_place(
    path: Path, target: Path, make: MakeChange, *, overwrite: bool, check: Check | None = None
) -> None:
    """Make the wheel ``path`` the changed wheel ``target`` (in one folder), see above.

    ``check`` is given the whole new wheel before anything is written. Raises WheelError: what
    ``check`` raises, where it can't be read or written, or where the name is taken and ``overwrite``
    does not allow it. The wheel is then what it was.
    """
    try:
        with _locked(path):
            # Where a run was killed while it gave the new name, the file has both.
            both = target != path and target.exists() and _is_second_name(target, path)
            if target != path and target.exists() and not (both or overwrite):
                raise name_taken(target)
            overwrite = overwrite or both or target == path
            outcome = _change_end(path, target, make, check)
            if isinstance(outcome, Change):
                write_changed_wheel(
                    path, target, lambda _: outcome, overwrite=overwrite, check=check
                )
                if target != path:
                    path.unlink()
            elif target != path:
                _rename(path, target, outcome, overwrite=overwrite)
    except FileExistsError:
        raise name_taken(target) from None
    except OSError as error:
        raise WheelError(
            f"{path.name} can't be changed: {error.strerror or error}", at=str(path.parent)
        ) from None


def _rename(path: Path, target: Path, before: _Before, *, overwrite: bool) -> None:
    """Step 4; where it can't be done, the wheel becomes what it was."""
    try:
        rename(path, target, overwrite=overwrite)
    except OSError:
        if path.exists() and not (target.exists() and _is_second_name(target, path)):
            with path.open("r+b") as file:
                _shielded(lambda: before.restore(file))
        raise


def _is_second_name(target: Path, path: Path) -> bool:
    # Where case does not count, one name has two spellings.
    return target.samefile(path) and path.stat().st_nlink > 1


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """While no other run changes the wheel in place. Raises WheelError where one does."""
    open_regular(path).close()  # nothing else, such as a pipe, is opened for writing
    busy = WheelError(f"{path.name} is being changed by another run", at=str(path.parent))
    if sys.platform == "win32":  # an open file can't be given another name there
        name = hashlib.sha256(os.path.normcase(path.resolve()).encode("utf-8", "replace"))
        lock = Path(tempfile.gettempdir(), f"polywheel-{name.hexdigest()[:32]}.lock")
        try:
            with lock.open("a+b") as file:
                if not try_lock(file):
                    raise busy
                yield
        finally:
            with suppress(OSError):  # another run has it open
                lock.unlink()
        return
    with path.open("r+b") as file:
        if not try_lock(file):
            raise busy
        try:
            here = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            here = False
        if not here:  # between the two calls above, that run gave it another name
            raise busy
        yield


@dataclass(frozen=True, slots=True)
class _Before:
    """The end of a file before it was changed."""

    first: int
    end: bytes
    """From ``first`` on, to where the wheel ended."""

    behind: bytes
    """What an interrupted change had left behind the wheel."""

    def restore(self, file: BinaryIO) -> None:
        """Make the file what it was. Raises OSError."""
        # After step 1, it is one wheel or the other at any moment, as above.
        if _get(file, self.first, len(self.end)) != self.end:
            _put(file, self.first, self.end)
        old = self.first + len(self.end)
        os.ftruncate(file.fileno(), old)
        if self.behind:
            _put(file, old, self.behind)


def _change_end(
    path: Path, target: Path, make: MakeChange, check: Check | None
) -> Change | _Before:
    """Steps 1 to 3; the change, where the wheel is better copied and nothing has been done."""
    with path.open("r+b") as file:
        status = os.fstat(file.fileno())
        archive = open_archive(file, path)
        found = find_dist_info(archive)
        change = make(found)
        found.check()
        end = _End()
        written = write_members(archive, end, change, front=end)
        first, old = end.first, archive.size
        length = old - first
        if status.st_nlink > 1 or path.is_symlink() or length > min(old / 2, _LARGEST_END):
            return change
        members = end.getvalue()
        write_directory(end, archive, written)
        offset = first + len(members)
        count = written.count(archive)
        write_end(end, archive, count=count, offset=offset, length=end.tell() - offset)
        final = end.getvalue()
        if check is not None:
            check(io.BufferedReader(_Preview(file, first, final)), target)

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

        before = _Before(
            first, _get(file, first, old - first), _get(file, old, status.st_size - old)
        )
        _write(file, before, appended, final)
    return before


def _write(file: BinaryIO, before: _Before, appended: bytes, final: bytes) -> None:
    """Steps 1 to 3. Raises OSError, after which the file is what it was, and WheelError if it is not."""
    first, old = before.first, before.first + len(before.end)

    def write() -> None:
        try:
            os.ftruncate(file.fileno(), old)
            _put(file, old, appended)
            _put(file, first, final)
            os.ftruncate(file.fileno(), first + len(final))
        except BaseException:
            before.restore(file)
            raise

    try:
        _shielded(write)
        if _get(file, first, len(final) + 1) != final:
            raise OSError(errno.EIO, "what was written is not there")
    except OSError:
        try:
            before.restore(file)
        except OSError as error:
            path = Path(file.name)
            raise WheelError(
                f"{path.name} could neither be changed nor made what it was: "
                f"{error.strerror or error}",
                at=str(path.parent),
                hint="run the command again: it goes on from here",
            ) from None
        raise


def _shielded(write: Callable[[], None]) -> None:
    """Do steps 1 to 3 where a kill of this process, or of its group, does not reach them.

    That is a child in a session of its own, which lives for these few writes alone. Raises OSError
    for whatever keeps it from ending as it should.
    """
    if sys.platform == "win32":
        write()
        return
    child = os.fork()
    if child == 0:
        code = errno.EIO  # for every other error: only what came to its end has succeeded
        try:
            os.setsid()
            write()
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(_ended(child))
    if code:
        number = code if code > 0 else errno.EINTR
        raise OSError(number, os.strerror(number))


def _ended(child: int) -> int:
    """The status of a child, for which an interruption of this process has to wait."""
    try:
        return os.waitpid(child, 0)[1]
    except BaseException:
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        raise


# Straight to the file: what a buffer could not write, it would try to write again when it is closed.
def _put(file: BinaryIO, at: int, content: bytes) -> None:
    os.lseek(file.fileno(), at, os.SEEK_SET)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]


def _get(file: BinaryIO, at: int, length: int) -> bytes:
    """Up to ``length`` bytes, fewer where the file ends."""
    os.lseek(file.fileno(), at, os.SEEK_SET)
    found = bytearray()
    while len(found) < length and (more := os.read(file.fileno(), length - len(found))):
        found += more
    return bytes(found)


class _Preview(io.RawIOBase):
    """The file as it is going to be: its front, and a new end."""

    def __init__(self, file: BinaryIO, first: int, end: bytes) -> None:
        self._file, self._first, self._end = file, first, end
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        length = self._first + len(self._end)
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: length}[whence]
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        size = len(buffer)
        if self._at < self._first:
            self._file.seek(self._at)
            found = self._file.read(min(size, self._first - self._at))
        else:
            found = self._end[self._at - self._first :][:size]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


class _End(io.BytesIO):
    """The end of a file whose front stays: positions are those in the file."""

    first = 0

    def settle(self, first_change: int) -> int:
        self.first = first_change
        return first_change

    def tell(self) -> int:
        return self.first + super().tell()
