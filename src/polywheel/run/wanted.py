"""Requirements as they are told, compared and foreseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:  # workers are here for the first function, and start for every build
    from polywheel.config.project import Project
    from polywheel.model.plan import Job


def plugin_requirements(project: Project, jobs: Sequence[Job]) -> Mapping[str, tuple[str, ...]]:
    """By job, the plugins that its build asks, as far as they are the same for every Python.

    Builds say for themselves what they need; a good guess saves making an environment for that.
    """
    plugins = {
        namespace: _of_namespace(project, namespace) for namespace in project.metadata.providers
    }
    always = [
        namespace for namespace, one in project.metadata.providers.items() if one.build_requires
    ]
    return {
        job.id: tuple(
            text
            for namespace in sorted({*always, *(one.namespace for one in job.properties)})
            for text in plugins.get(namespace, ())
        )
        if job.label is not None
        else ()
        for job in jobs
    }


def plugin_namespaces(project: Project) -> Mapping[str, str]:
    """The namespace for each normalized name of a distribution with its plugin."""
    return {
        canonicalize_name(Requirement(text).name): namespace
        for namespace in project.metadata.providers
        for text in _of_namespace(project, namespace)
    }


def _of_namespace(project: Project, namespace: str) -> tuple[str, ...]:
    provider = project.metadata.providers[namespace]
    override = project.settings.providers.get(namespace)
    found = provider.requires or provider.build_requires
    if override is not None:
        if override.query not in {None, "plugin"}:
            return ()
        found = override.requires or found
    return () if any(";" in text for text in found) else tuple(found)
