"""Every command installs plugins from the index that the user named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.builds import run, write_wheel
from support.projects import write_project

PLUGIN = """\
import os
from pathlib import Path

with Path(os.environ["ASKED"]).open("a") as file:
    file.write("the company's plugin\\n")


class Config:
    name, values, multi_value = "level", ["v3", "company"], False


class X8664Plugin:
    namespace = "x86_64"

    @staticmethod
    def get_all_configs():
        return [Config]

    get_supported_configs = get_all_configs
"""
NAME, VERSION = "provider_variant_x86_64", "99.0"
TABLES = """\
[build-system]
requires = ["polywheel", "flit-core"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
description = "demo"
[variant.default-priorities]
namespace = ["x86_64"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"
[variant.variants.company]
x86_64.level = ["company"]
"""
MATRIX = """\
[tool.polywheel.matrix.axes.level]
company = ["x86_64 :: level :: company"]
# The preset of polywheel does not know this value.
[tool.polywheel.providers.x86_64]
query = "plugin"
"""
PROVIDER = "x86_64=provider-variant-x86-64@provider_variant_x86_64.plugin:X8664Plugin"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with a plugin of a name that PyPI has too."""
    place = tmp_path / "index" / "provider-variant-x86-64"
    name = f"{NAME}-{VERSION}-py3-none-any.whl"
    write_wheel(place / name, {f"{NAME}/__init__.py": "", f"{NAME}/plugin.py": PLUGIN})
    (place / "index.html").write_text(f"<!DOCTYPE html><a href='{name}'>{name}</a>", "utf-8")
    for variable in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return place.parent


COMMANDS = {
    "providers": ["providers", "project"],
    "label": [
        *("label", "demo-1.0-py3-none-any.whl", "-p", "x86_64::level::company"),
        *("--provider", PROVIDER, "-o", "out"),
    ],
    "explain": ["explain", "out", "--trust"],
    "matrix": ["matrix", "project", "--check-providers"],
    "build": ["build", "project", "--dry-run"],
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, index: Path, tmp_path: Path) -> list[str]:
    """A command that installs the plugin and asks it; ``demo`` lies where it runs."""
    write_project(
        tmp_path / "project",
        {"pyproject.toml": TABLES + MATRIX, "demo.py": '"""Demo."""\n', "README": index.name},
    )
    demo = write_wheel(tmp_path / "demo-1.0-py3-none-any.whl", {"demo.py": ""})
    if request.param == "explain":
        again = [*COMMANDS["label"], "--no-validate"]
        run([sys.executable, "-m", "polywheel", *again], cwd=tmp_path)
    assert demo.exists()
    return [sys.executable, "-m", "polywheel", *COMMANDS[request.param]]


def asked(tmp_path: Path) -> int:
    """How often the plugin of the index was imported."""
    path = tmp_path / "asked"
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


def test_the_users_index_is_asked_and_no_other(
    command: list[str], index: Path, tmp_path: Path
) -> None:
    """It is installed once, and again with ``--fresh``."""
    env = {"PIP_INDEX_URL": index.as_uri()}
    done = run(command, cwd=tmp_path, env=env)
    assert "installing provider-variant-x86-64" in done.stdout
    assert asked(tmp_path)
    more = ["--force"] if "label" in command else []
    assert "installing" not in run([*command, *more], cwd=tmp_path, env=env).stdout
    fresh = run([*command, *more, "--fresh"], cwd=tmp_path, env=env)
    assert fresh.stdout.count("installing provider-variant-x86-64") == 1


def test_another_index_is_another_environment(index: Path, tmp_path: Path) -> None:
    """What was installed from one is not used where another one is named."""
    write_project(tmp_path / "project", {"pyproject.toml": TABLES})
    command = [sys.executable, "-m", "polywheel", *COMMANDS["providers"]]
    run(command, cwd=tmp_path, env={"PIP_INDEX_URL": index.as_uri()})
    before = asked(tmp_path)
    (tmp_path / "empty").mkdir()
    env = {"PIP_INDEX_URL": (tmp_path / "empty").as_uri()}
    done = run(command, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 3
    assert "the provider plugins can't be installed" in done.stdout
    assert asked(tmp_path) == before
