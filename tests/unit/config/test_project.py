"""pyproject.toml as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.config.project import PYPROJECT, BuildSystem, Project, Settings, read_project
from polywheel.errors import ConfigError
from polywheel.model.variant import VariantMetadata

GOOD = """
[build-system]
requires = ["polywheel", "meson-python"]
build-backend = "polywheel.backend"
backend-path = ["backend"]
[project]
name = "demo"
[tool.polywheel]
build-backend = "mesonpy"
[tool.other]
anything = [1, 2]
[variant.default-priorities]
namespace = ["blas"]
[variant.providers.blas.static-properties]
library = ["mkl"]
"""


def read(folder: Path, content: str | bytes, *, variants: bool = True) -> Project:
    data = content.encode() if isinstance(content, str) else content
    (folder / "pyproject.toml").write_bytes(data)
    return read_project(folder, variants=variants)


def rendered(folder: Path, content: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, content)
    assert caught.value.exit_code == 2
    return caught.value.render()


def test_what_is_read(tmp_path: Path) -> None:
    project = read(tmp_path, GOOD)
    assert project.source == tmp_path.resolve()
    assert project.build_system == BuildSystem(
        requires=("polywheel", "meson-python"),
        build_backend="polywheel.backend",
        backend_path=("backend",),
    )
    assert project.settings == Settings(build_backend="mesonpy")
    assert project.metadata.namespaces == ("blas",)
    assert project.document["tool"]["other"] == {"anything": [1, 2]}


def test_hatch_toml_stands_in_place_of_tables_of_hatch(tmp_path: Path) -> None:
    """As hatchling reads it: each of its top-level keys replaces one of ``[tool.hatch]``."""
    (tmp_path / "hatch.toml").write_text("[build.hooks.custom]\n", encoding="utf-8")
    pyproject = (
        "[tool.hatch.build.targets.wheel]\npackages = []\n[tool.hatch.version]\npath = 'v'\n"
    )
    document = read(tmp_path, pyproject).document
    assert document["tool"]["hatch"] == {
        "build": {"hooks": {"custom": {}}},
        "version": {"path": "v"},
    }
    assert read(tmp_path, "").document["tool"]["hatch"] == {"build": {"hooks": {"custom": {}}}}


@pytest.mark.parametrize("content", ["[build", "\0", "x = " + "[" * 100_000])
def test_a_broken_hatch_toml_is_for_hatchling_to_refuse(content: str, tmp_path: Path) -> None:
    (tmp_path / "hatch.toml").write_text(content, encoding="utf-8")
    assert read(tmp_path, "[tool.hatch]\na = 1\n").document["tool"]["hatch"] == {"a": 1}


def test_the_source_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(GOOD, encoding="utf-8")
    assert read_project(Path(), variants=False).source == tmp_path.resolve()


def test_an_empty_file_is_a_project(tmp_path: Path) -> None:
    project = read(tmp_path, "")
    assert project.build_system == BuildSystem()
    assert project.settings == Settings()
    assert project.metadata == VariantMetadata()


def test_a_plain_build_does_not_read_the_variant_table(tmp_path: Path) -> None:
    text = GOOD.replace('namespace = ["blas"]', "nonsense = 1")
    assert read(tmp_path, text, variants=False).metadata == VariantMetadata()
    assert "unknown key 'nonsense'" in rendered(tmp_path, text)


def test_other_tables_and_keys_are_nobodys_business_here(tmp_path: Path) -> None:
    text = GOOD.replace("[project]", "future = 1\n[project]\nversion = 7\n[unknown]\n[project.x]")
    assert read(tmp_path, text).metadata.namespaces == ("blas",)


@pytest.mark.parametrize(
    ("content", "what", "at"),
    [
        ("a = ", "invalid TOML: Invalid value", "end of document"),
        ("[a]\nb = 1\nb = 2\n", "invalid TOML: Cannot overwrite a value", "line 3, column 6"),
        ("[a]\nb = {c = 1, c = 2}", "invalid TOML: Duplicate inline table key 'c'", "line 2, col"),
        ('[variant]\nx = "a\nb"', "invalid TOML: Illegal character '\\n'", "line 2, column 7"),
        # the message itself may speak of a place
        ("'x (at y' = {a = 1, 'b (at c)' = 1, 'b (at c)' = 2}", "'b (at c)'", "line 1, column 5"),
    ],
)
def test_broken_toml_is_said_with_line_and_column(
    content: str, what: str, at: str, tmp_path: Path
) -> None:
    text = rendered(tmp_path, content)
    assert text.startswith("error: invalid TOML: ")
    assert what in text
    assert f"\n  at: pyproject.toml: {at}" in text


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"# caf\xe9\n", "pyproject.toml is not UTF-8: byte 5 can't be decoded"),
        (b"\xff\xfea\x00", "pyproject.toml is not UTF-8: byte 0 can't be decoded"),
        ("a = " + "[" * 5000, "invalid TOML: nested too deeply"),
        # Python reads no decimal number of more than 4300 digits
        ("a = " + "1" * 5000, "invalid TOML: a number has too many digits"),
    ],
)
def test_what_is_no_toml_at_all(content: str | bytes, what: str, tmp_path: Path) -> None:
    assert rendered(tmp_path, content) == f"error: {what}\n  at: pyproject.toml"


def test_a_number_that_python_does_not_print(tmp_path: Path) -> None:
    text = rendered(tmp_path, GOOD.replace('["blas"]', "0x" + "1" * 5000))
    assert "expected a list of strings, found a long number" in text


def test_no_pyproject_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_project(tmp_path, variants=True)
    assert caught.value.render() == (
        f"error: there is no pyproject.toml in {tmp_path}\n"
        "  hint: run polywheel in the root folder of a project"
    )


def test_a_pyproject_toml_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(ConfigError, match="can't be read: "):
        read_project(tmp_path, variants=True)


@pytest.mark.parametrize(
    ("old", "new", "what", "at"),
    [
        ("[build-system]", "x = 1\n[[build-system]]", "a table, found a list", "build-system"),
        ('build-backend = "poly', 'build-backend = 1 # "', "a string, found 1", "build-system.b"),
        ('["backend"]', '"backend"', "strings, found a string", "build-system.backend-path"),
        ('["polywheel", ', "[true, ", "a string, found a boolean", "build-system.requires[0]"),
        ("[tool.polywheel]", "[[tool.polywheel]]", "a table, found a list", "tool.polywheel"),
        ('["blas"]', "[2020-01-01]", "a string, found 2020-01-01", "variant.default-priorities.n"),
    ],
)
def test_a_value_of_the_wrong_type(old: str, new: str, what: str, at: str, tmp_path: Path) -> None:
    assert old in GOOD
    text = rendered(tmp_path, GOOD.replace(old, new))
    assert text.startswith("error: expected a ")
    assert f"{what}\n" in text
    assert f"\n  at: pyproject.toml: {at}" in text


def test_mistakes_of_all_tables_are_said_together(tmp_path: Path) -> None:
    text = GOOD.replace('"polywheel.backend"', "1").replace('"mesonpy"', "2")
    text = text.replace('["mkl"]', "3")
    assert rendered(tmp_path, text) == (
        "error: expected a string, found 1\n"
        "  at: pyproject.toml: build-system.build-backend\n"
        "error: expected a string, found 2\n"
        "  at: pyproject.toml: tool.polywheel.build-backend\n"
        "error: expected a list of strings, found 3\n"
        "  at: pyproject.toml: variant.providers.blas.static-properties.library"
    )


@given(st.binary(max_size=40) | st.text("[]{}=\"'.,#ab1\n\\:-tru ", max_size=40))
def test_any_file_is_a_project_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    try:
        # Not in the folder that all tests are in: tools look for such a file above them.
        folder = tmp_path_factory.getbasetemp() / "any-bytes"
        folder.mkdir(exist_ok=True)
        project = read(folder, content)
    except ConfigError:
        return
    assert isinstance(project, Project)


def test_a_pyproject_toml_as_config_file_is_one_error(tmp_path: Path) -> None:
    tables = "".join(f"[tool.{name}]\n" for name in ("setuptools", "ruff", "mypy", "polywheel"))
    config = tmp_path / PYPROJECT
    config.write_text(f"[build-system]\nrequires = []\n[project]\nname = 'x'\n{tables}[variant]\n")
    with pytest.raises(ConfigError) as caught:
        read_project(tmp_path, variants=True, config=config)
    [problem] = caught.value.problems
    assert problem.what == (
        "a --config file has only [variant] and [tool.polywheel] tables, and this file has "
        "[build-system], [project], [tool.setuptools], [tool.ruff] and 1 more"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x-1.0.tar.gz", "only `polywheel build` reads sdists; unpack it"),
        ("setup.py", "root folder"),
    ],
)
def test_a_file_is_no_project(name: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="is not a folder") as caught:
        read_project(tmp_path / name, variants=True)
    assert hint in str(caught.value.problems[0].hint)
