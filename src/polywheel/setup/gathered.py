"""The build setup of a variant as it grows, entry by entry, and what contradicts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from packaging.requirements import InvalidRequirement

from polywheel.config.checks import parse_requirement
from polywheel.config.reader import Problems
from polywheel.config.setup_table import holds_several_flags
from polywheel.errors import ConfigError
from polywheel.model.properties import VariantProperty
from polywheel.model.setup import (
    FLAG_FIELDS,
    BuildSetup,
    Entry,
    Name,
    SetupRule,
    Text,
    with_placeholders,
)
from polywheel.model.variant import Variant

_REQUIREMENTS = ("requires", "dependencies")


class Strength(IntEnum):
    """Which of several single values for one name is taken: that of the strongest rules."""

    EVERYTHING = 0
    PROPERTY = 1
    LABEL = 2


class Gathered:
    """Entries in the order in which they are added; :meth:`settled` is the setup that they make."""

    def __init__(self, variant: Variant, source: Path) -> None:
        self.variant = variant
        self.source = source
        self.lists: dict[Name, list[Entry]] = {}
        self.single: dict[Name, dict[Strength, list[Entry]]] = {}
        self.notes: dict[str, None] = {}
        self.problems = Problems()
        self._seen: set[tuple[str, Name, tuple[str, ...]]] = set()

    def add(
        self,
        rule: SetupRule,
        said: dict[Name, Text],
        prop: VariantProperty | None,
        strength: Strength,
    ) -> None:
        """Add what a rule says, placeholders filled in for a property (None: for the label)."""
        for name, value in said.items():
            if isinstance(value, str):
                self._set(name, self._filled(rule, value, prop), rule.at, strength)
                continue
            texts = tuple(self._filled(rule, text, prop) for text in value)
            if name[0] == "env":
                self._set_to_folder(name, texts, rule.at, strength)
            else:
                self._extend(name, texts, rule.at)

    def add_answer(self, namespace: str, name: str, texts: tuple[str, ...]) -> None:
        """Add one list of a provider's build setup."""
        origin = f"provider {namespace} (get_build_setup)"
        if name in FLAG_FIELDS:
            for text in filter(holds_several_flags, texts):
                self.problems.add(
                    f"one item of {name} holds several flags: {text!r}",
                    at=origin,
                    hint=f"the plugin has to return each flag as an item of its own; a rule of the "
                    f"project for {name} takes the place of its answer",
                )
            self._extend(("flags", name), texts, origin)
        else:
            self.notes[f"{origin} returned the unknown key {name!r}, which has no effect"] = None

    def _filled(self, rule: SetupRule, text: str, prop: VariantProperty | None) -> str:
        return self.problems.attempt(filled, text, rule, self.variant, prop) or ""

    def _extend(self, name: Name, texts: tuple[str, ...], origin: str) -> None:
        """Append a list; once where it comes out the same for several properties."""
        if (origin, name, texts) in self._seen:
            return
        self._seen.add((origin, name, texts))
        entries = self.lists.setdefault(name, [])
        for text in texts:
            if name[0] in _REQUIREMENTS:
                if all(text != entry.value for entry in entries):
                    entries.append(self._requirement(text, origin))
            elif text or name[0] != "flags":
                entries.append(self._entry(text, origin))

    def _set(self, name: Name, text: str, origin: str, strength: Strength) -> None:
        entries = self.single.setdefault(name, {}).setdefault(strength, [])
        if all(text != entry.value for entry in entries):
            entries.append(self._entry(text, origin))

    def _set_to_folder(
        self, name: Name, candidates: tuple[str, ...], origin: str, strength: Strength
    ) -> None:
        """Set a variable to the first folder that exists; without candidates, leave it alone.

        The path is absolute: compilers run elsewhere than in the project.
        """
        for candidate in candidates:
            path = os.path.join(self.source, candidate)
            if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises on folders that are closed
                self._set(name, path, origin, strength)
                return
        if candidates:
            none_of = ", ".join(candidates)
            self.notes[f"{name[1]} is not set by {origin}: there is none of {none_of}"] = None
        else:
            self.single.setdefault(name, {}).setdefault(strength, [])

    def _entry(self, text: str, origin: str) -> Entry:
        """A value that may go into an environment, or a problem noted."""
        try:
            if "\0" in text:
                raise ValueError
            text.encode()
        except ValueError:
            self.problems.add(f"{text!a} holds a character that no program can be told", at=origin)
        return Entry(text, origin)

    def _requirement(self, text: str, origin: str) -> Entry:
        """A requirement, which must be one also with its placeholders filled in."""
        try:
            parse_requirement(text)
            if not text.isprintable():
                raise InvalidRequirement("it holds a character that can't be printed")
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            self.problems.add(f"malformed requirement {text!r}: {why}", at=origin)
        return Entry(text, origin)

    def settled(self) -> BuildSetup:
        """The setup. Raises ConfigError with every contradiction."""
        single = {name: entry for name in self.single if (entry := self._strongest(name))}
        for name, entry in single.items():
            if self.lists.get(name):
                self.problems.add(
                    f"config setting {name[1]!r} is a list in {_origins(self.lists[name])} "
                    f"and a string in {entry.origin}",
                    at=entry.origin,
                )
        self.problems.settle()

        def named(field: str) -> dict[str, Entry]:
            return {name: entry for (kind, name), entry in single.items() if kind == field}

        def listed(field: str) -> dict[str, tuple[Entry, ...]]:
            return {
                name: tuple(entries)
                for (kind, name), entries in self.lists.items()
                if kind == field and entries
            }

        flags = listed("flags")
        return BuildSetup(
            flags={name: flags[name] for name in FLAG_FIELDS if name in flags},
            env=named("env"),
            config_settings={**named("config-settings"), **listed("config-settings")},
            defines=named("defines"),
            requires=listed("requires").get("", ()),
            dependencies=listed("dependencies").get("", ()),
            notes=tuple(self.notes),
        )

    def _strongest(self, name: Name) -> Entry | None:
        """The value of the strongest rules; a problem is noted where they give several."""
        strength = max(self.single[name])
        entries = self.single[name][strength]
        for other in entries[1:]:
            first = entries[0]
            if other.origin == first.origin:
                hint = "{values} holds all values of a feature"
            elif strength < Strength.LABEL:
                hint = f"let a rule for 'label:{self.variant.label}' decide"
            else:
                hint = "let one of them decide"
            self.problems.add(
                f"two values for {name[0]} {name[1]!r}: {first.value!r} from {first.origin}, "
                f"and {other.value!r} from {other.origin}",
                at=other.origin,
                hint=hint,
            )
        return entries[0] if entries else None


def filled(text: str, rule: SetupRule, variant: Variant, prop: VariantProperty | None) -> str:
    """A rule's text with its placeholders filled in for a property, or for the label alone.

    Raises ConfigError for a value that has no spelling of the name that is asked for.
    """

    def fill(placeholder: str) -> str:
        kind, _, spelling = placeholder.partition(".")
        if kind == "label" or prop is None:
            return variant.label
        if kind in {"namespace", "feature"}:
            return prop.namespace if kind == "namespace" else prop.feature
        values = [prop.value]
        if kind == "values":
            feature = (prop.namespace, prop.feature)
            every = variant.properties
            values = [one.value for one in every if (one.namespace, one.feature) == feature]
        return rule.separator.join(_spelled(rule, value, spelling) for value in values)

    return with_placeholders(text, fill)


def _spelled(rule: SetupRule, value: str, spelling: str) -> str:
    if not spelling:
        return value
    try:
        return rule.spelling[spelling][value]
    except KeyError:
        raise ConfigError(
            f"the value {value!r} has no spelling {spelling!r}", at=f"{rule.at}.spelling"
        ) from None


def _origins(entries: Iterable[Entry]) -> str:
    return ", ".join(dict.fromkeys(entry.origin for entry in entries))
