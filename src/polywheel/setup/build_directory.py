"""A build directory of the variant's own, told in the words of the real backend."""

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

from polywheel.config.project import Project
from polywheel.config.selection import ConfigSettings
from polywheel.errors import BuildError, ConfigError
from polywheel.model.setup import FLAG_FIELDS, BackendProfile, BuildDirectory
from polywheel.model.variant import Variant
from polywheel.system.files import portable_folder_name

_OURS = "polywheel"
_VARIABLES = (
    *(name.upper() for name in FLAG_FIELDS),
    *("CC", "CXX", "FC", "CUDACXX", "CUDAHOSTCXX", "HIPCXX", "CPPFLAGS", "CUDAFLAGS", "HIPFLAGS"),
    *("CUDAARCHS", "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "TORCH_CUDA_ARCH_LIST"),
    *("PYTORCH_ROCM_ARCH", "CMAKE_ARGS", "CMAKE_GENERATOR", "CMAKE_PREFIX_PATH"),
    *("CMAKE_PROGRAM_PATH", "CMAKE_TOOLCHAIN_FILE", "PKG_CONFIG_PATH", "SKBUILD_CMAKE_ARGS"),
    *("SKBUILD_CMAKE_BUILD_TYPE", "SKBUILD_CMAKE_DEFINE"),
)
"""What compilers and build systems keep from their first run in a directory."""

_COMPILED = (".o", ".obj", ".so", ".pyd", ".dylib", ".dll", ".a", ".lib")
_LONG_AGO = 10 * 365 * 24 * 3600 + 30 * 24 * 3600
"""January 1980, in seconds since 1970: a zip file has no older date."""

_PYTHON = (sys.implementation.cache_tag, sysconfig.get_config_var("EXT_SUFFIX"))


@dataclass(frozen=True, slots=True)
class OwnDirectory:
    """What a real backend is run with: variables and config settings to set."""

    environment: Mapping[str, str] = field(default_factory=dict)
    config_settings: Mapping[str, str] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    """Keys of the user's config settings that ours stand for."""

    source: Path | None = None
    """The copy of the source tree to build in; None where the tree itself will do."""


def own_build_directory(
    profile: BackendProfile | None,
    project: Project,
    variant: Variant,
    settings: ConfigSettings,
    *,
    environment: Mapping[str, str],
    scratch: Path,
    editable: bool,
    told: Iterable[str] = (),
    lasting: Path | None = None,
) -> OwnDirectory:
    """Keep this variant's objects from those of every other build of the same tree.

    A directory that the user keeps between builds gets one folder a variant inside it, named by
    the label and by a digest of what the build is run with, so that a later build with the same
    input finds its objects again and one with other input never does. A backend that keeps
    objects without being asked gets ``scratch``, which is gone after the build.

    ``environment`` is all that the build is run with; ``told`` names the variables in it that the
    variant's setup sets. ``lasting`` is as for :func:`lasting_build_directory`.
    """
    directory = profile.build_directory if profile else None
    if directory is not None and directory.since is not None:
        _check_version(directory.since)
    if directory is None or directory.via in {"distutils-config", "source-copy"}:
        # Editable builds of setuptools have a temporary directory already (editable_wheel.py), and
        # others are about the tree itself.
        return OwnDirectory() if editable else _in_scratch(profile, project, environment, scratch)
    kept = _kept(directory, project, settings, environment, editable)
    if kept is None:  # the backend takes a new temporary directory each time
        return _lasting(directory, lasting) if lasting is not None else OwnDirectory()
    digest = _digest(variant, settings, environment, told)
    folder = portable_folder_name(f"{variant.label}-{digest}")
    path = os.path.join(project.source, kept, _OURS, folder)
    how, _, name = directory.via.partition(":")
    replaced = frozenset(
        place.partition(":")[2]
        for place in directory.kept_by
        if place.startswith("config-setting:")
    )
    if how == "env":
        return OwnDirectory(environment={name: path}, replaced=replaced)
    return OwnDirectory(config_settings={name: path}, replaced=replaced)


def _in_scratch(
    profile: BackendProfile | None,
    project: Project,
    environment: Mapping[str, str],
    scratch: Path,
) -> OwnDirectory:
    """A directory that is gone after the build, for a backend that keeps objects without being asked."""
    directory = profile.build_directory if profile else None
    if directory is not None and directory.via == "source-copy":
        return _source_copy(directory, project, scratch)
    if directory is not None:
        return _distutils_config(environment, scratch, egg_info_of=project.source)
    if profile is not None and profile.own_optimization:
        return OwnDirectory()
    # setuptools may be what compiles: an in-tree backend over it, for example.
    return _distutils_config(environment, scratch)


def lasting_build_directory(
    profile: BackendProfile | None,
    project: Project,
    settings: ConfigSettings,
    *,
    environment: Mapping[str, str],
    lasting: Path,
) -> OwnDirectory:
    """Where a backend would take a temporary directory: that one is ``lasting``, for any build.

    The backend removes a temporary one when it fails, and with it the logs that tell why.
    """
    directory = profile.build_directory if profile else None
    if directory is None or _kept(directory, project, settings, environment, editable=False):
        return OwnDirectory()
    return _lasting(directory, lasting)


def _lasting(directory: BuildDirectory, path: Path) -> OwnDirectory:
    how = directory.via.partition(":")[0]
    # The last name of a kind is the oldest one, which every version of the backend knows.
    names = [
        name for kind, _, name in (one.partition(":") for one in directory.kept_by) if kind == how
    ]
    if how == "env" and names:
        return OwnDirectory(environment={names[-1]: str(path)})
    if how == "config-setting" and names:
        return OwnDirectory(config_settings={names[-1]: str(path)})
    return OwnDirectory()


def _kept(
    directory: BuildDirectory,
    project: Project,
    settings: ConfigSettings,
    environment: Mapping[str, str],
    editable: bool,
) -> str | None:
    """The directory that would be kept between builds, or None."""
    for place in directory.kept_by:
        where, _, name = place.partition(":")
        found: object = None
        if where == "env":
            found = environment.get(name)
        elif where == "config-setting":
            found = settings.get(name)
        else:
            found = look_up(project.document, name.split("."))
        if isinstance(found, str) and found:
            return found
    return directory.editable_default if editable else directory.default


def declares_any(project: Project, places: Iterable[str]) -> bool:
    """Whether pyproject.toml has one of these dotted paths, or the tree a file of that name."""
    return any(
        look_up(project.document, place.split(".")) is not None
        or (project.source / place).is_file()
        for place in places
    )


def look_up(document: object, keys: list[str]) -> object:
    """The value under a dotted path; of an array of tables, the first that has it."""
    if isinstance(document, list):
        return next((hit for one in document if (hit := look_up(one, keys)) is not None), None)
    if not keys:
        return document
    return look_up(document.get(keys[0]), keys[1:]) if isinstance(document, dict) else None


def _digest(
    variant: Variant,
    settings: ConfigSettings,
    environment: Mapping[str, str],
    told: Iterable[str],
    python: Sequence[str | None] = _PYTHON,
) -> str:
    """8 hex digits over everything that objects and a build system's memory depend on."""
    parts = {
        "properties": [str(prop) for prop in variant.properties],
        "settings": {key: settings[key] for key in sorted(settings)},
        "environment": {name: environment.get(name) for name in sorted({*_VARIABLES, *told})},
        "python": python,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _check_version(requirement: str) -> None:
    from importlib.metadata import PackageNotFoundError, version

    wanted = Requirement(requirement)
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return  # that it is missing is said better where the backend is run
    if not wanted.specifier.contains(found, prereleases=True):
        raise ConfigError(
            f"{wanted.name} {found} can't be given a build directory for each variant, "
            "so variants would share object files",
            at="pyproject.toml: build-system.requires",
            hint=f"require {requirement}",
        )


def _distutils_config(
    environment: Mapping[str, str], scratch: Path, egg_info_of: Path | None = None
) -> OwnDirectory:
    """A distutils configuration file, read after all others, that moves what would stay.

    ``build/`` holds objects that are not rebuilt when flags change, and neither is an extension that
    an earlier build has put beside the sources. ``*.egg-info`` is written anew by each build and read
    by it, so two builds at one time would read each other's; what the tree ``egg_info_of`` has of it
    is copied first, since setuptools takes the manifest of an unpacked sdist from there.
    """
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep the case of keys
    theirs = environment.get("DIST_EXTRA_CONFIG")
    if theirs:
        try:
            parser.read(theirs, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{theirs} can't be read: {str(error).splitlines()[0]}",
                at="environment variable DIST_EXTRA_CONFIG",
            ) from None
    build = scratch / "build"
    values: list[tuple[str, str, object]] = [
        # Where setup.cfg names one of these by itself, it would not follow build_base.
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
        for found in _egg_infos(egg_info_of):
            shutil.copytree(found, egg_base / found.name, ignore_dangling_symlinks=True)
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
    """A copy of the source tree, where a build script would keep objects in a folder of its own."""
    if directory.only_where and not declares_any(project, directory.only_where):
        return OwnDirectory()
    copy = scratch / "source"
    # Neither objects of other builds, nor what polywheel itself is writing meanwhile, nor virtual
    # environments.
    ignored = shutil.ignore_patterns(".polywheel-*", "__pycache__")
    at_top = shutil.ignore_patterns(*directory.leave)

    def left_out(folder: str, names: list[str]) -> set[str]:
        found = set(ignored(folder, names))
        if Path(folder) == project.source:
            found |= set(at_top(folder, names))
        return found | {name for name in names if Path(folder, name, "pyvenv.cfg").is_file()}

    try:
        shutil.copytree(
            project.source, copy, symlinks=True, ignore=left_out, copy_function=_copy_as_outdated
        )
    except RecursionError:  # it calls itself for each folder
        raise BuildError(
            "the source can't be copied: folders are nested too deeply",
            at=str(project.source),
        ) from None
    return OwnDirectory(source=copy)


def _copy_as_outdated(source: str, target: str) -> str:
    """Copy a file; what an earlier build may have compiled gets a date older than its sources.

    Whatever made it for another variant then makes it again.
    """
    shutil.copy2(source, target)
    if source.endswith(_COMPILED):
        os.utime(target, (_LONG_AGO, _LONG_AGO))
    return target


def _egg_infos(source: Path) -> list[Path]:
    """The ``*.egg-info`` folders of a source tree, the shallowest of each name."""
    found: dict[str, Path] = {}
    for pattern in ("*.egg-info", "*/*.egg-info", "*/*/*.egg-info"):
        for path in sorted(source.glob(pattern)):
            if path.is_dir():
                found.setdefault(path.name, path)
    return list(found.values())
