"""Find setup rules that can never apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import nearest
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.setup import FeatureValues, Preset, SetupRule
from polywheel.model.variant import ABI_DEPENDENCY, ABI_VALUE, NULL_LABEL, Provider, Variant
from polywheel.providers.plugins import plugin_requires
from polywheel.setup.profiles import shipped_profiles


def check_unused_rules(
    project: Project,
    variant: Variant,
    presets: Sequence[Preset],
    answers: Mapping[str, PluginAnswer],
) -> None:
    """Raise ConfigError for rules with names that neither the project nor the provider knows.

    Namespaces must have a provider. Features and values are compared with static properties, or with the list of
    the plugin. If the plugin has no list, or if none is asked, they are compared with the preset of the namespace.
    They are not checked if the plugin was not asked in this build.
    """
    problems = Problems()
    labels = {*project.metadata.variants, NULL_LABEL, variant.label}
    providers = project.metadata.providers
    known = {
        namespace: _known(
            project,
            variant,
            providers[namespace],
            preset=next((preset for preset in presets if preset.namespace == namespace), None),
            answer=answers.get(namespace),
        )
        for namespace in {rule.target[0] for rule in project.settings.setup if rule.target}
        if namespace in providers
    }
    for rule in project.settings.setup:
        if rule.label_glob is not None and not project.settings.has_matrix:
            _check_label(rule, rule.label_glob, labels, problems)
        elif rule.target[:1] == (ABI_DEPENDENCY,):
            _check_abi_dependency(rule, problems)
        elif rule.target and rule.target[0] not in known:
            problems.attempt(project.metadata.require_provider, rule.target[0], at=rule.at)
        elif rule.target:
            _check_target(rule, known[rule.target[0]], problems)
    check_backends(project, problems)
    problems.raise_all()


def _check_label(rule: SetupRule, glob: str, labels: Iterable[str], problems: Problems) -> None:
    if not any(fnmatchcase(label, glob) for label in labels):
        what = f"no variant has a label that matches {glob!r}"
        problems.add(what, at=rule.at, hint=nearest(glob, labels))


def _check_abi_dependency(rule: SetupRule, problems: Problems) -> None:
    """In this namespace, features are names of packages, and values are versions."""
    if len(rule.target) == 3 and not ABI_VALUE.fullmatch(rule.target[2]):
        what = f"the value of {rule.key!r} is not a version of one to three components"
        problems.add(what, at=rule.at, hint="for example 'abi_dependency :: torch :: 2.9'")


def check_backends(project: Project, problems: Problems) -> None:
    """Check that each table for a backend names a profile, or the backend of the project."""
    rules = [rule for rule in project.settings.setup if rule.by_backend]
    known = {profile.name for profile in shipped_profiles()} if rules else set()
    if project.settings.backend is not None:
        named = (project.settings.build_backend, project.build_system.build_backend)
        known |= {name for name in named if name}
    for rule in rules:
        for name in rule.by_backend:
            if name not in known:
                what = f"no backend profile has the name {name!r}"
                problems.add(what, at=f"{rule.at}.backend", hint=nearest(name, known))


def _check_target(rule: SetupRule, known: Mapping[str, FeatureValues], problems: Problems) -> None:
    namespace, *rest = rule.target
    if not rest or not known:
        return
    feature, *value = rest
    if feature not in known:
        what = f"unknown feature '{namespace} :: {feature}'"
        problems.add(what, at=rule.at, hint=nearest(feature, known))
    elif value and not known[feature].has(value[0]):
        what = f"unknown value '{rule.key}'"
        problems.add(what, at=rule.at, hint=nearest(value[0], known[feature].values))


def _known(
    project: Project,
    variant: Variant,
    provider: Provider,
    *,
    preset: Preset | None,
    answer: PluginAnswer | None,
) -> dict[str, FeatureValues]:
    """The known features of a namespace; empty if there is no list of them."""
    known: dict[str, FeatureValues] = {}
    if provider.static_properties:
        known = {name: FeatureValues(v) for name, v in provider.static_properties.items()}
    elif answer is not None and answer.all_configs is not None:
        known = {config.name: FeatureValues(config.values) for config in answer.all_configs}
    elif preset is not None and (answer is not None or not plugin_requires(project, provider)):
        known = dict(preset.features)
    # Properties of variants are known too, even if a preset does not have them.
    variants = (variant, *project.metadata.variants.values()) if known else ()
    for prop in (prop for known_variant in variants for prop in known_variant.properties):
        if prop.namespace == provider.namespace:
            feature = known.get(prop.feature, FeatureValues())
            known[prop.feature] = replace(feature, values=(*feature.values, prop.value))
    return known
