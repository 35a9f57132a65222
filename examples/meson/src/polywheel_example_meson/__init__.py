"""a·x + y over doubles, with a loop that the compiler vectorises as far as its target allows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from polywheel_example_meson._axpy import axpy_into

__all__ = ["axpy"]


def axpy(a: float, x: Iterable[float], y: Iterable[float]) -> array[float]:
    """Return ``a * x + y``, element by element; ValueError if x and y differ in length."""
    result = array("d", y)
    axpy_into(a, array("d", x), result)
    return result
