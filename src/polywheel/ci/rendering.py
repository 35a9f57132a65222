"""Fill in the templates of ``matrix/templates``, with pinned actions.

Every value in a template goes through :func:`scalar`, :func:`lines`, or :func:`uses`: jinja2 refuses anything
else. The result is one YAML scalar (or flow sequence), whatever the text is. Actions are pinned to the
commits in ``matrix/actions.toml``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from polywheel.data import data_folder
from polywheel.errors import ConfigError
from polywheel.system.terminal import json_text

if TYPE_CHECKING:
    from jinja2 import Environment


_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_USES = re.compile(rf"[.$]/(?:\.?{_PART}/)*\.?{_PART}|{_PART}(?:/\.?{_PART})+@[A-Za-z0-9_./-]+")
_IN_THE_CHECKOUT = "./"


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What stands behind ``uses:``."""

    uses: str
    version: str = ""
    """What its commit was called, for people; empty where nobody said."""

    @property
    def local(self) -> bool:
        """Whether it lies in the checkout, which has to be there before."""
        return self.uses.startswith(_IN_THE_CHECKOUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pins:
    """All that is pinned."""

    polywheel: Action
    actions: Mapping[str, Action]
    """By repository."""

    packages: Mapping[str, str]
    """Versions by name."""


@cache
def read_pins() -> Pins:
    """What ``matrix/actions.toml`` says."""
    path = data_folder("matrix") / "actions.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    own = document["polywheel"]
    return Pins(
        polywheel=Action(uses=f"{own['uses']}@{own['commit']}", version=own["version"]),
        actions={
            name: Action(uses=f"{name}@{said['commit']}", version=said["version"])
            for name, said in document["actions"].items()
        },
        packages=document["packages"],
    )


def parse_action(text: str | None) -> Action:
    """The action of polywheel that the user names; the pinned one for None. Raises ConfigError."""
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
_SPELLED = "${{ '${{' }}"
"""What GitHub makes the opening of an expression of."""
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
# Neither YAML nor GitHub reads anything into these.
_PLAIN = re.compile(r"[A-Za-z0-9_.,/=@+$-]+")


class Expression(str):
    """A text of ours in which GitHub is to evaluate expressions."""

    __slots__ = ()


class SafeYaml(str):
    """YAML that is safe to put into a template."""

    __slots__ = ()


def render_template(template: str, **values: object) -> str:
    """A template of ``matrix/templates``, filled in. Raises ConfigError without jinja2."""
    return _environment().get_template(template).render(**values)


def scalar(value: object) -> SafeYaml:
    """A text, a number, or a list of them, in double quotes and brackets, all in one line."""
    if isinstance(value, (list, tuple)):
        return SafeYaml(f"[{', '.join(map(scalar, value))}]")
    if isinstance(value, str):
        return SafeYaml(_quoted(_escaped(value)))
    if isinstance(value, (bool, int)):
        return SafeYaml(json.dumps(value))
    raise TypeError(f"{type(value).__name__} has no place in a workflow")


def literal(value: object) -> SafeYaml:
    """As :func:`scalar`, where nothing evaluates expressions: GitLab, and ``on:`` of GitHub."""
    if isinstance(value, (list, tuple)):
        return SafeYaml(f"[{', '.join(map(literal, value))}]")
    return SafeYaml(_quoted(value)) if isinstance(value, str) else scalar(value)


def lines(values: Iterable[str], indent: int) -> SafeYaml:
    """Texts, one a line, as one scalar; a block where that can be read as nothing else."""
    texts = list(values)
    if any("\n" in text or "\r" in text for text in texts):
        raise ConfigError("a text with a line break can't be handed to a step of CI")
    if all(isinstance(text, Expression) or _PLAIN.fullmatch(text) for text in texts):
        return SafeYaml("|-" + "".join(f"\n{' ' * indent}{text}" for text in texts))
    return SafeYaml(_quoted("\n".join(map(_escaped, texts))))


def variable(name: str) -> SafeYaml:
    """The name of a variable, as a key or in an expression."""
    if not _VARIABLE.fullmatch(name):
        raise TypeError(f"{name!r} is no name of a variable")
    return SafeYaml(name)


def uses(one: Action) -> SafeYaml:
    """An action, with its version behind it."""
    text = _quoted(one.uses) if not _PLAIN.fullmatch(one.uses) else one.uses
    return SafeYaml(f"{text} # {one.version}" if one.version else text)


def _escaped(text: str) -> str:
    """What GitHub evaluates to the text."""
    return text if isinstance(text, Expression) else text.replace(_OPENING, _SPELLED)


def _quoted(text: str) -> str:
    """A double-quoted scalar of YAML: JSON, but for letters beyond 16 bits."""

    def spelled(found: re.Match[str]) -> str:
        number = ord(found[0])
        return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"

    return _NOT_ASCII.sub(spelled, json_text(text, exact=True, ascii_only=False))


def _only_rendered(value: object) -> object:
    if not isinstance(value, SafeYaml):
        raise TypeError(f"a template puts {value!r} into a workflow as it is")
    return value


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise ConfigError(
            "templates need the package jinja2", hint="install polywheel[cli]"
        ) from None
    # GitHub and GitLab have the usual delimiters for themselves.
    environment = Environment(  # noqa: S701  # what is written is no HTML
        loader=FileSystemLoader(data_folder("matrix") / "templates"),
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=StrictUndefined,
        finalize=_only_rendered,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(scalar=scalar, literal=literal, lines=lines, variable=variable)
    environment.globals["pin"] = lambda name: uses(read_pins().actions[name])
    return environment
