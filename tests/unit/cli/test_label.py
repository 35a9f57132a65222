"""``polywheel label`` and ``unlabel`` on small wheels: errors, and originals that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import polywheel
from polywheel.cli import main
from polywheel.wheel import stamp
from polywheel.wheel.archive import rewrite
from polywheel.wheel.inspect import inspect_wheel
from support.wheels import (
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

WHEEL = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
PROVIDER = ("--provider", "x86_64=provider-variant-x86-64", "--no-validate")


def original_wheel(folder: Path, name: str = NAME, metadata: bytes = FIELDS) -> Path:
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
    plain = original_wheel(tmp_path)
    assert label(plain) == 0
    (tmp_path / LABELLED).rename(tmp_path / other)
    assert label(plain, level="v4") == 4
    said = capsys.readouterr().err
    assert "the label 'v3' stands for different properties: 'x86_64 :: level :: v4' in " in said
    assert f"'x86_64 :: level :: v3' in {tmp_path / other}" in said
    assert names(tmp_path) == sorted([NAME, other])
    assert label(plain) == 0  # the same properties


def test_a_namesake_counts_though_its_tags_are_not_those_of_its_filename(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installers take such wheels; polywheel writes them with a warning."""
    plain = original_wheel(tmp_path)
    assert label(plain) == 0
    (tmp_path / LABELLED).rename(tmp_path / "demo-1.0-py2-none-any-v3.whl")
    assert inspect_wheel(tmp_path / "demo-1.0-py2-none-any-v3.whl").disagreements
    assert label(plain, level="v4") == 4
    said = capsys.readouterr().err
    assert f"'x86_64 :: level :: v3' in {tmp_path / 'demo-1.0-py2-none-any-v3.whl'}" in said


@pytest.mark.parametrize("folder", [".", "missing"])
def test_the_error_for_a_missing_wheel_names_the_wheel(folder: str, tmp_path: Path) -> None:
    wheel = tmp_path / folder / NAME
    with pytest.raises(polywheel.WheelError) as raised:
        polywheel.label(
            wheel,
            "x86_64::level::v3",
            label="v3",
            providers="x86_64=x86-64-variant-provider",
            validate=False,
        )
    (problem,) = raised.value.problems
    assert problem.what == f"{NAME} can't be read: No such file or directory"
    assert problem.at == str(wheel.parent)
    assert names(tmp_path) == []
    with pytest.raises(polywheel.WheelError, match=f"{LABELLED} can't be read"):
        polywheel.unlabel(wheel.with_name(LABELLED))


MATRIX = """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[variant.default-priorities]
namespace = ["x86_64"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
[tool.polywheel]
build-backend = "setuptools.build_meta"
[tool.polywheel.matrix]
label = "x86_64_{level}"
[tool.polywheel.matrix.axes.level]
v3 = ["x86_64 :: level :: v3"]
v4 = ["x86_64 :: level :: v4"]
"""


