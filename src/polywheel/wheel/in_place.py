"""Change a wheel in place. If dist-info is at the end of the file, only that end is written.

A kill at any moment leaves the old or the new wheel. Let *first* be the start of the first changed member.
The new end (the members from *first* on, the directory, and the end record) is created in memory. Then:

1. It is appended to the old file, with its own offsets and an end record. The comment of the end record
   says that there is a gap between *first* and the new end. Until the end record is complete, the file is
   the old wheel with extra bytes. zipfile, and so pip, reads the old wheel if there are less than 64 KiB of
   them. polywheel recognizes the mark before them, so it reads the old wheel in any case. This step is one
   call of a fraction of a millisecond.
2. From now on the file is the new wheel with a gap. The new end is written again, into the gap.
3. The file is truncated after it. Now it is the new wheel without a gap, byte for byte equal to a changed
   copy.
4. The file gets its new name, and then loses the old one.

If the system can fork, a child in its own session does steps 1 to 3, so a kill of this process or of its
group does not interrupt them. The result is read back before step 4. If a step fails, the file is restored
byte for byte. The wheel is locked from before it is read until it has its new name, so no other run uses
the old content.

The next change of the wheel, in place or not, repairs an interrupted change: extra bytes after an old wheel
are removed, and a gap is left out. A crash of the whole machine is not covered: nothing here waits for the
disk.

A file with a second name (for example a link in a cache) is not changed in place, nor a file of which more
than half would have to move. Such files are copied, and the old name is removed when the new one exists.
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

from polywheel.errors import WheelError, os_error_as
from polywheel.system.files import open_regular, rename
from polywheel.system.locks import try_lock
from polywheel.wheel.archive.reader import gap_mark, open_archive, unfinished_mark
from polywheel.wheel.archive.rewrite import Change, write_directory, write_members
from polywheel.wheel.dist_info import find_dist_info
from polywheel.wheel.stamp import Check, MakeChange, name_taken, write_changed_wheel

_LARGEST_END = 32 * 1024 * 1024
"""Bytes that are kept in memory, more than once. No dist-info is that large."""


def change_in_place(
    path: Path, target: Path, make: MakeChange, *, overwrite: bool, check: Check | None = None
) -> None:
    """Change the wheel ``path`` and rename it to ``target`` in the same folder, see above.

    ``check`` gets the complete new wheel before anything is written. Raises WheelError if ``check`` does, if
    the wheel can't be read or written, or if the target exists and ``overwrite`` is false. The wheel is
    unchanged then.
    """
    with os_error_as(WheelError, f"{path.name} can't be changed", at=path.parent), _lock(path):
        # If a run was killed during the rename, the file has both names.
        both = target != path and target.exists() and _is_second_name(target, path)
        if target != path and target.exists() and not (both or overwrite):
            raise name_taken(target)
        overwrite = overwrite or both or target == path
        outcome = _change_end(path, target, make, check)
        if isinstance(outcome, Change):
            write_changed_wheel(path, target, lambda _: outcome, overwrite=overwrite, check=check)
            if target != path:
                path.unlink()
        elif target != path:
            try:
                _rename(path, target, outcome, overwrite=overwrite)
            except FileExistsError:
                raise name_taken(target) from None


def _rename(path: Path, target: Path, before: _Before, *, overwrite: bool) -> None:
    """Do step 4. If it fails, restore the wheel."""
    try:
        rename(path, target, overwrite=overwrite)
    except OSError:
        if path.exists() and not (target.exists() and _is_second_name(target, path)):
            with path.open("r+b") as file:
                _run_shielded(lambda: before.restore(file))
        raise


def _is_second_name(target: Path, path: Path) -> bool:
    # On a case-insensitive file system, one name has two spellings.
    return target.samefile(path) and path.stat().st_nlink > 1


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock a wheel. Raises WheelError if another run is changing it in place."""
    open_regular(path).close()  # other files, such as pipes, must not be opened for writing
    busy = WheelError(f"{path.name} is being changed by another run", at=str(path.parent))
    if sys.platform == "win32":  # an open file can't be renamed there
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
            same = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            same = False
        if not same:  # another run renamed it between the two calls above
            raise busy
        yield


