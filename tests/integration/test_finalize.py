"""``polywheel finalize``: the final filenames, refused wheels, and interrupted runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polywheel.cli import main
from polywheel.wheel import finalize
from support.builds import read_wheel, snapshot
from support.uv_releases import BLAS, Properties, write_wheel

NAME = "demo-1.0-py3-none-any.whl"
MKL: Properties = {"blas": {"library": ["mkl"]}}
OPENBLAS: Properties = {"blas": {"library": ["openblas"]}}


def document(label: str, properties: Properties) -> dict[str, Any]:
    return {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": ["blas"]},
        "providers": {"blas": {"static-properties": BLAS["static-properties"]}},
        "variants": {label: properties},
    }


def stamped(folder: Path, label: str, properties: Properties = MKL, **options: Any) -> Path:
    """A wheel of a variant, under its plain name, as cibuildwheel leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_wheel(folder, None, document=document(label, properties), **options)


def labelled(label: str) -> str:
    return NAME.replace(".whl", f"-{label}.whl")


def states(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Content and time of every file: what a run that does nothing leaves alone."""
    return {one.name: (one.stat().st_mtime_ns, one.read_bytes()) for one in folder.iterdir()}


def test_a_wheel_gets_its_label_where_it_lies(tmp_path: Path) -> None:
    content = stamped(tmp_path, "fast").read_bytes()
    assert main(["finalize", str(tmp_path)]) == 0
    assert snapshot(tmp_path) == {labelled("fast"): content}


def test_folders_are_gathered_into_one_and_stay_as_they_are(tmp_path: Path) -> None:
    variants: Mapping[str, Properties] = {"fast": MKL, "slow": OPENBLAS, "null": {}}
    for label, properties in variants.items():
        stamped(tmp_path / "in" / label, label, properties)
    (tmp_path / "in" / "fast" / "demo-1.0.tar.gz").write_text("an sdist")
    (tmp_path / "in" / "fast" / "build.log").write_text("a log")
    before = snapshot(tmp_path / "in")
    folders = [str(tmp_path / "in" / label) for label in variants]
    out = tmp_path / "new" / "dist"
    assert main(["finalize", *folders, "-o", str(out)]) == 0
    assert snapshot(tmp_path / "in") == before
    assert sorted(snapshot(out)) == sorted(map(labelled, variants))
    for label in variants:
        assert (out / labelled(label)).read_bytes() == before[f"{label}/{NAME}"]
    assert main(["show", "--hashes", str(out)]) == 0


@pytest.mark.parametrize("again", ["the folders", "the result", "both"])
def test_a_second_run_changes_nothing(again: str, tmp_path: Path) -> None:
    stamped(tmp_path / "in", "fast")
    out = tmp_path / "dist"
    assert main(["finalize", str(tmp_path / "in"), "-o", str(out)]) == 0
    before = states(out), states(tmp_path / "in")
    folders: dict[str, list[str | Path]] = {
        "the folders": [tmp_path / "in", "-o", out],
        "the result": [out],
        "both": [tmp_path / "in", out, "-o", out],
    }
    assert main(["finalize", *map(str, folders[again])]) == 0
    assert (states(out), states(tmp_path / "in")) == before


def test_a_labelled_wheel_is_verified_and_taken_over(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    good = write_wheel(tmp_path / "in", "fast", document=document("fast", MKL))
    write_wheel(tmp_path / "in", "other", document=document("slow", OPENBLAS))
    out = tmp_path / "dist"
    assert main(["finalize", str(tmp_path / "in"), "-o", str(out)]) == 4
    assert snapshot(out) == {good.name: good.read_bytes()}


def test_json_says_what_became_of_each_wheel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = stamped(tmp_path, "fast")
    assert main(["finalize", str(wheel), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["wheels"]
    assert found == {
        "wheel": str(wheel),
        "written": str(tmp_path / labelled("fast")),
        "label": "fast",
        "properties": ["blas :: library :: mkl"],
        "changed": True,
    }


def test_a_wheel_without_a_variant_is_refused_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamped(tmp_path / "a", "fast")
    (tmp_path / "b").mkdir()
    write_wheel(tmp_path / "b", None)
    out = tmp_path / "dist"
    arguments = ["finalize", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(out)]
    assert main(arguments) == 4
    assert "it has no variant.json" in (error := capsys.readouterr().err)
    assert "--plain" in error
    assert list(snapshot(out)) == [labelled("fast")]
    assert list(snapshot(tmp_path / "b")) == [NAME]
    assert main([*arguments, "--plain"]) == 0
    assert sorted(snapshot(out)) == sorted([labelled("fast"), NAME])


def test_plain_lets_no_wheel_pass_that_has_a_part_of_a_variant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = "Variant-Property: blas :: library :: mkl\nVariant-Label: fast\n"
    wheel = write_wheel(tmp_path, None, headers=headers)
    assert main(["finalize", "--plain", str(wheel)]) == 4
    assert "no variant.json" in capsys.readouterr().err
    assert list(snapshot(tmp_path)) == [NAME]


def test_a_wheel_whose_parts_disagree_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = "Variant-Property: blas :: library :: openblas\nVariant-Label: fast\n"
    wheel = stamped(tmp_path, "fast", headers=headers)
    assert main(["finalize", str(wheel)]) == 4
    assert "openblas" in capsys.readouterr().err
    assert list(snapshot(tmp_path)) == [NAME]


def test_hashes_are_looked_at_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = stamped(tmp_path, "fast")
    content = wheel.read_bytes()
    text = b"filename = 'demo-1.0-py3-none-any.whl'"
    assert text in content
    wheel.write_bytes(content.replace(text, text.replace(b"name", b"NAME", 1)))
    assert main(["finalize", "--hashes", str(wheel)]) == 4
    assert "demo.py" in capsys.readouterr().err
    assert list(snapshot(tmp_path)) == [NAME]


def test_a_file_that_is_no_wheel_does_not_keep_the_others_from_their_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamped(tmp_path, "fast")
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("not a zip")
    assert main(["finalize", str(tmp_path)]) == 4
    assert "broken-1.0" in capsys.readouterr().err
    assert sorted(snapshot(tmp_path)) == ["broken-1.0-py3-none-any.whl", labelled("fast")]


def test_two_wheels_of_one_name_are_refused_by_name_and_none_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = stamped(tmp_path / "one", "fast")
    other = stamped(tmp_path / "other", "fast", headers="Summary: another build\n")
    stamped(tmp_path / "third", "slow", OPENBLAS)
    before = snapshot(tmp_path)
    out = tmp_path / "dist"
    folders = [str(tmp_path / name) for name in ("one", "other", "third")]
    assert main(["finalize", *folders, "-o", str(out)]) == 4
    error = capsys.readouterr().err
    assert str(one) in error
    assert str(other) in error
    assert labelled("fast") in error
    assert list(snapshot(out)) == [labelled("slow")]
    assert {name: one for name, one in snapshot(tmp_path).items() if name in before} == before


@pytest.mark.parametrize("where", ["in place", "copied"])
def test_a_wheel_that_changes_meanwhile_is_refused(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it gets the label of the variant that it was."""
    wheel = stamped(tmp_path, "fast", MKL)
    real = finalize._collisions

    def another_run(*arguments: Any, **options: Any) -> Any:
        yield from real(*arguments, **options)
        stamped(tmp_path, "slow", OPENBLAS)

    monkeypatch.setattr(finalize, "_collisions", another_run)
    out = ["-o", str(tmp_path / "out")] if where == "copied" else []
    assert main(["finalize", str(wheel), *out]) == 4
    assert "was changed while finalize ran" in capsys.readouterr().err
    assert wheel.exists()
    assert not list(tmp_path.rglob("*-fast.whl"))


@pytest.mark.parametrize("version", ["1.0", "1.0.0"])
@pytest.mark.parametrize("there_already", [False, True])
def test_one_label_with_other_properties_is_refused(
    there_already: bool, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = stamped(tmp_path / "one", "fast", MKL)
    other = stamped(tmp_path / "other", "fast", OPENBLAS, tags="cp311-abi3-win32", version=version)
    out = tmp_path / "dist"
    if there_already:
        assert main(["finalize", str(other), "-o", str(out)]) == 0
        there = states(out)
        assert main(["finalize", str(one), "-o", str(out)]) == 4
        assert states(out) == there
    else:
        assert main(["finalize", str(one), str(other), "-o", str(out)]) == 4
        assert not snapshot(out)
    error = capsys.readouterr().err
    assert "mkl" in error
    assert "openblas" in error
    assert one.exists()
    assert other.exists()


@pytest.mark.parametrize("in_place", [False, True])
def test_a_wheel_that_is_there_is_written_over_by_force_only(
    in_place: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = stamped(tmp_path / "in", "fast")
    folder = wheel.parent if in_place else tmp_path / "dist"
    folder.mkdir(exist_ok=True)
    options = [] if in_place else ["-o", str(folder)]
    target = folder / labelled("fast")
    other = stamped(tmp_path / "other", "fast", headers="Summary: another build\n")
    old, new = other.read_bytes(), wheel.read_bytes()
    target.write_bytes(old)
    assert main(["finalize", str(wheel), *options]) == 4
    error = capsys.readouterr().err
    assert str(wheel) in error
    assert target.name in error
    assert "--force" in error
    assert (target.read_bytes(), wheel.read_bytes()) == (old, new)
    assert main(["finalize", str(wheel), *options, "--force"]) == 0
    assert target.read_bytes() == new


@pytest.mark.parametrize("how", [os.link, shutil.copyfile])
def test_a_run_that_was_killed_between_two_names_is_ended_by_the_next(
    how: Any, tmp_path: Path
) -> None:
    wheel = stamped(tmp_path, "fast")
    content = wheel.read_bytes()
    how(wheel, tmp_path / labelled("fast"))
    assert main(["finalize", str(tmp_path)]) == 0
    assert snapshot(tmp_path) == {labelled("fast"): content}


def test_a_wheel_given_twice_is_done_once(tmp_path: Path) -> None:
    wheel = stamped(tmp_path, "fast")
    roundabout = tmp_path / ".." / tmp_path.name / wheel.name
    assert main(["finalize", str(wheel), str(roundabout), str(tmp_path)]) == 0
    assert list(snapshot(tmp_path)) == [labelled("fast")]


def test_the_output_folder_may_be_where_the_wheels_are(tmp_path: Path) -> None:
    stamped(tmp_path, "fast")
    assert main(["finalize", str(tmp_path), "-o", str(tmp_path)]) == 0
    assert list(snapshot(tmp_path)) == [labelled("fast")]


def test_a_glob_may_stand_for_folders(tmp_path: Path) -> None:
    for label, properties in {"fast": MKL, "slow": OPENBLAS}.items():
        stamped(tmp_path / "in" / label, label, properties)
    out = tmp_path / "dist"
    assert main(["finalize", str(tmp_path / "in" / "*"), "-o", str(out)]) == 0
    assert sorted(snapshot(out)) == [labelled("fast"), labelled("slow")]


@pytest.mark.parametrize("what", ["an empty folder", "no folder"])
def test_a_run_that_made_no_wheel_is_a_clear_error(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "nothing"
    if what == "an empty folder":
        folder.mkdir()
    assert main(["finalize", str(folder)]) == 2
    assert str(folder) in capsys.readouterr().err


def test_missing_folders_are_named_and_the_others_finalized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in CI, where a build that failed has uploaded nothing."""
    stamped(tmp_path / "in", "fast")
    missing, empty, out = (tmp_path / name for name in ("missing", "empty", "out"))
    empty.mkdir()
    command = ["finalize", *map(str, (missing, empty, tmp_path / "in")), "-o", str(out)]
    assert main(command) == 2
    assert not out.exists()
    assert main([*command, "--keep-going"]) == 1
    assert [*snapshot(out)] == [labelled("fast")]
    messages = capsys.readouterr().err
    assert f"{missing} does not exist" in messages
    assert f"{empty} contains no wheels" in messages
    assert main(["finalize", str(missing), "-o", str(out), "--keep-going"]) == 1


def test_an_output_folder_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = stamped(tmp_path / "in", "fast")
    (tmp_path / "dist").write_text("a file")
    assert main(["finalize", str(wheel), "-o", str(tmp_path / "dist" / "deeper")]) == 4
    assert "can't be created" in capsys.readouterr().err
    assert wheel.exists()


def test_a_label_cannot_lead_out_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = stamped(tmp_path / "in", "../../evil")
    before = snapshot(tmp_path)
    assert main(["finalize", str(wheel)]) == 4
    assert "label" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_a_finalized_wheel_still_has_a_right_record(tmp_path: Path) -> None:
    headers = "Variant-Property: blas :: library :: mkl\nVariant-Label: fast\n"
    stamped(tmp_path, "fast", headers=headers)
    assert main(["finalize", str(tmp_path)]) == 0
    wheel = read_wheel(tmp_path / labelled("fast"))
    assert wheel.metadata["Variant-Label"] == "fast"
