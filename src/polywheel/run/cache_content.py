"""The content of the cache: its kinds of entries, their sizes, and the removal of what no run uses.

Only files and folders whose names polywheel gives are entries. Others in the folder of the cache are left alone: it
may be any folder.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from polywheel.config.reader import parse_size
from polywheel.environments.virtual_environments import (
    ENVIRONMENT_NAME,
    commands_folder,
    environment_locks,
    remove_lone_locks,
)
from polywheel.errors import ConfigError
from polywheel.run.work_folder import is_work_folder_idle, work_folder_locks
from polywheel.system.cache import cache_directory
from polywheel.system.cache_entries import (
    CacheEntry,
    Removal,
    last_use,
    remove_least_used,
)
from polywheel.system.cache_manifest import folder_size
from polywheel.system.temporary import USERS, remove_abandoned, users_folder

SIZE_VARIABLE = "POLYWHEEL_CACHE_MAX_SIZE"
DEFAULT_MAX_SIZE = "10G"
_MOST_DAYS = 30
"""Days after their last use for which work folders are kept. Most of them are almost empty."""
_DAY = 24 * 3600 * 10**9
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class CacheKind:
    """A folder of the cache."""

    folder: str
    what: str
    """What its entries are, in the plural."""

    names: re.Pattern[str]
    """The names of its entries."""


_DIGEST = re.compile("[0-9a-f]{32}")
_SHORT_DIGEST = re.compile("[0-9a-f]{20}")
WHEELS = CacheKind("wheels", "wheels", re.compile("[0-9a-f]{64}"))
WORK_FOLDERS = CacheKind(
    "work", "work folders of sources", re.compile(r"[\w.-]*-[0-9a-f]{10}", re.ASCII)
)
_ENVIRONMENTS = (
    CacheKind("builds", "environments of builds", ENVIRONMENT_NAME),
    CacheKind("providers", "environments of plugins", ENVIRONMENT_NAME),
)
KINDS = (
    WHEELS,
    *_ENVIRONMENTS,
    CacheKind("snapshots", "copies of sources", _DIGEST),
    CacheKind("sdists", "unpacked sdists", _DIGEST),
    WORK_FOLDERS,
    CacheKind("requires", "requirements that backends asked for", _DIGEST),
    CacheKind("parts", "parts of the keys of builds", re.compile(r"[0-9a-f]{32}\.json")),
    CacheKind("unanswered", "unanswered questions to backends", _DIGEST),
    CacheKind("served", "copies of polywheel", _SHORT_DIGEST),
)


def max_cache_size() -> int:
    """Return the most bytes of the cache after a run. Raises ConfigError."""
    text = os.environ.get(SIZE_VARIABLE) or DEFAULT_MAX_SIZE
    size = parse_size(text)
    if size is None:
        raise ConfigError(
            f"expected a size such as '10G' or '500M', found {text!r}",
            at=f"environment variable {SIZE_VARIABLE}",
        )
    return size


def read_cache() -> dict[CacheKind, tuple[CacheEntry, ...]]:
    """Return the entries of the cache by kind. Other processes may be using it. Raises ConfigError."""
    cache = cache_directory()
    return {kind: tuple(_read_entries(kind, cache / kind.folder)) for kind in KINDS}


def kind_times() -> tuple[int, ...]:
    """Return the modification times of the folders of all kinds. They change when an entry is added or removed."""
    times = []
    for kind in KINDS:
        try:
            times.append((cache_directory() / kind.folder).stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


def kind_of(entry: CacheEntry) -> CacheKind:
    """Return the kind of an entry of the cache."""
    folder = entry.path.relative_to(cache_directory()).parts[0]
    return next(kind for kind in KINDS if kind.folder == folder)


def prune_cache(max_size: int | None = None) -> Removal:
    """Remove entries, least recently used first, until the cache has at most ``max_size`` bytes.

    The default is the limit of the user. What was used since the beginning of a run that is still running stays, also
    of a run of this process. Work folders that were not used for a month are removed too. Raises ConfigError.
    """
    if max_size is None:
        max_size = max_cache_size()
    remove_leftovers()
    content = read_cache()
    oldest = time.time_ns() - _MOST_DAYS * _DAY
    expired = [entry for entry in content[WORK_FOLDERS] if entry.used < oldest]
    first = remove_least_used(expired, max_size=-1)
    entries = [entry for entries in content.values() for entry in entries]
    second = remove_least_used(
        (entry for entry in entries if entry not in first.removed), max_size=max_size
    )
    return replace(second, removed=first.removed + second.removed)


def clear_cache() -> Removal:
    """Remove all entries that no process uses. Raises ConfigError."""
    remove_leftovers()
    return remove_least_used(chain.from_iterable(read_cache().values()), max_size=-1)


def remove_leftovers() -> None:
    """Remove the files of killed processes from the cache. Raises ConfigError."""
    cache = cache_directory()
    with suppress(OSError):
        for folder in (cache, *cache.iterdir()):
            remove_abandoned(folder)
            for users in folder.glob(f"*{USERS}"):
                remove_abandoned(users)
    for kind in _ENVIRONMENTS:
        remove_lone_locks(cache / kind.folder)


def _read_entries(kind: CacheKind, folder: Path) -> Iterator[CacheEntry]:
    for path in sorted(folder.glob("*/*" if kind is WHEELS else "*")):
        if kind.names.fullmatch(path.name):
            with suppress(OSError):  # another process has removed it
                yield _read_entry(kind, path)


def _read_entry(kind: CacheKind, path: Path) -> CacheEntry:
    locks: Sequence[Path] = ()
    busy = False
    if kind in _ENVIRONMENTS:
        locks = environment_locks(path)
    elif kind is WORK_FOLDERS:
        locks = work_folder_locks(path)
        busy = not all(map(is_work_folder_idle, locks))
    return CacheEntry(
        path=path,
        size=folder_size(path) if path.is_dir() else path.stat().st_size,
        used=last_use(path),
        locks=tuple(locks),
        busy=busy,
        beside=(users_folder(path), commands_folder(path))
        if kind in _ENVIRONMENTS
        else (users_folder(path),),
    )
