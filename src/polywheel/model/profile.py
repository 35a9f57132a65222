"""What polywheel knows of a real backend, as data (``backends/*.toml``)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildDirectory:
    """How a backend is told to build in a directory of the variant's own.

    Objects that one variant compiled must never reach another: setuptools does not rebuild an
    object because CFLAGS changed, CMake and Meson keep the flags of their first configure.
    """

    via: str
    """``env:NAME``, ``config-setting:KEY``, or ``distutils-config`` (a file named by
    ``DIST_EXTRA_CONFIG``)."""

    kept_by: tuple[str, ...] = ()
    """Where a user says which directory is kept between builds, strongest first: ``env:NAME``,
    ``config-setting:KEY``, ``pyproject:dotted.path``."""

    default: str | None = None
    """The directory that is kept without anybody saying so, relative to the project."""

    editable_default: str | None = None
    """The same for editable builds."""

    since: str | None = None
    """The requirement that the backend's package must meet to be told, ``setuptools>=65.4``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendProfile:
    """One real backend: the names it goes by, and how it is told things."""

    name: str
    modules: tuple[str, ...]
    """What ``build-backend`` may say; the first is what an inferred backend is called as."""

    packages: tuple[str, ...]
    """The normalized names of the distributions that hold it."""

    build_directory: BuildDirectory | None = None
    """None where the backend has no objects that outlive a build."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendChoice:
    """The real backend of a project, and its profile where one is known."""

    build_backend: str
    """``module`` or ``module:object``."""

    backend_path: tuple[str, ...] | None
    """Folders of an in-tree backend, relative to the project."""

    profile: BackendProfile | None
