"""From rules, provider answers and presets to the build setup of one variant.

Precedence, for each property and each field: the project's rules, then what the property's
provider says, then the presets that the project named; within one of them the more specific rule.
Rules for ``*`` come before all properties, rules for a label after them. Lists are appended in
namespace priority order, highest last, so that it wins on a compiler's command line. Two different
values for one variable, key or define are an error, unless one rule is for ``*`` or a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from packaging.markers import Marker

from polywheel.errors import ConfigError, Problem
from polywheel.model.answers import PluginAnswer
from polywheel.model.properties import VariantProperty
from polywheel.model.setup import (
    FLAG_FIELDS,
    BuildSetup,
    Entry,
    Preset,
    SetupFields,
    SetupRule,
    Text,
)
from polywheel.model.variant import Variant

T = TypeVar("T")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_EVERYTHING, _PROPERTY, _LABEL = range(3)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupSources:
    """Everything that build setup is made of."""

    rules: Sequence[SetupRule] = ()
    presets: Sequence[Preset] = ()
    answers: Mapping[str, PluginAnswer] = field(default_factory=dict)
    """By namespace; empty as long as no plugin was asked."""

    namespaces: Sequence[str] = ()
    """In priority order, highest first."""

    compiler: str = "gnu"
    backend: str | None = None
    """The name of the real backend's profile."""

    source: Path = Path()
    """The project: relative candidates of a variable are looked for there."""


def resolve_setup(variant: Variant, sources: SetupSources) -> BuildSetup:
    """The build setup of a variant. Raises ConfigError where sources contradict each other."""
    gathered = _Gathered(variant, sources)
    rules = [rule for rule in sources.rules if _applies(rule)]
    for rule in rules:
        if not rule.target and rule.label_glob is None:
            gathered.add(rule, _all(rule, sources), None, _EVERYTHING)
    for namespace in _lowest_first(variant, sources):
        properties = [prop for prop in variant.properties if prop.namespace == namespace]
        gathered.add_namespace(namespace, properties, rules)
    for rule in rules:
        if rule.label_glob is not None and fnmatchcase(variant.label, rule.label_glob):
            gathered.add(rule, _all(rule, sources), None, _LABEL)
    return gathered.settled()


def _lowest_first(variant: Variant, sources: SetupSources) -> list[str]:
    """The variant's namespaces by priority, highest last; those without one come first."""
    listed = [name for name in reversed(sources.namespaces) if name in variant.namespaces]
    return sorted(variant.namespaces.difference(listed)) + listed


def _applies(rule: SetupRule) -> bool:
    return rule.when is None or Marker(rule.when).evaluate()


def _matching(rules: Iterable[SetupRule], prop: VariantProperty) -> list[SetupRule]:
    """The rules for a property, most specific first."""
    parts = (prop.namespace, prop.feature, prop.value)
    found = [rule for rule in rules if rule.target and parts[: len(rule.target)] == rule.target]
    return sorted(found, key=lambda rule: len(rule.target), reverse=True)


def _all(rule: SetupRule, sources: SetupSources) -> SetupFields:
    """What a rule says for this compiler and this backend; the backend's word is the stronger."""
    fields = rule.fields
    for special in (
        rule.by_compiler.get(sources.compiler),
        rule.by_backend.get(sources.backend) if sources.backend else None,
    ):
        if special is not None:
            fields = SetupFields(
                flags={**fields.flags, **special.flags},
                env={**fields.env, **special.env},
                config_settings={**fields.config_settings, **special.config_settings},
                defines={**fields.defines, **special.defines},
                requires=fields.requires if special.requires is None else special.requires,
                dependencies=(
                    fields.dependencies if special.dependencies is None else special.dependencies
                ),
            )
    return fields


def _said(fields: SetupFields) -> set[tuple[str, str]]:
    """What the fields say something about, as ``(field, name)``."""
    said = {("flags", name) for name in fields.flags}
    said |= {("env", name) for name in fields.env}
    said |= {("config-settings", name) for name in fields.config_settings}
    said |= {("defines", name) for name in fields.defines}
    said |= {("requires", "")} if fields.requires is not None else set()
    said |= {("dependencies", "")} if fields.dependencies is not None else set()
    return said


