"""``polywheel show``: wheels of polywheel, of other tools, and damaged wheels."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.builds import build_wheel, downloaded_wheel, run
from support.commands import polywheel
from support.projects import example

INFO = "demo-1.0.dist-info"
NAME = "demo-1.0-py3-none-any-v3.whl"
V3 = "x86_64 :: level :: v3"
DOCUMENT = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json",
    "default-priorities": {"namespace": ["x86_64"]},
    "variants": {"v3": {"x86_64": {"level": ["v3"]}}},
}
PROJECTS = (
    *("six==1.17.0", "markupsafe==3.0.3", "idna==3.10", "rpds-py==0.30.0", "contourpy==1.3.3"),
    *("six==1.9.0", "pytz==2015.7", "zope.interface==8.0", "ruamel.yaml==0.18.6", "cffi==2.0.0"),
)
"""Of setuptools old and new, flit, maturin and meson-python; with names that are not normalized."""


def show(*arguments: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return polywheel("show", *arguments, cwd=cwd, check=check)


def as_json(*arguments: str | Path, cwd: Path) -> list[dict[str, Any]]:
    document = json.loads(show(*arguments, "--json", cwd=cwd, check=False).stdout)
    assert document["shape"] == 1
    found: list[dict[str, Any]] = document["wheels"]
    return found


def write(path: Path, changes: dict[str, bytes | None], *, record: bool = True) -> Path:
    """A wheel that is stamped by variant.json, with other files or without some."""
    files = {
        "demo.py": b"value = 1\n" * 50,
        f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        f"{INFO}/variant.json": json.dumps(DOCUMENT).encode(),
        **changes,
    }
    made = {name: content for name, content in files.items() if content is not None}
    if record:
        made[f"{INFO}/RECORD"] = (
            "".join(
                f"{name},sha256={_digest(content)},{len(content)}\n"
                for name, content in made.items()
            ).encode()
            + f"{INFO}/RECORD,,\n".encode()
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in made.items():
            archive.writestr(name, content)
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a variant wheel, a null one and a plain one, built of an example."""
    folder = tmp_path_factory.mktemp("built")
    source = example("flit-core", folder)
    dist = folder / "dist"
    for number, setting in enumerate(["-Cvariant-label=mkl", "-Cnull-variant", None]):
        out = folder / f"out{number}"
        wheel = build_wheel(source, out, *([setting] if setting else []))
        dist.mkdir(exist_ok=True)
        wheel.rename(dist / wheel.name)
    return dist


def test_a_wheel_is_one_line_and_its_details(built: Path) -> None:
    (wheel,) = built.glob("*-mkl.whl")
    lines = show(wheel, cwd=built).stdout.splitlines()
    assert lines[0] == (
        f"{wheel.name}: label mkl, 1 property, stamped in filename, METADATA, variant.json"
    )
    assert lines[1:] == [
        "  blas_lapack :: library :: mkl",
        "  hash ccb37300",
        "  namespaces blas_lapack",
        "  provider of blas_lapack: library = openblas, mkl",
        "  tags py3-none-any",
    ]


def test_brief_takes_globs_and_folders(built: Path) -> None:
    lines = show("*-mkl.whl", ".", "--brief", "--hashes", cwd=built).stdout.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "label mkl, 1 property, stamped in filename, METADATA, variant.json",
        "label null, no properties, stamped in filename, METADATA, variant.json",
        "no variant",
    ]


def test_json_says_the_same_in_its_documented_shape(built: Path) -> None:
    (wheel,) = as_json("*-mkl.whl", cwd=built)
    assert wheel == {
        "path": wheel["path"],
        "readable": True,
        "errors": [],
        "disagreements": [],
        "name": "polywheel_example_flit_core",
        "version": "1.0.0",
        "build": None,
        "tags": ["py3-none-any"],
        "size": (built / wheel["path"]).stat().st_size,
        "label": "mkl",
        "hash": "ccb37300",
        "properties": ["blas_lapack :: library :: mkl"],
        "namespaces": ["blas_lapack"],
        "feature_priorities": [],
        "property_priorities": [],
        "providers": {
            "blas_lapack": {
                "requires": [],
                "plugin": None,
                "static_properties": {"library": ["openblas", "mkl"]},
                "feature_order": [],
                "builtin": None,
                "optional": False,
                "enable_if": None,
            }
        },
        "stamped": {
            "filename": {"label": "mkl", "hash": None, "properties": []},
            "METADATA": {
                "label": "mkl",
                "hash": "ccb37300",
                "properties": ["blas_lapack :: library :: mkl"],
            },
            "variant.json": {
                "label": "mkl",
                "hash": None,
                "properties": ["blas_lapack :: library :: mkl"],
            },
        },
    }


