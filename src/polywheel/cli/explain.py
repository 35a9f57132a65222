"""``polywheel explain``: show which wheel an installer chooses for a machine, and why."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from polywheel.cli import print_result, say
from polywheel.cli.arguments import FRESH, JSON, CommandParser, add_options
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
from polywheel.system.terminal import one_line, quantity

NO_WHEEL = 1
"""The exit code if the machine gets no wheel."""


def run(arguments: Sequence[str]) -> int:
    """Print the choice. Returns 0, or 1 if the machine gets no wheel."""
    options = _parse(arguments)
    systems = _systems(options)
    resolver = _create_resolver(options)
    answers = [resolver.resolve(system) for system in systems]
    if options.all_systems is not None:
        unused = _unused_labels(resolver, answers)
        print_result(
            _table(resolver, answers, unused),
            _all_as_json(resolver, answers, unused),
            as_json=options.json,
        )
        if not options.json:
            _print_notes(answers)
        return 0
    (answer,) = answers
    print_result(_lines(answer), _as_json(answer), as_json=options.json)
    _print_notes(answers)
    if not options.trust and any(map(_plugin_not_asked, answer.releases)):
        say(
            "hint: use --trust to install the plugins of this release in an isolated environment "
            "and run them, or --system FILE to run nothing"
        )
    return 0 if answer.chosen is not None else NO_WHEEL


def _print_notes(answers: Iterable[Resolution]) -> None:
    notes = (note for answer in answers for ranked in answer.releases for note in ranked.notes)
    for note in dict.fromkeys(notes):
        say(*f"note: {note}".split("\n"))


_SYSTEMS = """\
--system FILE      explain for the machine described in this TOML file (docs/systems.md), instead of
                   this machine
--all-systems DIR  explain for every machine described in the *.toml files of this folder, and list
                   the variants that none of them gets
"""
_OPTIONS = f"""\
--version VERSION  consider this version only
--name NAME        the name of the project, if the folder contains several projects
--index-url URL    look up the project here (default: {PYPI})
--enable NAMESPACE ...
                   enable the optional provider of this namespace; may be repeated
--trust            install and run the provider plugins that the release names; this runs
                   third-party code
{FRESH}{JSON}"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel explain",
        description="Show which wheel of a folder or an index uv would install on a machine, the order "
        "in which it tries the wheels, and why it rejects the others. The providers built into uv are "
        "supported. Nothing is installed, and provider plugins run only with --trust. The exit code is "
        "1 if no wheel fits.",
        epilog="example: polywheel explain dist --system laptop.toml",
    )
    parser.add_argument(
        "source",
        metavar="NAME_OR_DIR",
        help="a folder of wheels, the name of a project (torch, torch==2.9), or the URL of a project's "
        "page on an index; an existing folder has priority over a project of the same name",
    )
    add_options(parser.add_mutually_exclusive_group(), _SYSTEMS)
    add_options(parser, _OPTIONS)
    return parser.parse_args(arguments)


def _systems(options: argparse.Namespace) -> list[System]:
    if options.all_systems is not None:
        systems = read_systems(options.all_systems)
    elif options.system is not None:
        systems = [read_system(options.system)]
    else:
        systems = [this_machine()]
    return [replace(system, enabled=system.enabled.union(options.enable)) for system in systems]


def _create_resolver(options: argparse.Namespace) -> Resolver:
    source: CandidateSource
    specifier, project = SpecifierSet(), options.name
    if "://" in options.source:
        source = IndexSource(options.source)
    elif options.index_url is None and Path(options.source).is_dir():
        source = FolderSource(Path(options.source))
    elif options.source.startswith(".") or "/" in options.source or "\\" in options.source:
        raise ConfigError(f"the folder {options.source} does not exist")
    else:
        if options.index_url is None:
            say(f"there is no folder {options.source!r} here; looking for a project on {PYPI}")
        source, specifier, project = find_project_page(options.source, options.index_url or PYPI)
    if options.version is not None:
        try:
            specifier &= SpecifierSet(f"=={Version(options.version)}")
        except ValueError:  # InvalidVersion, or a number with more digits than Python reads
            raise ConfigError(
                f"{options.version!r} is not a version (PEP 440)", at="--version"
            ) from None
    ask = (
        create_plugin_runner(source.at, fresh=options.fresh, notify=say) if options.trust else None
    )
    return Resolver(source, find_releases(source, project=project), specifier=specifier, ask=ask)


