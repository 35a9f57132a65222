"""An activation function in C++ for PyTorch."""

from __future__ import annotations

import torch  # first: it loads the libraries that the extension module needs

from polywheel_example_torch import _squash

__all__ = ["compiled_with", "squash"]


def squash(x: torch.Tensor) -> torch.Tensor:
    """Return ``x / (1 + abs(x))`` of a tensor with floating-point numbers."""
    return _squash.squash(x)


def compiled_with() -> str:
    """Return the version of torch that this wheel was compiled with."""
    return _squash.compiled_with()
