"""The container of a GitHub job: ``docker create`` and ``docker exec``, as the runner calls them.

The folders, options, and variables are those of ``ContainerOperationProvider.cs`` and ``DockerCommandManager.cs`` in
actions/runner. ``docker`` is the program of this name on PATH, for example one that starts podman.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.builds import run
from support.projects import ROOT, write_project

RUNNER = 1001
"""The user of GitHub's runner, to whom the folders belong. The container runs as root."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContainer:
    """A container that runs."""

    id: str
    folders: Mapping[Path, str]
    """Folders of this machine, and where they are in the container."""

    workspace: str

    @classmethod
    def start(cls, image: str, options: str, *, workspace: Path, temporary: Path) -> JobContainer:
        home = temporary / "_github_home"
        home.mkdir(exist_ok=True)
        for folder in (workspace, temporary, home):
            _change_owner(folder, RUNNER)
        inner = "/__w/project/project"
        folders = {
            workspace: inner,
            temporary: "/__w/_temp",
            home: "/github/home",
            ROOT: "/__w/_actions/polywheel/polywheel/v1",
        }
        mounts = [f"--volume={folder}:{place}" for folder, place in folders.items()]
        mounts[-1] += ":ro"  # this checkout
        created = run(
            [
                *("docker", "create", f"--workdir={inner}", *split_options(options)),
                *("--env=HOME=/github/home", "--env=GITHUB_ACTIONS=true", "--env=CI=true"),
                *(*mounts, "--entrypoint=tail", image, "-f", "/dev/null"),
            ],
            cwd=workspace,
        )
        container = created.stdout.split()[-1]
        run(["docker", "start", container], cwd=workspace)
        return cls(id=container, folders=folders, workspace=inner)

    def remove(self) -> None:
        run(["docker", "rm", "--force", self.id], cwd=Path.cwd())
        for folder in self.folders:
            if folder != ROOT:
                _change_owner(folder)

    def inside(self, path: Path) -> str:
        """A path of this machine, in the container."""
        places = sorted(self.folders.items(), key=lambda item: -len(item[0].parts))
        for folder, place in places:
            if path.is_relative_to(folder):
                return f"{place}/{path.relative_to(folder).as_posix()}".removesuffix("/.")
        raise AssertionError(f"{path} is not in the container")

    def execute(self, command: list[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """Run a command. Return its exit code and output."""
        done = subprocess.run(
            [
                *("docker", "exec", "--interactive", f"--workdir={self.workspace}"),
                *(f"--env={name}={text}" for name, text in variables.items()),
                *(self.id, *command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout


def split_options(text: str) -> list[str]:
    """The options of a container, split as .NET does: single quotes are ordinary characters."""
    assert "\\" not in text
    return [word.replace('"', "") for word in re.findall(r'(?:"[^"]*"|[^"\s])+', text)]


def engine(folder: Path, configuration: Path) -> dict[str, str]:
    """Variables with a ``docker`` on PATH that starts podman. Its containers use the network of this machine."""
    script = """\
#!/bin/sh
command=$1; shift
case $command in run|create) exec podman $command --network=host "$@";; *) exec podman $command "$@";; esac
"""
    write_project(folder, {"docker": script})
    (folder / "docker").chmod(0o755)
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "CONTAINERS_CONF": str(configuration / "containers.conf"),
    }


def _change_owner(folder: Path, user: int | None = None) -> None:
    """Give a folder to a user; by default, to the one who runs the tests."""
    if sys.platform == "win32":
        raise OSError("containers of Linux")
    user = os.geteuid() if user is None else user
    for place, names, files in os.walk(folder):
        for name in (".", *names, *files):
            os.chown(Path(place, name), user, user, follow_symlinks=False)
