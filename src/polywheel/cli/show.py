"""``polywheel show``: what stands in wheels, and where their parts disagree.

With ``--json`` it prints ``{"shape": 1, "wheels": [...]}``, an entry for each wheel in order. Each has

- ``path``; ``readable``; ``errors`` (of a wheel that can't be read, which has nothing more) and
  ``disagreements``, lists of ``{"what", "at", "hint"}``, the latter two null where there is none;
- ``name``, ``version`` and ``build`` of the filename, ``tags`` of WHEEL, ``size`` in bytes;
- ``label``, of the variant, else of the filename; ``properties`` of the variant, null where the
  wheel has none or does not say which; ``hash`` of the properties, null where there are none;
- ``namespaces``, in priority order; ``feature_priorities`` and ``property_priorities``;
- ``providers``: by namespace, with ``requires``, ``plugin``, ``static_properties``,
  ``feature_order``, ``builtin``, ``optional`` and ``enable_if``;
- ``stamped``: by place (``filename``, ``METADATA``, ``variant.json``), of those that say something
  of a variant, ``label``, ``hash`` and ``properties`` as that place gives them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import wheel_paths
from polywheel.errors import PolywheelError, Problem, WheelError
from polywheel.model.variant import Provider, Variant
from polywheel.system.terminal import print_json, print_lines
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel

SHAPE = 1
"""The version of what ``--json`` prints."""
_LONGEST = 600
"""Letters of a line: what is longer is a stranger's joke."""
_MOST = 50
"""How many lines of one kind are printed; ``--json`` has all."""


