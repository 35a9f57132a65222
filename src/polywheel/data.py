"""The only way to the data that polywheel ships: ``backends/`` and ``matrix/``.

A built wheel carries those folders inside the package; an editable install does not, and there
the repository's own are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "_data"
_REPOSITORY = _HERE.parents[1]


def data_folder(name: str) -> Path:
    """The folder ``backends`` or ``matrix``."""
    root = _INSTALLED if _INSTALLED.is_dir() else _REPOSITORY
    return root / name


def tool_schema(tool: str = "polywheel") -> dict[str, Any]:
    """JSON schema of the table ``[tool.$tool]``, for validate-pyproject and editors."""
    import json

    path = data_folder("matrix") / "schema" / f"{tool}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema
