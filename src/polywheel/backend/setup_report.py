"""Report the build setup of a variant as JSON or as text. Nothing is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polywheel.backend.hook_call import HookCall
from polywheel.backend.pipeline import resolve_delivery
from polywheel.errors import ConfigError
from polywheel.model.setup import BuildSetup, Entry, SetupValues
from polywheel.providers.plugins import PluginEnvironments, build_providers, plugin_requirements
from polywheel.setup.resolve import build_requirements, resolve_setup

SHAPE = 1
"""The version of the JSON format."""


def setup_report(
    call: HookCall, plugins: PluginEnvironments, *, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the build setup of a variant, the origin of each value, and how the real backend gets it.

    Plugins run in an isolated environment, which is kept. ``environment`` has the marker variables of
    another machine, if the build runs there. Raises ConfigError if no variant is selected, and the
    errors that a build raises before it starts.
    """
    if call.variant is None:
        raise ConfigError(
            "no variant is selected",
            at="config setting variant",
            hint="use -Cvariant=x86_64::level::v3, or -Cvariant-label=…",
        )
    requirements = plugin_requirements(build_providers(call.project, call.variant))
    resolved = resolve_setup(
        call.project,
        call.choice,
        call.variant,
        python=plugins.python(requirements),
        notify=call.notify,
        environment=environment,
    )
    delivery = resolve_delivery(call, resolved)
    return {
        "shape": SHAPE,
        "variant": {
            "label": call.variant.label,
            "hash": None if call.variant.is_null else call.variant.hash,
            "properties": list(map(str, call.variant.properties)),
        },
        "backend": call.choice.build_backend,
        "compiler": resolved.compiler,
        "setup": _setup(resolved.setup),
        "setup-digest": resolved.setup_digest,
        "requires": build_requirements(resolved),
        "told": list(delivery.passed),
        "warnings": list(delivery.warnings),
        "notes": list(resolved.setup.notes),
    }


def setup_report_lines(report: dict[str, Any]) -> Iterator[str]:
    """The result of :func:`setup_report` as lines for a terminal."""
    variant = report["variant"]
    yield f"variant {variant['label']}: {', '.join(variant['properties']) or 'no properties'}"
    yield f"real backend {report['backend']}, compiler flags for {report['compiler']}"
    for field, pieces in report["setup"].items():
        for piece in pieces:
            name = f" {piece['name']} =" if "name" in piece else ""
            yield f"  {field}{name} {piece['value']}  ({piece['origin']})"
    titles = {"requires": "requires", "told": "passed", "warnings": "warning", "notes": "note"}
    for key, title in titles.items():
        for line in report[key]:
            yield f"{title}: {line}"


def setup_values(setup: BuildSetup) -> tuple[SetupValues, ...]:
    """Return the values of a build setup, those of one field and one origin together."""
    values: dict[tuple[str, str], list[str]] = {}
    for field, pieces in _setup(setup).items():
        for piece in pieces:
            name = f"{field}.{piece['name']}" if "name" in piece else field
            values.setdefault((name, piece["origin"]), []).append(piece["value"])
    return tuple(
        SetupValues(name=name, values=tuple(texts), origin=origin)
        for (name, origin), texts in values.items()
    )


def _setup(setup: BuildSetup) -> dict[str, list[dict[str, str]]]:
    """By field: the value and origin of each entry, and its name if it has one."""

    def entry_json(entry: Entry, name: str | None = None) -> dict[str, str]:
        named = {} if name is None else {"name": name}
        return {**named, "value": entry.value, "origin": entry.origin}

    fields = {
        field: [entry_json(entry) for entry in entries] for field, entries in setup.flags.items()
    }
    fields["env"] = [entry_json(entry, name) for name, entry in setup.env.items()]
    fields["defines"] = [entry_json(entry, name) for name, entry in setup.defines.items()]
    fields["config-settings"] = [
        entry_json(entry, key)
        for key, value in setup.config_settings.items()
        for entry in ((value,) if isinstance(value, Entry) else value)
    ]
    fields["requires"] = [entry_json(entry) for entry in setup.requires]
    fields["dependencies"] = [entry_json(entry) for entry in setup.dependencies]
    return {field: pieces for field, pieces in fields.items() if pieces}
