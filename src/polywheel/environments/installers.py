"""Install packages into an environment: with uv if it is available, else with pip.

Packages come from the sources that the user's settings name, whichever installer runs. pip's settings
are read from its configuration files and variables (https://pip.pypa.io/en/stable/topics/configuration/):
every run needs them, and starting pip takes half a second. uv reads no settings of pip
(https://docs.astral.sh/uv/pip/compatibility/), so they are translated into uv's own. If uv has no
equivalent for a setting, pip runs instead. If that would lose a setting of uv, it is an error.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from polywheel.errors import ConfigError

_SECTIONS = ("global", "install", ":env:")
"""The sections that ``pip install`` reads; a later one overrides an earlier one."""
_FORMATS = ("no-binary", "only-binary")
"""Options whose values from all sections are combined."""


def pip_settings(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the effective settings of pip, by the long name of the option: ``extra-index-url``.

    ``environ`` are the environment variables. Values are not changed. An option with several values has them separated by spaces or line breaks.
    Raises ConfigError if a file can't be read.
    """
    by_section: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _pip_files(environ):
        parser = _Parser()
        try:
            # A file that can't be opened is skipped.
            parser.read(path, encoding="utf-8" if sys.flags.utf8_mode else "locale")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"pip's configuration can't be read: {str(error).splitlines()[0]}",
                at=str(path),
                hint="pip config debug lists the files that pip reads",
            ) from None
        for section in filter(parser.has_section, _SECTIONS):
            by_section[section].update(parser.items(section))
    for name, value in environ.items():
        if name.startswith("PIP_"):
            by_section[":env:"][_option(name.removeprefix("PIP_"))] = value
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        for option, value in by_section[section].items():
            # An empty value does not override an earlier section.
            if value and option != "config-file":
                before = settings.get(option) if option in _FORMATS else None
                settings[option] = f"{before},{value}" if before else value
    return settings


class _Parser(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return _option(optionstr)


def _option(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The configuration files of pip; later files override earlier ones."""
    windows, mac = sys.platform == "win32", sys.platform == "darwin"
    name = "pip.ini" if windows else "pip.conf"
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    yield from (folder / name for folder in _system_folders("pip"))
    if not (windows or mac):
        yield Path("/etc", name)
    if not named or not Path(named).exists():
        yield Path.home() / ("pip" if windows else ".pip") / name
        user = _user_folder("pip")
        if mac:
            support = Path.home() / "Library" / "Application Support" / "pip"
            user = support if support.is_dir() else Path.home() / ".config" / "pip"
        yield user / name
    yield Path(sys.prefix, name)
    if named:
        yield Path(named)


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    """The configuration files of uv outside of projects; later files override earlier ones."""
    if _is_true(environ.get("UV_NO_CONFIG", "")):
        return []
    if named := environ.get("UV_CONFIG_FILE"):
        return [Path(named)]
    folders = [_user_folder("uv")]
    if not _is_true(environ.get("UV_NO_SYSTEM_CONFIG", "")):
        folders = [Path("/etc/uv"), *_system_folders("uv"), *folders]
    return [folder / "uv.toml" for folder in folders]


def _user_folder(name: str) -> Path:
    """The configuration folder of a program for this user. On macOS it is the same as on Linux."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming", name)
    return Path(os.environ.get("XDG_CONFIG_HOME", "").strip() or Path.home() / ".config", name)


def _system_folders(name: str) -> Iterator[Path]:
    """The configuration folders of pip and uv for all users; later ones override earlier ones."""
    if sys.platform == "win32":
        yield Path(os.environ.get("PROGRAMDATA") or "C:\\ProgramData", name)
    elif sys.platform == "darwin":
        homebrew, separator, rest = sys.base_prefix.partition("/opt/python")
        if separator and "/Frameworks/Python.framework/" in rest:
            yield Path(homebrew, "share", name)
        yield Path("/Library/Application Support", name)
    else:
        folders = os.environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)
        for folder in [folder for folder in folders if folder.strip()] or ["/etc/xdg"]:
            yield Path(folder, name)


def _is_true(value: str) -> bool:
    """Whether a switch is on, as pip and uv read it."""
    return value.strip().lower() in {"1", "true", "yes", "on", "y", "t"}


def _absolute_path(text: str) -> str:
    """Make a path absolute. A URL is returned unchanged."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text):  # two letters at least: C: is a drive
        return text
    return str(Path(text).expanduser().absolute())


_SAME: Mapping[str, tuple[str, ...]] = {
    # Both names: a uv that does not support one of them would use PyPI.
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
"""Options of pip, and the equivalent variables of uv."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_WITH_FILES = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT", "UV_EXCLUDE")
"""Variables of uv with the names of files whose content matters."""
_FILES = frozenset({"constraint", "build-constraint", *_WITH_FILES})
"""The same, and options of pip."""
_WITH_PATHS = {*_WITH_FILES, "UV_FIND_LINKS", "UV_CONFIG_FILE", "UV_CACHE_DIR"}


