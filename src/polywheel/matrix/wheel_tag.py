"""Predict the tags of a project's wheels: for one Python, for several, or for every platform.

The prediction follows from the settings of the backend. By default, a wheel is for one Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.config.project import Project, look_up

_FLOOR = re.compile(r"cp3([0-9]{1,4})")
_PURE_BACKENDS = {
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
"""Backends whose wheels are pure unless the project has one of these settings."""

_PURE_HOOKS = {"vcs"}
"""Hooks of hatchling that only write a Python file."""

_SETUPTOOLS_ALONE = {"setuptools", "setuptools-scm", "wheel", "polywheel", "vcs-versioning"}
"""Build requirements that compile no extension modules."""


@dataclass(frozen=True, slots=True)
class WheelTag:
    """The tag of a project's wheels."""

    kind: str
    """``py3-none-any``, ``py3-none``, ``abi3``, or ``python``."""

    floor: int = 0
    """For ``abi3``: the lowest minor version of Python 3 if the settings of the backend have it. Then any
    newer Python builds such a wheel. 0: the wheel is for the Python that builds it, and newer ones."""

    def serves_together(self, python: str) -> str | None:
        """A name for all Pythons that one wheel serves, including this one; None if it serves only this one.

        ``abi3`` is not for free-threaded Pythons (PEP 703).
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


def wheel_tag(project: Project, profile: str | None, setting: str | None) -> WheelTag:
    """The wheel tag from the ``setting`` of the matrix, or else from the settings of the backend."""
    tag = _of_backend(project, profile)
    return tag if setting is None or setting == tag.kind else WheelTag(setting)


def _of_backend(project: Project, profile: str | None) -> WheelTag:
    py_api = look_up(project.document, "tool.scikit-build.wheel.py-api")
    py_api = py_api if isinstance(py_api, str) else ""
    tag = WheelTag("python")
    if profile in _PURE_BACKENDS:
        tag = WheelTag("py3-none-any") if _is_pure(project, profile) else tag
    elif profile == "meson-python":
        limited = look_up(project.document, "tool.meson-python.limited-api") is True
        tag = WheelTag("abi3") if limited else tag
    elif profile == "scikit-build-core" and py_api.startswith("cp3"):
        tag = WheelTag("abi3", _floor(py_api))
    elif profile == "scikit-build-core" and py_api.startswith("py3"):
        tag = WheelTag("py3-none")
    elif profile == "setuptools":
        tag = _setuptools(project)
    elif profile == "maturin":
        tag = _maturin(project)
    return tag


def _is_pure(project: Project, profile: str) -> bool:
    if profile == "pdm-backend" and Path(project.source, "pdm_build.py").exists():
        return False  # a hook that needs no setting
    return all(
        value is None or (isinstance(value, Mapping) and set(value) <= _PURE_HOOKS)
        for value in (look_up(project.document, path) for path in _PURE_BACKENDS[profile])
    )


def _setuptools(project: Project) -> WheelTag:
    table = "tool.distutils.bdist_wheel"
    limited = look_up(project.document, f"{table}.py-limited-api") or look_up(
        project.document, f"{table}.py_limited_api"
    )
    if isinstance(limited, str):
        return WheelTag("abi3", _floor(limited))
    # setuptools-rust, cffi, and others have their own tables for extension modules.
    others = {_name(text) for text in project.build_system.requires} - _SETUPTOOLS_ALONE
    impure = (
        others
        or look_up(project.document, "tool.setuptools.ext-modules")
        or Path(project.source, "setup.py").exists()
        or _has_settings(project.source / "setup.cfg")
    )
    return WheelTag("python" if impure else "py3-none-any")


def _maturin(project: Project) -> WheelTag:
    features = look_up(project.document, "tool.maturin.features")
    for feature in features if isinstance(features, list) else ():
        if isinstance(feature, str) and "abi3" in feature:
            return WheelTag("abi3", _floor(feature.replace("abi3-py3", "cp3")))
    return WheelTag("python" if _binds_to_python(project) else "py3-none")


def _binds_to_python(project: Project) -> bool:
    """Whether the extension module uses the API of Python, and not cffi, uniffi, or a program.

    Without a setting, maturin decides by the dependencies of the crate.
    """
    bindings = look_up(project.document, "tool.maturin.bindings")
    if isinstance(bindings, str):
        return bindings not in {"bin", "cffi", "uniffi"}
    manifest = look_up(project.document, "tool.maturin.manifest-path")
    path = project.source / (manifest if isinstance(manifest, str) else "Cargo.toml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return re.search(r"^\s*\"?pyo3\b|\.pyo3\b", text, re.MULTILINE) is not None


def _has_settings(path: Path) -> bool:
    """Whether a setup.cfg has more sections than setuptools writes into every sdist."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return path.exists()
    return not {line.strip() for line in lines if line.strip().startswith("[")} <= {"[egg_info]"}


def _name(requirement: str) -> str:
    return canonicalize_name(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])


def _floor(tag: str) -> int:
    match = _FLOOR.search(tag)
    return int(match[1]) if match else 0
