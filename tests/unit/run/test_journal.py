"""The journal of an output directory, and changes to it between two runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polywheel.errors import BuildError, WheelError
from polywheel.run import journal as journal_module
from polywheel.run.journal import Entry, Journal, open_journal
from polywheel.system.files import sha256_of
from polywheel.system.locks import try_lock
from polywheel.system.source_files import JOURNAL as NAME

FILE = "demo-1.0-py3-none-any.whl"
OTHER = "demo-1.0-py3-none-any-v3.whl"


def finish(folder: Path, file: str = FILE, content: bytes = b"wheel", **what: Any) -> Entry:
    """The entry of a wheel, which is made."""
    path = folder / file
    folder.mkdir(exist_ok=True)
    path.write_bytes(content)
    entry = {"job": "any-py3-v3", "key": "k1", "seconds": 1.5, **what}
    return Entry(file=file, sha256=sha256_of(path), **entry)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / NAME).read_text(encoding="utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def written(folder: Path, content: bytes) -> Iterator[Journal]:
    """The journal of a folder whose file has this content."""
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(content)
    with open_journal(folder) as journal:
        yield journal


def line(entry: Entry, *, sort: bool = False, **other: Any) -> bytes:
    document = {"shape": 1, **{name: getattr(entry, name) for name in Entry.__slots__}, **other}
    return json.dumps(document, sort_keys=sort).encode() + b"\n"


def test_what_is_added_is_there_in_the_next_run(tmp_path: Path) -> None:
    with open_journal(tmp_path / "new" / "out") as journal:
        assert journal.entry("any-py3-v3") is None
        assert journal.seconds("any-py3-v3") is None
        entry = finish(tmp_path / "new" / "out")
        journal.add(entry)
        assert journal.finished("any-py3-v3", "k1") == entry
    with open_journal(tmp_path / "new" / "out") as journal:
        assert journal.finished("any-py3-v3", "k1") == entry
        assert journal.seconds("any-py3-v3") == 1.5
        assert journal.origin(FILE, entry.sha256) == entry


def test_the_newest_line_of_a_job_counts_and_all_contents_are_known(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        old = finish(tmp_path, content=b"old")
        journal.add(old)
        new = finish(tmp_path, content=b"new", key="k2")
        journal.add(new)
    with open_journal(tmp_path) as journal:
        assert journal.entry("any-py3-v3") == new
        assert journal.finished("any-py3-v3", "k1") is None
        assert journal.finished("any-py3-v3", "k2") == new
        assert journal.origin(FILE, old.sha256) == old


def test_a_line_does_not_count_once_the_key_or_the_file_is_another(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        entry = finish(tmp_path)
        journal.add(entry)
        assert journal.finished("any-py3-v3", "k2") is None
        assert journal.finished("any-py3-v2", "k1") is None
        (tmp_path / FILE).rename(tmp_path / "mine.whl")  # renamed by somebody: built again
        assert journal.finished("any-py3-v3", "k1") is None
        (tmp_path / FILE).write_bytes(b"changed")
        assert journal.finished("any-py3-v3", "k1") is None
        assert journal.origin(FILE, sha256_of(tmp_path / FILE)) is None
        (tmp_path / FILE).unlink()
        (tmp_path / FILE).mkdir()
        assert journal.finished("any-py3-v3", "k1") is None


@pytest.mark.parametrize("cut", [1, 2, 60])
def test_a_last_line_that_is_cut_short_was_not_written(tmp_path: Path, cut: int) -> None:
    first, second = finish(tmp_path), finish(tmp_path, OTHER, job="any-py3-v4")
    torn = line(second)[:-cut]
    with written(tmp_path, line(first) + torn) as journal:
        assert journal.finished("any-py3-v3", "k1") == first
        assert journal.entry("any-py3-v4") is None
        journal.add(second)
    assert [one["job"] for one in lines(tmp_path)] == ["any-py3-v3", "any-py3-v4"]


@pytest.mark.parametrize(
    "strange",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"null\n",
        b"\x00\x00\xff\n",
        b"[" * 100_000 + b"\n",
        b"hello\n",
        b'{"shape": 2, "job": "any-py3-v3"}\n',
        b'{"shape": 1, "job": "any-py3-v3"}\n',
    ],
    ids=lambda text: repr(text[:24]),
)
def test_lines_of_others_are_passed_over_and_stay(tmp_path: Path, strange: bytes) -> None:
    first, second = finish(tmp_path), finish(tmp_path, OTHER, job="any-py3-v4")
    with written(tmp_path, strange + line(first) + strange) as journal:
        assert journal.finished("any-py3-v3", "k1") == first
        journal.add(second)
    content = (tmp_path / NAME).read_bytes()
    assert content.startswith(strange + line(first) + strange)
    with open_journal(tmp_path) as journal:
        assert journal.finished("any-py3-v4", "k1") == second


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": "../outside-1.0-py3-none-any.whl"},
        {"file": "/etc/passwd"},
        {"file": "sub/demo-1.0-py3-none-any.whl"},
        {"file": "C:demo-1.0-py3-none-any.whl"},
        {"file": "..\\demo-1.0-py3-none-any.whl"},
        {"file": "a\x00b.whl"},
        {"file": ".whl"},
        {"file": ""},
        {"file": 7},
        {"job": None},
        {"key": ["k1"]},
        {"sha256": 1},
        {"seconds": "1"},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": 10**400},
        {"another": "key"},
    ],
    ids=str,
)
def test_a_line_that_no_run_has_written_does_not_count(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    """Whatever it names outside of the directory is not even looked at."""
    out = tmp_path / "out"
    (tmp_path / "outside-1.0-py3-none-any.whl").write_bytes(b"wheel")
    with written(out, line(finish(out), **wrong)) as journal:
        assert journal.entry("any-py3-v3") is None
        assert journal.finished("any-py3-v3", "k1") is None
        assert journal.seconds("any-py3-v3") is None


def test_a_second_run_says_that_there_is_one(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(BuildError) as caught, open_journal(tmp_path):
        pytest.fail("two runs have one directory")
    (problem,) = caught.value.problems
    assert problem.what == "another polywheel build is writing to this directory"
    assert problem.at == str(tmp_path)
    assert problem.hint
    with open_journal(tmp_path):
        pass


def test_a_directory_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(WheelError, match="can't be written") as caught, open_journal(folder):
            pass
        assert caught.value.problems[0].at == str(folder)


def test_something_else_of_its_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(WheelError, match="can't be written"), open_journal(tmp_path):
        pass


def test_of_a_journal_of_no_size_that_a_run_would_write_the_end_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that reads it goes on, and can add to it."""
    monkeypatch.setattr(journal_module, "_MAX_SIZE", 1000)
    first, second = finish(tmp_path), finish(tmp_path, OTHER, job="any-py3-v4")
    front = line(second) + b"x" * 2000 + b"\n"
    with written(tmp_path, front + line(first)) as journal:
        assert journal.finished("any-py3-v3", "k1") == first
        assert journal.entry("any-py3-v4") is None
        (note,) = journal.notes
        assert note == f"{tmp_path / NAME} is too large: only its last 0 MiB are read"
        journal.add(second)
    assert (tmp_path / NAME).read_bytes() == front + line(first) + line(second, sort=True)


