"""The wheel that the real backend has built: whether it is of this project, and has compiled code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.config.project import Project
from polywheel.errors import BuildError, Problem
from polywheel.examined.disagreements import is_build_of, of_names
from polywheel.formats.metadata_reader import parse_metadata
from polywheel.model.profile import BackendChoice
from polywheel.model.setup import Entry
from polywheel.model.wheelname import WheelName
from polywheel.wheel.archive import open_archive
from polywheel.wheel.compiled import compiled_member
from polywheel.wheel.dist_info import read_dist_info

_ALWAYS_COMPILES = frozenset({"meson-python", "scikit-build-core", "maturin"})
"""Profiles of backends that are chosen because there is something to compile."""
_WITHOUT_SETUP_PY = frozenset({"flit-core", "hatchling", "pdm-backend", "poetry-core", "uv-build"})
"""Profiles of backends that do not read a setup.py; others may, those without a profile too."""
_EXTENSIONS = re.compile(
    r"\b(ext_modules|Extension|build_ext|cythonize|mypycify|cffi_modules|rust_extensions|skbuild)\b"
)
"""What a setup.py says that has extension modules."""
_MAX_SCRIPT = 1024 * 1024
_DECLARED = (
    "a name and a version that [project] has are fixed; dynamic lists what the backend computes"
)


def check_built_wheel(
    wheel: Path,
    project: Project,
    choice: BackendChoice,
    *,
    flags: Sequence[Entry],
    compiled: bool,
) -> None:
    """Raise BuildError for a wheel of another project or version.

    With ``compiled``, also for one without compiled code where that is expected: by its tags, by the
    ``flags`` that the backend was given for a compiler, or by what the project declares. Raises
    WheelError for a wheel that can't be read.
    """
    name = WheelName.parse(wheel.name)
    with wheel.open("rb") as file:
        archive = open_archive(file, wheel)
        found = read_dist_info(archive)
        headers = parse_metadata(found.metadata, at=f"{wheel.name}: METADATA")
        expected = _expects_compiled_code(name, project, choice, flags) if compiled else None
        lacking = expected if expected and compiled_member(archive) is None else None
    problems = [Problem(what, wheel.name) for what in of_names(headers, name, found.folder)]
    if other := another_release(name, project=project.name, version=project.version):
        problems.append(Problem(f"the real backend built {other}", wheel.name, _DECLARED))
    if lacking is not None:
        problems.append(
            Problem(
                f"{wheel.name} has no compiled file, but {lacking}",
                at=f"the real backend {choice.build_backend!r}",
                hint="look for a compiler that failed in the output above; where the project has "
                "nothing to compile: [tool.polywheel] compiled = false",
            )
        )
    if problems:
        raise BuildError.collected(problems)


def another_release(name: WheelName, *, project: str | None, version: str | None) -> str | None:
    """What a built wheel is, where it is not of this project and version; None where it is.

    ``project`` is the normalized name. Both are what pyproject.toml has; None is not compared. A
    backend may add a pre, post, dev, or local part to the version.
    """
    if project is not None and canonicalize_name(name.distribution) != project:
        return f"a wheel of {name.distribution!r}, the project is {project!r}"
    if version is not None and not is_build_of(name.version, version):
        return f"version {name.version!r}, pyproject.toml has {version!r}"
    return None


def _expects_compiled_code(
    name: WheelName, project: Project, choice: BackendChoice, flags: Sequence[Entry]
) -> str | None:
    """Why a wheel of a variant must have compiled code; None where it need not."""
    compiled = project.settings.compiled
    if compiled is not None:
        return f"{project.at('tool.polywheel.compiled')} is true" if compiled else None
    if name.platform != "any":
        return f"it is for the platform {name.platform}"
    if flags:
        return f"its variant asks for the compiler flag {flags[0].value!r} (from {flags[0].origin})"
    profile = choice.profile.name if choice.profile is not None else None
    if profile in _ALWAYS_COMPILES:
        return f"{profile} is for projects with something to compile"
    if profile not in _WITHOUT_SETUP_PY and (declared := _extension_modules(project)):
        return f"the project has extension modules ({declared})"
    return None


def _extension_modules(project: Project) -> str | None:
    """Where a project declares extension modules for setuptools; None where it does not."""
    tool = project.document.get("tool")
    tables = tool if isinstance(tool, dict) else {}
    setuptools = tables.get("setuptools")
    if isinstance(setuptools, dict) and setuptools.get("ext-modules"):
        return "tool.setuptools.ext-modules"
    if tables.get("setuptools-rust"):
        return "tool.setuptools-rust"
    try:
        with (project.source / "setup.py").open(encoding="utf-8", errors="replace") as file:
            return "setup.py" if _EXTENSIONS.search(file.read(_MAX_SCRIPT)) else None
    except OSError:
        return None
