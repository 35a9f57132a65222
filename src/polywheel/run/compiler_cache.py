"""The compiler cache of a run: the choice, the variables of a build, and the hits and misses of a build."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from polywheel.backend.compiler_cache import VARIABLE
from polywheel.config.project import Project
from polywheel.errors import ConfigError
from polywheel.model.plan import Build
from polywheel.model.setup import BackendProfile
from polywheel.run.outcome import CacheUse
from polywheel.setup.compiler_cache import BASE_DIRECTORY, check_setting, find_compiler_caches
from polywheel.system.cache import cache_directory
from polywheel.system.files import read_regular

STATISTICS = "CCACHE_STATSLOG"
"""The variable with the file for the statistics of ccache (since 4.5)."""
PASSED_TO_CONTAINERS = (
    *("CCACHE_DIR", "CCACHE_MAXSIZE", STATISTICS),
    *("SCCACHE_DIR", "SCCACHE_CACHE_SIZE"),
)
"""The variables of the machine that builds in containers get."""

_FOLDERS = {"CCACHE_DIR": "ccache", "SCCACHE_DIR": "sccache"}
"""Their folders in the cache of polywheel, for containers."""

STATISTICS_FILE = Path("scratch", "ccache-statistics")
"""This file, in the work folder of a build."""

_HITS = ("direct_cache_hit", "preprocessed_cache_hit")
_MISSES = ("cache_miss",)
_CHECKS = ("CMakeScratch", "CMakeTmp", "CompilerABI.c", "CompilerId.c", "meson-private")
"""Parts of the paths of files that CMake and Meson compile only to examine the compiler."""
_MOST = 64 * 1024 * 1024
"""The largest file with statistics, in bytes."""


def total_use(uses: Iterable[CacheUse | None]) -> CacheUse | None:
    """Return the sum of those that are known; None if none is."""
    known = [use for use in uses if use is not None]
    if not known:
        return None
    return CacheUse(hits=sum(use.hits for use in known), misses=sum(use.misses for use in known))


def needs_compiler_cache(builds: Iterable[Build], *, cibuildwheel: bool) -> bool:
    """Return whether the compiler cache has to be installed before the run.

    Containers of cibuildwheel have their own programs, and a ``before-all`` command may install it.
    """
    return not cibuildwheel and not any(build.settings.before_all for build in builds)


def choose_compiler_cache(project: Project, option: str | None, *, here: bool) -> str:
    """Return the compiler cache of a run: the option, else the variable, else the setting of the project.

    ``here``: whether it has to be installed. Raises ConfigError if the compiler cache is unknown or missing.
    """
    if option is not None:
        setting, at = option, "--compiler-cache"
    elif VARIABLE in os.environ:
        setting, at = os.environ[VARIABLE] or "off", f"environment variable {VARIABLE}"
    else:
        setting, at = project.settings.compiler_cache, project.at("tool.polywheel.compiler-cache")
    check_setting(setting, at=at)
    if here:
        find_compiler_caches(setting, at=at, search_path=os.environ.get("PATH"))
    return setting


def cache_that_changes_paths(setting: str, profile: BackendProfile | None) -> str:
    """Return ``ccache`` if builds with this setting use it, and its script changes paths in debug information.

    Otherwise the wheels are those of a build without a compiler cache, and nothing is returned.
    """
    launchers = profile.launchers.values() if profile is not None else ()
    if not any(method.startswith("script:") for method in launchers):
        return ""
    try:
        caches = find_compiler_caches(setting, at="", search_path=os.environ.get("PATH"))
    except ConfigError:  # a before-all command may install it
        return setting if setting == "ccache" else ""
    return caches.c if caches.c == "ccache" else ""


def compiler_cache_variables(
    setting: str, work_folder: Path, variables: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of a build in a work folder, which has ``variables`` of its own."""
    own = {
        BASE_DIRECTORY: str(work_folder),
        STATISTICS: str(work_folder / STATISTICS_FILE),
    }
    if setting == "off":
        own = {}
    return {
        VARIABLE: setting,
        **{name: text for name, text in own.items() if not variables.get(name)},
    }


def cibuildwheel_cache_variables(
    setting: str, work_folder: Path, *, in_container: bool
) -> dict[str, str]:
    """Return the variables of the machine for a run of cibuildwheel with a work folder.

    Containers get them from the machine, whose root they see in ``/host``. Their objects are in polywheel's cache,
    unless the user has set another folder: root in a container may own them.
    """
    variables = {VARIABLE: setting}
    if setting == "off":
        return variables
    statistics = str(work_folder / STATISTICS_FILE)
    if not in_container:
        return {**variables, STATISTICS: os.environ.get(STATISTICS) or statistics}
    folders = {
        name: os.environ.get(name) or str(cache_directory() / folder)
        for name, folder in _FOLDERS.items()
    }
    places = {**folders, STATISTICS: statistics}
    return {**variables, **{name: f"/host{path}" for name, path in places.items()}}


def read_cache_use(setting: str, work_folder: Path) -> CacheUse | None:
    """Return the hits and misses of the build in a work folder.

    None means that they are not known: the compiler cache writes no statistics for a build, or the user has another
    file for them.
    """
    if setting == "off":
        return None
    try:
        content = read_regular(work_folder / STATISTICS_FILE, limit=_MOST, follow_links=False)
    except OSError:
        return None
    return count_statistics(content.decode("utf-8", "replace"))


def count_statistics(text: str) -> CacheUse:
    """Count the hits and misses in statistics of ccache, without those of checks of a build system.

    Each compilation is a line with ``#`` and its file, and the lines with its counters.
    """
    hits = misses = 0
    is_check = False
    for line in text.splitlines():
        if line.startswith("#"):
            is_check = any(part in line for part in _CHECKS)
        elif not is_check:
            hits += line in _HITS
            misses += line in _MISSES
    return CacheUse(hits=hits, misses=misses)
