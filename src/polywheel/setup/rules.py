"""Combine rules, provider answers, and presets into the build setup of one variant.

Precedence is per property and per field (one flag list, one variable, one key, one define):

1. The project's rules: value over feature over namespace. The most specific rule that sets a field
   replaces the others, also if its value is an empty list.
2. The answer of the property's provider (get_build_setup). It is asked for all properties of the namespace
   at once if no rule of the project gives flags for one of them, else for each property on its own.
3. The presets that the project names; again the most specific rule.

Rules for ``*`` and for labels are not about properties and apply once. Values of ``*`` come first in lists
and are the weakest single values. Values of a label's rule come last in lists and are the strongest
single values.

Lists are appended in namespace priority order, highest last, so that the highest wins on a compiler's
command line. Within a namespace the order is presets, provider, rules, for the same reason. A list that is
equal for several properties of one rule counts once. Two different single values of the same strength
are an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path

from polywheel.config.reader import Problems, evaluate_marker, process_text, requirement
from polywheel.config.setup_table import holds_several_flags
from polywheel.errors import ConfigError
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.setup import (
    FLAG_FIELDS,
    BuildSetup,
    Entry,
    Name,
    Preset,
    SetupRule,
    Text,
    origins,
    with_placeholders,
)
from polywheel.model.variant import Variant, VariantProperty

_REQUIREMENTS = ("requires", "dependencies")


class Strength(IntEnum):
    """The strength of single values. If several rules set a name, the strongest one is used."""

    EVERYTHING = 0
    PROPERTY = 1
    LABEL = 2


class SetupAccumulator:
    """Collects entries in order. :meth:`build_setup` returns the setup."""

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
        values: Mapping[Name, Text],
        prop: VariantProperty | None,
        strength: Strength,
    ) -> None:
        """Add values of a rule, with placeholders filled for a property, or only for the label."""

        def fill(text: str) -> str:
            filled = self.problems.attempt(fill_placeholders, text, rule, self.variant, prop)
            return filled or ""

        for name, value in values.items():
            if isinstance(value, str):
                self._set(name, fill(value), rule.at, strength)
            elif name[0] == "env":
                self._set_to_folder(name, tuple(map(fill, value)), rule.at, strength)
            else:
                self._extend(name, tuple(map(fill, value)), rule.at)

    def add_answer(self, namespace: str, name: str, texts: tuple[str, ...]) -> None:
        """Add one list of a provider's build setup."""
        origin = f"provider {namespace} (get_build_setup)"
        if name not in FLAG_FIELDS:
            self.notes[f"{origin} returned the unknown key {name!r}, which has no effect"] = None
            return
        for text in filter(holds_several_flags, texts):
            self.problems.add(
                f"one item of {name} contains several flags: {text!r}",
                at=origin,
                hint="the plugin must return each flag as a separate item; a rule of the project "
                f"for {name} replaces its answer",
            )
        self._extend(("flags", name), texts, origin)

    def _extend(self, name: Name, texts: tuple[str, ...], origin: str) -> None:
        """Append a list. A list that is equal for several properties of one rule is appended once."""
        if (origin, name, texts) in self._seen:
            return
        self._seen.add((origin, name, texts))
        entries = self.lists.setdefault(name, [])
        for text in texts:
            if name[0] in _REQUIREMENTS:
                if all(text != entry.value for entry in entries):
                    # Only now are its placeholders filled.
                    self.problems.attempt(requirement, text, at=origin)
                    entries.append(Entry(text, origin))
            elif text or name[0] != "flags":
                entries.append(self._entry(text, origin))

    def _set(self, name: Name, text: str, origin: str, strength: Strength) -> None:
        entries = self.single.setdefault(name, {}).setdefault(strength, [])
        if all(text != entry.value for entry in entries):
            entries.append(self._entry(text, origin))

    def _set_to_folder(
        self, name: Name, folders: tuple[str, ...], origin: str, strength: Strength
    ) -> None:
        """Set a variable to the first existing folder. An empty list leaves the variable unchanged.

        The path is absolute, because compilers do not run in the folder of the project.
        """
        for folder in folders:
            path = os.path.join(self.source, folder)
            if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises if a folder is not readable
                self._set(name, path, origin, strength)
                return
        if folders:
            listed = ", ".join(folders)
            self.notes[f"{name[1]} is not set by {origin}: none of {listed} exists"] = None
        else:
            self.single.setdefault(name, {}).setdefault(strength, [])

    def _entry(self, text: str, origin: str) -> Entry:
        """An entry. A text that can't be put into an environment variable is a problem."""
        self.problems.attempt(process_text, text, at=origin)
        return Entry(text, origin)

    def build_setup(self) -> BuildSetup:
        """The setup. Raises ConfigError with all contradictions."""
        single = {name: entry for name in self.single if (entry := self._strongest(name))}
        for name, entry in single.items():
            if self.lists.get(name):
                self.problems.add(
                    f"config setting {name[1]!r} is a list in {origins(self.lists[name])} "
                    f"and a string in {entry.origin}",
                    at=entry.origin,
                )
        self.problems.raise_all()
        strings: dict[str, dict[str, Entry]] = {}
        for (kind, key), entry in single.items():
            strings.setdefault(kind, {})[key] = entry
        lists: dict[str, dict[str, tuple[Entry, ...]]] = {}
        for (kind, key), entries in self.lists.items():
            if entries:
                lists.setdefault(kind, {})[key] = tuple(entries)
        flags = lists.get("flags", {})
        return BuildSetup(
            flags={name: flags[name] for name in FLAG_FIELDS if name in flags},
            env=strings.get("env", {}),
            config_settings={
                **strings.get("config-settings", {}),
                **lists.get("config-settings", {}),
            },
            defines=strings.get("defines", {}),
            requires=lists.get("requires", {}).get("", ()),
            dependencies=lists.get("dependencies", {}).get("", ()),
            notes=tuple(self.notes),
        )

    def _strongest(self, name: Name) -> Entry | None:
        """The value of the strongest rules. Several different values are a problem."""
        strength = max(self.single[name])
        entries = self.single[name][strength]
        for other in entries[1:]:
            first = entries[0]
            if other.origin == first.origin:
                hint = "{values} contains all values of a feature"
            elif strength < Strength.LABEL:
                hint = f"add a rule for 'label:{self.variant.label}'"
            else:
                hint = "remove one of them"
            self.problems.add(
                f"two values for {name[0]} {name[1]!r}: {first.value!r} from {first.origin}, "
                f"and {other.value!r} from {other.origin}",
                at=other.origin,
                hint=hint,
            )
        return entries[0] if entries else None


