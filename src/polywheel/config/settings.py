"""``[tool.polywheel]``, read into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polywheel.config.checks import object_reference, requirements, seconds
from polywheel.config.profile_table import read_partial_profile
from polywheel.config.reader import Table
from polywheel.config.setup_table import read_setup_rules
from polywheel.model.profile import BackendProfile
from polywheel.model.properties import FEATURE, NAMESPACE
from polywheel.model.setup import SetupRule

# Tables that other commands read; a build of one variant leaves them alone.
_READ_ELSEWHERE = ("matrix", "targets")
PROVIDER_TIMEOUT = 60.0
"""Seconds that the plugins of one build may take, where the project does not say."""
QUERIES = ("plugin", "preset", "never")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderOverride:
    """``[tool.polywheel.providers.ns]``: who is asked while building, in place of the declared."""

    requires: tuple[str, ...] = ()
    """Requirements that bring the plugin."""

    plugin_api: str | None = None
    """The plugin's object, as `module:attribute`; told from the first requirement where it is
    absent."""

    query: str | None = None
    """``plugin``: install and ask it; ``preset``: validate against the preset of the namespace and
    install nothing; ``never``: take properties as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How polywheel is to build this project."""

    build_backend: str | None = None
    """The real backend, as ``module`` or ``module:object``; inferred where it is absent."""

    backend_path: tuple[str, ...] | None = None
    """Folders of an in-tree real backend, relative to the project (PEP 517)."""

    metadata_fields: bool = True
    """Whether METADATA gets ``Variant-*`` fields as well as there being a variant.json."""

    providers: Mapping[str, ProviderOverride] = field(default_factory=dict)
    """By namespace: who is asked while building, in place of what is declared."""

    provider_timeout: float = PROVIDER_TIMEOUT
    """Seconds that the plugins of one build may take to answer."""

    setup: tuple[SetupRule, ...] = ()
    """What variants ask of the build, by `*`, namespace, feature, property or `label:GLOB`."""

    presets: tuple[str, ...] = ()
    """The presets whose rules apply, by name."""

    strict: bool = False
    """Whether what the real backend can't be told is an error."""

    compiled: bool | None = None
    """Whether wheels of variants hold compiled code. `false` is for projects that are pure Python, or
    hold only data for a platform; `true` refuses every wheel without compiled code. By default a wheel
    is refused if it has none, though its tags are for one platform, the variant asks for compiler
    flags, or the project declares extension modules."""

    backend: BackendProfile | None = None
    """What the project says of its backend's profile, or of a backend that has none."""

    has_matrix: bool = False
    """Whether labels may come from a matrix, so that not all of them are known here."""


def read_settings(table: Table) -> Settings:
    """Read ``[tool.polywheel]``; what is wrong is noted in the table's problems."""
    if "backend-path" in table and "build-backend" not in table:
        table.wrong(
            "backend-path",
            "backend-path is for an in-tree backend, and none is named",
            "name it: build-backend = …",
        )
    compiled = table.boolean("compiled", True)
    settings = Settings(
        build_backend=object_reference(
            table, "build-backend", "expected 'module' or 'module:object', as in [build-system]"
        ),
        backend_path=table.strings("backend-path"),
        metadata_fields=table.boolean("metadata-fields", True),
        providers=_providers(table.table("providers")),
        provider_timeout=seconds(table, "provider-timeout", 86400) or PROVIDER_TIMEOUT,
        setup=read_setup_rules(table.table("setup")),
        presets=table.names("presets", FEATURE),
        strict=table.boolean("strict", False),
        compiled=compiled if "compiled" in table else None,
        backend=(
            read_partial_profile(table.table("backend"), "backend") if "backend" in table else None
        ),
        has_matrix="matrix" in table,
    )
    table.finish(also_known=_READ_ELSEWHERE)
    return settings


def _providers(table: Table) -> dict[str, ProviderOverride]:
    found = {}
    for namespace in table.names_of_tables(NAMESPACE):
        one = table.table(namespace)
        query = one.string("query")
        if query is not None and query not in QUERIES:
            one.wrong("query", f"unknown query {query!r}", "known: " + ", ".join(QUERIES))
        override = ProviderOverride(
            requires=requirements(one, "requires"),
            plugin_api=object_reference(one, "plugin-api", "expected 'module:attribute'"),
            query=query,
        )
        if query in {"preset", "never"} and (override.requires or override.plugin_api):
            one.wrong("query", f"query = {query!r} installs and asks no plugin, but one is named")
        one.finish()
        found[namespace] = override
    return found
