"""A separate build directory for each variant, passed to the real backend."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from polywheel.config.project import Project, look_up
from polywheel.config.selection import ConfigSettings
from polywheel.errors import BuildError, ConfigError
from polywheel.model.setup import FLAG_FIELDS, BackendProfile, BuildDirectory
from polywheel.model.variant import Variant
from polywheel.system.files import portable_folder_name

_FOLDER = "polywheel"
_VARIABLES = (
    *(name.upper() for name in FLAG_FIELDS),
    *("CC", "CXX", "FC", "CUDACXX", "CUDAHOSTCXX", "HIPCXX", "CPPFLAGS", "CUDAFLAGS", "HIPFLAGS"),
    *("CUDAARCHS", "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "TORCH_CUDA_ARCH_LIST"),
    *("PYTORCH_ROCM_ARCH", "CMAKE_ARGS", "CMAKE_GENERATOR", "CMAKE_PREFIX_PATH"),
    *("CMAKE_PROGRAM_PATH", "CMAKE_TOOLCHAIN_FILE", "PKG_CONFIG_PATH", "SKBUILD_CMAKE_ARGS"),
    *("SKBUILD_CMAKE_BUILD_TYPE", "SKBUILD_CMAKE_DEFINE"),
)
"""Variables whose values compilers and build systems keep from the first run in a directory."""

_COMPILED = (".o", ".obj", ".so", ".pyd", ".dylib", ".dll", ".a", ".lib")
_OUTDATED = 10 * 365 * 24 * 3600 + 30 * 24 * 3600
"""January 1980, in seconds since 1970. Zip files can't have older dates."""

_PYTHON = (sys.implementation.cache_tag, sysconfig.get_config_var("EXT_SUFFIX"))


@dataclass(frozen=True, slots=True)
class OwnDirectory:
    """The variables and config settings that set the build directory of the real backend."""

    environment: Mapping[str, str] = field(default_factory=dict)
    config_settings: Mapping[str, str] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    """Keys of the user's config settings that are replaced."""

    source: Path | None = None
    """The copy of the source tree to build in; None for the tree itself."""


def own_build_directory(
    profile: BackendProfile | None,
    project: Project,
    variant: Variant,
    settings: ConfigSettings,
    *,
    environment: Mapping[str, str],
    scratch: Path,
    editable: bool,
    variables: Iterable[str] = (),
    lasting: Path | None = None,
) -> OwnDirectory:
    """Separate the objects of this variant from those of all other builds of the same tree.

    If the user keeps a directory between builds, each variant gets a folder in it. Its name has the label and a
    digest of the inputs of the build, so only a build with the same inputs uses the objects again. A backend that
    always keeps objects gets ``scratch``, which is removed after the build.

    ``environment`` is the complete environment of the build. ``variables`` are the names of those that the setup of
    the variant sets. For ``lasting``, see :func:`lasting_build_directory`.
    """
    directory = profile.build_directory if profile else None
    if directory is not None and directory.since is not None:
        _check_version(directory.since)
    if directory is None or directory.via in {"distutils-config", "source-copy"}:
        # Editable builds of setuptools use a temporary directory (editable_wheel.py). Other editable builds
        # need the tree itself.
        return OwnDirectory() if editable else _in_scratch(profile, project, environment, scratch)
    kept = _kept_directory(directory, project, settings, environment, editable)
    if kept is None:  # the backend uses a new temporary directory each time
        return _lasting(directory, lasting) if lasting is not None else OwnDirectory()
    digest = _digest(variant, settings, environment, variables)
    folder = portable_folder_name(f"{variant.label}-{digest}")
    path = os.path.join(project.source, kept, _FOLDER, folder)
    kind, _, name = directory.via.partition(":")
    keys = (key.partition(":") for key in directory.kept_by)
    replaced = frozenset(key for kind, _, key in keys if kind == "config-setting")
    return _pass_directory(kind, name, path, replaced)


def _in_scratch(
    profile: BackendProfile | None, project: Project, environment: Mapping[str, str], scratch: Path
) -> OwnDirectory:
    """A directory that is removed after the build, for a backend that always keeps objects."""
    directory = profile.build_directory if profile else None
    if directory is not None and directory.via == "source-copy":
        return _source_copy(directory, project, scratch)
    if directory is not None:
        return _distutils_config(environment, scratch, egg_info_of=project.source)
    if profile is not None and profile.own_optimization:
        return OwnDirectory()
    # Setuptools may compile, for example if an in-tree backend calls it.
    return _distutils_config(environment, scratch)


def lasting_build_directory(
    profile: BackendProfile | None,
    project: Project,
    settings: ConfigSettings,
    *,
    environment: Mapping[str, str],
    lasting: Path,
) -> OwnDirectory:
    """Use ``lasting`` for any build, if the backend would use a temporary directory.

    The backend removes a temporary directory after a failure, and with it the logs that show the reason.
    """
    directory = profile.build_directory if profile else None
    if directory is None or _kept_directory(directory, project, settings, environment, False):
        return OwnDirectory()
    return _lasting(directory, lasting)


def _lasting(directory: BuildDirectory, path: Path) -> OwnDirectory:
    kind = directory.via.partition(":")[0]
    settings = (text.partition(":") for text in directory.kept_by)
    # The last name is the oldest one, which every version of the backend knows.
    names = [name for other, _, name in settings if other == kind]
    return _pass_directory(kind, names[-1], str(path)) if names else OwnDirectory()


def _pass_directory(
    kind: str, name: str, path: str, replaced: frozenset[str] = frozenset()
) -> OwnDirectory:
    if kind == "env":
        return OwnDirectory(environment={name: path}, replaced=replaced)
    return OwnDirectory(config_settings={name: path}, replaced=replaced)


