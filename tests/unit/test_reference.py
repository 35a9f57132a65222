"""Settings are declared once: schema and reference are generated, and agree with the readers."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from validate_pyproject.api import Validator
from validate_pyproject.errors import ValidationError

from polywheel.config.ci_table import read_ci
from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project, Settings, read_project
from polywheel.config.reader import Table
from polywheel.config.reference import generated
from polywheel.config.schema import field_texts, tool_schema
from polywheel.data import data_folder
from polywheel.data import tool_schema as shipped_schema
from polywheel.errors import ConfigError
from polywheel.model.matrix import Matrix

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("pyproject.toml"))
EVERYTHING = tomllib.loads(
    (Path(__file__).parent / "data" / "every-setting.toml").read_text(encoding="utf-8")
)
SCHEMA = tool_schema()
VALIDATOR = Draft7Validator(SCHEMA)
Path_ = tuple[str | int, ...]


@pytest.mark.parametrize("name", sorted(generated(ROOT)))
def test_what_is_generated_is_what_is_there(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated(ROOT)[name], (
        f"{name} is not what the settings say: run python -m polywheel.config.reference"
    )


def test_every_table_is_in_the_reference() -> None:
    """Axes are named in the text, and what ``setup-fields`` has is in ``setup-rule``."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    documented = re.findall(r"^<!-- settings: (.*) -->$", text, re.MULTILINE)
    undocumented = {"axis", "setup-fields", "defines-method"}
    assert sorted(documented) == sorted({"tool.polywheel", *SCHEMA["definitions"]} - undocumented)


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert shipped_schema() == SCHEMA
    assert (data_folder("matrix") / "schema" / "polywheel.schema.json").is_file()


def test_the_text_of_a_key_is_what_stands_under_its_field() -> None:
    assert field_texts(Matrix)["null"] == "Whether to build the null variant too."
    assert field_texts(Settings)["build_backend"].startswith("The real backend, as `module` or")
    assert field_texts(Matrix)["at"] == ""
    matrix = SCHEMA["definitions"]["matrix"]["properties"]
    assert matrix["null"] == {
        "type": "boolean",
        "description": "Whether to build the null variant too.",
        "default": False,
    }
    assert matrix["max-cells"]["default"] == 10_000
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    row = "| `null` | true or false | Whether to build the null variant too. Default: `false`. |"
    assert row in reference


def read(document: dict[str, Any], folder: Path) -> Project:
    """Both readers. Raises ConfigError."""
    project = read_document(document, folder)
    read_matrix(project)
    read_ci(project)
    return project


def read_document(document: dict[str, Any], folder: Path) -> Project:
    import tomli_w

    (folder / "pyproject.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    return read_project(folder, variants=True)


def refused(document: dict[str, Any], folder: Path) -> bool:
    try:
        read(document, folder)
    except ConfigError:
        return True
    return False


def valid(document: dict[str, Any]) -> bool:
    return bool(VALIDATOR.is_valid(document.get("tool", {}).get("polywheel", {})))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that is a table: references followed, the table of several alternatives taken."""
    while True:
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next(one for one in map(resolved, schema["anyOf"]) if one["type"] == "object")
        else:
            return schema


def below(schema: dict[str, Any], key: str) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return resolved(properties[key] if key in properties else schema["additionalProperties"])


def table_at(path: Path_) -> dict[str, Any]:
    """The schema of the table with that path below ``[tool.polywheel]``."""
    found = resolved(SCHEMA)
    for part in path:
        found = resolved(found["items"]) if isinstance(part, int) else below(found, part)
    return found


def tables(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """Every table of a document, with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict):
        yield path, value
    for key, inner in items:
        if isinstance(inner, (dict, list)):
            yield from tables(inner, (*path, key))


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value of a document, tables and lists among them, but for the document."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key), inner
        if isinstance(inner, (dict, list)):
            yield from leaves(inner, (*path, key))