def run(arguments: Sequence[str]) -> int:
    """Look at the wheels; exit code 0, or 4 where one can't be read or disagrees with itself."""
    options = _parse(arguments)
    code = 0
    found: list[dict[str, Any]] = []
    for path in wheel_paths(options.wheels):
        wheel = _seen(path, hashes=options.hashes)
        code = max(code, wheel.pop("exit_code"))
        if options.json:
            found.append(wheel)
        else:
            lines = [_first_line(wheel)]
            if not options.brief:
                lines += [f"  {line}" for line in _details(wheel)]
            print_lines(lines, longest=_LONGEST)
    if options.json:
        print_json({"shape": SHAPE, "wheels": found})
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel show",
        description="For every wheel: label, properties, hash, providers and tags, what is stamped "
        "where, and every disagreement between filename, METADATA, variant.json, WHEEL and RECORD. "
        "The exit code is 4 where there is one, or where a wheel can't be read.",
        epilog="example: polywheel show dist/*.whl --brief",
    )
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="paths, globs or folders")
    parser.add_argument(
        "--hashes",
        action="store_true",
        help="read every file of the wheels and hold it against its hash in RECORD; without this, "
        "METADATA, variant.json and WHEEL only",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--brief", action="store_true", help="one line a wheel")
    how.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _seen(path: Path, *, hashes: bool) -> dict[str, Any]:
    """What is shown of a wheel, and ``exit_code``."""
    try:
        wheel = inspect_wheel(path, hashes=hashes)
    except PolywheelError as error:
        return {
            "path": str(path),
            "readable": False,
            "errors": [_problem(one) for one in error.problems],
            "disagreements": [],
            "exit_code": error.exit_code,
        }
    metadata, variant = wheel.shown, wheel.shown_variant
    wrong = [*wheel.disagreements, *_fits_nowhere(wheel)]
    return {
        "path": str(path),
        "readable": True,
        "errors": [],
        "disagreements": [_problem(one) for one in wrong],
        "name": wheel.name.distribution,
        "version": wheel.name.version,
        "build": wheel.name.build,
        "tags": list(wheel.tags),
        "size": wheel.size,
        "label": variant.label if variant is not None else wheel.name.label,
        "hash": variant.hash if variant is not None and not variant.is_null else None,
        "properties": _properties(variant) if variant is not None else None,
        "namespaces": list(metadata.namespaces) if metadata is not None else [],
        "feature_priorities": list(map(str, metadata.feature_priorities)) if metadata else [],
        "property_priorities": list(map(str, metadata.property_priorities)) if metadata else [],
        "providers": {
            namespace: _provider(provider) for namespace, provider in metadata.providers.items()
        }
        if metadata is not None
        else {},
        "stamped": dict(_stamped(wheel)),
        "exit_code": WheelError.exit_code if wrong else 0,
    }


def _fits_nowhere(wheel: InspectedWheel) -> list[Problem]:
    """No part of the wheel is wrong, and still nobody can install it."""
    return [
        Problem(
            f"no machine supports '{prop}': it is not among the static properties of its provider"
        )
        for prop in wheel.fits_nowhere
    ]


def _properties(variant: Variant) -> list[str]:
    return [str(prop) for prop in variant.properties]


def _problem(problem: Problem) -> dict[str, str | None]:
    return {"what": problem.what, "at": problem.at, "hint": problem.hint}


def _provider(provider: Provider) -> dict[str, Any]:
    return {
        "requires": list(provider.requires),
        "plugin": provider.object_reference,
        "static_properties": {
            feature: list(values) for feature, values in provider.static_properties.items()
        },
        "feature_order": list(provider.feature_order),
        "builtin": provider.builtin,
        "optional": provider.optional,
        "enable_if": provider.enable_if,
    }


def _stamped(wheel: InspectedWheel) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each place says, as it says it."""
    for where in wheel.stamped_in:
        said: dict[str, Any] = {"label": None, "hash": None, "properties": []}
        document = wheel.document or wheel.faulty
        if where == "filename":
            said["label"] = wheel.name.label
        elif where == "METADATA" and wheel.fields is not None:
            fields = wheel.fields
            said = {
                "label": fields.label,
                "hash": fields.hash,
                "properties": [str(prop) for prop in fields.properties],
            }
        elif where == "variant.json" and document is not None and len(document.variants) == 1:
            (variant,) = document.variants.values()
            said["label"] = variant.label
            said["properties"] = _properties(variant)
        yield where, said


def _first_line(wheel: dict[str, Any]) -> str:
    name = Path(wheel["path"]).name
    if not wheel["readable"]:
        return f"{name}: can't be read: {wheel['errors'][0]['what']}"
    stamped = ", ".join(wheel["stamped"])
    parts = [f"stamped in {stamped}"] if stamped else []
    if wheel["label"] is not None:
        parts = [f"label {wheel['label']}", _how_many(wheel["properties"]), *parts]
    elif not parts:
        parts = ["no variant"]
    if wrong := len(wheel["disagreements"]):
        parts.append(_counted(wrong, "disagreement", "disagreements"))
    return f"{name}: {', '.join(parts)}"


def _how_many(properties: list[str] | None) -> str:
    if properties is None:
        return "properties not known"
    return _counted(len(properties), "property", "properties") if properties else "no properties"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _details(wheel: dict[str, Any]) -> Iterator[str]:
    if not wheel["readable"]:
        for error in wheel["errors"][:_MOST]:
            yield from _told("error", error)
        return
    yield from _few(wheel["properties"] or ())
    if wheel["hash"] is not None:
        yield f"hash {wheel['hash']}"
    if wheel["namespaces"]:
        yield f"namespaces {', '.join(wheel['namespaces'])}"
    yield from _few(
        f"provider of {namespace}: {_in_words(provider)}"
        for namespace, provider in wheel["providers"].items()
    )
    yield f"tags {', '.join(wheel['tags']) or 'none'}"
    for problem in wheel["disagreements"][:_MOST]:
        yield from _told("disagreement", problem)
    if (more := len(wheel["disagreements"]) - _MOST) > 0:
        yield f"and {_counted(more, 'disagreement', 'disagreements')} more: --json lists all"


def _in_words(provider: dict[str, Any]) -> str:
    if provider["builtin"]:
        words = [f"builtin {provider['builtin']}"]
    elif provider["requires"] or provider["plugin"]:
        words = [f"{', '.join(provider['requires'])} ({provider['plugin']})".strip()]
    else:
        features = provider["feature_order"] or list(provider["static_properties"])
        static = provider["static_properties"]
        words = [f"{one} = {', '.join(static.get(one, ()))}" for one in features]
    if provider["optional"]:
        words.append("optional")
    if provider["enable_if"]:
        words.append(f"if {provider['enable_if']}")
    return "; ".join(words)


def _told(kind: str, problem: dict[str, str | None]) -> Iterator[str]:
    """A problem; that it is about this wheel need not be said."""
    yield f"{kind}: {problem['what']}"
    if problem["at"] and ": " in problem["at"]:
        yield f"  at: {problem['at']}"
    if problem["hint"]:
        yield f"  hint: {problem['hint']}"


def _few(lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    yield from found[:_MOST]
    if len(found) > _MOST:
        yield f"and {len(found) - _MOST} more: --json lists all"
