"""Run a repair tool (auditwheel, delocate, delvewheel) on a wheel with a variant label in its filename.

These tools can't read such a filename. The command runs on a copy without the label and writes to a
temporary folder. The repaired wheel is checked and moved to the requested folder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polywheel.errors import (
    BuildError,
    ConfigError,
    PolywheelError,
    WheelError,
    nearest,
    os_error_as,
)
from polywheel.model.variant import Variant
from polywheel.model.wheelname import WheelName
from polywheel.system.files import rename
from polywheel.wheel.disagreements import disagreements_with_label
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel, stamped_variant
from polywheel.wheel.stamp import scratch_folder

WHEEL, DEST_DIR = "{wheel}", "{dest_dir}"
"""The placeholders of cibuildwheel. A command may contain them."""
REPAIR_TOOLS = ("auditwheel", "delocate-wheel", "delvewheel")
_FOLDER_OPTIONS = ("-w", "--wheel-dir")
"""The options of the three tools for the output folder."""
_SUFFIX = ".whl"


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairedWheel:
    """The result of a repair."""

    wheel: Path
    variant: Variant | None
    """None for a non-variant wheel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairTask:
    """The wheel to repair, the output folder, and the command, see :func:`parse_command`."""

    command: tuple[str, ...]
    """Empty if the wheel only gets its name without the label."""

    wheel: str
    dest_dir: str
    """The wheel and the output folder, as spelled in the command."""


def parse_command(command: Sequence[str], *, wheel: str | None, dest_dir: str | None) -> RepairTask:
    """Find the wheel and the output folder of a command. Raises ConfigError if it does not name them.

    By default, the wheel is the only argument, or value of an option, that names a file ``*.whl``. The
    folder is the value of ``-w`` or ``--wheel-dir``, as for the known tools, or else the only argument that
    names a folder.
    """
    task = RepairTask(
        command=tuple(command),
        wheel=_wheel_of(command) if wheel is None else wheel,
        dest_dir=_folder_of(command) if dest_dir is None else dest_dir,
    )
    for what, path, placeholder in (
        ("wheel", task.wheel, WHEEL),
        ("folder for the repaired wheel", task.dest_dir, DEST_DIR),
    ):
        if path in {WHEEL, DEST_DIR}:
            raise ConfigError(
                f"expected the {what}, found the placeholder {path}",
                hint="cibuildwheel replaces placeholders; outside of it, use --wheel and --dest-dir",
            )
        if command and not any(placeholder in part or path == _value(part) for part in command[1:]):
            raise ConfigError(
                f"the command does not name the {what} {path!r}",
                at=" ".join(command),
                hint=f"use {placeholder} in its place",
            )
    return task


def repair(task: RepairTask, *, labelled: bool, cwd: Path | None = None) -> RepairedWheel:
    """Run the command of a task on a copy of the wheel without the label. Return the repaired wheel.

    The repaired wheel appears in the output folder under its final name, with the label if ``labelled`` is
    true, completely or not at all. It replaces a wheel of that name. Other files that the command wrote are
    moved there too. The command runs in the folder ``cwd``. Its output is not redirected. Raises WheelError if the wheel is invalid
    before or after the repair, ConfigError if the command can't be run, and BuildError if it fails, or
    writes no wheel or several.
    """
    source, folder = Path(task.wheel), Path(task.dest_dir)
    before = inspect_wheel(source)
    variant = _variant(before)
    with scratch_folder(folder) as scratch:
        # Some tools split the path of a wheel, so it must be absolute.
        inputs, outputs = scratch / "given", scratch / "made"
        with os_error_as(WheelError, f"{source.name} can't be repaired", at=folder):
            inputs.mkdir()
            outputs.mkdir()
            unlabelled = inputs / before.name.with_label(None)
            shutil.copy2(source, unlabelled)  # not a link: a tool may change the file
            if task.command:
                _run(_command_for(task, unlabelled, outputs), cwd)
            else:
                unlabelled.replace(outputs / unlabelled.name)
            return _publish(outputs, folder, before, variant if labelled else None)


def _variant(wheel: InspectedWheel) -> Variant | None:
    """Return the variant of a wheel before its repair. Raises WheelError if its filename disagrees."""
    variant, label = stamped_variant(wheel), wheel.name.label
    if variant is not None and label not in (None, variant.label):
        raise WheelError(
            f"the filename has the label {label!r}, {VARIANT_JSON} the label {variant.label!r}",
            at=str(wheel.path),
            hint="its label would be lost; write its variant data again with polywheel label",
        )
    return variant


def _value(argument: str) -> str:
    """Return an argument, or the value of a long option with ``=``."""
    option, equals, value = argument.partition("=")
    return value if equals and option.startswith("--") else argument


