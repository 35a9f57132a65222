"""``polywheel init``: compose the tables for a project.

The tables consist of texts of templates, and of Pythons and platforms from the metadata of the project. They are
then read as ``polywheel matrix`` reads them, and they must expand to a plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from polywheel.config.project import PYPROJECT, Project, look_up
from polywheel.errors import ConfigError
from polywheel.init.languages import LANGUAGES, languages, meson_options
from polywheel.init.pyproject_file import with_header
from polywheel.init.tables import ChosenTemplates, tables, toml_list
from polywheel.init.templates import StartTemplate, named_templates, start_axes, start_templates
from polywheel.matrix.expansion import expand
from polywheel.matrix.platforms import Platform, known_targets, python_order
from polywheel.matrix.requires_python import RequiresPython, read_requires_python
from polywheel.model.matrix import LOWEST_PYTHON, can_build, minor_version
from polywheel.model.plan import Plan
from polywheel.setup.profiles import OURS, choose_backend
from polywheel.system.temporary import temporary_folder

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The default Pythons."""

TARGETS = ("linux-x86_64", "linux-aarch64", "macos-arm64", "windows-x86_64")
"""The default targets: most projects have wheels for them."""

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.[1-9][0-9]?)")
_SYSTEMS = {
    "Operating System :: POSIX :: Linux": ("linux",),
    "Operating System :: MacOS": ("darwin",),
    "Operating System :: Microsoft": ("win32",),
    "Operating System :: POSIX": ("linux", "darwin"),
    "Operating System :: Unix": ("linux", "darwin"),
}
"""``sys_platform`` by classifier. The longest matching classifier is used."""

_GPU = "gpu"


def pythons(document: Mapping[str, Any], requires: RequiresPython) -> tuple[str, ...]:
    """The Pythons in the classifiers that the project allows, without those that polywheel can't build with.

    If there are none, the default Pythons that it allows; else the oldest Python that it allows. Raises
    ConfigError if it allows only older Pythons than polywheel needs.
    """
    listed = [python for python in _listed_pythons(document) if can_build(python)]
    for versions in (listed, PYTHONS):
        fitting = tuple(version for version in versions if requires.allows(version))
        if fitting:
            return fitting
    later = (f"3.{minor}" for minor in range(minor_version(LOWEST_PYTHON), 100))
    oldest = next((version for version in later if requires.allows(version)), None)
    if oldest is None:
        raise ConfigError(
            f"polywheel and its build backend need Python {LOWEST_PYTHON} or newer, which the project "
            f"does not allow: {requires}",
            at=requires.at,
            hint=f"change {requires.key}",
        )
    return (oldest,)


def _older_pythons(document: Mapping[str, Any], requires: RequiresPython) -> list[str]:
    """The Pythons in the classifiers that the project allows, and that polywheel can't build with."""
    return [
        python
        for python in _listed_pythons(document)
        if not can_build(python) and requires.allows(python)
    ]


def _listed_pythons(document: Mapping[str, Any]) -> list[str]:
    """The Pythons in the classifiers, lowest first."""
    matches = [_CLASSIFIER.fullmatch(text) for text in _classifiers(document)]
    return sorted({match[1] for match in matches if match}, key=python_order)