def _kept_directory(
    directory: BuildDirectory,
    project: Project,
    settings: ConfigSettings,
    environment: Mapping[str, str],
    editable: bool,
) -> str | None:
    """The directory that is kept between builds, or None."""
    for text in directory.kept_by:
        kind, _, name = text.partition(":")
        values: dict[str, object] = {
            "env": environment.get(name),
            "config-setting": settings.get(name),
            "pyproject": look_up(project.document, name),
        }
        value = values[kind]
        if isinstance(value, str) and value:
            return value
    return directory.editable_default if editable else directory.default


def declares_any(project: Project, names: Iterable[str]) -> bool:
    """Whether pyproject.toml has one of these dotted paths, or the source has one of these files."""
    return any(
        look_up(project.document, name) is not None or (project.source / name).is_file()
        for name in names
    )


def _digest(
    variant: Variant,
    settings: ConfigSettings,
    environment: Mapping[str, str],
    variables: Iterable[str],
    python: Sequence[str | None] = _PYTHON,
) -> str:
    """8 hexadecimal digits for all inputs of the objects and of the build system."""
    names = sorted({*_VARIABLES, *variables})
    parts = {
        "properties": [str(prop) for prop in variant.properties],
        "settings": {key: settings[key] for key in sorted(settings)},
        "environment": {name: environment.get(name) for name in names},
        "python": python,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _check_version(requirement: str) -> None:
    from importlib.metadata import PackageNotFoundError, version

    required = Requirement(requirement)
    try:
        installed = version(required.name)
    except PackageNotFoundError:
        return  # the call of the backend reports this
    if not required.specifier.contains(installed, prereleases=True):
        raise ConfigError(
            f"{required.name} {installed} can't be given a build directory for each variant, "
            "so variants would share object files",
            at="pyproject.toml: build-system.requires",
            hint=f"require {requirement}",
        )


def _distutils_config(
    environment: Mapping[str, str], scratch: Path, egg_info_of: Path | None = None
) -> OwnDirectory:
    """Write a distutils configuration file, which is read after all others, with other directories.

    ``build/`` has objects that are not rebuilt when flags change. Neither are extension modules that an earlier
    build has put beside the sources. Each build writes and reads ``*.egg-info``, so two concurrent builds would read
    each other's. The one of the tree ``egg_info_of`` is copied first, because it has the manifest of an unpacked
    sdist.
    """
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep the case of keys
    user_file = environment.get("DIST_EXTRA_CONFIG")
    if user_file:
        try:
            parser.read(user_file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{user_file} can't be read: {str(error).splitlines()[0]}",
                at="environment variable DIST_EXTRA_CONFIG",
            ) from None
    build = scratch / "build"
    values: list[tuple[str, str, object]] = [
        # A setup.cfg may set each of these directories.
        ("build", "build_base", build),
        ("build", "build_lib", build / "lib"),
        ("build", "build_temp", build / "temp"),
        ("build_ext", "build_lib", build / "lib"),
        ("build_ext", "build_temp", build / "temp"),
        ("build_ext", "force", "true"),
        ("build_clib", "build_temp", build / "temp"),
    ]
    if egg_info_of is not None:
        egg_base = scratch / "egg-info"
        egg_base.mkdir()
        for name, folder in _egg_infos(egg_info_of).items():
            shutil.copytree(folder, egg_base / name, ignore_dangling_symlinks=True)
        values.append(("egg_info", "egg_base", egg_base))
    for section, key, value in values:
        if not parser.has_section(section):
            parser.add_section(section)
        parser.set(section, key, str(value).replace("%", "%%"))
    config = scratch / "distutils.cfg"
    with config.open("w", encoding="utf-8") as file:
        parser.write(file)
    return OwnDirectory(environment={"DIST_EXTRA_CONFIG": str(config)})


def _source_copy(directory: BuildDirectory, project: Project, scratch: Path) -> OwnDirectory:
    """A copy of the source tree, if the project has a build script that keeps objects in the tree."""
    if directory.only_where and not declares_any(project, directory.only_where):
        return OwnDirectory()
    copy = scratch / "source"
    ignored = shutil.ignore_patterns(".polywheel-*", "__pycache__")
    at_top = shutil.ignore_patterns(*directory.leave)

    def left_out(folder: str, names: list[str]) -> set[str]:
        """Temporary files of polywheel, objects of other builds, and virtual environments."""
        excluded = {name for name in names if Path(folder, name, "pyvenv.cfg").is_file()}
        if Path(folder) == project.source:
            excluded |= set(at_top(folder, names))
        return excluded | set(ignored(folder, names))

    try:
        shutil.copytree(
            project.source, copy, symlinks=True, ignore=left_out, copy_function=_copy_as_outdated
        )
    except RecursionError:  # copytree calls itself for each folder
        raise BuildError(
            "the source can't be copied: folders are nested too deeply", at=str(project.source)
        ) from None
    return OwnDirectory(source=copy)


def _copy_as_outdated(source: str, target: str) -> str:
    """Copy a file. Compiled files get a date older than their sources, so they are built again.

    An earlier build may have compiled them for another variant.
    """
    shutil.copy2(source, target)
    if source.endswith(_COMPILED):
        os.utime(target, (_OUTDATED, _OUTDATED))
    return target


def _egg_infos(source: Path) -> dict[str, Path]:
    """The ``*.egg-info`` folders of a source tree by name. For each name, the top one is used."""
    folders: dict[str, Path] = {}
    for pattern in ("*.egg-info", "*/*.egg-info", "*/*/*.egg-info"):
        for path in sorted(source.glob(pattern)):
            if path.is_dir():
                folders.setdefault(path.name, path)
    return folders
