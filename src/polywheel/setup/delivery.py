"""Build setup in the words of the real backend: variables and config settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polywheel.config.selection import ConfigSettings
from polywheel.errors import ConfigError, Problem
from polywheel.model.profile import BackendProfile, Way
from polywheel.model.setup import BuildSetup, Entry

_AS_ENVIRONMENT = Way("env")


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What the real backend is run with."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set, in full: what the user had in them stands in front."""

    config_settings: ConfigSettings = field(default_factory=dict)
    """The user's and ours, merged."""

    told: tuple[str, ...] = ()
    """What was told how, for the log: ``CFLAGS += -O2``."""

    warnings: tuple[str, ...] = ()
    """What this backend can't be told."""


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
    ``strict``, where the backend can't be told something.
    """
    work = _Delivered(dict(environment), dict(settings))
    for name, entries in setup.flags.items():
        way = _way(profile, name, compiler)
        if way.via == "unsupported":
            work.miss(name, entries, profile)
            continue
        if way.via == "hooks" and not consumed_by_hooks:
            work.miss(name, entries, profile, "has no compile step and the project no build hook")
        work.append_variable(way.variable(name), entries)
    for variable, entry in setup.env.items():
        work.set_variable(variable, entry)
    for key, value in setup.config_settings.items():
        if isinstance(value, Entry):
            work.set_setting(key, value)
        else:
            work.append_setting(key, value)
    way = _way(profile, "defines", compiler)
    for name, entry in setup.defines.items():
        if not way.via.startswith("config-setting:"):
            work.miss("defines", (entry,), profile)
        else:
            work.define(way, name, entry)
    if strict and work.missed:
        raise ConfigError.collected(
            Problem(what, at, "strict = true makes this an error") for what, at in work.missed
        )
    return Delivery(
        environment={
            name: value
            for name, value in work.environment.items()
            if environment.get(name) != value
        },
        config_settings=work.settings,
        told=tuple(work.told),
        warnings=tuple(f"{what} (from {at})" for what, at in work.missed),
    )


def _way(profile: BackendProfile | None, name: str, compiler: str) -> Way:
    if profile is None:
        return Way("unsupported") if name == "defines" else _AS_ENVIRONMENT
    special = profile.ways_by_compiler.get(compiler, {})
    return special.get(name) or profile.ways.get(name) or Way("unsupported")


class _Delivered:
    """Environment and config settings as they grow."""

    def __init__(
        self, environment: dict[str, str], settings: dict[str, str | Sequence[str]]
    ) -> None:
        self.environment = environment
        self.settings = settings
        self.told: list[str] = []
        self.missed: list[tuple[str, str]] = []

    def miss(
        self,
        name: str,
        entries: Sequence[Entry],
        profile: BackendProfile | None,
        why: str = "can't be told",
    ) -> None:
        backend = profile.name if profile else "a backend without a profile"
        texts = " ".join(entry.value for entry in entries)
        self.missed.append((f"{backend} {why}: {name} {texts!r}", _origins(entries)))

    def append_variable(self, variable: str, entries: Sequence[Entry]) -> None:
        added = " ".join(_word(variable, entry) for entry in entries)
        older = self.environment.get(variable, "").strip()
        self.environment[variable] = f"{older} {added}".strip()
        self.told.append(f"{variable} += {added}  ({_origins(entries)})")

    def set_variable(self, variable: str, entry: Entry) -> None:
        self.environment[variable] = entry.value
        self.told.append(f"{variable} = {entry.value}  ({entry.origin})")

    def set_setting(self, key: str, entry: Entry) -> None:
        older = self.settings.get(key)
        if older is not None and older != entry.value:
            raise ConfigError(
                f"config setting {key!r} is {older!r} on the command line "
                f"and {entry.value!r} in {entry.origin}",
                at=entry.origin,
                hint="leave one of them out",
            )
        self.settings[key] = entry.value
        self.told.append(f"-C{key}={entry.value}  ({entry.origin})")

    def append_setting(self, key: str, entries: Sequence[Entry]) -> None:
        older = self.settings.get(key, [])
        values = [older] if isinstance(older, str) else list(older)
        self.settings[key] = [*values, *(entry.value for entry in entries)]
        self.told += [f"-C{key}={entry.value}  ({entry.origin})" for entry in entries]

    def define(self, way: Way, name: str, entry: Entry) -> None:
        key = way.via.partition(":")[2]
        value = Entry(_filled(way.format, name, entry.value), entry.origin)
        if "{name}" in key:
            self.set_setting(_filled(key, name, entry.value), value)
        else:
            self.append_setting(key, [value])


def _filled(text: str, name: str, value: str) -> str:
    return re.sub(r"\{(name|value)\}", lambda match: {"name": name, "value": value}[match[1]], text)


def _word(variable: str, entry: Entry) -> str:
    """A flag as one word of a variable."""
    if not re.search(r"\s", entry.value):
        return entry.value
    if variable == "RUSTFLAGS":
        raise ConfigError(
            f"RUSTFLAGS is split at blanks, so {entry.value!r} can't be one flag", at=entry.origin
        )
    return shlex.quote(entry.value)


def _origins(entries: Sequence[Entry]) -> str:
    return ", ".join(dict.fromkeys(entry.origin for entry in entries))
