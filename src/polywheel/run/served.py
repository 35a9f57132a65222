"""The running polywheel, for build environments: a folder that their interpreters can import it from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polywheel import __version__
from polywheel.data import data_folder
from polywheel.errors import BuildError, ConfigError
from polywheel.system.cache import cache_directory
from polywheel.system.temporary import temporary_folder

_PACKAGES = ("polywheel", "packaging", "pyproject_hooks")
_DATA = ("backends", "matrix")


def served_polywheel() -> Path:
    """A folder with this polywheel, its data and what it needs; made once for each content.

    Raises BuildError where it can't be written.
    """
    # Read once: what is written is what the digest is of, whoever edits meanwhile.
    files = {name: path.read_bytes() for name, path in sorted(_files())}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    place = cache_directory() / "served" / digest.hexdigest()[:20]
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(place.parent) as folder:
            made = folder / place.name
            for name, content in files.items():
                target = made / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            # Another run may have made it meanwhile: then that one serves as well.
            if not place.is_dir():
                made.rename(place)
    except OSError as error:
        if not place.is_dir():
            raise BuildError(
                f"polywheel can't be copied for build environments: {error.strerror or error}",
                at=str(place.parent),
            ) from None
    return place


def _files() -> Iterator[tuple[str, Path]]:
    for name in _PACKAGES:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise BuildError(f"the package {name} is not there to be handed on")
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            if (
                path.is_file()
                and "__pycache__" not in relative.parts
                and relative.parts[0] != "_data"
            ):
                yield f"{name}/{relative.as_posix()}", path
    for kind in _DATA:
        folder = data_folder(kind)
        for path in folder.rglob("*"):
            if path.is_file():
                yield f"polywheel/_data/{kind}/{path.relative_to(folder).as_posix()}", path


def without_polywheel(requirements: tuple[str, ...], *, at: str) -> list[str]:
    """Build requirements without polywheel, which serves itself.

    Raises ConfigError where one is malformed, or asks for another version than the running one.
    """
    found = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ConfigError(
                f"malformed requirement {text!r}: {str(error).splitlines()[0]}", at=at
            ) from None
        if canonicalize_name(requirement.name) != "polywheel":
            found.append(text)
        elif not requirement.specifier.contains(__version__, prereleases=True):
            raise ConfigError(
                f"the project wants {text}, and this is polywheel {__version__}",
                at=at,
                hint="run the polywheel that the project wants",
            )
    return found
