"""A backend profile, read from a table: the closed vocabulary of ``backends/*.toml``."""

from __future__ import annotations

import re

from polywheel.config.reader import Table
from polywheel.errors import nearest
from polywheel.model.profile import BackendProfile, BuildDirectory, Way
from polywheel.model.setup import FLAG_FIELDS

_VIA = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|distutils-config")
_WAY = re.compile(r"env(:[A-Z_][A-Z0-9_]*)?|config-setting:[\w.{}-]+|hooks|unsupported")
_DOTTED = re.compile(r"[\w-]+(\.[\w-]+)*")
_DELIVERED = ("flags", *FLAG_FIELDS, "defines")
_KEPT_BY = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|pyproject:[\w-]+(\.[\w-]+)*")


def read_profile(table: Table, name: str) -> BackendProfile:
    """Read one whole profile; what is wrong is noted in the table's problems."""
    for key in ("modules", "packages"):
        if key not in table:
            table.wrong(key, f"a profile needs {key}")
    return read_partial_profile(table, name)


def read_partial_profile(table: Table, name: str) -> BackendProfile:
    """Read what a table says of a profile; ``[tool.polywheel.backend]`` need not say all."""
    by_compiler = table.table("delivery-by-compiler")
    profile = BackendProfile(
        name=name,
        modules=table.strings("modules", empty=False) or (),
        packages=table.strings("packages", empty=False) or (),
        build_directory=(
            _build_directory(table.table("build-directory")) if "build-directory" in table else None
        ),
        ways=_delivery(table.table("delivery")),
        ways_by_compiler={
            compiler: _delivery(by_compiler.table(compiler)) for compiler in by_compiler.every_key()
        },
        hooks=table.names("hooks", _DOTTED),
    )
    table.finish()
    return profile


def _delivery(table: Table) -> dict[str, Way]:
    """``[delivery]``: a way by field; ``flags`` stands for every flag field not named."""
    ways = {}
    for name in table.every_key():
        if name not in _DELIVERED:
            table.wrong(name, f"unknown field {name!r}", nearest(name, _DELIVERED))
            continue
        value = table.data[name]
        one = table.table(name) if isinstance(value, dict) else None
        via = (one.string("via") if one else table.string(name)) or ""
        text = (one.string("format") if one else None) or "{value}"
        if one:
            one.finish()
        if not _WAY.fullmatch(via):
            table.wrong(
                name,
                f"unknown way {via!r}",
                "env, env:NAME, config-setting:KEY, hooks, unsupported",
            )
        ways[name] = Way(via, text)
    general = ways.pop("flags", None)
    if general is not None:
        ways = {**dict.fromkeys(FLAG_FIELDS, general), **ways}
    return ways


def _build_directory(table: Table) -> BuildDirectory:
    via = table.string("via") or ""
    if not _VIA.fullmatch(via):
        table.wrong(
            "via", f"unknown way {via!r}", "env:NAME, config-setting:KEY or distutils-config"
        )
    directory = BuildDirectory(
        via=via,
        kept_by=table.names("kept-by", _KEPT_BY),
        default=table.string("default"),
        editable_default=table.string("editable-default"),
        since=table.string("since"),
    )
    table.finish()
    return directory
