"""``[tool.polywheel]``, read into one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from polywheel.config.provider_table import OBJECT_REFERENCE
from polywheel.config.reader import Table

# Tables that other commands read; a build of one variant leaves them alone.
_READ_ELSEWHERE = ("matrix", "targets")
# Part of the design, and without effect in this version: a build says so.
_NOT_YET = ("providers", "setup", "presets", "strict", "provider-timeout", "backend")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How polywheel is to build this project."""

    build_backend: str | None = None
    """The real backend, as ``module`` or ``module:object``; inferred where it is absent."""

    backend_path: tuple[str, ...] | None = None
    """Folders of an in-tree real backend, relative to the project (PEP 517)."""

    metadata_fields: bool = True
    """Whether METADATA gets ``Variant-*`` fields as well as there being a variant.json."""

    not_applied: tuple[str, ...] = ()
    """Keys that are there and have no effect yet."""


def read_settings(table: Table) -> Settings:
    """Read ``[tool.polywheel]``; what is wrong is noted in the table's problems."""
    backend = table.string("build-backend")
    if backend is not None and not OBJECT_REFERENCE.fullmatch(backend):
        table.wrong(
            "build-backend",
            f"malformed build backend {backend!r}",
            "expected 'module' or 'module:object', as in [build-system]",
        )
    if "backend-path" in table and "build-backend" not in table:
        table.wrong(
            "backend-path",
            "backend-path is for an in-tree backend, and none is named",
            "name it: build-backend = …",
        )
    settings = Settings(
        build_backend=backend,
        backend_path=table.strings("backend-path"),
        metadata_fields=table.boolean("metadata-fields", True),
        not_applied=tuple(key for key in _NOT_YET if key in table),
    )
    table.finish(also_known=(*_READ_ELSEWHERE, *_NOT_YET))
    return settings
