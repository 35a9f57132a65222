"""The dot product of integers, with a loop that the compiler vectorises as far as its target allows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from polywheel_example_scikit_build_core import _dot

__all__ = ["dot"]


def dot(x: Iterable[int], y: Iterable[int]) -> int:
    """Return the sum of ``x[i] * y[i]``, modulo 2**64 as a signed number.

    OverflowError if an element does not fit 32 bits, ValueError if x and y differ in length.
    """
    return _dot.dot(array("i", x), array("i", y))
