"""Which requirements count as installed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from polywheel.environments.installed import MissingRequirement, missing_requirements


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is searched first."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def distribution(
    site: Path,
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    url: object = None,
) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {text}" for text in requires]
    (folder / "METADATA").write_text("\n".join([*lines, ""]), encoding="utf-8")
    if url is not None:
        (folder / "direct_url.json").write_text(json.dumps(url), encoding="utf-8")


def missing(*requirements: str) -> list[str]:
    return [str(one) for one in missing_requirements(requirements)]


@pytest.mark.parametrize(
    ("installed", "requirement", "expected"),
    [
        ("2.6.0", "torch", []),
        ("2.6.0", "Torch==2.6.*", []),
        ("2.6.0+cpu", "torch==2.6.0", []),
        ("2.7.0.dev20250101", "torch>=2.6", []),
        ("2.5.1", "torch==2.6.*", ["torch==2.6.* (2.5.1 is installed)"]),
        ("2.5.1", "torch==2.6.*; python_version < '3'", []),
        ("2.5.1", "torch==2.6.*; python_version > '3'", None),
        ("not a version", "torch==2.6.*", ["torch==2.6.* (not a version is installed)"]),
    ],
)
def test_the_installed_version_counts(
    installed: str, requirement: str, expected: list[str] | None, site: Path
) -> None:
    distribution(site, "torch", installed)
    if expected is None:
        expected = [f"{requirement} ({installed} is installed)"]
    assert missing(requirement) == expected


def test_what_is_not_installed_is_missing_once(site: Path) -> None:
    distribution(site, "present_package", "1")
    wanted = ("absent-one>=1", "present.package", "absent-one>=1", "absent-two")
    assert missing_requirements(wanted) == (
        MissingRequirement("absent-one>=1"),
        MissingRequirement("absent-two"),
    )


def test_an_extra_needs_its_requirements(site: Path) -> None:
    requires = [
        "base-of-all",  # the installer's task
        'kernel>=2; extra == "fast"',
        'torch[fast]; extra == "all"',
        'other; extra == "all" and python_version < "3"',
        "malformed requirement; extra == 'all'",
    ]
    distribution(site, "torch", "2.6", requires=requires)
    assert missing("torch") == []
    assert missing("torch[fast]") == ["kernel>=2"]
    assert missing("torch[all]") == ["kernel>=2"]
    distribution(site, "kernel", "1", requires=['torch[all]; extra == "back"'])
    assert missing("torch[all]") == ["kernel>=2 (1 is installed)"]


def test_extras_that_require_each_other(site: Path) -> None:
    distribution(site, "chicken", "1", requires=['egg[x]; extra == "x"'])
    distribution(site, "egg", "1", requires=['chicken[x]; extra == "x"'])
    assert missing("chicken[x]") == []


@pytest.mark.parametrize(
    ("recorded", "required", "is_installed"),
    [
        ({"url": "https://example.org/torch-2.6.whl"}, "https://example.org/torch-2.6.whl", True),
        (
            {"url": "https://example.org/torch%2Dcpu-2.6.whl"},
            "https://me:secret@example.org/torch-cpu-2.6.whl#sha256=1",
            True,
        ),
        (
            {"url": "https://example.org/torch.git", "vcs_info": {"vcs": "git"}},
            "git+https://example.org/torch.git@v2.6",
            True,
        ),
        ({"url": "https://example.org/torch-2.5.whl"}, "https://example.org/torch-2.6.whl", False),
        (None, "https://example.org/torch-2.6.whl", False),
        ("no table", "https://example.org/torch-2.6.whl", False),
        ({"url": 5}, "https://example.org/torch-2.6.whl", False),
    ],
)
def test_a_url_needs_a_distribution_from_there(
    recorded: object, required: str, is_installed: bool, site: Path
) -> None:
    distribution(site, "torch", "2.6", url=recorded)
    requirement = f"torch @ {required}"
    assert missing(requirement) == ([] if is_installed else [requirement])


def test_a_distribution_without_metadata_is_not_installed(site: Path) -> None:
    (site / "torch-2.6.dist-info").mkdir()
    assert missing("torch") == ["torch"]
