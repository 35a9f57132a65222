"""Backend profiles with installed backends."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from polywheel.backend.real_backend import RealBackend
from polywheel.errors import BuildError
from polywheel.model.setup import BackendProfile
from polywheel.setup.profiles import choose_backend, shipped_profiles
from support.setups import project_with_backend

PROFILES = shipped_profiles()


@pytest.mark.parametrize("profile", PROFILES, ids=lambda one: one.name)
def test_a_profiles_modules_are_in_its_packages(profile: BackendProfile) -> None:
    try:
        distribution(profile.packages[0])
    except PackageNotFoundError:
        pytest.skip(f"{profile.packages[0]} is not installed")
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    modules = [module.partition(":")[0] for module in profile.modules]
    subprocess.run([sys.executable, "-c", code, *modules], check=True)


def test_a_choice_names_the_file_and_key_that_made_it(tmp_path: Path) -> None:
    from_config = replace(project_with_backend(real="mesonpi"), file="variants.toml")
    assert choose_backend(from_config).at == "variants.toml: tool.polywheel.build-backend"
    assert (
        choose_backend(project_with_backend("mesonpi")).at
        == "pyproject.toml: build-system.build-backend"
    )
    choice = choose_backend(replace(from_config, source=tmp_path))
    with pytest.raises(BuildError, match=r"at: variants.toml: tool.polywheel.build-backend"):
        RealBackend(tmp_path, choice).call("build_wheel", str(tmp_path), None, None)
