"""A backend profile, read from a table: the closed vocabulary of ``backends/*.toml``."""

from __future__ import annotations

import re
from dataclasses import replace

from packaging.requirements import InvalidRequirement

from polywheel.config.checks import parse_requirement
from polywheel.config.reader import Table
from polywheel.config.setup_table import compilers
from polywheel.errors import nearest
from polywheel.model.profile import BackendProfile, BuildDirectory, Way
from polywheel.model.setup import FLAG_FIELDS

VIA = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|distutils-config|source-copy")
WAY = re.compile(
    r"(env(:[A-Z_][A-Z0-9_]*)?|python-env|config-setting:[\w.-]+|hooks|unsupported)", re.ASCII
)
DEFINES_WAY = re.compile(
    r"env:[A-Z_][A-Z0-9_]*|config-setting:([\w.-]|\{name\})+|unsupported", re.ASCII
)
DOTTED = re.compile(r"[\w-]+(\.[\w-]+)*")
DELIVERED = ("flags", *FLAG_FIELDS, "defines")
KEPT_BY = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|pyproject:[\w-]+(\.[\w-]+)*")


def read_profile(table: Table, name: str) -> BackendProfile:
    """Read one whole profile; what is wrong is noted in the table's problems."""
    named = {}
    for key in ("modules", "packages"):
        if key not in table:
            table.wrong(key, f"a profile needs {key}")
        named[key] = table.strings(key, empty=False) or ()
    profile = read_partial_profile(table, name)
    return replace(profile, modules=named["modules"], packages=named["packages"])


def read_partial_profile(table: Table, name: str) -> BackendProfile:
    """Read what ``[tool.polywheel.backend]`` says of a profile; it need not say all.

    It is about the project's own backend, so the names that a backend is found by have no place.
    """
    by_compiler = table.table("delivery-by-compiler")
    profile = BackendProfile(
        name=name,
        modules=(),
        packages=(),
        build_directory=(
            _build_directory(table.table("build-directory")) if "build-directory" in table else None
        ),
        ways=_delivery(table.table("delivery")),
        ways_by_compiler={
            name: _delivery(by_compiler.table(name)) for name in compilers(by_compiler)
        },
        parallel=_parallel(table) if "parallel" in table else None,
        ninja=table.boolean("ninja", False),
        own_optimization=table.boolean("own-optimization", False),
        hooks=table.names("hooks", DOTTED),
    )
    table.finish()
    return profile


def _parallel(table: Table) -> Way:
    way = _way(table, "parallel")
    if not way.via.startswith(("env:", "config-setting:")):
        table.wrong("parallel", f"unknown way {way.via!r}", "known: env:NAME, config-setting:KEY")
    return way


def _delivery(table: Table) -> dict[str, Way]:
    """``[delivery]``: a way by field; ``flags`` stands for every flag field not named."""
    ways = {}
    for name in table.every_key():
        if name not in DELIVERED:
            table.wrong(name, f"unknown field {name!r}", nearest(name, DELIVERED))
        else:
            ways[name] = _way(table, name)
    general = ways.pop("flags", None)
    if general is not None:
        ways = {**dict.fromkeys(FLAG_FIELDS, general), **ways}
    return ways


def _way(table: Table, name: str) -> Way:
    """A string that says how, or a table with ``via`` and the ``format`` of one value."""
    one = table.table(name) if isinstance(table.data[name], dict) else None
    via = (one.string("via") if one else table.string(name)) or ""
    text = (one.string("format") if one else None) or "{value}"
    if one:
        one.finish()
    if name == "defines":
        pattern, known = DEFINES_WAY, "env:NAME, config-setting:KEY, unsupported"
    else:
        pattern = WAY
        known = "env, env:NAME, python-env, config-setting:KEY, hooks, unsupported"
    if not pattern.fullmatch(via):
        table.wrong(name, f"unknown way {via!r}", f"known: {known}")
    if "{value}" not in text:
        table.wrong(name, f"the format {text!r} has no place for {{value}}")
    if name == "defines" and via != "unsupported" and "{name}" not in via + text:
        table.wrong(name, "neither the key nor the format has a place for {name}")
    return Way(via, text)


def _build_directory(table: Table) -> BuildDirectory:
    via = table.string("via") or ""
    if not VIA.fullmatch(via):
        table.wrong(
            "via",
            f"unknown way {via!r}",
            "env:NAME, config-setting:KEY, distutils-config or source-copy",
        )
    since = table.string("since")
    if since is not None:
        try:
            parse_requirement(since)
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            table.wrong("since", f"malformed requirement {since!r}: {why}")
    directory = BuildDirectory(
        via=via,
        kept_by=table.names("kept-by", KEPT_BY),
        only_where=table.strings("only-where") or (),
        leave=table.strings("leave") or (),
        default=table.string("default"),
        editable_default=table.string("editable-default"),
        since=since,
    )
    table.finish()
    return directory
