"""Backend profiles, and which real backend a project uses."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from polywheel.config.project import PYPROJECT, Project
from polywheel.config.reader import Problems, Table, parse_requirement
from polywheel.config.setup_table import read_profile
from polywheel.data import data_folder
from polywheel.errors import ConfigError
from polywheel.model.setup import FLAG_FIELDS, BackendChoice, BackendProfile, DeliveryMethod

OURS = "polywheel"
LEGACY = "setuptools.build_meta:__legacy__"


def shipped_profiles() -> tuple[BackendProfile, ...]:
    """Every profile in ``backends/``, by name. Raises ConfigError where one is malformed."""
    problems = Problems()
    profiles = []
    for path in sorted(data_folder("backends").glob("*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        profiles.append(read_profile(Table(document, path.name, (), problems), path.stem))
    problems.raise_all()
    return tuple(profiles)


def choose_backend(project: Project) -> BackendChoice:
    """The backend that really builds the project.

    It is what ``tool.polywheel.build-backend`` names; else what ``[build-system]`` names, unless
    that is polywheel; then the one package in ``build-system.requires`` that
    has a profile. Raises ConfigError where none or several are left, or polywheel itself. A
    project that names no backend anywhere is built by setuptools (PEP 517, "Source trees").
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
        name, path = _inferred(project, profiles), None
    profile = next((one for one in profiles if name in one.modules), None)
    override = project.settings.backend
    if override is not None:
        # What it leaves open is as for a backend without a profile: flags go to the environment.
        unknown = BackendProfile(
            name=name,
            modules=(name,),
            packages=(),
            delivery=dict.fromkeys(FLAG_FIELDS, DeliveryMethod("env")),
        )
        profile = (profile or unknown).with_overrides(override)
    return BackendChoice(build_backend=name, backend_path=path, profile=profile, at=at)


def _is_ours(backend: str) -> bool:
    return backend.partition(":")[0].partition(".")[0] == OURS


def _inferred(project: Project, profiles: Iterable[BackendProfile]) -> str:
    required = set()
    for text in project.build_system.requires:
        try:
            required.add(canonicalize_name(parse_requirement(text).name))
        except ValueError as error:
            raise ConfigError(
                f"malformed requirement {text!r}: {str(error).splitlines()[0]}",
                at=f"{PYPROJECT}: build-system.requires",
            ) from None
    found = [one for one in profiles if required.intersection(one.packages)]
    if len(found) == 1:
        return found[0].modules[0]
    at = f"{PYPROJECT}: build-system.requires"
    if found:
        raise ConfigError(
            "several backends are required, so the real backend can't be inferred: "
            + ", ".join(one.packages[0] for one in found),
            at=at,
            hint="set the one that builds this project: [tool.polywheel] build-backend = "
            + " or ".join(f'"{one.modules[0]}"' for one in found),
        )
    raise ConfigError(
        "no required package is a known backend, so the real backend can't be inferred",
        at=at,
        hint='set the one that builds this project: [tool.polywheel] build-backend = "…"; known: '
        + ", ".join(f"{one.modules[0]} ({one.packages[0]})" for one in profiles),
    )
