"""Steps of the Collatz sequence, counted on a GPU by a kernel compiled for chosen architectures."""

from __future__ import annotations

from array import array

from polywheel_example_cuda._collatz import architectures, toolkit_version
from polywheel_example_cuda._collatz import count_steps as _count_steps

__all__ = ["architectures", "count_steps", "toolkit_version"]


def count_steps(first: int, count: int) -> list[int]:
    """Return how many steps take each of ``count`` numbers from ``first`` on to 1.

    RuntimeError, in CUDA's words, where there is no GPU or none that this wheel has code for;
    ValueError for numbers outside 1 … 2**32 - 1.
    """
    return array("I", _count_steps(first, count)).tolist()
