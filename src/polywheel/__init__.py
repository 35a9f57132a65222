"""polywheel: a meta build backend and build-matrix orchestrator for Python wheel variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from polywheel.model.plan import Plan

__version__ = "0.1.0"
__all__ = ["__version__", "expand"]


def expand(source: str | Path, *, config: str | Path | None = None) -> Plan:
    """The plan of the project in the folder ``source``: what has to be built, where, and why.

    ``config`` is a file whose ``[variant]`` and ``[tool.polywheel]`` tables stand in place of the
    project's. Nothing is built, and no plugin is asked. Raises
    :class:`polywheel.errors.ConfigError` with everything that is wrong.
    """
    # Every build imports this package: what only a plan needs is imported here.
    from polywheel.matrix import expansion

    return expansion.expand(source, config=config)
