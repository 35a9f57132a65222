"""What an edit builds again, why, and what comes from the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.build_command import CACHE, JOURNAL, Builds, workplaces
from support.projects import demo, fake_project

places = pytest.fixture(autouse=True)(workplaces)
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def edit(source: Path, old: str, new: str, *, file: str = "pyproject.toml") -> None:
    path = source / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def reasons(builds: Builds, *options: str) -> dict[str, list[str]]:
    """What ``--dry-run`` says, by label."""
    document = json.loads(builds("--dry-run", "--json", *options).out)
    return {
        str(job["label"]): job["reasons"] for build in document["builds"] for job in build["jobs"]
    }


def test_an_edit_of_the_tables_builds_only_what_it_is_about(tmp_path: Path) -> None:
    source = demo(tmp_path / "source", "one", "two")
    builds = Builds(source, tmp_path / "out")
    builds()
    assert sorted(builds.begun) == ["one", "two"]

    edit(source, "[project]", "# a comment\n[project]")
    assert reasons(builds) == {"one": [], "two": []}
    assert builds().states == {"one": "up-to-date", "two": "up-to-date"}

    edit(source, "[variant.variants.two]", "[variant.variants.renamed]")
    run = builds("--explain-rebuild")
    assert run.states == {"one": "up-to-date", "renamed": "stamped"}
    assert "-renamed: it was not built in this folder before" in run.err
    assert len(builds.begun) == 2

    edit(source, '["one", "two"]', '["one", "two", "three"]')
    more = '[variant.variants.three]\ndemo.kind = ["three"]\n[tool.polywheel.matrix]'
    edit(source, "[tool.polywheel.matrix]", more)
    said = reasons(builds)
    # The properties that the provider knows are in every wheel.
    assert said["one"] == ["stamp: variant.json changed", "stamp: metadata changed"][:1]
    assert builds().states == {"one": "stamped", "renamed": "stamped", "three": "built"}

    edit(source, 'DEMO_DOES = "one"', 'DEMO_DOES = "other"')
    assert reasons(builds) == {
        "one": ["setup: env.DEMO_DOES: one → other"],
        "renamed": [],
        "three": [],
    }
    run = builds()
    assert run.states == {"one": "built", "renamed": "up-to-date", "three": "up-to-date"}
    (job,) = (job for job in run.report["jobs"] if job["label"] == "one")
    assert job["reasons"] == ["setup: env.DEMO_DOES: one → other"]

    edit(source, 'DEMO_DOES = "other"', 'DEMO_DOES = "one"')
    assert builds().states["one"] == "stamped", "its wheel is in the cache"
    assert len(builds.begun) == 4


def test_the_reasons_of_other_changes(tmp_path: Path) -> None:
    source = fake_project(tmp_path / "source", "one", files={"a.txt": "1", "b.txt": "1"})
    builds = Builds(source, tmp_path / "out")
    assert reasons(builds) == {"one": ["it was not built in this folder before"]}
    assert not builds.out.exists(), "a dry run writes nothing"
    builds()
    (source / "a.txt").write_text("2", encoding="utf-8")
    (source / "b.txt").unlink()
    builds.env["FOO"] = "secret"
    assert reasons(builds) == {
        "one": ["source: a.txt changed", "source: b.txt removed", "variable FOO added"]
    }
    assert "secret" not in (builds.out / JOURNAL).read_text(encoding="utf-8")
    builds()
    (wheel,) = builds.out.glob("*.whl")
    wheel.rename(builds.out / "moved")
    assert reasons(builds) == {"one": [f"{wheel.name} was removed"]}
    assert builds().states == {"one": "stamped"}
    assert builds("--rebuild").states == {"one": "built"}
    assert reasons(builds, "--rebuild") == {"one": ["--rebuild"]}


def test_another_directory_costs_a_stamp_and_a_damaged_wheel_a_build(tmp_path: Path) -> None:
    source = demo(tmp_path / "source", "one")
    first, other = (Builds(source, tmp_path / name, dict(EPOCH)) for name in ("out", "other"))
    first()
    assert other().states == {"one": "stamped"}
    assert other.wheels == first.wheels
    for stored in (CACHE / "wheels").glob("*/*/*.whl"):
        stored.write_bytes(stored.read_bytes()[:-1])
    third = Builds(source, tmp_path / "third", dict(EPOCH))
    run = third()
    assert run.states == {"one": "built"}
    assert "a damaged wheel in the cache is not used" in run.err
    assert third.wheels == first.wheels


def test_a_wheel_that_contains_pyproject_is_built_again_when_it_changes(tmp_path: Path) -> None:
    backend = """
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    note("begun", "one")
    return write_wheel(wheel_directory, {"demo/c.toml": pathlib.Path("pyproject.toml").read_bytes()})
"""
    builds = Builds(fake_project(tmp_path / "source", "one", backend=backend), tmp_path / "out")
    builds()
    assert builds().states == {"one": "up-to-date"}
    edit(builds.source, "[project]", "# a comment\n[project]")
    assert reasons(builds) == {"one": ["pyproject.toml, which the wheel contains, has changed"]}
    assert builds().states == {"one": "built"}
    assert builds().states == {"one": "up-to-date"}


def test_a_journal_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    builds = Builds(demo(tmp_path / "source", "one"), tmp_path / "out")
    builds()
    lines = [
        {name: value for name, value in line.items() if name not in {"parts", "contained"}}
        for line in builds.journal
    ]
    text = "".join(json.dumps({**line, "key": "0" * 64}) + "\n" for line in lines)
    (builds.out / JOURNAL).write_text(text, encoding="utf-8")
    assert reasons(builds) == {"one": ["an earlier version of polywheel built it"]}
    assert builds().states == {"one": "stamped"}, "no stranger's file is in the way"


def test_the_sdist_is_made_once_for_edits_of_the_tables(tmp_path: Path) -> None:
    backend = """
def build_sdist(sdist_directory, config_settings=None):
    note("begun", "sdist")
    files = [path for path in pathlib.Path(".").rglob("*") if path.is_file()]
    return write_sdist(sdist_directory, {str(path): path.read_bytes() for path in files})
"""
    source = fake_project(tmp_path / "source", "one", backend=backend, files={"a.txt": "1"})
    builds = Builds(source, tmp_path / "out", dict(EPOCH))
    builds()
    edit(source, "[variant.variants.one]", "[variant.variants.renamed]")
    assert builds().states == {"renamed": "stamped"}
    edit(source, "[project]", "# a comment\n[project]")
    assert builds().states == {"renamed": "up-to-date"}
    assert builds.begun.count("sdist") == 1
    (source / "a.txt").write_text("2", encoding="utf-8")
    assert reasons(builds) == {"renamed": ["source: a.txt changed"]}, "before there is an sdist"
    assert builds().states == {"renamed": "built"}
    assert builds.begun.count("sdist") == 2
