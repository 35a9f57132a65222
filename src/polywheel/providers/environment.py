"""Isolated environments for plugins, for when nothing is being built: made once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from polywheel.errors import ProviderError
from polywheel.system.cache import cache_directory
from polywheel.system.temporary import temporary_folder


def plugin_environment(
    requirements: Sequence[str], *, fresh: bool = False, notify: Callable[[str], None]
) -> str:
    """The interpreter of an environment that holds these requirements.

    It lies in the user's cache directory, by the set of requirements and the Python that made it,
    and is used again; with ``fresh`` it is made anew. It appears there whole or not at all, and two
    processes that make the same one do not disturb each other. Raises ProviderError.
    """
    key = json.dumps([sorted(set(requirements)), sys.version, sys.executable])
    name = hashlib.sha256(key.encode("utf-8")).hexdigest()[:16]
    place = cache_directory() / "providers" / name
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
    if not place.is_dir():
        notify(f"installing {', '.join(requirements)} into an environment of their own")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with temporary_folder(place.parent) as folder:
                made = folder / name
                _make(made, requirements)
                # The name may have been taken meanwhile: then that one serves as well.
                if not place.is_dir():
                    made.rename(place)
        except OSError as error:
            if not place.is_dir():
                raise ProviderError(
                    f"no environment for plugins can be made: {error.strerror or error}",
                    at=str(place.parent),
                ) from None
    return str(_python(place))


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _make(folder: Path, requirements: Sequence[str]) -> None:
    """A virtual environment with the requirements: by uv where it is there, else by pip."""
    python = str(_python(folder))
    wanted = ["--", *requirements]
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", python, *wanted])
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([python, "-m", "pip", "install", "--quiet", *wanted])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ProviderError(
            "the provider plugins can't be installed",
            output=done.stdout.strip().splitlines()[-6:],
        )
