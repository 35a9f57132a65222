"""Find cibuildwheel and a container engine, and compute the command and the variables of its runs.

All options are ``CIBW_*`` variables. They add to the project's own ``[tool.cibuildwheel]``, which
stays in force (CIBW_INHERIT, since cibuildwheel 4.3).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from packaging.version import Version

from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Build, Job, Plan
from polywheel.model.variant import NULL_LABEL
from polywheel.run.executors.cibuildwheel_platforms import (
    BuildPlatform,
    check_jobs,
    read_pinned,
    require_platform,
)
from polywheel.system.processes import capture_output
from polywheel.system.temporary import temporary_folder

_BACKEND = "polywheel.backend"
_OLDEST = Version("4.3")
_ENGINE = "CIBW_CONTAINER_ENGINE"
_VERSION = "import importlib.metadata; print(importlib.metadata.version('cibuildwheel'))"
_SHIPPED = "targets.toml:"
"""The origin of a target that the project does not configure: cibuildwheel chooses the image."""
PROJECT = "/project"
"""The folder of the source in a container of cibuildwheel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """An installed cibuildwheel."""

    command: tuple[str, ...]
    version: str


def find_cibuildwheel() -> Installation:
    """Return the cibuildwheel in polywheel's environment, else the one on PATH.

    Raises ConfigError if it is missing or too old.
    """
    try:
        version = installed_version("cibuildwheel")
        executable = [sys.executable, "-m", "cibuildwheel"]
    except PackageNotFoundError:
        path = shutil.which("cibuildwheel")
        if path is None:
            raise ConfigError(
                "cibuildwheel was not found",
                at="--frontend",
                hint="python -m pip install cibuildwheel",
            ) from None
        executable, version = [path], _version_beside(Path(path).resolve())
    try:
        old = Version(version) < _OLDEST
    except ValueError:  # InvalidVersion, or a number of more digits than Python reads
        old = False  # unknown
    if old:
        raise ConfigError(
            f"cibuildwheel {version} is too old: {_OLDEST} or newer is needed",
            at="--frontend",
            hint="python -m pip install --upgrade cibuildwheel",
        )
    return Installation(command=tuple(executable), version=version)


def _version_beside(path: Path) -> str:
    """Return the version of cibuildwheel that the Python next to its executable reports."""
    python = path.with_name("python.exe" if sys.platform == "win32" else "python")
    output = capture_output([str(python), "-I", "-c", _VERSION], seconds=30)
    return "unknown" if output is None else output.decode("utf-8", "replace").strip()


def installed_platform(installation: Installation, platform: BuildPlatform) -> BuildPlatform:
    """Return the platform with the Pythons that an installed cibuildwheel knows.

    They include Pythons that it builds only with the option ``enable``. If it does not answer, they
    are those of the pinned version.
    """
    if installation.version == read_pinned().version:
        return platform
    with temporary_folder() as folder:
        (folder / PYPROJECT).touch()
        output = capture_output(
            [
                *installation.command,
                *("--platform", platform.platform, "--archs", platform.arch),
                *("--enable", "all", "--print-build-identifiers", str(folder)),
            ],
            folder=folder,
            environment={
                **{name: text for name, text in os.environ.items() if not name.startswith("CIBW_")},
                "CIBW_BUILD": f"cp3*-{platform.suffix}",
            },
            seconds=60,
        )
    identifiers = (output or b"").decode("utf-8", "replace").split()
    pythons = [f"3.{name.removeprefix('cp3').partition('-')[0]}" for name in identifiers]
    return replace(platform, pythons=tuple(pythons) or platform.pythons)


def check_backend(project: Project) -> None:
    """Raise ConfigError if a project has another build backend than polywheel."""
    backend = project.build_system.build_backend
    if backend != _BACKEND:
        raise ConfigError(
            f"cibuildwheel needs the build backend {_BACKEND}, found {backend or 'none'}",
            at=f"{PYPROJECT}: build-system.build-backend",
            hint=f'set build-backend = "{_BACKEND}"; polywheel init prints both lines',
        )


def by_variant(plan: Plan) -> Plan:
    """Return the plan with one build, a run of cibuildwheel, for each variant, target, and settings."""
    groups: dict[tuple[object, ...], tuple[Build, list[Job]]] = {}
    for build in plan.builds:
        for job in map(plan.job, build.jobs):
            if job is not None:
                key = (build.target, job.label, repr(build.settings))
                groups.setdefault(key, (build, []))[1].append(job)
    builds = [
        replace(build, id=jobs[0].id, python=jobs[0].python, jobs=tuple(job.id for job in jobs))
        for build, jobs in groups.values()
    ]
    build_of = {job: build.id for build in builds for job in build.jobs}
    jobs = tuple(replace(job, build=build_of[job.id]) for job in plan.jobs)
    return replace(plan, jobs=jobs, builds=tuple(builds))


