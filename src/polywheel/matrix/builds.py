"""Which cells are one build: what they ask of it is equal, and a stamp is all that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.config.setup_table import COMPILERS
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.cells import Cell
from polywheel.matrix.places import Place
from polywheel.model.properties import VariantProperty
from polywheel.model.setup import BuildSetup, Entry, SetupRule, Text, placeholders
from polywheel.model.variant import Variant
from polywheel.providers.plugins import build_provider
from polywheel.setup.presets import load_preset
from polywheel.setup.rules import SetupSources, resolve_setup

Asks = tuple[Any, ...]
"""What a cell asks of its build, to be compared; equal for equal builds."""

_NOTHING: Asks = ((), ())


class BuildKeys:
    """What cells ask of their builds, each variant looked at once.

    Plugins are not asked for a plan, and any property of theirs may mean flags: variants that
    differ in one do not share a build.
    """

    def __init__(self, project: Project, profile: str | None) -> None:
        self._project = project
        self._profile = profile
        self._rules = project.settings.setup
        self._presets = [
            load_preset(name, at=project.at("tool.polywheel.presets"))
            for name in project.settings.presets
        ]
        rules = (*self._rules, *(rule for one in self._presets for rule in one.rules))
        self._by_place = any(rule.when for rule in rules)
        self._compilers = COMPILERS if any(rule.by_compiler for rule in rules) else COMPILERS[:1]
        # Features that rules are about, and namespaces; what else a cell has makes no difference.
        self._about = {rule.target[:2] for rule in rules if rule.target}
        self._by_label = any(rule.label_glob is not None or _names_label(rule) for rule in rules)
        self._trivial = not rules
        self._asked = self._plugins()
        self._known: dict[Any, tuple[Any, ...]] = {}

    def _plugins(self) -> frozenset[str]:
        """The namespaces whose plugins are asked while building."""
        providers = self._project.metadata.providers
        return frozenset(
            namespace
            for namespace, provider in providers.items()
            if build_provider(self._project, provider).query == "plugin"
        )

    def of(self, cell: Cell) -> Asks:
        """What a cell asks of its build. Raises ConfigError where rules contradict each other."""
        if cell.label is None:
            return _NOTHING
        asked = tuple(prop for prop in cell.properties if prop.namespace in self._asked)
        if self._trivial:
            return ((), asked)
        relevant = tuple(
            prop
            for prop in cell.properties
            if (prop.namespace,) in self._about or (prop.namespace, prop.feature) in self._about
        )
        label = cell.label if self._by_label else ""
        key = (label, relevant, cell.place if self._by_place else None)
        if key not in self._known:
            self._known[key] = self._setups(cell.label, relevant, cell.place)
        return (self._known[key], asked)

    def _setups(
        self, label: str, properties: Sequence[VariantProperty], place: Place
    ) -> tuple[Any, ...]:
        variant = Variant(tuple(properties), label)
        setups = [
            resolve_setup(
                variant,
                SetupSources(
                    rules=self._rules,
                    presets=self._presets,
                    namespaces=self._project.metadata.namespaces,
                    compiler=compiler,
                    backend=self._profile,
                    environment=place.environment,
                    source=self._project.source,
                ),
            )
            for compiler in self._compilers
        ]
        found = tuple(_comparable(setup) for setup in setups)
        return () if not any(map(any, found)) else found


def _names_label(rule: SetupRule) -> bool:
    """Whether a text of the rule holds ``{label}``."""
    every = (rule.fields, *rule.by_compiler.values(), *rule.by_backend.values())
    texts = (text for fields in every for text in fields.said().values())
    return any("label" in placeholders(one) for text in texts for one in _each(text))


def _each(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def _comparable(setup: BuildSetup) -> tuple[Any, ...]:
    """A setup without where its entries come from."""

    def values(entries: Mapping[str, Entry | tuple[Entry, ...]]) -> tuple[Any, ...]:
        return tuple(
            (name, entry.value if isinstance(entry, Entry) else tuple(one.value for one in entry))
            for name, entry in sorted(entries.items())
        )

    return (
        values(setup.flags),
        values(setup.env),
        values(setup.config_settings),
        values(setup.defines),
        tuple(sorted(entry.value for entry in setup.requires)),
        tuple(sorted(entry.value for entry in setup.dependencies)),
    )


def check_rules_are_used(project: Project, cells: Sequence[Cell], problems: Problems) -> None:
    """Note every setup rule that is about no cell of the matrix."""
    known = {prop for cell in cells for prop in cell.properties}
    targets: set[tuple[str, ...]] = {()}
    for prop in known:
        parts = (prop.namespace, prop.feature, prop.value)
        targets.update((parts[:1], parts[:2], parts))
    labels = {cell.label for cell in cells if cell.label is not None}
    places = {cell.place for cell in cells}
    for rule in project.settings.setup:
        if rule.label_glob is not None:
            if not any(fnmatchcase(label, rule.label_glob) for label in labels):
                what = f"no variant of the matrix has a label that matches {rule.label_glob!r}"
                problems.add(what, at=rule.at, hint=nearest(rule.label_glob, labels))
        elif rule.target not in targets:
            names = {" :: ".join(one) for one in targets if len(one) == len(rule.target)}
            what = f"no variant of the matrix has a property that the rule {rule.key!r} is about"
            problems.add(what, at=rule.at, hint=nearest(rule.key, names))
        elif rule.when is not None and not _holds_anywhere(rule, places, problems):
            what = f"the marker {rule.when!r} holds for no target and Python of the matrix"
            problems.add(what, at=f"{rule.at}.when")


def _holds_anywhere(rule: SetupRule, places: set[Place], problems: Problems) -> bool:
    try:
        return any(place.holds(rule.when or "", at=f"{rule.at}.when") for place in places)
    except ConfigError as error:
        problems.found.extend(error.problems)
        return True
