"""Provide the running polywheel to builds, as a folder for ``sys.path`` or as a wheel."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from polywheel import __version__
from polywheel.config.reader import parse_requirement
from polywheel.data import data_folder
from polywheel.errors import BuildError, ConfigError
from polywheel.system.cache import cache_directory
from polywheel.system.cache_entries import record_use
from polywheel.system.files import replace
from polywheel.system.temporary import (
    mark_as_used,
    remove_tree,
    remove_unused,
    temporary_folder,
)
from polywheel.wheel.record import digest

_PACKAGES = ("polywheel", "packaging", "pyproject_hooks")
_DATA = ("backends", "matrix")


def own_package_folder() -> Path:
    """Return a folder with this polywheel, its data, and its dependencies; one for each content.

    The files of an earlier run are compared and replaced if they are wrong, because they are
    executed. Raises BuildError if the folder can't be written.
    """
    # Read once, so that the written files match the digest even if somebody edits them.
    files = {name: path.read_bytes() for name, path in sorted(_files())}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    folder = cache_directory() / "served" / digest.hexdigest()[:20]
    try:
        folder.parent.mkdir(exist_ok=True)
        mark_as_used(folder)
        if not record_use(folder):
            remove_unused(folder.parent)
            folder.mkdir(exist_ok=True)
        _write(folder, files)
    except OSError as error:
        raise BuildError(
            f"polywheel can't be copied for build environments: {error.strerror or error}",
            at=str(folder.parent),
        ) from None
    return folder


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write missing files, replace files with wrong content, and remove all others. Raises OSError.

    Other runs may use the folder, or write it at the same time. So files are replaced and never
    written to. Compiled files are removed too: they can't be checked, and the first build compiles
    them again.
    """
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for path in list(_other_paths(folder, "", files.keys(), folders)):
        remove_tree(path)
    wrong = [
        name
        for name, content in files.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]
    if not wrong:
        return
    with temporary_folder(folder.parent) as scratch:
        for number, name in enumerate(wrong):
            part, target = scratch / str(number), folder / name
            part.write_bytes(files[name])
            target.parent.mkdir(parents=True, exist_ok=True)
            replace(part, target)


def _other_paths(
    folder: Path, at: str, files: Collection[str], folders: Collection[str]
) -> Iterator[Path]:
    """Yield the paths in a folder that are not among these files and folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{at}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if name in folders:
                    yield from _other_paths(Path(entry.path), f"{name}/", files, folders)
                else:
                    yield Path(entry.path)
            elif name not in files or not entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _files() -> Iterator[tuple[str, Path]]:
    """Yield the files of the folder: the name in the folder, and the path of the original."""
    for name in _PACKAGES:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise BuildError(f"the package {name} was not found, and build environments need it")
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            hidden = "__pycache__" in relative.parts or relative.parts[0] == "_data"
            if path.is_file() and not hidden:
                yield f"{name}/{relative.as_posix()}", path
    for kind in _DATA:
        folder = data_folder(kind)
        for path in folder.rglob("*"):
            if path.is_file():
                yield f"polywheel/_data/{kind}/{path.relative_to(folder).as_posix()}", path


def requirements_without_polywheel(requirements: tuple[str, ...], *, at: str) -> list[str]:
    """Return build requirements without polywheel, which is not installed from an index.

    Raises ConfigError if a requirement is malformed, or requires another version of polywheel.
    """
    others = []
    for text in requirements:
        try:
            requirement = parse_requirement(text)
        except InvalidRequirement as error:
            raise ConfigError(
                f"malformed requirement {text!r}: {str(error).splitlines()[0]}", at=at
            ) from None
        if canonicalize_name(requirement.name) != "polywheel":
            others.append(text)
        elif not requirement.specifier.contains(__version__, prereleases=True):
            raise ConfigError(
                f"the project requires {text}, and this is polywheel {__version__}",
                at=at,
                hint="install the version of polywheel that the project requires",
            )
    return others


_INFO = f"polywheel-{__version__}.dist-info"
_WHEEL = "Wheel-Version: 1.0\nGenerator: polywheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_TIME = (1980, 1, 1, 0, 0, 0)
NAME = f"polywheel-{__version__}-py3-none-any.whl"


def write_own_wheel(own_package: Path, folder: Path) -> None:
    """Write a wheel of the polywheel in :func:`own_package_folder`; always the same bytes."""
    package = own_package / "polywheel"
    files = {
        f"polywheel/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{_INFO}/METADATA"] = (distribution("polywheel").read_text("METADATA") or "").encode()
    files[f"{_INFO}/WHEEL"] = _WHEEL.encode()
    files[f"{_INFO}/entry_points.txt"] = b"[console_scripts]\npolywheel = polywheel.cli:main\n"
    lines = [
        f"{name},{digest(content)},{len(content)}\n" for name, content in sorted(files.items())
    ]
    files[f"{_INFO}/RECORD"] = "".join([*lines, f"{_INFO}/RECORD,,\n"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / NAME, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
