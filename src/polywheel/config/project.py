"""A project: its pyproject.toml, read and checked, with the settings of ``[tool.polywheel]``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from polywheel.config.declaration import (
    REFERENCE,
    REQUIREMENTS,
    SettingsTable,
    by_name,
    choice,
    duration,
    texts,
)
from polywheel.config.reader import Problems, Table, toml_document
from polywheel.config.setup_table import OWN_PROFILE, SETUP_RULES
from polywheel.config.variant_table import read_variant_table
from polywheel.config.wheel_tests import WHEEL_TESTS
from polywheel.errors import ConfigError
from polywheel.model.matrix import NO_TESTS, WheelTests
from polywheel.model.setup import COMPILER_CACHES, BackendProfile, SetupRule
from polywheel.model.variant import NAMESPACE, VariantMetadata, VariantProperty
from polywheel.system.files import read_regular
from polywheel.system.terminal import join_first

PROVIDER_TIMEOUT = 60.0
"""Seconds that the plugins of one build may take by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderOverride:
    """``[tool.polywheel.providers.ns]``: which plugin builds ask, instead of the declared one."""

    requires: tuple[str, ...] = ()
    """Requirements that install the plugin."""

    plugin_api: str | None = None
    """The object of the plugin, as `module:attribute`. By default it is the module named like the
    first requirement. It needs `requires`, here or in `[variant.providers]`."""

    query: str | None = None
    """``plugin``: install the plugin and ask it; ``preset``: check properties against the preset of the
    namespace, and install nothing; ``never``: do not check properties. Without it, the plugin is asked if there is
    one, and the plan compares properties of well-known plugins with the preset."""


def _check_provider(table: Table, override: ProviderOverride) -> None:
    if override.query in {"preset", "never"} and (override.requires or override.plugin_api):
        table.wrong(
            "query",
            f"query = {override.query!r} asks no plugin, so requires and plugin-api have no effect",
        )


