"""Descriptions of systems in TOML: mistakes, tags, and markers of other machines."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
from packaging.tags import Tag, sys_tags
from packaging.version import Version

from polywheel.errors import ConfigError
from polywheel.index.resolve.systems import (
    System,
    marker_environment,
    read_system,
    read_systems,
    supported_tags,
    this_machine,
)


def read(folder: Path, text: str) -> System:
    path = folder / "system.toml"
    path.write_text(text, encoding="utf-8")
    return read_system(path)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [f"{one.what} at {one.at}" for one in caught.value.problems]


def fits(system: System, tag: str) -> bool:
    return Tag(*tag.split("-")) in system.tags


def test_the_machine_that_this_runs_on() -> None:
    system = this_machine(enabled=["debug"])
    assert set(system.tags) == set(sys_tags())
    assert system.python.release[:2] == sys.version_info[:2]
    assert system.environment["sys_platform"] == sys.platform
    assert system.packages["pyproject_hooks"] == Version(installed_version("pyproject-hooks"))
    assert system.enabled == {"debug"}
    assert not system.described


def test_the_order_of_tags_is_the_same_with_and_without_a_platform(tmp_path: Path) -> None:
    """Uv takes a manylinux wheel rather than one for linux_x86_64; packaging does not."""
    here = this_machine()
    best = next(tag.platform for tag in here.tags if not tag.platform.startswith("linux_"))
    said = read(tmp_path, f'platform = "{best}"')
    without = read(tmp_path, f'python = "{said.python.major}.{said.python.minor}"')
    assert list(here.tags) == list(without.tags) == list(said.tags)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    system = read(
        tmp_path,
        """
        name = "laptop"
        python = "3.13.2"
        platform = "manylinux_2_28_x86_64"
        enabled = ["debug"]
        [supported.x86_64]
        level = ["v2", "v1"]
        aes = ["on"]
        [supported.nvidia]
        feature-order = ["sm_arch", "cuda"]
        cuda = ["12.8"]
        sm_arch = ["90_real"]
        [supported.empty]
        [packages]
        Scikit-Learn = "1.7.0"
        """,
    )
    assert (system.name, system.python) == ("laptop", Version("3.13.2"))
    assert system.enabled == {"debug"}
    assert json.dumps(system.supported) == json.dumps(
        {
            "x86_64": {"level": ["v2", "v1"], "aes": ["on"]},
            "nvidia": {"sm_arch": ["90_real"], "cuda": ["12.8"]},
            "empty": {},
        }
    )
    assert system.packages == {"scikit_learn": Version("1.7.0")}
    assert fits(system, "cp313-cp313-manylinux_2_17_x86_64")
    assert not fits(system, "cp313-cp313-manylinux_2_34_x86_64")
    assert not fits(system, "cp312-cp312-manylinux_2_17_x86_64")
    assert system.environment["python_version"] == "3.13"


def test_what_is_not_said_is_as_here(tmp_path: Path) -> None:
    system, here = read(tmp_path, ""), this_machine()
    assert system.name == "system"
    assert list(system.tags) == list(here.tags)
    assert (system.python, system.packages) == (here.python, here.packages)
    assert system.described
    assert not system.supported


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('python = "4.0"', "'4.0' is not a Python version at system.toml: python"),
        ('python = "3"', "'3' is not a Python version at system.toml: python"),
        ("python = 3.12", "expected a string, found 3.12 at system.toml: python"),
        ('platform = "../x"', "malformed platform tag '../x' at system.toml: platform"),
        ('platfrom = "win32"', "unknown key 'platfrom' at system.toml: platfrom"),
        ('enabled = ["A"]', "malformed name 'A' at system.toml: enabled[0]"),
        ('[supported.X]\na = ["b"]', "malformed name 'X' at system.toml: supported.X"),
        (
            '[supported.x]\nlevel = "v3"',
            "expected a list of strings, found a string at system.toml: supported.x.level",
        ),
        (
            '[supported.x]\nlevel = ["v3", "V2"]',
            "malformed name 'V2' at system.toml: supported.x.level[1]",
        ),
        (
            '[supported.x]\nlevel = ["v3", "v3"]',
            "'v3' is listed twice at system.toml: supported.x.level[1]",
        ),
        ('[supported.x]\nLevel = ["v3"]', "unknown key 'Level' at system.toml: supported.x.Level"),
        (
            '[supported.x]\nfeature-order = ["a"]\nb = ["c"]',
            "feature-order lists a; there are b at system.toml: supported.x.feature-order",
        ),
        (
            "[supported.abi_dependency]\ntorch = ['2']",
            "abi_dependency depends on installed packages at system.toml: supported.abi_dependency",
        ),
        (
            '[packages]\ntorch = "new"',
            "'new' is not a version (PEP 440) at system.toml: packages.torch",
        ),
        ("[packages]\ntorch = 2", "expected a string, found 2 at system.toml: packages.torch"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, expected: str, tmp_path: Path) -> None:
    assert problems(tmp_path, text) == [expected]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, 'python = "x"\nnaem = "y"\n[packages]\na = "?"\n')
    assert len(found) == 3


@pytest.mark.parametrize("content", [b"name = ", b"\xff", b"a = [" * 2000])
def test_what_is_no_toml(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "system.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"invalid TOML|not UTF-8"):
        read_system(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_system(tmp_path / "system.toml")


def test_a_folder_of_systems(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("", encoding="utf-8")
    (tmp_path / "a.toml").write_text('name = "first"', encoding="utf-8")
    (tmp_path / "README.md").write_text("no system", encoding="utf-8")
    assert [system.name for system in read_systems(tmp_path)] == ["first", "b"]


def test_a_folder_of_systems_with_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"contains no \*.toml"):
        read_systems(tmp_path)
    with pytest.raises(ConfigError, match="can't be listed"):
        read_systems(tmp_path / "nowhere")
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text("python = 1", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_systems(tmp_path)
    assert [one.at for one in caught.value.problems] == ["a.toml: python", "b.toml: python"]
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text('name = "same"', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the name 'same' is also used in a.toml"):
        read_systems(tmp_path)


@pytest.mark.parametrize(
    ("platform", "older", "others"),
    [
        ("manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_29_aarch64"),
        ("manylinux_2_28_aarch64", "linux_aarch64", "manylinux_2_16_aarch64"),
        ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux1_aarch64"),
        ("manylinux_2_28_x86_64", "linux_x86_64", "musllinux_1_2_x86_64"),
        ("manylinux_2_28_x86_64", "manylinux1_x86_64", "musllinux_1_2_x86_64"),
        ("manylinux2014_x86_64", "manylinux1_x86_64", "manylinux_2_18_x86_64"),
        ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64", "manylinux_2_17_x86_64"),
        ("macosx_14_0_arm64", "macosx_11_0_universal2", "macosx_15_0_arm64"),
        ("win_amd64", "win_amd64", "win32"),
        ("linux_x86_64", "linux_x86_64", "manylinux_2_17_x86_64"),
    ],
)
def test_a_platform_takes_the_older_ones_too(platform: str, older: str, others: str) -> None:
    tags = supported_tags(Version("3.12.0"), platform, free_threaded=False)
    assert tags[Tag("cp312", "cp312", platform)] <= tags[Tag("cp312", "cp312", older)]
    assert Tag("cp312", "cp312", others) not in tags
    assert {Tag("cp311", "abi3", older), Tag("py3", "none", "any")} <= set(tags)


def test_a_python_without_global_lock() -> None:
    tags = supported_tags(Version("3.13.0"), "win_amd64", free_threaded=True)
    assert Tag("cp313", "cp313t", "win_amd64") in tags
    assert not {Tag("cp313", "cp313", "win_amd64"), Tag("cp313", "abi3", "win_amd64")} & set(tags)


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("win_amd64", ("nt", "win32", "Windows", "AMD64")),
        ("win32", ("nt", "win32", "Windows", "x86")),
        ("win_arm64", ("nt", "win32", "Windows", "ARM64")),
        ("macosx_14_0_arm64", ("posix", "darwin", "Darwin", "arm64")),
        ("manylinux_2_28_aarch64", ("posix", "linux", "Linux", "aarch64")),
        ("manylinux2014_x86_64", ("posix", "linux", "Linux", "x86_64")),
        ("musllinux_1_2_x86_64", ("posix", "linux", "Linux", "x86_64")),
        ("linux_ppc64le", ("posix", "linux", "Linux", "ppc64le")),
    ],
)
def test_markers_follow_from_the_platform(platform: str, expected: tuple[str, ...]) -> None:
    environment = marker_environment(Version("3.12.4"), platform)
    names = ("os_name", "sys_platform", "platform_system", "platform_machine")
    assert tuple(environment[name] for name in names) == expected
    assert environment["python_full_version"] == "3.12.4"
