"""What polywheel knows of a real backend, as data (``backends/*.toml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildDirectory:
    """How a backend is told to build in a directory of the variant's own.

    Objects that one variant compiled must never reach another: setuptools does not rebuild an
    object because CFLAGS changed, CMake and Meson keep the flags of their first configure.
    """

    via: str
    """``env:NAME``, ``config-setting:KEY``, ``distutils-config`` (a file named by
    ``DIST_EXTRA_CONFIG``), or ``source-copy`` for a backend that can't be told: it runs in a copy of
    the source tree."""

    only_where: tuple[str, ...] = ()
    """For ``source-copy``: only where pyproject.toml has one of these dotted paths, or the tree has a
    file of that name."""

    leave: tuple[str, ...] = ()
    """For ``source-copy``: folders of objects at the top of the tree, which are not copied."""

    kept_by: tuple[str, ...] = ()
    """Where a user says which directory is kept between builds, strongest first: ``env:NAME``,
    ``config-setting:KEY``, ``pyproject:dotted.path``."""

    default: str | None = None
    """The directory that is kept without anybody saying so, relative to the project."""

    editable_default: str | None = None
    """The same for editable builds."""

    since: str | None = None
    """The requirement that the backend's package must meet to be told, ``setuptools>=65.4``."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a backend is told one field of build setup."""

    via: str
    """``env`` (the variable of the field's name), ``env:NAME`` (that variable and nothing else),
    ``python-env`` (as ``env``, for a backend that compiles with setuptools), ``config-setting:KEY``,
    ``hooks`` (as ``env``, but only build hooks of the project may read it), ``unsupported``. Where
    setuptools may compile, the flags that Python itself was built with stay in CFLAGS and CXXFLAGS, in
    front, and MSVC is told by CL and LINK."""

    format: str = "{value}"
    """How one value is put, with ``{name}`` and ``{value}``."""

    def variable(self, field: str) -> str:
        """The environment variable for a flag field."""
        return self.via.partition(":")[2] or field.upper()


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

    ways: Mapping[str, Way] = field(default_factory=dict)
    """By flag field, and for ``defines``; a field without a way is unsupported."""

    ways_by_compiler: Mapping[str, Mapping[str, Way]] = field(default_factory=dict)
    """Ways that are others with one family of compilers."""

    parallel: Way | None = None
    """How it is told how many compilers may run at once."""

    ninja: bool = False
    """Whether Ninja is its compile step, which speaks make's jobserver protocol since 1.13."""

    own_optimization: bool = False
    """Whether the build system sets optimization flags itself, as CMake, Meson, and Cargo do. Without
    it, setuptools may be what compiles."""

    hooks: tuple[str, ...] = ()
    """Where a project declares build hooks: dotted paths in pyproject.toml, or names of files."""

    def overridden(self, other: BackendProfile) -> BackendProfile:
        """The profile with what ``other`` says in place of what it says itself."""
        return replace(
            self,
            build_directory=other.build_directory or self.build_directory,
            ways={**self.ways, **other.ways},
            ways_by_compiler={
                name: {
                    **self.ways_by_compiler.get(name, {}),
                    **other.ways_by_compiler.get(name, {}),
                }
                for name in (*self.ways_by_compiler, *other.ways_by_compiler)
            },
            parallel=other.parallel or self.parallel,
            ninja=other.ninja or self.ninja,
            own_optimization=other.own_optimization or self.own_optimization,
            hooks=other.hooks or self.hooks,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendChoice:
    """The real backend of a project, and its profile where one is known."""

    build_backend: str
    """``module`` or ``module:object``."""

    backend_path: tuple[str, ...] | None
    """Folders of an in-tree backend, relative to the project."""

    profile: BackendProfile | None

    at: str = field(default="pyproject.toml: tool.polywheel.build-backend", compare=False)
    """The file and key that name it, or that should."""
