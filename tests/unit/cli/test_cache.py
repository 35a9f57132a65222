"""``polywheel cache``: its output and its exit codes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from polywheel.cli import main
from polywheel.run import cache_content
from polywheel.system import cache_entries, temporary

NAMES = ("0" * 20, "1" * 20, "2" * 20)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three environments of 1 kB, the first used last."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(folder))
    monkeypatch.delenv("POLYWHEEL_CACHE_MAX_SIZE", raising=False)
    for number, name in enumerate(NAMES):
        (folder / "builds" / name).mkdir(parents=True)
        (folder / "builds" / name / "file").write_bytes(b"x" * 1000)
        used = time.time() - 1000 * (number + 1)
        os.utime(folder / "builds" / name, (used, used))
    folder.chmod(0o700)
    return folder


def run(*arguments: str, code: int = 0) -> None:
    assert main(["cache", *arguments]) == code


def left(cache: Path) -> list[str]:
    return [name for name in NAMES if (cache / "builds" / name).exists()]


def test_the_table_has_the_kinds_with_entries(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("info")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{cache}: 3 kB"
    assert lines[1] == "a run leaves at most 10.7 GB (POLYWHEEL_CACHE_MAX_SIZE)"
    assert lines[2].split() == ["entries", "size", "in", "use", "oldest", "use"]
    assert lines[3].split()[:-1] == ["environments", "of", "builds", "3", "3", "kB", "0"]
    assert len(lines) == 4
    os.utime(cache / "builds" / NAMES[0], (0, 0))
    run("info")


def test_json_has_all_kinds(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("info", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["shape"] == 1
    assert document["folder"] == str(cache)
    assert document["size"] == 3000
    assert document["max_size"] == 10 << 30
    kinds = {kind["kind"]: kind for kind in document["kinds"]}
    assert list(kinds) == [kind.folder for kind in cache_content.KINDS]
    oldest = (cache / "builds" / NAMES[2]).stat().st_mtime_ns // 10**9
    assert kinds["builds"] == {
        "kind": "builds",
        "what": "environments of builds",
        "entries": 3,
        "size": 3000,
        "in_use": 0,
        "oldest_use": oldest,
    }
    assert kinds["wheels"]["oldest_use"] is None


def test_a_time_without_a_date_is_unknown() -> None:
    from polywheel.cli.cache import _date

    assert _date(1 << 62) == _date(-(1 << 62)) == "unknown"
    assert _date(0)[:3] in {"197", "196"}


def test_prune_removes_down_to_the_size(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("prune")
    assert capsys.readouterr().out == "removed 0 entries (0 B); the cache has 3 kB\n"
    run("prune", "--max-size", "2k")
    assert capsys.readouterr().out == "removed 1 entry (1 kB); the cache has 2 kB\n"
    assert left(cache) == list(NAMES[:2])


def test_prune_says_that_the_rest_is_in_use(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cache_entries.keep_used_entries():
        cache_entries.record_use(cache / "builds" / NAMES[2])
        run("prune", "--max-size", "1")
    output = capsys.readouterr()
    assert output.out == "removed 2 entries (2 kB); the cache has 1 kB\n"
    assert output.err == "polywheel: the cache stays larger than 1 B: the rest is in use\n"
    assert left(cache) == [NAMES[2]]


def test_clear_names_what_is_in_use(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cache / "builds" / NAMES[1]
    with cache_entries.keep_used_entries():
        cache_entries.record_use(folder)
        run("clear")
    output = capsys.readouterr()
    assert output.out == "removed 2 entries (2 kB); the cache has 1 kB\n"
    assert output.err == f"polywheel: in use: {folder} (environments of builds)\n"
    run("clear")
    assert left(cache) == []


def test_many_entries_in_use_are_counted(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cache_entries.keep_used_entries():
        for number in range(30):
            (cache / "builds" / f"{number:020}").mkdir(exist_ok=True)
            cache_entries.record_use(cache / "builds" / f"{number:020}")
        run("clear")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "polywheel: and 10 more in use"


@pytest.mark.parametrize("command", [["clear"], ["prune", "--max-size", "1"]])
def test_an_entry_that_can_not_be_removed_is_an_error(
    command: list[str],
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(source: Path, _: Path) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr(temporary, "replace", fail)
    run(*command, code=2)
    output = capsys.readouterr()
    assert "error: an entry of the cache can't be removed: Permission denied" in output.err
    assert f"at: {cache / 'builds' / NAMES[0]}" in output.err
    assert len(left(cache)) == 3


@pytest.mark.parametrize(
    "arguments", [[], ["purge"], ["prune", "--max-size", "x"], ["clear", "--max-size", "1G"]]
)
def test_wrong_arguments(arguments: list[str], cache: Path) -> None:
    run(*arguments, code=2)
    assert len(left(cache)) == 3


@pytest.mark.parametrize("command", ["info", "prune"])
def test_a_wrong_limit(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "ten")
    run(command, code=2)
    assert "at: environment variable POLYWHEEL_CACHE_MAX_SIZE" in capsys.readouterr().err
