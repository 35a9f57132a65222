"""Checks that are asked for by name: slow ones, and ones that need more than `make test` sets up.

nox -s pypi             what takes long: projects from PyPI, examples/torch (downloads 3 GB), kills in the middle of
                        builds, large matrices
nox -s endurance        kills, mutated inputs, hostile backends, shortages, for an hour or more; see
                        docs/reliability.md; nox -s endurance -- --count 100 for less of each
nox -s uv-choices       what explain predicts for 400 random releases, compared with what uv installs;
                        nox -s uv-choices -- --count 1000 --seed 7
nox -s audit            polywheel audit on faults in compiled code: C, C++, Rust, Fortran, Cython, nvcc, and clang for
                        macOS and Windows, as far as there are compilers; and on a file of 1 GB
nox -s page             the page of a report in chromium, with axe-core: needs npm, and chromium at CHROMIUM or on PATH;
                        PAGE_SCREENSHOTS=FOLDER nox -s page keeps screenshots
nox -s sdist            the tests against the wheel that a release would have, installed
nox -s gitlab           pipelines of polywheel ci gitlab, run by gitlab-ci-local: needs npm and rsync; and an image
                        with polywheel, as in docs/ci.md, which needs what the next session needs
nox -s cibuildwheel     the real cibuildwheel: on Linux, as root, with podman, runc and debootstrap; or with
                        any engine that it knows and CIBW_MANYLINUX_X86_64_IMAGE, an image that is there
nox -s ci-entries       entries of generated workflows: needs nvcc, and what the last one needs
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = []
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session
def pypi(session: nox.Session) -> None:
    session.install("-e", ".[cli,test]")
    session.run("pytest", "-m", "slow", *session.posargs)


CAMPAIGNS = (
    *("inputs", "kill_build", "kill_tools", "zoo", "shortage", "four_runs", "growth"),
    "rebuilds",
)


@nox.session
def endurance(session: nox.Session) -> None:
    """Every campaign, whatever the others find. Its figures lie in .nox as JSON."""
    session.install("-e", ".[cli,test]")
    folder = session.cache_dir / "endurance"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in CAMPAIGNS:
        command = ["python", f"tests/endurance/{name}.py", "--json", str(folder / f"{name}.json")]
        session.run(*command, *session.posargs, success_codes=[0, 1])
        if json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["findings"]:
            found.append(name)
    if found:
        session.error(f"findings: {', '.join(found)}")


@nox.session(name="uv-choices")
def uv_choices(session: nox.Session) -> None:
    session.install("-e", ".[cli,test]")
    session.run("python", "tests/uv/random_releases.py", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """rustc, gfortran, and nvcc are used if they are there."""
    session.install("-e", ".[cli,test]", "cython", "setuptools", "ziglang>=0.16")
    session.run("pytest", "-m", "audit", *session.posargs)


@nox.session
def sdist(session: nox.Session) -> None:
    """No editable install: data that a wheel forgot would be missing here."""
    session.install("build[uv]")
    folder = str(session.cache_dir / "dist")
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", folder, ".")
    # By its path: an installer may have an older wheel of this version in its cache.
    (wheel,) = Path(folder).glob("*.whl")
    session.install(f"polywheel[cli,test] @ {wheel.resolve().as_uri()}")
    by_file = ("--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", "-n", "auto", *by_file, *session.posargs)


@nox.session
def gitlab(session: nox.Session) -> None:
    session.install("-e", ".[cli,test]")
    folder = session.cache_dir / "gitlab-ci-local"
    # 4.64.1 is the last one for Node.js 18 and 20.
    npm = ["npm", "install", "--silent", "--prefix", str(folder), "gitlab-ci-local@4.64.1"]
    session.run(*npm, external=True)
    command = str((folder / "node_modules" / ".bin" / "gitlab-ci-local").resolve())
    session.run("pytest", "-m", "gitlab", *session.posargs, env={"GITLAB_CI_LOCAL": command})


@nox.session
def page(session: nox.Session) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        session.error("chromium is missing: install it, or set CHROMIUM to the path of one")
    session.install("-e", ".[cli,test]", "playwright")
    folder = session.cache_dir / "axe"
    npm = ["npm", "install", "--silent", "--prefix", str(folder), "axe-core@4"]
    session.run(*npm, external=True)
    axe = str((folder / "node_modules" / "axe-core" / "axe.min.js").resolve())
    env = {"CHROMIUM": chromium, "AXE": axe}
    session.run("pytest", "-m", "page", *session.posargs, env=env)


@nox.session
def cibuildwheel(session: nox.Session) -> None:
    """Makes an image of this machine's Pythons the first time, see tests/containers/image.sh."""
    session.install("-e", ".[cli,test]")
    session.run("pytest", "-m", "cibuildwheel", *session.posargs)


@nox.session(name="ci-entries")
def ci_entries(session: nox.Session) -> None:
    session.install("-e", ".[cli,test]", "pip")  # with pip, a workflow installs cibuildwheel
    session.run("pytest", "-m", "ci_entries", *session.posargs)
