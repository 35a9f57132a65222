"""One project: its pyproject.toml, read and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from polywheel.config.reader import Problems, Table, toml_document
from polywheel.config.settings import Settings, read_settings
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError
from polywheel.model.metadata import VariantMetadata
from polywheel.system.files import read_regular

PYPROJECT = "pyproject.toml"
HATCH_FILE = "hatch.toml"
"""What hatchling reads besides ``[tool.hatch]``."""
CONFIG_VARIABLE = "POLYWHEEL_CONFIG"
"""Names the file whose tables stand in place of a project's, for the build backend."""
_MOST = 64 * 1024 * 1024
"""Bytes of a pyproject.toml."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSystem:
    """``[build-system]`` (PEP 517, PEP 518)."""

    requires: tuple[str, ...] = ()
    build_backend: str | None = None
    backend_path: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """What polywheel wants to know of a source tree."""

    source: Path
    """The root of the source tree, absolute."""

    build_system: BuildSystem
    settings: Settings
    metadata: VariantMetadata
    """``[variant]``; empty where it was not asked for."""

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
        """The normalized name of the project; None where pyproject.toml does not give it."""
        name = self._static("name")
        return canonicalize_name(name) if name is not None else None

    @property
    def version(self) -> str | None:
        """The version, as it is written; None where pyproject.toml does not give it."""
        return self._static("version")

    def _static(self, key: str) -> str | None:
        table = self.document.get("project")
        value = table.get(key) if isinstance(table, dict) else None
        return value if isinstance(value, str) else None

    def at(self, key: str) -> str:
        """``pyproject.toml: variant.key``, for messages."""
        return f"{self.file}: {key}"


def read_project(
    source: Path, *, variants: bool, name: str = PYPROJECT, config: Path | None = None
) -> Project:
    """Read ``source/pyproject.toml``. Raises ConfigError with everything that is wrong in it.

    Without ``variants``, ``[variant]`` is left unread: a plain build goes on as if polywheel were
    not there. ``name`` is that of the file, where it is another. The ``[variant]`` and
    ``[tool.polywheel]`` tables of ``config`` stand in place of the project's.
    """
    document = _load(source / name)
    problems = Problems()
    own = Table(document, name, (), problems)
    root, tables = own, document
    if config is not None:
        tables = _load(
            config,
            hint="it stands in for the project's tables: --config, or the "
            f"variable {CONFIG_VARIABLE}",
            piped=True,
        )
        root = Table(tables, config.name, (), problems)
        _refuse_others(root)
    project = Project(
        source=source.resolve(),
        build_system=_build_system(own.table("build-system")),
        settings=read_settings(root.table("tool").table("polywheel")),
        metadata=read_variant_table(root.table("variant")) if variants else VariantMetadata(),
        document=_with_hatch_file(document, source / HATCH_FILE),
        tables=tables,
        file=root.file,
    )
    problems.settle()
    return project


def config_file() -> Path | None:
    """The file that the variable ``POLYWHEEL_CONFIG`` names; None where it is not set."""
    name = os.environ.get(CONFIG_VARIABLE)
    return Path(name) if name else None


def _refuse_others(root: Table) -> None:
    """Note what does not belong into a file that stands in for a project's tables."""
    tool = root.table("tool")
    root.table("variant")
    tool.table("polywheel")
    tool.finish()
    root.finish()


def _build_system(table: Table) -> BuildSystem:
    return BuildSystem(
        requires=table.strings("requires") or (),
        build_backend=table.string("build-backend"),
        backend_path=table.strings("backend-path"),
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
    path: Path, *, hint: str = "run this at the root of a project", piped: bool = False
) -> dict[str, Any]:
    try:
        # What a user names may be a pipe (``--config <(...)``); what lies in a project may not.
        content = path.read_bytes() if piped else read_regular(path, limit=_MOST)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path.name} in {path.parent.resolve()}", hint=hint
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    return toml_document(content, path.name)
