"""The build backend: the hooks of PEP 517 and PEP 660, which call the project's real backend.

An optional hook exists exactly if the real backend has it, also for ``hasattr``, because frontends
behave differently without it. One exception: the hooks for the requirements of wheels, editable or not, also
exist if variants have requirements (see ``needs_requirements``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from polywheel.backend import pipeline
from polywheel.backend.hook_call import HookCall, needs_requirements
from polywheel.backend.real_backend import OPTIONAL_HOOKS, RealBackend
from polywheel.config.project import config_file, read_project
from polywheel.errors import UnsupportedError, known_error, show_error
from polywheel.setup.profiles import choose_backend
from polywheel.system.terminal import one_line, print_lines

_Settings = Mapping[str, str | Sequence[str]] | None
_REQUIREMENTS_HOOKS = ("get_requires_for_build_wheel", "get_requires_for_build_editable")


class UnsupportedOperation(Exception):  # noqa: N818  # the name that PEP 517 gives it
    """The real backend can't make an sdist here."""


def build_wheel(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: str | None = None
) -> str:
    with _hook_call("build_wheel", config_settings) as call:
        return pipeline.build_wheel(call, wheel_directory, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: _Settings = None) -> str:
    with _hook_call("build_sdist", config_settings) as call:
        try:
            return pipeline.build_sdist(call, sdist_directory)
        except UnsupportedError as error:
            raise UnsupportedOperation(one_line(error.problems[0].what)) from None


def _build_editable(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: str | None = None
) -> str:
    with _hook_call("build_editable", config_settings) as call:
        return pipeline.build_wheel(call, wheel_directory, metadata_directory)


def _requirements_hook(name: str) -> Callable[..., list[str]]:
    def get_requires(config_settings: _Settings = None) -> list[str]:
        with _hook_call(name, config_settings) as call:
            return pipeline.get_requires(call)

    return get_requires


def _metadata_hook(name: str) -> Callable[..., str]:
    def prepare_metadata(metadata_directory: str, config_settings: _Settings = None) -> str:
        with _hook_call(name, config_settings) as call:
            return pipeline.prepare_metadata(call, metadata_directory)

    return prepare_metadata


def __getattr__(name: str) -> Callable[..., Any]:
    """An optional hook, if the real backend of the project in the current folder has it."""
    if name in OPTIONAL_HOOKS:
        with _exit_on_error():
            always = name in _REQUIREMENTS_HOOKS and needs_requirements(Path.cwd())
            exists = always or name in _real_hooks(Path.cwd())
        if exists and name == "build_editable":
            return _build_editable
        if exists:
            return (_metadata_hook if name.startswith("prepare") else _requirements_hook)(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache  # a frontend may look for every hook, and each answer takes a process
def _real_hooks(source: Path) -> frozenset[str]:
    project = read_project(source, variants=False, config=config_file())
    return RealBackend(project.source, choose_backend(project)).hooks(OPTIONAL_HOOKS)


@contextmanager
def _hook_call(hook: str, config_settings: _Settings) -> Iterator[HookCall]:
    """Read the project in the current folder. An error ends the process with its exit code."""
    with _exit_on_error():
        yield HookCall.read(Path.cwd(), config_settings, hook=hook, notify=say)


def say(line: str) -> None:
    """Print a line about the build to standard error: standard output belongs to the frontend."""
    print_lines([f"polywheel: {line}"], stream=sys.stderr)


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Print an error of the body, and exit with its exit code."""
    try:
        yield
    except Exception as error:
        known = known_error(error)
        if known is None:  # a mistake in polywheel: the frontend shows the traceback
            raise
        show_error(known)
        raise SystemExit(known.exit_code) from None
