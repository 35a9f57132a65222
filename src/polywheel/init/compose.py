"""``polywheel init``: compose the tables for a project.

The text consists of the texts of presets and of what the project's metadata says about Pythons and
platforms. The result is read back as ``polywheel matrix`` would read it, and it must expand to a plan.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError
from polywheel.init.languages import LANGUAGES, languages, meson_options
from polywheel.init.presets import StartPreset, named_presets, start_axes, start_presets
from polywheel.init.pyproject_file import with_header
from polywheel.init.tables import ChosenPresets, tables, toml_list
from polywheel.matrix.expansion import expand
from polywheel.matrix.platforms import Place, known_targets, python_order, running_python
from polywheel.model.plan import Plan
from polywheel.setup.profiles import OURS, choose_backend
from polywheel.system.temporary import temporary_folder

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Those that get wheels where a project does not list its own."""

TARGETS = ("linux-x86_64", "linux-aarch64", "macos-arm64", "windows-x86_64")
"""Those that most projects have wheels for."""

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.[1-9][0-9]?)")
_SYSTEMS = {
    "Operating System :: POSIX :: Linux": ("linux",),
    "Operating System :: MacOS": ("darwin",),
    "Operating System :: Microsoft": ("win32",),
    "Operating System :: POSIX": ("linux", "darwin"),
    "Operating System :: Unix": ("linux", "darwin"),
}
"""``sys_platform`` by classifier; the longest one that fits counts."""


def pythons(project: Mapping[str, Any]) -> tuple[str, ...]:
    """The versions that ``[project]`` names in its classifiers, as far as requires-python lets it;
    else those of today that requires-python lets it have.
    """
    found = [_CLASSIFIER.fullmatch(text) for text in _classifiers(project)]
    named = sorted({one[1] for one in found if one}, key=python_order)
    allowed = _allowed(project.get("requires-python"))
    for versions in (named, PYTHONS):
        fitting = tuple(one for one in versions if _fits(one, allowed))
        if fitting:
            return fitting
    every = (f"3.{minor}" for minor in range(6, 100))
    return (next((one for one in every if _fits(one, allowed)), running_python()),)


def targets(project: Mapping[str, Any]) -> tuple[str, ...]:
    """The usual targets, but for systems that the classifiers of ``[project]`` leave out."""
    systems: set[str] = set()
    for text in _classifiers(project):
        if text == "Operating System :: OS Independent":
            return TARGETS
        fitting = [one for one in _SYSTEMS if text == one or text.startswith(f"{one} ::")]
        if fitting:
            systems.update(_SYSTEMS[max(fitting, key=len)])
    known = known_targets()
    found = tuple(one for one in TARGETS if known[one].environment["sys_platform"] in systems)
    return found or TARGETS


def _classifiers(project: Mapping[str, Any]) -> Iterable[str]:
    listed = project.get("classifiers")
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []


def _allowed(text: object) -> SpecifierSet:
    """``requires-python``; everything, where it is absent or not to be understood."""
    try:
        return SpecifierSet(text if isinstance(text, str) else "")
    except InvalidSpecifier:
        return SpecifierSet()


def _fits(version: str, allowed: SpecifierSet) -> bool:
    """Whether some release of a version is allowed: the first one, or a late one."""
    try:
        return allowed.contains(f"{version}.0") or allowed.contains(f"{version}.99")
    except ValueError:  # a number of more digits than Python reads
        return False


_GPU = "gpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class InitTables:
    """What init has to say to a project."""

    text: str
    """The tables, with comments; LF."""

    presets: tuple[str, ...]
    plan: Plan
    found: tuple[str, ...]
    """The languages that were found, each with where: ``C (meson.build)``."""

    notes: tuple[str, ...]
    by_hand: tuple[str, ...]
    """What is left for the user to change in ``[build-system]``; empty where there is nothing."""


def refuse_tables(project: Project) -> None:
    """Raise ConfigError for tables that are there already: they are the user's."""
    tool = project.document.get("tool")
    there = [
        name
        for name, found in (
            ("variant", "variant" in project.document),
            ("tool.polywheel", isinstance(tool, Mapping) and "polywheel" in tool),
        )
        if found
    ]
    if there:
        raise ConfigError(
            "polywheel is already configured, and init changes no existing table: "
            + ", ".join(f"[{name}]" for name in there),
            at=f"{PYPROJECT}: {there[0]}",
            hint="polywheel init --dry-run -o FILE shows what it would write; copy what you need",
        )


