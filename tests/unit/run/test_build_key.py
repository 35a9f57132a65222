"""The parts of a key: what they depend on, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.config.project import read_project
from polywheel.environments.virtual_environments import Environment
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.model.variant import VariantProperty
from polywheel.run.build_key import ENVIRONMENT, STAMP, Key
from polywheel.run.source.snapshot import read_source
from support.keys import interpreter, key_maker
from support.projects import write_project
from support.setups import worker_context
from support.wheels import zipped

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["cpu"]
[variant.providers.cpu]
static-properties.level = ["v1", "v2", "v3"]
[tool.polywheel.setup."cpu :: level :: v2"]
cflags = ["-O2"]
[tool.polywheel.setup."label:second*"]
dependencies = ["numpy"]
"""
PLUGIN = PYPROJECT.replace('static-properties.level = ["v1", "v2", "v3"]', 'requires = ["cpu"]')


def job_of(label: str | None, *properties: str) -> Job:
    return Job(
        id=f"job-{label}",
        label=label,
        properties=tuple(map(VariantProperty.parse, properties)),
        pythons=("3.12",),
        targets=(),
        build="",
        at="",
    )


V2 = job_of("v2", "cpu :: level :: v2")
V3 = job_of("v3", "cpu :: level :: v3")


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., Key]:
    """Makes the key of a job of a project with this pyproject.toml."""

    def make(
        text: str = PYPROJECT,
        job: Job = V2,
        *,
        jobs: tuple[Job, ...] = (),
        settings: BuildSettings = BuildSettings(),  # noqa: B008  # frozen
        reads_variant: bool = False,
        files: dict[str, str] | None = None,
        **distributions: str,
    ) -> Key:
        write_project(tmp_path, {"pyproject.toml": text, "a.c": "", **(files or {})})
        project = read_project(tmp_path, variants=True)
        source = read_source(tmp_path)
        maker = replace(
            key_maker(project, worker_context(tmp_path), reads_variant=reads_variant),
            source=source,
            origin=source,
        )
        environment = Environment(
            folder=tmp_path, python="python", distributions={"setuptools": "80 a", **distributions}
        )
        return maker.keys(jobs or (job,), settings, interpreter(), environment)[job.id]

    return make


def changed(before: Key, after: Key) -> set[str]:
    """The parts that differ."""
    return {name for name in before.parts if before.digests[name] != after.digests[name]}


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("[project]", "# comment\n[project]", set()),
        ('version = "1.0"', 'version = "1.1"', {"source"}),
        ('["-O2"]', '["-O3"]', {"setup"}),
        ("level :: v2", "level :: v3", {"setup"}),
        ("label:second", "label:v2", {STAMP}),
        ('namespace = ["cpu"]', 'namespace = ["cpu"]\nfeature.cpu = ["level"]', {STAMP}),
        ('"v3"]', '"v3", "v4"]', {STAMP}),
        ("[variant.default", '[variant.variants.new]\ncpu.level = ["v1"]\n[variant.default', set()),
        ("[tool", "[tool.polywheel]\nmetadata-fields = false\n[tool", {STAMP}),
        ("[tool", "[tool.polywheel]\nstrict = true\n[tool", {"setup"}),
        (
            "[tool",
            '[tool.polywheel]\nbuild-backend = "mine"\nbackend-path = ["."]\n[tool',
            {"setup"},
        ),
        (
            "[tool",
            "[tool.other]\nb = 1\n[tool",
            {"source"},
        ),
        ("[tool", "[tool.other]\na = 1\n[tool", {"source"}),
        ("[tool", '[tool.polywheel.audit]\nallow = ["a:b"]\n[tool', set()),
        ("[tool", '[tool.polywheel.audit]\nbuilds = "warn"\n[tool', {STAMP}),
        ("[tool", '[tool.polywheel.matrix]\ntest-command = "pytest"\n[tool', set()),
    ],
)
def test_an_edit_of_pyproject_changes_only_the_parts_that_it_is_about(
    old: str, new: str, parts: set[str], keys: Callable[..., Key]
) -> None:
    assert old in PYPROJECT
    before = keys()
    after = keys(PYPROJECT.replace(old, new, 1))
    assert changed(before, after) == parts
    assert (before.build == after.build) == (parts <= {STAMP})
    assert (before.digest == after.digest) == (not parts)


