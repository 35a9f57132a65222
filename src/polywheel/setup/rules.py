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

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement

from polywheel.config.reader import Problems, parse_requirement
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
    with_placeholders,
)
from polywheel.model.variant import Variant, VariantProperty

_REQUIREMENTS = ("requires", "dependencies")


class Strength(IntEnum):
    """Which of several single values for one name is taken: that of the strongest rules."""

    EVERYTHING = 0
    PROPERTY = 1
    LABEL = 2


class SetupAccumulator:
    """Entries in the order in which they are added; :meth:`build_setup` is the setup that they make."""

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
                    f"one item of {name} contains several flags: {text!r}",
                    at=origin,
                    hint=f"the plugin has to return each flag as an item of its own; a rule of the "
                    f"project for {name} takes the place of its answer",
                )
            self._extend(("flags", name), texts, origin)
        else:
            self.notes[f"{origin} returned the unknown key {name!r}, which has no effect"] = None

    def _filled(self, rule: SetupRule, text: str, prop: VariantProperty | None) -> str:
        return self.problems.attempt(fill_placeholders, text, rule, self.variant, prop) or ""

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
            self.notes[f"{name[1]} is not set by {origin}: none of {none_of} exists"] = None
        else:
            self.single.setdefault(name, {}).setdefault(strength, [])

    def _entry(self, text: str, origin: str) -> Entry:
        """A value that may go into an environment, or a problem noted."""
        try:
            if "\0" in text:
                raise ValueError
            text.encode()
        except ValueError:
            self.problems.add(
                f"{text!a} contains a character that an environment variable can't hold", at=origin
            )
        return Entry(text, origin)

    def _requirement(self, text: str, origin: str) -> Entry:
        """A requirement, which must be one also with its placeholders filled in."""
        try:
            parse_requirement(text)
            if not text.isprintable():
                raise InvalidRequirement("it contains an unprintable character")
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            self.problems.add(f"malformed requirement {text!r}: {why}", at=origin)
        return Entry(text, origin)

    def build_setup(self) -> BuildSetup:
        """The setup. Raises ConfigError with every contradiction."""
        single = {name: entry for name in self.single if (entry := self._strongest(name))}
        for name, entry in single.items():
            if self.lists.get(name):
                self.problems.add(
                    f"config setting {name[1]!r} is a list in {_origins(self.lists[name])} "
                    f"and a string in {entry.origin}",
                    at=entry.origin,
                )
        self.problems.raise_all()

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
        return rule.separator.join(_spelling_of(rule, value, spelling) for value in values)

    return with_placeholders(text, fill)


def _spelling_of(rule: SetupRule, value: str, spelling: str) -> str:
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


_Taken = dict[VariantProperty, set[Name]]
"""What has been said already, by property."""

_Choice = tuple[SetupRule, dict[Name, Text], VariantProperty]


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

    environment: Mapping[str, str] | None = None
    """Marker variables (PEP 508) of where the build runs; this interpreter's where there are none."""

    source: Path = Path()
    """The project: relative candidates of a variable are looked for there."""


def merge_rules(variant: Variant, sources: SetupSources) -> BuildSetup:
    """The build setup of a variant. Raises ConfigError where sources contradict each other."""
    accumulator = SetupAccumulator(variant, sources.source)
    here = sources.environment
    rules = [rule for rule in sources.rules if _applies(rule, here)]
    presets = [rule for one in sources.presets for rule in one.rules if _applies(rule, here)]
    for rule in rules:
        if not rule.target and rule.label_glob is None:
            accumulator.add(rule, _said(rule, sources), None, Strength.EVERYTHING)
    silent: list[VariantProperty] = []
    for namespace in _lowest_first(variant, sources):
        properties = [prop for prop in variant.properties if prop.namespace == namespace]
        taken: _Taken = {prop: set() for prop in properties}
        # Chosen from the strongest source to the weakest, added the other way round.
        from_rules = _chosen(rules, sources, taken)
        from_provider = list(_answered(_readable_answer(sources, namespace, accumulator), taken))
        from_presets = _chosen(presets, sources, taken)
        for rule, said, prop in from_presets:
            accumulator.add(rule, said, prop, Strength.PROPERTY)
        for name, texts in from_provider:
            accumulator.add_answer(namespace, name, texts)
        for rule, said, prop in from_rules:
            accumulator.add(rule, said, prop, Strength.PROPERTY)
        silent += [
            prop for prop, names in taken.items() if not names and not is_intended(prop, rules)
        ]
    for rule in rules:
        if rule.label_glob is not None and fnmatchcase(variant.label, rule.label_glob):
            accumulator.add(rule, _said(rule, sources), None, Strength.LABEL)
            silent = []
    for prop in silent:
        what = f"no rule, provider, or preset has build setup for '{prop}'"
        accumulator.notes[what] = None
    return accumulator.build_setup()


