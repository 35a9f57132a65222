"""Render the templates of ``matrix/templates``, with pinned actions.

Every value in a template must pass through :func:`scalar`, :func:`literal`, :func:`lines`,
:func:`variable`, or :func:`uses`; jinja2 refuses other values. The result is one YAML scalar or
flow sequence, whatever the text is. Actions are pinned to the commits in
``matrix/actions.toml``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from polywheel.data import data_folder, template_environment
from polywheel.errors import ConfigError
from polywheel.system.terminal import json_text

if TYPE_CHECKING:
    from jinja2 import Environment


_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_USES = re.compile(rf"[.$]/(?:\.?{_PART}/)*\.?{_PART}|{_PART}(?:/\.?{_PART})+@[A-Za-z0-9_./-]+")
_IN_THE_CHECKOUT = "./"


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """The value of ``uses:``."""

    uses: str
    version: str = ""
    """The version of its commit, as a comment for readers; empty if unknown."""

    @property
    def local(self) -> bool:
        """Whether the action is in the checkout. It then needs a checkout first."""
        return self.uses.startswith(_IN_THE_CHECKOUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pins:
    """The content of ``matrix/actions.toml``."""

    polywheel: Action
    actions: Mapping[str, Action]
    """By repository."""

    packages: Mapping[str, str]
    """Versions by name."""


@cache
def read_pins() -> Pins:
    """Read ``matrix/actions.toml``."""
    path = data_folder("matrix") / "actions.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    polywheel = document["polywheel"]
    return Pins(
        polywheel=Action(
            uses=f"{polywheel['uses']}@{polywheel['commit']}", version=polywheel["version"]
        ),
        actions={
            name: Action(uses=f"{name}@{pin['commit']}", version=pin["version"])
            for name, pin in document["actions"].items()
        },
        packages=document["packages"],
    )


def parse_action(text: str | None) -> Action:
    """Return the action that the user names, or the pinned action for None. Raises ConfigError."""
    if text is None:
        return read_pins().polywheel
    if not _USES.fullmatch(text) or "/../" in text:
        raise ConfigError(
            f"malformed action {text!r}",
            at="--action",
            hint="expected OWNER/REPOSITORY/PATH@COMMIT, or $/PATH in the same repository",
        )
    return Action(uses=text)


_OPENING = "${{"
_ESCAPED_OPENING = "${{ '${{' }}"
"""An expression that GitHub evaluates to ``${{``."""
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
# Neither YAML nor GitHub interprets these characters.
_PLAIN = re.compile(r"[A-Za-z0-9_.,/=@+$-]+")


class Expression(str):
    """A text from polywheel that contains expressions for GitHub to evaluate."""

    __slots__ = ()


class SafeYaml(str):
    """YAML that is safe to put into a template."""

    __slots__ = ()


def render_template(template: str, **values: object) -> str:
    """Render a template of ``matrix/templates``. Raises ConfigError if jinja2 is missing."""
    return _environment().get_template(template).render(**values)


def scalar(value: object) -> SafeYaml:
    """Return a text, a number, or a list of them as one line, with double quotes and brackets."""
    if isinstance(value, (list, tuple)):
        return SafeYaml(f"[{', '.join(map(scalar, value))}]")
    if isinstance(value, str):
        return SafeYaml(_quote(_escape_expressions(value)))
    if isinstance(value, (bool, int)):
        return SafeYaml(json.dumps(value))
    raise TypeError(f"{type(value).__name__} has no place in a workflow")


def literal(value: object) -> SafeYaml:
    """Like :func:`scalar`, but for places without expressions: GitLab, and ``on:`` of GitHub."""
    if isinstance(value, (list, tuple)):
        return SafeYaml(f"[{', '.join(map(literal, value))}]")
    return SafeYaml(_quote(value)) if isinstance(value, str) else scalar(value)


def lines(values: Iterable[str], indent: int) -> SafeYaml:
    """Return texts as one scalar with one text per line.

    It is a block scalar if it has no characters that need quotes.
    """
    texts = list(values)
    if any("\n" in text or "\r" in text for text in texts):
        raise ConfigError("a text with a line break can't be passed to a step of CI")
    if all(isinstance(text, Expression) or _PLAIN.fullmatch(text) for text in texts):
        return SafeYaml("|-" + "".join(f"\n{' ' * indent}{text}" for text in texts))
    return SafeYaml(_quote("\n".join(map(_escape_expressions, texts))))


def name(text: str) -> SafeYaml:
    """Return a name for an expression, such as that of a secret."""
    if not _NAME.fullmatch(text):
        raise TypeError(f"{text!r} is not a name")
    return SafeYaml(text)


def variable(name: str) -> SafeYaml:
    """Return the name of a variable, for use as a key or in an expression."""
    if not _VARIABLE.fullmatch(name):
        raise TypeError(f"{name!r} is not a variable name")
    return SafeYaml(name)


def uses(action: Action) -> SafeYaml:
    """Return the value of ``uses:``, with the version as a comment."""
    text = action.uses if _PLAIN.fullmatch(action.uses) else _quote(action.uses)
    return SafeYaml(f"{text} # {action.version}" if action.version else text)


def _escape_expressions(text: str) -> str:
    """Return the text that GitHub evaluates to ``text``."""
    return text if isinstance(text, Expression) else text.replace(_OPENING, _ESCAPED_OPENING)


def _quote(text: str) -> str:
    """Return a double-quoted YAML scalar: JSON, except for characters beyond 16 bits."""

    def escape_character(match: re.Match[str]) -> str:
        number = ord(match[0])
        return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"

    return _NOT_ASCII.sub(escape_character, json_text(text, exact=True, ascii_only=False))


def _require_safe_yaml(value: object) -> object:
    if not isinstance(value, SafeYaml):
        raise TypeError(f"a template uses {value!r} without a filter")
    return value


@cache
def _environment() -> Environment:
    # GitHub and GitLab use the default delimiters of jinja2 themselves. The output is not HTML.
    environment = template_environment(
        "polywheel ci",
        autoescape=False,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        finalize=_require_safe_yaml,
    )
    environment.filters.update(
        scalar=scalar, literal=literal, lines=lines, name=name, variable=variable
    )
    environment.globals["pin"] = lambda name: uses(read_pins().actions[name])
    return environment
