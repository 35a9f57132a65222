"""Backend profiles, and the choice of the real backend."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from polywheel.config.project import PYPROJECT, Project
from polywheel.config.reader import Problems, Table, parse_requirement, requirement
from polywheel.config.setup_table import read_profile
from polywheel.data import data_folder
from polywheel.errors import ConfigError, closest
from polywheel.model.setup import FLAG_FIELDS, BackendChoice, BackendProfile, DeliveryMethod

OURS = "polywheel"
LEGACY = "setuptools.build_meta:__legacy__"


def shipped_profiles() -> tuple[BackendProfile, ...]:
    """The profiles in ``backends/``, sorted by name."""
    problems = Problems()
    profiles = []
    for path in sorted(data_folder("backends").glob("*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        profiles.append(read_profile(Table(document, path.name, (), problems), path.stem))
    problems.raise_all()
    return tuple(profiles)


def choose_backend(project: Project) -> BackendChoice:
    """The backend that polywheel calls for a project.

    It is the backend in ``tool.polywheel.build-backend``, or else in ``[build-system]`` unless that is polywheel, or
    else the only package in ``build-system.requires`` that has a profile. A project that names no backend at all is
    built by setuptools (PEP 517, "Source trees"). Raises ConfigError if there is no backend, if there are
    several, and if it is polywheel itself.
    """
    profiles = shipped_profiles()
    declared = project.build_system.build_backend
    at = project.at("tool.polywheel.build-backend")
    if project.settings.build_backend is not None:
        name, path = project.settings.build_backend, project.settings.backend_path
        if _is_ours(name):
            raise ConfigError(
                "the real backend can't be polywheel itself",
                at=at,
                hint="set the backend that builds this project, for example "
                + ", ".join(sorted(profile.modules[0] for profile in profiles)),
            )
    elif declared is None:
        name, path = LEGACY, None
    elif not _is_ours(declared):
        name, path = declared, project.build_system.backend_path
        at = f"{PYPROJECT}: build-system.build-backend"
    else:
        name, path = _infer(project, profiles), None
    profile = next((profile for profile in profiles if name in profile.modules), None)
    if profile is None and path is None:
        _check_spelling(name, project, profiles, at)
    override = project.settings.backend
    if override is not None:
        # Without a profile, flags are passed in environment variables.
        unknown = BackendProfile(
            name=name,
            modules=(name,),
            packages=(),
            delivery=dict.fromkeys(FLAG_FIELDS, DeliveryMethod("env")),
        )
        profile = (profile or unknown).with_overrides(override)
    return BackendChoice(build_backend=name, backend_path=path, profile=profile, at=at)


def check_backend_path(project: Project, choice: BackendChoice) -> None:
    """Raise ConfigError if a folder of an in-tree backend does not exist."""
    for folder in choice.backend_path or ():
        if not (project.source / folder).is_dir():
            what = f"the folder {folder!r} does not exist"
            hint = "paths start at the root of the project"
            raise ConfigError(what, at=choice.backend_path_at, hint=hint)


def _check_spelling(
    name: str, project: Project, profiles: Iterable[BackendProfile], at: str
) -> None:
    """Raise ConfigError for a name that is probably a misspelt one of a known backend that is required."""
    required = _required(project)
    modules = [m for p in profiles if required.intersection(p.packages) for m in p.modules]
    close = closest(name, modules, cutoff=0.9)
    # The backend may be a package of its own with a similar name.
    if close is not None and canonicalize_name(re.split("[:.]", name)[0]) not in required:
        raise ConfigError(f"unknown backend {name!r}", at=at, hint=f"did you mean {close!r}?")


def _required(project: Project) -> set[str]:
    """The normalized names in ``build-system.requires``. Raises ConfigError."""
    at = f"{PYPROJECT}: build-system.requires"
    requirements = [requirement(text, at=at) for text in project.build_system.requires]
    return {canonicalize_name(parse_requirement(text).name) for text in requirements}


def requires_polywheel(project: Project) -> bool:
    """Whether an isolated build of a project has polywheel. Raises ConfigError."""
    return OURS in _required(project) or bool(project.build_system.backend_path)


def _is_ours(backend: str) -> bool:
    return backend.partition(":")[0].partition(".")[0] == OURS


def _infer(project: Project, profiles: Iterable[BackendProfile]) -> str:
    at = f"{PYPROJECT}: build-system.requires"
    required = _required(project)
    matching = [profile for profile in profiles if required.intersection(profile.packages)]
    if len(matching) == 1:
        return matching[0].modules[0]
    hint = "set the one that builds this project: [tool.polywheel] build-backend = "
    if matching:
        raise ConfigError(
            "several backends are required, so the real backend can't be inferred: "
            + ", ".join(profile.packages[0] for profile in matching),
            at=at,
            hint=hint + " or ".join(f'"{profile.modules[0]}"' for profile in matching),
        )
    known = ", ".join(f"{profile.modules[0]} ({profile.packages[0]})" for profile in profiles)
    raise ConfigError(
        "no required package is a known backend, so the real backend can't be inferred",
        at=at,
        hint=f'{hint}"…"; known: {known}',
    )
