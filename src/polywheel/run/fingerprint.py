"""What builds depend on outside of the project: variables, and the versions of compilers and tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from polywheel.config.project import Project
from polywheel.model.matrix import BuildSettings
from polywheel.run.worker.requests import WorkerContext, variables_of_settings
from polywheel.system.files import sha256_of
from polywheel.system.processes import capture_output
from polywheel.wheel.repair import REPAIR_TOOLS

_SHAPE = 1
_COMPILERS = {"CC": "cc", "CXX": "c++", "FC": "gfortran", "CUDACXX": "nvcc", "RUSTC": "rustc"}
_TOOLS = ("cmake", "ninja")
"""Programs that backends take from PATH if the environment does not have them."""
_WITHOUT_EFFECT = frozenset(
    {
        *("PATH", "PWD", "OLDPWD", "SHLVL", "_", "HOME", "USER", "LOGNAME", "USERNAME", "HOSTNAME"),
        *("HOST", "SHELL", "COLORTERM", "COLUMNS", "LINES", "LS_COLORS", "DISPLAY", "XAUTHORITY"),
        *("WAYLAND_DISPLAY", "WINDOWID", "MAIL", "PAGER", "LESS", "EDITOR", "VISUAL", "PS1", "PS2"),
        *("TMPDIR", "TEMP", "TMP", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "STY"),
        *("LANG", "LANGUAGE", "INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID", "SOURCE_DATE_EPOCH"),
        *("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONNOUSERSITE", "PYTHONFAULTHANDLER"),
        *("CONDA_PREFIX", "CONDA_SHLVL", "CONDA_DEFAULT_ENV", "CONDA_PROMPT_MODIFIER"),
        *("CMAKE_BUILD_PARALLEL_LEVEL", "CARGO_BUILD_JOBS", "MAX_JOBS", "MAKEFLAGS", "MFLAGS"),
        *("MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR", "NINJA_STATUS", "CI", "COMP_WORDBREAKS"),
    }
)
_PREFIXES_WITHOUT_EFFECT = (
    *("TERM", "LC_", "XDG_", "SSH_", "GPG_", "DBUS_", "TMUX", "ZELLIJ", "KITTY_", "ITERM_"),
    *("VSCODE_", "VTE_", "GNOME_", "KDE_", "WT_", "KONSOLE_", "ALACRITTY_", "WEZTERM_", "SYSTEMD_"),
    *("GITHUB_", "RUNNER_", "ACTIONS_", "CI_", "GITLAB_", "PYTEST_", "NOX_", "TOX_", "PYENV_"),
    *("UV_", "PIP_", "POLYWHEEL_", "CCACHE_", "SCCACHE_", "BASH_FUNC_", "HIST"),
)
"""Variables of terminals, sessions, and CI systems, and prefixes of variables.

Variables for package indexes are among them because the key has the installed packages. A setup.py
may read any other variable.
"""


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of JSON values."""
    text = json.dumps({"shape": _SHAPE, **values}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def effective_variables(context: WorkerContext, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the variables of builds' settings. PATH matters by the tools on it."""
    variables = variables_of_settings(context, settings)
    if "PATH" in variables:
        variables["PATH"] = settings["PATH"]
    return variables


def build_variables() -> dict[str, str]:
    """Return the environment variables that may have an effect on a build."""
    return {
        name: text
        for name, text in os.environ.items()
        if name not in _WITHOUT_EFFECT and not name.startswith(_PREFIXES_WITHOUT_EFFECT)
    }


class ToolVersions:
    """The versions of the tools that builds may use. The version of a tool is read once in a run."""

    def __init__(
        self, project: Project, context: WorkerContext, installed: Sequence[str] = ()
    ) -> None:
        """``installed`` are the versions of the tools of this machine (:func:`installed_tools`)."""
        self._context = context
        self._installed = tuple(installed)
        self._of_rules = {
            command
            for rule in project.settings.setup
            for fields in rule.all_fields
            for name in _COMPILERS
            if isinstance(command := fields.env.get(name), str)
        }
        self._version = cache(_version)
        self._known: dict[object, tuple[str, ...]] = {}

    def of(self, settings: BuildSettings) -> tuple[str, ...]:
        """Return the versions of the tools of a build.

        These are the tools of this machine, the compilers of its variables and of setup rules, and the tools
        of its repair command, on its PATH.
        """
        variables = variables_of_settings(self._context, settings.environment)
        path = variables.get("PATH")
        tools = {} if path is None else _tools_of_machine()
        tools |= {name: variables[name] for name in _COMPILERS if name in variables}
        key = (path, *tools.items(), settings.repair_command)
        if key not in self._known:
            commands = dict.fromkeys((*tools.values(), *sorted(self._of_rules)))
            versions = [f"{command}: {self._version(command, path)}" for command in commands]
            for word in (settings.repair_command or "").split():
                if word in REPAIR_TOOLS:
                    versions.append(f"{word}: {self._version(word, path)}")
                elif Path(word).is_file():
                    versions.append(f"{word}: {sha256_of(Path(word))}")
            self._known[key] = (*self._installed, *versions)
        return self._known[key]


def _tools_of_machine() -> dict[str, str]:
    """The commands of the compilers and the build tools of this machine."""
    commands = {name: os.environ.get(name) or default for name, default in _COMPILERS.items()}
    return {**commands, **{name: name for name in _TOOLS}}


def installed_tools() -> tuple[str, ...]:
    """Return the versions of the compilers and the build tools of this machine."""
    commands = _tools_of_machine()
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        versions = pool.map(_version, commands.values())
        return tuple(
            f"{name} {version}" for name, version in zip(commands, versions, strict=True) if version
        )


def _version(command: str, search_path: str | None = None) -> str | None:
    """Return the path of a command and the output of its ``--version``; None without the command.

    A compiler may have a launcher or options: ``ccache gcc -m32``. ``search_path`` replaces PATH.
    """
    words = command.split()
    path = shutil.which(words[0], path=search_path) if words else None
    if path is None:
        return None
    environment = None if search_path is None else {**os.environ, "PATH": search_path}
    command_line = [path, *words[1:], "--version"]
    output = capture_output(command_line, environment=environment, seconds=10) or b""
    return f"{path}: {output.decode('utf-8', 'replace').partition('Copyright')[0].strip()}"
