"""cibuildwheel as the engine of a run: where it is, and what it is told for one variant.

Everything is said in ``CIBW_*`` variables that add to what the project's own ``[tool.cibuildwheel]``
says (CIBW_INHERIT, since cibuildwheel 4.3), so that stays in force.
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

from polywheel.errors import ConfigError
from polywheel.model.matrix import Target
from polywheel.model.plan import Build, Job, Plan
from polywheel.model.variant import NULL_LABEL

_OLDEST = Version("4.3")
_SYSTEMS = {
    "linux": ("linux", "manylinux"),
    "musllinux": ("linux", "musllinux"),
    "macos": ("macos", "macosx"),
    "windows": ("windows", "win"),
}
"""By the system of a target: the platform, and how identifiers of builds begin."""
_WINDOWS = {"x86_64": "AMD64", "arm64": "ARM64"}
_ENGINE = "CIBW_CONTAINER_ENGINE"
_VERSION = "import importlib.metadata; print(importlib.metadata.version('cibuildwheel'))"
_KNOWN = "targets.toml:"
"""Where a target stands of which the project says nothing: cibuildwheel has images of its own."""
PROJECT = "/project"
"""Where the source lies in a container of cibuildwheel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A cibuildwheel that is installed."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlatform:
    """A target, in cibuildwheel's words."""

    platform: str
    arch: str
    """As ``--archs`` takes it."""

    suffix: str
    """What identifiers of builds end with: ``manylinux_x86_64``."""

    @property
    def contained(self) -> bool:
        """Whether builds run in a container."""
        return self.platform == "linux"


def find_cibuildwheel() -> Engine:
    """The cibuildwheel beside polywheel, else that of PATH. Raises ConfigError where it is missing
    or too old.
    """
    try:
        command, version = [sys.executable, "-m", "cibuildwheel"], installed_version("cibuildwheel")
    except PackageNotFoundError:
        path = shutil.which("cibuildwheel")
        if path is None:
            raise ConfigError(
                "there is no cibuildwheel",
                at="--frontend",
                hint="python -m pip install cibuildwheel",
            ) from None
        command, version = [path], _version_beside(Path(path).resolve())
    try:
        old = Version(version) < _OLDEST
    except ValueError:  # InvalidVersion, or a number of more digits than Python reads
        old = False  # it does not say
    if old:
        raise ConfigError(
            f"this is cibuildwheel {version}, and CIBW_INHERIT is known since {_OLDEST}",
            at="--frontend",
            hint="python -m pip install --upgrade cibuildwheel",
        )
    return Engine(command=tuple(command), version=version)


