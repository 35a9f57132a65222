"""``polywheel explain``: what it looks for."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from polywheel.cli import explain, main
from polywheel.errors import ConfigError


def test_a_folder_that_does_not_exist_is_looked_for_on_pypi_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(name: str, index_url: str) -> NoReturn:
        raise ConfigError(f"{name} is not on {index_url}")

    monkeypatch.setattr(explain, "find_project_page", no_network)
    monkeypatch.chdir(tmp_path)
    note = "there is no folder 'dist' here; looking for a project on https://pypi.org/simple"
    assert main(["explain", "dist"]) == 2
    assert note in capsys.readouterr().err
    assert main(["explain", "dist", "--index-url", "https://a.example/simple"]) == 2
    assert note not in capsys.readouterr().err
