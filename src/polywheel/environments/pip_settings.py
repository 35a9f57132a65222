"""pip's settings as ``pip install`` reads them: from configuration files and environment variables.

https://pip.pypa.io/en/stable/topics/configuration/ says which files there are. They are read here, and
not by pip, since every run needs them and starting pip takes half a second.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from polywheel.errors import ConfigError

_SECTIONS = ("global", "install", ":env:")
"""The sections that ``pip install`` reads; a later one overrides an earlier one."""
_ADDED_UP = frozenset({"no-binary", "only-binary"})
"""Options whose values in several sections all count."""
_NAME = "pip.ini" if sys.platform == "win32" else "pip.conf"


def pip_settings() -> Mapping[str, str]:
    """The settings that are in force, by the long name of the option: ``extra-index-url``.

    Values are as they were written. An option that may be repeated has its values separated by
    blanks or line breaks. Raises ConfigError where pip could not read a file.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files():
        for section, options in _read(path).items():
            if section in found:
                found[section].update(options)
    variables = {
        _option(name.removeprefix("PIP_")): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }
    found[":env:"].update(variables)
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        for option, value in found[section].items():
            # An empty value counts as none: then a weaker section applies.
            if value and option != "config-file":
                before = settings.get(option) if option in _ADDED_UP else None
                settings[option] = f"{before},{value}" if before else value
    return settings


class _Parser(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return _option(optionstr)


def _option(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _read(path: Path) -> Mapping[str, Mapping[str, str]]:
    parser = _Parser()
    try:
        # A file that can't be opened is skipped.
        parser.read(path, encoding="utf-8" if sys.flags.utf8_mode else "locale")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"pip's configuration can't be read: {str(error).splitlines()[0]}",
            at=str(path),
            hint="pip config debug lists the files that pip reads",
        ) from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _files() -> Iterator[Path]:
    """The configuration files of pip, the weakest first."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    yield from (folder / _NAME for folder in system_folders("pip"))
    if sys.platform not in {"win32", "darwin"}:
        yield Path("/etc", _NAME)
    if not named or not Path(named).exists():
        yield Path.home() / ("pip" if sys.platform == "win32" else ".pip") / _NAME
        yield _user_folder() / _NAME
    yield Path(sys.prefix, _NAME)
    if named:
        yield Path(named)


def _user_folder() -> Path:
    if sys.platform == "darwin":
        support = Path.home() / "Library" / "Application Support" / "pip"
        return support if support.is_dir() else Path.home() / ".config" / "pip"
    return user_folder("pip")


def user_folder(name: str) -> Path:
    """Where a program has its configuration of this user; on macOS as on Linux."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming", name)
    return Path(os.environ.get("XDG_CONFIG_HOME", "").strip() or Path.home() / ".config", name)


def system_folders(name: str) -> Iterator[Path]:
    """Where pip and uv have the configuration of the whole machine, the weakest first."""
    if sys.platform == "win32":
        yield Path(os.environ.get("PROGRAMDATA") or "C:\\ProgramData", name)
        return
    if sys.platform == "darwin":
        homebrew, separator, rest = sys.base_prefix.partition("/opt/python")
        if separator and "/Frameworks/Python.framework/" in rest:
            yield Path(homebrew, "share", name)
        yield Path("/Library/Application Support", name)
        return
    folders = os.environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)
    for folder in [one for one in folders if one.strip()] or ["/etc/xdg"]:
        yield Path(folder, name)


def is_true(value: str) -> bool:
    """A switch, as pip and uv read one."""
    return value.strip().lower() in {"1", "true", "yes", "on", "y", "t"}


def absolute_path(text: str) -> str:
    """A path made absolute; a URL as it is."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text):  # two letters at least: C: is a drive
        return text
    return str(Path(text).expanduser().absolute())