def cibuildwheel_tables(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``[tool.cibuildwheel]`` of a pyproject.toml."""
    tool = document.get("tool")
    tables = tool.get("cibuildwheel") if isinstance(tool, dict) else None
    return tables if isinstance(tables, dict) else {}


def container_engine(tables: Mapping[str, Any]) -> dict[str, str]:
    """Return the variable that selects podman if docker is missing and the user selects no engine.

    Raises ConfigError if there is no container engine that works.
    """
    selected = os.environ.get(_ENGINE)
    for table in (tables.get("linux"), tables):
        if selected is None and isinstance(table, dict):
            selected = table.get("container-engine")
    if isinstance(selected, dict):
        selected = selected.get("name")
    names = (
        [re.split(r"[;:\s]", selected.strip())[0]]
        if isinstance(selected, str)
        else ["docker", "podman"]
    )
    name = next(filter(shutil.which, names), None)
    if name is None:
        raise ConfigError(
            f"no container engine was found: {' or '.join(names)}",
            at="--frontend",
            hint=f"install docker or podman, or name another engine with {_ENGINE}",
        )
    _check_engine(name)
    return {} if selected is not None or name == "docker" else {_ENGINE: name}


def _check_engine(name: str) -> None:
    """Raise ConfigError if a container engine does not work, for example without its daemon."""
    try:
        process = subprocess.run(
            [shutil.which(name) or name, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
        if process.returncode == 0:
            return
        reason = "".join(process.stderr.strip().splitlines()[-1:]) or "no error message"
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise ConfigError(
        f"{name} does not work: {reason}",
        at="--frontend",
        hint=f"start {name}, or name another container engine with {_ENGINE}",
    )


def cibuildwheel_variables(
    jobs: Sequence[Job],
    build_settings: BuildSettings,
    platform: BuildPlatform,
    *,
    at: str,
    settings: Mapping[str, str | Sequence[str]],
    environment: Mapping[str, str],
    links: str | None = None,
    tables: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the ``CIBW_*`` variables of a run for the jobs of one variant.

    ``at`` is the place of the target. ``settings`` are the user's config settings. ``environment`` has the variables for builds,
    repairs, and tests. ``links`` is the URL of a folder with wheels for them, and ``tables`` is the
    project's ``[tool.cibuildwheel]``. Variables that ``environ`` has stay in force: options are
    appended to them, and they override the commands and the image of the target. The tables
    override the image of the target, too.
    """
    pythons = dict.fromkeys(python for job in jobs for python in job.building_pythons)
    variables = {"CIBW_BUILD": " ".join(map(platform.identifier, pythons))}
    assignments = [f"{name}={shlex.quote(text)}" for name, text in environment.items()]
    if links is not None:  # appended to pip's own list, which is separated by blanks
        assignments.append(f'PIP_FIND_LINKS="$PIP_FIND_LINKS {links}"')
    if links is not None and "UV_FIND_LINKS" not in f"{tables}{environ.get('CIBW_ENVIRONMENT')}":
        assignments.append(f"UV_FIND_LINKS={shlex.quote(links)}")
    selection: dict[str, str | Sequence[str]] = {}
    if (label := jobs[0].label) is not None:
        selection = {"null-variant": "true"} if label == NULL_LABEL else {"variant-label": label}
    config_settings = [
        shlex.quote(f"{key}={text}")
        for key, value in {**selection, **settings}.items()
        for text in ([value] if isinstance(value, str) else value)
    ]
    for option, texts in (("config-settings", config_settings), ("environment", assignments)):
        if texts:
            _append_option(variables, option, " ".join(texts), platform, environ)
    own = {
        "repair-wheel-command": build_settings.repair_command,
        "test-command": build_settings.test_command,
    }
    if platform.in_container and not at.startswith(_SHIPPED):
        image = platform.image_option
        if not any(
            isinstance(table, dict) and image in table for table in (tables, tables.get("linux"))
        ):
            own[image] = build_settings.image or None
    for option, value in own.items():
        name = _variable(option)
        if value is not None and name not in environ:
            variables[name] = value
    return variables


def job_environment(job: Job) -> dict[str, str]:
    """Return the ``CIBW_*`` variables that build one job.

    Raises ConfigError if cibuildwheel does not support its target.
    """
    platform = require_platform(job.target, at=job.at)
    if problems := [*check_jobs([job], platform)]:
        raise ConfigError.collected(problems)
    variables = cibuildwheel_variables(
        [job],
        BuildSettings(),
        platform,
        at=_SHIPPED,
        settings={},
        environment={},
        tables={},
        environ={},
    )
    return {**platform_variables(platform), **variables}


def platform_variables(platform: BuildPlatform) -> dict[str, str]:
    """Return the variables that select a platform."""
    return {"CIBW_PLATFORM": platform.platform, "CIBW_ARCHS": platform.arch}


def _variable(option: str) -> str:
    return f"CIBW_{option.upper().replace('-', '_')}"


def _append_option(
    variables: dict[str, str],
    option: str,
    text: str,
    platform: BuildPlatform,
    environ: Mapping[str, str],
) -> None:
    """Append a text to an option that the project's tables or ``environ`` may set."""
    name = _variable(option)
    for candidate in (f"{name}_{platform.platform.upper()}", name):
        if environ.get(candidate):
            variables[candidate] = f"{environ[candidate]} {text}"
            return
    variables[name] = text
    rules = variables.get("CIBW_INHERIT") or environ.get("CIBW_INHERIT", "")
    variables["CIBW_INHERIT"] = "; ".join(filter(None, (rules, f"{option}: append")))