def changed(path: Path_, value: Any) -> dict[str, Any]:
    """The document with another value at a path below ``[tool.polywheel]``."""
    document = copy.deepcopy(EVERYTHING)
    place: Any = document["tool"]["polywheel"]
    for part in path[:-1]:
        if isinstance(place, dict) and not isinstance(place.get(part), (dict, list)):
            place[part] = {}
        place = place[part]
    place[path[-1]] = value
    return document


TABLES = [*tables(EVERYTHING["tool"]["polywheel"])]
LEAVES = [*leaves(EVERYTHING["tool"]["polywheel"])]


def spelled(path: object) -> str:
    return ".".join(map(str, path)) if isinstance(path, tuple) else ""


def test_everything_is_taken_by_the_schema_and_by_the_readers(tmp_path: Path) -> None:
    assert [*VALIDATOR.iter_errors(EVERYTHING["tool"]["polywheel"])] == []
    read(EVERYTHING, tmp_path)


def test_every_key_of_the_schema_is_there() -> None:
    """So that what the readers do not know would have been found above."""
    there: dict[int, set[str]] = {}
    for path, value in TABLES:
        table = table_at(path)
        there.setdefault(id(table), set()).update(value)
    known = {id(resolved(one)): resolved(one) for one in (SCHEMA, *SCHEMA["definitions"].values())}
    closed = {key: one for key, one in known.items() if one["additionalProperties"] is False}
    assert len(closed) >= 10
    for key, one in closed.items():
        assert {*one["properties"]} == there.get(key), one["description"]


def test_every_key_that_a_reader_asks_for_is_in_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[Path_, set[str]] = {}
    finish = Table.finish

    def recorded(self: Table, also_known: Any = (), *, noun: str = "key") -> None:
        also = [*also_known]
        path: list[str | int] = []
        for part in self.path:
            name, bracket, index = part.partition("[")
            path += [name, int(index[:-1])] if bracket else [part]
        asked.setdefault((*path,), set()).update(self._read_keys, also)
        finish(self, also, noun=noun)

    monkeypatch.setattr(Table, "finish", recorded)
    read(EVERYTHING, tmp_path)
    ours = {path[2:]: keys for path, keys in asked.items() if path[:2] == ("tool", "polywheel")}
    assert len(ours) >= 15
    axes = {*EVERYTHING["tool"]["polywheel"]["matrix"]["axes"]}
    for path, keys in ours.items():
        table = table_at(path)
        named = axes if isinstance(table["additionalProperties"], dict) else set()
        assert keys - named == {*table["properties"]}, path


@pytest.mark.parametrize("path", [path for path, _ in TABLES], ids=spelled)
def test_a_key_that_a_table_has_not_got(path: Path_, tmp_path: Path) -> None:
    """Where the keys of a table are names, one that can't be a name."""
    closed = table_at(path)["additionalProperties"] is False
    if path in {("matrix", "exclude", 0), ("matrix", "include", 0), ("matrix", "rows", 0)}:
        document = changed((*path, "no-axis"), "v2")
    elif closed:
        document = changed((*path, "nonsense"), "x")
    elif path[-1] in {"setup", "backend", "config-settings", "defines"} or "spelling" in path[:-1]:
        return  # names without a pattern: keys of rules, profiles, options, values
    else:
        document = changed((*path, "no name!"), {} if path[-1] != "env" else "x")
    assert not valid(document)
    assert refused(document, tmp_path)


