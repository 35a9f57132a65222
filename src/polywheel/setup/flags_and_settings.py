"""Translate a build setup into environment variables and config settings for the real backend.

The spelling of flags depends on the compiler: GNU, Clang, or MSVC.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PureWindowsPath

from polywheel.config.selection import ConfigSettings
from polywheel.errors import ConfigError, Problem
from polywheel.model.setup import (
    FLAG_FIELDS,
    BackendProfile,
    BuildSetup,
    DeliveryMethod,
    Entry,
    origins,
)

_LAUNCHERS = frozenset({"ccache", "sccache", "distcc", "icecc", "buildcache", "env"})
_NOT_A_PROGRAM = re.compile(r"-|[A-Za-z_]\w*=")
"""Options and variables in front of a program."""

_VERSION = r"(-mp)?-?[0-9.]*"
_FAMILIES = (
    (re.compile(rf"(clang-)?cl{_VERSION}"), "msvc"),
    (re.compile(rf"((.*-)?(amd)?clang(\+\+)?(-cpp)?|icp?x|dpcpp|hipcc|zig){_VERSION}"), "clang"),
    (re.compile(rf"(.*-)?(gcc|g\+\+|gfortran){_VERSION}"), "gnu"),
)
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]((?!\.exe)[^\"])*\.exe", re.IGNORECASE)
# Names of the default compiler of a system, or of a target of cross compilation, whatever compiler it is.
_GENERIC = re.compile(r"(.*-)?(cc|c\+\+)|c99|c11")


def compiler_family(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """``gnu``, ``clang``, or ``msvc``, and a note if the compiler is unknown or missing.

    The result depends on ``CC``, else on ``CXX``, else on the compiler of the platform's Python. Nothing is run.
    Users can correct a wrong result by naming the compiler in ``CC``.
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
        # Path.exists raises some errors, for example if a folder is not readable or a name is too long.
        if os.path.isabs(path) and not os.path.exists(path):  # noqa: PTH110, PTH117
            problem = f"the compiler {path!r} ({variable}) does not exist"
        elif PureWindowsPath(path).name == path and not shutil.which(
            path, path=environment.get("PATH")
        ):
            problem = f"the compiler {path!r} ({variable}) was not found"
        return "gnu", f"{problem}: flags for GCC are used"
    if sysconfig.get_platform().startswith("mingw"):
        return "gnu", None
    return {"win32": "msvc", "darwin": "clang"}.get(sys.platform, "gnu"), None


def _program(command: str) -> tuple[str, str]:
    """The compiler of a command, without launchers, and its name without folders and ``.exe``."""
    windows = sys.platform == "win32" or re.search(r"[A-Za-z]:\\", command) is not None
    try:
        words = shlex.split(command, posix=not windows)
    except ValueError:
        words = command.split()
    if _WINDOWS_PATH.fullmatch(command):
        words = [command]  # it may contain spaces without quotes
    for word in words:
        path = word.strip('"')
        # PureWindowsPath reads both kinds of separators.
        name = PureWindowsPath(path).name.lower().removesuffix(".exe")
        if name not in _LAUNCHERS and not _NOT_A_PROGRAM.match(word):
            return path, name
    return command, command