def _uv_settings(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return, by option of pip, the variable or file with an equivalent setting of uv.

    Raises ConfigError if a file can't be read.
    """
    origins: dict[str, str] = {}
    for path in _uv_files(environ):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"uv's configuration can't be read: {error}", at=str(path)) from None
        for table in (document, document.get("pip")):
            if isinstance(table, dict):
                options = table.keys() & {"index-url", "extra-index-url", "find-links"}
                indexes = table.get("index")
                for index in indexes if isinstance(indexes, list) else ():
                    default = isinstance(index, dict) and index.get("default") is True
                    options.add("index-url" if default else "extra-index-url")
                origins |= dict.fromkeys(options, str(path))
    for option, names in _SAME.items():
        origins |= {option: name for name in names if environ.get(name)}  # noqa: B035
    return origins


def _unsupported_by_uv(settings: Mapping[str, str]) -> str | None:
    """Return a setting of pip that has no equivalent in uv; None if there is none."""
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
    """Whether it is a page on this disk, is missing, or has a comma in it: pip accepts that, uv does not."""
    return "," in link or ("://" not in link and not Path(link).is_dir())


def _as_variables(
    settings: Mapping[str, str], origins: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Settings of pip as variables of uv, without the settings that uv has itself."""
    variables: dict[str, str] = {}
    for option, value in settings.items():
        if option in origins or option in {"no-index", *_FORMATS}:
            continue
        if option == "proxy":
            variables |= dict.fromkeys(_PROXIES, value)
        elif option == "pre":
            variables |= {"UV_PRERELEASE": "allow"} if _is_true(value) else {}
        elif option != "keyring-provider" or value in {"disabled", "subprocess"}:
            text = ",".join(value.split()) if option == "find-links" else value
            variables |= dict.fromkeys(_SAME[option], text)
    if "UV_INDEX" in variables and not environ.get("UV_INDEX_STRATEGY"):
        # pip compares the versions of all indexes; uv would use the first index that has the package.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return variables


def _as_options(settings: Mapping[str, str]) -> Iterator[str]:
    """Settings of pip without a variable in uv, as options of ``uv pip install``."""
    # Takes precedence over the settings of uv.
    if _is_true(settings.get("no-index", "")):
        yield "--no-index"
    for option in _FORMATS:
        for value in settings.get(option, "").split(","):
            if value.strip():
                yield from (f"--{option}", value.strip())


def _with_absolute_paths(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for uv with absolute paths, because it runs in another folder."""
    absolute = dict(variables)
    for name in _WITH_PATHS & absolute.keys():
        separator = "," if name == "UV_FIND_LINKS" else " "
        words = [word for word in absolute[name].split(separator) if word]
        absolute[name] = separator.join(map(_absolute_path, words))
    return absolute


_SOURCES = ("index-url", "extra-index-url", "find-links", "no-index", "constraint")
"""Package sources. If uv has settings for them, pip must not run without them."""
_WITHOUT_EFFECT = frozenset(
    {
        *("break-system-packages", "compile", "debug", "disable-pip-version-check", "dry-run"),
        *("exists-action", "force-reinstall", "ignore-installed", "log", "no-clean", "no-color"),
        *("no-compile", "no-input", "no-python-version-warning", "no-warn-conflicts", "prefix"),
        *("no-warn-script-location", "progress-bar", "python", "quiet", "report", "root", "src"),
        *("require-virtualenv", "root-user-action", "target", "upgrade", "upgrade-strategy"),
        *("user", "verbose"),
    }
)
"""Options of pip that do not affect which package is chosen, or from where. polywheel sets the
target and the amount of output itself."""
_FOR_PIP_ALONE = frozenset(
    {"cache-dir", "default-timeout", "no-cache-dir", "resume-retries", "retries", "timeout"}
)
"""The same, but pip gets them."""
_PATH = frozenset({"index-url", "cert", "client-cert", "cache-dir"})
_PATHS = frozenset({"extra-index-url", "find-links", "constraint", "build-constraint"})
_LEFT_OUT = re.compile(
    r"VIRTUAL_ENV|CONDA_PREFIX|PYTHONHOME|PYTHONPATH|PIP_.*|UV_(PROJECT.*|WORKING_DIR.*|SYSTEM_PYTHON"
    r"|PYTHON|VENV_.*|BREAK_SYSTEM_PACKAGES)"
)
"""Variables that an installer does not get. The active environment must not affect the new one, and
pip gets its settings as they were read."""
_NO_MATTER = re.compile(
    r"UV_(CACHE_DIR|COMPILE_BYTECODE.*|CONCURRENT_.*|HTTP_.*|INDEX_.*_(USERNAME|PASSWORD)|LINK_MODE"
    r"|LOCK_TIMEOUT|NO_CACHE|NO_PROGRESS|PREVIEW.*|PUBLISH_.*|PYTHON_.*|REQUEST_TIMEOUT|TOOL_.*)"
)
"""Variables of uv that do not affect which package is chosen, or from where; and passwords, which some
CI systems create for every run."""
_CREDENTIALS = re.compile(r"://[^/@\s]*@")


@dataclass(frozen=True, kw_only=True, slots=True)
class Installer:
    """An installer, and its settings for package sources."""

    uv: str | None
    """The path of uv; None for pip."""

    environment: Mapping[str, str]
    """The environment variables of its processes."""

    options: tuple[str, ...] = ()
    """Options of ``uv pip install``."""

    identity: Mapping[str, object]
    """Everything that affects how a requirement is resolved, as JSON, without passwords."""

    note: str | None = None
    """Why pip is used although uv is available."""

    def create_command(self, folder: Path, executable: str) -> list[str]:
        """Return the command that creates a virtual environment; for :func:`working_directory`."""
        if self.uv is not None:
            command = [self.uv, "venv", "--quiet", "--no-project", "--python", executable]
        else:
            command = _venv_command(executable)
        return [*command, str(folder)]

    def install_command(self, folder: Path, requirements: Sequence[str]) -> list[str]:
        """Return the command that installs into an environment; for :func:`working_directory`."""
        python = python_of(folder)
        if self.uv is not None:
            command = [self.uv, "pip", "install", "--quiet", "--python", python, *self.options]
        else:
            command = [python, "-I", "-m", "pip", "install", "--quiet", "--no-input"]
            command += ["--no-warn-script-location", "--disable-pip-version-check"]
        return [*command, "--", *requirements]


def find_installer(environ: Mapping[str, str]) -> Installer:
    """Return the installer for the settings of the user and for environment variables.

    Raises ConfigError if a setting can't be read, or if no installer supports all settings.
    """
    settings = {
        option: _absolute(option, value)
        for option, value in pip_settings(environ).items()
        if option not in _WITHOUT_EFFECT
    }
    sources = {name: value for name, value in settings.items() if name not in _FOR_PIP_ALONE}
    origins = _uv_settings(environ)
    uv, unsupported = find_uv(), _unsupported_by_uv(sources)
    variables = {
        name: value for name, value in environ.items() if _LEFT_OUT.fullmatch(name) is None
    }
    if uv is not None and unsupported is None:
        variables = _with_absolute_paths(variables)
        return Installer(
            uv=uv,
            environment={**variables, **_as_variables(sources, origins, environ)},
            options=tuple(_as_options(sources)),
            identity=_identity(sources, variables),
        )
    why = (
        "uv was not found" if uv is None else f"uv has no equivalent of pip's setting {unsupported}"
    )
    for option in _SOURCES:
        if option in origins and option not in sources:
            raise ConfigError(
                f"this setting is for uv, but pip must be used: {why}",
                at=origins[option],
                hint=f"also set {_pip_variable(option)}",
            )
    pip_variables = {_pip_variable(option): value for option, value in settings.items()}
    return Installer(
        uv=None,
        # The configuration files also have the settings that are left out here.
        environment={**variables, **pip_variables, "PIP_CONFIG_FILE": os.devnull},
        identity=_identity(sources, None),
        note=f"using pip, because {why}" if uv is not None else None,
    )


def _pip_variable(option: str) -> str:
    return f"PIP_{option.upper().replace('-', '_')}"


def find_uv() -> str | None:
    """Return the path of uv: on PATH, else beside this interpreter; None if there is none."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def python_of(folder: Path) -> str:
    """The interpreter of the virtual environment in a folder."""
    if sys.platform == "win32":
        return str(folder / "Scripts" / "python.exe")
    return str(folder / "bin" / "python")


def working_directory(folder: Path) -> Path:
    """The working directory of installers: uv reads uv.toml and pyproject.toml from it and its parents."""
    return Path(folder.absolute().anchor)


def _absolute(option: str, value: str) -> str:
    if option in _PATHS:
        return " ".join(map(_absolute_path, value.split()))
    return _absolute_path(value.strip()) if option in _PATH else value


def _identity(
    settings: Mapping[str, str], uv_variables: Mapping[str, str] | None
) -> Mapping[str, object]:
    """Return what affects the choice of packages. ``uv_variables`` is None for pip.

    The content of a constraint file matters, and its path does not.
    """
    effective = {
        name: value
        for name, value in (uv_variables or {}).items()
        if name.startswith("UV_") and _NO_MATTER.fullmatch(name) is None
    }
    return {
        "by": "pip" if uv_variables is None else "uv",
        "pip": _without_credentials(_with_digests(settings)),
        "uv": _without_credentials(_with_digests(effective)),
        "files": {
            str(path): _digest(path)
            for path in _uv_files(uv_variables or {})
            if uv_variables is not None and path.is_file()
        },
    }


def _with_digests(values: Mapping[str, str]) -> dict[str, str]:
    """Settings or variables with the digests of the files whose content matters, not their paths."""
    return {
        name: " ".join(
            _digest(path) if (path := Path(word)).is_file() else word for word in value.split()
        )
        if name in _FILES
        else value
        for name, value in values.items()
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_credentials(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: _CREDENTIALS.sub("://", value) for name, value in settings.items()}


def _venv_command(executable: str) -> list[str]:
    if find_spec("virtualenv") is None:
        return [executable, "-I", "-m", "venv"]
    command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update"]
    return [*command, "--no-setuptools", "--python", executable]
