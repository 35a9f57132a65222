"""``polywheel label`` and ``unlabel`` on small wheels: what is refused, and that the original stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from wheels import (
    FIELDS,
    FILES,
    INFO,
    LABELLED,
    METADATA,
    NAME,
    files_of,
    names,
    with_record,
    zipped,
)

from polywheel.cli import main
from polywheel.examined import examine

WHEEL = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
PROVIDER = ("--provider", "x86_64=provider-variant-x86-64", "--no-validate")


def plain_wheel(folder: Path, name: str = NAME, metadata: bytes = FIELDS) -> Path:
    path = folder / name
    path.write_bytes(zipped(with_record({**FILES, METADATA: metadata, f"{INFO}/WHEEL": WHEEL})))
    return path


def label(path: Path, *more: str, level: str = "v3", name: str = "v3") -> int:
    """The exit code of ``polywheel label``."""
    return main(
        ["label", str(path), "-p", f"x86_64::level::{level}", "--label", name, *PROVIDER, *more]
    )


def show(path: Path) -> int:
    return main(["show", "--hashes", str(path)])


@pytest.mark.parametrize(
    "other", ["Demo-1.0-py3-none-any-v3.whl", "demo-1.0.0-py3-none-any-v3.whl"]
)
def test_a_namesake_is_known_however_its_release_is_spelled(
    other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One label, one property set for every wheel of a version (PEP 825)."""
    plain = plain_wheel(tmp_path)
    assert label(plain) == 0
    (tmp_path / LABELLED).rename(tmp_path / other)
    assert label(plain, level="v4") == 4
    assert f"{other} has the label 'v3' with other properties" in capsys.readouterr().err
    assert names(tmp_path) == sorted([NAME, other])
    assert label(plain) == 0  # the same properties


def test_a_label_of_another_version_is_no_namesake(tmp_path: Path) -> None:
    plain = plain_wheel(tmp_path)
    assert label(plain) == 0
    (tmp_path / LABELLED).rename(tmp_path / "demo-1.1-py3-none-any-v3.whl")
    assert label(plain, level="v4") == 0


def test_one_property_is_left_behind_a_line_that_is_no_header(tmp_path: Path) -> None:
    hidden = b"no header\nVariant-Label: v4\nVariant-Property: x86_64 :: level :: v4\n\ntext\n"
    assert label(plain_wheel(tmp_path, metadata=FIELDS + hidden)) == 0
    metadata = files_of((tmp_path / LABELLED).read_bytes())[METADATA]
    assert metadata.count(b"Variant-Property") == metadata.count(b"Variant-Label") == 1
    assert examine(tmp_path / LABELLED).disagreements == ()


def test_a_project_that_is_no_table_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(
        'project = ["demo"]\n[variant.default-priorities]\nnamespace = ["x86_64"]\n'
        '[variant.providers.x86_64]\nrequires = ["provider"]\n'
    )
    more = ["-p", "x86_64::level::v3", "--no-validate", "--pyproject", str(file)]
    assert main(["label", str(plain_wheel(tmp_path)), *more]) == 2
    said = capsys.readouterr().err
    assert "expected a table, found a list" in said
    assert "pyproject.toml: project" in said
