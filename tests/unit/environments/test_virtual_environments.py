"""Changes of an environment that other builds use, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.environments import virtual_environments
from polywheel.environments.virtual_environments import (
    Environment,
    refuse_changed,
    refuse_changes,
)
from polywheel.errors import BuildError
from polywheel.system.cache_manifest import record_files

NOTE = "polywheel-environment.json"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One that is complete, with one file, and another file that a build has written."""
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "module.py").touch()
    record_files(folder)
    (folder / NOTE).touch()
    (folder / "cache").touch()
    return Environment(folder=folder, python="", distributions={})


def test_compiled_files_are_no_change(environment: Environment) -> None:
    with refuse_changes(environment, by="test"):
        (environment.folder / "module.pyc").touch()
    refuse_changed(environment)


@pytest.mark.parametrize("name", ["module.py", "new.py", "cache"])
def test_a_change_is_refused_and_seen_by_other_builds(name: str, environment: Environment) -> None:
    with (
        pytest.raises(BuildError, match=f"test changed the build environment.*{name}"),
        refuse_changes(environment, by="test"),
    ):
        (environment.folder / name).write_text("1", encoding="utf-8")
    with pytest.raises(BuildError, match="of another build changed the build environment"):
        refuse_changed(environment)


def test_a_change_of_a_command_that_fails_is_seen_by_other_builds(environment: Environment) -> None:
    def run_command() -> None:
        with refuse_changes(environment, by="test"):
            (environment.folder / "new.py").touch()
            raise BuildError("it ended with exit code 3")

    with pytest.raises(BuildError, match="exit code 3"):
        run_command()
    with pytest.raises(BuildError, match="of another build"):
        refuse_changed(environment)


def test_a_killed_command_may_have_changed_the_environment(environment: Environment) -> None:
    assert virtual_environments._is_sound(environment)
    with refuse_changes(environment, by="test"):
        assert virtual_environments._is_sound(environment), "a command of another run is running"
    assert virtual_environments._is_sound(environment)
    # A killed process leaves its folder, without a lock.
    environment.folder.with_name("env.commands").joinpath("polywheel-tmp-0123456789ab").mkdir()
    assert not virtual_environments._is_sound(environment)
    assert virtual_environments._is_sound(environment), "it was created again"
