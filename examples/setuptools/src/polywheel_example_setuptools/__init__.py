"""Brighter pixels, with a loop that the compiler vectorises as far as its target allows."""

from __future__ import annotations

from polywheel_example_setuptools import _brighten

__all__ = ["brighten"]


def brighten(pixels: bytes, amount: int) -> bytes:
    """Return 8-bit ``pixels`` with ``amount`` added to each, at most 255.

    OverflowError if the amount is not within 0..255.
    """
    return _brighten.brighten(pixels, amount)
