"""One build, in its environment: the real backend once, and a stamp for every job."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement

from polywheel.backend import real_backend
from polywheel.backend.hook_call import HookCall
from polywheel.backend.pipeline import build_sdist, built_wheel, get_requires, tell_notes
from polywheel.config.project import Project
from polywheel.environments.environments import normalized_requirements
from polywheel.errors import (
    BuildError,
    ConfigError,
    PolywheelError,
    Problem,
    UnsupportedError,
    show_error,
)
from polywheel.model.plan import variant_settings
from polywheel.model.variant import Variant, VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.setup.comparison import NO_SETUP
from polywheel.system.files import MAX_ANSWER, read_regular
from polywheel.system.temporary import temporary_folder
from polywheel.system.terminal import print_lines
from polywheel.wheel.stamp import make_stamp, stamp_into_folder

HOOK = "get_requires_for_build_wheel"
SDIST_HOOK = "get_requires_for_build_sdist"
_DESCRIBE = Path(real_backend.__file__).with_name("_describe_backend.py")
_OF_A_SHELL = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<"})
_NO_JOB: Mapping[str, Any] = {"id": None, "label": None, "properties": []}
_MOST_MESSAGES = 200
"""Warnings and notes of one step that are kept; the log has all."""
_LONGEST_MESSAGE = 2000
"""Letters."""


class Messages:
    """Warnings and notes of a step, with the ids of the jobs that they are about."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, None]] = {}

    def say(self, line: str, *jobs: str) -> None:
        """Print a line; what is a warning or a note is kept as well."""
        _say(line)
        if line.startswith(("warning: ", "note: ")) and len(self._jobs) < _MOST_MESSAGES:
            self._jobs.setdefault(line[:_LONGEST_MESSAGE], {}).update(dict.fromkeys(jobs))

    def document(self) -> list[dict[str, Any]]:
        """As JSON has them: each text once, in the order in which they came."""
        return [{"text": text, "jobs": list(jobs)} for text, jobs in self._jobs.items()]


