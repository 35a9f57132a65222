"""The include file for GitLab: what each setting changes. The scripts run in tests/integration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polywheel.ci.gitlab import (
    check_included_files,
    gitlab_include,
    unsupported_settings,
)
from polywheel.ci.publication import check_gitlab_publication
from polywheel.config.project import read_project
from polywheel.errors import ConfigError
from polywheel.model.ci import GitLabSettings
from support.gitlab_jobs import PLANNED, Reference, load_pipeline
from support.plans import HEAD, MATRIX, expanded

EVIL = '\'; rm -rf "$HOME" & $(id) `id` | # \\ : {x} \u2028'


def include(file: str = "./.gitlab/polywheel.yml", **options: Any) -> dict[str, Any]:
    """The file, without settings that are options of the command."""
    names = {field for field in options if field in GitLabSettings.__dataclass_fields__}
    settings = replace(GitLabSettings(), **{name: options.pop(name) for name in names})
    given: dict[str, Any] = {"config": None, "source": "."}
    text = gitlab_include("# x\n", settings, file=file, **{**given, **options})
    return load_pipeline(text)


def test_the_defaults_have_no_job_to_publish_and_no_sdist() -> None:
    document = include()
    assert {name for name in document if not name.startswith(".")} == {
        *("variables", "polywheel-plan", "polywheel-wheels", "polywheel-collect")
    }
    assert document[".polywheel"]["extends"] == ".polywheel-tools"
    assert "timeout" not in document[".polywheel"]
    assert document[".polywheel"]["artifacts"]["when"] == "always", "a failure loses no wheel"
    assert document["polywheel-collect"]["rules"][-1]["when"] == "always"
    assert document["polywheel-collect"]["script"][0] == Reference((PLANNED, "script"))
    assert "GIT_SUBMODULE_STRATEGY" not in document[".polywheel-tools"]["variables"]


@pytest.mark.parametrize("name", ["polywheel-plan", "polywheel-wheels"])
def test_rules_and_changes_are_for_the_parent_pipeline(name: str) -> None:
    never = {"if": '$CI_PIPELINE_SOURCE == "parent_pipeline"', "when": "never"}
    assert include()[name]["rules"] == [never, {"when": "on_success"}]
    assert include(changes=("src/**",))[name]["rules"] == [never, {"changes": ["src/**"]}]
    assert include(rules=("$A", '$B == "x"'))[name]["rules"] == [
        never,
        {"if": "$A"},
        {"if": '$B == "x"'},
    ]
    assert include(rules=("$A", "$B"), changes=("x",))[name]["rules"][1:] == [
        {"if": "$A", "changes": ["x"]},
        {"if": "$B", "changes": ["x"]},
    ]


def test_scripts_of_the_project_stand_around_the_build() -> None:
    lines = ("export A=1", "two\nlines: here", EVIL)
    script = include(before_script=lines, after_build_script=("after",))[".polywheel"]["script"]
    build = next(index for index, line in enumerate(script) if "polywheel build" in line)
    assert tuple(script[build - 3 : build]) == lines
    assert script[build + 1] == "after"


def test_a_hidden_job_and_its_file_extend_the_builds() -> None:
    document = include(extends=".wheels", include=("ci/wheels.yml", "/other.yml"))
    assert document[".polywheel"]["extends"] == [".wheels", ".polywheel-tools"]
    assert document["include"] == [{"local": "/ci/wheels.yml"}, {"local": "/other.yml"}]


def test_only_jobs_that_build_no_wheels_have_the_image_and_the_tags() -> None:
    document = include(image=EVIL, tags=("docker", EVIL), sdist=True, publish=True)
    assert document[".polywheel-runner"]["image"] == EVIL
    assert document[".polywheel-runner"]["tags"] == ["docker", EVIL]
    for name, job in document.items():
        if name.startswith("polywheel-") and "trigger" not in job:
            assert job["extends"] == ".polywheel-runner"
    assert not {"image", "tags"} & {*document[".polywheel"], *document[".polywheel-tools"]}


def test_submodules_are_checked_out() -> None:
    variables = include(submodules=True)[".polywheel-tools"]["variables"]
    assert variables["GIT_SUBMODULE_STRATEGY"] == "recursive"


def test_without_a_cache_nothing_is_kept() -> None:
    assert include()[".polywheel"]["cache"]["key"].endswith("$POLYWHEEL_TARGET-$POLYWHEEL_PYTHON")
    assert any("2097152" in line for line in include()[".polywheel"]["script"])
    assert any("512000" in line for line in include(cache_size="500M")[".polywheel"]["script"])
    document = include(cache=False)
    assert "cache" not in document[".polywheel"]
    assert not any("cache" in line for line in document[".polywheel"]["script"])


def test_a_compiler_cache_is_kept_for_each_job() -> None:
    environments, objects = include(compiler_cache="auto")[".polywheel"]["cache"]
    assert environments["paths"] == [".polywheel-cache/"]
    assert objects["key"] == "polywheel-compiler-$CI_JOB_NAME_SLUG"
    assert "cache" not in include(compiler_cache="auto", cache=False)[".polywheel"]
    assert isinstance(include()[".polywheel"]["cache"], dict)


def test_a_release_waits_for_the_sdist() -> None:
    assert include(publish=True)["polywheel-publish"]["dependencies"] == ["polywheel-collect"]
    document = include(publish=True, sdist=True, environment="release", expire_in="1 day")
    publish = document["polywheel-publish"]
    assert publish["dependencies"] == ["polywheel-collect", "polywheel-sdist"]
    assert publish["stage"] == ".post", "after the tests, too"
    assert "needs" not in publish
    assert document["polywheel-publish"]["environment"] == "release"
    assert document["polywheel-sdist"]["artifacts"]["expire_in"] == "1 day"


def test_the_sdist_is_checked_unless_the_project_has_its_own_check() -> None:
    (script,) = include(sdist=True)["polywheel-sdist"]["script"]
    assert "--sdist" not in script
    assert "rm polywheel-sdist/*.whl" in script
    (script,) = include(sdist=True, sdist_check=False)["polywheel-sdist"]["script"]
    assert "-m build --sdist --outdir polywheel-sdist" in script
    assert "rm " not in script


def test_a_plan_is_made_with_the_settings_of_the_project() -> None:
    variables = include()["polywheel-plan"]["variables"]
    assert variables == {"POLYWHEEL_MOST": "", "POLYWHEEL_PR_SUBSET": "no"}
    variables = include(pr_subset=True, max_jobs=40)["polywheel-plan"]["variables"]
    assert variables == {"POLYWHEEL_MOST": "40", "POLYWHEEL_PR_SUBSET": "yes"}


def test_wheels_are_published_for_tags_and_on_demand() -> None:
    document = include(publish=True)
    assert document["variables"]["POLYWHEEL_PUBLISH"]["value"] == "no"
    # The parent pipeline decides: the source of the child pipeline is always parent_pipeline.
    upload = {"variables": {"POLYWHEEL_UPLOAD": "yes"}}
    assert document["polywheel-wheels"]["rules"] == [
        {"if": '$CI_PIPELINE_SOURCE == "parent_pipeline"', "when": "never"},
        {"if": '$POLYWHEEL_PUBLISH == "yes"', **upload},
        {"if": "$CI_COMMIT_TAG", **upload},
        {"when": "on_success"},
    ]
    (rule,) = document["polywheel-publish"]["rules"]
    assert rule["if"] == '$CI_PIPELINE_SOURCE == "parent_pipeline" && $POLYWHEEL_UPLOAD == "yes"'
    options: dict[str, Any] = {
        "publish_rules": ("$A || $B",),
        "rules": ("$C", "$D"),
        "changes": ("src/*",),
    }
    rules = include(publish=True, **options)["polywheel-wheels"]["rules"]
    assert [rule["if"] for rule in rules[1:]] == [
        *('($C) && ($POLYWHEEL_PUBLISH == "yes")', '($D) && ($POLYWHEEL_PUBLISH == "yes")'),
        *("($C) && ($A || $B)", "($D) && ($A || $B)", "$C", "$D"),
    ]
    assert all(rule["changes"] == ["src/*"] for rule in rules[1:])
    assert "POLYWHEEL_UPLOAD" not in str(include(rules=("$C",)))


def test_another_index_has_the_password_of_a_variable() -> None:
    document = include(
        publish=True,
        repository_url="https://index.example/$x",
        username=EVIL,
        password_variable="TOKEN",
    )
    variables = document["polywheel-publish"]["variables"]
    assert variables["POLYWHEEL_PASSWORD"] == "TOKEN"
    assert variables["TWINE_USERNAME"] == {"value": EVIL, "expand": False}
    assert variables["TWINE_REPOSITORY_URL"]["value"] == "https://index.example/$x"
    (script,) = document["polywheel-publish"]["script"]
    assert "variants.json" not in script, "only GitLab's registry takes any file"


PYPI = GitLabSettings(
    publish=True,
    repository_url="https://upload.pypi.org/legacy/",
    password_variable="TOKEN",
)


def test_pypi_gets_no_wheels_with_a_label(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    project = read_project(tmp_path, variants=True)
    (note,) = check_gitlab_publication(PYPI, project, plan)
    labelled = [job for job in plan.jobs if job.label is not None]
    assert f"{len(labelled)} of {len(plan.jobs)} wheels will not be published" in note
    (script,) = include(publish=True, **_index_of(PYPI))["polywheel-publish"]["script"]
    assert "wheel.unlink()" in script
    plan = replace(plan, jobs=tuple(labelled))
    with pytest.raises(ConfigError, match="the matrix has no others"):
        [*check_gitlab_publication(PYPI, project, plan)]


def test_metadata_fields_are_refused_only_if_wheels_with_a_label_are_published(
    tmp_path: Path,
) -> None:
    plan = expanded(tmp_path)
    project = read_project(tmp_path, variants=True)
    registry = GitLabSettings(publish=True)
    with pytest.raises(ConfigError, match=r"refuses Variant-\* fields"):
        [*check_gitlab_publication(registry, project, plan)]
    settings = replace(project.settings, metadata_fields=False)
    assert not [*check_gitlab_publication(registry, replace(project, settings=settings), plan)]
    assert not [*check_gitlab_publication(GitLabSettings(), project, plan)]
    plain = replace(plan, jobs=tuple(job for job in plan.jobs if job.label is None))
    assert not [*check_gitlab_publication(registry, project, plain)]


def test_settings_without_effect_on_gitlab_are_named_once(tmp_path: Path) -> None:
    text = """
    [tool.polywheel.targets.linux-x86_64]
    container-options = "--gpus all"
    [[tool.polywheel.overrides]]
    select = { level = "v3" }
    image = "registry.example/x"
    container-credentials = { username = "robot", password-secret = "TOKEN" }
    """
    plan = expanded(tmp_path, HEAD + MATRIX + text)
    variable, options, windows, runner = sorted(unsupported_settings(plan))
    assert "DOCKER_AUTH_CONFIG (pyproject.toml: tool.polywheel.overrides[0]." in variable
    assert "tool.polywheel.targets.linux-x86_64.container-options" in options
    assert windows.startswith("jobs for windows-x86_64 will fail")
    assert runner.startswith("the runner of linux-x86_64 is 'ubuntu-24.04', a machine of GitHub")
    text = """
    [tool.polywheel.targets.linux-x86_64]
    runner = ["docker", "large"]
    """
    assert [*unsupported_settings(expanded(tmp_path, HEAD + MATRIX + text))] == [windows]


def test_included_files_are_there_unless_gitlab_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / "a.yml").touch()
    settings = GitLabSettings(include=("a.yml", "/a.yml", "ci/*.yml", "b.yml"), at="x")
    with pytest.raises(ConfigError, match=r"the repository has no file 'b\.yml'") as caught:
        check_included_files(settings, tmp_path)
    assert caught.value.problems[0].at == "x.include[3]"


def test_included_files_have_the_job_that_builds_extend(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        '# .weels:\n.wheels:\n  .weels: 1\n".x y": {}\n', encoding="utf-8"
    )
    for name in (".wheels", ".x y"):
        check_included_files(GitLabSettings(include=("a.yml",), extends=name), tmp_path)
    settings = GitLabSettings(include=("a.yml",), extends=".weels", at="x")
    with pytest.raises(ConfigError, match=r"files of include have no job '\.weels'") as caught:
        check_included_files(settings, tmp_path)
    assert caught.value.problems[0].at == "x.extends"
    assert caught.value.problems[0].hint == "did you mean '.wheels'?"
    # The job may be in files that only GitLab finds.
    check_included_files(replace(settings, include=("a.yml", "ci/*.yml")), tmp_path)
    for text in ("include: [c.yml]\n", '{ ".weels": {} }'):
        (tmp_path / "b.yml").write_text(text, encoding="utf-8")
        check_included_files(replace(settings, include=("a.yml", "b.yml")), tmp_path)


def test_settings_of_an_upload_that_does_not_happen_are_named(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    project = read_project(tmp_path, variants=True)
    settings = GitLabSettings(environment="e", publish_rules=("$A",), at="x")
    with pytest.raises(ConfigError) as caught:
        list(check_gitlab_publication(settings, project, plan))
    assert [(problem.what, problem.at) for problem in caught.value.problems] == [
        ("publish-rules has no effect without publish", "x.publish-rules"),
        ("environment has no effect without publish", "x.environment"),
    ]


def _index_of(settings: GitLabSettings) -> dict[str, Any]:
    return {key: getattr(settings, key) for key in ("repository_url", "password_variable")}


def test_a_time_limit_is_in_minutes() -> None:
    assert include(timeout=3601.0)[".polywheel"]["timeout"] == "61 minutes"


def test_a_file_whose_name_gitlab_reads_as_a_glob_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't include a file"):
        include(file="./a[b].yml")