def _lowest_first(variant: Variant, sources: SetupSources) -> list[str]:
    """The variant's namespaces by priority, highest last; those without one come first."""
    listed = [name for name in reversed(sources.namespaces) if name in variant.namespaces]
    return sorted(variant.namespaces.difference(listed)) + listed


def _applies(rule: SetupRule, environment: Mapping[str, str] | None) -> bool:
    if rule.when is None:
        return True
    try:
        return Marker(rule.when).evaluate(dict(environment) if environment else None)
    except ValueError as error:  # a comparison that has no meaning, such as os_name ~= "posix"
        raise ConfigError(
            f"the marker {rule.when!r} can't be evaluated: {error}", at=f"{rule.at}.when"
        ) from None


def _said(rule: SetupRule, sources: SetupSources) -> dict[Name, Text]:
    """What a rule says for this compiler and this backend; the backend's word is the strongest."""
    said = rule.fields.by_name()
    if rule.by_compiler and sources.compiler in rule.by_compiler:
        said |= rule.by_compiler[sources.compiler].by_name()
    if sources.backend is not None and sources.backend in rule.by_backend:
        said |= rule.by_backend[sources.backend].by_name()
    return said


def is_intended(prop: VariantProperty, rules: Iterable[SetupRule]) -> bool:
    """Whether a rule without fields says that a property changes nothing in the build."""
    return any(rule.is_empty and rule.is_about(prop) for rule in rules)


def _chosen(rules: Iterable[SetupRule], sources: SetupSources, taken: _Taken) -> list[_Choice]:
    """What each rule says of each property that nothing before it has said; ``taken`` grows."""
    found = []
    rules = list(rules)
    for prop, names in taken.items():
        about = [one for one in rules if one.is_about(prop)]
        for rule in sorted(about, key=lambda one: len(one.target), reverse=True):
            said = _said(rule, sources)
            found.append((rule, {n: text for n, text in said.items() if n not in names}, prop))
            names.update(said)
    return found


def _readable_answer(
    sources: SetupSources, namespace: str, accumulator: SetupAccumulator
) -> PluginAnswer | None:
    """A provider's answer without what the compiler can't read: plugins know GNU's spelling only."""
    answer = sources.answers.get(namespace)
    if answer is None or sources.compiler != "msvc":
        return answer

    def readable(setup: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        found = {}
        for name, texts in setup.items():
            kept = tuple(text for text in texts if not text.startswith(("-m", "-f")))
            if kept:
                found[name] = kept
            for text in set(texts).difference(kept):
                what = f"provider {namespace} says {text!r}, which MSVC does not know: ignored"
                accumulator.notes[what] = None
        return found

    return replace(
        answer,
        setup=readable(answer.setup),
        setup_each={prop: readable(setup) for prop, setup in answer.setup_each.items()},
    )


def _answered(answer: PluginAnswer | None, taken: _Taken) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A provider's flag lists by name: its joint answer, or one a property where rules are first.

    ``taken`` grows by what the provider says of each property; by all that it says of them together
    where it says that of none alone.
    """
    if answer is None:
        return
    each = {prop: answer.setup_each.get(prop, {}) for prop in taken}
    if any(field == "flags" for names in taken.values() for field, _ in names):
        for prop, names in taken.items():
            yield from (
                (name, texts) for name, texts in each[prop].items() if ("flags", name) not in names
            )
        together = set[str]()
    else:
        yield from answer.setup.items()
        together = set(answer.setup).difference(*each.values())
    for prop, names in taken.items():
        names.update(("flags", name) for name in (*each[prop], *together))