@pytest.mark.parametrize(
    "damage",
    [
        {"file": "demo-1.0-py3-none-any-" + "v" * 300 + ".whl"},
        {"file": "demo-1.0-py3-none-" + "\u00e4" * 120 + ".whl"},
        {"file": "demo\x00-1.0-py3-none-any.whl"},
        {"file": "../demo-1.0-py3-none-any.whl"},
        {"file": "/tmp/demo-1.0-py3-none-any.whl"},
        {"file": "demo\ud800-1.0-py3-none-any.whl"},
        {"job": "any\udc80"},
        {"job": ["any"]},
        {"key": "k\n::error::"},
        {"sha256": None},
        {"seconds": True},
        {"seconds": "long"},
        {"shape": "1"},
        {"shape": True},
        {"job": "j" * 70_000},
        b"{" + b'"shape": 1, "seconds": ' + b"9" * 10_000 + b"}\n",
        b"[" * 50_000 + b"\n",
        b'{"a": ' * 10_000 + b"\n",
        b"\x00" * 4096 + b"\n",
        b"\xff\xfe\n",
        b"null\n",
        b"{}\n",
    ],
    ids=lambda damage: repr(damage)[:40],
)
def test_damaged_lines_are_skipped_with_a_note(
    tmp_path: Path, damage: bytes | dict[str, Any]
) -> None:
    """The key fits and the file would be asked for: no later run may end at it."""
    first, second = finish(tmp_path), finish(tmp_path, OTHER, job="any-py3-v4")
    torn = damage if isinstance(damage, bytes) else line(second, **damage)
    with written(tmp_path, line(first) + b"\n" + torn) as journal:
        assert journal.finished("any-py3-v3", "k1") == first
        assert journal.finished("any-py3-v4", "k1") is None
        assert journal.entry("any-py3-v4") is None
        (note,) = journal.notes
        assert note == (
            f"{tmp_path / NAME}: line 3 is damaged and was skipped; its wheel may be built again"
        )
    with written(tmp_path, torn + line(first) + torn) as journal:
        assert journal.finished("any-py3-v3", "k1") == first
        (note,) = journal.notes
        assert "2 lines are damaged and were skipped, the first is line 1" in note


def test_a_key_that_appears_twice_is_damage(tmp_path: Path) -> None:
    text = line(finish(tmp_path)).replace(b'"shape": 1,', b'"shape": 1, "job": "other",')
    with written(tmp_path, text) as journal:
        assert journal.entry("any-py3-v3") is None
        assert len(journal.notes) == 1


