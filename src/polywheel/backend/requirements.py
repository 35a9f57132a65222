"""The requirements of a build: what the real backend asks for, and when it can be asked.

A frontend calls ``get_requires_for_build_wheel`` while only ``build-system.requires`` is installed. The hook of the
real backend may need a requirement of the variant's build setup: a ``setup.py`` that imports torch at the top. Then
it fails, and the answer has only the requirements of the variant. The real backend is asked again when they are
installed: in ``build_wheel``, or in ``prepare_metadata_for_build_wheel`` if the frontend calls it first. By then the
frontend installs nothing any more, so a requirement that is missing is an error.

Every hook runs in a process of its own. A mark in the cache tells the later hook that the earlier one had no answer.

``polywheel build`` installs the requirements of the variant before it asks.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement

from polywheel.config.reader import parse_requirement
from polywheel.errors import BuildError, ConfigError, Problem
from polywheel.model.setup import Entry, origins
from polywheel.system.cache import cache_directory
from polywheel.system.temporary import remove_unused

if TYPE_CHECKING:
    from polywheel.backend.hook_call import HookCall
    from polywheel.environments.installed import MissingRequirement

_MOST_MARKS = 1000


def check_requirements(requirements: Sequence[str]) -> Sequence[str]:
    """Return the requirements of a backend. Raises BuildError if one is malformed."""
    for text in requirements:
        try:
            parse_requirement(text)
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            raise BuildError(
                f"the backend requires {text!r}, which is not a valid requirement: {why}"
            ) from None
    return requirements


def ask_early(
    call: HookCall, ask: Callable[[], list[str]], of_variant: Sequence[Entry]
) -> list[str]:
    """Ask the real backend for its requirements, maybe before those of the variant are installed.

    If it fails and a requirement of the variant is not installed, that may be the reason: the result is empty, and
    :func:`ask_again` asks again. Raises BuildError if it fails otherwise.
    """
    mark = _mark(call)
    try:
        answer = ask()
    except BuildError as error:
        missing = _missing(of_variant)
        if not missing:
            raise
        _set(mark)
        call.notify(
            f"note: {error.problems[0].what}; maybe it needs the requirements of the variant, which are not "
            f"installed yet: {', '.join(str(one) for _, one in missing)}; it is asked again when they are installed"
        )
        return []
    _remove(mark)
    return answer


def ask_again(call: HookCall, ask: Callable[[], list[str]], of_variant: Sequence[Entry]) -> None:
    """Ask the real backend again if :func:`ask_early` got no answer in this environment.

    Raises BuildError if it fails again, and if it requires something that is not installed.
    """
    mark = _mark(call)
    if mark is None or not mark.is_dir():
        return
    try:
        answer = check_requirements(ask())
    except BuildError as error:
        problems = (_problem(entry, one) for entry, one in _missing(of_variant))
        raise BuildError.collected([*error.problems, *problems]) from None
    from polywheel.environments.installed import missing_requirements

    if missing := missing_requirements(answer):
        late = ", ".join(entry.value for entry in of_variant)
        backend = call.choice.build_backend
        raise BuildError.collected(
            Problem(
                f"the real backend {backend!r} requires {one.text!r}, {_found(one)}",
                at=call.project.at("build-system.requires"),
                hint=f"add it there, or to requires of {origins(of_variant)}: the real backend "
                f"could not ask for it before {late} was installed",
            )
            for one in missing
        )
    _remove(mark)


def with_hint_about_variants(call: HookCall, error: BuildError) -> BuildError:
    """The failure of a hook without a variant. Its project may have requirements for variants only."""
    from polywheel.setup.resolve import has_requirements

    try:
        if not has_requirements(call.project):
            return error
    except ConfigError:  # the failure of the backend is the one to report
        return error
    hint = (
        "see its output above; the requires of setup rules are installed only for the wheels of variants: "
        "if it needs one of them, build only such wheels, or add it to build-system.requires"
    )
    return BuildError.collected(replace(problem, hint=hint) for problem in error.problems)


def check_installed(call: HookCall, of_variant: Sequence[Entry]) -> None:
    """Raise BuildError if a requirement of the variant is installed in another version.

    The wheel would be built with that version and carry the label of the variant. A requirement that is not
    installed is a warning: something that is no Python distribution may take its place.
    """
    missing = _missing(of_variant)
    for entry, one in missing:
        if one.other_version is None:
            call.notify(f"warning: {_problem(entry, one).what} ({entry.origin})")
    if others := [_problem(entry, one) for entry, one in missing if one.other_version]:
        raise BuildError.collected(others)


def _missing(of_variant: Sequence[Entry]) -> list[tuple[Entry, MissingRequirement]]:
    if not of_variant:
        return []
    from polywheel.environments.installed import missing_requirements

    return [(entry, one) for entry in of_variant for one in missing_requirements([entry.value])]


def _problem(entry: Entry, missing: MissingRequirement) -> Problem:
    return Problem(
        f"the variant requires {missing.text!r}, {_found(missing)}",
        at=entry.origin,
        hint="build in isolation, or install it into the build environment; if build-system.requires "
        "names the same package, remove it there",
    )


def _found(missing: MissingRequirement) -> str:
    if missing.other_version is None:
        return "which is not installed"
    return f"but version {missing.other_version} is installed"


def _mark(call: HookCall) -> Path | None:
    """The folder that exists while the real backend owes an answer; None if there can be no such folder.

    It is for one variant of one source in one build environment. Each isolated environment has its own polywheel.
    """
    variant = call.variant
    key = [
        str(call.project.source.resolve()),
        call.is_editable,
        *((variant.label, *map(str, variant.properties)) if variant else ()),
        __file__,
        sys.prefix,
    ]
    digest = hashlib.sha256(json.dumps(key).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        return cache_directory() / "unanswered" / digest[:32]
    except ConfigError:  # without a cache, the real backend is not asked again
        return None


def _set(mark: Path | None) -> None:
    if mark is not None:
        with suppress(OSError):
            mark.mkdir(parents=True, exist_ok=True)
            remove_unused(mark.parent, most=_MOST_MARKS)


def _remove(mark: Path | None) -> None:
    if mark is not None:
        with suppress(OSError):
            mark.rmdir()