def compose(project: Project, names: Sequence[str]) -> InitTables:
    """The tables for a project: of the presets with these names, or of those that suit it.

    Raises ConfigError for unknown names, for a project that has nothing to compile where none is
    named, and where no set of tables can be made.
    """
    found = languages(project.source, project.document)
    presets = named_presets(names) if names else _suitable(found)
    chosen = _chosen(project, presets)
    listed = [one.name for one in presets]
    text = with_header(listed, tables(chosen))
    notes = [
        f"the preset {name!r} needs options that meson.options does not have, so its variants "
        "change nothing in the build yet"
        for name in chosen.without_options
    ]
    if not found:
        notes.append(
            "no code to compile was found: the wheels of these variants may have the same content"
        )
    return InitTables(
        text=text,
        presets=tuple(listed),
        plan=_checked(project, text),
        found=tuple(f"{LANGUAGES[name]} ({where})" for name, where in found.items()),
        notes=tuple(notes),
        by_hand=tuple(_by_hand(project)),
    )


def described_presets() -> str:
    """Every preset with what it gives, in one line."""
    return "; ".join(f"{one.name} ({one.about})" for one in start_presets().values())


def _suitable(found: Mapping[str, str]) -> tuple[StartPreset, ...]:
    """The presets for these languages. A project for GPUs gets no processor levels as well."""
    fitting = [one for one in start_presets().values() if set(one.languages) & set(found)]
    if not fitting:
        raise ConfigError(
            "no compiled language was found in meson.build, CMakeLists.txt, Cargo.toml, setup.py, "
            "*.pyx, *.cu and *.hip: variants would not differ",
            hint=f"choose presets with --preset: {described_presets()}",
        )
    return tuple(one for one in fitting if one.axis == _GPU) or tuple(fitting)


def _chosen(project: Project, presets: tuple[StartPreset, ...]) -> ChosenPresets:
    choice = choose_backend(project)
    profile = choice.profile.name if choice.profile else None
    metadata = project.document.get("project")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    names = targets(metadata)
    options = meson_options(project.source)
    return ChosenPresets(
        presets=tuple(_existing(one, names) for one in presets),
        axes={
            name: axis
            for name, axis in start_axes().items()
            if any(one.axis == name for one in presets)
        },
        profile=profile,
        backend=choice.build_backend,
        backend_path=tuple(choice.backend_path) if choice.backend_path else None,
        pythons=pythons(metadata),
        targets=names,
        without_options=tuple(
            one.name
            for one in presets
            if profile == "meson-python" and not options.issuperset(one.meson_options)
        ),
    )


def _existing(preset: StartPreset, names: Sequence[str]) -> StartPreset:
    """A preset with the values and the rules that some target has. Raises ConfigError for none."""
    values = tuple(one for one in preset.values if _somewhere(one.when, names))
    if not any(one.properties for one in values):
        raise ConfigError(
            f"the preset {preset.name!r} has nothing for {', '.join(names)}",
            at=f"{PYPROJECT}: project.classifiers",
            hint="it supports other systems; remove the preset, or add the system",
        )
    there = {None, *(one.name for one in values)}
    rules = tuple(one for one in preset.rules if one.value in there and _somewhere(one.when, names))
    return replace(preset, values=values, rules=rules)


def _somewhere(marker: str | None, names: Sequence[str]) -> bool:
    """Whether a marker about the platform holds for one of these targets."""
    if marker is None:
        return True
    return any(Place("3.13", known_targets()[one]).holds(marker, at="") for one in names)


def _checked(project: Project, text: str) -> Plan:
    """The plan that the tables come to. Raises ConfigError where they come to none."""
    with temporary_folder() as folder:
        path = folder / PYPROJECT
        path.write_text(text, encoding="utf-8", newline="\n")
        return expand(project.source, config=path)


def check_together(content: bytes, at: Path) -> None:
    """Raise ConfigError where a file is no TOML any more with the tables behind its own."""
    try:
        tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"no table can be appended to {at.name}: {error}",
            at=str(at),
            hint="`tool` may be an inline table; write the tables to another file with --output",
        ) from None


def _by_hand(project: Project) -> Iterator[str]:
    """The lines of ``[build-system]`` as they have to be for hooks to reach polywheel."""
    system = project.build_system
    declared = system.build_backend
    if declared is not None and declared.partition(".")[0] == OURS:
        return
    requires = system.requires or ("setuptools",)
    yield f"requires = {toml_list((OURS, *requires))}"
    yield 'build-backend = "polywheel.backend"'
    if system.backend_path is not None:
        yield "# without its backend-path: that of [tool.polywheel] takes its place"
