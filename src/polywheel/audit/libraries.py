"""Check the libraries that the files of a wheel need against the label: BLAS, OpenMP, CUDA, ROCm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from polywheel.audit.expectations import Expectation
from polywheel.audit.findings import Check, Finding, Severity

_HASH = re.compile(r"-[0-9a-f]{8,64}(?=\.)")
"""What auditwheel and delvewheel add before the first or the last dot."""
_SEPARATOR = re.compile(r"[/\\]")


def library_name(needed: str) -> str:
    """Return the name by which presets know a library: its last part, in lower case and without a hash.

    ``@rpath/libomp.dylib``, ``libgomp-a34b3233.so.1.0.0``, and ``VCOMP140.DLL`` are ``libomp.dylib``,
    ``libgomp.so.1.0.0``, and ``vcomp140.dll``.
    """
    return _HASH.sub("", _SEPARATOR.split(needed)[-1].lower(), count=1)


def check_libraries(
    files: Mapping[str, tuple[str, ...]], expectations: Iterable[Expectation]
) -> Iterator[Finding]:
    """Yield findings about the libraries that the files of a wheel need.

    ``files`` has the libraries of each file with machine code, by the name of the member.
    """
    for expectation in expectations:
        if expectation.files.libraries:
            yield from _check_values(files, expectation)
        if expectation.files.bound:
            yield from _check_versions(files, expectation)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_values(
    files: Mapping[str, tuple[str, ...]], expectation: Expectation
) -> Iterator[Finding]:
    """Findings about libraries of other values than those of the label."""
    patterns = expectation.files.libraries
    declared = [value for value in expectation.values if value in patterns]
    label = ", ".join(f"'{expectation.property(value)}'" for value in expectation.values)
    others: list[tuple[str, str, str]] = []
    interfaces: list[tuple[str, str]] = []
    is_used = False
    for file, libraries in files.items():
        for needed in libraries:
            name = library_name(needed)
            values = [value for value in patterns if _matches(name, patterns[value])]
            if not set(values).isdisjoint(declared):
                is_used = True
            elif _matches(name, expectation.files.interfaces):
                interfaces.append((file, needed))
            elif values:
                others.append((file, needed, " or ".join(values)))
    for file, needed, implementations in others:
        what = f"it needs {needed} ({implementations}), the label declares {label}"
        yield _finding(Severity.WARNING if is_used else Severity.ERROR, what, file)
    for file, needed in interfaces:
        if not is_used:
            what = (
                f"it needs {needed}, which has several implementations; the label declares {label}"
            )
            yield _finding(Severity.WARNING, what, file)
    if declared and not (is_used or others or interfaces):
        what = f"the label declares {label}, but no file needs this library"
        hint = "it may be linked statically, or loaded at run time"
        yield _finding(Severity.NOTE, what, None, hint)


def _check_versions(
    files: Mapping[str, tuple[str, ...]], expectation: Expectation
) -> Iterator[Finding]:
    """Findings about libraries of other major versions than the label admits."""
    patterns = [_version_pattern(glob) for glob in expectation.version_libraries]
    for value in expectation.values:
        version = _VERSION.fullmatch(value)
        for file, libraries in files.items() if version else ():
            for needed in libraries:
                name = library_name(needed)
                match = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
                problem = match and _version_problem(
                    int(match["major"]), tuple(map(int, value.split("."))), expectation.files.bound
                )
                if problem:
                    severity, what = problem
                    what = f"it needs {needed}, {what} '{expectation.property(value)}'"
                    yield _finding(severity, what, file)


_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})*")


def _version_pattern(glob: str) -> re.Pattern[str]:
    pattern = re.escape(glob).replace(r"\*", ".*")
    return re.compile(pattern.replace(re.escape("{major}"), "(?P<major>[0-9]{1,2})"))


def _version_problem(major: int, value: tuple[int, ...], bound: str) -> tuple[Severity, str] | None:
    """How a library with a major version contradicts a value of the label."""
    if bound == "upper":
        works = (major, 0) < (*value, 0)[:2]
        return None if works else (Severity.ERROR, "which the label excludes:")
    if major == value[0]:
        return None
    if major > value[0]:
        return Severity.ERROR, "newer than"
    # Newer drivers run it. Still, it was built with another version than the label says.
    return Severity.WARNING if bound == "lower" else Severity.ERROR, "older than"


def _finding(severity: Severity, what: str, file: str | None, hint: str | None = None) -> Finding:
    return Finding(severity=severity, check=Check.LIBRARIES, what=what, file=file, hint=hint)
