"""The file that init writes to: what stands in it is kept byte for byte, and it changes whole or not
at all.

Init's own text begins with a line that names its presets and holds a digest of the lines that follow,
so that it is known again as long as nobody has changed it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import ConfigError
from polywheel.system.temporary import replacing

_HEADER = re.compile(r"# polywheel init --preset ([a-z0-9 -]+) \(text ([0-9a-f]{16})\)")
_MAX_LINES = 5_000
"""Lines that init's own text may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitText:
    """Text of an earlier run, as it was written."""

    presets: tuple[str, ...]
    first: int
    """The number of its first line, from 1."""

    last: int


def with_header(presets: Sequence[str], body: str) -> str:
    """A text of init's with the line that makes it known again. ``body`` ends with a line break."""
    names = " ".join(presets)
    digest = _digests(names, body.splitlines())[-1]
    return f"# polywheel init --preset {names} (text {digest})\n{body}"


def find_init_text(content: bytes) -> InitText | None:
    """The text of an earlier run in a file; None where there is none, or it was changed since."""
    # Not str.splitlines, to which a form feed ends a line, too.
    lines = content.decode("utf-8", errors="replace").replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines):
        header = _HEADER.fullmatch(line)
        if header is None:
            continue
        digests = _digests(header[1], lines[number + 1 : number + 1 + _MAX_LINES])
        if header[2] in digests:
            last = number + 2 + digests.index(header[2])
            return InitText(presets=tuple(header[1].split()), first=number + 1, last=last)
    return None


def _digests(names: str, lines: Sequence[str]) -> list[str]:
    """What the text would be known by, if it ended after each of its lines."""
    digest = hashlib.sha256(names.encode())
    found = []
    for line in lines:
        digest.update(b"\n" + line.encode())
        found.append(digest.hexdigest()[:16])
    return found


def read_content(path: Path) -> bytes | None:
    """What a file holds; None where there is none. Raises ConfigError where it can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None


def append_text(content: bytes, text: str) -> bytes:
    """What a file holds, and a text behind it: after an empty line, with the file's line breaks."""
    pairs = content.count(b"\r\n")
    line_break = b"\r\n" if pairs * 2 > content.count(b"\n") else b"\n"
    between = line_break if content.strip() else b""
    if content and not content.endswith(b"\n"):
        between += line_break  # the first line of the text is known again only as a line of its own
    return content + between + text.encode().replace(b"\n", line_break)


def change_file(path: Path, before: bytes, after: bytes) -> None:
    """Write a file that is there anew. Where it is a link, the file that it leads to is changed.

    Raises ConfigError where the file is not to be written, or was changed since it was read.
    """
    target = path.resolve()
    with _speaking_of(path):
        mode = stat.S_IMODE(target.stat().st_mode)
        # Its folder would let it be replaced all the same; that is not what a user means by it.
        if not mode & stat.S_IWUSR or not os.access(target, os.W_OK):
            raise ConfigError(
                f"{path} is read-only, nothing was written",
                hint="make it writable, or write the tables to another file with --output",
            )
        with replacing(target) as part:
            part.write_bytes(after)
            part.chmod(mode)
            if target.read_bytes() != before:
                raise ConfigError(f"{path} was changed meanwhile, nothing was written")


def new_file(path: Path, content: bytes) -> None:
    """Write a file that is not there yet. Raises ConfigError where it can't be written."""
    with _speaking_of(path):
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"{path} exists already, nothing was written",
                hint="choose a new file for --output",
            )
        with replacing(path) as part:
            part.write_bytes(content)


@contextmanager
def _speaking_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path} can't be written: {error.strerror or error}",
            hint="nothing was written; use --output to write another file",
        ) from None
