"""Very long numbers and deeply nested values, in every reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement

from polywheel.backend.requirements import check_requirements
from polywheel.cli import main
from polywheel.config.reader import normalized_requirements, parse_requirement
from polywheel.errors import BuildError, PolywheelError
from polywheel.formats.metadata import with_variant_fields
from polywheel.index.resolve.support import find_support
from polywheel.index.resolve.systems import read_system, this_machine
from polywheel.matrix.requires_python import RequiresPython
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty
from support.index_wheels import write_wheel

LONG = "9" * 5000
DEEP = 100_000
NESTED = f"a; {'(' * 400}python_version > '3'{')' * 400}"
PROJECT = '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
TABLES = {
    "a number": f"[tool.polywheel]\nprovider-timeout = {LONG}\n",
    "a hexadecimal number": f"[tool.polywheel]\nprovider-timeout = 0x{'f' * 6000}\n",
    "a hexadecimal number in a list": f"[tool.polywheel]\npresets = [0x{'f' * 6000}]\n",
    "a list": f"[tool.polywheel]\npresets = {'[' * DEEP}{']' * DEEP}\n",
    "keys": f"[tool.polywheel.{'.'.join('a' * 3000)}]\n",
    "keys of rules": f"[tool.polywheel.setup.{'.'.join('a' * 3000)}]\n",
    "a marker": f'[tool.polywheel.setup."a :: b"]\nwhen = "python_version > \'{LONG}\'"\n',
    "a nested marker": f'[tool.polywheel.setup."a :: b"]\nwhen = "{NESTED[3:]}"\n',
    "a provider": '[variant.default-priorities]\nnamespace = ["a"]\n'
    f'[variant.providers.a]\nrequires = ["x >= {LONG}"]\n',
    "polywheel": f'[build-system]\nrequires = ["polywheel >= {LONG}"]\n',
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("command", ["matrix", "build", "providers", "init"])
def test_tables_of_projects(
    table: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TABLES[table]
    if "[build-system]" not in text:
        text = PROJECT + text
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    more = ["-o", str(tmp_path / "x.toml"), "--dry-run"] if command == "init" else []
    assert main([command, str(tmp_path), *more]) in ({2} if command != "providers" else {0, 2})
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("requires", [f">={LONG}", f"=={LONG}.*", f"~={LONG}.1", "3" * 5000])
def test_requires_python_of_a_project(requires: str) -> None:
    assert not RequiresPython(requires).allows("3.12") or requires.isdigit()


@pytest.mark.parametrize("text", [f"a == {LONG}", f"a; python_version > '{LONG}'", NESTED])
def test_requirements(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequirement):
        parse_requirement(text)
    with pytest.raises(InvalidRequirement):
        normalized_requirements([text])
    with pytest.raises(BuildError, match="not a valid requirement"):
        check_requirements([text])
    header = f"Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: {text}\n\n".encode()
    assert text.encode() in with_variant_fields(header, [("Requires-Dist", "b")])
    assert main(["explain", text, "--index-url", "http://127.0.0.1:9/"]) == 2
    wheel = str(write_wheel(tmp_path))
    assert main(["label", wheel, "-p", "a::b::c", "--provider", f"a={text}"]) == 2


@pytest.mark.parametrize(
    "text",
    [
        f'python = "3.{LONG}"',
        f'[packages]\ntorch = "{LONG}"',
        f'[packages]\ntorch = "1.{LONG}rc{LONG}"',
        f"[packages]\ntorch = {LONG}",
        f"name = {'[' * DEEP}",
    ],
)
def test_descriptions_of_systems(text: str, tmp_path: Path) -> None:
    path = tmp_path / "system.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PolywheelError):
        read_system(path)


def test_values_of_abi_dependency() -> None:
    prop = VariantProperty("abi_dependency", "pip", LONG)
    variant = Variant.of([prop], "a")
    metadata = VariantMetadata(
        namespaces=("abi_dependency",),
        providers={"abi_dependency": Provider(namespace="abi_dependency")},
        variants={"a": variant},
    )
    support = find_support(this_machine(), metadata, ask=None)
    assert support.supported["abi_dependency"] == {}


def test_the_version_that_explain_is_asked_for(tmp_path: Path) -> None:
    write_wheel(tmp_path)
    assert main(["explain", str(tmp_path), "--version", LONG]) == 2


@pytest.mark.parametrize(
    "text",
    ["[" * DEEP, '{"shape": ' * DEEP, f'{{"shape": {LONG}}}', f'{{"shape": 1, "jobs": {LONG}}}'],
    ids=["lists", "tables", "a number", "a number of jobs"],
)
def test_plans_and_reports(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    source = str(tmp_path)
    for arguments, code in (
        (["build", source, "--plan", str(path)], 2),
        (["matrix", source, "--diff", str(path)], 2),
        (["matrix", source, "--shard", "1/2", "--durations", str(path)], 2),
        (["ci", "collect", source, "-o", str(tmp_path / "out")], 4),
    ):
        assert main(arguments) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("deep", ["[" * DEEP, "{" * DEEP, '{"variants": ' * DEEP, LONG])
def test_metadata_of_variants(
    deep: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(tmp_path)
    path = write_wheel(tmp_path, document=deep.encode(), filename="demo-1.0-py3-none-any-a.whl")
    (tmp_path / "demo-1.0-variants.json").write_text(deep, encoding="utf-8")
    for arguments in (
        ["show", str(path)],
        ["index", str(tmp_path)],
        ["index", str(tmp_path), "--simple"],
        ["explain", str(tmp_path)],
        ["unlabel", str(path), "-o", str(tmp_path / "out")],
        ["finalize", str(path)],
    ):
        assert main(arguments) in {0, 1, 2, 4}
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("text", [f">={LONG}", f"!={LONG}.*", f"<{'9.' * 3000}1"])
def test_requires_python_of_a_wheel(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_wheel(tmp_path, headers=f"Requires-Python: {text}\n")
    for arguments in (
        ["show", str(path)],
        ["index", str(tmp_path), "--simple"],
        ["explain", str(tmp_path)],
    ):
        assert main(arguments) in {0, 1, 4}
    assert "Traceback" not in capsys.readouterr().err


def test_what_an_earlier_index_left(tmp_path: Path) -> None:
    """The manifest, and the page of a project, are files that anybody may have changed."""
    write_wheel(tmp_path)
    assert main(["index", str(tmp_path), "--simple"]) == 0
    for path in [*tmp_path.rglob("*.json"), *tmp_path.glob(".*")]:
        if path.is_file():
            path.write_text(json.dumps("x") if path.name.startswith(".") else "[" * DEEP)
    assert main(["index", str(tmp_path), "--simple"]) in {0, 4}
