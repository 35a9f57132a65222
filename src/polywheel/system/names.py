"""Names of folders that every operating system keeps as they are."""

from __future__ import annotations

import hashlib
import re

_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_ODD = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def means_another_file(name: str) -> bool:
    """Whether Windows takes a name of a file or folder for another one, or for a device.

    https://learn.microsoft.com/windows/win32/fileio/naming-a-file: no dots or blanks at the end, and
    no name of a device, whatever stands behind the first dot.
    """
    base = name.partition(".")[0].rstrip(" ")
    odd = name.rstrip(". ") != name or _ODD.search(name) is not None
    return odd or _DEVICE.fullmatch(base) is not None


def folder_name(text: str) -> str:
    """A text as the name of a folder: itself, or another one where Windows would not keep it.

    Different texts have different names.
    """
    if not means_another_file(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"_{_ODD.sub('_', text).rstrip('. ')}-{digest}"
