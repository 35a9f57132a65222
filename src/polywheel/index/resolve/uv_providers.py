"""The built-in providers of uv: which providers of a release they replace, and what they support.

This is the behaviour of uv 0.13.9 (docs/systems.md). uv runs no plugins, and supports no
property of any other provider.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from polywheel.config.reader import parse_requirement
from polywheel.index.resolve import hardware
from polywheel.model.variant import ABI_DEPENDENCY, Provider

Features = Mapping[str, Sequence[str]]

FORCED_DRIVER = "NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION"
FORCED_ARCHITECTURE = "NV_VARIANT_PROVIDER_FORCE_SM_ARCH"
FORCED_TPU = "TPU_VARIANT_PROVIDER_FORCE_PRESENT"
_CUDA_MAJORS = range(11, 16)
"""The known CUDA versions, each with 20 minor versions."""
_CUDA_MINORS = range(21)
_GPU_MAJORS = range(5, 13)
"""The known compute capabilities."""
_MAX_VERSION_PART = 99
"""The highest number in a version. Each lower one becomes a value."""


@dataclass(frozen=True, slots=True)
class DetectedFeatures:
    """The features that a built-in provider detects on this machine."""

    features: Features
    summary: str
    """A summary of the hardware, or why it is unknown."""


@dataclass(frozen=True, slots=True)
class _BuiltInProvider:
    package: str
    version: str
    """The version that a specifier must allow."""

    plugin_apis: tuple[str | None, ...]
    """Allowed values of ``plugin-api``; None if it may be omitted."""

    detect: Callable[[], DetectedFeatures]


def builtin_namespace(provider: Provider) -> str | None:
    """Return the namespace of the built-in provider that replaces this one; None if uv has none."""
    known = _BUILT_IN.get(provider.namespace)
    if known is None or provider.optional or len(provider.requires) != 1:
        return None
    try:
        requirement = parse_requirement(provider.requires[0])
    except InvalidRequirement:
        return None
    if (
        canonicalize_name(requirement.name) != known.package
        or requirement.extras
        or requirement.marker
        or requirement.url
        or not requirement.specifier.contains(known.version, prereleases=True)
        or provider.plugin_api not in known.plugin_apis
    ):
        return None
    return provider.namespace


def detect(namespace: str) -> DetectedFeatures:
    """Detect the features of a built-in provider on this machine. Raises no exception."""
    return _BUILT_IN[namespace].detect()


def no_builtin_reason(provider: Provider) -> str:
    """Return why uv installs no variant that needs a provider that is not built in."""
    if provider.optional:
        return "it is optional, and uv can't enable it"
    if provider.builtin is not None:
        return f"uv has no built-in provider {provider.builtin!r}"
    reason = f"uv runs no plugins, and has no built-in provider for {', '.join(provider.requires)}"
    known = _BUILT_IN.get(provider.namespace)
    if known is None:
        return reason
    instead = f'requires = ["{known.package}"]'
    if None not in known.plugin_apis:
        instead += f', plugin-api = "{known.plugin_apis[0]}"'
    return f"{reason}; it has one for {instead}"


_KEYS = frozenset({"$schema", "default-priorities", "providers", "variants"})
_PROVIDER_KEYS = frozenset(
    {"requires", "plugin-api", "optional", "static-properties", "feature-order", "builtin"}
)


def uv_objection(document: Mapping[str, Any]) -> str | None:
    """Return why uv refuses a valid variants.json, and skips its release; None if it accepts it.

    uv refuses unknown keys, which readers should ignore according to PEP 825.
    """
    for key in (*sorted(set(document) - _KEYS), *sorted(_KEYS - set(document))):
        return f"it {'has' if key in document else 'lacks'} the key {key!r}"
    for key in sorted(set(document["default-priorities"]) - {"namespace"}):
        return f"it has the key 'default-priorities.{key}'"
    if set(document["providers"]) != set(document["default-priorities"]["namespace"]):
        return "its providers are not those of default-priorities.namespace"
    for namespace, provider in document["providers"].items():
        for key in sorted(set(provider) - _PROVIDER_KEYS):
            return f"it has the key 'providers.{namespace}.{key}'"
    if any(ABI_DEPENDENCY in variant for variant in document["variants"].values()):
        return f"it uses {ABI_DEPENDENCY}"
    return None


def _processor(
    architecture: str,
    name: str,
    feature: str,
    certain: str,
    read_values: Callable[[], Sequence[str] | None],
) -> DetectedFeatures:
    """Detect the levels or versions of this processor, of which ``certain`` is in every one."""
    if hardware.architecture() != architecture:
        return DetectedFeatures({}, f"this Python is not for {name}")
    values = read_values()
    if values is None:
        unknown = f"the {feature} of this processor is unknown; {certain} is certain"
        return DetectedFeatures({feature: (certain,)}, unknown)
    return DetectedFeatures(
        {feature: values}, f"this processor has the {feature}s {', '.join(values)}"
    )


def _x86_64() -> DetectedFeatures:
    return _processor("x86_64", "x86-64", "level", "v1", hardware.x86_64_levels)


def _aarch64() -> DetectedFeatures:
    return _processor("aarch64", "AArch64", "version", "8a", hardware.aarch64_versions)


def _nvidia() -> DetectedFeatures:
    forced, forced_gpu = os.environ.get(FORCED_DRIVER), os.environ.get(FORCED_ARCHITECTURE)
    try:
        driver = _pair(forced) if forced else hardware.cuda_driver()
        gpu = _pair(forced_gpu, exact=True) if forced_gpu else None
    except ValueError as error:
        return DetectedFeatures({}, f"{FORCED_DRIVER} or {FORCED_ARCHITECTURE}: {error}")
    if driver is None:
        installed = hardware.find_nvidia_smi() is not None
        detail = "nvidia-smi reports no CUDA version" if installed else "no nvidia-smi"
        return DetectedFeatures({}, f"no NVIDIA driver was found ({detail})")
    cuda = f"CUDA {driver[0]}.{driver[1]}"
    if not forced and driver[0] not in _CUDA_MAJORS:
        return DetectedFeatures({}, f"uv does not know {cuda}, which the driver has")
    gpu = gpu or (None if forced_gpu == "" else hardware.compute_capability())
    capability = f"the GPU has compute capability {gpu[0]}.{gpu[1]}" if gpu else "no GPU was found"
    features = nvidia_features(driver, gpu)
    return DetectedFeatures(features, f"the driver has {cuda}, {capability}")


def nvidia_features(
    driver: hardware.Version, gpu: hardware.Version | None
) -> dict[str, tuple[str, ...]]:
    """Return the features for a CUDA version of the driver and a compute capability."""
    major, minor = driver
    lower: list[str] = []
    for number in range(major, _CUDA_MAJORS.start - 1, -1):
        newest = minor if number == major else _CUDA_MINORS[-1]
        lower += [*(f"{number}.{part}" for part in range(newest, -1, -1)), str(number)]
    upper: list[str] = []
    for number in range(_CUDA_MAJORS[-1], max(major, _CUDA_MAJORS[0] - 1), -1):
        upper += [*(f"{number}.{part}" for part in reversed(_CUDA_MINORS)), str(number)]
    upper += [f"{major}.{part}" for part in reversed(_CUDA_MINORS) if part > minor]
    features = {"cuda_version_lower_bound": tuple(lower), "cuda_version_upper_bound": tuple(upper)}
    if gpu is not None and gpu[0] in _GPU_MAJORS:
        known = range(min(gpu[1], 9), -1, -1)
        real = (f"{gpu[0]}{number}_real" for number in known)
        features["sm_arch"] = (*real, f"{gpu[0]}0_virtual")
    return features


def _pair(text: str, *, exact: bool = False) -> hardware.Version:
    """Parse the major and minor number of a version. Raises ValueError."""
    try:
        release = Version(text).release
    except ValueError:  # InvalidVersion, or a number of more digits than Python reads
        raise ValueError(f"{text!r} is not a version") from None
    if exact and len(release) != 2:
        raise ValueError(f"{text!r} is not of the form 9.0")
    major, minor = (*release, 0)[:2]
    if max(major, minor) > _MAX_VERSION_PART:
        raise ValueError(f"{text!r} is not a known version")
    return major, minor


def _tpu() -> DetectedFeatures:
    present = os.environ.get(FORCED_TPU, "").strip().lower() in {"1", "true", "yes"}
    return DetectedFeatures(
        {"present": ("true" if present else "false",)},
        f"{FORCED_TPU} is {'' if present else 'not '}set to 1",
    )


_BUILT_IN: Mapping[str, _BuiltInProvider] = {
    "x86_64": _BuiltInProvider(
        "x86-64-variant-provider", "0.2.1", (None, "x86_64_variant_provider"), _x86_64
    ),
    "aarch64": _BuiltInProvider(
        "aarch64-variant-provider", "0.2.0", (None, "aarch64_variant_provider"), _aarch64
    ),
    "nvidia": _BuiltInProvider(
        "nvidia-variant-provider",
        "0.0.1",
        ("nvidia_variant_provider.plugin:NvidiaVariantPlugin",),
        _nvidia,
    ),
    "tpu": _BuiltInProvider(
        "tpu-variant-provider", "0.1.0", ("tpu_variant_provider.plugin:TpuVariantPlugin",), _tpu
    ),
}
