"""The compiler cache of a build: which program it is, and how the real backend gets it as a launcher of compilers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from polywheel.errors import ConfigError, nearest
from polywheel.model.setup import COMPILER_CACHES, BackendProfile

BASE_DIRECTORY = "CCACHE_BASEDIR"
"""Paths in this folder are relative for ccache, so that builds in different folders hit each other."""

_PROGRAMS = frozenset({"ccache", "sccache", "buildcache", "cachepot", "distcc", "icecc"})
"""Launchers that a user may have set."""
_COMPILERS = {"CC": ("cc", "gcc", "clang"), "CXX": ("c++", "g++", "clang++")}
"""The compilers for which build systems search."""
_INSTALL = {
    "ccache": "apt install ccache, dnf install ccache, brew install ccache, or choco install ccache",
    "sccache": "brew install sccache, choco install sccache, or cargo install sccache",
}


@dataclass(frozen=True, slots=True)
class CompilerCaches:
    """The launchers of a build: names of programs on PATH. None means no launcher."""

    c: str | None = None
    """For C, C++, and the languages of their compilers."""

    rust: str | None = None


def check_setting(value: str, *, at: str) -> str:
    """Return a value of the setting ``compiler-cache``. Raises ConfigError."""
    if value not in COMPILER_CACHES:
        raise ConfigError(
            f"unknown compiler cache {value!r}", at=at, hint=nearest(value, COMPILER_CACHES)
        )
    return value


def find_compiler_caches(setting: str, *, at: str, search_path: str | None) -> CompilerCaches:
    """Return the launchers for a value of the setting. ``search_path`` is PATH.

    Raises ConfigError if the setting names a program that is missing.
    """

    def is_installed(name: str) -> bool:
        return shutil.which(name, path=search_path) is not None

    check_setting(setting, at=at)
    if setting == "off":
        return CompilerCaches()
    if setting == "auto":
        return CompilerCaches(
            c=next(filter(is_installed, ("ccache", "sccache")), None),
            rust="sccache" if is_installed("sccache") else None,
        )
    if not is_installed(setting):
        raise ConfigError(
            f"the compiler cache {setting!r} was not found on PATH",
            at=at,
            hint=f"install it ({_INSTALL[setting]}), or use 'auto', which uses a compiler cache only if there is one",
        )
    # ccache can't cache Rust.
    return CompilerCaches(c=setting, rust=setting if setting == "sccache" else None)


def launcher_variables(
    profile: BackendProfile | None,
    caches: CompilerCaches,
    *,
    compiler: str,
    environment: Mapping[str, str],
    scratch: Path,
    work_folder: Path | None = None,
) -> dict[str, str]:
    """Return the variables by which a backend launches its compilers with a compiler cache.

    ``environment`` is that of the build. Its launchers win. ``compiler`` is the family. Scripts are written into the
    existing folder ``scratch``. ``work_folder`` is the folder of the build, if its path differs between builds of one
    source. Raises OSError.
    """
    if profile is None:
        return {}
    variables = {}
    for language, method in profile.launchers.items():
        launcher = caches.rust if language == "rust" else caches.c
        kind, _, name = method.partition(":")
        if launcher is None or _has_launcher(environment, name, language):
            continue
        if kind == "env":
            variables[name] = launcher
            continue
        # The class of setuptools for MSVC reads no variable, and Meson finds a launcher for it by itself.
        command = environment.get(name, "").strip() or _default_compiler(
            name, profile, compiler, environment.get("PATH")
        )
        if command is not None and kind == "script":
            flags = []
            if launcher == "ccache" and work_folder is not None:
                flags = _debug_prefix_map(work_folder, compiler)
            variables[name] = _with_script(
                scratch, launcher, command, flags, environment.get("PATH")
            )
        elif command is not None:
            variables[name] = f"{launcher} {command}"
    if caches.c == "ccache" and variables:
        variables[BASE_DIRECTORY] = environment.get(BASE_DIRECTORY) or str(scratch)
    return variables


def _has_launcher(environment: Mapping[str, str], name: str, language: str) -> bool:
    """Whether the user has set a launcher for a language: in its own variable, or before its compiler."""
    compiler = {"c": "CC", "cxx": "CXX", "cuda": "CUDACXX", "hip": "HIPCXX"}.get(language, "")
    if name != compiler and environment.get(name, "").strip():
        return True
    words = re.split(r"[\s\"']+", environment.get(compiler, "").strip())
    programs = {PureWindowsPath(word).name.lower().removesuffix(".exe") for word in words}
    return not _PROGRAMS.isdisjoint(programs)


def _default_compiler(
    name: str, profile: BackendProfile, family: str, search_path: str | None
) -> str | None:
    """The command of the compiler that a backend uses if the variable ``name`` is not set."""
    if family == "msvc" or sys.platform == "win32":
        return None
    if not profile.own_optimization:  # setuptools may compile
        return sysconfig.get_config_var(name) or None
    return next((c for c in _COMPILERS.get(name, ()) if shutil.which(c, path=search_path)), None)


def _with_script(
    scratch: Path, launcher: str, command: str, flags: Sequence[str], search_path: str | None
) -> str:
    """Return a command of a compiler whose first word is a script that starts it with a launcher.

    The script has the name of the compiler, by which tools recognize its family.
    """
    try:
        words = shlex.split(command)
    except ValueError:  # quotes that do not match: the backend reports this
        return f"{launcher} {command}"
    program = shutil.which(words[0], path=search_path)
    script = scratch / "launchers" / Path(words[0]).name
    if sys.platform == "win32" or program is None or script.name == "env" or " " in str(script):
        return f"{launcher} {command}"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.join([launcher, program, *flags])} "$@"\n')
    script.chmod(0o700)
    # torch puts ccache before the script. ccache recognizes another compiler by the time of its file.
    changed = Path(program).stat().st_mtime_ns
    os.utime(script, ns=(changed, changed))
    return " ".join([str(script), *map(shlex.quote, words[1:])])


def _debug_prefix_map(work_folder: Path, family: str) -> list[str]:
    """Options that remove the folder of a build from debug information.

    Pythons are built with ``-g``, and setuptools compiles with their flags. ccache can't use an object of another
    folder if it has the name of that folder. All versions of GCC and Clang know this option.
    """
    known = family in {"gnu", "clang"} and "=" not in str(work_folder)
    return [f"-fdebug-prefix-map={work_folder}=."] if known else []
