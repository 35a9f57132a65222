"""Variants with different properties whose builds are the same: their wheels have the same content.

That is right for variants that differ in dependencies or in what the installer checks. It is a mistake
where a rule or a line of ``presets`` was forgotten. A rule without fields declares that this is intended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polywheel.config.project import Project
from polywheel.errors import Problem
from polywheel.model.plan import NON_VARIANT, EqualVariants, Job
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import preset_names
from polywheel.setup.rules import is_intended

_NAMED = 6
"""How many variants or properties a message names."""


def equal_variants(
    project: Project, jobs: Iterable[Job], same: Iterable[Sequence[str]], *, unshared: bool
) -> tuple[EqualVariants, ...]:
    """Each set of variants that ask the same of the build though no rule says that this is intended.

    ``same`` has the sets of jobs that do, by id. ``unshared``: whether they are built one by one all
    the same, because a build may read its variant; then it is no error even if the project is strict.
    """
    unless = " unless it reads its variant from the environment" if unshared else ""
    by_id = {job.id: job for job in jobs}
    is_error = project.settings.strict and not unshared
    sets: dict[tuple[str, ...], list[Job]] = {}
    ids: dict[tuple[str, ...], list[str]] = {}
    for identifiers in same:
        members = [by_id[one] for one in identifiers]
        if len({job.properties for job in members}) > 1:
            labels = tuple(job.label or NON_VARIANT for job in members)
            sets.setdefault(labels, members)
            ids.setdefault(labels, []).extend(identifiers)
    found = []
    for labels, members in sets.items():
        silent = [
            prop for prop in _differing(members) if not is_intended(prop, project.settings.setup)
        ]
        if silent:
            problem = Problem(
                f"the variants {_listed(labels)} ask the same of the build, so their wheels have "
                f"the same content{unless}",
                next(job.at for job in members if job.properties),
                _hint(project, silent),
            )
            found.append(EqualVariants(jobs=tuple(ids[labels]), problem=problem, is_error=is_error))
    return tuple(found)


def _differing(members: Sequence[Job]) -> list[VariantProperty]:
    """The properties that some of the jobs have and some have not."""
    every = {prop for job in members for prop in job.properties}
    return sorted(prop for prop in every if any(prop not in job.properties for job in members))


def _hint(project: Project, silent: Sequence[VariantProperty]) -> str:
    features = list(dict.fromkeys(f"{prop.namespace} :: {prop.feature}" for prop in silent))
    namespaces = dict.fromkeys(prop.namespace for prop in silent)
    unused = {*preset_names()}.difference(project.settings.presets)
    presets = [f'"{name}"' for name in namespaces if name in unused]
    advice = f"name the preset (presets = [{', '.join(presets)}]) or " if presets else ""
    return (
        f"no build setup distinguishes the values of {_listed(features)}: {advice}add rules; "
        f'[tool.polywheel.setup."{features[0]}"] without fields declares that this is intended'
    )


def _listed(names: Iterable[str]) -> str:
    found = [repr(name) for name in names]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
