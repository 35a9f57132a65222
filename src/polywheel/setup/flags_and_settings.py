"""Translate a build setup into environment variables and config settings for the real backend.

The spelling of flags depends on the compiler: GNU, Clang, or MSVC.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PureWindowsPath

from polywheel.config.selection import ConfigSettings
from polywheel.errors import ConfigError, Problem
from polywheel.model.setup import FLAG_FIELDS, BackendProfile, BuildSetup, DeliveryMethod, Entry

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
        path, name = _program(command)
        if _GENERIC.fullmatch(name):
            continue
        for pattern, family in _FAMILIES:
            if pattern.fullmatch(name):
                return family, None
        problem = f"the compiler {name!r} ({variable}) is unknown"
        # Path.exists raises some errors, such as those for a folder that is closed or a name that is too long.
        if os.path.isabs(path) and not os.path.exists(path):  # noqa: PTH110, PTH117
            problem = f"the compiler {path!r} ({variable}) does not exist"
        return "gnu", f"{problem}: flags for GCC are used"
    return _platform_family(), None


def _program(command: str) -> tuple[str, str]:
    """The compiler in a command, and its name without folders and ``.exe``. Launchers are skipped."""
    windows = sys.platform == "win32" or re.search(r"[A-Za-z]:\\", command) is not None
    try:
        words = shlex.split(command, posix=not windows)
    except ValueError:
        words = command.split()
    if _WINDOWS_PATH.fullmatch(command):
        words = [command]  # not quoted, though it may hold blanks
    for word in words:
        # Reads both kinds of separators.
        path = word.strip('"')
        name = PureWindowsPath(path).name.lower().removesuffix(".exe")
        if name not in _LAUNCHERS and not _NO_PROGRAM.match(word):
            return path, name
    return command, command


def _platform_family() -> str:
    if sysconfig.get_platform().startswith("mingw"):
        return "gnu"
    return {"win32": "msvc", "darwin": "clang"}.get(sys.platform, "gnu")


FLAG_VARIABLES = frozenset({*map(str.upper, FLAG_FIELDS), "CPPFLAGS", "FCFLAGS", "CL", "LINK"})
"""Environment variables that hold flags for a compiler or linker."""
_AS_ENVIRONMENT = DeliveryMethod("env")
_UNSUPPORTED = DeliveryMethod("unsupported")
_OF_PYTHON = ("cflags", "cxxflags")
_MSVC = {"cflags": "CL", "cxxflags": "CL", "ldflags": "LINK"}
"""What the compiler and the linker read themselves: setuptools' class for MSVC reads no variables."""
PRESET = "preset "
"""What the origins of presets' rules begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What the real backend is run with."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set, in full: what the user had in them stands in front."""

    config_settings: ConfigSettings = field(default_factory=dict)
    """The user's and ours, merged."""

    compiler_flags: tuple[Entry, ...] = ()
    """The flags among them that are for a compiler or linker."""

    told: tuple[str, ...] = ()
    """What was told how, for the log: ``CFLAGS += -O2``."""

    warnings: tuple[str, ...] = ()
    """Build setup that the backend does not support."""


def deliver(
    setup: BuildSetup,
    profile: BackendProfile | None,
    *,
    compiler: str,
    environment: Mapping[str, str],
    settings: ConfigSettings,
    consumed_by_hooks: bool,
    strict: bool,
) -> Delivery:
    """Put a setup into the words of a backend; one without a profile gets the environment.

    ``consumed_by_hooks``: whether the project has build hooks that may compile, for backends that
    do not. Raises ConfigError where the user's config settings contradict the setup, and, with
    ``strict``, if the backend does not support a part of the setup.
    """
    work = _DeliveryBuilder(
        dict(environment),
        dict(settings),
        backend=profile.name if profile else "a backend without a profile",
        msvc=compiler == "msvc",
        own_optimization=profile is not None and profile.own_optimization,
    )
    for variable, entry in setup.env.items():
        work.set_variable(variable, entry)
    for key, value in setup.config_settings.items():
        if isinstance(value, Entry):
            work.set_setting(key, value)
        else:
            work.append_setting(key, value)
    # After the variables that rules set, so that flags are appended to those too.
    for name, entries in setup.flags.items():
        method = _method(profile, name, compiler)
        work.flags(name, method, entries, unread=method.via == "hooks" and not consumed_by_hooks)
    for name, entry in setup.defines.items():
        work.define(name, _method(profile, "defines", compiler), entry)
    work.leave_out_other_languages()
    if strict and work.missed:
        raise ConfigError.collected(
            Problem(what, at, "strict = true makes this an error") for what, at in work.missed
        )
    return work.delivery(environment)


