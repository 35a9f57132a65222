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
    others: dict[str, str] = {}
    interfaces: list[str] = []
    is_used = False
    users = _users(files)
    for name in users:
        values = [value for value in patterns if _matches(name, patterns[value])]
        if not set(values).isdisjoint(declared):
            is_used = True
        elif _matches(name, expectation.files.interfaces):
            interfaces.append(name)
        elif values:
            others[name] = " or ".join(values)
    for name, implementations in others.items():
        severity = Severity.WARNING if is_used else Severity.ERROR
        yield _finding(severity, users[name], f" ({implementations}), the label declares {label}")
    for name in interfaces if not is_used else ():
        what = f", which has several implementations, the label declares {label}"
        yield _finding(Severity.WARNING, users[name], what)
    if declared and not (is_used or others or interfaces):
        yield Finding(
            severity=Severity.NOTE,
            check=Check.LIBRARIES,
            what=f"the label declares {label}, but no file needs this library",
            hint="it may be linked statically, or loaded at run time",
        )


def _check_versions(
    files: Mapping[str, tuple[str, ...]], expectation: Expectation
) -> Iterator[Finding]:
    """Findings about libraries of other major versions than the label admits."""
    patterns = [_version_pattern(glob) for glob in expectation.version_libraries]
    users = _users(files)
    for value in filter(_VERSION.fullmatch, expectation.values):
        version = tuple(map(int, value.split(".")))
        for name, needing in users.items():
            match = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
            if match and (
                problem := _version_problem(int(match["major"]), version, expectation.files.bound)
            ):
                severity, how = problem
                yield _finding(severity, needing, f", {how} '{expectation.property(value)}'")


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


def _users(files: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Return the files that need a library, with their spelling of it, by its name."""
    users: dict[str, dict[str, str]] = {}
    for file, libraries in files.items():
        for needed in libraries:
            users.setdefault(library_name(needed), {}).setdefault(file, needed)
    return users


def _finding(severity: Severity, users: Mapping[str, str], problem: str) -> Finding:
    """A finding about a library and the files that need it. It stands at the first of them."""
    file, needed = next(iter(users.items()))
    what = f"it needs {needed}{problem}"
    others = len(users) - 1
    if others:
        what += f"; so do {others} other files" if others > 1 else "; so does another file"
    return Finding(severity=severity, check=Check.LIBRARIES, what=what, file=file)