FLAG_VARIABLES = frozenset({*map(str.upper, FLAG_FIELDS), "CPPFLAGS", "FCFLAGS", "CL", "LINK"})
"""Environment variables that hold flags for a compiler or linker."""
_MSVC = {"cflags": "CL", "cxxflags": "CL", "ldflags": "LINK"}
"""Variables of MSVC's compiler and linker: the class of setuptools for MSVC reads no variables."""
_PRESET = "preset "
"""The prefix of origins in presets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """The environment variables and config settings for the real backend."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """The complete values of variables to set. They begin with the values of the user."""

    config_settings: ConfigSettings = field(default_factory=dict)
    """The settings of the user and of the setup."""

    compiler_flags: tuple[Entry, ...] = ()
    """The flags for compilers and linkers."""

    passed: tuple[str, ...] = ()
    """What is passed to the backend, for the log: ``CFLAGS += -O2``."""

    warnings: tuple[str, ...] = ()
    """Parts of the build setup that the backend does not support."""


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
    """Translate a setup for a backend. A backend without a profile gets environment variables.

    ``consumed_by_hooks``: whether the project has build hooks that may compile, for backends that do not compile
    themselves. Raises ConfigError if the user's config settings contradict the setup, and with ``strict`` if the
    backend does not support a part of the setup.
    """
    builder = _DeliveryBuilder(environment, settings, profile, compiler)
    for variable, entry in setup.env.items():
        builder.set_variable(variable, entry)
    for key, value in setup.config_settings.items():
        if isinstance(value, Entry):
            builder.set_setting(key, value)
        else:
            builder.append_setting(key, value)
    # After the variables of rules, because flags are also appended to those.
    for name, entries in setup.flags.items():
        builder.flags(name, entries, consumed_by_hooks=consumed_by_hooks)
    for name, entry in setup.defines.items():
        builder.define(name, entry)
    delivery = builder.delivery(environment)
    if strict and builder.unsupported:
        hint = "strict = true makes this an error"
        raise ConfigError.collected(Problem(what, at, hint) for what, at in builder.unsupported)
    return delivery


class _DeliveryBuilder:
    """Collects environment variables and config settings."""

    def __init__(
        self,
        environment: Mapping[str, str],
        settings: ConfigSettings,
        profile: BackendProfile | None,
        compiler: str,
    ) -> None:
        self.environment = dict(environment)
        self.settings: dict[str, str | Sequence[str]] = dict(settings)
        self.profile = profile
        self.compiler = compiler
        self.backend = profile.name if profile else "a backend without a profile"
        # Tools on Windows split a command line like Windows programs, not like a shell.
        self.windows = compiler == "msvc" or sys.platform == "win32"
        self.passed: list[str] = []
        self.compiler_flags: list[Entry] = []
        self.unsupported: list[tuple[str, str]] = []
        """Messages and origins."""
        self._origin: dict[tuple[str, str], str] = {}
        self._supported_origins: set[str] = set()
        self._appended: set[tuple[str, ...]] = set()

    def delivery(self, before: Mapping[str, str]) -> Delivery:
        """The result, with the environment variables that differ from ``before``."""
        # A preset has flags for all languages. It is enough if some flags of a rule reach the backend.
        self.unsupported = [
            (what, at)
            for what, at in self.unsupported
            if not (at.startswith(_PRESET) and at in self._supported_origins)
        ]
        variables = self.environment.items()
        return Delivery(
            environment={name: value for name, value in variables if before.get(name) != value},
            config_settings=self.settings,
            compiler_flags=tuple(self.compiler_flags),
            passed=tuple(self.passed),
            warnings=tuple(f"{what} (from {at})" for what, at in self.unsupported),
        )

    def _method(self, field: str) -> DeliveryMethod:
        if self.profile is None:
            return DeliveryMethod("unsupported" if field == "defines" else "env")
        special = self.profile.delivery_by_compiler.get(self.compiler, {})
        method = special.get(field) or self.profile.delivery.get(field)
        return method or DeliveryMethod("unsupported")

    def flags(self, name: str, entries: Sequence[Entry], *, consumed_by_hooks: bool) -> None:
        """Add flags. If nothing is known to read them, they are set, but reported as unsupported."""
        method = self._method(name)
        texts, origin = " ".join(entry.value for entry in entries), origins(entries)
        if method.via == "unsupported":
            self.unsupported.append((f"{self.backend} does not support {name} {texts!r}", origin))
            return
        if method.via == "hooks" and not consumed_by_hooks:
            # They are set nevertheless: an installed plugin of the backend may compile.
            why = "has no compile step, and the project has no build hook"
            self.unsupported.append((f"{self.backend} {why}: {name} {texts!r}", origin))
        else:
            self._supported_origins.add(origin)
            self.compiler_flags += entries
        formatted = [_format(method, name, entry) for entry in entries]
        if key := _setting_key(method):
            self.append_setting(key, formatted)
            return
        variable = method.variable(name)
        own_optimization = self.profile is not None and self.profile.own_optimization
        if method.via in {"python-env", "hooks"} or (method.via == "env" and not own_optimization):
            if self.compiler == "msvc":
                variable = _MSVC.get(name, variable)
            elif name in {"cflags", "cxxflags"} and variable not in self.environment:
                self._keep_flags_of_python(variable)
        self.append_variable(variable, formatted)

    def _keep_flags_of_python(self, variable: str) -> None:
        """Begin a variable with the flags of the build of Python, which include optimization.

        Otherwise, setuptools would use only CXXFLAGS (since 73) and CFLAGS (since 75.8)
        (distutils/compilers/C/unix.py). Older versions append them, so the flags occur twice.
        """
        flags = sysconfig.get_config_var("CFLAGS") or ""
        if sys.platform == "darwin" and "ARCHFLAGS" in self.environment:
            # As in _osx_support, which does not see variables of rules.
            flags = re.sub(r"-arch\s+\w+\s*", "", flags) + " " + self.environment["ARCHFLAGS"]
        if flags.strip():
            self.environment[variable] = flags.strip()
            self.passed.append(f"{variable} begins with the flags that Python was built with")

    def define(self, name: str, entry: Entry) -> None:
        method = self._method("defines")
        value = _format(method, name, entry)
        key = _setting_key(method)
        if method.via == "unsupported":
            what = f"{self.backend} does not support defines {entry.value!r} for {name!r}"
            self.unsupported.append((what, entry.origin))
        elif not key:
            self.append_variable(method.variable("defines"), [value])
        elif "{name}" in key:
            key = key.replace("{name}", name)
            # scikit-build-core also accepts each key after a tool name, and prefers that one.
            for other in self.settings:
                if other.endswith(f".{key}"):
                    self._refuse_other_values(other, self._listed(other), value)
            self.set_setting(key, value)
        else:
            option = _format(method, name, Entry("", entry.origin)).value
            older = [text for text in self._listed(key) if text.startswith(option)]
            self._refuse_other_values(key, older, value)
            if not older:
                self.append_setting(key, [value])

    def append_variable(self, variable: str, entries: Sequence[Entry]) -> None:
        # Two flag fields may use the same variable (CL). Equal flags are added once.
        mark = (variable, *(entry.value for entry in entries))
        if mark in self._appended:
            return
        self._appended.add(mark)
        added = " ".join(self._word(variable, entry) for entry in entries)
        older = self.environment.get(variable, "").strip()
        self.environment[variable] = f"{older} {added}".strip()
        self.passed.append(f"{variable} += {added}  ({origins(entries)})")

    def set_variable(self, variable: str, entry: Entry) -> None:
        self.environment[variable] = entry.value
        if variable in FLAG_VARIABLES and entry.value.strip():
            self.compiler_flags.append(entry)
        self.passed.append(f"{variable} = {entry.value}  ({entry.origin})")

    def set_setting(self, key: str, entry: Entry) -> None:
        self._refuse_other_values(key, self._listed(key), entry)
        self.settings[key] = entry.value
        self._origin[key, entry.value] = entry.origin
        self.passed.append(f"-C{key}={entry.value}  ({entry.origin})")

    def append_setting(self, key: str, entries: Sequence[Entry]) -> None:
        self.settings[key] = [*self._listed(key), *(entry.value for entry in entries)]
        self._origin |= {(key, entry.value): entry.origin for entry in entries}
        self.passed += [f"-C{key}={entry.value}  ({entry.origin})" for entry in entries]

    def _listed(self, key: str) -> list[str]:
        older = self.settings.get(key, [])
        return [older] if isinstance(older, str) else list(older)

    def _refuse_other_values(self, key: str, older: list[str], entry: Entry) -> None:
        """Raise ConfigError if a setting already has another value."""
        for text in older:
            if text != entry.value:
                origin = self._origin.get((key, text))
                where = f"in {origin}" if origin else "on the command line"
                raise ConfigError(
                    f"config setting {key!r} is {text!r} {where} and {entry.value!r} in {entry.origin}",
                    at=entry.origin,
                    hint="remove one of them",
                )

    def _word(self, variable: str, entry: Entry) -> str:
        """A flag, quoted for the tools that read the variable."""
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


def _setting_key(method: DeliveryMethod) -> str:
    """The key of the config setting that a method uses; empty for other methods."""
    kind, _, key = method.via.partition(":")
    return key if kind == "config-setting" else ""


def _format(method: DeliveryMethod, name: str, entry: Entry) -> Entry:
    texts = {"{name}": name, "{value}": entry.value}
    value = re.sub(r"\{(name|value)\}", lambda match: texts[match[0]], method.format)
    return Entry(value, entry.origin)
