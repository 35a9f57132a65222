"""Publishing wheels under their final names: unrelated files are not overwritten, and none is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from polywheel.errors import WheelError
from polywheel.model.matrix import Target
from polywheel.model.plan import Job
from polywheel.run.journal import Entry, Journal, open_journal
from polywheel.run.outcome import State, Wheel
from polywheel.run.worker.publish import Publisher
from polywheel.system.files import sha256_of
from support.keys import key_named
from support.wheels import FIELDS, FILES, INFO, METADATA, with_record, zipped

NAME = "demo-1.0-py3-none-any.whl"
LINUX = Target(name="linux-x86_64", platform_tags=("linux_x86_64",))


def job(identifier: str = "any-py3-non-variant", *, python: str = "3.12") -> Job:
    return Job(id=identifier, label=None, pythons=(python,), targets=(LINUX.name,), build="", at="")


@dataclass
class Out:
    """An output directory, open for one run."""

    folder: Path
    journal: Journal
    publisher: Publisher

    def publish(self, content: str = "one", *, of: Job | None = None, key: str = "k1") -> Wheel:
        """Have a job make the wheel, with this in it."""
        staged = self.folder / ".staged"
        staged.mkdir(exist_ok=True)
        files = {**FILES, "demo/which.txt": content.encode(), METADATA: FIELDS}
        files[f"{INFO}/WHEEL"] = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
        (staged / NAME).write_bytes(zipped(with_record(files)))
        return self.publisher.publish(of or job(), staged / NAME, key_named(key), 2.0)

    @property
    def wheel(self) -> Path:
        return self.folder / NAME


@contextmanager
def opened(folder: Path, *, force: bool = False) -> Iterator[Out]:
    with open_journal(folder) as journal:
        targets = {LINUX.name: LINUX}
        publisher = Publisher(out=folder, journal=journal, targets=targets, force=force)
        yield Out(folder, journal, publisher)


def refused(out: Out, content: str = "other", *, of: Job | None = None) -> str:
    """What is said where a wheel may not be written; nothing has changed."""
    before = out.wheel.read_bytes()
    with pytest.raises(WheelError) as caught:
        out.publish(content, of=of, key="k2")
    assert out.wheel.read_bytes() == before
    assert out.journal.entry((of or job()).id) is None or of is None
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.what


def test_a_wheel_has_its_name_and_its_line(tmp_path: Path) -> None:
    with opened(tmp_path) as out:
        made = out.publish()
        digest = sha256_of(out.wheel)
        assert made == Wheel(
            job=job().id, file=NAME, size=out.wheel.stat().st_size, sha256=digest, seconds=2.0
        )
    with opened(tmp_path) as out:
        found = out.publisher.existing_wheel(job(), key_named("k1"))
        assert found is not None
        assert (found.sha256, found.state) == (digest, State.UP_TO_DATE)
        assert out.publisher.existing_wheel(job(), key_named("k2")) is None


def test_a_wheel_that_is_not_as_planned_gets_neither(tmp_path: Path) -> None:
    with opened(tmp_path) as out:
        wrong = Job(id="x", label="v3", pythons=("3.12",), targets=(LINUX.name,), build="", at="")
        with pytest.raises(WheelError):
            out.publish(of=wrong)
        assert not out.wheel.exists()
        assert out.journal.entry("x") is None


def test_what_an_earlier_run_made_is_written_over(tmp_path: Path) -> None:
    for number in range(3):
        with opened(tmp_path) as out:
            digest = out.publish(str(number), key=f"k{number}").sha256
            assert sha256_of(out.wheel) == digest


def test_what_a_stranger_made_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    with opened(tmp_path) as out:
        assert "already exists, and no run of this matrix built it" in refused(out)
    with opened(tmp_path, force=True) as out:
        out.publish()
        assert out.wheel.read_bytes() != b"mine"


def test_what_somebody_changed_is_not_written_over_and_that_is_said_before_it_is_built(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as out:
        out.publish()
        out.publisher.refuse_changed(job(), key_named("k1"))
        out.wheel.write_bytes(b"repaired by hand")
        assert out.publisher.existing_wheel(job(), key_named("k1")) is None
        with pytest.raises(WheelError, match="has changed since a run of this matrix built it"):
            out.publisher.refuse_changed(job(), key_named("k1"))
        # With another key the wheel may have another name.
        out.publisher.refuse_changed(job(), key_named("k2"))
        refused(out)
    with opened(tmp_path, force=True) as out:
        out.publisher.refuse_changed(job(), key_named("k1"))


def test_what_somebody_renamed_is_built_again_and_keeps_its_name(tmp_path: Path) -> None:
    with opened(tmp_path) as out:
        out.publish()
        out.wheel.rename(tmp_path / "mine-1.0-py3-none-any.whl")
        assert out.publisher.existing_wheel(job(), key_named("k1")) is None
        out.publisher.refuse_changed(job(), key_named("k1"))
        out.publish()
    assert (tmp_path / "mine-1.0-py3-none-any.whl").exists()
    assert (tmp_path / NAME).exists()


def test_the_same_bytes_are_no_contradiction(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as out:
        out.publish()
        content = out.wheel.read_bytes()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / NAME).write_bytes(content)
    with opened(tmp_path / "two") as out:
        out.publish()


@pytest.mark.parametrize("force", [False, True])
def test_two_jobs_with_one_filename_in_one_run(tmp_path: Path, *, force: bool) -> None:
    """It is for wheels of another origin that --force is."""
    with opened(tmp_path, force=force) as out:
        out.publish()
        assert refused(out, of=job("other")) == f"two jobs build {NAME}: {job().id} and other"


def test_two_jobs_with_one_filename_in_two_runs(tmp_path: Path) -> None:
    """Whether the first one is part of the second run, or is not."""
    with opened(tmp_path) as out:
        out.publish()
    with opened(tmp_path) as out:
        assert refused(out, of=job("other")) == f"two jobs build {NAME}: {job().id} and other"
    with opened(tmp_path) as out:
        assert out.publisher.existing_wheel(job(), key_named("k1")) is not None
        assert refused(out, of=job("other")) == f"two jobs build {NAME}: {job().id} and other"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_killed_at_its_name_leaves_nothing_that_is_in_the_way(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that is not reproducible makes another wheel the next time."""

    class KilledError(Exception):
        pass

    replace = Path.replace

    def killed(self: Path, target: Path) -> None:
        if when == "after":
            replace(self, target)
        raise KilledError

    with opened(tmp_path) as out:
        out.publish("the last one", key="k0")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", killed)
            with pytest.raises(KilledError):
                out.publish("first try")
    with opened(tmp_path) as out:
        found = out.publisher.existing_wheel(job(), key_named("k1"))
        assert (found is None) == (when == "before")
        out.publisher.refuse_changed(job(), key_named("k1"))
        assert out.publish("second try").sha256 == sha256_of(out.wheel)


