"""Check the properties of a matrix with provider plugins before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import ProviderError
from polywheel.matrix.why import SourceLocations
from polywheel.model.plan import Job, Plan
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.variant import Variant, VariantMetadata, VariantProperty
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import (
    BuildProvider,
    PluginEnvironments,
    build_providers,
    check_answer,
    plugin_requirements,
    queries,
    with_static_properties,
)
from polywheel.setup.resolve import check_against_presets, multi_value_features


def check_providers(
    project: Project, plan: Plan, *, fresh: bool = False, notify: Callable[[str], None]
) -> tuple[str, ...]:
    """Check every property of a plan. Returns the namespaces of the providers that were asked.

    Plugins are installed into a separate environment and asked once about all properties. Plugins and presets
    check in the same way as for the build of a variant. Raises ProviderError with all problems.
    """
    jobs: dict[tuple[VariantProperty, ...], Job] = {}
    for job in plan.jobs:
        jobs.setdefault(job.properties, job)
    every = Variant(tuple(sorted({prop for properties in jobs for prop in properties})), "")
    providers = build_providers(project, every)
    check_against_presets(providers, Variant((), ""))
    plugins = PluginEnvironments(fresh=fresh, notify=notify)
    answers = _ask(project, providers, every, plugins, notify)
    filled = with_static_properties(project.metadata, providers, answers)
    problems = Problems()
    locations = SourceLocations(project, read_matrix(project).matrix)
    by_namespace = {provider.namespace: provider for provider in providers}

    def check(namespace: str, properties: tuple[VariantProperty, ...], at: str) -> None:
        provider = replace(by_namespace[namespace], at=at)
        problems.attempt(_check, provider, answers.get(namespace), filled, properties)

    first = {prop: job for job in reversed(jobs.values()) for prop in job.properties}
    valid = set[VariantProperty]()
    for prop in every.properties:
        before = len(problems.found)
        if prop.namespace in by_namespace:
            check(prop.namespace, (prop,), locations.of_property(prop, first[prop]))
        if len(problems.found) == before:
            valid.add(prop)
    for job in jobs.values():
        for namespace in by_namespace:
            properties = tuple(p for p in job.properties if p.namespace == namespace and p in valid)
            # A feature may not allow several values.
            if len({prop.feature for prop in properties}) < len(properties):
                check(namespace, properties, f"{job.at} ({job.label})")
    if problems.found:
        raise ProviderError.collected(problems.found)
    return tuple(provider.namespace for provider in providers if provider.query != "never")


def _ask(
    project: Project,
    providers: Sequence[BuildProvider],
    variant: Variant,
    plugins: PluginEnvironments,
    notify: Callable[[str], None],
) -> Mapping[str, PluginAnswer]:
    """The answers of plugins by namespace, without build setup."""
    requests = [replace(query, setup=()) for query in queries(providers, variant)]
    if not requests:
        return {}
    answers = ask_plugins(
        requests,
        python=plugins.python(plugin_requirements(providers)),
        timeout=project.settings.provider_timeout,
        notify=notify,
    )
    return {answer.namespace: answer for answer in answers}


def _check(
    provider: BuildProvider,
    answer: PluginAnswer | None,
    metadata: VariantMetadata,
    properties: tuple[VariantProperty, ...],
) -> None:
    """Check properties of one variant. Raises ConfigError and ProviderError."""
    problems = Problems()
    problems.attempt(check_against_presets, (provider,), Variant(properties, ""))
    if len(properties) == 1 and provider.fills_static:
        problems.attempt(metadata.check, properties[0], at=provider.at)
    if answer is not None:
        # As if the plugin had been asked only about these properties.
        partial = replace(answer, valid={prop: answer.valid[prop] for prop in properties})
        multi_value = multi_value_features(partial)
        problems.attempt(check_answer, partial, at=provider.at, multi_value=multi_value)
    problems.raise_all()