def targets(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The default targets, limited to the systems in the classifiers."""
    systems: set[str] = set()
    for text in _classifiers(document):
        if text == "Operating System :: OS Independent":
            return TARGETS
        fitting = [name for name in _SYSTEMS if text == name or text.startswith(f"{name} ::")]
        if fitting:
            systems.update(_SYSTEMS[max(fitting, key=len)])
    known = known_targets()
    return (
        tuple(name for name in TARGETS if known[name].markers["sys_platform"] in systems) or TARGETS
    )


def _classifiers(document: Mapping[str, Any]) -> list[str]:
    listed = look_up(document, "project.classifiers")
    return [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []


@dataclass(frozen=True, kw_only=True, slots=True)
class InitTables:
    """The tables for a project, and notes for the user."""

    text: str
    """The tables with comments, with LF as the line break."""

    templates: tuple[str, ...]
    plan: Plan
    languages: tuple[str, ...]
    """The languages of the project, each with a file: ``C (meson.build)``."""

    notes: tuple[str, ...]
    by_hand: tuple[str, ...]
    """The lines that the user has to change in ``[build-system]``; empty if there are none."""


def refuse_tables(project: Project) -> None:
    """Raise ConfigError if the project has tables of polywheel. ``polywheel init`` keeps them."""
    names = ("variant", "tool.polywheel")
    existing = [name for name in names if look_up(project.document, name) is not None]
    if existing:
        raise ConfigError(
            "polywheel is already configured, and init changes no existing table: "
            + ", ".join(f"[{name}]" for name in existing),
            at=f"{PYPROJECT}: {existing[0]}",
            hint="polywheel init --dry-run -o FILE shows what it would write; copy what you need",
        )


def compose(project: Project, names: Sequence[str]) -> InitTables:
    """The tables for a project, from the named templates or else from those for its languages.

    Raises ConfigError for unknown names, for a project without compiled languages if no template is
    named, and if the tables do not expand to a plan.
    """
    files = languages(project.source, project.document)
    templates = named_templates(names) if names else _suitable(files)
    chosen = _choose(project, templates)
    chosen_names = [template.name for template in templates]
    text = with_header(chosen_names, tables(chosen))
    notes = [
        f"the template {name!r} needs options that meson.options does not have, so its variants "
        "change nothing in the build yet"
        for name in chosen.without_options
    ]
    requires = read_requires_python(project, chosen.profile)
    if older := _older_pythons(project.document, requires):
        notes.append(
            f"Python {', '.join(older)} in the classifiers {'is' if len(older) == 1 else 'are'} left "
            f"out: polywheel and its build backend need Python {LOWEST_PYTHON} or newer"
        )
    if not files:
        notes.append(
            "no code to compile was found: the wheels of these variants may have the same content"
        )
    with temporary_folder() as folder:
        path = folder / PYPROJECT
        path.write_text(text, encoding="utf-8", newline="\n")
        plan = expand(project.source, config=path)
    return InitTables(
        text=text,
        templates=tuple(chosen_names),
        plan=plan,
        languages=tuple(f"{LANGUAGES[name]} ({file})" for name, file in files.items()),
        notes=tuple(notes),
        by_hand=tuple(_by_hand(project)),
    )


def _suitable(languages: Mapping[str, str]) -> tuple[StartTemplate, ...]:
    """The templates for these languages. Templates for GPUs replace those for processors."""
    templates = start_templates().values()
    fitting = [
        template for template in templates if not languages.keys().isdisjoint(template.languages)
    ]
    if not fitting:
        described = "; ".join(f"{template.name} ({template.about})" for template in templates)
        raise ConfigError(
            "no compiled language was found in meson.build, CMakeLists.txt, Cargo.toml, setup.py, "
            "*.pyx, *.cu and *.hip: variants would not differ",
            hint=f"choose templates with --template: {described}",
        )
    return tuple(template for template in fitting if template.axis == _GPU) or tuple(fitting)


def _choose(project: Project, templates: Sequence[StartTemplate]) -> ChosenTemplates:
    choice = choose_backend(project)
    profile = choice.profile_name
    target_names = targets(project.document)
    options = meson_options(project.source)
    axes = {template.axis for template in templates}
    return ChosenTemplates(
        templates=tuple(_for_targets(template, target_names) for template in templates),
        axes={name: axis for name, axis in start_axes().items() if name in axes},
        profile=profile,
        backend=choice.build_backend,
        backend_path=tuple(choice.backend_path) if choice.backend_path else None,
        pythons=pythons(project.document, read_requires_python(project, profile)),
        targets=target_names,
        without_options=tuple(
            template.name
            for template in templates
            if profile == "meson-python" and not options.issuperset(template.meson_options)
        ),
    )


def _for_targets(template: StartTemplate, targets: Sequence[str]) -> StartTemplate:
    """A template, limited to values and rules for these targets. Raises ConfigError if none is left."""
    platforms = [Platform("3.13", known_targets()[name]) for name in targets]

    def is_used(marker: str | None) -> bool:
        return marker is None or any(platform.holds(marker, at="") for platform in platforms)

    values = tuple(value for value in template.values if is_used(value.when))
    if not any(value.properties for value in values):
        raise ConfigError(
            f"the template {template.name!r} has nothing for {', '.join(targets)}",
            at=f"{PYPROJECT}: project.classifiers",
            hint="it supports other systems; remove the template, or add the system",
        )
    names = {None, *(value.name for value in values)}
    rules = tuple(rule for rule in template.rules if rule.value in names and is_used(rule.when))
    return replace(template, values=values, rules=rules)


def _by_hand(project: Project) -> Iterator[str]:
    """The lines that ``[build-system]`` needs for the hooks of polywheel."""
    system = project.build_system
    declared = system.build_backend
    if declared is not None and declared.partition(".")[0] == OURS:
        return
    requires = system.requires or ("setuptools",)
    yield f"requires = {toml_list((OURS, *requires))}"
    yield 'build-backend = "polywheel.backend"'
    if system.backend_path is not None:
        yield "# remove backend-path here: [tool.polywheel] has it"
