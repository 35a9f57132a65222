"""The build backend: every hook of PEP 517 and PEP 660, in front of the project's real backend.

The optional hooks exist exactly when the real backend has them, for ``hasattr`` too, because
frontends change what they do with their presence. One exception: ``get_requires_for_build_wheel``
also exists where variants have requirements of their own (see ``needs_requirements``).
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
    with _face():
        build = _begin(config_settings)
        return pipeline.build_wheel(build, "build_wheel", wheel_directory, metadata_directory)


class UnsupportedOperation(Exception):  # noqa: N818  # the name that PEP 517 gives it
    """The real backend can't make an sdist here."""


def build_sdist(sdist_directory: str, config_settings: _Settings = None) -> object:
    with _face():
        build = _begin_plain(config_settings)
        try:
            return pipeline.pass_through(build, "build_sdist", sdist_directory)
        except UnsupportedError as error:
            raise UnsupportedOperation(one_line(error.problems[0].what)) from None


def _build_editable(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: str | None = None
) -> str:
    with _face():
        build = _begin(config_settings)
        return pipeline.build_wheel(build, "build_editable", wheel_directory, metadata_directory)


def _get_requires_for_build_wheel(config_settings: _Settings = None) -> list[str]:
    with _face():
        return pipeline.get_requires(_begin(config_settings), "get_requires_for_build_wheel")


def _get_requires_for_build_editable(config_settings: _Settings = None) -> list[str]:
    with _face():
        return pipeline.get_requires(_begin(config_settings), "get_requires_for_build_editable")


def _get_requires_for_build_sdist(config_settings: _Settings = None) -> list[str]:
    with _face():
        return pipeline.get_requires(_begin_plain(config_settings), "get_requires_for_build_sdist")


def _prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: _Settings = None
) -> str:
    with _face():
        hook = "prepare_metadata_for_build_wheel"
        return pipeline.prepare_metadata(_begin(config_settings), hook, metadata_directory)


def _prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: _Settings = None
) -> str:
    with _face():
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
    """An optional hook, where the real backend of the project in the current folder has it."""
    if name in _OPTIONAL:
        with _face():
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


def _begin_plain(config_settings: _Settings) -> HookCall:
    """For the sdist, which holds all variants: a frontend passes it the wheel's settings too."""
    return HookCall.begin(
        Path.cwd(), config_settings, notify=say, more=variants_of_matrix, sdist=True
    )


def variants_of_matrix(
    project: Project, properties: tuple[VariantProperty, ...]
) -> Mapping[str, Variant]:
    """The variants of the project's matrix that have some properties, by label."""
    from polywheel.matrix.expansion import matrix_variants

    return matrix_variants(project, properties)


def say(line: str) -> None:
    """Print a line about the build: to standard error, since standard output is the frontend's."""
    print_lines([f"polywheel: {line}"], stream=sys.stderr)


@contextmanager
def _face() -> Iterator[None]:
    """The one place where an error becomes lines in a build log and an exit code."""
    try:
        yield
    except Exception as error:
        known = known_error(error)
        if known is None:  # what is no error in words the frontend shows with its traceback
            raise
        show_error(known)
        raise SystemExit(known.exit_code) from None