def fill_placeholders(
    text: str, rule: SetupRule, variant: Variant, prop: VariantProperty | None
) -> str:
    """A text of a rule with placeholders filled for a property, or only for the label.

    Raises ConfigError for a value without the requested spelling.
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
            values = [other.value for other in every if (other.namespace, other.feature) == feature]
        if spelling:
            spellings = rule.spelling.get(spelling, {})
            for value in values:
                if value not in spellings:
                    what = f"the value {value!r} has no spelling {spelling!r}"
                    raise ConfigError(what, at=f"{rule.at}.spelling")
            values = [spellings[value] for value in values]
        return rule.separator.join(values)

    return with_placeholders(text, fill)


_Names = dict[VariantProperty, set[Name]]
"""The names that rules and answers have set so far, by property."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupSources:
    """The sources of build setup."""

    rules: Sequence[SetupRule] = ()
    presets: Sequence[Preset] = ()
    answers: Mapping[str, PluginAnswer] = field(default_factory=dict)
    """By namespace; empty if no plugin was asked."""

    namespaces: Sequence[str] = ()
    """In priority order, highest first."""

    compiler: str = "gnu"
    backend: str | None = None
    """The name of the real backend's profile."""

    environment: Mapping[str, str] | None = None
    """Marker variables (PEP 508) of the machine that builds. The default is this interpreter."""

    source: Path = Path()
    """The folder of the project, for relative folders in variables."""


