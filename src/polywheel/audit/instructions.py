"""Check the instructions in a file: which extensions do its functions use, and without a check of the processor?"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from polywheel.audit import aarch64, x86_64
from polywheel.audit.binaries import Binary, Symbol
from polywheel.audit.code import Code, Function, Use
from polywheel.audit.dispatch import find_unchecked
from polywheel.audit.extensions import Admitted, level_of
from polywheel.audit.findings import Check, Finding, Severity

CHECKED = frozenset({"aarch64", "x86_64"})
"""Machines whose instructions are checked."""

_MOST = 200
"""The most findings for one file. The rest of its functions are counted in one more finding."""


@dataclass(frozen=True, slots=True)
class AllowedUse:
    """A pattern of the settings: which uses of extensions are right, because the program checks the processor."""

    file: str
    """A glob for the name of the file."""

    symbol: str = "*"
    """A glob for the name of the function."""

    @classmethod
    def parse(cls, text: str) -> AllowedUse:
        """Parse ``FILE`` or ``FILE:SYMBOL``."""
        file, _, symbol = text.partition(":")
        return cls(file, symbol or "*")

    def matches(self, file: str, symbol: str) -> bool:
        return fnmatchcase(file, self.file) and fnmatchcase(symbol, self.symbol)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstructionCheck:
    """The instructions of one file."""

    findings: tuple[Finding, ...] = ()
    extensions: frozenset[str] = frozenset()
    """All extensions that the file uses."""

    code_bytes: int = 0
    is_checked: bool = True
    """Whether polywheel knows the machine."""

    patterns: frozenset[str] = frozenset()
    """The patterns that allowed something."""


def check_instructions(
    binary: Binary,
    admitted: Admitted,
    allowed: Iterable[str] = (),
    names_used: Callable[[], Container[str] | None] = lambda: None,
    *,
    processes: int = 1,
) -> InstructionCheck:
    """Check the code of a file, in several processes if it is large.

    ``admitted`` is for its machine. ``names_used`` returns the exports that other files use, or None: all may be
    used. Raises ConfigError without the decoder.
    """
    size = sum(len(section.content) for section in binary.code)
    code = _decode(binary, processes)
    used = frozenset(
        name for function in code.functions for use in function.uses for name in use.extensions
    )
    beyond = [
        number
        for number, function in enumerate(code.functions)
        if any(not admitted.extensions.issuperset(use.extensions) for use in function.uses)
    ]
    dispatch = find_unchecked(binary, code, beyond, admitted.extensions, names_used)
    names = _Names(binary, code)
    findings: list[Finding] = []
    patterns: set[str] = set()
    unchecked = []
    for number in sorted(dispatch.unchecked):
        name = names.name_of(code.functions[number])
        pattern = next(
            (text for text in allowed if AllowedUse.parse(text).matches(binary.file, name)), None
        )
        if pattern is None:
            unchecked.append((code.functions[number], name))
        else:
            patterns.add(pattern)
    findings += _findings(binary, admitted, unchecked)
    checked = [number for number in beyond if number not in dispatch.unchecked]
    if checked:
        findings.append(_dispatch_note(binary, admitted, code, checked))
    return InstructionCheck(
        findings=tuple(findings),
        extensions=used,
        code_bytes=size,
        patterns=frozenset(patterns),
    )


def _decode(binary: Binary, processes: int) -> Code:
    if binary.machine == "aarch64":
        return aarch64.decode(binary)  # it takes a quarter of the time of x86-64
    return x86_64.decode(binary, processes=processes)


class _Names:
    """The names of functions."""

    def __init__(self, binary: Binary, code: Code) -> None:
        self._symbols = [symbol for symbol in binary.symbols if symbol.name]
        self._addresses = [symbol.address for symbol in self._symbols]
        self._code = code

    def name_of(self, function: Function) -> str:
        """The name of a function, or that of the one that contains it; empty if there is none."""
        number = bisect_right(self._addresses, function.start) - 1
        if number < 0:
            return ""
        symbol: Symbol = self._symbols[number]
        inside = symbol.address == function.start or function.start < symbol.address + symbol.size
        return symbol.name if inside else ""


def _findings(
    binary: Binary, admitted: Admitted, functions: list[tuple[Function, str]]
) -> Iterator[Finding]:
    """One finding for each function, up to a limit."""
    for function, name in functions[:_MOST]:
        uses = [use for use in function.uses if not admitted.extensions.issuperset(use.extensions)]
        first = min(uses, key=lambda use: use.offset)
        decoder = aarch64 if binary.machine == "aarch64" else x86_64
        yield Finding(
            severity=Severity.ERROR,
            check=Check.INSTRUCTIONS,
            what=f"{_described(uses, admitted)}: beyond {admitted}",
            file=binary.file,
            symbol=name or f"(no symbol) at {function.start:#x}",
            offset=first.offset,
            instruction=decoder.instruction_text(binary, first.offset),
            count=sum(use.count for use in uses),
        )
    if rest := functions[_MOST:]:
        uses = [
            use
            for function, _ in rest
            for use in function.uses
            if not admitted.extensions.issuperset(use.extensions)
        ]
        yield Finding(
            severity=Severity.ERROR,
            check=Check.INSTRUCTIONS,
            what=f"{_described(uses, admitted)} in {len(rest)} more functions: beyond {admitted}",
            file=binary.file,
            count=sum(use.count for use in uses),
        )


def _described(uses: Iterable[Use], admitted: Admitted) -> str:
    """The extensions beyond those that are admitted, the most frequent first: ``AVX2, FMA (x86-64-v3)``."""
    counts: Counter[str] = Counter()
    for use in uses:
        for name in use.extensions:
            if name not in admitted.extensions:
                counts[name] += use.count
    names = [name for name, _ in counts.most_common()]
    levels = {level_of(admitted.machine, name) for name in names}
    level = max(filter(None, levels), default=None) if None not in levels else None
    listed = ", ".join(names)
    return f"{listed} ({level})" if level else listed


def _dispatch_note(binary: Binary, admitted: Admitted, code: Code, numbers: list[int]) -> Finding:
    uses = [
        use
        for number in numbers
        for use in code.functions[number].uses
        if not admitted.extensions.issuperset(use.extensions)
    ]
    names = sorted({name for use in uses for name in use.extensions} - admitted.extensions)
    functions = "1 function" if len(numbers) == 1 else f"{len(numbers)} functions"
    return Finding(
        severity=Severity.NOTE,
        check=Check.INSTRUCTIONS,
        what=f"{functions} with {', '.join(names)}, chosen at run time",
        file=binary.file,
        count=sum(use.count for use in uses),
    )