def test_a_label_is_a_part_of_the_stamp(keys: Callable[..., Key]) -> None:
    other = replace(V2, label="renamed")
    assert changed(keys(), keys(job=other)) == {STAMP}
    both = changed(keys(reads_variant=True), keys(job=other, reads_variant=True))
    assert both == {STAMP, "setup"}, "a build that reads its label depends on it"


def test_builds_with_equal_setups_have_the_same_key(keys: Callable[..., Key]) -> None:
    """Such as variants without rules, and each job of a shared build."""
    plain, other = job_of(None), job_of("other", "cpu :: level :: v1")
    assert keys(job=V3).build == keys(job=other).build
    assert keys(job=V3).build != keys(job=plain).build, "only wheels with a label are checked"
    assert keys(job=V3, jobs=(plain, V3)).build == keys(job=plain, jobs=(plain, V3)).build
    assert keys(job=V2).build != keys(job=V3).build


def test_what_plugins_are_asked_is_a_part_of_the_setup(keys: Callable[..., Key]) -> None:
    """Their answers are merged with the rules of the variant, so these count, but no others."""
    before = keys(PLUGIN)
    assert changed(before, keys(PLUGIN, job=replace(V2, label="renamed"))) == {STAMP}
    assert changed(before, keys(PLUGIN.replace('["-O2"]', "[]"))) == {"setup"}
    without = PLUGIN.replace('["-O2"]', '["-O2"]\ncxxflags = []')
    assert changed(before, keys(without)) == {"setup"}, (
        "an empty list replaces the answer of a plugin"
    )
    other = PLUGIN + '[tool.polywheel.setup."cpu :: level :: v3"]\ncflags = ["-O3"]\n'
    assert changed(before, keys(other)) == set()
    assert changed(before, keys(PLUGIN, cpu="1.0 b")) == {ENVIRONMENT}


def test_settings_of_a_build_that_change_its_wheel(keys: Callable[..., Key]) -> None:
    settings = [
        BuildSettings(),
        BuildSettings(environment={"A": "1"}),
        BuildSettings(config_settings={"A": "1"}),
        BuildSettings(before_all="ls"),
        BuildSettings(before_build="ls"),
        BuildSettings(repair_command="ls"),
    ]
    assert len({keys(settings=each).build for each in settings}) == len(settings)
    same = replace(settings[0], runner=("x",), job_timeout=1.0, memory_per_job="1G")
    assert keys(settings=same).digest == keys().digest


@pytest.mark.parametrize(
    ("text", "matters"), [("$CI_COMMIT_TAG", True), ("$$CI_COMMIT_TAG", False)]
)
def test_variables_that_the_variables_of_a_build_contain(
    text: str, matters: bool, keys: Callable[..., Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other variables of CI systems do not matter."""
    settings = BuildSettings(environment={"VERSION": text})
    monkeypatch.setenv("CI_COMMIT_TAG", "1.0")
    before = keys(settings=settings)
    monkeypatch.setenv("CI_COMMIT_TAG", "2.0")
    assert (keys(settings=settings).build != before.build) == matters


def test_path_does_not_matter_if_a_build_only_adds_to_it(
    keys: Callable[..., Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The versions of the tools on it do."""
    settings = BuildSettings(environment={"PATH": "/opt/tool:$PATH"})
    before = keys(settings=settings).digests["variables"]
    monkeypatch.setenv("PATH", "/opt/nothing")
    assert keys(settings=settings).digests["variables"] == before
    other = BuildSettings(environment={"PATH": "/opt/other:$PATH"})
    assert keys(settings=other).digests["variables"] != before


def test_files_with_tables_that_a_wheel_contains(tmp_path: Path, keys: Callable[..., Key]) -> None:
    key = keys()
    project = read_project(tmp_path, variants=True)
    maker = replace(key_maker(project, worker_context(tmp_path)), source=read_source(tmp_path))
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    wheel.write_bytes(zipped({"demo/a.py": b"", "demo/config.toml": PYPROJECT.encode()}))
    contained = maker.contained_files(wheel)
    assert set(contained) == {"pyproject.toml"}
    assert key.allows(contained)
    assert not keys(PYPROJECT + "# comment\n").allows(contained)
    wheel.write_bytes(zipped({"demo/pyproject.toml": b"# changed by the build"}))
    assert set(maker.contained_files(wheel)) == {"pyproject.toml"}
    wheel.write_bytes(zipped({"demo/a.py": b""}))
    assert maker.contained_files(wheel) == {}
