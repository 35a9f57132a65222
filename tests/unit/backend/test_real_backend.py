"""The error if the real backend can't be imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.backend.real_backend import RealBackend
from polywheel.model.setup import BackendChoice, BackendProfile

PROFILE = BackendProfile(name="x", modules=("x.api",), packages=("x",), delivery={})


@pytest.mark.parametrize(
    ("backend_path", "hint"),
    [
        (None, "add 'x' to build-system.requires"),
        (
            ("tools", "."),
            "it must be in a folder of backend-path (tools, .); remove backend-path if it is an installed package",
        ),
    ],
)
def test_the_hint_is_about_the_place_of_the_backend(
    backend_path: tuple[str, ...] | None, hint: str
) -> None:
    choice = BackendChoice(build_backend="x.api", backend_path=backend_path, profile=PROFILE)
    error = RealBackend(Path("/project"), choice)._import_error("No module named 'x'")
    assert error.problems[0].hint == hint
