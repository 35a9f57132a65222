"""``polywheel show``: show the variant metadata of wheels and check it.

With ``--json`` it prints ``{"shape": 1, "wheels": [...]}``, with an entry for each wheel, in order:

- ``path``; ``readable``; ``errors`` (of an unreadable wheel, which has no other keys) and
  ``disagreements``, lists of ``{"what", "at", "hint"}``; ``at`` and ``hint`` may be null;
- ``name``, ``version``, and ``build`` of the filename, ``tags`` of WHEEL, ``size`` in bytes;
- ``label`` of the variant, else of the filename; ``properties`` of the variant, null if the wheel
  has no variant or does not state it; ``hash`` of the properties, null if there are none;
- ``namespaces``, in priority order; ``feature_priorities`` and ``property_priorities``;
- ``providers``: by namespace, with ``requires``, ``plugin``, ``static_properties``,
  ``feature_order``, ``builtin``, ``optional``, and ``enable_if``;
- ``stamped``: ``label``, ``hash``, and ``properties`` by place. The places are those of
  ``filename``, ``METADATA``, and ``variant.json`` that mention a variant.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import print_document, problem_as_json
from polywheel.cli.arguments import JSON, CommandParser, add_options
from polywheel.cli.wheels import HASHES, add_wheels, wheel_paths
from polywheel.errors import PolywheelError, Problem, WheelError
from polywheel.model.variant import Provider, VariantMetadata
from polywheel.system.terminal import count_others, print_lines, quantity
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel

_LONGEST = 600
"""Characters of a printed line. Longer lines are cut: the texts come from untrusted wheels."""
_MOST = 50
"""How many lines of one kind are printed; ``--json`` prints all."""


def run(arguments: Sequence[str]) -> int:
    """Show the wheels. Returns 0, or 4 if a wheel is unreadable or inconsistent."""
    options = _parse(arguments)
    code = 0
    wheels: list[dict[str, Any]] = []
    for path in wheel_paths(options.wheels):
        wheel = _inspect(path, hashes=options.hashes)
        code = max(code, wheel.pop("exit_code"))
        if options.json:
            wheels.append(wheel)
        else:
            lines = [_first_line(wheel)]
            if not options.brief:
                lines += [f"  {line}" for line in _details(wheel)]
            print_lines(lines, longest=_LONGEST)
    if options.json:
        print_document({"wheels": wheels})
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel show",
        description="Show label, properties, hash, providers, and tags of wheels, and where each "
        "wheel is stamped. Check that filename, METADATA, variant.json, WHEEL, and RECORD agree. The "
        "exit code is 4 if they disagree or if a wheel can't be read.",
        epilog="example: polywheel show dist/*.whl --brief",
    )
    add_wheels(parser)
    add_options(parser, f"{HASHES} (default: METADATA, variant.json, and WHEEL only)")
    add_options(parser.add_mutually_exclusive_group(), f"--brief  print one line per wheel\n{JSON}")
    return parser.parse_args(arguments)


def _inspect(path: Path, *, hashes: bool) -> dict[str, Any]:
    """The JSON entry of a wheel, and ``exit_code``."""
    try:
        wheel = inspect_wheel(path, hashes=hashes)
    except PolywheelError as error:
        return {
            "path": str(path),
            "readable": False,
            "errors": [problem_as_json(problem) for problem in error.problems],
            "disagreements": [],
            "exit_code": error.exit_code,
        }
    metadata, variant = wheel.shown or VariantMetadata(), wheel.shown_variant
    # The wheel may be consistent, but it can't be installed.
    unsupported = [
        Problem(f"no machine supports '{prop}': the static properties of its provider lack it")
        for prop in wheel.unsupported_properties
    ]
    disagreements = [*wheel.disagreements, *unsupported]
    return {
        "path": str(path),
        "readable": True,
        "errors": [],
        "disagreements": [problem_as_json(problem) for problem in disagreements],
        "name": wheel.name.distribution,
        "version": wheel.name.version,
        "build": wheel.name.build,
        "tags": list(wheel.tags),
        "size": wheel.size,
        "label": variant.label if variant is not None else wheel.name.label,
        "hash": variant.hash if variant is not None and not variant.is_null else None,
        "properties": list(map(str, variant.properties)) if variant is not None else None,
        "namespaces": list(metadata.namespaces),
        "feature_priorities": list(map(str, metadata.feature_priorities)),
        "property_priorities": list(map(str, metadata.property_priorities)),
        "providers": {
            namespace: _provider(provider) for namespace, provider in metadata.providers.items()
        },
        "stamped": dict(_stamps(wheel)),
        "exit_code": WheelError.exit_code if disagreements else 0,
    }


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


def _stamps(wheel: InspectedWheel) -> Iterator[tuple[str, dict[str, Any]]]:
    """The label, hash, and properties by place, as each place states them."""
    document = wheel.document or wheel.faulty
    for place in wheel.stamped_in:
        stamp: dict[str, Any] = {"label": None, "hash": None, "properties": []}
        if place == "filename":
            stamp["label"] = wheel.name.label
        elif place == "METADATA" and wheel.fields is not None:
            stamp |= {"label": wheel.fields.label, "hash": wheel.fields.hash}
            stamp["properties"] = list(map(str, wheel.fields.properties))
        elif place == "variant.json" and document is not None and len(document.variants) == 1:
            (variant,) = document.variants.values()
            stamp |= {"label": variant.label, "properties": list(map(str, variant.properties))}
        yield place, stamp


def _first_line(wheel: dict[str, Any]) -> str:
    name = Path(wheel["path"]).name
    if not wheel["readable"]:
        return f"{name}: can't be read: {wheel['errors'][0]['what']}"
    places = ", ".join(wheel["stamped"])
    parts = [f"stamped in {places}"] if places else []
    if wheel["label"] is not None:
        properties, count = wheel["properties"], "unknown properties"
        if properties is not None:
            count = (
                quantity(len(properties), "property", "properties")
                if properties
                else "no properties"
            )
        parts = [f"label {wheel['label']}", count, *parts]
    elif not parts:
        parts = ["no variant"]
    if wheel["disagreements"]:
        parts.append(quantity(len(wheel["disagreements"]), "disagreement"))
    return f"{name}: {', '.join(parts)}"


def _details(wheel: dict[str, Any]) -> Iterator[str]:
    if not wheel["readable"]:
        for error in wheel["errors"][:_MOST]:
            yield from _problem_lines("error", error)
        return
    yield from _first_lines(wheel["properties"] or ())
    if wheel["hash"] is not None:
        yield f"hash {wheel['hash']}"
    if wheel["namespaces"]:
        yield f"namespaces {', '.join(wheel['namespaces'])}"
    yield from _first_lines(
        f"provider of {namespace}: {_provider_text(provider)}"
        for namespace, provider in wheel["providers"].items()
    )
    yield f"tags {', '.join(wheel['tags']) or 'none'}"
    for problem in wheel["disagreements"][:_MOST]:
        yield from _problem_lines("disagreement", problem)
    yield from count_others(wheel["disagreements"], _MOST, " disagreements: --json lists all")


def _provider_text(provider: dict[str, Any]) -> str:
    if provider["builtin"]:
        parts = [f"builtin {provider['builtin']}"]
    elif provider["requires"] or provider["plugin"]:
        parts = [f"{', '.join(provider['requires'])} ({provider['plugin']})".strip()]
    else:
        static = provider["static_properties"]
        features = provider["feature_order"] or list(static)
        parts = [f"{feature} = {', '.join(static.get(feature, ()))}" for feature in features]
    if provider["optional"]:
        parts.append("optional")
    if provider["enable_if"]:
        parts.append(f"if {provider['enable_if']}")
    return "; ".join(parts)


def _problem_lines(kind: str, problem: dict[str, str | None]) -> Iterator[str]:
    """The lines of a problem. A location that is only the wheel itself is left out."""
    yield f"{kind}: {problem['what']}"
    if problem["at"] and ": " in problem["at"]:
        yield f"  at: {problem['at']}"
    if problem["hint"]:
        yield f"  hint: {problem['hint']}"


def _first_lines(lines: Iterable[str]) -> Iterator[str]:
    all_lines = list(lines)
    yield from all_lines[:_MOST]
    yield from count_others(all_lines, _MOST, ": --json lists all")
