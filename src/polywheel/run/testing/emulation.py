"""Tests on an emulated CPU: which model a wheel needs, and an environment whose Python runs on it.

The emulator runs one program, and what this program starts would run on the CPU of the machine. So the
environment's Python is replaced: by a script that starts the emulator with the interpreter. Tests and the
programs that they start find the script as ``python``, as ``sys.executable``, and in the first line of
installed scripts.

As a proof, every Python of the environment appends the features of its CPU to a file.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import BuildError
from polywheel.model.setup import CpuModel
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import load_preset, preset_names
from polywheel.system.files import read_regular

EMULATOR = ("qemu-x86_64", "-cpu", "{model}", "-0", "{python}")
"""The emulator, unless the settings name another one. ``-0`` is the path by which Python was started."""
_RECORD_CPU = Path(__file__).with_name("_record_cpu.py")
_MODULE = "_polywheel_record_cpu"
_MOST = 64 * 1024 * 1024
"""The largest file of recorded CPUs that is read, in bytes."""


def oldest_cpu(machine: str, properties: Sequence[VariantProperty]) -> CpuModel | str:
    """Return the oldest CPU that a wheel admits, or why it is not emulated.

    ``machine`` is the last part of the name of a platform. A wheel without a property of the CPU's namespace
    must run on every CPU of the machine.
    """
    preset = load_preset(machine, at="presets") if machine in preset_names() else None
    if preset is None or not preset.cpu_models:
        return f"no CPU model of {machine} is known"
    own = [prop for prop in properties if prop.namespace == preset.namespace]
    if not own:
        return preset.cpu_models["*"]
    for prop in own:
        model = preset.cpu_models.get(f"{prop.feature} :: {prop.value}")
        if model is None or len(own) > 1:
            names = ", ".join(map(str, own))
            return f"no CPU model is known that has {names} and nothing beyond"
        found = model
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class EmulatedPython:
    """An environment whose Python runs on an emulated CPU."""

    cpu: CpuModel
    record: Path
    """The file to which each Python appends the features of its CPU."""

    def check(self) -> None:
        """Raise BuildError unless the test has run Python on this CPU, and on no other."""
        try:
            lines = read_regular(self.record, limit=_MOST).decode("ascii", "replace").splitlines()
        except OSError:
            lines = []
        if not lines:
            raise BuildError(
                "the test started no Python of its environment, so nothing ran on the emulated CPU",
                hint="start the test with python, or with a script that is installed for the test",
            )
        for line in lines:
            features = set(line.split()[1:])
            if surplus := sorted(features.intersection(self.cpu.lacks)):
                raise BuildError(f"a Python of the test ran on a CPU with {', '.join(surplus)}")
            if missing := sorted(set(self.cpu.has) - features):
                raise BuildError(f"a Python of the test ran on a CPU without {', '.join(missing)}")


def emulate_python(
    python: Path, sites: Sequence[Path], cpu: CpuModel, emulator: Sequence[str], record: Path
) -> EmulatedPython:
    """Replace the Python of an environment by a script that runs it in an emulator.

    ``sites`` are the folders of its packages. Raises BuildError if the emulator is not installed.
    """
    words = [word.replace("{model}", cpu.model) for word in emulator]
    words = [word.replace("{python}", str(python)) for word in words]
    program = shutil.which(words[0])
    if program is None:
        raise BuildError(
            f"the emulator {words[0]!r} is not installed",
            hint="on Debian and Ubuntu: apt install qemu-user; or set emulator, or emulate = false",
        )
    # Under its new name it is still in the environment, for emulators that set no other name.
    native = python.rename(python.with_name(f"{python.name}-native"))
    command = shlex.join([program, *words[1:], str(native)])
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8", newline="\n")
    python.chmod(0o755)
    site = sites[0]
    shutil.copyfile(_RECORD_CPU, site / f"{_MODULE}.py")
    start = f"import {_MODULE}; {_MODULE}.record({os.fspath(record)!r})\n"
    (site / f"{_MODULE}.pth").write_text(start, encoding="utf-8", newline="\n")
    return EmulatedPython(cpu=cpu, record=record)


def refuse_emulation() -> str | None:
    """Return why this system can't emulate a CPU; None if it can."""
    if sys.platform == "linux":
        return None
    return "CPUs are emulated on Linux only"
