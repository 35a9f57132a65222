"""Decide which plugin answers for a namespace, and check its answers.

During a build, plugins run in the build environment. Otherwise they run in isolated environments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import BuildError, ConfigError, ProviderError, nearest
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty

WITHOUT_MULTI_VALUE = ("2025-04", "2025-06")
"""Generations whose feature configs have no ``multi_value``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildProvider:
    """How builds handle a namespace."""

    namespace: str
    query: str
    """``plugin``, ``preset``, or ``never``."""

    at: str
    reference: str = ""
    requires: tuple[str, ...] = ()
    """The requirements whose markers are true here."""

    fills_static: bool = False
    """Whether its answer becomes static properties of the wheel (``build-requires``)."""


def build_providers(project: Project, variant: Variant) -> tuple[BuildProvider, ...]:
    """The providers of the namespaces of a variant.

    A provider with ``build-requires`` is asked for every variant, because the metadata of every wheel contains its
    static properties. ``[tool.polywheel.providers.ns]`` overrides ``[variant.providers.ns]``.
    """
    for namespace in project.settings.providers:
        project.metadata.require_provider(
            namespace, at=project.at(f"tool.polywheel.providers.{namespace}")
        )
    return tuple(
        build_provider(project, provider)
        for namespace, provider in project.metadata.providers.items()
        if namespace in variant.namespaces or provider.build_requires
    )


def plugin_requires(project: Project, provider: Provider) -> tuple[str, ...]:
    """The requirements that install the plugin of a namespace, with markers; empty if builds ask no plugin.

    Only this function decides whether builds ask a plugin. The result does not depend on the machine.
    """
    requires = provider.requires or provider.build_requires
    override = project.settings.providers.get(provider.namespace)
    if override is None:
        return requires
    if override.query in {"preset", "never"}:
        return ()
    return override.requires or requires


def build_provider(project: Project, provider: Provider) -> BuildProvider:
    """How builds handle the namespace of a provider. Raises ProviderError and ConfigError."""
    namespace = provider.namespace
    override = project.settings.providers.get(namespace)
    at = project.at(f"variant.providers.{namespace}")
    requires = plugin_requires(project, provider)
    reference = provider.plugin_api
    query = "plugin" if requires else "never"
    if override is not None:
        at = project.at(f"tool.polywheel.providers.{namespace}")
        declared = provider.requires or provider.build_requires
        if requires and not (
            declared and distribution_name(requires[0]) == distribution_name(declared[0])
        ):
            reference = None  # another plugin, not only another version
        reference = override.plugin_api or reference
        query = override.query or query
    requires = _require_applicable(namespace, requires, at)
    return BuildProvider(
        namespace=namespace,
        query=query,
        at=at,
        reference=(reference or default_reference(requires)) if requires else "",
        requires=requires,
        fills_static=bool(provider.build_requires),
    )


def distribution_name(requirement: str) -> str:
    """The normalized name of the package that a requirement installs."""
    return canonicalize_name(Requirement(requirement).name)


def default_reference(requires: Sequence[str]) -> str:
    """The module of a plugin without ``plugin-api``: that of the first installed requirement."""
    return distribution_name(requires[0]).replace("-", "_")


def applicable_requirements(requires: Iterable[str]) -> tuple[str, ...]:
    """The requirements whose markers are true here. Raises UndefinedComparison and UndefinedEnvironmentName."""
    markers = {text: Requirement(text).marker for text in requires}
    return tuple(text for text, marker in markers.items() if marker is None or marker.evaluate())


def _require_applicable(namespace: str, requires: tuple[str, ...], at: str) -> tuple[str, ...]:
    """The requirements whose markers are true here. Raises ConfigError, and ProviderError if there are none."""
    try:
        here = applicable_requirements(requires)
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ConfigError(
            f"a marker of the provider of {namespace!r} can't be evaluated: {error}", at=at
        ) from None
    if requires and not here:
        raise ProviderError(
            f"no requirement of the provider of {namespace!r} applies to this environment: "
            + "; ".join(requires),
            at=at,
            hint=f'[tool.polywheel.providers.{namespace}] query = "preset" or "never" builds '
            "without the plugin",
        )
    return here


def plugin_requirements(providers: Iterable[BuildProvider]) -> list[str]:
    """The requirements that install the plugins, each once, without markers."""
    requirements: dict[str, None] = {}
    plugins = [provider for provider in providers if provider.query == "plugin"]
    for text in (text for plugin in plugins for text in plugin.requires):
        requirement = Requirement(text)
        requirement.marker = None
        requirements[str(requirement)] = None
    return list(requirements)


def queries(providers: Iterable[BuildProvider], variant: Variant) -> list[PluginQuery]:
    """The queries to the plugins for a variant."""
    by_namespace: dict[str, list[VariantProperty]] = {}
    for prop in variant.properties:
        by_namespace.setdefault(prop.namespace, []).append(prop)
    return [
        PluginQuery(
            namespace=provider.namespace,
            reference=provider.reference,
            requires=provider.requires,
            at=provider.at,
            properties=tuple(by_namespace.get(provider.namespace, ())),
            setup=tuple(by_namespace.get(provider.namespace, ())),
            supported=provider.fills_static,
        )
        for provider in providers
        if provider.query == "plugin"
    ]


def check_answer(answer: PluginAnswer, *, at: str, multi_value: Collection[str] = ()) -> None:
    """Raise ProviderError for unknown properties, and for several values of a feature with one value.

    ``multi_value`` has features with several values, for plugins of 2025, which do not list them.
    """
    problems = Problems()
    for prop, valid in answer.valid.items():
        if not valid:
            _add_unknown_property(problems, prop, answer, at)
    values: dict[str, list[str]] = {}
    for prop in answer.valid:
        values.setdefault(prop.feature, []).append(prop.value)
    allowed = {config.name for config in answer.all_configs or () if config.multi_value}
    if answer.generation in WITHOUT_MULTI_VALUE:
        allowed.update(multi_value)
    for feature, several in values.items():
        if feature not in allowed and len(several) > 1:
            problems.add(
                f"'{answer.namespace} :: {feature}' allows one value in a variant, not {len(several)}: "
                + ", ".join(several),
                at=at,
            )
    if problems.found:
        raise ProviderError.collected(problems.found)


def _add_unknown_property(
    problems: Problems, prop: VariantProperty, answer: PluginAnswer, at: str
) -> None:
    """Add a problem with the nearest known property, or the nearest supported one without a list."""
    configs = answer.all_configs or answer.supported or ()
    known = {config.name: config.values for config in configs}
    noun, unknown, names = "feature", prop.feature, tuple(known)
    if prop.feature in known:
        # A plugin may support a value that it calls invalid.
        names = tuple(value for value in known[prop.feature] if value != prop.value)
        noun, unknown = "value", prop.value
    hint = nearest(unknown, names)
    if answer.all_configs is None:
        noun = "feature or value"
        if hint is None or hint.startswith("known:"):
            hint = "this machine supports: " + ", ".join(names) if names else None
    what = f"the provider of {prop.namespace!r} does not know the {noun} of '{prop}'"
    problems.add(what, at=at, hint=hint)


def _feature_order(
    metadata: VariantMetadata, namespace: str, configs: Sequence[FeatureConfig]
) -> tuple[str, ...]:
    """The features that the project orders, then the others in the order of the plugin.

    (Draft PEP on building, "Populating static properties from provider plugins", step 6.) One
    feature needs no order.
    """
    names = [config.name for config in configs]
    first = [prop.feature for prop in metadata.feature_priorities if prop.namespace == namespace]
    order = dict.fromkeys([*(name for name in first if name in names), *names])
    return tuple(order) if len(order) > 1 else ()


def with_static_properties(
    metadata: VariantMetadata,
    providers: Sequence[BuildProvider],
    answers: Mapping[str, PluginAnswer],
) -> VariantMetadata:
    """The metadata with answers instead of ``build-requires`` (draft PEP on building).

    Raises ProviderError if such a plugin does not declare that all its properties are compatible.
    """
    filled = dict(metadata.providers)
    for provider in providers:
        if not provider.fills_static:
            continue
        answer = answers.get(provider.namespace)
        if answer is None or not answer.supported:
            raise ProviderError(
                f"static properties of {provider.namespace!r} come from its plugin, "
                + ("which is not asked" if answer is None else "which returned none"),
                at=provider.at,
            )
        if not answer.all_compatible:
            raise ProviderError(
                f"the plugin of {provider.namespace!r} does not declare that all its properties are "
                "compatible (all_properties_compatible), so it can't be a build requirement only",
                at=provider.at,
                hint="move it to requires, so that it is asked when the wheel is installed",
            )
        filled[provider.namespace] = replace(
            metadata.providers[provider.namespace],
            build_requires=(),
            plugin_api=None,
            static_properties={config.name: config.values for config in answer.supported},
            feature_order=_feature_order(metadata, provider.namespace, answer.supported),
        )
    return replace(metadata, providers=MappingProxyType(filled))


class PluginEnvironments:
    """Cached environments with plugins, for the Python that runs polywheel.

    With ``fresh``, each environment is created again, once for this object. No other process replaces an
    environment during the life of this object.
    """

    def __init__(self, *, fresh: bool = False, notify: Callable[[str], None]) -> None:
        # Most commands do not install plugins.
        from polywheel.environments.virtual_environments import Environments, this_interpreter

        self._environments = Environments("providers", fresh=fresh, notify=notify)
        self._interpreter = this_interpreter()

    def python(self, requirements: Sequence[str]) -> str:
        """The interpreter of the environment with these requirements; this interpreter if there are none.

        Raises ProviderError, and ConfigError for settings of installers that can't be used.
        """
        if not requirements:
            return sys.executable
        try:
            return self._environments.get(self._interpreter, requirements).python
        except InvalidRequirement as error:
            raise ProviderError(
                f"the provider plugins can't be installed: {str(error).splitlines()[0]}"
            ) from None
        except BuildError as error:
            (problem,) = error.problems
            raise ProviderError(
                f"the provider plugins can't be installed: {problem.what}",
                at=problem.at,
                hint=problem.hint or without_plugin("NAMESPACE"),
                output=problem.output,
            ) from None


def without_plugin(namespace: str) -> str:
    """A hint for a plugin that can't be installed. Installers may contain the provider."""
    return (
        f'if no index has the plugin, set [tool.polywheel.providers.{namespace}] query = "preset": it checks '
        "properties against the preset and installs nothing"
    )
