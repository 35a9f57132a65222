"""Checks of the values of build settings: images, container options, runners, and repair commands.

A value that is wrong fails here, when the settings are read, and not in a CI job or after a build.
"""

from __future__ import annotations

import re
import shlex

from polywheel.errors import ConfigError, Problem, closest

_LONGEST = 512
"""The most characters of a reference of an image."""
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z0-9]+)*:[0-9a-fA-F]{32,}"
# https://pkg.go.dev/github.com/distribution/reference
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@(?:{_DIGEST}))?"
)
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})")
"""A variable of GitLab."""
_BRACES = re.compile(r"\{([A-Za-z_]+)\}")
_REPAIR_PLACEHOLDERS = ("{wheel}", "{dest_dir}")


def image(value: str, *, at: str) -> str:
    """The reference of an image. It may have variables of GitLab."""
    if len(value) > _LONGEST or not _IMAGE.fullmatch(_VARIABLE.sub("x", value)):
        close = value.lower()
        hint = f"did you mean {close!r}? " if _IMAGE.fullmatch(close) else ""
        raise ConfigError(
            f"malformed image {value[:_LONGEST]!r}",
            at=at,
            hint=hint
            + "expected [HOST/]NAME[:TAG][@DIGEST], as for docker; names are in lower case",
        )
    return value


def variable_in_image(value: str | None, *, at: str) -> Problem | None:
    """The problem of an image with a variable, where nothing replaces variables."""
    match = _VARIABLE.search(value or "")
    if match is None:
        return None
    return Problem(
        f"nothing replaces the variable {match[0]} of the image {value!r}: only GitLab does so",
        at=at,
        hint="write its value, or set another image for GitLab in a --config file",
    )


def container_options(value: str, *, at: str) -> str:
    """Options of ``docker create``, in the syntax of a shell."""
    _printable(value, at=at)
    try:
        shlex.split(value)
    except ValueError as error:
        what = f"malformed options {value!r}: {str(error).lower()}"
        raise ConfigError(what, at=at, hint="quote them as in a shell") from None
    return value


def runner_label(value: str, *, at: str) -> str:
    """The label of a runner."""
    if not value.strip():
        raise ConfigError(
            f"expected the label of a runner, found {value!r}",
            at=at,
            hint="remove it from the list",
        )
    return _printable(value, at=at)


def repair_command(value: str, *, at: str) -> str:
    """A command with the placeholders for the wheel and the folder; "" for no repair."""
    for placeholder in _REPAIR_PLACEHOLDERS:
        if value.strip() and placeholder not in value:
            names = (match[0] for match in _BRACES.finditer(value))
            others = [name for name in names if name not in _REPAIR_PLACEHOLDERS]
            close = closest(placeholder, others)
            raise ConfigError(
                f"the command has no {placeholder}" + (f", found {close}" if close else ""),
                at=at,
                hint='for example "auditwheel repair -w {dest_dir} {wheel}"',
            )
    return value


def _printable(value: str, *, at: str) -> str:
    if not value.isprintable():
        raise ConfigError(f"{value!r} contains an unprintable character", at=at)
    return value
