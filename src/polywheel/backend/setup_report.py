"""The build setup of a variant, for a person or a program to read; nothing is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polywheel.backend.hook_call import HookCall
from polywheel.backend.pipeline import delivered
from polywheel.errors import ConfigError
from polywheel.model.setup import BuildSetup, Entry
from polywheel.providers.plugins import PluginEnvironments, build_providers, plugin_requirements
from polywheel.setup.resolve import build_requirements, resolve_setup

SHAPE = 1
"""The version of what :func:`setup_report` returns."""


def setup_report(
    build: HookCall,
    plugins: PluginEnvironments,
    *,
    notify: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the build of a variant would be told, each piece with its origin.

    Plugins are asked in an isolated environment that is kept. ``environment`` has the marker
    variables of where it is built, if that is not here. Raises ConfigError where no variant
    is asked for, and whatever a build would raise before it starts.
    """
    if build.variant is None:
        raise ConfigError(
            "no variant is asked for",
            at="config setting variant",
            hint="name one: -Cvariant=x86_64::level::v3, or -Cvariant-label=…",
        )
    wanted = plugin_requirements(build_providers(build.project, build.variant))
    asked = resolve_setup(
        build.project,
        build.choice,
        build.variant,
        python=plugins.python(wanted),
        notify=notify,
        environment=environment,
    )
    delivery = delivered(build, asked)
    return {
        "shape": SHAPE,
        "variant": {
            "label": build.variant.label,
            "hash": None if build.variant.is_null else build.variant.hash,
            "properties": list(map(str, build.variant.properties)),
        },
        "backend": build.choice.build_backend,
        "compiler": asked.compiler,
        "setup": _setup(asked.setup),
        "setup-digest": asked.setup_digest,
        "requires": build_requirements(asked),
        "told": list(delivery.told),
        "warnings": list(delivery.warnings),
        "notes": list(asked.setup.notes),
    }


def setup_report_lines(found: dict[str, Any]) -> Iterator[str]:
    """What :func:`setup_report` returned, as lines for a terminal."""
    variant = found["variant"]
    yield f"variant {variant['label']}: {', '.join(variant['properties']) or 'no properties'}"
    yield f"real backend {found['backend']}, compiler flags for {found['compiler']}"
    for field, pieces in found["setup"].items():
        for piece in pieces:
            name = f" {piece['name']} =" if "name" in piece else ""
            yield f"  {field}{name} {piece['value']}  ({piece['origin']})"
    titles = {"requires": "requires", "told": "passed", "warnings": "warning", "notes": "note"}
    for key, title in titles.items():
        for line in found[key]:
            yield f"{title}: {line}"


def _setup(setup: BuildSetup) -> dict[str, list[dict[str, str]]]:
    """By field: value and origin of each entry, and its name where the field has names."""

    def one(entry: Entry, name: str | None = None) -> dict[str, str]:
        named = {} if name is None else {"name": name}
        return {**named, "value": entry.value, "origin": entry.origin}

    found = {field: [one(entry) for entry in entries] for field, entries in setup.flags.items()}
    found["env"] = [one(entry, name) for name, entry in setup.env.items()]
    found["defines"] = [one(entry, name) for name, entry in setup.defines.items()]
    found["config-settings"] = [
        one(entry, key)
        for key, value in setup.config_settings.items()
        for entry in ((value,) if isinstance(value, Entry) else value)
    ]
    found["requires"] = [one(entry) for entry in setup.requires]
    found["dependencies"] = [one(entry) for entry in setup.dependencies]
    return {field: pieces for field, pieces in found.items() if pieces}
