"""The only way to the data that polywheel ships: ``backends/`` and ``matrix/``.

A built wheel carries those folders inside the package; an editable install does not, and there
the repository's own are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polywheel.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "_data"
_REPOSITORY = _HERE.parents[1]


def data_folder(name: str) -> Path:
    """The folder ``backends`` or ``matrix``."""
    root = _INSTALLED if _INSTALLED.is_dir() else _REPOSITORY
    return root / name


def template_environment(
    needed_by: str,
    *,
    hint: str = "install polywheel[cli]",
    **options: Any,  # noqa: ANN401 -- as jinja2
) -> Environment:
    """Return the jinja2 environment for ``matrix/templates``, with more ``options`` of jinja2.

    Raises ConfigError if jinja2 is missing, which ``needed_by`` needs.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise ConfigError(f"{needed_by} needs the package jinja2", hint=hint) from None
    return Environment(  # noqa: S701 -- autoescape is one of the options
        loader=FileSystemLoader(data_folder("matrix") / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def tool_schema(tool: str = "polywheel") -> dict[str, Any]:
    """JSON schema of the table ``[tool.$tool]``, for validate-pyproject and editors."""
    import json

    path = data_folder("matrix") / "schema" / f"{tool}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema
