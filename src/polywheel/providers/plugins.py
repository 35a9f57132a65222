"""Which plugin answers for a namespace, and in which environment it runs.

During a build, plugins are in the build environment. At other times they get isolated environments.
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
from polywheel.errors import BuildError, ConfigError, ProviderError, nearest
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty

WITHOUT_MULTI_VALUE = ("2025-04", "2025-06")
"""Generations whose feature configs have no ``multi_value``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildProvider:
    """How a namespace is handled while building."""

    namespace: str
    query: str
    """``plugin``, ``preset`` or ``never``."""

    at: str
    reference: str = ""
    requires: tuple[str, ...] = ()
    """Those whose markers hold here."""

    fills_static: bool = False
    """Whether its answer becomes the static properties of the wheel (``build-requires``)."""


def build_providers(project: Project, variant: Variant) -> tuple[BuildProvider, ...]:
    """The providers of the namespaces that a variant uses.

    A provider with ``build-requires`` is asked for every variant: its static properties are part
    of every wheel's metadata. ``[tool.polywheel.providers.ns]`` takes the place of what
    ``[variant.providers.ns]`` says.
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
    """The requirements that install the plugin of a namespace, with their markers.

    Empty if builds do not ask a plugin. This is the only function that decides whether they do; the
    machine makes no difference.
    """
    requires = provider.requires or provider.build_requires
    override = project.settings.providers.get(provider.namespace)
    if override is None:
        return requires
    if override.query in {"preset", "never"}:
        return ()
    return override.requires or requires


def build_provider(project: Project, provider: Provider) -> BuildProvider:
    """How the namespace of a provider is handled. Raises ProviderError, ConfigError."""
    namespace = provider.namespace
    override = project.settings.providers.get(namespace)
    at = project.at(f"variant.providers.{namespace}")
    requires = plugin_requires(project, provider)
    reference = provider.plugin_api
    query = "plugin" if requires else "never"
    if override is not None:
        at = project.at(f"tool.polywheel.providers.{namespace}")
        declared = provider.requires or provider.build_requires
        if requires and not (declared and _distribution(requires[0]) == _distribution(declared[0])):
            reference = None  # another plugin, and not only another version
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


def _distribution(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def default_reference(requires: Sequence[str]) -> str:
    """The module of a plugin without ``plugin-api``, by the requirements that are installed for it.

    That is the first one: the others, whose markers do not hold, would not be there to be imported.
    """
    return _distribution(requires[0]).replace("-", "_")


def applicable_requirements(requires: Iterable[str]) -> tuple[str, ...]:
    """The requirements whose markers hold here.

    Raises UndefinedComparison and UndefinedEnvironmentName.
    """
    markers = {text: Requirement(text).marker for text in requires}
    return tuple(text for text, one in markers.items() if one is None or one.evaluate())


def _require_applicable(namespace: str, requires: tuple[str, ...], at: str) -> tuple[str, ...]:
    """As above: one at least, where there are any. Raises ConfigError and ProviderError."""
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


def plugin_requirements(providers: Sequence[BuildProvider]) -> list[str]:
    """The requirements that bring the plugins, each once, without markers."""
    found: dict[str, None] = {}
    for provider in providers:
        if provider.query != "plugin":
            continue
        for text in provider.requires:
            requirement = Requirement(text)
            requirement.marker = None
            found[str(requirement)] = None
    return list(found)


def queries(providers: Sequence[BuildProvider], variant: Variant) -> list[PluginQuery]:
    """The queries to the plugins about a variant."""
    found = []
    for provider in providers:
        if provider.query != "plugin":
            continue
        properties = tuple(p for p in variant.properties if p.namespace == provider.namespace)
        found.append(
            PluginQuery(
                namespace=provider.namespace,
                reference=provider.reference,
                requires=provider.requires,
                at=provider.at,
                properties=properties,
                setup=properties,
                supported=provider.fills_static,
            )
        )
    return found


def check_answer(answer: PluginAnswer, *, at: str, multi_value: Collection[str] = ()) -> None:
    """Raise ProviderError for a property that the plugin does not know, or one value too many.

    Plugins of 2025 do not say which features may have several values: ``multi_value`` names those
    that are known otherwise.
    """
    problems = [
        _unknown_property_error(prop, answer, at)
        for prop, valid in answer.valid.items()
        if not valid
    ]
    values: dict[str, list[str]] = {}
    for prop in answer.valid:
        values.setdefault(prop.feature, []).append(prop.value)
    allowed = {one.name for one in answer.all_configs or () if one.multi_value}
    if answer.generation in WITHOUT_MULTI_VALUE:
        allowed.update(multi_value)
    problems += [
        ProviderError(
            f"'{answer.namespace} :: {feature}' allows one value in a variant, not {len(several)}: "
            + ", ".join(several),
            at=at,
        )
        for feature, several in values.items()
        if feature not in allowed and len(several) > 1
    ]
    if problems:
        raise ProviderError.collected(p for error in problems for p in error.problems)


def _unknown_property_error(prop: VariantProperty, answer: PluginAnswer, at: str) -> ProviderError:
    """An error for an unknown property, with the nearest known one (from ``supported`` without a list)."""
    known = {one.name: one.values for one in answer.all_configs or answer.supported or ()}
    what, found, names = "feature", prop.feature, tuple(known)
    if prop.feature in known:
        # A plugin may support a value that it does not call valid.
        names = tuple(value for value in known[prop.feature] if value != prop.value)
        what, found = "value", prop.value
    hint = nearest(found, names)
    if answer.all_configs is None:
        what = "feature or value"
        if hint is None or hint.startswith("known:"):
            hint = "this machine supports: " + ", ".join(names) if names else None
    return ProviderError(
        f"the provider of {prop.namespace!r} does not know the {what} of '{prop}'", at=at, hint=hint
    )


def _feature_order(
    metadata: VariantMetadata, namespace: str, configs: Sequence[FeatureConfig]
) -> tuple[str, ...]:
    """The features that the project puts in order first, the others as the plugin has them.

    (Draft PEP on building, "Populating static properties from provider plugins", step 6.) One
    feature needs no order.
    """
    names = [one.name for one in configs]
    first = [one.feature for one in metadata.feature_priorities if one.namespace == namespace]
    order = dict.fromkeys([*(name for name in first if name in names), *names])
    return tuple(order) if len(order) > 1 else ()


def with_static_properties(
    metadata: VariantMetadata,
    providers: Sequence[BuildProvider],
    answers: Mapping[str, PluginAnswer],
) -> VariantMetadata:
    """Metadata in which answers stand for ``build-requires`` (draft PEP on building).

    Raises ProviderError where such a plugin does not declare that all its properties are compatible.
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
            static_properties={one.name: one.values for one in answer.supported},
            feature_order=_feature_order(metadata, provider.namespace, answer.supported),
        )
    return replace(metadata, providers=MappingProxyType(filled))


class PluginEnvironments:
    """Environments with plugins, for the Python that runs this; created once and kept in the cache.

    With ``fresh`` each is created anew, once in the life of this object. An environment may be used
    for as long as this object lives: until then no other process replaces it.
    """

    def __init__(self, *, fresh: bool = False, notify: Callable[[str], None]) -> None:
        # Most commands only might install plugins.
        from polywheel.environments.virtual_environments import Environments, this_interpreter

        self._environments = Environments("providers", fresh=fresh, notify=notify)
        self._interpreter = this_interpreter()

    def python(self, requirements: Sequence[str]) -> str:
        """The interpreter of the environment with these requirements; this one if there are none.

        Raises ProviderError, and ConfigError where the settings for installers can't be followed.
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
    """A hint for a plugin that can't be installed: installers may carry the provider themselves."""
    return (
        f'if no index has the plugin, set [tool.polywheel.providers.{namespace}] query = "preset": it checks '
        "properties against the preset and installs nothing"
    )
