"""The direction of imports, and the names of unit tests."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = (
    {"__main__"},
    {"cli"},
    {"ci", "init"},
    {"report"},
    {"run"},
    {"backend"},
    {"matrix", "index", "audit"},
    {"wheel"},
    {"setup"},
    {"providers", "formats"},
    {"environments"},
    {"config"},
    {"model"},
    {"system"},
    {"errors"},
    {"system/terminal.py"},
)
"""Folders and modules, top to bottom. Each imports from those below it, and not from beside it."""

DATA_IS_FOR = {"setup", "matrix", "audit", "index", "run", "ci", "init"}
METHODS_OF_THE_API = {"model/plan.py": {"matrix", "run"}}
"""Methods of public values whose code lies higher: it is imported when they are called."""

SCRIPTS = {
    "backend/_describe_backend.py",
    *("providers/_host.py", "providers/_host_questions.py"),
}
"""Run by path, by an interpreter that may have nothing else: standard library only."""

SOURCE = Path(__file__).resolve().parents[2] / "src" / "polywheel"
FILES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def depth(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def room_of(path: Path) -> str:
    if name_of(path) == "system/terminal.py":
        return name_of(path)
    return name_of(path).partition("/")[0].removesuffix(".py")


def room_of_import(name: str) -> str:
    if name.startswith("polywheel.system.terminal."):
        return "system/terminal.py"
    return name.split(".")[1]


def imported(path: Path) -> Iterator[str]:
    """What a module imports, at its top or in a function, in dotted names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    names = set(imported(path))
    if name_of(path) in SCRIPTS:
        scripts = {name.rpartition("/")[2].removesuffix(".py") for name in SCRIPTS}
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | scripts
        return
    room = room_of(path)
    ours = {room_of_import(name) for name in names if name.startswith("polywheel.")}
    ours -= {room, "__version__"}
    ours -= METHODS_OF_THE_API.get(name_of(path), set())
    if room == "__init__":  # the public API
        return
    if room == "data":
        assert ours <= {"errors"}
        return
    assert any(room in rooms for rooms in LAYERS), f"{room} has no place in the design"
    if "data" in ours:
        assert room in DATA_IS_FOR
    for other in ours - {"data"}:
        assert depth(other) > depth(room), f"{room} imports from {other}"


def test_contributing_shows_the_same_layers_and_files_that_exist() -> None:
    root = SOURCE.parents[1]
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| folder | contents |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [set(re.findall("`([^`]+)`", row.split("|")[1])) for row in table.splitlines()]
    assert rows == [set(names) for names in LAYERS if names != {"__main__"}]
    paths = re.findall(r"`((?:src|matrix|tests|docs)/[^`*]*)", text)
    assert paths
    assert [path for path in paths if not (root / path).exists()] == []


TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    "path",
    sorted(TESTS.glob("*/**/test_*.py")),
    ids=lambda path: path.relative_to(TESTS).as_posix(),
)
def test_unit_tests_are_named_after_their_modules(path: Path) -> None:
    """``FOLDER/test_MODULE.py`` or ``FOLDER/test_MODULE_TOPIC.py``."""
    folder = SOURCE / path.relative_to(TESTS).parent
    modules = [module.stem for module in folder.iterdir()]
    topic = f"{path.stem.removeprefix('test_')}_"
    assert any(topic.startswith(f"{module}_") for module in modules), f"no such module in {folder}"
