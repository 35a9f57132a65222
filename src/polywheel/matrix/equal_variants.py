"""Find variants with different properties but the same build setup: their wheels have the same content.

This is correct for variants that differ in dependencies, or in the checks of the installer. It is a mistake if a
rule or a preset is missing. A rule without fields declares that it is intended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polywheel.config.project import Project
from polywheel.errors import Problem
from polywheel.model.plan import NON_VARIANT, EqualVariants, Job
from polywheel.model.variant import VariantFeature, VariantProperty
from polywheel.setup.presets import preset_names
from polywheel.setup.rules import is_intended
from polywheel.system.terminal import join_first, quantity

_MAX_NAMED = 6
"""The maximum number of variants or features in a message."""


def equal_variants(
    project: Project, jobs: Iterable[Job], same: Iterable[Sequence[str]], *, unshared: bool
) -> tuple[EqualVariants, ...]:
    """Sets of variants with the same build setup, unless a rule declares that this is intended.

    ``same`` has sets of jobs with the same build setup, by id. ``unshared``: each job has its own build, because a
    build may read its variant. Then it is not an error, even if the project is strict.
    """
    unless = " unless it reads its variant from the environment" if unshared else ""
    by_id = {job.id: job for job in jobs}
    is_error = project.settings.strict and not unshared
    sets: dict[tuple[str, ...], list[Job]] = {}
    ids: dict[tuple[str, ...], list[str]] = {}
    for identifiers in same:
        members = [by_id[identifier] for identifier in identifiers]
        if len({job.properties for job in members}) > 1:
            labels = tuple(job.label or NON_VARIANT for job in members)
            sets.setdefault(labels, members)
            ids.setdefault(labels, []).extend(identifiers)
    # The same rules are missing for all sets of one group, so they are reported together.
    groups: dict[tuple[VariantFeature, ...], list[tuple[str, ...]]] = {}
    for labels, members in sets.items():
        every = {prop for job in members for prop in job.properties}
        differing = sorted(p for p in every if any(p not in job.properties for job in members))
        rules = project.settings.setup
        without_setup = [prop for prop in differing if not is_intended(prop, rules)]
        if without_setup:
            groups.setdefault(_features(without_setup), []).append(labels)
    equal = []
    for features, grouped in groups.items():
        first = sets[grouped[0]]
        others = len(grouped) - 1
        also = f"; the same holds for {quantity(others, 'other set')} of variants" if others else ""
        problem = Problem(
            f"the variants {join_first(map(repr, grouped[0]), _MAX_NAMED)} ask the same of the build, "
            f"so their wheels have the same content{unless}{also}",
            next(job.at for job in first if job.properties),
            _hint(project, features),
        )
        identifiers = tuple(identifier for labels in grouped for identifier in ids[labels])
        equal.append(EqualVariants(jobs=identifiers, problem=problem, is_error=is_error))
    return tuple(equal)


def _features(properties: Iterable[VariantProperty]) -> tuple[VariantFeature, ...]:
    return tuple(dict.fromkeys(VariantFeature(prop.namespace, prop.feature) for prop in properties))


def _hint(project: Project, features: Sequence[VariantFeature]) -> str:
    namespaces = dict.fromkeys(feature.namespace for feature in features)
    unused = {*preset_names()}.difference(project.settings.presets)
    presets = [f'"{name}"' for name in namespaces if name in unused]
    advice = f"name the preset (presets = [{', '.join(presets)}]) or " if presets else ""
    return (
        "no build setup distinguishes the values of "
        f"{join_first([repr(str(feature)) for feature in features], _MAX_NAMED)}: {advice}add rules; "
        f'[tool.polywheel.setup."{features[0]}"] without fields declares that this is intended'
    )
