"""A backend profile, read from a table: the closed vocabulary of ``backends/*.toml``."""

from __future__ import annotations

import re

from polywheel.config.reader import Table
from polywheel.model.profile import BackendProfile, BuildDirectory

_VIA = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|distutils-config")
_KEPT_BY = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|pyproject:[\w-]+(\.[\w-]+)*")


def read_profile(table: Table, name: str) -> BackendProfile:
    """Read one profile; what is wrong is noted in the table's problems."""
    for key in ("modules", "packages"):
        if key not in table:
            table.wrong(key, f"a profile needs {key}")
    profile = BackendProfile(
        name=name,
        modules=table.strings("modules", empty=False) or (),
        packages=table.strings("packages", empty=False) or (),
        build_directory=(
            _build_directory(table.table("build-directory")) if "build-directory" in table else None
        ),
    )
    table.finish()
    return profile


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