@dataclass(frozen=True, slots=True)
class _Before:
    """The end of a file before the change."""

    first: int
    end: bytes
    """The bytes from ``first`` to the end of the wheel."""

    behind: bytes
    """The bytes that an interrupted change left after the wheel."""

    def restore(self, file: BinaryIO) -> None:
        """Restore the file. Raises OSError."""
        # After step 1, the file is the old or the new wheel at any moment, as above.
        if _read_at(file, self.first, len(self.end)) != self.end:
            _write_at(file, self.first, self.end)
        old = self.first + len(self.end)
        os.ftruncate(file.fileno(), old)
        if self.behind:
            _write_at(file, old, self.behind)


def _change_end(
    path: Path, target: Path, make: MakeChange, check: Check | None
) -> Change | _Before:
    """Do steps 1 to 3. If the wheel has to be copied instead, do nothing and return the change."""
    with path.open("r+b") as file:
        status = os.fstat(file.fileno())
        archive = open_archive(file, path)
        info = find_dist_info(archive)
        change = make(info)
        info.check()
        end = _End()
        written = write_members(archive, end, change, front=end.skip)
        first, old = end.first, archive.size
        length = old - first
        if status.st_nlink > 1 or path.is_symlink() or length > min(old / 2, _LARGEST_END):
            return change
        members = end.getvalue()
        write_directory(end, archive, written)
        final = end.getvalue()
        if check is not None:
            check(io.BufferedReader(_Preview(file, first, final)), target)

        # Behind the old file, and behind the end of the new one.
        mark = unfinished_mark(old)
        start = max(old + len(mark), first + len(final))
        again = _End()
        again.skip(first)
        again.write(members)
        gap = gap_mark(first, start)
        write_directory(again, archive, written, shift=start - first, comment=gap)
        appended = mark.ljust(start - old, b"\0") + again.getvalue()

        before = _Before(
            first, _read_at(file, first, old - first), _read_at(file, old, status.st_size - old)
        )
        _write(file, before, appended, final)
    return before


def _write(file: BinaryIO, before: _Before, appended: bytes, final: bytes) -> None:
    """Do steps 1 to 3. Raises OSError if the file is restored, and WheelError if it can't be."""
    first, old = before.first, before.first + len(before.end)

    def write() -> None:
        try:
            os.ftruncate(file.fileno(), old)
            _write_at(file, old, appended)
            _write_at(file, first, final)
            os.ftruncate(file.fileno(), first + len(final))
        except BaseException:
            before.restore(file)
            raise

    try:
        _run_shielded(write)
        if _read_at(file, first, len(final) + 1) != final:
            raise OSError(errno.EIO, "the file does not have the written content")
    except OSError:
        try:
            before.restore(file)
        except OSError as error:
            path = Path(file.name)
            raise WheelError(
                f"{path.name} could neither be changed nor restored: {error.strerror or error}",
                at=str(path.parent),
                hint="run the command again to complete the change",
            ) from None
        raise


def _run_shielded(write: Callable[[], None]) -> None:
    """Run a function in a child with its own session, protected from kills of this process's group.

    The child runs only these few writes. Raises OSError if it fails.
    """
    if sys.platform == "win32":
        write()
        return
    child = os.fork()
    if child == 0:
        code = errno.EIO  # for every error without a number
        try:
            os.setsid()
            write()
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(code)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:  # an interruption of this process has to wait for the child
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        raise
    if code := os.waitstatus_to_exitcode(status):
        number = code if code > 0 else errno.EINTR
        raise OSError(number, os.strerror(number))


# Without a buffer: a buffer would try a failed write again when it is closed.
def _write_at(file: BinaryIO, at: int, content: bytes) -> None:
    os.lseek(file.fileno(), at, os.SEEK_SET)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    """Read ``length`` bytes, or fewer if the file ends."""
    os.lseek(file.fileno(), at, os.SEEK_SET)
    content = bytearray()
    while len(content) < length and (more := os.read(file.fileno(), length - len(content))):
        content += more
    return bytes(content)


class _Preview(io.RawIOBase):
    """The future file: the front of the old file, and a new end."""

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
            chunk = self._file.read(min(size, self._first - self._at))
        else:
            chunk = self._end[self._at - self._first :][:size]
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


class _End(io.BytesIO):
    """The end of a file whose front is unchanged. Positions are those in the file."""

    first = 0

    def skip(self, first_change: int) -> int:
        """Leave out the front of the file. Return its length."""
        self.first = first_change
        return first_change

    def tell(self) -> int:
        return self.first + super().tell()