def _method(profile: BackendProfile | None, name: str, compiler: str) -> DeliveryMethod:
    if profile is None:
        return _UNSUPPORTED if name == "defines" else _AS_ENVIRONMENT
    special = profile.delivery_by_compiler.get(compiler, {})
    return special.get(name) or profile.delivery.get(name) or _UNSUPPORTED


class _DeliveryBuilder:
    """Environment and config settings as they grow."""

    def __init__(
        self,
        environment: dict[str, str],
        settings: dict[str, str | Sequence[str]],
        *,
        backend: str,
        msvc: bool,
        own_optimization: bool,
    ) -> None:
        self.environment = environment
        self.settings = settings
        self.backend = backend
        self.msvc = msvc
        # Tools on Windows split a command line as its programs do, not as a shell does.
        self.windows = msvc or sys.platform == "win32"
        self.own_optimization = own_optimization
        self.told: list[str] = []
        self.compiler_flags: list[Entry] = []
        self.missed: list[tuple[str, str]] = []
        self._origin: dict[tuple[str, str], str] = {}
        self._origins_of_flags: set[str] = set()
        self._appended: set[tuple[str, ...]] = set()

    def delivery(self, before: Mapping[str, str]) -> Delivery:
        """Everything, of the environment what is another than before."""
        grown = self.environment.items()
        return Delivery(
            environment={name: value for name, value in grown if before.get(name) != value},
            config_settings=self.settings,
            compiler_flags=tuple(self.compiler_flags),
            told=tuple(self.told),
            warnings=tuple(f"{what} (from {at})" for what, at in self.missed),
        )

    def miss(self, what: str, entries: Sequence[Entry], why: str = "does not support") -> None:
        self.missed.append((f"{self.backend} {why} {what}", _origins(entries)))

    def leave_out_other_languages(self) -> None:
        """A preset speaks of every language at once: of those that a backend has not, say nothing.

        That holds where the same rule of the preset did reach the backend.
        """
        self.missed = [
            (what, at)
            for what, at in self.missed
            if not (at.startswith(PRESET) and at in self._origins_of_flags)
        ]

    def flags(
        self, name: str, method: DeliveryMethod, entries: Sequence[Entry], *, unread: bool
    ) -> None:
        """Deliver flags; ``unread``: as far as is known, nothing reads them."""
        if method.via == "unsupported":
            self.miss(f"{name} {_texts(entries)!r}", entries)
            return
        if unread:
            # They are set all the same: an installed plugin of the backend may compile.
            why = "has no compile step, and the project has no build hook:"
            self.miss(f"{name} {_texts(entries)!r}", entries, why)
        else:
            self._origins_of_flags.add(_origins(entries))
            self.compiler_flags += entries
        formatted = [_formatted(method, name, entry) for entry in entries]
        if key := _key(method):
            self.append_setting(key, formatted)
            return
        variable = method.variable(name)
        if method.via in {"python-env", "hooks"} or (
            method.via == "env" and not self.own_optimization
        ):
            if self.msvc:
                variable = _MSVC.get(name, variable)
            elif name in _OF_PYTHON and variable not in self.environment:
                self._keep_flags_of_python(variable)
        self.append_variable(variable, formatted)

    def _keep_flags_of_python(self, variable: str) -> None:
        """Begin a variable with the flags that Python was built with, optimization among them.

        setuptools takes CXXFLAGS (since 73) and CFLAGS (since 75.8) in place of them
        (distutils/compilers/C/unix.py). Older versions, which append, see them twice.
        """
        flags = sysconfig.get_config_var("CFLAGS") or ""
        if sys.platform == "darwin" and "ARCHFLAGS" in self.environment:
            # As _osx_support does, which has not seen what a rule sets.
            flags = re.sub(r"-arch\s+\w+\s*", "", flags) + " " + self.environment["ARCHFLAGS"]
        if flags.strip():
            self.environment[variable] = flags.strip()
            self.told.append(f"{variable} begins with the flags that Python was built with")

    def define(self, name: str, method: DeliveryMethod, entry: Entry) -> None:
        value = _formatted(method, name, entry)
        key = _key(method)
        if method.via == "unsupported":
            self.miss(f"defines {entry.value!r} for {name!r}", [entry])
        elif not key:
            self.append_variable(method.variable("defines"), [value])
        elif "{name}" in key:
            key = key.replace("{name}", name)
            # scikit-build-core takes each key also with its name in front, and prefers that.
            for other in self.settings:
                if other.endswith(f".{key}"):
                    self._refuse_another(other, self._listed(other), value)
            self.set_setting(key, value)
        else:
            option = _formatted(method, name, Entry("", entry.origin)).value
            older = [text for text in self._listed(key) if text.startswith(option)]
            self._refuse_another(key, older, value)
            if not older:
                self.append_setting(key, [value])

    def append_variable(self, variable: str, entries: Sequence[Entry]) -> None:
        # Two flag fields may end in one variable (CL): what both say is said once.
        mark = (variable, *(entry.value for entry in entries))
        if mark in self._appended:
            return
        self._appended.add(mark)
        added = " ".join(self._word(variable, entry) for entry in entries)
        older = self.environment.get(variable, "").strip()
        self.environment[variable] = f"{older} {added}".strip()
        self.told.append(f"{variable} += {added}  ({_origins(entries)})")

    def set_variable(self, variable: str, entry: Entry) -> None:
        self.environment[variable] = entry.value
        if variable in FLAG_VARIABLES and entry.value.strip():
            self.compiler_flags.append(entry)
        self.told.append(f"{variable} = {entry.value}  ({entry.origin})")

    def set_setting(self, key: str, entry: Entry) -> None:
        self._refuse_another(key, self._listed(key), entry)
        self.settings[key] = entry.value
        self._origin[key, entry.value] = entry.origin
        self.told.append(f"-C{key}={entry.value}  ({entry.origin})")

    def append_setting(self, key: str, entries: Sequence[Entry]) -> None:
        self.settings[key] = [*self._listed(key), *(entry.value for entry in entries)]
        self._origin |= {(key, entry.value): entry.origin for entry in entries}
        self.told += [f"-C{key}={entry.value}  ({entry.origin})" for entry in entries]

    def _listed(self, key: str) -> list[str]:
        older = self.settings.get(key, [])
        return [older] if isinstance(older, str) else list(older)

    def _refuse_another(self, key: str, older: list[str], entry: Entry) -> None:
        """Raise ConfigError where what is there already is something else."""
        for text in older:
            if text != entry.value:
                where = self._origin.get((key, text), "")
                raise ConfigError(
                    f"config setting {key!r} is {text!r} "
                    + (f"in {where}" if where else "on the command line")
                    + f" and {entry.value!r} in {entry.origin}",
                    at=entry.origin,
                    hint="remove one of them",
                )

    def _word(self, variable: str, entry: Entry) -> str:
        """A flag as one word of a variable, as the tools that read it split it."""
        text = entry.value
        if variable == "RUSTFLAGS":
            if re.search(r"\s", text):
                raise ConfigError(
                    f"RUSTFLAGS is split at spaces, so {text!r} can't be one flag", at=entry.origin
                )
            if "CARGO_ENCODED_RUSTFLAGS" in self.environment:
                raise ConfigError(
                    f"cargo ignores RUSTFLAGS, and with it {text!r}, if "
                    "CARGO_ENCODED_RUSTFLAGS is set",
                    at="environment variable CARGO_ENCODED_RUSTFLAGS",
                    hint="set its flags in RUSTFLAGS",
                )
            return text
        if not re.search(r"\s" if self.windows else r"[\s\"'\\]", text):
            return text
        return subprocess.list2cmdline([text]) if self.windows else shlex.quote(text)


def _key(method: DeliveryMethod) -> str:
    """The config setting that a method goes by; empty for other ways."""
    how, _, key = method.via.partition(":")
    return key if how == "config-setting" else ""


def _formatted(method: DeliveryMethod, name: str, entry: Entry) -> Entry:
    filled = {"{name}": name, "{value}": entry.value}
    value = re.sub(r"\{(name|value)\}", lambda match: filled[match[0]], method.format)
    return Entry(value, entry.origin)


def _texts(entries: Sequence[Entry]) -> str:
    return " ".join(entry.value for entry in entries)


def _origins(entries: Sequence[Entry]) -> str:
    return ", ".join(dict.fromkeys(entry.origin for entry in entries))
