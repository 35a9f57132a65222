"""Find the properties of a release that a system supports.

The order of the rules is that of the draft PEP on providers, "Providers": disabled provider,
static properties, description of the system, provider that uv has built in, plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from polywheel.formats.variant_order import SupportedValues, rank_properties, rank_variant
from polywheel.index.resolve import uv_providers
from polywheel.index.resolve.systems import System, this_machine
from polywheel.index.resolve.uv_providers import Features
from polywheel.model.plugin_answers import PluginQuery
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    ABI_VALUE,
    Provider,
    VariantMetadata,
    VariantProperty,
)
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import (
    PluginEnvironments,
    applicable_requirements,
    default_reference,
)
from polywheel.system.terminal import join_first

PluginRunner = Callable[[Sequence[Provider]], Mapping[str, Features]]
"""Runs the plugins of providers. Returns supported features by namespace."""
_MAX_NAMED_VALUES = 8
"""Maximum number of values of one feature that a reason names."""
PLUGIN_NOT_RUN = "was not run (plugins run only with --trust)"


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportedProperties:
    """The properties of one release that a system supports."""

    supported: SupportedValues
    because: Mapping[tuple[str, ...], str]
    """Why a namespace, or a feature of a namespace, is not supported."""

    notes: tuple[str, ...] = ()

    def reason(self, unsupported: Sequence[VariantProperty]) -> str:
        """Return why a feature with these values rules out a variant."""
        first = unsupported[0]
        listed = join_first(map(str, unsupported), _MAX_NAMED_VALUES)
        single = len(unsupported) == 1
        text = f"{listed} is not supported" if single else f"none of {listed} is supported"
        because = self.because.get((first.namespace, first.feature))
        because = because or self.because.get((first.namespace,))
        return f"{text}: {because}" if because else text


@dataclass(frozen=True, kw_only=True, slots=True)
class _NamespaceSupport:
    """The support of one namespace, if no plugin has to run."""

    because: str
    """Why other properties are not supported; empty if there is no reason to add."""

    features: Features | None = None
    note: str | None = None


def find_support(
    system: System, metadata: VariantMetadata, *, ask: PluginRunner | None
) -> SupportedProperties:
    """Find the properties of ``metadata`` that ``system`` supports.

    ``ask`` runs plugins; None if they must not run. Raises ProviderError if a plugin fails.
    """
    variants = metadata.variants.values()
    properties = {prop for variant in variants for prop in variant.properties}
    namespaces = {prop.namespace for prop in properties}
    supported: dict[str, Features] = {}
    because: dict[tuple[str, ...], str] = {}
    notes: list[str] = []
    to_ask: list[Provider] = []
    for namespace in sorted(namespaces - {ABI_DEPENDENCY}):
        provider = metadata.providers.get(namespace) or Provider(namespace=namespace)
        if namespace not in metadata.namespaces:
            because[namespace,] = f"{namespace} is not in default-priorities.namespace"
            continue
        answer = _namespace_support(provider, system, ask)
        if answer is None:
            to_ask.append(provider)
        else:
            because[namespace,] = answer.because
            supported[namespace] = answer.features or {}
            notes += [answer.note] if answer.note is not None else []
        if provider.requires and uv_providers.builtin_namespace(provider) is None:
            reason = uv_providers.no_builtin_reason(provider)
            notes.append(f"uv installs no variant that needs {namespace}: {reason}")
    if to_ask and ask is not None:
        supported |= ask(to_ask)
    if ABI_DEPENDENCY in namespaces:
        needed = sorted(prop for prop in properties if prop.namespace == ABI_DEPENDENCY)
        supported[ABI_DEPENDENCY] = _compatible_abi_values(needed, system.packages)
        for package in (prop.feature for prop in needed):
            version = system.packages.get(package)
            state = f"{version} is installed" if version is not None else "is not installed"
            because[ABI_DEPENDENCY, package] = f"{package} {state}"
    return SupportedProperties(supported=supported, because=because, notes=tuple(notes))


def _namespace_support(
    provider: Provider, system: System, ask: PluginRunner | None
) -> _NamespaceSupport | None:
    """Return the support of a provider's namespace; None if its plugin has to run."""
    namespace = provider.namespace
    if why := _disabled_reason(provider, system):
        return _NamespaceSupport(because=why)
    if provider.static_properties:
        order = provider.feature_order or tuple(provider.static_properties)
        note = None
        if namespace in system.supported:
            note = (
                f"[supported.{namespace}] of the description is ignored, because the provider has "
                "static properties"
            )
        return _NamespaceSupport(
            because="it is not among the static properties",
            features={name: provider.static_properties[name] for name in order},
            note=note,
        )
    if system.described:
        missing = f"the description has no [supported.{namespace}]"
        features = system.supported.get(namespace)
        return _NamespaceSupport(because=missing if features is None else "", features=features)
    builtin = uv_providers.builtin_namespace(provider)
    if builtin is not None:
        detected = uv_providers.detect(builtin)
        because = f"{detected.summary} (detected like uv's built-in provider)"
        return _NamespaceSupport(because=because, features=detected.features)
    why = _no_plugin_reason(provider, ask)
    return None if why is None else _NamespaceSupport(because=why)


