"""The cached answers of backends about their requirements."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.run import build_requirements
from polywheel.system import temporary
from polywheel.system.temporary import MOST_KEPT


def test_answers_for_old_sources_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "_JUST_USED", -1.0)
    for number in range(3 * MOST_KEPT):
        for job in ("v3", "v4"):
            build_requirements._write_answer(tmp_path / f"{number}" / f"{job}.json", ["ninja"])
    assert len(list(tmp_path.iterdir())) == MOST_KEPT
    newest = tmp_path / str(3 * MOST_KEPT - 1)
    assert sorted(path.name for path in newest.iterdir()) == ["v3.json", "v4.json"]
