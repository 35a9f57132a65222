"""The container engine for cibuildwheel."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from polywheel.errors import ConfigError
from polywheel.run.executors.cibuildwheel_installation import container_engine


@pytest.fixture(autouse=True)
def nobody_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("CIBW_"):
            monkeypatch.delenv(name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_container_engine_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "docker"
    engine.write_text("#!/bin/sh\necho Client 1.0\necho 'the daemon does not run' >&2\nexit 1\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="docker does not work: the daemon does not run"):
        container_engine({})
    shutil.copy(engine, tmp_path / "podman")
    engine.unlink()
    (tmp_path / "podman").write_text("#!/bin/sh\n")
    assert container_engine({}) == {"CIBW_CONTAINER_ENGINE": "podman"}
    assert container_engine({"container-engine": "podman"}) == {}
