"""From rules, provider answers and presets to the build setup of one variant.

Precedence is per property and per field (one flag list, one variable, one key, one define):

1. the project's rules: value over feature over namespace. The most specific rule that says something
   of a field takes the place of the others, also where what it says is an empty list;
2. what the property's provider says (get_build_setup). It is asked for all properties of the namespace
   at once where no rule of the project gives flags for one of them, else for each by itself;
3. the presets that the project named, again the most specific rule.

Rules for ``*`` and for labels are not about properties and apply once: what ``*`` says stands in front
of every list and is the weakest of single values, what a label's rule says stands at the end of lists
and is the strongest of single values.

Lists are appended in namespace priority order, highest last, so that it wins on a compiler's command
line, and within a namespace in the order presets, provider, rules for the same reason. A list that
comes out equal for several properties of one rule counts once. Two different single values of the
same strength are an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.markers import Marker

from polywheel.errors import ConfigError
from polywheel.model.answers import PluginAnswer
from polywheel.model.properties import VariantProperty
from polywheel.model.setup import BuildSetup, Name, Preset, SetupRule, Text
from polywheel.model.variant import Variant
from polywheel.setup.gathered import Gathered, Strength

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


def resolve_setup(variant: Variant, sources: SetupSources) -> BuildSetup:
    """The build setup of a variant. Raises ConfigError where sources contradict each other."""
    gathered = Gathered(variant, sources.source)
    here = sources.environment
    rules = [rule for rule in sources.rules if _applies(rule, here)]
    presets = [rule for one in sources.presets for rule in one.rules if _applies(rule, here)]
    for rule in rules:
        if not rule.target and rule.label_glob is None:
            gathered.add(rule, _said(rule, sources), None, Strength.EVERYTHING)
    silent: list[VariantProperty] = []
    for namespace in _lowest_first(variant, sources):
        properties = [prop for prop in variant.properties if prop.namespace == namespace]
        taken: _Taken = {prop: set() for prop in properties}
        # Chosen from the strongest source to the weakest, added the other way round.
        from_rules = _chosen(rules, sources, taken)
        from_provider = list(_answered(_spelled(sources, namespace, gathered), taken))
        from_presets = _chosen(presets, sources, taken)
        for rule, said, prop in from_presets:
            gathered.add(rule, said, prop, Strength.PROPERTY)
        for name, texts in from_provider:
            gathered.add_answer(namespace, name, texts)
        for rule, said, prop in from_rules:
            gathered.add(rule, said, prop, Strength.PROPERTY)
        silent += [
            prop for prop, names in taken.items() if not names and not is_intended(prop, rules)
        ]
    for rule in rules:
        if rule.label_glob is not None and fnmatchcase(variant.label, rule.label_glob):
            gathered.add(rule, _said(rule, sources), None, Strength.LABEL)
            silent = []
    for prop in silent:
        what = f"no rule, provider or preset says what '{prop}' asks of the build"
        gathered.notes[what] = None
    return gathered.settled()


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
    said = rule.fields.said()
    if rule.by_compiler and sources.compiler in rule.by_compiler:
        said |= rule.by_compiler[sources.compiler].said()
    if sources.backend is not None and sources.backend in rule.by_backend:
        said |= rule.by_backend[sources.backend].said()
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


def _spelled(sources: SetupSources, namespace: str, gathered: Gathered) -> PluginAnswer | None:
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
                what = f"provider {namespace} says {text!r}, which MSVC does not know: left out"
                gathered.notes[what] = None
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