def test_labels_of_the_matrix_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As for the build backend: properties and label stand for each other."""
    (tmp_path / "pyproject.toml").write_text(MATRIX)
    wheel, labelled = original_wheel(tmp_path), NAME.replace(".whl", "-x86_64_v3.whl")
    options = ["--pyproject", str(tmp_path / "pyproject.toml"), "--no-validate"]
    assert main(["label", str(wheel), "-p", "x86_64::level::v3", *options]) == 0
    content = (tmp_path / labelled).read_bytes()
    (tmp_path / labelled).unlink()
    assert main(["label", str(wheel), "--label", "x86_64_v3", *options]) == 0
    assert (tmp_path / labelled).read_bytes() == content
    (tmp_path / labelled).unlink()
    written = polywheel.label(wheel, "x86_64::level::v3", pyproject=tmp_path, validate=False)
    assert written == tmp_path / labelled
    assert main(["label", str(wheel), "--label", "x86_64_v5", *options]) == 2
    errors = capsys.readouterr().err
    assert "no variant with the label 'x86_64_v5' is declared" in errors
    assert "at: --label" in errors
    assert "did you mean 'x86_64_v4'?" in errors
    other = ["-p", "x86_64::level::v3", "--label", "fast"]
    assert main(["label", str(wheel), *other, *options]) == 2
    assert "declared with the label 'x86_64_v3', not 'fast'" in capsys.readouterr().err
    assert main(["label", str(wheel), "-p", "x86_64::level::v2", *options]) == 0


def test_a_glob_may_match_folders_without_wheels(tmp_path: Path) -> None:
    original_wheel(tmp_path)
    (tmp_path / "empty").mkdir()
    assert label(tmp_path / "*") == 0
    assert show(tmp_path / "**") == 0
    assert show(tmp_path / "empt*") == 2
    assert show(tmp_path / "empty") == 2


def test_a_label_of_another_version_is_no_namesake(tmp_path: Path) -> None:
    plain = original_wheel(tmp_path)
    assert label(plain) == 0
    (tmp_path / LABELLED).rename(tmp_path / "demo-1.1-py3-none-any-v3.whl")
    assert label(plain, level="v4") == 0


def test_one_property_is_left_behind_a_line_that_is_no_header(tmp_path: Path) -> None:
    hidden = b"no header\nVariant-Label: v4\nVariant-Property: x86_64 :: level :: v4\n\ntext\n"
    assert label(original_wheel(tmp_path, metadata=FIELDS + hidden)) == 0
    metadata = files_of((tmp_path / LABELLED).read_bytes())[METADATA]
    assert metadata.count(b"Variant-Property") == metadata.count(b"Variant-Label") == 1
    assert inspect_wheel(tmp_path / LABELLED).disagreements == ()


def test_a_project_that_is_no_table_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(
        'project = ["demo"]\n[variant.default-priorities]\nnamespace = ["x86_64"]\n'
        '[variant.providers.x86_64]\nrequires = ["provider"]\n'
    )
    more = ["-p", "x86_64::level::v3", "--no-validate", "--pyproject", str(file)]
    assert main(["label", str(original_wheel(tmp_path)), *more]) == 2
    said = capsys.readouterr().err
    assert "expected a table, found a list" in said
    assert "pyproject.toml: project" in said


@pytest.mark.parametrize("more", [(), ("--in-place",)], ids=["copied", "in place"])
def test_a_wheel_that_would_not_be_right_is_not_written(
    more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ``polywheel show`` would refuse is seen before anything is replaced."""
    path = tmp_path / NAME
    path.write_bytes(zipped(with_record({**FILES, METADATA: FIELDS})))
    before = path.read_bytes()
    assert label(path, *more) == 4
    assert "demo-1.0.dist-info/WHEEL is missing" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("more", [(), ("--in-place",)], ids=["copied", "in place"])
def test_what_was_wrong_before_is_told_and_no_hindrance(
    more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wheels whose WHEEL lists other tags are common, and pip takes them."""
    tags = WHEEL.replace(b"any", b"linux_x86_64")
    path = tmp_path / NAME
    path.write_bytes(zipped(with_record({**FILES, METADATA: FIELDS, f"{INFO}/WHEEL": tags})))
    before = path.read_bytes()
    assert label(path, *more) == 0
    assert "WHEEL lists the tags py3-none-linux_x86_64" in capsys.readouterr().err
    path.unlink(missing_ok=True)
    assert main(["unlabel", str(tmp_path / LABELLED), *more]) == 0
    assert "WHEEL lists the tags py3-none-linux_x86_64" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_source_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = original_wheel(tmp_path)
    real_rewrite = rewrite.rewrite

    def changing(*arguments: Any, **options: Any) -> None:
        real_rewrite(*arguments, **options)
        with path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(stamp, "rewrite", changing)
    assert label(path) == 4
    assert "was changed while it was read" in capsys.readouterr().err
    assert names(tmp_path) == [NAME]
