"""Indexes that the user set for pip or uv are used by both installers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

from polywheel.environments import installers
from polywheel.environments.installers import find_installer, pip_settings
from polywheel.environments.virtual_environments import Environments, this_interpreter
from polywheel.errors import ConfigError
from support.wheels import installable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of this machine; ``demo`` 1.0 to 4.0rc1 in a folder of their own each."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) and not name.endswith("_CACHE_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for version in ("1.0", "2.0", "3.0", "4.0rc1"):
        index(tmp_path, version)
    return tmp_path / "home"


def index(folder: Path, version: str) -> None:
    """A folder of links, and an index, that has one version of demo."""
    place = folder / f"index{version[0]}" / "demo"
    place.mkdir(parents=True)
    name = f"demo-{version}-py3-none-any.whl"
    (place / name).write_bytes(installable(version))
    (place / "index.html").write_text(f"<!DOCTYPE html><a href='{name}'>{name}</a>", "utf-8")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def url(number: int) -> str:
    return Path(f"index{number}").absolute().as_uri()


def links(number: int) -> str:
    return str(Path(f"index{number}", "demo").absolute())


def installed(requirement: str = "demo") -> list[str]:
    """What is installed, and what was said."""
    environments = Environments(fresh=False, notify=lambda _: None)
    return [
        one.removeprefix("demo==")
        for one in environments.get(this_interpreter(), [requirement]).resolved
        if one.startswith("demo==")
    ]


def settings(name: str) -> dict[str, str]:
    """By name: variables, and the version of demo that they lead to."""
    constraint = write(Path("constraint.txt"), "demo<3\n")
    return {
        "index": {"PIP_INDEX_URL": url(1)},
        "extra": {"PIP_INDEX_URL": url(2), "PIP_EXTRA_INDEX_URL": url(1)},
        "extras": {"PIP_INDEX_URL": url(1), "PIP_EXTRA_INDEX_URL": f"{url(3)} {url(2)}"},
        "links": {"PIP_NO_INDEX": "true", "PIP_FIND_LINKS": f"{links(1)} {links(2)}"},
        "relative": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(Path("index1", "demo"))},
        "constraint": {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{links(1)} {links(2)} {links(3)}",
            "PIP_CONSTRAINT": constraint.name,
        },
        "pre": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{links(3)} {links(4)}", "PIP_PRE": "1"},
        "not uv's": {"PIP_INDEX_URL": url(2), "PIP_PREFER_BINARY": "1"},
        "both": {"PIP_INDEX_URL": url(2), "UV_FIND_LINKS": links(1), "PIP_FIND_LINKS": links(1)},
    }[name]


VERSIONS = {
    "index": "1.0",
    "extra": "2.0",
    "extras": "3.0",
    "links": "2.0",
    "relative": "1.0",
    "constraint": "2.0",
    "pre": "4.0rc1",
    "not uv's": "2.0",
    "both": "2.0",
}


@pytest.mark.parametrize("name", VERSIONS)
def test_pips_variables_hold_where_uv_installs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in settings(name).items():
        monkeypatch.setenv(variable, value)
    assert installed() == [VERSIONS[name]]


@pytest.mark.parametrize("name", ["constraint"])
def test_pips_variables_hold_where_pip_installs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installers, "find_uv", lambda: None)
    for variable, value in settings(name).items():
        monkeypatch.setenv(variable, value)
    assert installed() == [VERSIONS[name]]


@pytest.mark.parametrize("where", ["user", "legacy", "system", "named", "environment"])
def test_pips_configuration_files_hold_where_uv_installs(
    where: str, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "named" / "pip.conf"))
    path = {
        "user": home / ".config" / "pip" / "pip.conf",
        "legacy": home / ".pip" / "pip.conf",
        "system": tmp_path / "xdg" / "pip" / "pip.conf",
        "named": tmp_path / "named" / "pip.conf",
        "environment": tmp_path / "prefix" / "pip.conf",
    }[where]
    write(path, f"[global]\nindex-url = {url(2)}\n[install]\nfind-links =\n  {links(1)}\n")
    assert installed() == ["2.0"]


def test_a_setting_of_uv_goes_before_pips(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Each by itself: an index that is told to uv does not make it forget another one of pip's."""
    monkeypatch.setenv("PIP_INDEX_URL", url(3))
    monkeypatch.setenv("UV_DEFAULT_INDEX", url(1))
    assert installed() == ["1.0"]
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", url(2))
    assert installed() == ["2.0"]
    for name in ("UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name)
    write(home / ".config" / "uv" / "uv.toml", f'[[index]]\nurl = "{url(2)}"\ndefault = true\n')
    assert installed() == ["2.0"]


def test_nothing_undoes_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", url(3))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", links(1))
    assert installed() == ["1.0"]


