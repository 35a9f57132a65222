"""Read setup rules and backend profiles.

Setup rules stand in ``[tool.polywheel.setup]`` and in presets: they say what a property means for a build.
Backend profiles stand in ``backends/*.toml`` and have a closed vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from polywheel.config.declaration import (
    MARKER,
    REQUIREMENT,
    TEXT,
    TEXTS,
    Definition,
    SettingsTable,
    ValueType,
    by_known_name,
    by_name,
    choice,
    matching,
    names,
    one_of,
    texts,
)
from polywheel.config.reader import Table, requirement
from polywheel.config.selection import KEYS
from polywheel.errors import nearest
from polywheel.model.setup import (
    FLAG_FIELDS,
    LAUNCHER_FIELDS,
    BackendProfile,
    BuildDirectory,
    DeliveryMethod,
    FeatureValues,
    FileExpectations,
    SetupFields,
    SetupRule,
    placeholders,
)
from polywheel.model.variant import FEATURE, LABEL_GLOB, NAMESPACE, VALUE

COMPILERS = ("gnu", "clang", "msvc")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_OPTION = re.compile(r"-|/[A-Za-z][^/]*\Z")
"""The beginning of a flag. A path of several parts is not a flag."""
_MAY_HOLD_BLANKS = ("-I", "-L", "-D", "-isystem", "-F", "-B", "/I", "/D", "/LIBPATH:")
_PLAIN = frozenset({"namespace", "feature", "value", "values", "label"})


def _flags(table: Table, key: str) -> tuple[str, ...]:
    """A list of flags. Adds a problem for each item that contains several flags."""
    flags = table.strings(key) or ()
    for index, flag in enumerate(flags):
        if holds_several_flags(flag):
            items = ", ".join(json.dumps(word, ensure_ascii=False) for word in flag.split())
            table.problems.add(
                f"one item contains several flags: {flag!r}",
                at=f"{table.at(key)}[{index}]",
                hint=f"write one item for each flag: [{items}]; quote a space that belongs to a flag: "
                """'-DNAME="a b"'""",
            )
    return flags


def holds_several_flags(text: str) -> bool:
    """Whether a text would have to be split at a blank to be flags.

    Each item reaches the compiler as one argument. A blank is meant if it stands in quotes, in a
    path (``-I/a folder``), or in a value (``--sysroot=/a folder``), unless a dash follows it. An
    option and its argument (``-I /folder``) are two arguments.
    """
    words = _QUOTED.sub("", text).split()
    if len(words) < 2 or not _OPTION.match(words[0]):
        return False
    if any(word.startswith("-") for word in words[1:]):
        return True
    return words[0] in _MAY_HOLD_BLANKS or not (
        words[0].startswith((*_MAY_HOLD_BLANKS, "-Wl,")) or "=" in words[0]
    )


def _requirement(text: str, *, at: str) -> str:
    """A requirement. With placeholders, ``torch=={value}.*``, it can be checked only when they are filled in."""
    return text.strip() if placeholders(text) else requirement(text, at=at)


_TEXT_OR_LIST = one_of({str: TEXT, list: TEXTS}, "a string or a list of strings")
CONFIG_SETTINGS = by_name(
    _TEXT_OR_LIST,
    reserved=re.compile("|".join(KEYS)),
    problem="{!r} is reserved for polywheel and can't be set here",
)
_REQUIREMENTS = texts(_requirement)
_RESERVED = "{!r} is reserved for polywheel: a rule can't set it"
_FIELDS = SettingsTable(
    "setup-fields",
    SetupFields,
    keys={"flags": ""},
    flags=ValueType(
        lambda table, _: {name: _flags(table, name) for name in FLAG_FIELDS if name in table},
        {"properties": dict.fromkeys(FLAG_FIELDS, TEXTS.schema)},
    ),
    env=by_name(
        _TEXT_OR_LIST,
        re.compile("[A-Za-z_][A-Za-z0-9_]*"),
        reserved=re.compile("POLYWHEEL_.*"),
        problem=_RESERVED,
    ),
    config_settings=CONFIG_SETTINGS,
    requires=_REQUIREMENTS,
    dependencies=_REQUIREMENTS,
)


def _check_placeholders(table: Table, rule: SetupRule) -> None:
    """Add problems for unknown placeholders, and for those that mean nothing in a rule of this width."""
    allowed = {"label"}
    if rule.target:
        allowed |= _PLAIN
        allowed |= {f"{kind}.{name}" for kind in ("value", "values") for name in rule.spelling}
    fields: dict[tuple[str, ...], SetupFields] = {(): rule.fields}
    fields |= {("compiler", name): part for name, part in rule.by_compiler.items()}
    fields |= {("backend", name): part for name, part in rule.by_backend.items()}
    texts = [
        ((*path, *(name for name in keys if name not in {"flags", ""})), text)
        for path, part in fields.items()
        for keys, value in part.by_name().items()
        for text in ((value,) if isinstance(value, str) else value)
    ]
    for path, text in texts:
        for placeholder in placeholders(text):
            if placeholder not in allowed:
                table.problems.add(
                    f"the placeholder {{{placeholder}}} in {text!r} "
                    + (
                        f"has no meaning in a rule for {rule.key!r}"
                        if placeholder in _PLAIN
                        else "is unknown"
                    ),
                    at=table.at(*path),
                    hint=nearest(placeholder, allowed) or "write {{ or }} for a literal brace",
                )


_RULE = SettingsTable(
    "setup-rule",
    SetupRule,
    fixed=dict.fromkeys(("key", "target", "label_glob")),
    keys={"fields": "", "by_compiler": "compiler", "by_backend": "backend"},
    check=_check_placeholders,
    when=MARKER,
    spelling=by_name(by_name(TEXT), re.compile("[a-z0-9_]+")),
    fields=_FIELDS,
    by_compiler=by_known_name(dict.fromkeys(COMPILERS, _FIELDS), "compiler"),
    by_backend=by_name(_FIELDS),
)


def read_setup_rules(table: Table, key: str) -> tuple[SetupRule, ...]:
    """Read every rule of the table ``key``, and add problems to it."""
    rules: dict[str, SetupRule] = {}
    tables = table.table(key)
    for name in tables.every_key():
        rule = _read_rule(tables.table(name), name)
        if rule is not None and rules.setdefault(rule.key, rule) is not rule:
            what = f"the rule for {rule.key!r} is declared twice, with different spaces"
            tables.wrong(name, what)
    return tuple(rules.values())


SETUP_RULES = ValueType(read_setup_rules, {"type": "object", "additionalProperties": _RULE.schema})


def _read_rule(table: Table, key: str) -> SetupRule | None:
    """One rule; None, and a problem added, for a malformed key."""
    if key == "*":
        return _RULE.read_table(table, key="*", target=())
    # "label::feature" is about a namespace of that name.
    if key.startswith("label:") and not key.startswith("label::"):
        glob = key.removeprefix("label:").strip()
        if LABEL_GLOB.fullmatch(glob):
            return _RULE.read_table(table, key=f"label:{glob}", target=(), label_glob=glob)
    else:
        parts = tuple(part.strip() for part in key.split("::"))
        patterns = (NAMESPACE, FEATURE, VALUE)
        if len(parts) <= 3 and all(
            pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=False)
        ):
            return _RULE.read_table(table, key=" :: ".join(parts), target=parts)
    table.problems.add(
        f"malformed rule key {key!r}",
        at=table.at(),
        hint="expected '*', 'ns', 'ns :: feature', 'ns :: feature :: value' or 'label:GLOB'",
    )
    return None


FEATURES = by_name(SettingsTable(None, FeatureValues, values=names(VALUE)), FEATURE)
"""``[features]`` of a preset."""

EXTENSIONS = by_name(by_name(TEXTS, VALUE), FEATURE)
"""``[extensions]`` of a preset."""

FILES = by_name(
    SettingsTable(
        None,
        FileExpectations,
        device_code=choice(("cuda", "hip"), "kind of device code"),
        generic=by_name(names(VALUE)),
        libraries=by_name(TEXTS, VALUE),
        bound=choice(("exact", "lower", "upper"), "bound"),
    ),
    FEATURE,
)
"""``[files]`` of a preset."""

# --- backend profiles ---

_METHODS = {
    "env:NAME": "env:[A-Z_][A-Z0-9_]*",
    "prefix:NAME": "prefix:[A-Z_][A-Z0-9_]*",
    "script:NAME": "script:[A-Z_][A-Z0-9_]*",
    "config-setting:KEY": r"config-setting:[\w.-]+",
    "pyproject:PATH": r"pyproject:[\w-]+(\.[\w-]+)*",
}
"""Patterns of methods. Other methods are words."""
_DEFINES_METHODS = _METHODS | {"config-setting:KEY": r"config-setting:([\w.-]|\{name\})+"}


def _pattern(*methods: str, patterns: Mapping[str, str] = _METHODS) -> re.Pattern[str]:
    return re.compile("|".join(patterns.get(method, method) for method in methods), re.ASCII)


def _via(*methods: str, patterns: Mapping[str, str] = _METHODS) -> ValueType:
    pattern = _pattern(*methods, patterns=patterns)
    return matching(pattern, "unknown delivery method {!r}", f"known: {', '.join(methods)}")


_FORMAT = matching(re.compile(r".*\{value\}.*"), "the format {!r} has no placeholder {{value}}")


def _method(
    name: str | None, *methods: str, patterns: Mapping[str, str] = _METHODS, note: str = ""
) -> ValueType:
    """How a field reaches the backend: a string, or a table with ``via`` and the ``format`` of a value."""
    via = _via(*methods, patterns=patterns)
    in_table = SettingsTable(None, DeliveryMethod, via=via, format=_FORMAT)

    def read(table: Table, key: str) -> DeliveryMethod | None:
        if isinstance(table.data[key], dict):
            return in_table.read(table, key)
        text = via.read(table, key)
        return None if text is None else DeliveryMethod(text)

    schema = {"anyOf": [via.schema, in_table.schema]}
    if name is None:
        return ValueType(read, schema)
    codes = ", ".join(f"`{method}`" for method in methods)
    text = f"One of {codes}, as described for `via`, or a table.{note}"
    return ValueType(read, {"$ref": Definition(name, schema), "description": text})


_METHOD = _method(
    "method", "env", "env:NAME", "python-env", "config-setting:KEY", "hooks", "unsupported"
)
_METHODS_BY_FIELD = by_known_name(
    {
        **dict.fromkeys(("flags", *FLAG_FIELDS), _METHOD),
        "defines": _method(
            "defines-method",
            *("env:NAME", "config-setting:KEY", "unsupported"),
            patterns=_DEFINES_METHODS,
            note=" `{name}` must be in the key or in the format.",
        ),
    },
    "field",
)


def _read_delivery(table: Table, key: str) -> dict[str, DeliveryMethod]:
    """Methods by field. ``flags`` stands for every flag field that is not named."""
    methods: dict[str, DeliveryMethod] = _METHODS_BY_FIELD.read(table, key)
    defines = methods.get("defines", DeliveryMethod("unsupported"))
    if defines.via not in {"", "unsupported"} and "{name}" not in defines.via + defines.format:
        what = "neither the key nor the format has the placeholder {name}"
        table.problems.add(what, at=table.at(key, "defines"))
    flags = methods.pop("flags", None)
    return methods if flags is None else {**dict.fromkeys(FLAG_FIELDS, flags), **methods}


_DELIVERY = ValueType(_read_delivery, {"$ref": Definition("delivery", _METHODS_BY_FIELD.schema)})
_BUILD_DIRECTORY = SettingsTable(
    "build-directory",
    BuildDirectory,
    via=_via("env:NAME", "config-setting:KEY", "distutils-config", "source-copy"),
    kept_by=names(_pattern("env:NAME", "config-setting:KEY", "pyproject:PATH")),
    since=REQUIREMENT,
)
_PROFILE_TYPES: dict[str, Any] = {
    "build_directory": _BUILD_DIRECTORY,
    "delivery": _DELIVERY,
    "delivery_by_compiler": by_known_name(dict.fromkeys(COMPILERS, _DELIVERY), "compiler"),
    "launchers": by_known_name(
        dict.fromkeys(LAUNCHER_FIELDS, _via("env:NAME", "prefix:NAME", "script:NAME")), "language"
    ),
    "parallel": _method(None, "env:NAME", "config-setting:KEY"),
    "hooks": names(re.compile(r"[\w-]+(\.[\w-]+)*")),
}
_NAMES = ValueType(partial(Table.strings, empty=False), TEXTS.schema)
_PROFILE = SettingsTable(None, BackendProfile, modules=_NAMES, packages=_NAMES, **_PROFILE_TYPES)
OWN_PROFILE = SettingsTable(
    "backend", BackendProfile, fixed={"modules": (), "packages": ()}, **_PROFILE_TYPES
)
"""``[tool.polywheel.backend]``: it is about the backend of the project, so it names no backend, and it need
not say everything."""


def read_profile(table: Table, name: str) -> BackendProfile:
    """Read a whole profile, and add problems to the table."""
    return _PROFILE.read_table(table, name=name)