@pytest.mark.parametrize(("path", "value"), LEAVES, ids=spelled)
def test_a_value_of_another_type(path: Path_, value: Any, tmp_path: Path) -> None:
    document = changed(path, 7.5 if isinstance(value, (str, list, dict, bool)) else "7")
    assert not valid(document)
    assert refused(document, tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("build-backend",), "a-b"),
        (("build-backend",), "a:b:c"),
        (("provider-timeout",), 0),
        (("provider-timeout",), 86401),
        (("presets",), ["a", "a"]),
        (("providers", "cpu", "query"), "ask"),
        (("providers", "CPU"), {}),
        (("setup", "*", "env", "POLYWHEEL_X"), "1"),
        (("setup", "*", "env", "A-B"), "1"),
        (("setup", "*", "config-settings", "variant-label"), "x"),
        (("setup", "*", "compiler", "icc"), {}),
        (("backend", "build-directory"), {}),
        (("backend", "build-directory", "via"), "somehow"),
        (("backend", "delivery", "cflags"), "somehow"),
        (("backend", "delivery", "defines"), "python-env"),
        (("backend", "delivery", "cflags"), {"format": "{value}"}),
        (("backend", "delivery", "cflags"), {"via": "env", "format": "x"}),
        (("backend", "parallel"), "unsupported"),
        (("targets", "a b"), {}),
        (("targets", "x"), {"environment": {"python_version": "3"}}),
        (("matrix", "python"), []),
        (("matrix", "targets"), []),
        (("matrix", "python"), ["3.12.1"]),
        (("matrix", "python"), ["3.12", "3.12"]),
        (("matrix", "python"), [3.12]),
        (("matrix", "targets"), ["../x"]),
        (("matrix", "variants"), ["V*"]),
        (("matrix", "max-cells"), 0),
        (("matrix", "max-cells"), 1.5),
        (("matrix", "wheel-tag"), "py2"),
        (("matrix", "axes", "python"), {"x": []}),
        (("matrix", "axes", "a-b"), {"x": []}),
        (("matrix", "axes", "way"), {}),
        (("matrix", "axes", "way", "a b"), []),
        (("matrix", "axes", "way", "long"), ["x::y"]),
        (("matrix", "axes", "way", "long"), ["cpu::level::v2", "cpu::level::v2"]),
        (("matrix", "exclude"), [{}]),
        (("matrix", "exclude"), [{"level": "v2"}, {"level": "v2"}]),
        (("matrix", "include"), [{}]),
        (("matrix", "include"), [{"label": "X", "properties": ["cpu::level::v2"]}]),
        (("matrix", "rows"), [{}]),
    ],
    ids=str,
)
def test_what_schema_and_readers_refuse(path: Path_, value: Any, tmp_path: Path) -> None:
    document = changed(path, value)
    assert not valid(document)
    assert refused(document, tmp_path)


def test_folders_of_a_backend_without_its_name(tmp_path: Path) -> None:
    document = copy.deepcopy(EVERYTHING)
    del document["tool"]["polywheel"]["build-backend"]
    assert not valid(document)
    assert refused(document, tmp_path)


@pytest.mark.parametrize("name", [path.parent.name for path in EXAMPLES])
def test_every_example_fits_the_schema(name: str) -> None:
    (path,) = [one for one in EXAMPLES if one.parent.name == name]
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    assert [*VALIDATOR.iter_errors(document.get("tool", {}).get("polywheel", {}))] == []


def test_there_is_an_entry_point_for_validate_pyproject() -> None:
    found = entry_points(group="validate_pyproject.tool_schema", name="polywheel")
    assert [one.value for one in found] == ["polywheel.data:tool_schema"]
    assert found["polywheel"].load()("polywheel") == SCHEMA


@pytest.fixture(scope="module")
def validator() -> Validator:
    """As its command line makes it, with the plugins of this environment."""
    return Validator()


def test_validate_pyproject_takes_everything(validator: Validator) -> None:
    """It knows nothing of ``[variant]`` yet, which is no table of a tool's."""
    validator({"tool": copy.deepcopy(EVERYTHING["tool"])})
    for path in EXAMPLES:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        document.pop("variant", None)
        validator(document)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("matrx",), {}, "tool.polywheel"),
        (("matrix", "null"), "yes", "tool.polywheel.matrix.null"),
        (("matrix", "python"), [3.12], "tool.polywheel.matrix.python[0]"),
        (("setup", "*", "cflag"), [], "tool.polywheel.setup.*"),
    ],
)
def test_validate_pyproject_refuses(
    path: Path_, value: Any, said: str, validator: Validator
) -> None:
    document = {"tool": changed(path, value)["tool"]}
    with pytest.raises(ValidationError) as caught:
        validator(document)
    assert said in str(caught.value)
