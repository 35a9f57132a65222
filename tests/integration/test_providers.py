"""Provider plugins in real builds: their installation, calls, and answers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from variantlib.variant_dist_info import VariantDistInfo

from support.builds import build, build_wheel, install, read_wheel, run
from support.projects import write_project

PACKAGES = Path(__file__).resolve().parents[1] / "packages"
SPICED = """
[build-system]
requires = ["polywheel", "flit-core"]
build-backend = "polywheel.backend"
[project]
name = "spiced"
version = "1.0"
description = "A module"
[tool.polywheel]
build-backend = "flit_core.buildapi"
[variant.default-priorities]
namespace = ["spice", "season", "absent", "cold", "day"]
[variant.providers.spice]
requires = ["variant-spice >= 1; python_version > '3'", "variant-spice-py2; python_version < '3'"]
[variant.providers.season]
build-requires = ["variant-season"]
plugin-api = "variant_season:Season"
[variant.providers.absent]
requires = ["variant-no-index-has-it"]
[variant.providers.cold]
requires = ["cold-variant-provider"]
plugin-api = "cold:plugin"
[variant.providers.day.static-properties]
name = ["sunday", "monday"]
[tool.polywheel.providers.cold]
requires = ["variant-spice"]
plugin-api = "variant_spice"
"""
HOT = "spice :: heat :: hot"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the plugins in tests/packages."""
    folder = tmp_path_factory.mktemp("plugins")
    for name in ("variant-spice", "variant-season"):
        source = shutil.copytree(PACKAGES / name, folder / "source" / name)
        build_wheel(source, folder / "built" / name)
    for wheel in (folder / "built").glob("*/*.whl"):
        wheel.rename(folder / wheel.name)
    return folder


@pytest.fixture(scope="module")
def index(plugins: Path, wheelhouse: Path) -> dict[str, str]:
    """Environment in which an isolated build finds this polywheel and the plugins."""
    for wheel in wheelhouse.glob("*.whl"):
        shutil.copy(wheel, plugins)
    links = f"{plugins} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    return {"PIP_FIND_LINKS": links, "UV_FIND_LINKS": str(plugins)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return project(tmp_path / "source")


def project(folder: Path, text: str = SPICED) -> Path:
    return write_project(folder, {"pyproject.toml": text, "spiced.py": '"""A module."""\n'})


def required(source: Path, hook: str, *properties: str) -> list[str]:
    """What a hook asks a frontend to install."""
    code = (
        "import json, sys; from polywheel import backend; "
        "print(json.dumps(getattr(backend, sys.argv[1])(json.loads(sys.argv[2]))))"
    )
    settings = json.dumps({"variant": list(properties)} if properties else {"null-variant": ""})
    done = run([sys.executable, "-c", code, hook, settings], cwd=source)
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("kind", ["wheel", "editable"])
@pytest.mark.parametrize(
    ("properties", "plugins"),
    [
        ([], ["variant-season"]),
        ([HOT], ["variant-spice>=1", "variant-season"]),
        (["season::time::winter"], ["variant-season"]),
        (["day::name::sunday"], ["variant-season"]),
        (["absent::any::thing"], ["variant-season", "variant-no-index-has-it"]),
        (["cold::heat::mild"], ["variant-season", "variant-spice"]),
        (
            [HOT, "day::name::monday", "absent::any::thing"],
            ["variant-spice>=1", "variant-season", "variant-no-index-has-it"],
        ),
    ],
)
def test_plugins_of_the_namespaces_in_use_are_required_and_no_others(
    kind: str, properties: list[str], plugins: list[str], source: Path
) -> None:
    assert required(source, f"get_requires_for_build_{kind}", *properties) == plugins


def test_a_plain_build_requires_no_plugin(source: Path) -> None:
    code = "from polywheel import backend; print(backend.get_requires_for_build_wheel({}))"
    assert run([sys.executable, "-c", code], cwd=source).stdout.strip() == "[]"


@pytest.mark.parametrize("query", ["preset", "never"])
def test_a_provider_that_is_not_asked_is_not_installed(query: str, tmp_path: Path) -> None:
    text = SPICED.replace('["spice", "season"', '["x86_64", "season"').replace(
        "[variant.providers.spice]", "[variant.providers.x86_64]"
    )
    text += f'[tool.polywheel.providers.x86_64]\nquery = "{query}"\n'
    source = project(tmp_path, text)
    found = required(source, "get_requires_for_build_wheel", "x86_64::level::v3")
    assert found == ["variant-season"]


