"""Running a repair tool (auditwheel, delocate, delvewheel) on a wheel whose name has a variant label.

Those tools can't read such a name. The real command runs on a copy with the plain name, into a
folder of its own; what comes out is checked and put where it was wanted.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polywheel.errors import BuildError, ConfigError, PolywheelError, WheelError, nearest
from polywheel.model.variant import Variant
from polywheel.model.wheelname import WheelName
from polywheel.system.files import rename
from polywheel.wheel.disagreements import disagreements_with_label
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel
from polywheel.wheel.stamp import scratch_folder

WHEEL, DEST_DIR = "{wheel}", "{dest_dir}"
"""As cibuildwheel spells them: they may stand in a command that nobody has filled in."""
_TOOLS = ("auditwheel", "delocate-wheel", "delvewheel")
_FOLDER_OPTIONS = ("-w", "--wheel-dir")
"""How the three tools call the folder for what they make."""
_SUFFIX = ".whl"


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairedWheel:
    """What a repair came to."""

    wheel: Path
    variant: Variant | None
    """None for a non-variant wheel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairTask:
    """What is to be repaired, to where, and by which command; made by ``understood``."""

    command: tuple[str, ...]
    """Empty where nothing has to be done but to give the plain name."""

    wheel: str
    dest_dir: str
    """Both as the command spells them."""


