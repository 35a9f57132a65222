"""The ends of logs, for outputs that embed them.

Reports and logs come from other machines: paths in reports are untrusted. So only regular files whose
names end with ``.log`` are read, and links are not followed.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from polywheel.report.model import ReportRun
from polywheel.system.files import open_regular

MOST_LINES = 200
MOST_BYTES = 64 * 1024
"""The largest part of a log that is embedded."""


def read_log_end(
    log: str | None, run: ReportRun, *, lines: int = MOST_LINES, size: int = MOST_BYTES
) -> str | None:
    """Return the last lines of a log; None if it can't be read.

    If the log does not exist, it is looked for beside the report, in the place that it had in the output
    directory, in the folder ``logs``, and next to the report itself: reports and logs of CI jobs are downloaded
    together. The text may have any characters.
    """
    for path in _places(log, run):
        try:
            with open_regular(path, follow_links=False) as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size))
                content = file.read(size)
        except (OSError, ValueError):  # a path may contain NUL
            continue
        text = content.decode("utf-8", "replace")
        if end > size:  # without the rest of the first line
            text = text.partition("\n")[2] or text
        return "\n".join(text.splitlines()[-lines:])
    return None


def _places(log: str | None, run: ReportRun) -> list[Path]:
    """Return the paths where a log may be."""
    if not log or not log.endswith(".log"):
        return []
    kind: type[PurePath] = PureWindowsPath if "\\" in log else PurePosixPath
    written, folder = kind(log), Path(run.path).parent
    places = [Path(log)]
    out = kind(run.out) if run.out else None
    if out is not None and written.is_relative_to(out):
        inner = written.relative_to(out)
        if ".." not in inner.parts:
            places.append(folder.joinpath(*inner.parts))
    return [*places, folder / "logs" / written.name, folder / written.name]
