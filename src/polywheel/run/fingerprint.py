"""What a wheel depends on, as one digest: equal digests, equal wheels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from polywheel.config.project import Project
from polywheel.environments.environments import Environment, Interpreter
from polywheel.model.plan import Job
from polywheel.system.files import sha256_of

_SHAPE = 1
_COMPILERS = {"CC": "cc", "CXX": "c++", "FC": "gfortran", "CUDACXX": "nvcc", "RUSTC": "rustc"}
_REPAIRERS = ("auditwheel", "delocate-wheel", "delvewheel")
_TOOLS = ("cmake", "ninja")
"""What backends take from PATH where an environment has none of its own."""
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
"""Variables of terminals, sessions and CI systems, and how others begin; what says where packages
come from is known by what was installed. Any other may be read by a setup.py, which sees them all."""


def digest_of(what: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON document, hexadecimal."""
    text = json.dumps({"shape": _SHAPE, **what}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def job_key(
    job: Job,
    *,
    source: str,
    polywheel: str,
    interpreter: Interpreter,
    environment: Environment,
    settings: Mapping[str, str | Sequence[str]],
    epoch: int,
    chosen: Sequence[str] = (),
    repair: str | None = None,
) -> str:
    """The key of a job: source, requirements as resolved, setup, interpreter, and tools.

    The setup follows from the source, the variant and the polywheel that reads them.
    """
    return digest_of(
        {
            "label": job.label,
            "properties": [str(one) for one in job.properties],
            "source": source,
            "polywheel": polywheel,
            "interpreter": interpreter.identity,
            "resolved": environment.resolved,
            "content": environment.content,
            "settings": dict(settings),
            "epoch": epoch,
            "repair": repair,
            "variables": variables(),
            "tools": [*tools(), *chosen],
        }
    )


def variables() -> dict[str, str]:
    """The variables of this process that a build may go by."""
    return {
        name: text
        for name, text in os.environ.items()
        if name not in _WITHOUT_EFFECT and not name.startswith(_PREFIXES_WITHOUT_EFFECT)
    }


def chosen_tools(project: Project, repair: str | None) -> tuple[str, ...]:
    """What the compilers of a project's setup rules say they are; what repairs its wheels."""
    rules = [fields for rule in project.settings.setup for fields in rule.all_fields]
    named = {
        text
        for fields in rules
        for name in _COMPILERS
        if isinstance(text := fields.env.get(name), str)
    }
    found = [f"{command}: {_version(command)}" for command in sorted(named)]
    for word in (repair or "").split():
        if word in _REPAIRERS:
            found.append(f"{word}: {_version(word)}")
        elif Path(word).is_file():
            found.append(f"{word}: {sha256_of(Path(word))}")
    return tuple(found)


@cache
def tools() -> tuple[str, ...]:
    """What the compilers here, and the build tools on PATH, say they are."""
    said = {name: os.environ.get(name) or usual for name, usual in _COMPILERS.items()}
    said |= {name: name for name in _TOOLS}
    with ThreadPoolExecutor(max_workers=len(said)) as pool:
        versions = pool.map(_version, said.values())
        return tuple(f"{name} {text}" for name, text in zip(said, versions, strict=True) if text)


def _version(command: str) -> str | None:
    """Where a command is, and what it says it is; None where it is not there.

    A compiler may have a launcher or options with it: ``ccache gcc -m32``.
    """
    words = command.split()
    path = shutil.which(words[0]) if words else None
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *words[1:], "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return f"{path}: {done.stdout.partition('Copyright')[0].strip()}"
