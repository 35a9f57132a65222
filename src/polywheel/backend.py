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

from polywheel import pipeline
from polywheel.build_call import Build, needs_requirements, optional_hooks
from polywheel.config.project import Project
from polywheel.errors import UnsupportedError, exit_code_of, known_error, show_error
from polywheel.model.properties import VariantProperty
from polywheel.model.variant import Variant
from polywheel.terminal import one_line, put, put_json

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


def _begin(config_settings: _Settings) -> Build:
    return Build.begin(Path.cwd(), config_settings, notify=_say, more=_variants_of_matrix)


def _begin_plain(config_settings: _Settings) -> Build:
    """For the sdist, which holds all variants: a frontend passes it the wheel's settings too."""
    return Build.begin(
        Path.cwd(), config_settings, notify=_say, more=_variants_of_matrix, sdist=True
    )


def _variants_of_matrix(
    project: Project, properties: tuple[VariantProperty, ...]
) -> Mapping[str, Variant]:
    from polywheel.matrix.expansion import matrix_variants

    return matrix_variants(project, properties)


def _say(line: str) -> None:
    put([f"polywheel: {line}"], stream=sys.stderr)


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


def _explain(arguments: Sequence[str]) -> int:
    """``python -m polywheel.backend explain -Cvariant=…``: what a build would be told, and why."""
    import argparse

    from polywheel.explained import as_lines, explained
    from polywheel.providers.environment import PluginEnvironments

    parser = argparse.ArgumentParser(
        prog="python -m polywheel.backend explain",
        description="The build setup of a variant, each piece with where it comes from, and how the "
        "real backend would be told. Nothing is built.",
        epilog="example: python -m polywheel.backend explain -Cvariant=x86_64::level::v3",
    )
    parser.add_argument("explain", choices=["explain"])
    parser.add_argument("source", nargs="?", default=".", help="the project (default: .)")
    parser.add_argument("-C", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--fresh", action="store_true", help="install the plugins anew")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_intermixed_args(arguments)
    settings: dict[str, list[str]] = {}
    for text in options.settings:
        key, _, value = text.partition("=")
        settings.setdefault(key, []).append(value)
    build = Build.begin(Path(options.source), settings, notify=_say, more=_variants_of_matrix)
    plugins = PluginEnvironments(fresh=options.fresh, notify=_say)
    found = explained(build, plugins, notify=_say)
    if options.json:
        put_json(found)
    else:
        put(as_lines(found))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: _explain(sys.argv[1:])))