def _without(fields: SetupFields, taken: set[tuple[str, str]]) -> SetupFields:
    def left(kind: str, values: Mapping[str, T]) -> dict[str, T]:
        return {name: value for name, value in values.items() if (kind, name) not in taken}

    return replace(
        fields,
        flags=left("flags", fields.flags),
        env=left("env", fields.env),
        config_settings=left("config-settings", fields.config_settings),
        defines=left("defines", fields.defines),
        requires=None if ("requires", "") in taken else fields.requires,
        dependencies=None if ("dependencies", "") in taken else fields.dependencies,
    )


class _Gathered:
    """Entries found so far, and what contradicts them."""

    def __init__(self, variant: Variant, sources: SetupSources) -> None:
        self.variant = variant
        self.sources = sources
        self.flags: dict[str, list[Entry]] = {}
        self.lists: dict[str, list[Entry]] = {}
        self.requires: list[Entry] = []
        self.dependencies: list[Entry] = []
        self.scalars: dict[tuple[str, str], tuple[int, Entry]] = {}
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self._seen: set[tuple[str, str, tuple[str, ...]]] = set()

    def add_namespace(
        self, namespace: str, properties: list[VariantProperty], rules: list[SetupRule]
    ) -> None:
        taken = {prop: set[tuple[str, str]]() for prop in properties}
        chosen: list[tuple[SetupRule, SetupFields, VariantProperty]] = []
        for prop in properties:
            chosen += self._choose(_matching(rules, prop), prop, taken[prop])
        self._add_answer(namespace, properties, taken)
        presets = [rule for preset in self.sources.presets for rule in preset.rules]
        for prop in properties:
            chosen += self._choose(_matching(filter(_applies, presets), prop), prop, taken[prop])
        for rule, fields, prop in chosen:
            self.add(rule, fields, prop, _PROPERTY)

    def _choose(
        self, rules: list[SetupRule], prop: VariantProperty, taken: set[tuple[str, str]]
    ) -> Iterator[tuple[SetupRule, SetupFields, VariantProperty]]:
        """What each rule says that no more specific one has said; ``taken`` grows by it."""
        for rule in rules:
            fields = _all(rule, self.sources)
            yield rule, _without(fields, taken), prop
            taken |= _said(fields)

    def _add_answer(
        self,
        namespace: str,
        properties: list[VariantProperty],
        taken: dict[VariantProperty, set[tuple[str, str]]],
    ) -> None:
        """A provider's flags: its joint answer, or one a property where rules stand before it."""
        answer = self.sources.answers.get(namespace)
        if answer is None:
            return
        origin = f"provider {namespace} (get_build_setup)"
        ruled = any(kind == "flags" for said in taken.values() for kind, _ in said)
        said = [answer.setup_each.get(prop, {}) for prop in properties] if ruled else [answer.setup]
        for number, setup in enumerate(said):
            for name, values in setup.items():
                if name not in FLAG_FIELDS:
                    self._note(f"{origin} returned the unknown key {name!r}, which has no effect")
                elif not ruled or ("flags", name) not in taken[properties[number]]:
                    self.flags.setdefault(name, []).extend(Entry(text, origin) for text in values)
        for prop in properties:
            taken[prop] |= {("flags", name) for name in answer.setup_each.get(prop, {})}

    def add(
        self, rule: SetupRule, fields: SetupFields, prop: VariantProperty | None, rank: int
    ) -> None:
        """Add what a rule says, placeholders filled in; the same text of one rule counts once."""
        for name, texts in fields.flags.items():
            self._extend(self.flags.setdefault(name, []), rule, name, texts, prop)
        for name, text in fields.env.items():
            self._set_variable(rule, name, text, prop, rank)
        for name, value in fields.config_settings.items():
            if isinstance(value, str):
                self._set("config-settings", name, self._entry(rule, value, prop), rank)
            else:
                self._extend(self.lists.setdefault(name, []), rule, name, value, prop)
        for name, value in fields.defines.items():
            self._set("defines", name, self._entry(rule, value, prop), rank)
        for kept, wanted in (
            (self.requires, fields.requires),
            (self.dependencies, fields.dependencies),
        ):
            known = {entry.value for entry in kept}
            kept += [Entry(text, rule.at) for text in wanted or () if text not in known]

    def _extend(
        self,
        entries: list[Entry],
        rule: SetupRule,
        name: str,
        texts: Iterable[str],
        prop: VariantProperty | None,
    ) -> None:
        """Append a rule's list; once where it comes out the same for several properties."""
        filled = tuple(self._filled(rule, text, prop) for text in texts)
        if (rule.at, name, filled) not in self._seen:
            self._seen.add((rule.at, name, filled))
            entries += [Entry(text, rule.at) for text in filled]

    def _entry(self, rule: SetupRule, text: str, prop: VariantProperty | None) -> Entry:
        return Entry(self._filled(rule, text, prop), rule.at)

    def _filled(self, rule: SetupRule, text: str, prop: VariantProperty | None) -> str:
        def fill(match: re.Match[str]) -> str:
            kind, _, spelling = match[1].partition(".")
            if kind == "label" or prop is None:
                return self.variant.label
            if kind in {"namespace", "feature"}:
                return str(getattr(prop, kind))
            values = [
                other.value
                for other in self.variant.properties
                if kind == "values"
                and (other.namespace, other.feature) == (prop.namespace, prop.feature)
            ] or [prop.value]
            return rule.separator.join(self._spelled(rule, value, spelling) for value in values)

        return _PLACEHOLDER.sub(fill, text)

    def _spelled(self, rule: SetupRule, value: str, spelling: str) -> str:
        if not spelling:
            return value
        spelled = rule.spelling.get(spelling, {}).get(value)
        if spelled is None:
            self.problems.append(
                Problem(f"the value {value!r} has no spelling {spelling!r}", f"{rule.at}.spelling")
            )
            return value
        return spelled

    def _set_variable(
        self, rule: SetupRule, name: str, value: Text, prop: VariantProperty | None, rank: int
    ) -> None:
        if isinstance(value, str):
            self._set("env", name, self._entry(rule, value, prop), rank)
            return
        candidates = [self._filled(rule, text, prop) for text in value]
        for candidate in candidates:
            if (self.sources.source / candidate).is_dir():
                self._set("env", name, Entry(candidate, rule.at), rank)
                return
        self._note(f"{name} is not set: there is none of {', '.join(candidates)} ({rule.at})")

    def _set(self, kind: str, name: str, entry: Entry, rank: int) -> None:
        older = self.scalars.get((kind, name))
        if older is None or older[0] < rank:
            self.scalars[kind, name] = (rank, entry)
        elif older[0] == rank and older[1].value != entry.value:
            self.problems.append(
                Problem(
                    f"two values for {kind} {name!r}: {older[1].value!r} from {older[1].origin}, "
                    f"and {entry.value!r} from {entry.origin}",
                    entry.origin,
                    f"let a rule for 'label:{self.variant.label}' decide",
                )
            )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def settled(self) -> BuildSetup:
        for name in self.lists:
            if ("config-settings", name) in self.scalars:
                other = self.scalars["config-settings", name][1]
                self.problems.append(
                    Problem(
                        f"config setting {name!r} is a list in {self.lists[name][0].origin} "
                        f"and a string in {other.origin}",
                        other.origin,
                    )
                )
        if self.problems:
            raise ConfigError.collected(self.problems)

        def scalars(kind: str) -> dict[str, Entry]:
            return {name: e for (k, name), (_, e) in self.scalars.items() if k == kind}

        return BuildSetup(
            flags={name: tuple(self.flags[name]) for name in FLAG_FIELDS if self.flags.get(name)},
            env=scalars("env"),
            config_settings={
                **scalars("config-settings"),
                **{name: tuple(entries) for name, entries in self.lists.items()},
            },
            defines=scalars("defines"),
            requires=tuple(self.requires),
            dependencies=tuple(self.dependencies),
            notes=tuple(self.notes),
        )
