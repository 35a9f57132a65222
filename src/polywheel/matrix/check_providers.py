"""The values of a matrix against what the plugins know, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import ProviderError
from polywheel.matrix.why import SourceLocations
from polywheel.model.plan import Job, Plan
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.variant import Variant, VariantProperty
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

Notify = Callable[[str], None]


def check_providers(
    project: Project, plan: Plan, *, fresh: bool = False, notify: Notify
) -> tuple[str, ...]:
    """The namespaces whose providers were asked, and know every property of the plan.

    The plugins are installed into an environment of their own and asked once, about all
    properties; they and presets judge as they do while a variant is built. Raises ProviderError
    with everything that is wrong.
    """
    jobs: dict[tuple[VariantProperty, ...], Job] = {}
    for job in plan.jobs:
        jobs.setdefault(job.properties, job)
    every = Variant(tuple(sorted({prop for properties in jobs for prop in properties})), "")
    providers = build_providers(project, every)
    check_against_presets(providers, Variant((), ""))
    plugins = PluginEnvironments(fresh=fresh, notify=notify)
    answers = _asked(project, providers, every, plugins, notify)
    filled = with_static_properties(project.metadata, providers, answers)
    problems = Problems()
    locations = SourceLocations(project, read_matrix(project)[0])
    by_namespace = {one.namespace: one for one in providers}
    first = {prop: job for job in reversed(jobs.values()) for prop in job.properties}
    known = set[VariantProperty]()
    for prop in every.properties:
        at = locations.of_property(prop, first[prop])
        provider = by_namespace.get(prop.namespace)
        before = len(problems.found)
        if provider is not None:
            one = Variant((prop,), "")
            problems.attempt(check_against_presets, (replace(provider, at=at),), one)
        if provider is not None and provider.fills_static:
            problems.attempt(filled.check, prop, at=at)
        if answer := answers.get(prop.namespace):
            problems.attempt(_judge, answer, [prop], at)
        if len(problems.found) == before:
            known.add(prop)
    for job in jobs.values():
        _check_several(job, known, providers, answers, problems)
    if problems.found:
        raise ProviderError.collected(problems.found)
    return tuple(one.namespace for one in providers if one.query != "never")


def _asked(
    project: Project,
    providers: Iterable[BuildProvider],
    every: Variant,
    plugins: PluginEnvironments,
    notify: Notify,
) -> Mapping[str, PluginAnswer]:
    """What the plugins say, by namespace; build setup is no part of it."""
    listed = tuple(providers)
    asked = [replace(one, setup=()) for one in queries(listed, every)]
    if not asked:
        return {}
    python = plugins.python(plugin_requirements(listed))
    timeout = project.settings.provider_timeout
    answers = ask_plugins(asked, python=python, timeout=timeout, notify=notify)
    return {one.namespace: one for one in answers}


def _judge(answer: PluginAnswer, properties: Iterable[VariantProperty], at: str) -> None:
    """Its judgement of these properties, as if it had been asked about them alone."""
    alone = replace(answer, valid={prop: answer.valid[prop] for prop in properties})
    check_answer(alone, at=at, multi_value=multi_value_features(alone))


def _check_several(
    job: Job,
    known: Iterable[VariantProperty],
    providers: Iterable[BuildProvider],
    answers: Mapping[str, PluginAnswer],
    problems: Problems,
) -> None:
    """Note features with more values in one variant than they may have."""
    label = f"{job.at} ({job.label})"
    for provider in providers:
        properties = [
            prop
            for prop in job.properties
            if prop.namespace == provider.namespace and prop in known
        ]
        if len({prop.feature for prop in properties}) == len(properties):
            continue
        one = replace(provider, at=label)
        problems.attempt(check_against_presets, (one,), Variant(tuple(properties), ""))
        if provider.namespace in answers:
            problems.attempt(_judge, answers[provider.namespace], properties, label)
