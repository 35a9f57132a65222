"""The compiler cache of a build hook: launchers for the real backend, and a folder whose path is always the same.

Build hooks read the compiler cache from a variable, which ``polywheel build`` sets. They do not read the setting of the
project: whoever builds a wheel from an sdist may have no compiler cache.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.errors import BuildError, os_error_as

if TYPE_CHECKING:
    from polywheel.backend.hook_call import HookCall

VARIABLE = "POLYWHEEL_COMPILER_CACHE"
"""The variable with the compiler cache of a build: a value of the setting ``compiler-cache``."""


def uses_compiler_cache() -> bool:
    """Whether the variable asks for a compiler cache."""
    return os.environ.get(VARIABLE, "off") not in {"", "off"}


def launchers_of(
    call: HookCall, environment: Mapping[str, str], scratch: Path, compiler: str | None = None
) -> dict[str, str]:
    """Return the variables by which the real backend uses the compiler cache.

    ``environment`` is that of the build, ``scratch`` the folder for its files, and ``compiler`` the family of its
    compiler, if it is known. Raises ConfigError if the compiler cache is missing.
    """
    if not uses_compiler_cache():
        return {}
    from polywheel.setup.compiler_cache import (
        find_compiler_caches,
        launcher_variables,
    )
    from polywheel.setup.flags_and_settings import compiler_family

    at, profile = f"environment variable {VARIABLE}", call.choice.profile
    caches = find_compiler_caches(os.environ[VARIABLE], at=at, search_path=environment.get("PATH"))
    if caches.c is not None and (profile is None or not (profile.launchers or profile.packages)):
        call.notify(
            f"note: no compiler cache for {call.choice.build_backend}: set [tool.polywheel.backend] launchers"
        )
    if os.environ[VARIABLE] == "ccache" and profile is not None and profile.name == "maturin":
        call.notify("note: ccache can't cache Rust; compiler-cache = 'sccache' or 'auto' can")
    source = call.project.source
    variables = launcher_variables(
        profile,
        caches,
        compiler=compiler or compiler_family(environment)[0],
        environment=environment,
        scratch=scratch,
        # The work folder of a build has both. Builds of one source differ in its path.
        work_folder=scratch.parent if scratch.parent == source.parent else None,
    )
    if variables and call.hook == "build_wheel":
        settings = "; ".join(f"{name} = {text}" for name, text in variables.items())
        call.notify(f"compiler cache: {settings}")
    return variables


@contextmanager
def stable_folder(call: HookCall) -> Iterator[Path]:
    """Yield an empty folder for the files of a build, whose path is the same each time.

    It is removed at the end. A build of the same wheel at the same time gets another folder. Raises ConfigError and
    BuildError.
    """
    from polywheel.system.cache import cache_directory
    from polywheel.system.files import portable_folder_name
    from polywheel.system.locks import lock_first_free
    from polywheel.system.temporary import remove_tree, remove_unused, using

    source = os.fsencode(os.path.realpath(call.project.source))
    label = call.variant.label if call.variant is not None else ""
    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    name = portable_folder_name(f"{label}-{python}-{hashlib.sha256(source).hexdigest()[:10]}")
    parent = cache_directory() / "hooks" / name
    with ExitStack() as opened:
        with os_error_as(BuildError, "the folder of the build can't be used", at=parent):
            parent.mkdir(parents=True, exist_ok=True)
            opened.enter_context(using(parent))
            os.utime(parent)
            remove_unused(parent.parent)  # frontends build each time in a new folder
            locks = (parent / str(number) / "lock" for number in count(1))
            lock, _ = opened.enter_context(lock_first_free(locks))
            folder = lock.with_name("scratch")
            remove_tree(folder)
            folder.mkdir()
        opened.callback(remove_tree, folder)
        yield folder
