"""Typed reading of TOML tables with key paths.

A :class:`Table` returns values of the requested type. Problems are added to a list that all tables of a
file share, and reading goes on, so that all problems of a file are reported at once.
:meth:`Table.finish` reports the keys that nothing has read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from polywheel.errors import ConfigError, PolywheelError, Problem, nearest

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement


P = ParamSpec("P")
T = TypeVar("T")

LONGEST = 10_000_000
"""The longest time limit, in seconds."""


# As TOML takes it without quotes, and an element of an array of tables.
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+(\[[0-9]+\])?")
_TYPE_NAMES = {
    str: "a string",
    bool: "a boolean",
    list: "a list",
    dict: "a table",
    type(None): "nothing",
}


def type_name(value: object) -> str:
    """The type of a TOML or JSON value in words, such as ``a string``; a number stands for itself."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a long number"  # Python refuses to print one of more than 4300 digits
    return _TYPE_NAMES.get(type(value)) or str(value)


def toml_document(content: bytes, name: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError that names the file and the place in it."""
    import tomllib  # not needed by callers that only read JSON

    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{Path(name).name} is not UTF-8: byte {error.start} can't be decoded", at=name
        ) from None
    except tomllib.TOMLDecodeError as error:
        # "what (at line 3, column 5)": the place belongs into the place's own line.
        match = re.fullmatch(r"(.*) \(at (.*)\)", str(error), re.DOTALL)
        what, where = match.groups() if match else (str(error), "somewhere")
        raise ConfigError(f"invalid TOML: {what}", at=f"{name}: {where}") from None
    except ValueError:  # CPython reads no decimal number of more than 4300 digits
        raise ConfigError("invalid TOML: a number has too many digits", at=name) from None
    except RecursionError:
        raise ConfigError("invalid TOML: nested too deeply", at=name) from None


@dataclass(slots=True)
class Problems:
    """The problems of one file so far."""

    found: list[Problem] = field(default_factory=list)
    closed: bool = True
    """Whether unknown keys are problems. They are not in files that other tools wrote."""

    def add(self, what: str, *, at: str | None = None, hint: str | None = None) -> None:
        self.found.append(Problem(what, at, hint))

    def attempt(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of ``make(…)``; None if it raises a PolywheelError, whose problems are added."""
        try:
            return make(*args, **kwargs)
        except PolywheelError as error:
            self.found.extend(error.problems)
            return None

    def raise_all(self) -> None:
        """Raise one ConfigError with all problems, if there are any."""
        if self.found:
            raise ConfigError.collected(self.found)


class Table:
    """One TOML table, its place in the file, and the keys that were read."""

    def __init__(
        self, data: Mapping[str, Any], file: str, path: tuple[str, ...], problems: Problems
    ) -> None:
        self.data = data
        self.file = file
        self.path = path
        self.problems = problems
        self._read_keys: dict[str, None] = {}

    def at(self, *keys: str) -> str:
        """``pyproject.toml: tool.polywheel.key``, for messages."""
        dotted = self.dotted(*keys)
        return f"{self.file}: {dotted}" if dotted else self.file

    def dotted(self, *keys: str) -> str:
        """``tool.polywheel.key``, with quotes where TOML needs them."""
        return ".".join(
            key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
            for key in (*self.path, *keys)
        )

    def wrong(self, key: str, what: str, hint: str | None = None) -> None:
        """Add a problem at ``key``."""
        self.problems.add(what, at=self.at(key), hint=hint)

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def every_key(self) -> Iterator[str]:
        """Every key, marked as read: for tables whose keys are names."""
        self._read_keys.update(dict.fromkeys(self.data))
        yield from self.data

    def free_text(self, key: str) -> str | None:
        """A string that reaches no process. It may contain parts of file names, so all characters are allowed."""
        return self._get(key, str, "a string")

    def string(self, key: str) -> str | None:
        value = self._get(key, str, "a string")
        return None if value is None or self._wrong_characters(value, key) else value

    def boolean(self, key: str) -> bool | None:
        return self._get(key, bool, "true or false")

    def number(self, key: str) -> float | None:
        """An integer or a float; a boolean is neither."""
        value = self.data.get(key)
        self._read_keys[key] = None
        if value is None:
            return None
        # More than a float may hold is refused, and so is what nothing can be counted with.
        if isinstance(value, float):
            countable = math.isfinite(value)
        else:
            countable = type(value) is int and value.bit_length() <= 64
        if not countable:
            self.wrong(key, f"expected a number, found {type_name(value)}")
            return None
        return float(value)

    def seconds(self, key: str, *, most: float = LONGEST) -> float | None:
        """A time in seconds, more than 0."""
        value = self.number(key)
        if value is not None and not 0 < value <= most:
            self.wrong(
                key, f"expected seconds, more than 0 and at most {most:.0f}, found {value:g}"
            )
            return None
        return value

    def parsed(self, key: str, parse: Callable[..., T]) -> T | None:
        """The value ``parse(text, at=…)`` of a string; None if it raises an error, which becomes a problem."""
        text = self.string(key)
        return None if text is None else self.problems.attempt(parse, text, at=self.at(key))

    def strings(
        self, key: str, *, empty: bool = True, free: bool = False
    ) -> tuple[str, ...] | None:
        """A list of strings; with ``empty=False`` it must hold at least one. ``free``: as in `free_text`."""
        values = self._get(key, list, "a list of strings")
        if values is None:
            return None
        for index, value in enumerate(values):
            if not isinstance(value, str):
                self._wrong_type(f"{self.at(key)}[{index}]", str, "a string", value)
                return None
            if not free and self._wrong_characters(value, key, f"[{index}]"):
                return None
        if not values and not empty:
            hint = "add one, or remove the key"
            self.wrong(key, "expected at least one string, found an empty list", hint)
            return None
        return tuple(values)

    def array(self, key: str) -> list[Any]:
        """A list with values of any type; empty if there is none."""
        return self._get(key, list, "a list") or []

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of an array. Adds a problem for each other value."""
        if isinstance(self.data.get(key), dict) and not self.file.endswith(".json"):
            hint = f"write [[{self.dotted(key)}]] in place of [{self.dotted(key)}]"
            self._read_keys[key] = None
            self.wrong(key, "expected a list of tables, found a table", hint)
            return
        for index, value in enumerate(self.array(key)):
            name = f"{key}[{index}]"
            if isinstance(value, dict):
                yield Table(value, self.file, (*self.path, name), self.problems)
            else:
                self.wrong(name, f"expected a table, found {type_name(value)}")

    def several(self, key: str, parse: Callable[..., T], *, empty: bool = True) -> tuple[T, ...]:
        """The values ``parse(text, at=…)`` of a list of strings. They must differ."""
        values: dict[T, None] = {}
        for index, text in enumerate(self.strings(key, empty=empty) or ()):
            try:
                value = parse(text, at="")
            except PolywheelError:
                # Again with the place: to put it into words takes longer than to parse a name.
                self.problems.attempt(parse, text, at=f"{self.at(key)}[{index}]")
                continue
            if value in values:
                self.problems.add(f"'{value}' is listed twice", at=f"{self.at(key)}[{index}]")
            values[value] = None
        return tuple(values)

    def names(self, key: str, pattern: re.Pattern[str], *, empty: bool = True) -> tuple[str, ...]:
        """A list of different names that match a pattern."""
        return self.several(key, partial(_parse_name, pattern), empty=empty)

    def names_of_tables(self, pattern: re.Pattern[str]) -> Iterator[str]:
        """Every key that matches the pattern, for tables whose keys are names. Others are problems."""
        for key in self.every_key():
            if pattern.fullmatch(key):
                yield key
            else:
                self.wrong(key, f"malformed name {key!r}", _spelling_hint(key, pattern))

    def table(self, key: str) -> Table:
        """The table under ``key``; an empty one if there is none."""
        value = self._get(key, dict, "a table")
        return Table(value or {}, self.file, (*self.path, key), self.problems)

    def finish(self, also_known: Iterable[str] = (), *, noun: str = "key") -> None:
        """Add a problem for every key that was not read, with the nearest known key."""
        if not self.problems.closed:
            return
        known = {*self._read_keys, *also_known}
        for key in self.data:
            if key not in known:
                self.problems.add(
                    f"unknown {noun} {key!r}", at=self.at(key), hint=nearest(key, known)
                )

    def _get(self, key: str, kind: type[T], expected: str) -> T | None:
        self._read_keys[key] = None
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, kind):
            self._wrong_type(self.at(key), kind, expected, value)
            return None
        return value

    def _wrong_characters(self, value: str, key: str, index: str = "") -> bool:
        """Whether a process would refuse a text. Then a problem is added. Files of other tools are not checked."""
        if not self.problems.closed or (value.isascii() and "\0" not in value):
            return False
        return self.problems.attempt(process_text, value, at=self.at(key) + index) is None

    def _wrong_type(self, at: str, kind: type, expected: str, value: object) -> None:
        hint = quotes_hint(value) if kind is str else None
        self.problems.add(f"expected {expected}, found {type_name(value)}", at=at, hint=hint)


def quotes_hint(value: object) -> str | None:
    """A hint about a number in place of a string: it may be a version."""
    is_float = isinstance(value, float)
    return "write it in quotes: as a number, 3.10 is 3.1" if is_float else None


def _parse_name(pattern: re.Pattern[str], text: str, *, at: str) -> str:
    if not pattern.fullmatch(text):
        raise ConfigError(f"malformed name {text!r}", at=at, hint=_spelling_hint(text, pattern))
    return text


def _spelling_hint(name: str, pattern: re.Pattern[str]) -> str:
    """A hint with the pattern of a name, and a corrected name if there is one."""
    rule = f"it must match ^{pattern.pattern}$"
    close = re.sub(r"[-. ]+", "_", name.strip().lower())
    return f"did you mean {close!r}? {rule}" if pattern.fullmatch(close) else rule


# --- texts of several tables ---

SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)[ \t]*([kKmMgGtT]?)[iI]?[bB]?")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int | None:
    """A size such as ``2G``, ``512 MiB`` or ``1.5g`` in bytes; None for other texts."""
    match = SIZE.fullmatch(text.strip())
    return int(float(match[1]) * _UNITS[match[2].lower()]) or None if match else None


def size(text: str, *, at: str) -> str:
    """A size, checked."""
    if parse_size(text) is None:
        raise ConfigError(f"expected a size such as '2G' or '512M', found {text!r}", at=at)
    return text


def process_text(text: str, *, at: str) -> str:
    """A text that can be an argument or an environment variable of a process. Raises ConfigError."""
    try:
        text.encode()
        valid = "\0" not in text
    except UnicodeEncodeError:
        valid = False
    if not valid:
        what = f"{text!a} contains a character that commands and environment variables can't hold"
        raise ConfigError(what, at=at)
    return text


_DOTTED_NAME = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
OBJECT_REFERENCE = re.compile(rf"[ \t]*{_DOTTED_NAME}([ \t]*:[ \t]*{_DOTTED_NAME})?[ \t]*")


def object_reference(text: str, *, at: str) -> str:
    """``module`` or ``module:object``, without the blanks that may stand around the colon."""
    if not OBJECT_REFERENCE.fullmatch(text):
        what = f"malformed object reference {text!r}"
        raise ConfigError(what, at=at, hint="expected 'module' or 'module:object'")
    return re.sub(r"[ \t]", "", text)


# Most requirements are a name, or a name and simple versions. They need no parser: its import takes longer
# than reading a [variant] table.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"[ \t]*(?:[<>]=?|[=!]=)[ \t]*[0-9]{1,9}(?:\.[0-9]{1,9})*[ \t]*"
_VERSIONED = rf"{_NAME}{_CLAUSE}(?:,{_CLAUSE})*"
_LONG_NUMBER = re.compile(r"[0-9]{640}")
"""Python may be told to read no longer ones (``sys.set_int_max_str_digits``)."""


def requirement(text: str, *, at: str) -> str:
    """A requirement (PEP 508), checked."""
    simple = re.fullmatch(_NAME, text) or re.fullmatch(_VERSIONED, text)
    if not simple or not text.isprintable():
        from packaging.requirements import Requirement

        _check("requirement", Requirement, text, at)
    return text.strip()


def marker(text: str, *, at: str) -> str:
    """An environment marker (PEP 508), checked."""
    from packaging.markers import Marker

    _check("marker", Marker, text, at)
    return text.strip()


def evaluate_marker(text: str, environment: Mapping[str, str] | None, *, at: str) -> bool:
    """Whether a valid marker is true, with these variables or on this machine. Raises ConfigError."""
    try:
        return parse_marker(text).evaluate(dict(environment) if environment else None)
    except ValueError as error:  # an undefined comparison, such as os_name ~= "posix"
        what = f"the marker {text!r} can't be evaluated: {error}"
        raise ConfigError(what, at=at, hint="compare with ==, !=, in or not in") from None


@cache
def parse_marker(text: str) -> Marker:
    """A valid marker. Parsing takes longer than an evaluation."""
    from packaging.markers import Marker

    return Marker(text)


def _check(noun: str, parse: Callable[[str], object], text: str, at: str) -> None:
    """Raise ConfigError for a text that can't be parsed.

    Requirements and markers go into header lines of METADATA, so they must be printable: a line break would
    begin another field.
    """
    try:
        if not text.isprintable():
            raise ValueError("it contains a line break or another unprintable character")
        _parse(parse, text)
    except ValueError as error:  # InvalidRequirement, InvalidMarker
        what = f"malformed {noun} {text!r}: {str(error).splitlines()[0]}"
        raise ConfigError(what, at=at) from None


def parse_requirement(text: str) -> Requirement:
    """A requirement. Raises InvalidRequirement, also for one that can't be compared with a version."""
    from packaging.requirements import Requirement

    return _parse(Requirement, text)


def _parse(parse: Callable[[str], T], text: str) -> T:
    from packaging.requirements import InvalidRequirement

    if _LONG_NUMBER.search(text):
        raise InvalidRequirement("a number has too many digits")
    try:
        return parse(text)
    except RecursionError:
        raise InvalidRequirement("it is nested too deeply") from None


def normalized_requirements(requirements: Iterable[str]) -> tuple[str, ...]:
    """Requirements in one spelling, each once, sorted. Raises InvalidRequirement."""
    from packaging.utils import canonicalize_name

    normalized = set()
    for text in requirements:
        parsed = parse_requirement(text)
        parsed.name = canonicalize_name(parsed.name)
        normalized.add(str(parsed))
    return tuple(sorted(normalized))


def local_marker_environment(python: str | None = None) -> dict[str, str]:
    """The marker variables (PEP 508) of this machine, with the Python that runs this.

    With ``python``, a full version such as ``3.12.4``, those of that Python on this machine.
    """
    from packaging.markers import default_environment

    environment = {name: str(value) for name, value in default_environment().items()}
    if python is not None:
        environment |= {
            "python_version": ".".join(python.split(".")[:2]),
            "python_full_version": python,
            "implementation_version": python,
        }
    return environment
