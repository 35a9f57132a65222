"""What the wheels of a project are for: one Python, several, or every platform too.

Told without building: from what the backend's own settings say. Where they do not say it, a wheel
is for one Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from polywheel.config.project import Project

_FLOOR = re.compile(r"cp3([0-9]{1,4})")
_HOOKED = {
    "flit-core": (),
    "uv-build": (),
    "hatchling": (
        "tool.hatch.build.hooks",
        "tool.hatch.build.targets.wheel.hooks",
        "tool.hatch.build.targets.wheel.infer-tag",
    ),
    "poetry-core": ("tool.poetry.build",),
    "pdm-backend": (
        "tool.pdm.build.run-setuptools",
        "tool.pdm.build.custom-hook",
        "tool.pdm.build.is-purelib",
    ),
}
"""Backends whose wheels are pure, but for these tables, whatever they say."""

_PURE_HOOKS = {"vcs"}
"""Hooks of hatchling that write a file of Python, and no more."""

_SETUPTOOLS_ALONE = {"setuptools", "setuptools-scm", "wheel", "polywheel", "vcs-versioning"}
"""Build requirements that make no extension modules."""


@dataclass(frozen=True, slots=True)
class WheelTag:
    """``py3-none-any``, ``py3-none``, ``abi3`` or ``python``; and from which 3.x on abi3 holds."""

    kind: str
    floor: int = 0

    def serves_together(self, python: str) -> str | None:
        """A name for all Pythons that one wheel serves along with this one; None for it alone.

        abi3 is not for free-threaded Pythons (PEP 703).
        """
        if self.kind in {"py3-none-any", "py3-none"}:
            return "py3"
        minor = python.partition(".")[2]
        if self.kind == "abi3" and minor.isdigit() and int(minor) >= self.floor:
            return "abi3"
        return None

    @property
    def any_target(self) -> bool:
        return self.kind == "py3-none-any"


def wheel_tag(project: Project, profile: str | None, said: str | None) -> WheelTag:
    """What the matrix says, else what the settings of the backend with this profile say."""
    if said is not None:
        return WheelTag(said, _floor(_scikit_build_core(project.document)))
    if profile in _HOOKED:
        return WheelTag("py3-none-any" if _is_pure(project, profile) else "python")
    found = WheelTag("python")
    if profile == "meson-python" and _at(project.document, "tool.meson-python.limited-api") is True:
        found = WheelTag("abi3")
    elif profile == "scikit-build-core":
        api = _scikit_build_core(project.document)
        if api.startswith("cp3"):
            found = WheelTag("abi3", _floor(api))
        elif api.startswith("py3"):
            found = WheelTag("py3-none")
    elif profile == "setuptools":
        found = _setuptools(project)
    elif profile == "maturin":
        found = _maturin(project)
    return found


def _is_pure(project: Project, profile: str) -> bool:
    if profile == "pdm-backend" and Path(project.source, "pdm_build.py").exists():
        return False  # a script of this name is a hook without being named
    return all(
        value is None or (isinstance(value, Mapping) and set(value) <= _PURE_HOOKS)
        for value in (_at(project.document, path) for path in _HOOKED[profile])
    )


def _setuptools(project: Project) -> WheelTag:
    limited = _at(project.document, "tool.distutils.bdist_wheel.py-limited-api") or _at(
        project.document, "tool.distutils.bdist_wheel.py_limited_api"
    )
    if isinstance(limited, str):
        return WheelTag("abi3", _floor(limited))
    extensions = _at(project.document, "tool.setuptools.ext-modules")
    scripts = [Path(project.source, "setup.py").exists(), _says_more(project.source / "setup.cfg")]
    # setuptools-rust, cffi and their like make extension modules out of tables of their own.
    others = {_name(text) for text in project.build_system.requires} - _SETUPTOOLS_ALONE
    impure = extensions or any(scripts) or others
    return WheelTag("python" if impure else "py3-none-any")


def _maturin(project: Project) -> WheelTag:
    features = _at(project.document, "tool.maturin.features")
    listed = features if isinstance(features, list) else []
    abi3 = [one for one in listed if isinstance(one, str) and "abi3" in one]
    if abi3:
        return WheelTag("abi3", _floor(abi3[0].replace("abi3-py3", "cp3")))
    return WheelTag("python" if _of_python(project) else "py3-none")


def _of_python(project: Project) -> bool:
    """Whether maturin binds to Python itself, and not by cffi or a program of its own.

    Where nobody says so, it looks what the crate depends on.
    """
    bindings = _at(project.document, "tool.maturin.bindings")
    if isinstance(bindings, str):
        return bindings not in {"bin", "cffi", "uniffi"}
    manifest = _at(project.document, "tool.maturin.manifest-path")
    path = project.source / (manifest if isinstance(manifest, str) else "Cargo.toml")
    try:
        return (
            re.search(r"^\s*\"?pyo3\b|\.pyo3\b", path.read_text("utf-8"), re.MULTILINE) is not None
        )
    except (OSError, ValueError):
        return True


def _says_more(path: Path) -> bool:
    """Whether a setup.cfg says more than the one that setuptools writes into every sdist."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return path.exists()
    sections = {line.strip() for line in lines if line.strip().startswith("[")}
    return not sections <= {"[egg_info]"}


def _name(requirement: str) -> str:
    return canonicalize_name(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])


def _scikit_build_core(document: Mapping[str, Any]) -> str:
    api = _at(document, "tool.scikit-build.wheel.py-api")
    return api if isinstance(api, str) else ""


def _floor(tag: str) -> int:
    found = _FLOOR.search(tag)
    return int(found[1]) if found else 0


def _at(document: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401  # whatever TOML holds
    value: Any = document
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value
