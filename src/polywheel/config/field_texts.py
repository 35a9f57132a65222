"""What stands under the fields of a documented dataclass: the text of a key in schema and reference."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache


@cache
def field_texts(cls: type) -> dict[str, str]:
    """The text under each field, in one line, code in single backticks; "" where there is none.

    Read from the source: what is under a field is gone when the program runs.
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{cls!r} is no class")
    found = {}
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = _text(following)
    return found


def class_text(cls: type) -> str:
    """The docstring of a class, as the text of a field."""
    return in_one_line(inspect.getdoc(cls) or "")


def in_one_line(text: str) -> str:
    """Paragraphs joined, code in single backticks."""
    return re.sub(r"\s+", " ", text.replace("``", "`")).strip()


def _text(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        value = statement.value.value
        return in_one_line(value) if isinstance(value, str) else ""
    return ""
