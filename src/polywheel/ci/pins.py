"""The actions that workflows use, each by the commit that stands in ``matrix/actions.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from polywheel.data import data_folder
from polywheel.errors import ConfigError

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
def pins() -> Pins:
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


def action(text: str | None) -> Action:
    """The action of polywheel that the user names; the pinned one for None. Raises ConfigError."""
    if text is None:
        return pins().polywheel
    if not _USES.fullmatch(text) or "/../" in text:
        raise ConfigError(
            f"malformed action {text!r}",
            at="--action",
            hint="expected OWNER/REPOSITORY/PATH@COMMIT, or $/PATH in the same repository",
        )
    return Action(uses=text)
