"""``polywheel ci``: what it says about a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.cli import main

PROJECT = """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
level = ["v1"]
[tool.polywheel]
build-backend = "setuptools.build_meta"
[tool.polywheel.matrix]
python = ["3.13"]
targets = ["linux-x86_64", "macos-arm64"]
wheel-tag = "python"
label = "{level}"
[tool.polywheel.matrix.axes.level]
v1 = ["demo :: level :: v1"]
[tool.polywheel.targets.macos-arm64]
test-command = "pytest {project}"
"""


def test_cibuildwheel_runs_the_test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    assert main(["ci", "cibuildwheel", str(tmp_path), "-o", "-"]) == 0
    assert "pytest {package}" in capsys.readouterr().out


def test_max_jobs_is_a_setting_and_an_option_replaces_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = """
    [tool.polywheel.ci.gitlab]
    max-jobs = 1
    [tool.polywheel.ci.github]
    max-jobs = 1
    """
    text = PROJECT.replace('["3.13"]', '["3.12", "3.13", "3.14"]').replace(
        '["linux-x86_64", "macos-arm64"]', '["macos-arm64"]'
    )
    (tmp_path / "pyproject.toml").write_text(text + more, encoding="utf-8")
    for kind in ("github", "gitlab"):
        assert main(["ci", kind, str(tmp_path), "-o", "-"]) == 0
        assert "3 wheels, 3 builds, 1 CI jobs" in capsys.readouterr().err
        assert main(["ci", kind, str(tmp_path), "-o", "-", "--max-jobs=2"]) == 0
        assert "3 wheels, 3 builds, 2 CI jobs" in capsys.readouterr().err


def test_more_jobs_than_github_allows_name_the_setting_or_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{PROJECT}[tool.polywheel.ci.github]\nmax-jobs = 300\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    problem = "error: expected at most 256, the largest matrix on GitHub, found 300\n  at: "
    assert main(["ci", "github", str(tmp_path), "-o", "-"]) == 2
    setting = "pyproject.toml: tool.polywheel.ci.github.max-jobs"
    assert f"{problem}{setting}\n" in capsys.readouterr().err
    assert main(["ci", "github", str(tmp_path), "-o", "-", "--max-jobs=300"]) == 2
    assert f"{problem}--max-jobs\n" in capsys.readouterr().err


def test_actions_that_the_repository_lacks_are_named_together_if_they_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"""{PROJECT}
    [tool.polywheel.ci.github]
    setup-action = "./a"
    after-build-action = "./b"
    """
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["ci", "github", str(tmp_path), "-o", "-"]) == 2
    error = capsys.readouterr().err
    for action in ("./a", "./b"):
        assert f"error: the repository has no {action}/action.yml\n" in error
    assert error.count(f"hint: paths start at the root of the repository, {tmp_path}") == 2
    assert main(["ci", "cibuildwheel", str(tmp_path), "-o", "-"]) == 0
    assert "note: setup-action, after-build-action" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "push"),
    [
        ("branches = []", '  push:\n    tags: ["v*"]\n'),
        ("tags = []", '  push:\n    branches: ["main", "master"]\n'),
        ('branches = []\ntags = []\npaths = ["src/**"]', ""),
    ],
)
def test_no_branches_or_no_tags(
    settings: str, push: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{PROJECT}[tool.polywheel.ci.github]\n{settings}\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["ci", "github", str(tmp_path), "-o", "-"]) == 0
    assert f"on:\n{push}  pull_request:\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "options", "to_pypi"),
    [
        ("github", [], True),
        ("github", ["--publish", "--repository-url=https://a.example/"], False),
        ("gitlab", [], False),
    ],
)
def test_the_note_about_wheels_that_are_not_repaired(
    kind: str,
    options: list[str],
    to_pypi: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = PROJECT.replace("[tool.polywheel]\n", "[tool.polywheel]\nmetadata-fields = false\n")
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["ci", kind, str(tmp_path), "-o", "-", *options]) == 0
    error = capsys.readouterr().err
    assert "note: wheels for linux-x86_64 will not be repaired" in error
    assert ("PyPI rejects their tag" in error) is to_pypi


def test_the_note_about_wheels_that_pypi_does_not_accept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PROJECT.replace("[tool.polywheel.matrix]\n", "[tool.polywheel.matrix]\nplain = true\n")
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    arguments = ["ci", "github", str(tmp_path), "-o", "-", "--publish"]
    note = "note: PyPI does not accept wheels with a label: 2 of 4 wheels will "
    assert main(arguments) == 0
    error = capsys.readouterr().err
    assert f"{note}not be published; to publish them too, publish to an index of your own" in error
    assert "(--release-assets)" in error
    assert main([*arguments, "--release-assets"]) == 0
    error = capsys.readouterr().err
    assert f"{note}be on GitHub only\n" in error
    assert "(--release-assets)" not in error


@pytest.mark.parametrize(
    ("requires", "sdist_check", "note"),
    [
        ("torch=={value}.*", "true", "the sdist, and the wheel from it that is the test, must be"),
        ("torch=={value}.*", "false", "the sdist must be possible without the requires of setup"),
        ("Setuptools<{value}", "true", None),
    ],
)
def test_an_sdist_without_the_requires_of_variants(
    requires: str,
    sdist_check: str,
    note: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = f'{PROJECT}[tool.polywheel.setup."demo :: level"]\nrequires = ["{requires}"]\n'
    for kind in ("github", "gitlab"):
        text += f"[tool.polywheel.ci.{kind}]\nsdist = true\nsdist-check = {sdist_check}\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    for kind in ("github", "gitlab"):
        assert main(["ci", kind, str(tmp_path), "-o", "-"]) == 0
        error = capsys.readouterr().err
        assert ("(torch=={value}.*), because it has no variant" in error) is (note is not None)
        assert (note or "") in error


@pytest.mark.parametrize(
    ("replaced", "at", "what"),
    [
        (("[tool.polywheel]", "[tool.polywheel]\nci = 3"), "tool.polywheel.ci", "expected a table"),
        (
            ("[tool.polywheel]", "[tool.polywheel]\nci = { gihub = {} }"),
            "tool.polywheel.ci.gihub",
            "did you mean 'github'?",
        ),
        (
            (
                "[tool.polywheel]",
                "[tool.polywheel.setup.demo.backend.setuptool]\ncflags = ['-g']\n[tool.polywheel]",
            ),
            "tool.polywheel.setup.demo.backend",
            "did you mean 'setuptools'?",
        ),
        (
            ('"setuptools.build_meta"', '"own"\nbackend-path = ["nope"]'),
            "tool.polywheel.backend-path",
            "the folder 'nope' does not exist",
        ),
        (
            ('name = "demo"', 'name = "demo"\nrequires-python = 3'),
            "project.requires-python",
            "found 3",
        ),
    ],
)
def test_every_command_that_plans_names_settings_that_are_wrong(
    replaced: tuple[str, str],
    at: str,
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace(*replaced), encoding="utf-8")
    for command in (["matrix"], ["ci", "cibuildwheel", "-o", "-"]):
        assert main([*command, str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert f"  at: pyproject.toml: {at}\n" in error
        assert what in error


def test_cibuildwheel_needs_polywheel_in_its_isolated_builds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PROJECT.replace('["polywheel", "setuptools"]', '["setuptools"]')
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["ci", "cibuildwheel", str(tmp_path), "-o", "-"]) == 2
    error = capsys.readouterr().err
    assert "the project does not require polywheel" in error
    assert "  at: pyproject.toml: build-system.requires\n" in error


@pytest.mark.parametrize("kind", ["github", "cibuildwheel"])
def test_an_action_of_the_repository_exists(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    command = ["ci", kind, str(tmp_path), "-o", "-", "--action=./x"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "error: the repository has no ./x/action.yml\n  at: --action\n" in error
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "action.yml").touch()
    assert main(command) == 0


@pytest.mark.parametrize("kind", ["github", "cibuildwheel"])
def test_pushes_of_tags_only_and_of_branches_only(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GitHub refuses an empty list of branches or tags."""
    for setting, lines in (
        ("branches = []", '  push:\n    tags: ["v*"]\n  pull_request:'),
        ("tags = []", '  push:\n    branches: ["main", "master"]\n  pull_request:'),
        ("branches = []\ntags = []", "on:\n  pull_request:"),
    ):
        text = f"{PROJECT}[tool.polywheel.ci.github]\n{setting}\n"
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        assert main(["ci", kind, str(tmp_path), "-o", "-"]) == 0
        assert lines in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "option"), [("github", "--runner"), ("gitlab", "--image")])
def test_an_option_with_an_empty_text_is_not_ignored(
    kind: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    assert main(["ci", kind, str(tmp_path), "-o", "-", f"{option}="]) == 2
    problem = f"expected a text, found an empty one\n  at: {option}\n"
    assert problem in capsys.readouterr().err


def test_cibuildwheel_does_not_build_for_linux_without_a_container(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PROJECT + '[tool.polywheel.targets.linux-x86_64]\nimage = ""\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["ci", "cibuildwheel", str(tmp_path), "-o", "-"]) == 0
    note = (
        'polywheel: note: image = "" (pyproject.toml: tool.polywheel.targets.linux-x86_64.image): no effect, '
        "because cibuildwheel builds wheels for Linux only in containers"
    )
    assert note in capsys.readouterr().err
