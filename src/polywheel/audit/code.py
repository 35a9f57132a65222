"""Decoded machine code: functions, the instruction set extensions that they use, and what they refer to."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Use:
    """The instructions of one kind in a function."""

    extensions: tuple[str, ...]
    """The extensions that an instruction of this kind needs, besides the baseline of the processor."""

    count: int
    offset: int
    """The address of the first one."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function, from its start to the start of the next one."""

    start: int
    end: int
    uses: tuple[Use, ...] = ()
    references: array[int] = field(default_factory=lambda: array("Q"))
    """Addresses outside of the function that it calls, jumps to, reads, writes, or takes, without order."""

    asks_cpu: bool = False
    """Whether it asks the processor what it supports, for example with `cpuid`."""


@dataclass(frozen=True, slots=True)
class Code:
    """The functions of a file, by address."""

    functions: tuple[Function, ...]
    starts: array[int]

    def function_at(self, address: int) -> int | None:
        """Return the number of the function that an address belongs to; None outside of the code."""
        number = bisect_right(self.starts, address) - 1
        if number < 0 or address >= self.functions[number].end:
            return None
        return number


def code_of(functions: Iterable[Function]) -> Code:
    """Return the code with these functions."""
    ordered = tuple(sorted(functions, key=lambda function: function.start))
    return Code(ordered, array("Q", (function.start for function in ordered)))
