"""The build backend: the hooks of PEP 517 and PEP 660, which call the project's real backend.

An optional hook exists exactly if the real backend has it, also for ``hasattr``, because frontends
behave differently without it. One exception: ``get_requires_for_build_wheel`` also exists if variants
have requirements (see ``needs_requirements``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from polywheel.backend import pipeline
from polywheel.backend.hook_call import HookCall, needs_requirements, optional_hooks
from polywheel.config.project import Project
from polywheel.errors import UnsupportedError, known_error, show_error
from polywheel.model.variant import Variant, VariantProperty
from polywheel.system.terminal import one_line, print_lines

_Settings = Mapping[str, str | Sequence[str]] | None


def build_wheel(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: str | None = None
) -> str:
    with _exit_on_error():
        build = _begin(config_settings)
        return pipeline.build_wheel(build, "build_wheel", wheel_directory, metadata_directory)


class UnsupportedOperation(Exception):  # noqa: N818  # the name that PEP 517 gives it
    """The real backend can't make an sdist here."""


def build_sdist(sdist_directory: str, config_settings: _Settings = None) -> object:
    with _exit_on_error():
        build = _begin_sdist(config_settings)
        try:
            return pipeline.call_real_backend(build, "build_sdist", sdist_directory)
        except UnsupportedError as error:
            raise UnsupportedOperation(one_line(error.problems[0].what)) from None


def _build_editable(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: str | None = None
) -> str:
    with _exit_on_error():
        build = _begin(config_settings)
        return pipeline.build_wheel(build, "build_editable", wheel_directory, metadata_directory)


def _get_requires_for_build_wheel(config_settings: _Settings = None) -> list[str]:
    with _exit_on_error():
        return pipeline.get_requires(_begin(config_settings), "get_requires_for_build_wheel")


def _get_requires_for_build_editable(config_settings: _Settings = None) -> list[str]:
    with _exit_on_error():
        return pipeline.get_requires(_begin(config_settings), "get_requires_for_build_editable")


def _get_requires_for_build_sdist(config_settings: _Settings = None) -> list[str]:
    with _exit_on_error():
        return pipeline.get_requires(_begin_sdist(config_settings), "get_requires_for_build_sdist")


def _prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: _Settings = None
) -> str:
    with _exit_on_error():
        hook = "prepare_metadata_for_build_wheel"
        return pipeline.prepare_metadata(_begin(config_settings), hook, metadata_directory)


def _prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: _Settings = None
) -> str:
    with _exit_on_error():
        hook = "prepare_metadata_for_build_editable"
        return pipeline.prepare_metadata(_begin(config_settings), hook, metadata_directory)


_OPTIONAL: Mapping[str, Callable[..., Any]] = {
    "build_editable": _build_editable,
    "get_requires_for_build_wheel": _get_requires_for_build_wheel,
    "get_requires_for_build_editable": _get_requires_for_build_editable,
    "get_requires_for_build_sdist": _get_requires_for_build_sdist,
    "prepare_metadata_for_build_wheel": _prepare_metadata_for_build_wheel,
    "prepare_metadata_for_build_editable": _prepare_metadata_for_build_editable,
}


def __getattr__(name: str) -> Callable[..., Any]:
    """An optional hook, if the real backend of the project in the current folder has it."""
    if name in _OPTIONAL:
        with _exit_on_error():
            if name == "get_requires_for_build_wheel" and needs_requirements(Path.cwd()):
                return _OPTIONAL[name]
            if name in _real_hooks(Path.cwd()):
                return _OPTIONAL[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _real_hooks(source: Path) -> frozenset[str]:
    return optional_hooks(source)


def _begin(config_settings: _Settings) -> HookCall:
    return HookCall.begin(Path.cwd(), config_settings, notify=say, more=variants_of_matrix)


def _begin_sdist(config_settings: _Settings) -> HookCall:
    """For an sdist, which has all variants. Frontends pass it the config settings of the wheel too."""
    return HookCall.begin(
        Path.cwd(), config_settings, notify=say, more=variants_of_matrix, sdist=True
    )


def variants_of_matrix(
    project: Project, properties: tuple[VariantProperty, ...]
) -> Mapping[str, Variant]:
    """Return the variants of the project's matrix that have these properties, by label."""
    from polywheel.matrix.expansion import matrix_variants

    return matrix_variants(project, properties)


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
