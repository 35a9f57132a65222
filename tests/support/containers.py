"""cibuildwheel in containers on this machine; the tests are skipped if that is not possible."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from polywheel.environments.interpreters import find_interpreter
from support.builds import run
from support.projects import ROOT

IMAGE_VARIABLE = "CIBW_MANYLINUX_X86_64_IMAGE"
IMAGE = "localhost/polywheel-cibuildwheel:1"
PYTHONS = ("3.11", "3.12")
BOTH = "cp311-manylinux_x86_64 cp312-manylinux_x86_64"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The means to run cibuildwheel here."""

    env: Mapping[str, str]

    def build(
        self, source: Path, out: Path, settings: str, *, check: bool = True, **options: str
    ) -> str:
        """One run, for two Pythons where ``options`` do not say otherwise; what it printed."""
        env = {**self.env, "CIBW_BUILD": BOTH, "CIBW_CONFIG_SETTINGS": settings}
        command = [sys.executable, "-m", "cibuildwheel", "--platform", "linux"]
        done = run(
            [*command, "--output-dir", out, "."], cwd=source, env={**env, **options}, check=check
        )
        assert check or done.returncode != 0
        return done.stdout


def machine_for(wheelhouse: Path) -> Machine:
    """cibuildwheel, a container engine, an image, and this polywheel in reach of its containers."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the image is for x86-64 Linux")
    # cibuildwheel mounts the root of this machine there.
    env = {"CIBW_ARCHS": "x86_64", "CIBW_ENVIRONMENT": f"PIP_FIND_LINKS=/host{wheelhouse}"}
    if IMAGE_VARIABLE not in os.environ:
        env |= {
            IMAGE_VARIABLE: IMAGE,
            "CIBW_CONTAINER_ENGINE": "podman; create_args: --network=host",
            "CONTAINERS_CONF": str(made_image() / "containers.conf"),
        }
    return Machine(env=env)


def made_image() -> Path:
    """Make the image, if it is not there; the folder with podman's configuration."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip(f"only root can make an image: run as root, or set {IMAGE_VARIABLE}")
    missing = [tool for tool in ("podman", "runc", "debootstrap") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install {' '.join(missing)})")
    prefixes = []
    for python in PYTHONS:
        found = find_interpreter(python)
        if found is None:
            pytest.skip(f"there is no Python {python} to put into the image")
        ask = [found.executable, "-c", "import sys; print(sys.base_prefix)"]
        prefixes.append(run(ask, cwd=ROOT).stdout.strip())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    work = cache / "polywheel-cibuildwheel"
    env = {"IMAGE": IMAGE, "WORK": str(work), "PYTHONS": " ".join(prefixes)}
    run([ROOT / "tests" / "containers" / "image.sh"], cwd=ROOT, env=env)
    return work