def merge_rules(variant: Variant, sources: SetupSources) -> BuildSetup:
    """The build setup of a variant. Raises ConfigError if the sources contradict each other."""
    accumulator = SetupAccumulator(variant, sources.source)
    here = sources.environment
    rules = [rule for rule in sources.rules if _applies(rule, here)]
    presets = [rule for preset in sources.presets for rule in preset.rules if _applies(rule, here)]
    for rule in rules:
        if not rule.target and rule.label_glob is None:
            accumulator.add(rule, _values(rule, sources), None, Strength.EVERYTHING)
    without_setup: list[VariantProperty] = []
    for namespace in _lowest_first(variant, sources):
        names: _Names = {prop: set() for prop in variant.properties if prop.namespace == namespace}
        # The strongest source sets names first. Entries are added in the opposite order.
        from_rules = _choose(rules, sources, names)
        answer = _readable_answer(sources, namespace, accumulator.notes)
        from_provider = list(_choose_flags(answer, names)) if answer else []
        from_presets = _choose(presets, sources, names)
        for rule, values, prop in from_presets:
            accumulator.add(rule, values, prop, Strength.PROPERTY)
        for name, texts in from_provider:
            accumulator.add_answer(namespace, name, texts)
        for rule, values, prop in from_rules:
            accumulator.add(rule, values, prop, Strength.PROPERTY)
        without_setup += [
            prop for prop in names if not names[prop] and not is_intended(prop, rules)
        ]
    for rule in rules:
        if rule.label_glob is not None and fnmatchcase(variant.label, rule.label_glob):
            accumulator.add(rule, _values(rule, sources), None, Strength.LABEL)
            without_setup = []
    for prop in without_setup:
        what = f"no rule, provider, or preset has build setup for '{prop}'"
        accumulator.notes[what] = None
    return accumulator.build_setup()


def _lowest_first(variant: Variant, sources: SetupSources) -> list[str]:
    """The namespaces of a variant: those without priority, then by priority, highest last."""
    listed = [name for name in reversed(sources.namespaces) if name in variant.namespaces]
    return sorted(variant.namespaces.difference(listed)) + listed


def _applies(rule: SetupRule, environment: Mapping[str, str] | None) -> bool:
    return rule.when is None or evaluate_marker(rule.when, environment, at=f"{rule.at}.when")


def _values(rule: SetupRule, sources: SetupSources) -> dict[Name, Text]:
    """The values of a rule for this compiler and backend. Values for the backend win."""
    values = rule.fields.by_name()
    if fields := rule.by_compiler.get(sources.compiler):
        values |= fields.by_name()
    if sources.backend is not None and (fields := rule.by_backend.get(sources.backend)):
        values |= fields.by_name()
    return values


def is_intended(prop: VariantProperty, rules: Iterable[SetupRule]) -> bool:
    """Whether a rule without fields declares that a property has no build setup."""
    return any(rule.is_empty and rule.is_about(prop) for rule in rules)


def _choose(
    rules: Sequence[SetupRule], sources: SetupSources, names: _Names
) -> list[tuple[SetupRule, dict[Name, Text], VariantProperty]]:
    """The values of rules whose names are not set yet, by property. The names are added to ``names``."""
    choices = []
    for prop, names_of_property in names.items():
        matching = [rule for rule in rules if rule.is_about(prop)]
        for rule in sorted(matching, key=lambda rule: len(rule.target), reverse=True):
            values = _values(rule, sources)
            new = {name: values[name] for name in values if name not in names_of_property}
            choices.append((rule, new, prop))
            names_of_property.update(values)
    return choices


def _readable_answer(
    sources: SetupSources, namespace: str, notes: dict[str, None]
) -> PluginAnswer | None:
    """A provider's answer without flags that MSVC can't read. Plugins return flags for GCC."""
    answer = sources.answers.get(namespace)
    if answer is None or sources.compiler != "msvc":
        return answer

    def readable(setup: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        kept = {}
        for name, texts in setup.items():
            kept[name] = tuple(text for text in texts if not text.startswith(("-m", "-f")))
            for text in set(texts).difference(kept[name]):
                what = (
                    f"provider {namespace} returned {text!r}, which MSVC does not support: ignored"
                )
                notes[what] = None
        return {name: texts for name, texts in kept.items() if texts}

    return replace(
        answer,
        setup=readable(answer.setup),
        setup_each={prop: readable(setup) for prop, setup in answer.setup_each.items()},
    )


def _choose_flags(answer: PluginAnswer, names: _Names) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The flag lists of a provider: for all properties together, or for each if rules set flags.

    The names are added to ``names``: those of the answer for each property, and for all properties those that are
    only in the answer for all.
    """
    each = {prop: answer.setup_each.get(prop, {}) for prop in names}
    together = set[str]()
    if any(field == "flags" for keys in names.values() for field, _ in keys):
        for prop, keys in names.items():
            yield from (item for item in each[prop].items() if ("flags", item[0]) not in keys)
    else:
        yield from answer.setup.items()
        together = set(answer.setup).difference(*each.values())
    for prop, keys in names.items():
        keys.update(("flags", name) for name in (*each[prop], *together))