def test_the_folder_that_polywheel_runs_in_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Uv reads a uv.toml or pyproject.toml of its working directory, or of one above it."""
    write(tmp_path / "uv.toml", f'index-url = "{url(3)}"\n')
    monkeypatch.setenv("PIP_INDEX_URL", url(1))
    assert installed() == ["1.0"]


@pytest.mark.parametrize("there", [True, False])
def test_a_setting_of_uv_is_not_lost_where_pip_installs(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", url(1))
    if there:
        monkeypatch.setenv("PIP_PREFER_BINARY", "1")
    else:
        monkeypatch.setattr(installers, "find_uv", lambda: None)
    with pytest.raises(ConfigError, match="setting is for uv") as caught:
        find_installer(os.environ)
    (problem,) = caught.value.problems
    assert problem.at == "UV_DEFAULT_INDEX"
    assert ("prefer-binary" if there else "uv was not found") in problem.what


def test_a_page_of_links_on_this_disk_is_for_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uv would look for a folder of that name."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(Path(links(3), "index.html")))
    assert find_installer(os.environ).uv is None
    monkeypatch.setenv("PIP_FIND_LINKS", links(3))
    assert find_installer(os.environ).uv is not None
    monkeypatch.setenv("PIP_FIND_LINKS", str(Path("missing").absolute()))
    assert find_installer(os.environ).uv is None, (
        "it would refuse to go on; pip says so and goes on"
    )


def test_where_pip_installs_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_USE_DEPRECATED", "legacy-resolver")
    found = find_installer(os.environ)
    assert found.uv is None
    assert found.note == "using pip, because uv has no equivalent of pip's setting use-deprecated"
    assert found.environment["PIP_USE_DEPRECATED"] == "legacy-resolver"


def test_where_packages_are_installed_to_is_not_for_the_user_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PIP_TARGET", "PIP_USER", "PIP_PREFIX", "UV_PROJECT", "UV_WORKING_DIR"):
        monkeypatch.setenv(name, "1")
    found = find_installer(os.environ)
    assert found.uv is not None
    assert not [name for name in found.environment if name.startswith(("PIP_", "UV_"))] or {
        name for name in found.environment if name.startswith("UV_")
    } == {"UV_CACHE_DIR"}


@pytest.mark.parametrize(
    ("name", "value", "counts"),
    [
        ("PIP_INDEX_URL", "https://a.invalid/simple", True),
        ("PIP_PRE", "1", True),
        ("UV_EXCLUDE_NEWER", "2025-01-01", True),
        ("PIP_NO_COLOR", "1", False),
        ("PIP_TIMEOUT", "100", False),
        ("UV_CONCURRENT_BUILDS", "3", False),
        ("UV_INDEX_COMPANY_PASSWORD", "secret", False),
    ],
)
def test_what_an_environment_is_known_by(
    name: str, value: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_installer(os.environ).identity
    monkeypatch.setenv(name, value)
    assert (find_installer(os.environ).identity != before) == counts


@pytest.mark.parametrize("name", ["PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_OVERRIDE"])
def test_a_file_with_constraints_counts_by_its_content(name: str, tmp_path: Path) -> None:
    """It may be in the source, whose copy has another path after each change."""
    files = [tmp_path / "first", tmp_path / "second", tmp_path / "third"]
    for file, text in zip(files, ("demo==1", "demo==1", "demo==2"), strict=True):
        file.write_text(text, encoding="utf-8")
    first, second, third = (
        find_installer({**os.environ, name: str(file)}).identity for file in files
    )
    assert first == second
    assert first != third


def test_a_password_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some CI systems make a new one for every run."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:first@a.invalid/simple")
    monkeypatch.setenv("UV_INDEX", "https://user:first@b.invalid/simple")
    before = find_installer(os.environ).identity
    assert "first" not in json.dumps(before)
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:second@a.invalid/simple")
    monkeypatch.setenv("UV_INDEX", "https://user:second@b.invalid/simple")
    assert find_installer(os.environ).identity == before


SCENARIOS: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "a user's file": ({"home/.config/pip/pip.conf": "[global]\nindex-url = https://a\n"}, {}),
    "sections": (
        {
            "xdg/pip/pip.conf": "[install]\nindex_url = https://a\n[download]\nno-index = yes\n",
            "home/.config/pip/pip.conf": "[global]\nindex-url = https://b\nfind-links = c\n   d\n",
        },
        {},
    ),
    "a variable": (
        {"home/.config/pip/pip.conf": "[install]\nextra-index-url = https://b\n"},
        {"PIP_EXTRA_INDEX_URL": "https://c https://d", "PIP_NO_INDEX": "off"},
    ),
    "an empty variable": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://b\n"},
        {"PIP_INDEX_URL": "", "PIP_TRUSTED_HOST": "b"},
    ),
    "an empty value": (
        {
            "xdg/pip/pip.conf": "[global]\nindex-url = https://a\n",
            "home/.config/pip/pip.conf": "[global]\nindex-url =\nconstraint = c.txt\n",
        },
        {},
    ),
    "a named file in place of the user's": (
        {
            "home/.config/pip/pip.conf": "[global]\nindex-url = https://a\nno-index = yes\n",
            "named": "[:env:]\nindex-url = https://c\n",
        },
        {"PIP_CONFIG_FILE": "named"},
    ),
    "a named file that is not there": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://a\n"},
        {"PIP_CONFIG_FILE": "missing"},
    ),
    "no files": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://a\n"},
        {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "x"},
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="places of files as POSIX has them")
@pytest.mark.parametrize("name", SCENARIOS)
def test_pip_reads_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip itself is asked what its settings are."""
    files, variables = SCENARIOS[name]
    for path, text in files.items():
        write(tmp_path / path, text)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    command = import_module("pip._internal.commands.install").InstallCommand("install", "")
    theirs = vars(command.parser.get_default_values())
    ours = pip_settings(os.environ)
    for option, expected in {
        "index-url": theirs["index_url"],
        "extra-index-url": theirs["extra_index_urls"],
        "find-links": theirs["find_links"],
        "constraint": theirs["constraints"],
        "trusted-host": theirs["trusted_hosts"],
    }.items():
        found = ours.get(option, "").split()
        usual = ["https://pypi.org/simple"] if option == "index-url" else []
        assert (found or usual) == ([expected] if isinstance(expected, str) else expected), option
    assert (ours.get("no-index") in {"yes", "1"}) == theirs["no_index"]


def test_a_file_that_pip_could_not_read(home: Path) -> None:
    path = write(home / ".config" / "pip" / "pip.conf", "index-url = https://a\n")
    with pytest.raises(ConfigError, match="pip's configuration can't be read") as caught:
        find_installer(os.environ)
    assert caught.value.problems[0].at == str(path)


def test_a_file_that_uv_could_not_read(home: Path) -> None:
    path = write(home / ".config" / "uv" / "uv.toml", "index-url = [\n")
    with pytest.raises(ConfigError, match="uv's configuration can't be read") as caught:
        find_installer(os.environ)
    assert caught.value.problems[0].at == str(path)