def test_lines_of_another_version_are_no_damage(tmp_path: Path) -> None:
    with written(tmp_path, b'{"shape": 2, "job": "any-py3-v3"}\n') as journal:
        assert journal.notes == ()


def test_a_name_that_the_file_system_can_not_have_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have shorter names than 255 bytes."""
    monkeypatch.setattr(journal_module, "_MAX_NAME", 1000)
    entry = finish(tmp_path)
    long = "demo-1.0-py3-none-any-" + "v" * 300 + ".whl"
    with written(tmp_path, line(entry, file=long)) as journal:
        assert journal.entry("any-py3-v3") is not None
        assert journal.finished("any-py3-v3", "k1") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_wheel_is_not_finished(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    entry = finish(tmp_path)
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    with written(tmp_path, line(entry)) as journal:
        assert journal.finished("any-py3-v3", "k1") is None


def test_a_journal_of_many_builds_is_shortened(tmp_path: Path) -> None:
    """Lines of what is in the directory, the last line of each job, and other versions' lines stay."""
    removed = finish(tmp_path, OTHER, job="any-py3-v4", config="other.toml")
    entries = [finish(tmp_path, content=b"%d" % number, key=f"k{number}") for number in range(300)]
    (tmp_path / FILE).write_bytes(b"7")  # a killed run added the lines after it, and no wheel
    (tmp_path / OTHER).unlink()
    strange = b'{"shape": 2, "job": "any-py3-v3"}\n'
    content = line(removed) + strange + b"damage\n" + b"".join(map(line, entries))
    with written(tmp_path, content) as journal:
        assert (tmp_path / NAME).read_bytes() == line(removed) + strange + line(entries[7]) + line(
            entries[-1]
        )
        assert len(journal.notes) == 1  # of the damaged line
        assert journal.entry("any-py3-v4") == removed
        assert journal.entry("any-py3-v3") == entries[-1]
        assert journal.origin(FILE, entries[7].sha256) == entries[7]
        assert journal.origin(FILE, entries[8].sha256) is None
        with pytest.raises(BuildError), open_journal(tmp_path):
            pytest.fail("two runs have one directory")
        new = finish(tmp_path, content=b"new")
        journal.add(new)
    with open_journal(tmp_path) as journal:
        assert journal.finished("any-py3-v3", "k1") == new
        assert journal.notes == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, FILE]


def test_the_size_of_a_journal_is_bounded(tmp_path: Path) -> None:
    most = 0
    for number in range(1000):
        with open_journal(tmp_path) as journal:
            journal.add(finish(tmp_path, content=b"%d" % number))
        most = max(most, len(lines(tmp_path)))
    assert most <= 30


def test_a_full_disk_leaves_the_long_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"".join(
        line(finish(tmp_path, content=b"%d" % number, key=f"k{number}")) for number in range(300)
    )

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with written(tmp_path, content) as journal:
        assert journal.finished("any-py3-v3", "k299") is not None
        assert (tmp_path / NAME).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, FILE]


def test_a_shorter_journal_that_can_not_be_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines for the replaced file would be lost."""
    content = b"".join(
        line(finish(tmp_path, content=b"%d" % number, key=f"k{number}")) for number in range(300)
    )
    (tmp_path / NAME).write_bytes(content)
    replace = journal_module.Journal.shorten

    def without_files(journal: Journal) -> bool:
        shortened = replace(journal)

        def full(*_: Any) -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(Path, "touch", full)
        return shortened

    monkeypatch.setattr(journal_module.Journal, "shorten", without_files)
    with pytest.raises(WheelError, match="Too many open files"), open_journal(tmp_path):
        pytest.fail("the journal is the replaced file")
    assert len(lines(tmp_path)) == 1


def test_a_run_that_opened_the_replaced_file_opens_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs open the journal; the first replaces it and ends before the second takes the lock."""
    entry = finish(tmp_path)
    lock = try_lock

    def replaced_before(file: Any) -> bool:
        monkeypatch.setattr(journal_module, "try_lock", lock)
        (tmp_path / "new").write_bytes(line(entry))
        (tmp_path / "new").replace(tmp_path / NAME)
        return lock(file)

    monkeypatch.setattr(journal_module, "try_lock", replaced_before)
    with open_journal(tmp_path) as journal:
        journal.add(second := finish(tmp_path, OTHER, job="any-py3-v4"))
    assert (tmp_path / NAME).read_bytes() == line(entry) + line(second, sort=True)


def test_a_line_that_can_not_be_written_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full after half a line, and has room again later."""
    first, second = finish(tmp_path), finish(tmp_path, OTHER, job="any-py3-v4")
    with open_journal(tmp_path) as journal:
        journal.add(first)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(WheelError, match="No space left on device"):
                journal.add(second)
        assert journal.entry("any-py3-v4") is None
        assert [one["job"] for one in lines(tmp_path)] == ["any-py3-v3"]
        journal.add(second)
    assert [one["job"] for one in lines(tmp_path)] == ["any-py3-v3", "any-py3-v4"]