@pytest.mark.parametrize("frontend", ["build with pip", "build with uv", "uv", "pip"])
def test_an_isolated_build_installs_the_plugins_and_asks_them(
    frontend: str, source: Path, index: dict[str, str]
) -> None:
    commands = {
        "build with pip": [sys.executable, "-m", "build", "--wheel", "--installer", "pip"],
        "build with uv": [sys.executable, "-m", "build", "--wheel", "--installer", "uv"],
        "uv": ["uv", "build", "--wheel", "--python", sys.executable, "--verbose"],
        "pip": [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", "dist"),
            *("--verbose", "-Cvariant-filename=unlabelled", "."),
        ],
    }
    settings = [f"-Cvariant={HOT}", "-Cvariant=spice::herb::thyme", "-Cvariant=spice::herb::basil"]
    done = run([*commands[frontend], *settings], cwd=source, env=index)
    (asked,) = {
        line.partition(" in ")[2].strip()
        for line in done.stdout.splitlines()
        if "polywheel: note: provider spice: asked by" in line
    }
    assert Path(asked).name == "variant_spice.py"
    assert not Path(asked).exists()  # the isolated environment is gone
    (path,) = (source / "dist").glob("*.whl")
    wheel = read_wheel(path)
    label = wheel.metadata["Variant-Label"]
    assert wheel.variant_json["variants"][label] == {
        "spice": {"heat": ["hot"], "herb": ["basil", "thyme"]}
    }
    assert wheel.variant_json["providers"]["season"] == {
        "static-properties": {"time": ["summer", "winter"], "weather": ["rain", "sun"]},
        "feature-order": ["weather", "time"],
    }


def installed(folder: Path, plugins: Path) -> dict[str, str]:
    """Environment in which the plugins are there for a build without isolation."""
    install(folder, *sorted(plugins.glob("variant_*.whl")))
    return {"PYTHONPATH": str(folder)}


def refused(source: Path, *settings: str, env: dict[str, str] | None = None) -> str:
    """What a build without isolation says when it fails as it should: in words."""
    done = build(source, "--wheel", *settings, env=env, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert not list(source.rglob("*.whl"))
    return done.stdout


@pytest.mark.parametrize(
    ("properties", "what", "hint"),
    [
        (
            ["spice::heat::hott"],
            "error: the provider of 'spice' does not know the value of 'spice :: heat :: hott'",
            "did you mean 'hot'?",
        ),
        (
            ["spice::heet::hot"],
            "error: the provider of 'spice' does not know the feature of 'spice :: heet :: hot'",
            "did you mean 'heat'?",
        ),
        (
            ["spice::heat::hot", "spice::heat::mild"],
            "error: 'spice :: heat' allows one value in a variant, not 2: hot, mild",
            None,
        ),
        (
            ["season::time::autumn"],
            "error: the provider of 'season' does not know the value of 'season :: time :: autumn'",
            "known: summer, winter",
        ),
    ],
)
def test_a_bad_property_fails_with_the_nearest_one(
    properties: list[str], what: str, hint: str | None, source: Path, plugins: Path
) -> None:
    env = installed(source.parent / "installed", plugins)
    said = refused(source, *(f"-Cvariant={prop}" for prop in properties), env=env)
    assert what in said
    assert hint is None or f"  hint: {hint}" in said
    assert "  at: pyproject.toml: variant.providers.s" in said


def test_the_hook_ends_with_the_exit_code_of_providers(source: Path, plugins: Path) -> None:
    env = installed(source.parent / "installed", plugins)
    code = (
        "from polywheel import backend; "
        "backend.build_wheel('dist', {'variant': 'spice::heat::cold'})"
    )
    assert run([sys.executable, "-c", code], cwd=source, env=env, check=False).returncode == 3


def test_a_plugin_that_is_not_installed_is_told_with_what_to_do(source: Path) -> None:
    said = refused(source, "-Cvariant=absent::any::thing")
    assert "'variant_no_index_has_it' of the namespace 'absent' can't be imported" in said
    assert "install variant-no-index-has-it into the build environment" in said
    assert '[tool.polywheel.providers.absent] query = "preset" or "never"' in said


def test_build_requires_end_as_static_properties_that_variantlib_reads(
    source: Path, plugins: Path
) -> None:
    env = installed(source.parent / "installed", plugins)
    settings = ["-Cvariant=season::weather::sun", "-Cvariant=season::weather::rain"]
    wheel = read_wheel(build_wheel(source, source.parent / "out", *settings, env=env))
    provider = wheel.variant_json["providers"]["season"]
    assert not {"build-requires", "plugin-api", "requires"} & set(provider)
    label = wheel.metadata["Variant-Label"]
    theirs = VariantDistInfo(
        wheel.members[f"{wheel.dist_info}/variant.json"], expected_label=label
    ).providers["season"]
    assert theirs.static_properties == {"weather": ["rain", "sun"], "time": ["summer", "winter"]}
    assert theirs.feature_order == ["weather", "time"]
    assert not theirs.build_requires
    assert theirs.plugin_api is None
    said = [
        *wheel.metadata.get_all("Variant-Requires", []),
        *wheel.metadata.get_all("Variant-Plugin-API", []),
    ]
    assert not [line for line in said if "season" in line]


def test_the_null_variant_has_the_static_properties_too(source: Path, plugins: Path) -> None:
    env = installed(source.parent / "installed", plugins)
    wheel = read_wheel(build_wheel(source, source.parent / "out", "-Cnull-variant=", env=env))
    assert "static-properties" in wheel.variant_json["providers"]["season"]


def test_the_host_runs_on_a_newer_python(
    python312: str, source: Path, index: dict[str, str]
) -> None:
    command = ["uv", "build", "--wheel", "--python", python312, "--verbose"]
    done = run([*command, f"-Cvariant={HOT}"], cwd=source, env=index)
    assert "polywheel: note: provider spice: asked by" in done.stdout
