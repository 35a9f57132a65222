"""Who answers for each namespace of a release, and what a system supports of it.

The order of the questions is that of the draft PEP on providers, "Providers": is the provider enabled;
has it static properties; has the user said what is supported; has uv this provider built in; and only
then its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from polywheel.formats.ordering import SupportedValues
from polywheel.index.resolve import uv_providers
from polywheel.index.resolve.systems import System
from polywheel.index.resolve.uv_providers import Features
from polywheel.model.answers import PluginQuery
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    ABI_VALUE,
    Provider,
    VariantMetadata,
    VariantProperty,
)
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import PluginEnvironments, default_reference, that_hold

PluginRunner = Callable[[Sequence[Provider]], Mapping[str, Features]]
"""What fits this machine, by namespace, as the plugins of these providers say it."""
_NAMED = 8
"""How many values of one feature are named."""
PLUGIN_NOT_RUN = "was not asked (it runs with --trust only)"


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportedProperties:
    """What a system supports of the namespaces of one release."""

    supported: SupportedValues
    because: Mapping[tuple[str, ...], str]
    """Why nothing is supported of a namespace, or of a namespace and feature."""

    notes: tuple[str, ...] = ()

    def reason(self, unsupported: Sequence[VariantProperty]) -> str:
        """Why a feature with these values rules a variant out."""
        first = unsupported[0]
        listed = ", ".join(map(str, unsupported[:_NAMED]))
        if len(unsupported) > _NAMED:
            listed += f", and {len(unsupported) - _NAMED} more"
        what = f"{listed} is not supported" if len(unsupported) == 1 else f"none of {listed} is"
        why = self.because.get((first.namespace, first.feature))
        why = why or self.because.get((first.namespace,))
        if len(unsupported) > 1:
            what += " supported"
        return f"{what}: {why}" if why else what


@dataclass(frozen=True, kw_only=True, slots=True)
class _NamespaceSupport:
    """What is known of one namespace without running anything."""

    because: str
    """Why a property is not supported; empty where there is no more to say."""

    features: Features | None = None
    note: str | None = None


def find_support(
    system: System, metadata: VariantMetadata, *, ask: PluginRunner | None
) -> SupportedProperties:
    """What ``system`` supports of what the variants of ``metadata`` need.

    ``ask`` runs plugins; None where nobody has said that they may run. Raises ProviderError where
    one fails.
    """
    variants = metadata.variants.values()
    namespaces = {prop.namespace for variant in variants for prop in variant.properties}
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
        every = {prop for variant in variants for prop in variant.properties}
        needed = sorted(prop for prop in every if prop.namespace == ABI_DEPENDENCY)
        supported[ABI_DEPENDENCY] = _compatible_abi_values(needed, system.packages)
        because |= _abi_reasons(needed, system.packages)
    return SupportedProperties(supported=supported, because=because, notes=tuple(notes))


def _namespace_support(
    provider: Provider, system: System, ask: PluginRunner | None
) -> _NamespaceSupport | None:
    """What can be said of a provider's namespace; None where its plugin is to be asked."""
    namespace = provider.namespace
    if why := _disabled_reason(provider, system):
        return _NamespaceSupport(because=why)
    if provider.static_properties:
        order = provider.feature_order or tuple(provider.static_properties)
        note = None
        if namespace in system.supported:
            note = (
                f"[supported.{namespace}] of the description is not used: the provider has static "
                "properties, which go first"
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
        found = uv_providers.find(builtin)
        because = f"{found.summary} (found as uv's built-in provider does)"
        return _NamespaceSupport(because=because, features=found.features)
    why = _no_plugin_reason(provider, ask)
    return None if why is None else _NamespaceSupport(because=why)


def create_plugin_runner(
    at: str, *, fresh: bool = False, notify: Callable[[str], None]
) -> PluginRunner:
    """Plugins asked in an isolated environment that is made for them, and kept.

    ``at`` says where the providers are declared, for messages.
    """
    environments = PluginEnvironments(fresh=fresh, notify=notify)

    def ask(providers: Sequence[Provider]) -> Mapping[str, Features]:
        wanted = [requirement for provider in providers for requirement in provider.requires]
        python = environments.python(wanted)
        queries = [
            PluginQuery(
                namespace=provider.namespace,
                reference=provider.plugin_api or default_reference(that_hold(provider.requires)),
                requires=provider.requires,
                at=f"{at}: providers.{provider.namespace}",
                supported=True,
            )
            for provider in providers
        ]
        answers = ask_plugins(queries, python=python, notify=notify)
        return {
            answer.namespace: {one.name: one.values for one in answer.supported or ()}
            for answer in answers
        }

    return ask


def _disabled_reason(provider: Provider, system: System) -> str | None:
    """Why a provider is disabled; None where it is not."""
    if provider.optional and provider.namespace not in system.enabled:
        return f"its provider is optional, and not enabled (--enable {provider.namespace})"
    if provider.enable_if is not None:
        try:
            enabled = Marker(provider.enable_if).evaluate({**system.environment, "extra": ""})
        except (UndefinedComparison, UndefinedEnvironmentName):
            enabled = False
        if not enabled:
            return f"its provider is not for this machine (enable-if: {provider.enable_if})"
    return None


def _no_plugin_reason(provider: Provider, ask: PluginRunner | None) -> str | None:
    """Why nobody can be asked what is supported; None where the plugin can."""
    if provider.builtin is not None:
        return f"its provider is built into installers ({provider.builtin}), and this is none"
    if not provider.requires:
        return "it has no provider"
    try:
        here = that_hold(provider.requires)
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        return f"a marker of its provider can't be evaluated: {error}"
    if not here:
        return "no requirement of its provider is for this machine"
    return f"the plugin of {provider.namespace} {PLUGIN_NOT_RUN}" if ask is None else None


def _compatible_abi_values(
    needed: Iterable[VariantProperty], packages: Mapping[str, Version]
) -> dict[str, tuple[str, ...]]:
    """The versions that match what is installed, by package (draft PEP, "ABI Dependency").

    The draft says nothing of their order. As variantlib has it: packages by name, and the version
    with the fewest components first.
    """
    found: dict[str, list[str]] = {}
    for prop in needed:
        version = packages.get(prop.feature)
        if version is None or not ABI_VALUE.fullmatch(prop.value):
            continue
        try:
            fits = SpecifierSet(f"=={prop.value}.*").contains(version, prereleases=True)
        except ValueError:  # a number of more digits than Python reads
            continue
        if fits:
            found.setdefault(prop.feature, []).append(prop.value)
    return {
        name: tuple(sorted(values, key=lambda value: (value.count("."), value)))
        for name, values in sorted(found.items())
    }


def _abi_reasons(
    needed: Iterable[VariantProperty], packages: Mapping[str, Version]
) -> dict[tuple[str, ...], str]:
    return {
        (ABI_DEPENDENCY, prop.feature): f"{prop.feature} {packages[prop.feature]} is installed"
        if prop.feature in packages
        else f"{prop.feature} is not installed"
        for prop in needed
    }