_PROVIDER = SettingsTable(
    "provider",
    ProviderOverride,
    check=_check_provider,
    requires=REQUIREMENTS,
    plugin_api=REFERENCE,
    query=choice(("plugin", "preset", "never"), "query"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditSettings:
    """``[tool.polywheel.audit]``: what `polywheel audit` admits in the wheels of this project."""

    allow: tuple[str, ...] = ()
    """Functions that run only after a check of the processor which polywheel does not recognize, as `FILE` or
    `FILE:FUNCTION`. Both are globs: `demo/_core.*:*_avx2`."""

    baseline: tuple[VariantProperty, ...] = ()
    """Properties of every machine that the project supports, such as `x86_64 :: level :: v2`: wheels without a label
    may use its instructions. A label with the same feature wins."""

    builds: str = "off"
    """Whether `polywheel build` audits each wheel before it is published. "warn": findings are warnings. "error": a
    wheel with an error is not published. "off": no audit."""


def _check_audit(table: Table, settings: AuditSettings) -> None:
    for pattern in settings.allow:
        if not pattern.partition(":")[0]:
            table.wrong("allow", f"the pattern {pattern!r} names no file", "expected FILE:FUNCTION")


_AUDIT = SettingsTable(
    "audit",
    AuditSettings,
    check=_check_audit,
    baseline=texts(VariantProperty.parse),
    builds=choice(("off", "warn", "error"), "value"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How polywheel builds this project."""

    build_backend: str | None = None
    """The real backend, as ``module`` or ``module:object``. By default it is inferred from
    ``[build-system] requires``."""

    backend_path: tuple[str, ...] | None = None
    """Folders of an in-tree real backend, relative to the project (PEP 517)."""

    metadata_fields: bool = True
    """Whether METADATA has ``Variant-*`` fields, in addition to variant.json."""

    providers: Mapping[str, ProviderOverride] = field(default_factory=dict)
    """By namespace: which plugin builds ask, instead of the declared one."""

    provider_timeout: float = PROVIDER_TIMEOUT
    """Seconds that the plugins of one build may take to answer."""

    setup: tuple[SetupRule, ...] = ()
    """Setup rules, by `*`, namespace, feature, property, or `label:GLOB`."""

    presets: tuple[str, ...] = ()
    """The names of the presets whose rules apply."""

    strict: bool = False
    """Whether it is an error if the real backend does not support a part of the build setup, and if
    variants with different properties have the same build setup."""

    compiled: bool | None = None
    """Whether wheels of variants contain compiled code. `true`: every wheel without compiled code is an
    error. `false`: there is no check; for projects of pure Python or platform-specific data. By default,
    a wheel without compiled code is an error if its tags are for one platform, if the variant has
    compiler flags, or if the project declares extension modules."""

    compiler_cache: str = "off"
    """The compiler cache of `polywheel build` and of workflows. "ccache", "sccache": this one, which must be installed.
    "auto": one that is installed, if there is one. "off": none. The option is `--compiler-cache`."""

    backend: BackendProfile | None = None
    """Changes to the profile of the project's backend, or a profile for a backend that has none."""

    tests: WheelTests = NO_TESTS
    """How the wheels of all targets are tested. Targets and overrides can have other settings."""

    audit: AuditSettings = field(default_factory=AuditSettings)
    """What `polywheel audit` admits in the wheels of this project."""

    has_matrix: bool = False
    """Whether the project has a matrix. If so, not all labels are known here."""


def _check_settings(table: Table, _: Settings) -> None:
    if "backend-path" in table and "build-backend" not in table:
        table.wrong("backend-path", "backend-path needs build-backend", "add build-backend = …")


def _preset_name(value: str, *, at: str) -> str:  # noqa: ARG001  # load_preset knows the names
    return value


SETTINGS = SettingsTable(
    None,
    Settings,
    fixed={"has_matrix": False},
    keys={"tests": ""},
    tests=WHEEL_TESTS,
    # Read by the commands that plan: a build of one variant leaves these tables alone.
    other_keys=("matrix", "targets", "overrides", "ci"),
    check=_check_settings,
    build_backend=REFERENCE,
    providers=by_name(_PROVIDER, NAMESPACE),
    provider_timeout=duration(86400),
    setup=SETUP_RULES,
    presets=texts(_preset_name),
    compiler_cache=choice(COMPILER_CACHES, "compiler cache"),
    backend=OWN_PROFILE,
    audit=_AUDIT,
)


def read_settings(table: Table) -> Settings:
    """Read ``[tool.polywheel]``, and add problems to the table."""
    return SETTINGS.read_table(table, has_matrix="matrix" in table)


PYPROJECT = "pyproject.toml"
HATCH_FILE = "hatch.toml"
"""The file that hatchling reads in addition to ``[tool.hatch]``."""
CONFIG_VARIABLE = "POLYWHEEL_CONFIG"
"""The variable with the file whose tables replace those of the project, for the build backend."""
_PYPROJECT_TABLES = frozenset({"build-system", "dependency-groups", "project"})
"""Tables of a pyproject.toml that a file for ``--config`` does not have."""
_MOST_OTHERS = 4
"""How many of them a message names."""
_MOST = 64 * 1024 * 1024
"""The largest pyproject.toml, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSystem:
    """``[build-system]`` (PEP 517, PEP 518)."""

    requires: tuple[str, ...] = ()
    build_backend: str | None = None
    backend_path: tuple[str, ...] | None = None


_BUILD_SYSTEM = SettingsTable(None, BuildSystem)


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """The settings of a source tree."""

    source: Path
    """The root of the source tree, absolute."""

    build_system: BuildSystem
    settings: Settings
    metadata: VariantMetadata
    """``[variant]``; empty if it was not read."""

    document: Mapping[str, Any]
    """The whole of pyproject.toml, for what the real backend has to say in it.

    The tables of a hatch.toml beside it are in ``tool.hatch``, as hatchling has them.
    """

    tables: Mapping[str, Any] = field(default_factory=dict)
    """The file that holds ``[variant]`` and ``[tool.polywheel]``: pyproject.toml, or another."""

    file: str = PYPROJECT
    """The name of that file, for messages."""

    @property
    def name(self) -> str | None:
        """The normalized name of the project; None if pyproject.toml does not give it."""
        name = self._static("name")
        return canonicalize_name(name) if name is not None else None

    @property
    def version(self) -> str | None:
        """The version, as it is written; None if pyproject.toml does not give it."""
        return self._static("version")

    def _static(self, key: str) -> str | None:
        value = look_up(self.document, f"project.{key}")
        return value if isinstance(value, str) else None

    def at(self, key: str) -> str:
        """``pyproject.toml: variant.key``, for messages."""
        return f"{self.file}: {key}"


def look_up(document: object, path: str) -> object:
    """The value under a dotted path, such as ``tool.pdm.build``; None if there is none.

    In an array of tables, the first table that has the value counts.
    """
    if isinstance(document, list):
        values = (look_up(table, path) for table in document)
        return next((value for value in values if value is not None), None)
    key, _, rest = path.partition(".")
    value = document.get(key) if isinstance(document, Mapping) else None
    return look_up(value, rest) if rest else value


def read_project(
    source: Path, *, variants: bool, name: str = PYPROJECT, config: Path | None = None
) -> Project:
    """Read ``source/pyproject.toml``. Raises ConfigError with everything that is wrong in it.

    Without ``variants``, ``[variant]`` is not read: a build without a variant does not depend on it.
    ``name`` is the name of the file. The ``[variant]`` and ``[tool.polywheel]`` tables of the file ``config``
    replace those of the project.
    """
    refuse_file(source)
    document = _load(source / name)
    problems = Problems()
    own = Table(document, name, (), problems)
    own.table("project").string("requires-python")  # other keys are for the real backend alone
    root, tables = own, document
    if config is not None:
        tables = _load(
            config,
            hint=f"it is the file of --config, or of the variable {CONFIG_VARIABLE}",
            piped=True,
        )
        root = Table(tables, config.name, (), problems)
        _refuse_others(root)
    project = Project(
        source=source.resolve(),
        build_system=_BUILD_SYSTEM.read_keys(own.table("build-system")),
        settings=read_settings(root.table("tool").table("polywheel")),
        metadata=read_variant_table(root.table("variant")) if variants else VariantMetadata(),
        document=_with_hatch_file(document, source / HATCH_FILE),
        tables=tables,
        file=root.file,
    )
    if variants:
        _check_overrides(project, problems)
    problems.raise_all()
    return project


def refuse_file(source: Path) -> None:
    """Raise ConfigError if the source is a file, such as an sdist, and not a folder."""
    if os.path.isfile(source):  # noqa: PTH113  # Path.is_file raises PermissionError
        is_sdist = source.name.endswith((".tar.gz", ".zip"))
        only_build = "only `polywheel build` reads sdists; unpack it"
        raise ConfigError(
            f"{source} is not a folder",
            hint=only_build if is_sdist else "pass the root folder of a project",
        )


def _check_overrides(project: Project, problems: Problems) -> None:
    """Add problems for ``[tool.polywheel.providers.ns]`` about a plugin that nothing requires."""
    for namespace, override in project.settings.providers.items():
        provider = project.metadata.providers.get(namespace)
        about_plugin = override.plugin_api if override.query is None else override.query == "plugin"
        if provider is None or not about_plugin:
            continue
        if not (override.requires or provider.requires or provider.build_requires):
            given = 'query = "plugin"' if override.query else "plugin-api"
            problems.add(
                f"the namespace {namespace!r} has no plugin: {given} is set, but there is no requires",
                at=project.at(f"tool.polywheel.providers.{namespace}"),
                hint=f"add requires with the package of the plugin, or remove {given}",
            )


def config_file() -> Path | None:
    """The file that the variable ``POLYWHEEL_CONFIG`` names; None if it is not set."""
    name = os.environ.get(CONFIG_VARIABLE)
    return Path(name) if name else None


def _refuse_others(root: Table) -> None:
    """Add problems for tables that a file for ``--config`` must not have."""
    tool = root.table("tool")
    root.table("variant")
    tool.table("polywheel")
    if _PYPROJECT_TABLES.isdisjoint(root.data):
        tool.finish()
        root.finish()
        return
    others = [f"[{key}]" for key in root.data if key not in {"tool", "variant"}]
    others += [f"[tool.{key}]" for key in tool.data if key != "polywheel"]
    root.problems.add(
        "a --config file has only [variant] and [tool.polywheel] tables, "
        f"and this file has {join_first(others, _MOST_OTHERS)}",
        at=root.file,
        hint="pass a file with these two tables only",
    )


def _with_hatch_file(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """pyproject.toml with the top-level keys of hatch.toml in place of those of ``[tool.hatch]``.

    https://hatch.pypa.io/latest/intro/#existing-project; hatchling/metadata/core.py, ``hatch``. A
    hatch.toml that can't be read is left out: hatchling refuses it, and other backends don't read it.
    """
    try:
        tables = toml_document(read_regular(path, limit=_MOST), path.name)
    except (OSError, ConfigError):
        return document
    tool = document.get("tool", {})
    hatch = tool.get("hatch", {}) if isinstance(tool, dict) else None
    if not isinstance(hatch, dict):
        return document
    return {**document, "tool": {**tool, "hatch": {**hatch, **tables}}}


def _load(
    path: Path, *, hint: str = "run polywheel in the root folder of a project", piped: bool = False
) -> dict[str, Any]:
    try:
        # A file that the user names may be a pipe (``--config <(...)``). A file of a project may not.
        content = path.read_bytes() if piped else read_regular(path, limit=_MOST)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path.name} in {path.parent.resolve()}", hint=hint
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    return toml_document(content, path.name)