def test_what_variantlib_made_has_variant_json_alone(built: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[variant.default-priorities]\nnamespace = ["x86_64"]\n[variant.providers.x86_64]\n'
        'requires = ["provider-variant-x86-64"]\n'
        'plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"\n'
    )
    (plain,) = (path for path in built.iterdir() if path.stem.endswith("-any"))
    make: list[str | Path] = [
        "variantlib",
        "make-variant",
        "-f",
        plain,
        "-o",
        tmp_path,
        "--skip-plugin-validation",
    ]
    run([*make, "-p", V3.replace(" ", "")], cwd=tmp_path)
    run([*make, "--null-variant"], cwd=tmp_path)
    one, null = as_json("*.whl", "--hashes", cwd=tmp_path)
    assert one["label"] == one["hash"] == "fa7c1393"
    assert one["properties"] == [V3]
    assert one["providers"]["x86_64"]["requires"] == ["provider-variant-x86-64"]
    assert (null["label"], null["hash"], null["properties"]) == ("null", None, [])
    for wheel in (one, null):
        assert list(wheel["stamped"]) == ["filename", "variant.json"]
        assert wheel["disagreements"] == []


def test_what_variantlib_made_in_early_2025_has_metadata_alone(tmp_path: Path) -> None:
    """Fields as version 0.0.1.post1 writes them."""
    metadata = (
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
        b"Variant-hash: fa7c1393\nVariant-property: x86_64 :: level :: v3\n"
        b"Variant-requires: x86_64: provider-variant-x86-64 >=0.0.1\n"
        b"Variant-enable-if: x86_64: platform_machine == 'x86_64'\n"
        b"Variant-plugin-api: x86_64: provider_variant_x86_64.plugin:X8664Plugin\n"
        b"Variant-default-namespace-priorities: x86_64\n"
        b"Variant-default-feature-priorities: x86_64 :: level\n\nA description\n"
    )
    name = "demo-1.0-py3-none-any-fa7c1393.whl"
    write(tmp_path / name, {f"{INFO}/METADATA": metadata, f"{INFO}/variant.json": None})
    assert show(name, "--hashes", cwd=tmp_path).stdout.splitlines() == [
        f"{name}: label fa7c1393, 1 property, stamped in filename, METADATA",
        f"  {V3}",
        "  hash fa7c1393",
        "  namespaces x86_64",
        (
            "  provider of x86_64: provider-variant-x86-64 >=0.0.1 "
            "(provider_variant_x86_64.plugin:X8664Plugin); if platform_machine == 'x86_64'"
        ),
        "  tags py3-none-any",
    ]


def test_wheels_from_pypi_disagree_in_nothing(tmp_path: Path) -> None:
    wheels = [downloaded_wheel(project) for project in PROJECTS]
    lines = show(*wheels, "--hashes", "--brief", cwd=tmp_path).stdout.splitlines()
    assert len(lines) >= len(PROJECTS)
    assert [line for line in lines if not line.endswith(".whl: no variant")] == []


def test_a_disagreement_is_told_and_the_exit_code_is_4(tmp_path: Path) -> None:
    write(tmp_path / "demo-1.0-py3-none-any-v2.whl", {})
    write(tmp_path / NAME, {})
    done = show(tmp_path, cwd=tmp_path, check=False)
    assert done.returncode == 4
    lines = done.stdout.splitlines()
    assert lines[0].endswith(
        ": label v3, 1 property, stamped in filename, variant.json, 1 disagreement"
    )
    assert (
        "  disagreement: the filename has the label 'v2', variant.json has the label 'v3'" in lines
    )
    assert f"{NAME}: label v3, 1 property, stamped in filename, variant.json" in lines
    one, two = as_json(tmp_path, cwd=tmp_path)
    assert [problem["what"] for problem in one["disagreements"]] == [
        "the filename has the label 'v2', variant.json has the label 'v3'"
    ]
    assert two["disagreements"] == []


def cut(path: Path) -> None:
    write(path, {})
    path.write_bytes(path.read_bytes()[:-30])


def bomb(path: Path) -> None:
    """METADATA that claims to be larger than any is."""
    write(path, {})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    while content[entry + 46 : entry + 46 + len(INFO) + 9] != f"{INFO}/METADATA".encode():
        entry = content.index(b"PK\x01\x02", entry + 1)
    struct.pack_into("<L", content, entry + 24, 1 << 31)
    path.write_bytes(content)


def overlapping(path: Path) -> None:
    """Two members at one offset."""
    write(path, {})
    content = bytearray(path.read_bytes())
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<L", content, second + 42, 0)
    path.write_bytes(content)


