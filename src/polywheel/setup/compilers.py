"""Which spelling of flags the compiler in use takes: GNU, Clang or MSVC."""

from __future__ import annotations

import re
import shlex
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import PureWindowsPath

_LAUNCHERS = frozenset({"ccache", "sccache", "distcc", "icecc", "buildcache", "env"})
_NO_PROGRAM = re.compile(r"-|[A-Za-z_]\w*=")
"""Options and variables of a launcher."""

_VERSION = r"(-mp)?-?[0-9.]*"
_FAMILIES = (
    (re.compile(rf"(clang-)?cl{_VERSION}"), "msvc"),
    (re.compile(rf"((.*-)?(amd)?clang(\+\+)?(-cpp)?|icp?x|dpcpp|hipcc|zig){_VERSION}"), "clang"),
    (re.compile(rf"(.*-)?(gcc|g\+\+|gfortran){_VERSION}"), "gnu"),
)
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]((?!\.exe)[^\"])*\.exe", re.IGNORECASE)
# What a system, or a target of a cross compiler, calls its own compiler, whichever that is.
_GENERIC = re.compile(r"(.*-)?(cc|c\+\+)|c99|c11")


def compiler_family(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """``gnu``, ``clang`` or ``msvc`` by ``CC`` or else ``CXX``, and a note where that was a guess.

    Without either it is what the platform's Python is built with. Nothing is run: a wrong guess
    can be set right by naming the compiler in ``CC``.
    """
    for variable in ("CC", "CXX"):
        command = environment.get(variable, "").strip()
        if not command:
            continue
        name = _program(command)
        if _GENERIC.fullmatch(name):
            continue
        for pattern, family in _FAMILIES:
            if pattern.fullmatch(name):
                return family, None
        return "gnu", f"the compiler {name!r} ({variable}) is unknown: flags are spelled as for GCC"
    return _platform_family(), None


def _program(command: str) -> str:
    """The compiler's bare name: without folders, launchers in front, and ``.exe``."""
    windows = sys.platform == "win32" or re.search(r"[A-Za-z]:\\", command) is not None
    try:
        words = shlex.split(command, posix=not windows)
    except ValueError:
        words = command.split()
    if _WINDOWS_PATH.fullmatch(command):
        words = [command]  # not quoted, though it may hold blanks
    for word in words:
        # Reads both kinds of separators.
        name = PureWindowsPath(word.strip('"')).name.lower().removesuffix(".exe")
        if name not in _LAUNCHERS and not _NO_PROGRAM.match(word):
            return name
    return command


def _platform_family() -> str:
    if sysconfig.get_platform().startswith("mingw"):
        return "gnu"
    return {"win32": "msvc", "darwin": "clang"}.get(sys.platform, "gnu")