def handle_request(order: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Do what an order says; the answer as JSON has it, and the exit code.

    An order: ``source``, ``settings`` (config settings for the real backend), ``jobs`` (each with
    ``id``, ``label`` and ``properties``), ``step``, ``scratch`` and ``out`` (folders), ``check``
    (None; or ``jobs``, and what was installed for them: ``wanted``), ``repair`` (a command, or None),
    ``keep-open`` (file descriptors), ``group`` (the file for the number of the process group).
    """
    if hasattr(os, "getpgrp"):
        with suppress(OSError):  # a full disk is an error where more is to be written
            Path(order["group"]).write_text(str(os.getpgrp()), encoding="ascii")
    started, messages = time.monotonic(), Messages()
    answer, code = _attempted(order, messages)
    return {**answer, "messages": messages.document(), "seconds": time.monotonic() - started}, code


def _attempted(order: Mapping[str, Any], messages: Messages) -> tuple[dict[str, Any], int]:
    # Whoever outlives this process still holds the folder.
    real_backend.KEPT_OPEN[:] = order["keep-open"]
    try:
        return _STEPS[order["step"]](order, messages), 0
    except PolywheelError as error:
        show_error(error)
        return {"problems": [asdict(one) for one in error.problems], "again": True}, error.exit_code
    except OSError as error:  # no room, say: what was asked for is not at fault
        text = f"{error.filename or order['source']}: {error.strerror or error}"
        show_error(PolywheelError(text))
        return {"problems": [asdict(Problem(text))], "again": False}, 1


def _requires(
    order: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]], messages: Messages
) -> list[str]:
    """What jobs need beside ``build-system.requires``."""
    found: dict[str, None] = {}
    for job in jobs:
        found.update(dict.fromkeys(get_requires(_begun(order, job, messages), HOOK)))
    return list(found)


def _sdist_requires(order: Mapping[str, Any], messages: Messages) -> dict[str, Any]:
    """What an sdist needs beside ``build-system.requires``."""
    return {"requires": get_requires(_begun(order, _NO_JOB, messages), SDIST_HOOK)}


def _sdist(order: Mapping[str, Any], messages: Messages) -> dict[str, Any]:
    """The name of the sdist that the real backend makes in ``out``.

    None, and ``why``, where it says that it makes none, or has no hook for it (PEP 517,
    "build_sdist"): it would say so again. Whatever else goes wrong may not the next time.
    """
    begun = _begun(order, _NO_JOB, messages)
    try:
        return {"sdist": build_sdist(begun, order["out"])}
    except UnsupportedError as error:
        why = error.problems[0].what
    except BuildError:
        if _has_hook(begun, "build_sdist"):
            raise
        why = f"the real backend {begun.choice.build_backend!r} has no hook build_sdist"
    show_error(UnsupportedError(why))
    return {"sdist": None, "why": why}


def _has_hook(build: HookCall, hook: str) -> bool:
    """Whether the real backend has a hook; also where it does not come to that."""
    with temporary_folder() as folder:
        answer = folder / "hooks.json"
        subprocess.run(
            [sys.executable, str(_DESCRIBE), str(answer), build.choice.build_backend, hook],
            cwd=build.project.source,
            env={
                **os.environ,
                "_POLYWHEEL_BACKEND_PATH": json.dumps(build.choice.backend_path or []),
            },
            check=False,
        )
        try:
            said = json.loads(read_regular(answer, limit=MAX_ANSWER, follow_links=False))
        except (OSError, ValueError, RecursionError):
            return True
    return hook in said.get("hooks", [hook])


def _build(order: Mapping[str, Any], messages: Messages) -> dict[str, Any]:
    """The wheels of the jobs in ``out``: what the real backend made once, and its stamps.

    Where a check is ordered, ``requires`` is what the backend asks for, and nothing is built unless
    that is what was installed.
    """
    requires, check = None, order["check"]
    if check is not None:
        requires = _requires(order, check["jobs"], messages)
        if not _covered(requires, check["wanted"]):
            return {"requires": requires, "wheels": None, "built": 0.0}
    jobs = [(job, _begun(order, job, messages)) for job in order["jobs"]]
    # What asks for nothing is built as if there were no variant; else the first stands for all.
    _, first = next((one for one in jobs if one[1].variant is None), jobs[0])
    out, scratch = Path(order["out"]), Path(order["scratch"])
    asked = None if first.variant is None else first.asked(ask=True)
    began = time.monotonic()
    labelled = any(one.variant is not None for _, one in jobs)
    everyone = [job["id"] for job in order["jobs"]]
    shared = replace(first, notify=lambda line: messages.say(line, *everyone))
    built = built_wheel(shared, asked, scratch, labelled=labelled, lasting=True)
    spent = time.monotonic() - began
    if order["repair"]:
        built = _repaired(built, order["repair"], scratch / "repaired")
    made = []
    for job, begun in jobs:
        if begun.variant is None:
            shutil.copy2(built, out / built.name)
            name, digest = built.name, NO_SETUP
        else:
            mine = asked if begun is first and asked is not None else begun.asked(ask=True)
            tell_notes(begun, mine)
            stamp = make_stamp(begun.project, mine)
            label = begun.variant.label
            name = stamp_into_folder(built, out, stamp, label=label, notify=begun.notify)
            digest = mine.setup_digest
        made.append({"id": job["id"], "file": name, "setup": digest})
    return {"requires": requires, "wheels": made, "built": spent}


def _repaired(built: Path, command: str, folder: Path) -> Path:
    """A wheel after the repair command of its target; one for any platform needs none."""
    if WheelName.parse(built.name).platform == "any":
        return built
    from polywheel.wheel.repair import parse_command, repair

    try:
        # Backslashes are of paths on Windows.
        words = shlex.split(command.replace("\\", "\\\\") if os.name == "nt" else command)
    except ValueError as error:
        raise ConfigError(f"malformed repair command: {error}", at=command) from None
    if not words:
        return built
    if shell := _OF_A_SHELL.intersection(words):
        raise ConfigError(
            f"no shell runs the repair command, and nobody else knows {min(shell)!r}",
            at=command,
            hint="put several commands into a script",
        )
    _say(f"repair: {command}")
    return repair(
        parse_command(words, wheel=str(built), dest_dir=str(folder)), labelled=False
    ).wheel


def _covered(requires: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether requirements are among those that were installed."""
    try:
        return set(normalized_requirements(requires)) <= set(wanted)
    except InvalidRequirement:
        return False


_STEPS: Mapping[str, Callable[[Mapping[str, Any], Messages], dict[str, Any]]] = {
    "requires": lambda order, messages: {"requires": _requires(order, order["jobs"], messages)},
    "build": _build,
    "sdist-requires": _sdist_requires,
    "sdist": _sdist,
}


def _begun(order: Mapping[str, Any], job: Mapping[str, Any], messages: Messages) -> HookCall:
    settings = {**order["settings"], **variant_settings(job["label"], job["properties"])}
    jobs = [job["id"]] if job["id"] is not None else []
    return HookCall.begin(
        Path(order["source"]),
        settings,
        notify=lambda line: messages.say(line, *jobs),
        more=_no_others,
    )


def _no_others(_: Project, __: tuple[VariantProperty, ...]) -> Mapping[str, Variant]:
    return {}  # the plan has been checked as a whole


def _say(line: str) -> None:
    print_lines([f"polywheel: {line}"], stream=sys.stderr)
