"""Build setup: what a variant needs from the build, and how the real backend gets it.

Each entry of a build setup knows its origin. Backend profiles are data: ``backends/*.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from polywheel.model.variant import VariantProperty

FLAG_FIELDS = (
    *("cflags", "cxxflags", "cuflags", "objcflags", "fflags", "dflags", "valaflags", "rustflags"),
    *("cythonflags", "ldflags"),
)
"""The keys of get_build_setup (variantlib, 2025)."""

COMPILER_CACHES = ("auto", "ccache", "sccache", "off")
"""The values of ``compiler-cache``."""

LAUNCHER_FIELDS = ("c", "cxx", "objc", "objcxx", "cuda", "hip", "rust")
"""The languages whose compilers a compiler cache may launch."""

Text = str | tuple[str, ...]
Name = tuple[str, str]
"""A field and a name in it: ``("flags", "cflags")``, ``("env", "CC")``, ``("requires", "")``."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def with_placeholders(text: str, fill: Callable[[str], str]) -> str:
    """Replace each ``{name}`` in a text by ``fill(name)``. ``{{`` and ``}}`` are braces."""
    return _PLACEHOLDER.sub(lambda match: match[0][0] if match[1] is None else fill(match[1]), text)


def placeholders(text: str) -> tuple[str, ...]:
    """Return the names of the placeholders in a text, each once."""
    return tuple(dict.fromkeys(m[1] for m in _PLACEHOLDER.finditer(text) if m[1] is not None))