def _wheel_of(command: Sequence[str]) -> str:
    named = dict.fromkeys(
        value for value in map(_value, command[1:]) if value.endswith(_SUFFIX) or value == WHEEL
    )
    existing = [value for value in named if value == WHEEL or Path(value).is_file()]
    if len(existing) == 1:
        return existing[0]
    what = "the command names no wheel"
    hint: str | None = "use --wheel WHEEL"
    if existing:
        what = f"the command names several wheels: {', '.join(existing)}"
    elif named:
        missing = Path(next(iter(named)))
        what = f"the wheel {str(missing)!r} does not exist"
        hint = nearest(missing.name, [path.name for path in missing.parent.glob(f"*{_SUFFIX}")])
    raise ConfigError(what, at=" ".join(command) or None, hint=hint)


def _folder_of(command: Sequence[str]) -> str:
    arguments = list(command[1:])
    values = [_value(part) for part in arguments]
    for number, part in enumerate(arguments):
        if part in _FOLDER_OPTIONS and number + 1 < len(arguments):
            return values[number + 1]
        if part.partition("=")[0] in _FOLDER_OPTIONS and "=" in part:
            return values[number]
    folders = [
        value for value in dict.fromkeys(values) if value == DEST_DIR or Path(value).is_dir()
    ]
    if len(folders) == 1:
        return folders[0]
    named = f"several folders: {', '.join(folders)}" if folders else "no existing folder"
    raise ConfigError(
        f"the folder for the repaired wheel is unknown: the command names {named}",
        at=" ".join(command) or None,
        hint="use --dest-dir DIR",
    )


def _command_for(task: RepairTask, wheel: Path, folder: Path) -> list[str]:
    """Return the command with another wheel and another output folder."""
    paths = {task.wheel: str(wheel), task.dest_dir: str(folder)}

    def replace_paths(part: str) -> str:
        value = _value(part)
        if value in paths:
            return part.removesuffix(value) + paths[value]
        return part.replace(WHEEL, str(wheel)).replace(DEST_DIR, str(folder))

    return [task.command[0], *map(replace_paths, task.command[1:])]


def _run(command: Sequence[str], cwd: Path | None) -> None:
    """Run a command. Raises ConfigError if it does not exist, and BuildError if it fails."""
    is_path = Path(command[0]).name != command[0]
    program = shutil.which(cwd / command[0] if cwd is not None and is_path else command[0])
    if program is None:
        raise ConfigError(
            f"the repair command {command[0]!r} was not found",
            hint=nearest(command[0], REPAIR_TOOLS)
            if command[0] not in REPAIR_TOOLS
            else f"install it where polywheel runs: pip install {command[0].split('-')[0]}",
        )
    # It may be a script without an interpreter.
    with os_error_as(ConfigError, f"{program} can't be run", at=" ".join(command)):
        code = subprocess.run([program, *command[1:]], cwd=cwd, check=False).returncode
    if code:
        how = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise BuildError(f"the repair command {how}", at=" ".join(command))


def _publish(
    outputs: Path, folder: Path, before: InspectedWheel, variant: Variant | None
) -> RepairedWheel:
    """Check the only wheel in ``outputs`` and move it, with the label of a variant, to ``folder``."""
    files = (path for path in outputs.glob(f"*{_SUFFIX}") if path.is_file())
    wheels = sorted(path for path in files if not path.is_symlink())
    if not wheels:
        hint = f"it must write it to the folder {DEST_DIR}"
        raise BuildError("the repair command wrote no wheel", at=str(folder), hint=hint)
    if len(wheels) > 1:
        names = ", ".join(path.name for path in wheels)
        raise BuildError(f"the repair command wrote several wheels: {names}", at=str(folder))
    try:
        after = inspect_wheel(wheels[0])
        _refuse_loss(before, after)
    except PolywheelError as error:
        problems = [replace(problem, at="the repaired wheel") for problem in error.problems]
        raise WheelError.collected(problems) from None
    name = WheelName.parse(wheels[0].name).with_label(variant.label if variant else None)
    rename(wheels[0], folder / name, overwrite=True)
    for other in outputs.iterdir():  # for example reports
        # A link would break after the move, and a pipe would block its readers.
        movable = not other.is_symlink() and (other.is_file() or other.is_dir())
        if movable and not (folder / other.name).exists():
            other.replace(folder / other.name)
    return RepairedWheel(wheel=folder / name, variant=before.variant)


def _refuse_loss(before: InspectedWheel, after: InspectedWheel) -> None:
    """Raise WheelError if a repair lost the variant, or caused new disagreements."""
    if before.variant is None:
        return
    if after.variant_json is None:
        raise WheelError(f"the repair command removed {VARIANT_JSON} from the wheel")
    if after.document is not None and after.variant != before.variant:
        raise WheelError(
            f"the repair command changed the variant: it was {before.variant.label!r} before"
        )
    label = before.variant.label
    known = {problem.what for problem in disagreements_with_label(before, label)}
    current = disagreements_with_label(after, label)
    if new := [problem for problem in current if problem.what not in known]:
        raise WheelError.collected(new)