def _plugin_not_asked(ranked: RankedRelease) -> bool:
    return any(PLUGIN_NOT_RUN in reason for wheel in ranked.rejected for reason in wheel.of_variant)


def _lines(answer: Resolution) -> Iterator[str]:
    """The answer as text. The first line states the chosen wheel."""
    last = answer.releases[-1]
    machine = one_line(answer.system.name)
    if last.chosen is not None:
        remark = " (no plugin asked)" if _plugin_not_asked(last) else ""
        yield f"{last.release}: {machine} gets {last.chosen.filename}{remark}"
        yield f"  {_description(last, last.chosen.label)}"
    elif answer.sdist is not None:
        sdist = answer.sdist.filename
        yield f"{last.release}: {machine} gets no wheel; an installer builds {sdist}"
    else:
        yield f"{last.release}: {machine} gets nothing"
    for ranked in answer.releases:
        yield ""
        if not ranked.fitting:
            yield f"{ranked.release}: none of {quantity(len(ranked.release.wheels), 'wheel')} fits"
        elif len(ranked.fitting) > 1:
            yield f"{ranked.release}, in order of preference:"
            width = len(str(len(ranked.fitting)))
            for number, file in enumerate(ranked.fitting, 1):
                yield f"  {number:{width}}  {file.filename}  ({_description(ranked, file.label)})"
        yield from _rejections(ranked)


def _rejections(ranked: RankedRelease) -> Iterator[str]:
    """A line for each rejected variant, and for each wheel that is rejected for another reason."""
    wheels: dict[str, int] = {}
    for rejected in ranked.rejected:
        if rejected.of_variant and rejected.file.label is not None:
            wheels[rejected.file.label] = wheels.get(rejected.file.label, 0) + 1
    for rejected in ranked.rejected:
        label = rejected.file.label
        if not rejected.of_variant:
            yield f"{rejected.file.filename} rejected: {'; '.join(rejected.of_file)}"
        elif label is not None and (count := wheels.pop(label, 0)):
            several = f" ({quantity(count, 'wheel')})" if count > 1 else ""
            yield f"Variant {label} rejected{several}: {'; '.join(rejected.of_variant)}"


def _description(ranked: RankedRelease, label: str | None) -> str:
    if label is None:
        return "non-variant"
    if label == NULL_LABEL:
        return "null variant"
    return f"{label}: {', '.join(map(str, ranked.variants[label].properties))}"


def _unused_labels(resolver: Resolver, answers: Iterable[Resolution]) -> list[str]:
    """The labels of the newest release that no system gets."""
    newest = resolver.releases[0]
    chosen = {answer.chosen for answer in answers}
    used = {file.label for file in newest.wheels if file in chosen}
    return sorted({file.label for file in newest.wheels if file.label is not None} - used)


def _table(
    resolver: Resolver, answers: Sequence[Resolution], unused: Sequence[str]
) -> Iterator[str]:
    names = [one_line(answer.system.name) for answer in answers]
    width = max(map(len, names))
    for name, answer in zip(names, answers, strict=True):
        if answer.chosen is not None:
            chosen_file = answer.chosen.filename
        else:
            chosen_file = f"no wheel; builds {answer.sdist.filename}" if answer.sdist else "nothing"
        yield f"{name:{width}}  {chosen_file}"
    newest = resolver.releases[0]
    for label in unused:
        yield f"{newest}: no machine gets {label}"


def _all_as_json(
    resolver: Resolver, answers: Sequence[Resolution], unused: Sequence[str]
) -> dict[str, Any]:
    newest = resolver.releases[0]
    return {
        "project": newest.project,
        "systems": [{"file": answer.system.at, **_choice_as_json(answer)} for answer in answers],
        "never_chosen": [{"version": str(newest.version), "label": label} for label in unused],
    }


def _choice_as_json(answer: Resolution) -> dict[str, Any]:
    last = answer.releases[-1]
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
        "project": answer.releases[-1].release.project,
        **_choice_as_json(answer),
        "releases": [
            {
                "version": str(ranked.release.version),
                "fitting": [
                    {"filename": file.filename, "label": file.label} for file in ranked.fitting
                ],
                "rejected": [
                    {
                        "filename": rejected.file.filename,
                        "label": rejected.file.label,
                        "reasons": list(rejected.reasons),
                    }
                    for rejected in ranked.rejected
                ],
                "notes": list(ranked.notes),
            }
            for ranked in answer.releases
        ],
    }