def parse_command(
    command: Sequence[str], *, wheel: str | None = None, dest_dir: str | None = None
) -> RepairTask:
    """The wheel and the folder that a command is about. Raises ConfigError where it does not say.

    Where they are not given, the wheel is the one argument, or value of an option, that names a
    file ``*.whl``; the folder is what follows ``-w`` or ``--wheel-dir``, as the known tools have
    it, else the one argument that names a folder.
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
                f"{path} stands where the {what} should",
                hint="cibuildwheel puts the paths there; elsewhere, give them with --wheel and "
                "--dest-dir",
            )
        if command and not any(placeholder in part or path == _value(part) for part in command[1:]):
            raise ConfigError(
                f"the command does not name the {what} {path!r}",
                at=" ".join(command),
                hint=f"it may have {placeholder} where that belongs",
            )
    return task


def repair(task: RepairTask, *, labelled: bool) -> RepairedWheel:
    """Run the command of a task on the plain name of its wheel; the wheel that came of it.

    It appears in the folder under its final name, with the label where ``labelled`` asks for it,
    whole or not at all, and in place of a wheel of that name. What else the command left there
    comes along. The command's output goes where this program's goes. Raises WheelError for a wheel
    that can't be used, before or after; ConfigError where the command can't be run; BuildError
    where it fails, or makes no wheel, or several.
    """
    source, folder = Path(task.wheel), Path(task.dest_dir)
    before = inspect_wheel(source)
    variant = _variant(before)
    with scratch_folder(folder) as scratch:
        # Some tools take the path of a wheel apart: nothing about it may be relative.
        given, made = scratch / "given", scratch / "made"
        try:
            given.mkdir()
            made.mkdir()
            plain = given / str(replace(before.name, label=None))
            shutil.copy2(source, plain)  # not a link: a tool may work in place
            if task.command:
                _run(_filled(task, plain, made))
            else:
                plain.replace(made / plain.name)
            return _taken_out(made, folder, before, variant if labelled else None)
        except OSError as error:
            raise WheelError(
                f"{source.name} can't be repaired: {error.strerror or error}", at=str(folder)
            ) from None


def _variant(wheel: InspectedWheel) -> Variant | None:
    """The variant of a wheel that is to be repaired; raises WheelError where its name lies."""
    variant, label = wheel.variant, wheel.name.label
    if label is None and not wheel.stamped_in:
        return None
    if wheel.variant_json is None or variant is None or label not in (None, variant.label):
        hint = "its label would be lost; write its variant data anew with polywheel label"
        stamped = f"the label {variant.label!r}" if variant is not None else "no variant"
        name = f"the label {label!r}" if label is not None else "no label"
        found = VARIANT_JSON if wheel.variant_json is not None else f"no {VARIANT_JSON}"
        what = f"the filename has {name}, the wheel {stamped} and {found}"
        if wheel.variant_json is not None and wheel.document is None:
            raise WheelError.collected(wheel.disagreements)
        raise WheelError(what, at=str(wheel.path), hint=hint)
    return variant


def _value(argument: str) -> str:
    """An argument, or what is given to a long option behind ``=``."""
    option, equals, value = argument.partition("=")
    return value if equals and option.startswith("--") else argument


def _wheel_of(command: Sequence[str]) -> str:
    named = dict.fromkeys(
        value for value in map(_value, command[1:]) if value.endswith(_SUFFIX) or value == WHEEL
    )
    there = [value for value in named if value == WHEEL or Path(value).is_file()]
    if len(there) == 1:
        return there[0]
    at, hint = " ".join(command) or None, "say which it is with --wheel WHEEL"
    if there:
        raise ConfigError(f"the command names several wheels: {', '.join(there)}", at=at, hint=hint)
    if not named:
        raise ConfigError("the command names no wheel", at=at, hint=hint)
    missing = Path(next(iter(named)))
    around = [one.name for one in missing.parent.glob(f"*{_SUFFIX}")]
    raise ConfigError(
        f"there is no wheel {str(missing)!r}", at=at, hint=nearest(missing.name, around)
    )


def _folder_of(command: Sequence[str]) -> str:
    arguments = list(command[1:])
    values = [_value(part) for part in arguments]
    for number, part in enumerate(arguments):
        if part in _FOLDER_OPTIONS and number + 1 < len(arguments):
            return values[number + 1]
        if part.partition("=")[0] in _FOLDER_OPTIONS and "=" in part:
            return values[number]
    folders = list(
        dict.fromkeys(value for value in values if value == DEST_DIR or Path(value).is_dir())
    )
    if len(folders) == 1:
        return folders[0]
    found = f"several folders: {', '.join(folders)}" if folders else "no folder that is there"
    raise ConfigError(
        f"the repaired wheel could be anywhere: the command names {found}",
        at=" ".join(command) or None,
        hint="say which is for the repaired wheel with --dest-dir DIR",
    )


def _filled(task: RepairTask, wheel: Path, folder: Path) -> list[str]:
    """The command, about another wheel and another folder."""
    ours = {task.wheel: str(wheel), task.dest_dir: str(folder)}

    def filled(part: str) -> str:
        value = _value(part)
        if value in ours:
            return part.removesuffix(value) + ours[value]
        return part.replace(WHEEL, str(wheel)).replace(DEST_DIR, str(folder))

    return [task.command[0], *map(filled, task.command[1:])]


def _run(command: Sequence[str]) -> None:
    """Run a command to its end. Raises ConfigError where there is none, BuildError where it fails."""
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(
            f"there is no command {command[0]!r} to repair the wheel with",
            hint=nearest(command[0], _TOOLS)
            if command[0] not in _TOOLS
            else f"install it where polywheel runs: pip install {command[0].split('-')[0]}",
        )
    try:
        code = subprocess.run([program, *command[1:]], check=False).returncode
    except OSError as error:  # a script without an interpreter, say
        raise ConfigError(
            f"{program} can't be run: {error.strerror or error}", at=" ".join(command)
        ) from None
    if code:
        how = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise BuildError(f"the repair command {how}", at=" ".join(command))


def _taken_out(
    made: Path, folder: Path, before: InspectedWheel, variant: Variant | None
) -> RepairedWheel:
    """Check the one wheel in ``made`` and move it, with the label of a variant, to ``folder``."""
    wheels = sorted(
        path for path in made.glob(f"*{_SUFFIX}") if path.is_file() and not path.is_symlink()
    )
    if len(wheels) != 1:
        found = ", ".join(one.name for one in wheels)
        what = f"the repair command made several wheels: {found}"
        raise BuildError(
            what if wheels else "the repair command made no wheel",
            at=str(folder),
            hint=None if wheels else f"it is to write it to the folder given as {DEST_DIR}",
        )
    try:
        after = inspect_wheel(wheels[0])
        _refuse_loss(before, after)
    except PolywheelError as error:
        problems = [replace(one, at="the repaired wheel") for one in error.problems]
        raise WheelError.collected(problems) from None
    name = str(replace(WheelName.parse(wheels[0].name), label=variant.label if variant else None))
    rename(wheels[0], folder / name, overwrite=True)
    for other in made.iterdir():  # reports and the like
        # A link would lead nowhere from there, and a pipe would hold up who reads it.
        plain = not other.is_symlink() and (other.is_file() or other.is_dir())
        if plain and not (folder / other.name).exists():
            other.replace(folder / other.name)
    return RepairedWheel(wheel=folder / name, variant=before.variant)


def _refuse_loss(before: InspectedWheel, after: InspectedWheel) -> None:
    """Raise WheelError where a repair lost the variant, or left parts that disagree."""
    if before.variant is None:
        return
    if after.variant_json is None:
        raise WheelError(f"the repair command took {VARIANT_JSON} out of the wheel")
    if after.document is not None and after.variant != before.variant:
        raise WheelError(
            f"it was the variant {before.variant.label!r}, and after the repair it is another"
        )
    known = {one.what for one in disagreements_with_label(before, before.variant.label)}
    found = disagreements_with_label(after, before.variant.label)
    if new := [one for one in found if one.what not in known]:
        raise WheelError.collected(new)
