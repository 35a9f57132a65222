"""Checks that are asked for by name: slow ones, and ones that need more than `make test` sets up.

nox -s pypi             what takes long: projects from PyPI, kills in the middle of builds, large matrices
nox -s sdist            the tests against the wheel that a release would have, installed
nox -s cibuildwheel     the real cibuildwheel: on Linux, as root, with podman, runc and debootstrap; or with
                        any engine that it knows and CIBW_MANYLINUX_X86_64_IMAGE, an image that is there
"""

from __future__ import annotations

import shutil

import nox

nox.options.sessions = []
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session
def pypi(session: nox.Session) -> None:
    session.install("-e", ".[cli,test]")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def sdist(session: nox.Session) -> None:
    """No editable install: data that a wheel forgot would be missing here."""
    session.install("build[uv]")
    folder = str(session.cache_dir / "dist")
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", folder, ".")
    session.install("polywheel[cli,test]", "--find-links", folder)
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session
def cibuildwheel(session: nox.Session) -> None:
    """Makes an image of this machine's Pythons the first time, see tests/containers/image.sh."""
    session.install("-e", ".[cli,test]")
    # Without its requirements, whose newest certifi not every mirror has.
    session.install("--no-deps", "cibuildwheel==4.3.5")
    session.install("bashlex", "bracex", "certifi", "dependency-groups", "filelock", "humanize")
    session.run("pytest", "-m", "cibuildwheel", *session.posargs)
