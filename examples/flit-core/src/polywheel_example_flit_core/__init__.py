"""A dot product by the BLAS library that this wheel requires, or in Python if it requires none."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import files, requires
from typing import NamedTuple

__all__ = ["blas", "dot"]


class _Blas(NamedTuple):
    name: str
    library: re.Pattern[str]  # its file name on Linux, macOS and Windows
    ddot: str


# Both take 32-bit integers (LP64); scipy-openblas64 would not.
_BY_REQUIREMENT = {
    "scipy-openblas32": _Blas(
        "openblas", re.compile(r"libscipy_openblas[-\w]*\.(so|dylib|dll)"), "scipy_cblas_ddot"
    ),
    "mkl": _Blas("mkl", re.compile(r"(lib)?mkl_rt[.\d]*\.(so[.\d]*|dylib|dll)"), "cblas_ddot"),
}


def _required() -> tuple[str, _Blas] | None:
    # The dependencies are what differs between the variants of this project. Trying what can be
    # imported instead would find a library that some other package brought along.
    for requirement in requires("polywheel-example-flit-core") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if name in _BY_REQUIREMENT:
            return name, _BY_REQUIREMENT[name]
    return None


def blas() -> str:
    """Return which library computes: ``openblas``, ``mkl`` or ``python``."""
    required = _required()
    return "python" if required is None else required[1].name


_DOUBLES = ctypes.POINTER(ctypes.c_double)
_DDOT = ctypes.CFUNCTYPE(
    ctypes.c_double, ctypes.c_int, _DOUBLES, ctypes.c_int, _DOUBLES, ctypes.c_int
)


@cache
def _ddot(distribution: str, blas: _Blas) -> Callable[..., float]:
    for path in files(distribution) or ():
        if blas.library.fullmatch(path.name):
            # MKL installs outside site-packages, so the path has ".." in it; loaders want it plain.
            library = ctypes.CDLL(os.path.abspath(path.locate()))
            function: Callable[..., float] = _DDOT((blas.ddot, library))
            return function
    raise ImportError(f"{distribution} has no library for this platform")


def dot(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the sum of ``x[i] * y[i]``; ValueError if x and y differ in length."""
    if len(x) != len(y):
        raise ValueError("x and y differ in length")
    required = _required()
    if required is None:
        return float(sum(a * b for a, b in zip(x, y, strict=True)))
    doubles = ctypes.c_double * len(x)
    return _ddot(*required)(len(x), doubles(*x), 1, doubles(*y), 1)