def test_a_wheel_that_does_not_serve_what_is_planned_now_is_not_up_to_date(tmp_path: Path) -> None:
    """A Python that was added to those of one job, say: it is built again, and that fails."""
    name = "demo-1.0-cp312-cp312-linux_x86_64.whl"
    with opened(tmp_path) as out:
        (tmp_path / name).write_bytes(b"wheel")
        digest = sha256_of(tmp_path / name)
        out.journal.add(
            Entry(job=job().id, key=key_named("k1").digest, file=name, sha256=digest, seconds=1.0)
        )
        assert out.publisher.existing_wheel(job(), key_named("k1")) is not None
        assert out.publisher.existing_wheel(job(python="3.13"), key_named("k1")) is None


def test_the_disk_has_a_wheel_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, int]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        status = os.fstat(handle)
        synced.append((status.st_dev, status.st_ino))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    with opened(tmp_path) as out:
        out.publish()
        status = out.wheel.stat()
    assert (status.st_dev, status.st_ino) in synced


@pytest.mark.parametrize(
    ("project", "version", "said"),
    [
        ("other", None, f"{NAME} is a wheel of 'demo', the project is 'other'"),
        ("demo", "1.1", f"{NAME} is version '1.0', pyproject.toml has '1.1'"),
        ("demo", "1.0.0", None),
        (None, None, None),
    ],
)
def test_a_wheel_of_another_release(
    project: str | None, version: str | None, said: str | None, tmp_path: Path
) -> None:
    """Also one that an earlier run made is not up to date then."""
    with opened(tmp_path) as out:
        out.publish()
    with opened(tmp_path) as out:
        out.publisher.project, out.publisher.version = project, version
        assert (out.publisher.existing_wheel(job(), key_named("k1")) is None) == (said is not None)
        if said is None:
            out.publish("two", key="k2")
        else:
            assert refused(out) == said


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links are those of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to a pipe"])
def test_what_has_the_name_of_a_wheel_and_is_none_stays(tmp_path: Path, kind: str) -> None:
    """Without --force nobody opens it, and nobody writes over it."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    with opened(tmp_path) as out:
        if kind == "pipe":
            os.mkfifo(out.wheel)
        elif kind == "folder":
            out.wheel.mkdir()
        else:
            out.wheel.symlink_to("pipe")
            if kind == "link to a pipe":
                os.mkfifo(tmp_path / "pipe")
        before = out.wheel.lstat()
        with pytest.raises(WheelError, match="already exists"):
            out.publish()
        assert (out.wheel.lstat().st_ino, out.wheel.lstat().st_mode) == (
            before.st_ino,
            before.st_mode,
        )
        assert out.journal.entry(job().id) is None
    if kind != "folder":
        with opened(tmp_path, force=True) as out:
            out.publish()
            assert out.wheel.is_file()
            assert not out.wheel.is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_in_place_of_a_new_wheel_is_not_published(tmp_path: Path) -> None:
    with opened(tmp_path) as out:
        staged = tmp_path / ".staged"
        staged.mkdir()
        (staged / NAME).symlink_to("elsewhere")
        with pytest.raises(WheelError, match="is not a regular file"):
            out.publisher.publish(job(), staged / NAME, key_named("k1"), 1.0)
        assert not out.wheel.exists()
