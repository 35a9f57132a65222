"""Read setup rules and backend profiles.

Setup rules stand in ``[tool.polywheel.setup]`` and in presets: they say what a property means for a build.
Backend profiles stand in ``backends/*.toml`` and have a closed vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from packaging.requirements import InvalidRequirement

from polywheel.config.reader import Table, marker, parse_requirement, requirements, type_name
from polywheel.config.selection import KEYS
from polywheel.errors import nearest
from polywheel.model.setup import (
    FLAG_FIELDS,
    BackendProfile,
    BuildDirectory,
    DeliveryMethod,
    FeatureValues,
    SetupFields,
    SetupRule,
    Text,
    placeholders,
)
from polywheel.model.variant import FEATURE, NAMESPACE, VALUE

COMPILERS = ("gnu", "clang", "msvc")
_FIELDS = (*FLAG_FIELDS, "env", "config-settings", "defines", "requires", "dependencies")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
GLOB = re.compile(r"[0-9a-z_.*?\[\]!-]+")
SPELLING = re.compile(r"[a-z0-9_]+")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_OPTION = re.compile(r"-|/[A-Za-z][^/]*\Z")
"""How a flag begins; a path of several parts is none."""
_MAY_HOLD_BLANKS = ("-I", "-L", "-D", "-isystem", "-F", "-B", "/I", "/D", "/LIBPATH:")
_PLAIN = frozenset({"namespace", "feature", "value", "values", "label"})


def read_setup_rules(table: Table) -> tuple[SetupRule, ...]:
    """Read every rule; what is wrong is noted in the table's problems."""
    found: dict[str, SetupRule] = {}
    for key in table.every_key():
        rule = _rule(table.table(key), key)
        if rule is not None and found.setdefault(rule.key, rule) is not rule:
            table.wrong(key, f"the rule for {rule.key!r} is declared twice, with different spaces")
    return tuple(found.values())


def read_features(table: Table) -> dict[str, FeatureValues]:
    """``[features]`` of a preset."""
    found = {}
    for name in table.names_of_tables(FEATURE):
        one = table.table(name)
        found[name] = FeatureValues(
            one.names("values", VALUE), one.string("pattern"), one.boolean("multi-value", False)
        )
        one.finish()
    return found


def _rule(table: Table, key: str) -> SetupRule | None:
    target = _target(table, key)
    if target is None:
        return None
    # "label::feature" is about a namespace of that name.
    glob = None if target or key == "*" else key.partition(":")[2].strip()
    by_compiler = table.table("compiler")
    by_backend = table.table("backend")
    spelling = table.table("spelling")
    rule = SetupRule(
        key=" :: ".join(target) or ("*" if glob is None else f"label:{glob}"),
        at=table.at(),
        target=target,
        label_glob=glob,
        when=marker(table, "when"),
        separator=";" if (separator := table.string("separator")) is None else separator,
        spelling={name: _texts(spelling, name) for name in spelling.names_of_tables(SPELLING)},
        fields=_fields(table),
        by_compiler={
            name: _read_all_fields(by_compiler.table(name)) for name in compilers(by_compiler)
        },
        by_backend={
            name: _read_all_fields(by_backend.table(name)) for name in by_backend.every_key()
        },
    )
    table.finish(also_known=_FIELDS)
    _check_placeholders(table, rule, rule.fields)
    for name, fields in rule.by_compiler.items():
        _check_placeholders(by_compiler.table(name), rule, fields)
    for name, fields in rule.by_backend.items():
        _check_placeholders(by_backend.table(name), rule, fields)
    return rule


def _target(table: Table, key: str) -> tuple[str, ...] | None:
    """The parts of a rule's key; None, and a problem noted, where it is none."""
    if key == "*":
        return ()
    if key.startswith("label:") and not key.startswith("label::"):
        if GLOB.fullmatch(key.removeprefix("label:").strip()):
            return ()
    else:
        parts = tuple(part.strip() for part in key.split("::"))
        patterns = (NAMESPACE, FEATURE, VALUE)
        if len(parts) <= 3 and all(
            pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=False)
        ):
            return parts
    table.problems.add(
        f"malformed rule key {key!r}",
        at=table.at(),
        hint="expected '*', 'ns', 'ns :: feature', 'ns :: feature :: value' or 'label:GLOB'",
    )
    return None


def compilers(table: Table) -> Iterator[str]:
    """The keys of a table by family of compilers; another is noted."""
    for name in table.every_key():
        if name in COMPILERS:
            yield name
        else:
            table.wrong(name, f"unknown compiler {name!r}", nearest(name, COMPILERS))


def _read_all_fields(table: Table) -> SetupFields:
    fields = _fields(table)
    table.finish(also_known=_FIELDS)
    return fields


def _fields(table: Table) -> SetupFields:
    env = table.table("env")
    settings = table.table("config-settings")
    for inner, ours in (
        (settings, KEYS),
        (env, tuple(name for name in env.data if name.startswith("POLYWHEEL_"))),
    ):
        for name in ours:
            if name in inner:
                inner.wrong(name, f"{name} is reserved for polywheel: a rule can't set it")
    return SetupFields(
        flags={name: _flags(table, name) for name in FLAG_FIELDS if name in table},
        env={name: _text(env, name) for name in env.names_of_tables(VARIABLE)},
        config_settings={name: _text(settings, name) for name in settings.every_key()},
        defines=_texts(table, "defines"),
        requires=_requirements(table, "requires"),
        dependencies=_requirements(table, "dependencies"),
    )


