"""Checks that are asked for by name: slow ones, and ones that need more than `make test` sets up.

nox -s pypi     what takes long: projects from PyPI, kills in the middle of builds, large matrices
nox -s sdist    the tests against the wheel that a release would have, installed
"""

from __future__ import annotations

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
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", folder, ".")
    session.install("polywheel[cli,test]", "--find-links", folder)
    session.run("pytest", *session.posargs)
