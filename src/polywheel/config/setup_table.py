"""``[tool.polywheel.setup]`` and the rules of presets: what a property means for a build."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polywheel.config.checks import marker, requirements
from polywheel.config.reader import Table, type_name
from polywheel.errors import nearest
from polywheel.model.properties import FEATURE, NAMESPACE, VALUE
from polywheel.model.setup import FLAG_FIELDS, FeatureValues, SetupFields, SetupRule, Text

COMPILERS = ("gnu", "clang", "msvc")
_FIELDS = (*FLAG_FIELDS, "env", "config-settings", "defines", "requires", "dependencies")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GLOB = re.compile(r"[0-9a-z_.*?\[\]!-]+")
_NAME = re.compile(r"[a-z0-9_]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLAIN = frozenset({"namespace", "feature", "value", "values", "label"})


def read_setup_rules(table: Table, backends: tuple[str, ...] = ()) -> tuple[SetupRule, ...]:
    """Read every rule; what is wrong is noted in the table's problems."""
    rules = (_rule(table.table(key), key, backends) for key in table.every_key())
    return tuple(rule for rule in rules if rule is not None)


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


def _rule(table: Table, key: str, backends: tuple[str, ...]) -> SetupRule | None:
    target = _target(table, key)
    if target is None:
        return None
    glob = key.partition(":")[2].strip() if key.startswith("label:") else None
    by_compiler = table.table("compiler")
    by_backend = table.table("backend")
    spelling = table.table("spelling")
    rule = SetupRule(
        key=" :: ".join(target) or key,
        at=table.at(),
        target=target,
        label_glob=glob,
        when=marker(table, "when"),
        separator=";" if (separator := table.string("separator")) is None else separator,
        spelling={name: _texts(spelling, name) for name in spelling.names_of_tables(_NAME)},
        fields=_fields(table),
        by_compiler={
            name: _finished(by_compiler.table(name)) for name in _known(by_compiler, COMPILERS)
        },
        by_backend={
            name: _finished(by_backend.table(name)) for name in _known(by_backend, backends)
        },
    )
    table.finish(also_known=_FIELDS)
    for fields, where in _all_fields(rule):
        _check_placeholders(table, rule, fields, where)
    return rule


def _target(table: Table, key: str) -> tuple[str, ...] | None:
    """The parts of a rule's key; None, and a problem noted, where it is none."""
    if key == "*":
        return ()
    if key.startswith("label:"):
        if _GLOB.fullmatch(key.removeprefix("label:").strip()):
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
        hint="a rule is for '*', 'ns', 'ns :: feature', 'ns :: feature :: value' or 'label:GLOB'",
    )
    return None


def _known(table: Table, names: tuple[str, ...]) -> Iterator[str]:
    for name in table.every_key():
        if names and name not in names:
            table.wrong(name, f"unknown name {name!r}", nearest(name, names))
        else:
            yield name


def _finished(table: Table) -> SetupFields:
    fields = _fields(table)
    table.finish(also_known=_FIELDS)
    return fields


def _fields(table: Table) -> SetupFields:
    env = table.table("env")
    settings = table.table("config-settings")
    return SetupFields(
        flags={name: table.strings(name) or () for name in FLAG_FIELDS if name in table},
        env={name: _text(env, name) for name in env.names_of_tables(_VARIABLE)},
        config_settings={name: _text(settings, name) for name in settings.every_key()},
        defines=_texts(table, "defines"),
        requires=requirements(table, "requires") if "requires" in table else None,
        dependencies=requirements(table, "dependencies") if "dependencies" in table else None,
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


def _all_fields(rule: SetupRule) -> Iterator[tuple[SetupFields, tuple[str, ...]]]:
    yield rule.fields, ()
    for name, fields in rule.by_compiler.items():
        yield fields, ("compiler", name)
    for name, fields in rule.by_backend.items():
        yield fields, ("backend", name)


def texts_of(fields: SetupFields) -> Iterator[tuple[str, str]]:
    """Every text in which placeholders may stand, with its field."""
    for name, flags in fields.flags.items():
        yield from ((name, flag) for flag in flags)
    for name, values in (("env", fields.env), ("config-settings", fields.config_settings)):
        for text in values.values():
            yield from ((name, one) for one in ((text,) if isinstance(text, str) else text))
    yield from (("defines", text) for text in fields.defines.values())


def placeholders(text: str) -> Iterator[str]:
    """The names between braces in a text."""
    yield from _PLACEHOLDER.findall(text)


def _check_placeholders(
    table: Table, rule: SetupRule, fields: SetupFields, where: tuple[str, ...]
) -> None:
    """Unknown placeholders, and those that a rule of this width has nothing for."""
    depth = len(rule.target)
    allowed = {"label"}
    allowed |= {"namespace"} if depth else set()
    if depth:
        allowed |= {"feature", "value", "values"}
        allowed |= {f"{kind}.{name}" for kind in ("value", "values") for name in rule.spelling}
    for name, text in texts_of(fields):
        for placeholder in placeholders(text):
            if placeholder not in allowed:
                known = placeholder in _PLAIN
                table.problems.add(
                    f"the placeholder {{{placeholder}}} in {text!r} "
                    + (f"means nothing in a rule for {rule.key!r}" if known else "is unknown"),
                    at=table.at(*where, name),
                    hint=nearest(placeholder, allowed),
                )
