"""What uv is told of where packages come from: its own settings, and pip's in its words.

https://docs.astral.sh/uv/pip/compatibility/ says that uv reads nothing of pip's.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polywheel.environments.pip_settings import (
    absolute_path,
    is_true,
    system_folders,
    user_folder,
)
from polywheel.errors import ConfigError

_SAME: Mapping[str, tuple[str, ...]] = {
    # Under both of their names: a uv that did not know the one would take packages from PyPI.
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "constraint": ("UV_CONSTRAINT",),
    "build-constraint": ("UV_BUILD_CONSTRAINT",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "keyring-provider": ("UV_KEYRING_PROVIDER",),
    "no-index": ("UV_NO_INDEX",),
    "pre": ("UV_PRERELEASE",),
}
"""pip's options, and uv's variables for the same."""
_FORMATS = ("no-binary", "only-binary")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_WITH_FILES = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT", "UV_EXCLUDE")
"""uv's variables that name files, the content of which counts."""
_WITH_PATHS = {*_WITH_FILES, "UV_FIND_LINKS", "UV_CONFIG_FILE", "UV_CACHE_DIR"}


def own_settings() -> Mapping[str, str]:
    """By option of pip: where uv has a setting of its own for the same, a variable or a file.

    Raises ConfigError where a file can't be read.
    """
    found: dict[str, str] = {}
    for path in configuration_files():
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"uv's configuration can't be read: {error}", at=str(path)) from None
        found |= dict.fromkeys(_options_in(document), str(path))
    for option, names in _SAME.items():
        found |= {option: name for name in names if os.environ.get(name)}  # noqa: B035
    return found


def _options_in(document: Mapping[str, Any]) -> Iterator[str]:
    """What a configuration file of uv says, as options of pip; at its top, and in its table ``pip``."""
    for table in (document, document.get("pip")):
        if not isinstance(table, dict):
            continue
        yield from table.keys() & {"index-url", "extra-index-url", "find-links"}
        indexes = table.get("index")
        for one in indexes if isinstance(indexes, list) else ():
            default = isinstance(one, dict) and one.get("default") is True
            yield "index-url" if default else "extra-index-url"


def configuration_files() -> list[Path]:
    """The configuration files of uv that are not a project's, the weakest first."""
    if is_true(os.environ.get("UV_NO_CONFIG", "")):
        return []
    if named := os.environ.get("UV_CONFIG_FILE"):
        return [Path(named)]
    folders = [user_folder("uv")]
    if not is_true(os.environ.get("UV_NO_SYSTEM_CONFIG", "")):
        folders = [Path("/etc/uv"), *system_folders("uv"), *folders]
    return [folder / "uv.toml" for folder in folders]


def not_for_uv(settings: Mapping[str, str]) -> str | None:
    """A setting of pip that uv can't be told; None where there is none."""
    for option, value in settings.items():
        if option not in {*_SAME, *_FORMATS, "proxy"}:
            return option
        odd = option == "find-links" and any(map(_is_odd_link, value.split()))
        if odd or (option == "keyring-provider" and value == "import"):
            return f"{option} = {value}"
    if all(option in settings for option in _FORMATS):
        return " with ".join(_FORMATS)
    return None


def _is_odd_link(link: str) -> bool:
    """Whether it is a page on this disk, is missing, or has a comma in it: pip takes no offence."""
    return "," in link or ("://" not in link and not Path(link).is_dir())


def as_variables(settings: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Pip's settings as variables for uv, but for those that uv has its own setting for."""
    told: dict[str, str] = {}
    for option, value in settings.items():
        if option in own or option in {"no-index", *_FORMATS}:
            continue
        if option == "proxy":
            told |= dict.fromkeys(_PROXIES, value)
        elif option == "pre":
            told |= {"UV_PRERELEASE": "allow"} if is_true(value) else {}
        elif option != "keyring-provider" or value in {"disabled", "subprocess"}:
            text = ",".join(value.split()) if option == "find-links" else value
            told |= dict.fromkeys(_SAME[option], text)
    if "UV_INDEX" in told and not os.environ.get("UV_INDEX_STRATEGY"):
        # pip compares what all indexes have; uv would take what the first has that knows a name.
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return told


def as_options(settings: Mapping[str, str]) -> Iterator[str]:
    """Pip's settings that uv has no variables for, as options of ``uv pip install``."""
    # Whatever uv's own settings say: none of them was made to undo this one.
    if is_true(settings.get("no-index", "")):
        yield "--no-index"
    for option in _FORMATS:
        for value in settings.get(option, "").split(","):
            if value.strip():
                yield from (f"--{option}", value.strip())


def own_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for uv, which is to run in another folder: paths are absolute."""
    found = dict(variables)
    for name in _WITH_PATHS & found.keys():
        separator = "," if name == "UV_FIND_LINKS" else " "
        words = [word for word in found[name].split(separator) if word]
        found[name] = separator.join(map(absolute_path, words))
    return found


def files_of(variables: Mapping[str, str]) -> list[Path]:
    """The files whose content decides which packages uv takes."""
    named = [word for name in _WITH_FILES for word in variables.get(name, "").split()]
    return [*map(Path, named), *configuration_files()]
