"""Check that the features and values of a project exist, as far as a plan can know it without asking plugins.

Static properties are certain. A preset has the features and values of well-known plugins. A newer plugin may have
more, so ``query = "plugin"`` leaves the decision to the plugin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import Problem
from polywheel.model.matrix import Matrix
from polywheel.model.setup import Preset
from polywheel.model.variant import VariantFeature, VariantProperty
from polywheel.providers.plugins import distribution_name, plugin_requires
from polywheel.setup.presets import load_preset, preset_names, preset_problem


def check_properties(
    matrix: Matrix,
    project: Project,
    variant_at: Mapping[str, str],
    problems: Problems,
    *,
    strict: bool,
) -> None:
    """Check each property, and each priority, against its namespace and against the preset of the namespace.

    Properties of namespaces with ``query = "preset"`` must be in the preset. With ``strict``, so must those of plugins
    whose features and values a preset has. ``variant_at`` has the key path of each declared variant.
    """
    names = [name for name in project.metadata.providers if name in preset_names()]
    presets = {name: load_preset(name, at=project.file) for name in names}
    for prop, at in _declared(matrix, project, variant_at):
        before = len(problems.found)
        problems.attempt(project.metadata.check, prop, at=at)
        preset = presets.get(prop.namespace)
        if preset is not None and len(problems.found) == before:
            problems.found.extend(_preset_problems(prop, preset, project, at, strict=strict))


_Declaration = tuple[VariantProperty | VariantFeature, str]
"""A property or feature, and its key path."""


def _declared(
    matrix: Matrix, project: Project, variant_at: Mapping[str, str]
) -> Iterator[_Declaration]:
    """The properties of axes, includes, and declared variants, and the priorities."""
    for values in matrix.axes.values():
        for value in values:
            yield from ((prop, value.at) for prop in value.properties)
    for include in matrix.include:
        yield from ((prop, f"{include.pattern.at}.properties") for prop in include.properties)
    for label, variant in project.metadata.variants.items():
        for prop in variant.properties:
            yield prop, f"{variant_at[label]}.{prop.namespace}.{prop.feature}"
    at = project.at("variant.default-priorities")
    yield from ((feature, f"{at}.feature") for feature in project.metadata.feature_priorities)
    yield from ((prop, f"{at}.property") for prop in project.metadata.property_priorities)


def _preset_problems(
    prop: VariantProperty | VariantFeature,
    preset: Preset,
    project: Project,
    at: str,
    *,
    strict: bool,
) -> Iterator[Problem]:
    override = project.settings.providers.get(prop.namespace)
    query = override.query if override is not None else None
    problem = preset_problem(prop, preset, at=at)
    if problem is None:
        return
    if query == "preset":
        yield problem
    elif query is None and strict and _has_plugin_of(preset, project):
        newer = (
            "if a newer version of the plugin has it, set "
            f'[tool.polywheel.providers.{prop.namespace}] query = "plugin"'
        )
        yield replace(problem, hint=f"{problem.hint} ({newer})" if problem.hint else newer)


def _has_plugin_of(preset: Preset, project: Project) -> bool:
    """Whether builds ask a plugin whose features and values a preset has."""
    requires = plugin_requires(project, project.metadata.providers[preset.namespace])
    return not set(map(distribution_name, requires)).isdisjoint(preset.plugins)
