"""Comparing what variants ask of the build: where it is equal, their wheels have the same content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from polywheel.model.setup import BuildSetup, Entry, SetupFields, SetupRule
from polywheel.model.variant import Variant
from polywheel.setup.rules import SetupSources, merge_rules


def without_folders(rule: SetupRule) -> SetupRule:
    """The rule with lists of folders as mere lists.

    Which folder exists is known where the build runs. Here two toolkits that are not on this
    machine must not look as if nothing were asked for either.
    """

    def changed(fields: SetupFields) -> SetupFields:
        folders = {name: text for name, text in fields.env.items() if isinstance(text, tuple)}
        kept = {name: text for name, text in fields.env.items() if not folders.get(name)}
        listed = {f"folders for {name}": text for name, text in folders.items() if text}
        return replace(fields, env=kept, config_settings={**fields.config_settings, **listed})

    return replace(
        rule,
        fields=changed(rule.fields),
        by_compiler={name: changed(fields) for name, fields in rule.by_compiler.items()},
        by_backend={name: changed(fields) for name, fields in rule.by_backend.items()},
    )


def comparable(setup: BuildSetup) -> tuple[Any, ...]:
    """A setup without where its entries come from."""

    def values(entries: Mapping[str, Entry | tuple[Entry, ...]]) -> tuple[Any, ...]:
        return tuple(
            (name, entry.value if isinstance(entry, Entry) else tuple(one.value for one in entry))
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


def setup_digest(variant: Variant, sources: SetupSources) -> str:
    """The SHA-256, hexadecimal, of what a variant asks of the build.

    As in a plan, lists of folders are compared as lists, whether or not such folders exist.
    """
    rules = tuple(map(without_folders, sources.rules))
    presets = [
        replace(one, rules=tuple(map(without_folders, one.rules))) for one in sources.presets
    ]
    return _digest(merge_rules(variant, replace(sources, rules=rules, presets=presets)))


def _digest(setup: BuildSetup) -> str:
    return hashlib.sha256(json.dumps(comparable(setup)).encode()).hexdigest()


NO_SETUP = _digest(BuildSetup())
"""The digest of what asks for nothing: the non-variant wheel, for example."""
