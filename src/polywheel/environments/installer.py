"""What fills an environment: uv where it is there, else pip; with the same settings either way.

Packages come from where the user's settings say, whichever of them runs. uv is told pip's settings
in its own words. Where it has no words for one of them, pip runs instead; where that would lose a
setting of uv, nothing runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from polywheel.environments import uv_settings
from polywheel.environments.pip_settings import absolute_path, pip_settings
from polywheel.errors import ConfigError

_SOURCES = ("index-url", "extra-index-url", "find-links", "no-index", "constraint")
"""What uv may be told in its own way, and pip must not be left without."""
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
"""pip's options that do not say which package is taken, or from where. Where it is installed to, and
how much is printed, polywheel says."""
_FOR_PIP_ALONE = frozenset(
    {"cache-dir", "default-timeout", "no-cache-dir", "resume-retries", "retries", "timeout"}
)
"""As these, but pip gets them."""
_PATH = frozenset({"index-url", "cert", "client-cert", "cache-dir"})
_PATHS = frozenset({"extra-index-url", "find-links", "constraint", "build-constraint"})
_LEFT_OUT = re.compile(
    r"VIRTUAL_ENV|CONDA_PREFIX|PYTHONHOME|PYTHONPATH|PIP_.*|UV_(PROJECT.*|WORKING_DIR.*|SYSTEM_PYTHON"
    r"|PYTHON|VENV_.*|BREAK_SYSTEM_PACKAGES)"
)
"""Variables that an installer does not get: what is active here has no say in an environment of its
own, and pip gets its settings as they were read."""
_NO_MATTER = re.compile(
    r"UV_(CACHE_DIR|COMPILE_BYTECODE.*|CONCURRENT_.*|HTTP_.*|INDEX_.*_(USERNAME|PASSWORD)|LINK_MODE"
    r"|LOCK_TIMEOUT|NO_CACHE|NO_PROGRESS|PREVIEW.*|PUBLISH_.*|PYTHON_.*|REQUEST_TIMEOUT|TOOL_.*)"
)
"""uv's variables that do not say which package is taken, or from where; and passwords, which some CI
systems make anew for every run."""
_CREDENTIALS = re.compile(r"://[^/@\s]*@")


@dataclass(frozen=True, kw_only=True, slots=True)
class Installer:
    """An installer, and all that it is told of where packages come from."""

    uv: str | None
    """The path of uv; None where pip installs."""

    environment: Mapping[str, str]
    """The environment variables of its processes."""

    options: tuple[str, ...] = ()
    """Options of ``uv pip install``."""

    identity: Mapping[str, object]
    """All by which a requirement resolves to one package or another, as JSON; without passwords."""

    note: str | None = None
    """Why pip installs though there is a uv."""

    def commands(
        self, place: Path, executable: str, requirements: Sequence[str]
    ) -> list[list[str]]:
        """Commands that make ``place`` a virtual environment of an interpreter, and fill it.

        They are to run in :func:`working_directory`.
        """
        python = python_of(place)
        if self.uv is not None:
            make = [self.uv, "venv", "--quiet", "--no-project", "--python", executable]
            install = [self.uv, "pip", "install", "--quiet", "--python", python, *self.options]
        else:
            make = _venv_command(executable)
            install = [python, "-I", "-m", "pip", "install", "--quiet", "--no-input"]
            install += ["--no-warn-script-location", "--disable-pip-version-check"]
        make.append(str(place))
        return [make, [*install, "--", *requirements]] if requirements else [make]


def find_installer() -> Installer:
    """The installer for the settings of the user and of this process.

    Raises ConfigError where a setting can't be read, or none of them could follow all of them.
    """
    settings = {
        option: _absolute(option, value)
        for option, value in pip_settings().items()
        if option not in _WITHOUT_EFFECT
    }
    sources = {name: value for name, value in settings.items() if name not in _FOR_PIP_ALONE}
    own = uv_settings.own_settings()
    uv, odd = find_uv(), uv_settings.not_for_uv(sources)
    variables = {
        name: value for name, value in os.environ.items() if _LEFT_OUT.fullmatch(name) is None
    }
    if uv is not None and odd is None:
        variables = uv_settings.own_variables(variables)
        return Installer(
            uv=uv,
            environment={**variables, **uv_settings.as_variables(sources, own)},
            options=tuple(uv_settings.as_options(sources)),
            identity=_identity("uv", sources, variables, uv_settings.files_of(variables)),
        )
    why = "there is no uv" if uv is None else f"uv has nothing like pip's setting {odd}"
    _refuse_lost(sources, own, why)
    told = {f"PIP_{option.upper().replace('-', '_')}": value for option, value in settings.items()}
    return Installer(
        uv=None,
        # Those that are left out stand in its configuration files too.
        environment={**variables, **told, "PIP_CONFIG_FILE": os.devnull},
        identity=_identity("pip", sources, {}, ()),
        note=f"pip installs, since {why}" if uv is not None else None,
    )


def find_uv() -> str | None:
    """The uv on PATH, else the one that is installed beside polywheel."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def python_of(place: Path) -> str:
    """The interpreter of the virtual environment in a folder."""
    if sys.platform == "win32":
        return str(place / "Scripts" / "python.exe")
    return str(place / "bin" / "python")


def working_directory(place: Path) -> Path:
    """Where installers run: uv reads a uv.toml or pyproject.toml from there and from all parents."""
    return Path(place.absolute().anchor)


def _absolute(option: str, value: str) -> str:
    if option in _PATHS:
        return " ".join(map(absolute_path, value.split()))
    return absolute_path(value.strip()) if option in _PATH else value


def _refuse_lost(settings: Mapping[str, str], own: Mapping[str, str], why: str) -> None:
    """Raise ConfigError where pip is to install, and uv alone knows where packages come from."""
    for option in _SOURCES:
        if option in own and option not in settings:
            raise ConfigError(
                f"this setting is for uv, and pip would have to install: {why}",
                at=own[option],
                hint=f"set PIP_{option.upper().replace('-', '_')} too",
            )


def _identity(
    by: str, settings: Mapping[str, str], variables: Mapping[str, str], files: Iterable[Path]
) -> Mapping[str, object]:
    constraints = [settings.get(one, "").split() for one in ("constraint", "build-constraint")]
    paths = [*(Path(word) for words in constraints for word in words), *files]
    return {
        "by": by,
        "pip": _without_credentials(settings),
        "uv": _without_credentials(
            {
                name: value
                for name, value in variables.items()
                if name.startswith("UV_") and _NO_MATTER.fullmatch(name) is None
            }
        ),
        "files": {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
            if path.is_file()
        },
    }


def _without_credentials(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: _CREDENTIALS.sub("://", value) for name, value in settings.items()}


def _venv_command(executable: str) -> list[str]:
    if find_spec("virtualenv") is None:
        return [executable, "-I", "-m", "venv"]
    command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update"]
    return [*command, "--no-setuptools", "--python", executable]