def holding(
    changes: dict[str, bytes | None] | None = None, *, record: bool = True
) -> Callable[[Path], object]:
    """A wheel with other files; ``_`` in front of a name stands for dist-info."""
    made = {name.replace("_", f"{INFO}/", 1): content for name, content in (changes or {}).items()}
    return lambda path: write(path, made, record=record)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.write_bytes(b""), "not a zip archive"),
        (lambda path: path.write_bytes(b"<html>" * 1000), "not a zip archive"),
        (lambda path: path.mkdir(), "contains no wheels"),
        (cut, "not a zip archive, or it is cut short"),
        (bomb, "over the limit of"),
        (overlapping, "overlaps what follows it|has another name"),
        (holding({"../escapes.py": b""}), "leads out of the archive"),
        (holding({"/escapes.py": b""}), "leads out of the archive"),
        (holding({"C:/escapes.py": b""}), "leads out of the archive"),
        (holding({"other-1.0.dist-info/METADATA": b""}), "several .dist-info folders"),
        (holding(record=False), f"{INFO}/RECORD is missing"),
        (holding({"_METADATA": None}), f"{INFO}/METADATA is missing"),
        (holding({"_WHEEL": None}), f"{INFO}/WHEEL is missing"),
        (holding({"_METADATA": b"a:\n" * 200_000}), "over the limit of"),
        (holding({"_variant.json": b"no JSON"}), "is not JSON"),
        (holding({"_variant.json": b" " * 2_000_000}), "bytes, over the limit of"),
        (holding({"_variant.json": b'{"a":' * 100_000}), "nested too deeply"),
        (holding({"_variant.json": b"[]"}), "expected a table, found a list"),
        (holding({"_variant.json": b'{"variants": 1}'}), "expected a table of variants"),
    ],
)  # fmt: skip
def test_bad_wheels_are_one_clear_error_each(
    make: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    """The others are shown all the same."""
    good = write(tmp_path / "demo-1.0-1-py3-none-any-v3.whl", {})
    make(tmp_path / NAME)
    done = show(good, tmp_path / NAME, cwd=tmp_path, check=False)
    folder = (tmp_path / NAME).is_dir()
    assert done.returncode == (2 if folder else 4)
    assert any(words in done.stdout for words in expected.split("|")), done.stdout
    if not folder:
        assert f"{good.name}: label v3" in done.stdout
        first, second = as_json(good, tmp_path / NAME, cwd=tmp_path)
        assert not first["errors"]
        assert second["errors"] or second["disagreements"]
        assert second["readable"] is not bool(second["errors"])


@pytest.mark.parametrize(
    "name", ["demo.whl", "demo-1.0-py3-none-any-V3.whl", "demo-1.0-1-2-3-4-5.whl", "demo-1.0.zip"]
)
def test_names_that_are_of_no_wheel(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, {})
    done = show(name, cwd=tmp_path, check=False)
    assert done.returncode == 4
    assert "is not the name of a wheel" in done.stdout


def test_what_is_not_there_is_an_error_of_usage(tmp_path: Path) -> None:
    write(tmp_path / NAME, {})
    for arguments in ([NAME.replace("v3", "v4")], ["*.zip"], [NAME, "nowhere.whl"], []):
        assert show(*arguments, cwd=tmp_path, check=False).returncode == 2


def test_nothing_that_a_stranger_wrote_acts_on_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\x9b2J\u202e\u2028\u200b"
    document = {**DOCUMENT, "variants": {evil: {"x86_64": {evil: ["v3"]}}}}
    metadata = f"Metadata-Version: 2.1\nName: {evil[:-2]}\nVersion: \x1b[2J\n"
    wheel = write(
        tmp_path / NAME,
        {
            f"{INFO}/variant.json": json.dumps(document).encode(),
            f"{INFO}/METADATA": metadata.encode(),
            f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nTag: \x1b[2J\n",
            "demo\u202e.py": b"",
        },
        record=False,
    )
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"{INFO}/RECORD", f"{evil[:-2]},,\n".encode())
    for arguments in ([], ["--brief"], ["--json"]):
        done = show(NAME, *arguments, cwd=tmp_path, check=False)
        assert done.returncode == 4
        assert done.stdout.replace("\n", "").isprintable()


def test_a_terminal_that_has_few_letters(tmp_path: Path) -> None:
    write(tmp_path / NAME, {"d\u00e9mo_\u4e2d.py": b""}, record=False)
    with zipfile.ZipFile(tmp_path / NAME, "a") as archive:
        archive.writestr(f"{INFO}/RECORD", "")
    command = [sys.executable, "-m", "polywheel", "show", NAME]
    done = run(command, cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 4
    assert "'d\\xe9mo_\\u4e2d.py', which is in the archive" in done.stdout


def test_help_has_an_example(tmp_path: Path) -> None:
    done = show("--help", cwd=tmp_path)
    assert "example: polywheel show" in done.stdout
