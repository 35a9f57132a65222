"""The running polywheel as a wheel: for build environments that somebody else makes."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path

from polywheel import __version__
from polywheel.wheel.record import digest

_INFO = f"polywheel-{__version__}.dist-info"
_WHEEL = "Wheel-Version: 1.0\nGenerator: polywheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_TIME = (1980, 1, 1, 0, 0, 0)
NAME = f"polywheel-{__version__}-py3-none-any.whl"


def write_served_wheel(served: Path, folder: Path) -> None:
    """Write the wheel of a polywheel that is :func:`served`; the same bytes each time."""
    package = served / "polywheel"
    files = {
        f"polywheel/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{_INFO}/METADATA"] = (distribution("polywheel").read_text("METADATA") or "").encode()
    files[f"{_INFO}/WHEEL"] = _WHEEL.encode()
    files[f"{_INFO}/entry_points.txt"] = b"[console_scripts]\npolywheel = polywheel.cli:main\n"
    lines = [
        f"{name},{digest(content)},{len(content)}\n" for name, content in sorted(files.items())
    ]
    files[f"{_INFO}/RECORD"] = "".join([*lines, f"{_INFO}/RECORD,,\n"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / NAME, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
