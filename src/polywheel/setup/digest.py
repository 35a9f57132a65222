"""Compare build setups of variants: with equal setups, their wheels have the same content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from polywheel.model.setup import BuildSetup, Entry, SetupFields, SetupRule
from polywheel.model.variant import Variant
from polywheel.setup.rules import SetupSources, merge_rules

_FOLDERS = "folders for "
_PREFIXES = ("", "env.", "config-settings.", "defines.")
"""The prefixes of names in the tables of a setup, in the order of :func:`comparable`."""


def without_folders(sources: SetupSources) -> SetupSources:
    """The sources with lists of folders as ordinary lists.

    Only the machine that builds knows which folder exists. Otherwise two toolkits that are not on this machine
    would look like no setup at all.
    """

    def changed(fields: SetupFields) -> SetupFields:
        folders = {name: text for name, text in fields.env.items() if isinstance(text, tuple)}
        kept = {name: text for name, text in fields.env.items() if not folders.get(name)}
        listed = {f"{_FOLDERS}{name}": text for name, text in folders.items() if text}
        return replace(fields, env=kept, config_settings={**fields.config_settings, **listed})

    def changed_rules(rules: Iterable[SetupRule]) -> tuple[SetupRule, ...]:
        return tuple(
            replace(
                rule,
                fields=changed(rule.fields),
                by_compiler={name: changed(fields) for name, fields in rule.by_compiler.items()},
                by_backend={name: changed(fields) for name, fields in rule.by_backend.items()},
            )
            for rule in rules
        )

    presets = [replace(preset, rules=changed_rules(preset.rules)) for preset in sources.presets]
    return replace(sources, rules=changed_rules(sources.rules), presets=presets)


def comparable(setup: BuildSetup) -> tuple[Any, ...]:
    """The values of a setup without their origins."""

    def values(entries: Mapping[str, Entry | tuple[Entry, ...]]) -> tuple[Any, ...]:
        return tuple(
            (name, entry.value if isinstance(entry, Entry) else tuple(e.value for e in entry))
            for name, entry in sorted(entries.items())
        )

    return (
        values(setup.flags),
        values(setup.env),
        values(setup.config_settings),
        values(setup.defines),
        tuple(sorted(entry.value for entry in setup.requires)),
        tuple(sorted(entry.value for entry in setup.dependencies)),
    )


def named_values(
    setups: Sequence[tuple[Any, ...]], compilers: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Comparable setups, one for each family of compilers, as values by name.

    The names are the paths of keys in a setup rule. Those of the first family have no prefix. For other families,
    only values that differ are listed: ``compiler.msvc.cflags``.
    """
    if not setups:
        return {}
    first, *others = map(_named_values, setups)
    different = {
        f"compiler.{compiler}.{name}": values.get(name, ())
        for compiler, values in zip(compilers[1:], others, strict=True)
        for name in sorted({*first, *values})
        if values.get(name, ()) != first.get(name, ())
    }
    return {**first, **different}


def _named_values(setup: tuple[Any, ...]) -> dict[str, tuple[str, ...]]:
    *tables, requires, dependencies = setup
    values: dict[str, tuple[str, ...]] = {}
    for prefix, table in zip(_PREFIXES, tables, strict=True):
        for name, value in table:
            folders = name.startswith(_FOLDERS)
            key = f"env.{name.removeprefix(_FOLDERS)}" if folders else prefix + name
            values[key] = (value,) if isinstance(value, str) else tuple(value)
    values |= {"requires": requires} if requires else {}
    values |= {"dependencies": dependencies} if dependencies else {}
    return dict(sorted(values.items()))


def setup_digest(variant: Variant, sources: SetupSources) -> str:
    """The SHA-256 of a variant's build setup, in hexadecimal.

    As in a plan, lists of folders are compared, whether or not the folders exist.
    """
    return _digest(merge_rules(variant, without_folders(sources)))


def _digest(setup: BuildSetup) -> str:
    return hashlib.sha256(json.dumps(comparable(setup)).encode()).hexdigest()


NO_SETUP = _digest(BuildSetup())
"""The digest of an empty setup, for example of the non-variant wheel."""