def _flags(table: Table, key: str) -> tuple[str, ...]:
    """A list of flags; one that is several in one text is noted."""
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


def _texts(table: Table, key: str) -> dict[str, str]:
    inner = table.table(key)
    return {name: inner.string(name) or "" for name in inner.every_key()}


def _text(table: Table, key: str) -> Text:
    value = table.data[key]
    if isinstance(value, str):
        return table.string(key) or ""
    if isinstance(value, list):
        return table.strings(key) or ()
    table.wrong(key, f"expected a string or a list of strings, found {type_name(value)}")
    return ""


def _requirements(table: Table, key: str) -> tuple[str, ...] | None:
    """Requirements, in which placeholders may stand: ``torch=={value}.*``."""
    if key not in table:
        return None
    texts = table.strings(key) or ()
    # One with placeholders can be judged only when they are filled in; something harmless stands
    # for it until then.
    judged = [f"later-{index}" if placeholders(text) else text for index, text in enumerate(texts)]
    requirements(Table({key: judged}, table.file, table.path, table.problems), key)
    return tuple(dict.fromkeys(text.strip() for text in texts))


def _check_placeholders(table: Table, rule: SetupRule, fields: SetupFields) -> None:
    """Note unknown placeholders, and those that mean nothing in a rule of this width."""
    allowed = {"label"}
    if rule.target:
        allowed |= _PLAIN
        allowed |= {f"{kind}.{name}" for kind in ("value", "values") for name in rule.spelling}
    for (field, name), value in fields.by_name().items():
        at = table.at(*(part for part in (field, name) if part not in {"flags", ""}))
        for text in (value,) if isinstance(value, str) else value:
            for placeholder in placeholders(text):
                if placeholder in allowed:
                    continue
                known = placeholder in _PLAIN
                table.problems.add(
                    f"the placeholder {{{placeholder}}} in {text!r} "
                    + (f"has no meaning in a rule for {rule.key!r}" if known else "is unknown"),
                    at=at,
                    hint=nearest(placeholder, allowed) or "write {{ or }} for a literal brace",
                )


VIA = re.compile(r"env:[A-Z_][A-Z0-9_]*|config-setting:[\w.-]+|distutils-config|source-copy")
METHOD = re.compile(
    r"(env(:[A-Z_][A-Z0-9_]*)?|python-env|config-setting:[\w.-]+|hooks|unsupported)", re.ASCII
)
DEFINES_METHOD = re.compile(
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
            table.wrong(key, f"missing key {key!r}")
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
        delivery=_delivery(table.table("delivery")),
        delivery_by_compiler={
            name: _delivery(by_compiler.table(name)) for name in compilers(by_compiler)
        },
        parallel=_parallel(table) if "parallel" in table else None,
        ninja=table.boolean("ninja", False),
        own_optimization=table.boolean("own-optimization", False),
        hooks=table.names("hooks", DOTTED),
    )
    table.finish()
    return profile


def _parallel(table: Table) -> DeliveryMethod:
    method = _method(table, "parallel")
    if not method.via.startswith(("env:", "config-setting:")):
        table.wrong(
            "parallel",
            f"unknown delivery method {method.via!r}",
            "known: env:NAME, config-setting:KEY",
        )
    return method


def _delivery(table: Table) -> dict[str, DeliveryMethod]:
    """``[delivery]``: a method by field; ``flags`` stands for every flag field not named."""
    ways = {}
    for name in table.every_key():
        if name not in DELIVERED:
            table.wrong(name, f"unknown field {name!r}", nearest(name, DELIVERED))
        else:
            ways[name] = _method(table, name)
    general = ways.pop("flags", None)
    if general is not None:
        ways = {**dict.fromkeys(FLAG_FIELDS, general), **ways}
    return ways


def _method(table: Table, name: str) -> DeliveryMethod:
    """A string that says how, or a table with ``via`` and the ``format`` of one value."""
    one = table.table(name) if isinstance(table.data[name], dict) else None
    via = (one.string("via") if one else table.string(name)) or ""
    text = (one.string("format") if one else None) or "{value}"
    if one:
        one.finish()
    if name == "defines":
        pattern, known = DEFINES_METHOD, "env:NAME, config-setting:KEY, unsupported"
    else:
        pattern = METHOD
        known = "env, env:NAME, python-env, config-setting:KEY, hooks, unsupported"
    if not pattern.fullmatch(via):
        table.wrong(name, f"unknown delivery method {via!r}", f"known: {known}")
    if "{value}" not in text:
        table.wrong(name, f"the format {text!r} has no placeholder {{value}}")
    if name == "defines" and via != "unsupported" and "{name}" not in via + text:
        table.wrong(name, "neither the key nor the format has the placeholder {name}")
    return DeliveryMethod(via, text)


def _build_directory(table: Table) -> BuildDirectory:
    via = table.string("via") or ""
    if not VIA.fullmatch(via):
        table.wrong(
            "via",
            f"unknown delivery method {via!r}",
            "known: env:NAME, config-setting:KEY, distutils-config, source-copy",
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
