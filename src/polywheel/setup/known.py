"""Rules that can never apply: nothing that is declared may be without effect in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from polywheel.config.project import Project
from polywheel.errors import ConfigError, Problem, nearest
from polywheel.model.answers import PluginAnswer
from polywheel.model.setup import FeatureValues, Preset, SetupRule
from polywheel.model.variant import NULL_LABEL, Variant

Known = dict[str, FeatureValues]
"""Features by name."""


def check_rules(
    project: Project,
    variant: Variant,
    presets: Sequence[Preset],
    answers: Mapping[str, PluginAnswer],
) -> None:
    """Raise ConfigError for rules about what neither project nor provider nor preset knows.

    Namespaces must have a provider. Features and values are held against static properties,
    plugins that list all that they know, and the namespace's preset; where there is none of these,
    anything may be meant.
    """
    problems: list[Problem] = []
    labels = {*project.metadata.variants, NULL_LABEL, variant.label}
    for rule in project.settings.setup:
        if rule.label_glob is not None:
            _check_label(rule, labels, problems, matrix=project.settings.has_matrix)
        elif rule.target:
            _check_target(rule, project, presets, answers.get(rule.target[0]), problems)
    if problems:
        raise ConfigError.collected(problems)


def _check_label(
    rule: SetupRule, labels: Iterable[str], problems: list[Problem], *, matrix: bool
) -> None:
    glob = rule.label_glob or ""
    if not matrix and not any(fnmatchcase(label, glob) for label in labels):
        problems.append(
            Problem(f"no variant has a label that matches {glob!r}", rule.at, nearest(glob, labels))
        )


def _check_target(
    rule: SetupRule,
    project: Project,
    presets: Sequence[Preset],
    answer: PluginAnswer | None,
    problems: list[Problem],
) -> None:
    namespace, *rest = rule.target
    providers = project.metadata.providers
    if namespace not in providers:
        hint = nearest(namespace, providers)
        problems.append(Problem(f"the namespace {namespace!r} has no provider", rule.at, hint))
        return
    known = _known(project, namespace, presets, answer)
    if not rest or not known:
        return
    feature, *value = rest
    if feature not in known:
        what = f"'{namespace} :: {feature}' is a feature that nobody knows"
        problems.append(Problem(what, rule.at, nearest(feature, known)))
    elif value and not _has(known[feature], value[0]):
        what = f"'{rule.key}' is a value that nobody knows"
        problems.append(Problem(what, rule.at, nearest(value[0], known[feature].values)))


def _has(feature: FeatureValues, value: str) -> bool:
    if value in feature.values or feature.pattern == "":
        return True
    return feature.pattern is not None and re.fullmatch(feature.pattern, value) is not None


def _known(
    project: Project,
    namespace: str,
    presets: Sequence[Preset],
    answer: PluginAnswer | None,
) -> Known:
    """Everything known of a namespace's features; empty where no list of them is at hand."""
    known: Known = {}
    for feature, values in project.metadata.providers[namespace].static_properties.items():
        known[feature] = FeatureValues(values)
    if answer is not None:
        for config in answer.all_configs or ():
            known[config.name] = FeatureValues(config.values)
    for preset in presets:
        if preset.namespace == namespace:
            known = {**preset.features, **known}
    if known:
        # What the project declares is known too, whatever a preset says.
        for variant in project.metadata.variants.values():
            for prop in variant.properties:
                if prop.namespace == namespace:
                    older = known.get(prop.feature, FeatureValues())
                    values = tuple(dict.fromkeys((*older.values, prop.value)))
                    known[prop.feature] = FeatureValues(values, older.pattern)
    return known