def with_source_path(text: str, path: str) -> str:
    """Replace the placeholders of the source in a command or variable of a build.

    cibuildwheel has two: its working directory, and the package in it. Builds of polywheel start in the package.
    """
    return text.replace("{project}", path).replace("{package}", path)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupFields:
    """The build setup of one rule, with its placeholders. None means that the rule has no such field."""

    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Flags by field, one string for each flag. An empty list replaces the flags of less specific
    rules by none."""

    env: Mapping[str, Text] = field(default_factory=dict)
    """Environment variables. A value is a string, or a list of folders, of which the first that exists
    is used. An empty list replaces the value of less specific rules, and leaves the variable alone."""

    config_settings: Mapping[str, Text] = field(default_factory=dict)
    """Config settings for the real backend. A list is appended to the user's values."""

    defines: Mapping[str, str] = field(default_factory=dict)
    """Options of the build system by name: ``-Dname=value`` of CMake and Meson."""

    requires: tuple[str, ...] | None = None
    """Additional requirements of the build."""

    dependencies: tuple[str, ...] | None = None
    """Additional requirements of the wheel (``Requires-Dist``)."""

    def by_name(self) -> dict[Name, Text]:
        """Return the values of all fields of the rule, by field and name."""
        tables: dict[str, Mapping[str, Text]] = {
            "flags": self.flags,
            "env": self.env,
            "config-settings": self.config_settings,
            "defines": self.defines,
            "requires": {} if self.requires is None else {"": self.requires},
            "dependencies": {} if self.dependencies is None else {"": self.dependencies},
        }
        return {(key, name): text for key, table in tables.items() for name, text in table.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupRule:
    """One table of ``[tool.polywheel.setup]``, or of a preset."""

    key: str
    """``*``, ``ns``, ``ns :: feature``, ``ns :: feature :: value``, or ``label:GLOB``."""

    at: str
    """File and key path, for origins and messages."""

    target: tuple[str, ...]
    """The parts of the key: () for ``*``, one to three names of a property."""

    label_glob: str | None = None
    when: str | None = None
    """A marker (PEP 508) about target and Python. The rule applies only if the marker is true."""

    separator: str = ";"
    """The text between the values in ``{values}``."""

    spelling: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Other spellings of values, for ``{value.NAME}`` and ``{values.NAME}``."""

    fields: SetupFields = field(default_factory=SetupFields)
    by_compiler: Mapping[str, SetupFields] = field(default_factory=dict)
    """The same fields for one family of compilers. They win over the fields of the rule."""

    by_backend: Mapping[str, SetupFields] = field(default_factory=dict)
    """The same fields for one real backend, by the name of its profile. They win over `compiler`."""

    @property
    def all_fields(self) -> tuple[SetupFields, ...]:
        """The fields of the rule, also those for one family of compilers or one backend."""
        return (self.fields, *self.by_compiler.values(), *self.by_backend.values())

    @property
    def is_empty(self) -> bool:
        """Whether the rule has no fields: it declares that its properties do not change the build."""
        return not any(fields.by_name() for fields in self.all_fields)

    def is_about(self, prop: VariantProperty) -> bool:
        """Whether the rule names a property. A rule for everything or for a label does not."""
        parts = (prop.namespace, prop.feature, prop.value)
        return bool(self.target) and parts[: len(self.target)] == self.target


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """The values of a feature in a preset, or the pattern that they match."""

    values: tuple[str, ...] = ()
    pattern: str | None = None
    multi_value: bool = False

    def has(self, value: str) -> bool:
        """Whether a value is one of the values, or matches the pattern."""
        return value in self.values or (
            self.pattern is not None and re.fullmatch(self.pattern, value) is not None
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FileExpectations:
    """What the values of a feature say about the files of a wheel, for ``polywheel audit``.

    Libraries are glob patterns of the last part of their name, in lower case and without the hash that
    auditwheel and delvewheel add: ``libgomp.*`` for ``libgomp-a34b3233.so.1.0.0``.
    """

    device_code: str = ""
    """``cuda`` or ``hip`` if the values are GPU architectures."""

    generic: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Architectures whose code runs on the GPUs of several values, and these values."""

    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The libraries by value. Names that are not values are implementations that no value stands for."""

    interfaces: tuple[str, ...] = ()
    """Libraries that may belong to any value, because the system or the user chooses their implementation."""

    bound: str = ""
    """How the values, which are versions, relate to the version of the libraries in `version_libraries` of the
    preset: ``exact``, or the value is the ``lower`` bound, or the ``upper`` bound, which does not work itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One file of ``matrix/presets``."""

    name: str
    namespace: str
    features: Mapping[str, FeatureValues]
    rules: tuple[SetupRule, ...]
    plugins: tuple[str, ...] = ()
    """The normalized names of packages with a plugin that has these features and values."""

    files: Mapping[str, FileExpectations] = field(default_factory=dict)
    """By feature."""

    version_libraries: tuple[str, ...] = ()
    """Libraries as in :class:`FileExpectations`, with ``{major}`` in place of the major version."""

    cpu_models: Mapping[str, CpuModel] = field(default_factory=dict)
    """The oldest CPU that a property admits, by ``feature :: value``; for other wheels by ``*``."""

    extensions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By feature and value: the instruction set extensions that code may use, and other values that it
    implies, as ``feature :: value``."""

    oldest_mac: OldestMac | None = None
    """What code for macOS may use without a property."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldestMac:
    """The oldest processor of Macs."""

    processor: str
    """Its name."""

    extensions: tuple[str, ...]
    """As in :attr:`Preset.extensions`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuModel:
    """A CPU that an emulator emulates."""

    model: str
    """Its name in QEMU."""

    has: tuple[str, ...] = ()
    """Features that a process sees there, such as "avx2"."""

    lacks: tuple[str, ...] = ()
    """Features that it does not see."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a build setup, and its origin."""

    value: str
    origin: str


def origins(entries: Iterable[Entry]) -> str:
    """The origins of entries, each once, for messages."""
    return ", ".join(dict.fromkeys(entry.origin for entry in entries))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSetup:
    """Everything that one variant needs from the build."""

    flags: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    env: Mapping[str, Entry] = field(default_factory=dict)
    config_settings: Mapping[str, Entry | tuple[Entry, ...]] = field(default_factory=dict)
    """One entry if a rule has a string, several if rules have lists."""

    defines: Mapping[str, Entry] = field(default_factory=dict)
    requires: tuple[Entry, ...] = ()
    dependencies: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes for the user. They do not change the build."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupValues:
    """Values of a build setup that have one origin, for reports."""

    name: str
    """``cflags``, ``env.NAME``, ``defines.NAME``, ``config-settings.KEY``, ``requires``, ``dependencies``, …"""

    values: tuple[str, ...]
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildDirectory:
    """How each variant gets its own build directory.

    Variants must not share object files: setuptools does not rebuild an object if CFLAGS changed,
    and CMake and Meson keep the flags of their first configure.
    """

    via: str
    """How the directory is passed to the backend: ``env:NAME``, ``config-setting:KEY``, or
    ``distutils-config`` (a file named by ``DIST_EXTRA_CONFIG``). ``source-copy`` is for backends
    without such a setting: they run in a copy of the source tree."""

    only_where: tuple[str, ...] = ()
    """For ``source-copy``: copy only if pyproject.toml has one of these dotted paths, or if the source
    tree has a file of that name."""

    leave: tuple[str, ...] = ()
    """For ``source-copy``: folders at the top of the source tree that are not copied."""

    kept_by: tuple[str, ...] = ()
    """Settings with which users choose a directory that is kept between builds, strongest first:
    ``env:NAME``, ``config-setting:KEY``, ``pyproject:dotted.path``."""

    default: str | None = None
    """The directory that the backend keeps by default, relative to the project."""

    editable_default: str | None = None
    """The directory that the backend keeps by default for editable builds."""

    since: str | None = None
    """The oldest version of the backend that supports this, such as ``setuptools>=65.4``."""


@dataclass(frozen=True, slots=True)
class DeliveryMethod:
    """How one field of a build setup reaches the backend."""

    via: str
    """``env``: the variable with the name of the field; ``env:NAME``: exactly this variable;
    ``python-env``: like ``env``, for a backend that compiles with setuptools;
    ``config-setting:KEY``; ``hooks``: like ``env``, but only build hooks of the project may read the
    variable; ``unsupported``. If setuptools may compile, Python's own flags come first in CFLAGS and
    CXXFLAGS, and MSVC gets the flags in CL and LINK."""

    format: str = "{value}"
    """The format of one value, with the placeholders ``{name}`` and ``{value}``."""

    def variable(self, field: str) -> str:
        """The environment variable for a flag field."""
        return self.via.partition(":")[2] or field.upper()


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendProfile:
    """The profile of a real backend: how a build setup reaches it."""

    name: str
    modules: tuple[str, ...]
    """Values of ``build-backend`` that mean this backend. An inferred backend is the first one."""

    packages: tuple[str, ...]
    """The normalized names of the distributions that contain it."""

    build_directory: BuildDirectory | None = None
    """How each variant gets its own build directory. Left out if the backend keeps no object files after
    a build."""

    delivery: Mapping[str, DeliveryMethod] = field(default_factory=dict)
    """How each flag field and ``defines`` reach the backend. A field that is missing is unsupported."""

    delivery_by_compiler: Mapping[str, Mapping[str, DeliveryMethod]] = field(default_factory=dict)
    """The fields of `delivery` that differ for one family of compilers."""

    launchers: Mapping[str, str] = field(default_factory=dict)
    """How the launcher of each compiler reaches the backend, for `compiler-cache`. ``env:NAME``: the variable has
    only the launcher. ``prefix:NAME``: the variable has the compiler, and the launcher is put before it. ``script:NAME``: the
    same with a script that starts both, for tools that take the first word for the compiler. A compiler that is
    missing gets none."""

    parallel: DeliveryMethod | None = None
    """How the number of parallel compiler processes reaches the backend."""

    ninja: bool = False
    """Whether the backend compiles with Ninja, which supports the jobserver protocol of make since 1.13."""

    own_optimization: bool = False
    """Whether the build system sets optimization flags itself, as CMake, Meson, and Cargo do. If not,
    setuptools may compile."""

    hooks: tuple[str, ...] = ()
    """Where a project declares build hooks: dotted paths in pyproject.toml, or names of files."""

    def with_overrides(self, other: BackendProfile) -> BackendProfile:
        """Return the profile with the values of ``other``, where it has some."""
        return replace(
            self,
            build_directory=other.build_directory or self.build_directory,
            delivery={**self.delivery, **other.delivery},
            delivery_by_compiler={
                name: {
                    **self.delivery_by_compiler.get(name, {}),
                    **other.delivery_by_compiler.get(name, {}),
                }
                for name in (*self.delivery_by_compiler, *other.delivery_by_compiler)
            },
            launchers={**self.launchers, **other.launchers},
            parallel=other.parallel or self.parallel,
            ninja=other.ninja or self.ninja,
            own_optimization=other.own_optimization or self.own_optimization,
            hooks=other.hooks or self.hooks,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendChoice:
    """The real backend of a project, and its profile; None if there is no profile."""

    build_backend: str
    """``module`` or ``module:object``."""

    backend_path: tuple[str, ...] | None
    """Folders of an in-tree backend, relative to the project."""

    profile: BackendProfile | None

    at: str = field(default="pyproject.toml: tool.polywheel.build-backend", compare=False)
    """The file and key that name it, or could name it."""

    @property
    def backend_path_at(self) -> str:
        """The file and key of ``backend_path``."""
        return f"{self.at.removesuffix('build-backend')}backend-path"

    @property
    def profile_name(self) -> str | None:
        return self.profile.name if self.profile else None
