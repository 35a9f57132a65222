"""A label stands for one set of properties, and a set of properties has one label."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from polywheel.ci.collect import CollectedFiles, collect_wheels, merge_reports
from polywheel.cli import main
from polywheel.config.reader import Problems, Table
from support import index_wheels
from support.index_wheels import V1, V2, listing, write_wheel


def stamped(folder: Path, label: str, *, version: str = "1.0", filename: str | None = None) -> Path:
    what = index_wheels.variant(label, V1)
    return write_wheel(folder, what, version=version, filename=filename)


def test_index_refuses_two_labels_for_one_property_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamped(tmp_path, "one")
    stamped(tmp_path, "other")
    stamped(tmp_path, "one", version="1.1")
    assert main(["index", str(tmp_path)]) == 4
    said = capsys.readouterr().err
    assert (
        f"the same properties have 2 labels: '{V1}': 'one' in demo-1.0-py3-none-any-one.whl" in said
    )
    assert "'other' in demo-1.0-py3-none-any-other.whl" in said
    assert listing(tmp_path) == ["demo-1.1-variants.json"]


@pytest.mark.parametrize("there_already", [False, True])
def test_finalize_refuses_two_labels_for_one_property_set(
    there_already: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = stamped(tmp_path / "a", "one", filename="demo-1.0-py3-none-any.whl")
    other = stamped(tmp_path / "b", "other", filename="demo-1.0-py3-none-any.whl")
    plain = write_wheel(tmp_path / "c")
    out = tmp_path / "dist"
    if there_already:
        assert main(["finalize", str(one), "-o", str(out)]) == 0
    given = [other, plain] if there_already else [one, other, plain]
    assert main(["finalize", "--plain", *map(str, given), "-o", str(out)]) == 4
    said = capsys.readouterr().err
    assert f"the same properties have 2 labels: '{V1}'" in said
    assert f"'other' in {other}" in said
    assert not (out / "demo-1.0-py3-none-any-other.whl").exists()
    assert (out / plain.name).exists()


def test_finalize_compares_every_wheel_of_the_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are there contradict each other. The new one contradicts the second of them."""
    out = tmp_path / "dist"
    for tag, properties in (("py2-none-any", V2), ("py3-none-any", V1)):
        what = index_wheels.variant("one", properties)
        write_wheel(out, what, tag=tag)
    wheel = stamped(tmp_path, "other", filename="demo-1.0-py3-none-any.whl")
    assert main(["finalize", str(wheel), "-o", str(out)]) == 4
    said = capsys.readouterr().err
    assert "the label 'one' stands for different properties" in said
    assert f"'other' in {wheel}" in said
    assert not (out / "demo-1.0-py3-none-any-other.whl").exists()


def test_finalize_names_the_variants_of_a_wheel_with_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = stamped(tmp_path, "one", filename="demo-1.0-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        document = json.loads(archive.read("demo-1.0.dist-info/variant.json"))
    document["variants"]["null"] = {}
    what = index_wheels.variant("one", V1)
    write_wheel(tmp_path, what, filename=wheel.name, document=json.dumps(document).encode())
    assert main(["finalize", str(wheel)]) == 4
    assert "variant.json describes 2 variants, 'one', 'null'" in capsys.readouterr().err


def test_label_refuses_two_labels_for_one_property_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamped(tmp_path, "one")
    plain = str(write_wheel(tmp_path))
    more = ["-p", V1, "--provider", "x86_64=x86-64-variant-provider", "--no-validate"]
    assert main(["label", plain, *more, "--label", "other"]) == 4
    said = capsys.readouterr().err
    assert f"the same properties have 2 labels: '{V1}': 'other' in " in said
    assert f"'one' in {tmp_path / 'demo-1.0-py3-none-any-one.whl'}" in said
    assert main(["label", plain, *more, "--label", "one", "--force"]) == 0


@pytest.mark.parametrize(
    ("jobs", "problem"),
    [
        (
            {"a": ("one", [V1]), "b": ("other", [V1])},
            f"the same properties have 2 labels: '{V1}': 'one' in a; 'other' in b",
        ),
        (
            {"a": ("one", [V1]), "b": ("one", [V2])},
            f"the label 'one' stands for different properties: '{V1}' in a; '{V2}' in b",
        ),
        ({"a": ("one", ["v1"])}, "malformed variant property 'v1'"),
    ],
)
def test_collect_refuses_what_index_refuses(
    jobs: dict[str, tuple[str, list[str]]], problem: str, tmp_path: Path
) -> None:
    tables = []
    for name, (label, properties) in jobs.items():
        job: dict[str, object] = {
            "id": name,
            "label": label,
            "build": name,
            "state": "built",
            "sha256": "0" * 64,
        }
        file = f"demo-1.0-py3-none-any-{label}.whl"
        job |= {"file": file, "properties": properties}
        tables.append(Table({"jobs": [job]}, f"{name}.json", (), Problems()))
    found = CollectedFiles(wheels=(), reports=())
    _, problems = collect_wheels(found, merge_reports(tables), tmp_path)
    assert problem in [one.what for one in problems]