def create_plugin_runner(at: str, *, fresh: bool, notify: Callable[[str], None]) -> PluginRunner:
    """Return a function that runs plugins in an isolated environment, which is cached.

    ``at`` names the source of the providers in messages.
    """
    environments = PluginEnvironments(fresh=fresh, notify=notify)

    def ask(providers: Sequence[Provider]) -> Mapping[str, Features]:
        requirements = [requirement for provider in providers for requirement in provider.requires]
        python = environments.python(requirements)
        queries = [
            PluginQuery(
                namespace=provider.namespace,
                reference=provider.plugin_api
                or default_reference(applicable_requirements(provider.requires)),
                requires=provider.requires,
                at=f"{at}: providers.{provider.namespace}",
                supported=True,
            )
            for provider in providers
        ]
        answers = ask_plugins(queries, python=python, notify=notify)
        return {
            answer.namespace: {feature.name: feature.values for feature in answer.supported or ()}
            for answer in answers
        }

    return ask


def why_unsupported(
    metadata: VariantMetadata, properties: Iterable[VariantProperty], *, ask: PluginRunner
) -> str | None:
    """Return why this machine does not support some properties of a wheel; None if it does.

    Nothing is known about namespaces without a provider, and about ABI dependencies, which the wheel's
    requirements install: they count as supported. Raises ProviderError if a plugin fails.
    """
    known = [prop for prop in properties if _has_provider(metadata, prop.namespace)]
    variant = replace(next(iter(metadata.variants.values())), properties=tuple(known))
    support = find_support(
        this_machine(), replace(metadata, variants={variant.label: variant}), ask=ask
    )
    ranks = rank_properties(metadata.namespaces, support.supported)
    unsupported = rank_variant(variant, ranks).unsupported
    return support.reason(unsupported[0]) if unsupported else None


def _has_provider(metadata: VariantMetadata, namespace: str) -> bool:
    provider = metadata.providers.get(namespace)
    return provider is not None and bool(
        provider.requires or provider.static_properties or provider.builtin
    )


def _disabled_reason(provider: Provider, system: System) -> str | None:
    """Return why a provider is disabled; None if it is enabled."""
    if provider.optional and provider.namespace not in system.enabled:
        return f"its provider is optional and not enabled (--enable {provider.namespace})"
    if provider.enable_if is not None:
        try:
            enabled = Marker(provider.enable_if).evaluate({**system.environment, "extra": ""})
        except (UndefinedComparison, UndefinedEnvironmentName):
            enabled = False
        if not enabled:
            return f"its provider does not apply to this machine (enable-if: {provider.enable_if})"
    return None


def _no_plugin_reason(provider: Provider, ask: PluginRunner | None) -> str | None:
    """Return why no plugin can be run; None if one can."""
    if provider.builtin is not None:
        return f"its provider is built into installers ({provider.builtin}), not into polywheel"
    if not provider.requires:
        return "it has no provider"
    try:
        here = applicable_requirements(provider.requires)
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        return f"a marker of its provider can't be evaluated: {error}"
    if not here:
        return "no requirement of its provider applies to this machine"
    return f"the plugin of {provider.namespace} {PLUGIN_NOT_RUN}" if ask is None else None


def _compatible_abi_values(
    needed: Iterable[VariantProperty], packages: Mapping[str, Version]
) -> dict[str, tuple[str, ...]]:
    """Return the versions that match installed packages, by package (draft PEP, "ABI Dependency").

    The draft does not define their order. As in variantlib, packages are sorted by name, and the
    version with the fewest components comes first.
    """
    matching: dict[str, list[str]] = {}
    for prop in needed:
        version = packages.get(prop.feature)
        if version is None or not ABI_VALUE.fullmatch(prop.value):
            continue
        try:
            fits = SpecifierSet(f"=={prop.value}.*").contains(version, prereleases=True)
        except ValueError:  # a number of more digits than Python reads
            continue
        if fits:
            matching.setdefault(prop.feature, []).append(prop.value)
    return {
        name: tuple(sorted(values, key=lambda value: (value.count("."), value)))
        for name, values in sorted(matching.items())
    }
