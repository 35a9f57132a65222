"""``polywheel providers``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.builds import run
from support.commands import polywheel
from support.projects import example, write_project


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    """A cache of polywheel's of its own, beside the shared downloads."""
    return {"POLYWHEEL_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "200"}


def providers(source: Path, *arguments: str, env: dict[str, str], check: bool = True) -> str:
    return polywheel("providers", *arguments, cwd=source, env=env, check=check).stdout


def environments(cache: Path) -> list[Path]:
    return [path.parent for path in (cache / "providers").glob("*/pyvenv.cfg")]


def as_json(said: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said[said.index("{") :])["providers"]
    return found


def test_a_plugin_is_installed_into_an_environment_that_is_used_again(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    source = example("meson", tmp_path)
    said = providers(source, "--json", env=cache)
    assert "installing provider-variant-x86-64" in said
    (one,) = as_json(said)
    assert one["namespace"] == "x86_64"
    assert one["generation"] == "2025-06"
    assert one["version"] == "0.0.1.post2"
    (environment,) = environments(tmp_path / "cache")
    again = providers(source, "--json", env=cache)
    assert "installing" not in again
    assert as_json(again) == as_json(said)
    assert environments(tmp_path / "cache") == [environment]
    assert "installing" in providers(source, "--fresh", env=cache)


def test_static_providers_and_presets_need_no_plugin(tmp_path: Path, cache: dict[str, str]) -> None:
    (static,) = as_json(providers(example("flit-core", tmp_path), "--json", env=cache))
    assert static["kind"] == "static"
    assert static["features"] == static["supported"]
    assert [one["feature"] for one in static["features"]] == ["library"]
    (preset,) = as_json(providers(example("cuda", tmp_path), "--json", env=cache))
    assert preset["kind"] == "preset"
    assert "sm_arch" in [one["feature"] for one in preset["features"]]
    assert not (tmp_path / "cache").exists()


def test_the_table_names_what_there_is(tmp_path: Path, cache: dict[str, str]) -> None:
    said = providers(example("flit-core", tmp_path), env=cache)
    assert "blas_lapack" in said
    assert "library: openblas, mkl" in said
    said = providers(example("cuda", tmp_path), env=cache)
    assert "preset: not asked" in said


def test_installed_plugins_are_found_by_their_entry_points(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    found = {
        one["namespace"]: one
        for one in as_json(providers(tmp_path, "--installed", "--json", env=cache))
    }
    assert {"x86_64", "aarch64"} <= set(found)
    assert found["x86_64"]["plugin"] == "provider_variant_x86_64.plugin:X8664Plugin"


def test_a_plugin_that_no_index_has_is_one_clear_error(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    source = write_project(
        tmp_path / "source",
        {
            "pyproject.toml": '[variant.default-priorities]\nnamespace = ["none"]\n'
            '[variant.providers.none]\nrequires = ["polywheel-has-no-such-plugin"]\n'
        },
    )
    said = providers(source, env=cache, check=False)
    assert "error: the provider plugins can't be installed" in said
    assert "Traceback" not in said
    assert environments(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("arguments", "code"), [(["providers", "nowhere"], 2), (["povriders"], 2), (["--version"], 0)]
)
def test_exit_codes(arguments: list[str], code: int, tmp_path: Path, cache: dict[str, str]) -> None:
    done = run(
        [sys.executable, "-m", "polywheel", *arguments], cwd=tmp_path, env=cache, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stdout
