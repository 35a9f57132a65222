"""Write the tables of ``polywheel init`` to a file.

Existing content stays unchanged, byte for byte, and the file is written completely or not at all. The tables begin
with a header line, which has the names of the templates and a digest of the lines below. It shows later whether the
tables were changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import ConfigError, os_error_as
from polywheel.system.temporary import replacing

_HEADER = re.compile(r"# polywheel init --template ([a-z0-9 -]+) \(text ([0-9a-f]{16})\)")
_WRITE_HINT = "nothing was written; use --output to write another file"
_MAX_LINES = 5_000
"""The maximum number of lines of the tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitText:
    """The tables of an earlier run, which were not changed since."""

    templates: tuple[str, ...]
    first: int
    """The number of the first line, from 1."""

    last: int


def with_header(templates: Sequence[str], body: str) -> str:
    """Tables with a header line. ``body`` ends with a line break."""
    names = " ".join(templates)
    digest = _digests(names, body.splitlines())[-1]
    return f"# polywheel init --template {names} (text {digest})\n{body}"


def find_init_text(content: bytes) -> InitText | None:
    """The tables of an earlier run in a file; None if there are none, or if they were changed."""
    # Not str.splitlines: it also splits at other characters, such as a form feed.
    lines = content.decode("utf-8", errors="replace").replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines):
        header = _HEADER.fullmatch(line)
        if header is None:
            continue
        digests = _digests(header[1], lines[number + 1 : number + 1 + _MAX_LINES])
        if header[2] in digests:
            last = number + 2 + digests.index(header[2])
            return InitText(templates=tuple(header[1].split()), first=number + 1, last=last)
    return None


def _digests(names: str, lines: Sequence[str]) -> list[str]:
    """For each line, the digest of the text up to this line."""
    digest = hashlib.sha256(names.encode())
    digests = []
    for line in lines:
        digest.update(b"\n" + line.encode())
        digests.append(digest.hexdigest()[:16])
    return digests


def read_content(path: Path) -> bytes | None:
    """The content of a file; None if it does not exist. Raises ConfigError if it can't be read."""
    with os_error_as(ConfigError, f"{path} can't be read"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def append_text(content: bytes, text: str) -> bytes:
    """The content of a file, an empty line, and a text with the line breaks of the file."""
    pairs = content.count(b"\r\n")
    line_break = b"\r\n" if pairs * 2 > content.count(b"\n") else b"\n"
    between = line_break if content.strip() else b""
    if content and not content.endswith(b"\n"):
        between += line_break  # the header must be a separate line
    return content + between + text.encode().replace(b"\n", line_break)


def check_toml(content: bytes, path: Path) -> None:
    """Raise ConfigError if the content of a file is not TOML after tables were appended."""
    try:
        tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"no table can be appended to {path.name}: {error}",
            at=str(path),
            hint="`tool` may be an inline table; write the tables to another file with --output",
        ) from None


def change_file(path: Path, before: bytes, after: bytes) -> None:
    """Replace the content of a file. The target of a symbolic link is changed, not the link.

    Raises ConfigError if the file is read-only, or was changed since it was read.
    """
    target = path.resolve()
    with os_error_as(ConfigError, f"{path} can't be written", hint=_WRITE_HINT):
        mode = stat.S_IMODE(target.stat().st_mode)
        # Its folder may allow a replacement, but the user does not want one.
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
    """Write a new file. Raises ConfigError if it exists or can't be written."""
    with os_error_as(ConfigError, f"{path} can't be written", hint=_WRITE_HINT):
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"{path} exists already, nothing was written", hint="choose a new file for --output"
            )
        with replacing(path) as part:
            part.write_bytes(content)