def _version_beside(path: Path) -> str:
    """The version of an executable, as the Python in its folder knows it."""
    python = path.with_name("python.exe" if sys.platform == "win32" else "python")
    try:
        done = subprocess.run(
            [python, "-I", "-c", _VERSION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def build_platform(target: str) -> BuildPlatform | None:
    """None for a target that cibuildwheel does not know."""
    system, _, machine = target.partition("-")
    if system not in _SYSTEMS or not machine:
        return None
    platform, tag = _SYSTEMS[system]
    arch = _WINDOWS.get(machine, machine) if platform == "windows" else machine
    return BuildPlatform(platform=platform, arch=arch, suffix=f"{tag}_{arch.lower()}")


def serves(here: str, target: str) -> bool:
    """Whether cibuildwheel makes wheels for a target on a machine: macOS makes them for both of its
    kinds, Linux for both of its C libraries.
    """
    mine, its = build_platform(here), build_platform(target)
    if mine is None or its is None or mine.platform != its.platform:
        return False
    return mine.arch == its.arch or its.platform == "macos"


def by_variant(plan: Plan) -> Plan:
    """The plan with one build, which is one run of cibuildwheel, for each variant and target."""
    groups: dict[tuple[str, str | None], list[Job]] = {}
    for build in plan.builds:
        for job in map(plan.job, build.jobs):
            if job is not None:
                groups.setdefault((build.target, job.label), []).append(job)
    builds = [
        Build(
            id=jobs[0].id,
            python=jobs[0].python,
            target=target,
            jobs=tuple(job.id for job in jobs),
        )
        for (target, _), jobs in groups.items()
    ]
    of = {job: build.id for build in builds for job in build.jobs}
    jobs = tuple(replace(job, build=of[job.id]) for job in plan.jobs)
    return replace(plan, jobs=jobs, builds=tuple(builds))


def tables_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """``[tool.cibuildwheel]`` of a pyproject.toml."""
    tool = document.get("tool")
    tables = tool.get("cibuildwheel") if isinstance(tool, dict) else None
    return tables if isinstance(tables, dict) else {}


def container_engine(tables: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the container engine where nobody has: podman, where there is no docker.

    Raises ConfigError where there is none that works.
    """
    said = os.environ.get(_ENGINE)
    for table in (tables.get("linux"), tables):
        if said is None and isinstance(table, dict):
            said = table.get("container-engine")
    if isinstance(said, dict):
        said = said.get("name")
    names = (
        [re.split(r"[;:\s]", said.strip())[0]] if isinstance(said, str) else ["docker", "podman"]
    )
    found = next(filter(shutil.which, names), None)
    if found is None:
        raise ConfigError(
            f"there is no {' and no '.join(names)} to build in a container with",
            at="--frontend",
            hint=f"install one of docker and podman, or name another with {_ENGINE}",
        )
    _check_engine(found)
    return {} if said is not None or found == "docker" else {_ENGINE: found}


def _check_engine(name: str) -> None:
    """Raise ConfigError where a container engine does not answer: its daemon does not run, say."""
    try:
        done = subprocess.run(
            [shutil.which(name) or name, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
        why = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        failed = done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        why, failed = [str(error)], True
    if failed:
        raise ConfigError(
            f"{name} does not work: {''.join(why) or 'it does not say why'}",
            at="--frontend",
            hint=f"start it, or name another container engine with {_ENGINE}",
        )


def command(engine: Engine, place: BuildPlatform, out: Path, options: Sequence[str]) -> list[str]:
    """One run, for the source in the current folder; ``options`` are the user's own."""
    told = ["--platform", place.platform, "--archs", place.arch, "--output-dir", str(out)]
    return [*engine.command, *told, *options, "."]


def variables(
    jobs: Sequence[Job],
    target: Target,
    place: BuildPlatform,
    *,
    settings: Mapping[str, str | Sequence[str]],
    environment: Mapping[str, str],
    links: str | None = None,
    tables: Mapping[str, Any],
    said: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The ``CIBW_*`` variables of a run for jobs of one variant.

    ``settings`` are the user's own config settings, ``environment`` is what the builds, repairs and
    tests are to have in theirs, ``links`` the URL of a folder with wheels for them, ``tables`` the
    project's ``[tool.cibuildwheel]``. What the variables ``said`` say already holds as well; the commands of the target give way to it, and its
    image gives way to the tables too.
    """
    pythons = dict.fromkeys(python for job in jobs for python in job.pythons)
    found = {
        "CIBW_BUILD": " ".join(f"cp{one.replace('.', '')}-{place.suffix}" for one in pythons),
    }
    assigned = [f"{name}={shlex.quote(one)}" for name, one in environment.items()]
    if links is not None:  # beside what there is, for pip, whose list has blanks in it
        assigned.append(f'PIP_FIND_LINKS="$PIP_FIND_LINKS {links}"')
    if links is not None and "UV_FIND_LINKS" not in f"{tables}{said.get('CIBW_ENVIRONMENT')}":
        assigned.append(f"UV_FIND_LINKS={shlex.quote(links)}")
    asked = [*_asked(jobs[0]), *_as_texts(settings)]
    texts = {
        "config-settings": " ".join(map(shlex.quote, asked)),
        "environment": " ".join(assigned),
    }
    for option, text in texts.items():
        if text:
            _add(found, option, text, place, said)
    own = {"repair-wheel-command": target.repair_command, "test-command": target.test_command}
    if place.contained and not target.at.startswith(_KNOWN):
        image = f"{place.suffix.replace('_', '-', 1)}-image"
        if not any(_holds(one, image) for one in (tables, tables.get("linux"))):
            own[image] = target.image
    for option, wanted in own.items():
        name = _variable(option)
        if wanted is not None and name not in said:
            found[name] = wanted
    return found


def job_environment(job: Job) -> dict[str, str]:
    """The ``CIBW_*`` variables that build one job. Raises ConfigError for an unknown target."""
    platform = build_platform(job.target)
    if platform is None:
        raise ConfigError(f"cibuildwheel does not know the target {job.target!r}", at=job.at)
    target = Target(name=job.target, at=_KNOWN)
    found = variables([job], target, platform, settings={}, environment={}, tables={}, said={})
    return {"CIBW_PLATFORM": platform.platform, "CIBW_ARCHS": platform.arch, **found}


def _asked(job: Job) -> list[str]:
    """The config settings by which the meta backend knows a variant."""
    if job.label is None:
        return []
    return ["null-variant=true"] if job.label == NULL_LABEL else [f"variant-label={job.label}"]


def _as_texts(settings: Mapping[str, str | Sequence[str]]) -> list[str]:
    return [
        f"{key}={one}"
        for key, value in settings.items()
        for one in ([value] if isinstance(value, str) else value)
    ]


def _holds(table: object, option: str) -> bool:
    return isinstance(table, dict) and option in table


def _variable(option: str) -> str:
    return f"CIBW_{option.upper().replace('-', '_')}"


def _add(
    found: dict[str, str], option: str, text: str, place: BuildPlatform, said: Mapping[str, str]
) -> None:
    """Add to an option that the project's tables, or the variables ``said``, may say."""
    name = _variable(option)
    for one in (f"{name}_{place.platform.upper()}", name):
        if said.get(one):
            found[one] = f"{said[one]} {text}"
            return
    found[name] = text
    rules = found.get("CIBW_INHERIT") or said.get("CIBW_INHERIT", "")
    found["CIBW_INHERIT"] = "; ".join(filter(None, (rules, f"{option}: append")))
