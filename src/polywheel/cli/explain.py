"""``polywheel explain``: which wheel a machine gets, and why not each of the others."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.errors import ConfigError
from polywheel.index.resolve.candidates import (
    PYPI,
    CandidateSource,
    FolderSource,
    IndexSource,
    find_project_page,
    find_releases,
)
from polywheel.index.resolve.resolver import RankedRelease, Resolution, Resolver
from polywheel.index.resolve.support import PLUGIN_NOT_RUN, create_plugin_runner
from polywheel.index.resolve.systems import System, read_system, read_systems, this_machine
from polywheel.model.variant import NULL_LABEL
from polywheel.system.terminal import one_line, print_json, print_lines

SHAPE = 1
"""The version of what ``--json`` prints."""
NOTHING = 1
"""The exit code where the machine gets no wheel."""


def run(arguments: Sequence[str]) -> int:
    """Print the answer; 1 where the machine gets no wheel."""
    options = _parse(arguments)
    systems = _systems(options)
    resolver = _create_resolver(options)
    answers = [resolver.resolve(system) for system in systems]
    if options.all_systems is not None:
        never = _never(resolver, answers)
        if options.json:
            print_json(_all_as_json(resolver, answers, never))
        else:
            print_lines(_table(resolver, answers, never))
        return 0
    (answer,) = answers
    if options.json:
        print_json(_as_json(answer))
    else:
        print_lines(_lines(answer))
    for note in dict.fromkeys(note for choice in answer.choices for note in choice.notes):
        say(*f"note: {note}".split("\n"))
    if not options.trust and any(map(_not_asked, answer.choices)):
        say(
            "hint: with --trust the plugins that this release names are installed into an "
            "environment of their own and run; with --system FILE nothing is run"
        )
    return 0 if answer.chosen is not None else NOTHING


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel explain",
        description="Which wheel a machine gets of a folder or an index, and why not each of the "
        "others, in the order in which uv tries them, with the providers that uv has built in. "
        "Nothing is installed, and no plugin runs unless --trust says so. The exit code is 1 where "
        "the machine gets no wheel.",
        epilog="example: polywheel explain dist --system laptop.toml",
    )
    parser.add_argument(
        "what",
        metavar="NAME_OR_DIR",
        help="a folder of wheels, the address of a project's page on an index, or the name of a "
        "project (torch, torch==2.9); a folder of that name goes first",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--system",
        metavar="FILE",
        help="the machine that this TOML file describes (docs/systems.md)",
    )
    which.add_argument(
        "--all-systems",
        metavar="DIR",
        help="every machine that a *.toml of this folder describes, and the variants that none of "
        "them gets",
    )
    parser.add_argument("--version", metavar="VERSION", help="this version only")
    parser.add_argument("--name", help="the project, where a folder holds several")
    parser.add_argument("--index-url", metavar="URL", help=f"for a NAME (default: {PYPI})")
    parser.add_argument(
        "--enable",
        metavar="NAMESPACE",
        action="append",
        default=[],
        help="use the provider of this namespace though it is optional; may be repeated",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="install and run the provider plugins that the release names: code of strangers",
    )
    parser.add_argument("--fresh", action="store_true", help="install the plugins anew")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _systems(options: argparse.Namespace) -> list[System]:
    if options.all_systems is not None:
        found = read_systems(Path(options.all_systems))
    elif options.system is not None:
        found = [read_system(Path(options.system))]
    else:
        found = [this_machine()]
    return [replace(one, enabled=one.enabled.union(options.enable)) for one in found]


def _create_resolver(options: argparse.Namespace) -> Resolver:
    source: CandidateSource
    specifier, project = SpecifierSet(), options.name
    if "://" in options.what:
        source = IndexSource(options.what)
    elif options.index_url is None and Path(options.what).is_dir():
        source = FolderSource(Path(options.what))
    elif options.what.startswith(".") or any(one in options.what for one in "/\\"):
        raise ConfigError(f"there is no folder {options.what}")
    else:
        source, specifier, project = find_project_page(options.what, options.index_url or PYPI)
    if options.version is not None:
        try:
            specifier &= SpecifierSet(f"=={Version(options.version)}")
        except ValueError:  # InvalidVersion, or a number of more digits than Python reads
            raise ConfigError(
                f"{options.version!r} is no version (PEP 440)", at="--version"
            ) from None
    ask = (
        create_plugin_runner(source.at, fresh=options.fresh, notify=say) if options.trust else None
    )
    found = find_releases(source, project=project)
    return Resolver(source, found, specifier=specifier, ask=ask)


def _not_asked(choice: RankedRelease) -> bool:
    return any(PLUGIN_NOT_RUN in reason for one in choice.rejected for reason in one.of_variant)


def _lines(answer: Resolution) -> Iterator[str]:
    """The answer for a person: first what the machine gets."""
    last = answer.choices[-1]
    who = one_line(answer.system.name)
    if last.chosen is not None:
        asked = " (no plugin asked)" if _not_asked(last) else ""
        yield f"{last.release}: {who} gets {last.chosen.filename}{asked}"
        yield f"  {_described(last, last.chosen.label)}"
    elif answer.sdist is not None:
        yield f"{last.release}: {who} gets no wheel; an installer builds {answer.sdist.filename}"
    else:
        yield f"{last.release}: {who} gets nothing"
    for choice in answer.choices:
        yield ""
        if not choice.fitting:
            yield f"{choice.release}: none of {_counted(len(choice.release.wheels), 'wheel')} fits"
        elif len(choice.fitting) > 1:
            yield f"{choice.release}, in the order tried:"
            width = len(str(len(choice.fitting)))
            for number, file in enumerate(choice.fitting, 1):
                yield f"  {number:{width}}  {file.filename}  ({_described(choice, file.label)})"
        yield from _rejections(choice)


def _rejections(choice: RankedRelease) -> Iterator[str]:
    """A line for each variant that is ruled out, and for each other wheel that is."""
    wheels: dict[str, int] = {}
    for one in choice.rejected:
        if one.of_variant and one.file.label is not None:
            wheels[one.file.label] = wheels.get(one.file.label, 0) + 1
    for one in choice.rejected:
        label = one.file.label
        if not one.of_variant:
            yield f"{one.file.filename} rejected: {'; '.join(one.of_file)}"
        elif label is not None and (count := wheels.pop(label, 0)):
            several = f" ({_counted(count, 'wheel')})" if count > 1 else ""
            yield f"Variant {label} rejected{several}: {'; '.join(one.of_variant)}"


def _described(choice: RankedRelease, label: str | None) -> str:
    if label is None:
        return "non-variant"
    if label == NULL_LABEL:
        return "null variant"
    return f"{label}: {', '.join(map(str, choice.variants[label].properties))}"


def _never(resolver: Resolver, answers: Iterable[Resolution]) -> list[str]:
    """The labels of the newest release that no system gets."""
    newest = resolver.releases[0]
    chosen = {answer.chosen for answer in answers}
    given = {file.label for file in newest.wheels if file in chosen}
    return sorted({file.label for file in newest.wheels if file.label is not None} - given)


def _table(
    resolver: Resolver, answers: Sequence[Resolution], never: Sequence[str]
) -> Iterator[str]:
    names = [one_line(answer.system.name) for answer in answers]
    width = max(map(len, names))
    for name, answer in zip(names, answers, strict=True):
        if answer.chosen is not None:
            got = answer.chosen.filename
        else:
            got = f"no wheel; builds {answer.sdist.filename}" if answer.sdist else "nothing"
        yield f"{name:{width}}  {got}"
    newest = resolver.releases[0]
    for label in never:
        yield f"never chosen of {newest}: {label}"
    for note in dict.fromkeys(n for answer in answers for one in answer.choices for n in one.notes):
        say(*f"note: {note}".split("\n"))


def _all_as_json(
    resolver: Resolver, answers: Sequence[Resolution], never: Sequence[str]
) -> dict[str, Any]:
    newest = resolver.releases[0]
    return {
        "shape": SHAPE,
        "project": newest.project,
        "systems": [{"file": one.system.at, **_got(one)} for one in answers],
        "never_chosen": [{"version": str(newest.version), "label": label} for label in never],
    }


def _got(answer: Resolution) -> dict[str, Any]:
    last = answer.choices[-1]
    chosen = answer.chosen
    variant = last.variants.get(chosen.label or "") if chosen is not None else None
    return {
        "system": answer.system.name,
        "version": str(last.release.version) if chosen is not None else None,
        "chosen": chosen.filename if chosen is not None else None,
        "label": chosen.label if chosen is not None else None,
        "properties": list(map(str, variant.properties)) if variant is not None else [],
        "sdist": answer.sdist.filename if answer.sdist is not None else None,
    }


def _as_json(answer: Resolution) -> dict[str, Any]:
    return {
        "shape": SHAPE,
        "project": answer.choices[-1].release.project,
        **_got(answer),
        "releases": [
            {
                "version": str(choice.release.version),
                "fitting": [
                    {"filename": file.filename, "label": file.label} for file in choice.fitting
                ],
                "rejected": [
                    {
                        "filename": one.file.filename,
                        "label": one.file.label,
                        "reasons": list(one.reasons),
                    }
                    for one in choice.rejected
                ],
                "notes": list(choice.notes),
            }
            for choice in answer.choices
        ],
    }


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
