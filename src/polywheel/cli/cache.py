"""``polywheel cache``: show the content of the cache, and remove entries that no run uses.

``polywheel cache info --json`` prints ``{"shape": 1, "folder": …, "max_size": …, "size": …, "kinds": [...]}`` with sizes in
bytes. Each kind has ``kind``, its folder in the cache; ``what``; ``entries``, their number; ``size``; ``in_use``, how many
entries a process uses; and ``oldest_use``, the time of the oldest last use in seconds since 1970, or null.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from polywheel.cli import print_result, say
from polywheel.cli.arguments import JSON, CommandParser, add_options, size_option
from polywheel.errors import ConfigError, Problem
from polywheel.run.cache_content import (
    SIZE_VARIABLE,
    CacheKind,
    clear_cache,
    kind_of,
    max_cache_size,
    prune_cache,
    read_cache,
)
from polywheel.system.cache import cache_directory
from polywheel.system.cache_entries import IN_USE, CacheEntry, Removal, is_in_use
from polywheel.system.terminal import count_others, format_size, print_lines, quantity

_MOST_NAMED = 20
"""How many entries in use are named."""
_MAX_SIZE = f"""\
--max-size SIZE  remove entries until the cache has at most SIZE, such as 5G (default: the variable
                 {SIZE_VARIABLE}, or 10G)
"""
_KINDS = {
    "info": (
        "show what the cache contains",
        """Show the number and the size of the entries in the cache, and when the oldest was used
        last.""",
        "--json",
    ),
    "prune": (
        "remove entries until the cache is small enough",
        """Remove entries of the cache that no process uses, least recently used first, until the
        cache is small enough. polywheel build does the same at its end. Runs may be active
        meanwhile.""",
        "--max-size 5G",
    ),
    "clear": (
        "remove all entries",
        """Remove all entries of the cache that no process uses. Runs may be active meanwhile.""",
        "",
    ),
}
"""Summary, description, and example of each subcommand."""


def run(arguments: Sequence[str]) -> int:
    """Show or reduce the cache. Returns 0. Raises ConfigError, also if an entry can't be removed."""
    options = _parse(arguments)
    if options.kind == "info":
        document = _describe()
        print_result(_table(document), document, as_json=options.json)
    elif options.kind == "prune":
        max_size = options.max_size or max_cache_size()
        removal = prune_cache(max_size)
        _print_removal(removal)
        if removal.left > max_size and not _failures(removal):
            say(f"the cache stays larger than {format_size(max_size)}: the rest is in use")
    else:
        removal = clear_cache()
        _print_removal(removal)
        _print_in_use(entry for entry, why in removal.kept if why == IN_USE)
    if options.kind != "info" and (problems := _failures(removal)):
        raise ConfigError.collected(problems)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel cache",
        description="Show what is in the cache of polywheel, and remove entries: wheels, environments, "
        "copies of sources, and work folders.",
        epilog="example: polywheel cache info",
    )
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)
    for kind, (summary, description, example) in _KINDS.items():
        subparser = kinds.add_parser(
            kind,
            help=summary,
            description=description,
            epilog=f"example: polywheel cache {kind} {example}".rstrip(),
        )
        subparser.set_defaults(kind=kind)
        if kind == "info":
            add_options(subparser, JSON)
        elif kind == "prune":
            add_options(subparser, _MAX_SIZE, max_size=size_option)
    return parser.parse_args(arguments)


def _describe() -> dict[str, Any]:
    content = read_cache()
    return {
        "folder": str(cache_directory()),
        "max_size": max_cache_size(),
        "size": sum(entry.size for entries in content.values() for entry in entries),
        "kinds": [_describe_kind(kind, entries) for kind, entries in content.items()],
    }


def _describe_kind(kind: CacheKind, entries: Sequence[CacheEntry]) -> dict[str, Any]:
    return {
        "kind": kind.folder,
        "what": kind.what,
        "entries": len(entries),
        "size": sum(entry.size for entry in entries),
        "in_use": sum(map(is_in_use, entries)),
        "oldest_use": min((entry.used // 10**9 for entry in entries), default=None),
    }


def _table(document: dict[str, Any]) -> Iterator[str]:
    yield f"{document['folder']}: {format_size(document['size'])}"
    yield f"a run leaves at most {format_size(document['max_size'])} ({SIZE_VARIABLE})"
    rows = [
        (
            kind["what"],
            str(kind["entries"]),
            format_size(kind["size"]),
            str(kind["in_use"]),
            _date(kind["oldest_use"]),
        )
        for kind in document["kinds"]
        if kind["entries"]
    ]
    if not rows:
        return
    rows = [("", "entries", "size", "in use", "oldest use"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for what, *cells in rows:
        yield "  ".join([what.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):  # a file system may return any number
        return "unknown"


def _print_removal(removal: Removal) -> None:
    size = format_size(sum(entry.size for entry in removal.removed))
    count = quantity(len(removal.removed), "entry", "entries")
    print_lines([f"removed {count} ({size}); the cache has {format_size(removal.left)}"])


def _print_in_use(entries: Iterable[CacheEntry]) -> None:
    in_use = list(entries)
    for entry in in_use[:_MOST_NAMED]:
        say(f"in use: {entry.path} ({kind_of(entry).what})")
    for line in count_others(in_use, _MOST_NAMED, " in use"):
        say(line)


def _failures(removal: Removal) -> list[Problem]:
    return [
        Problem(f"an entry of the cache can't be removed: {why}", at=str(entry.path))
        for entry, why in removal.kept
        if why != IN_USE
    ]
