"""Decides which data a wheel carries, as the environment says."""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DataSize(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        size = os.environ.get("EXAMPLE_DATA_SIZE", "full")
        if size not in ("full", "small"):
            raise ValueError(f"EXAMPLE_DATA_SIZE is {size!r}, expected 'full' or 'small'")
        if size == "full":
            # An artifact goes in although pyproject.toml excludes it.
            build_data["artifacts"].append("elements-21-118.csv")
