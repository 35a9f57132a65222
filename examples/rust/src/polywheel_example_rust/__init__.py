"""Blends images of 8-bit pixels, with a loop that rustc vectorises as far as its target allows."""

from __future__ import annotations

from polywheel_example_rust._blend import ffi, lib

__all__ = ["blend"]


def blend(x: bytes, y: bytes) -> bytes:
    """Return the average of ``x[i]`` and ``y[i]``, rounded up; ValueError if they differ in length."""
    if len(x) != len(y):
        raise ValueError("x and y differ in length")
    out = bytearray(len(x))
    lib.blend(ffi.from_buffer(x), ffi.from_buffer(y), ffi.from_buffer(out), len(out))
    return bytes(out)
