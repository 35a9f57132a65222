"""Every command with too little of something: room on the disk, a folder to write to, open files, memory,
or a stream to print to.

Whatever the command comes to: it ends soon, with an error and no traceback, or with exit code 0 and the whole
result. What it was given stays as it is, and every file under a final name is right. Without the shortage the
same command then does its work, and nothing is left over.

Full and read-only disks are small file systems in memory, which takes root.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import campaign
import kill_tools
from kill_tools import TABLES, Content, hidden

from polywheel.wheel.inspect import inspect_wheel
from support.index_wheels import V1, V2, declared, variant, write_wheel
from support.process_tree import kill_all, marked_processes
from support.projects import demo

PATIENCE = 90
ROOM = 48 << 20
"""Bytes of the file system that is filled up."""
_SYSTEM = (
    'python = "3.12"\nplatform = "manylinux_2_28_x86_64"\n[supported.x86_64]\nlevel = ["v2"]\n'
)
_C = "project('demo', 'c')\n"


@dataclass
class Command:
    """A command, the files that it is given, and those that it makes."""

    name: str
    arguments: tuple[str, ...]
    before: Content
    in_place: bool = False
    again: tuple[str, ...] = ()
    made: Callable[[str], bool] = lambda _: True
    """Which of the files that it makes are always the same."""

    after: Content = field(default_factory=dict)

    def same(self, files: Content) -> Content:
        return {name: content for name, content in files.items() if self.made(name)}


def _files(folder: Path, top: str) -> Content:
    return {
        f"{top}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def artifacts(release: Content) -> Content:
    """What the jobs of a CI run hand over: wheels, and the report that lists them."""
    jobs = [
        {
            "id": f"linux-x86_64-cp311-{number}",
            "label": f"v{number}",
            "build": f"linux-x86_64-cp311-{number}",
            "state": "built",
            "file": name.rpartition("/")[2],
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "seconds": 1.0,
            "properties": [],
            "pythons": ["3.11"],
            "targets": ["linux-x86_64"],
        }
        for number, (name, content) in enumerate(release.items(), 1)
    ]
    builds = [
        {
            "id": job["build"],
            "python": "3.11",
            "target": "linux-x86_64",
            "jobs": [job["id"]],
            "state": "built",
            "seconds": 1.0,
            "hook-seconds": 1.0,
            "error": None,
            "log": None,
        }
        for job in jobs
    ]
    document = {
        "shape": 1,
        "project": "demo",
        "out": "dist",
        "seconds": 2.0,
        "interrupted": False,
        "exit-code": 0,
        "builds": builds,
        "jobs": jobs,
    }
    return {**release, "report.json": json.dumps(document).encode()}


def commands(folder: Path) -> list[Command]:
    """All that take files or make some."""
    kill_tools.WHEELS = 6
    found = [
        Command(one.name, one.arguments, one.before, one.in_place, one.again)
        for one in kill_tools.commands(folder / "made").values()
    ]
    for name in ("wheels", "project"):
        (folder / name).mkdir()
    for label, prop in (("v1", V1), ("v2", V2)):
        write_wheel(
            folder / "wheels", variant(label, prop), metadata=declared(), tag="py3-none-any"
        )
    release = _files(folder / "wheels", "wheels")
    project = _files(demo(folder / "project" / "demo", "one", "two"), "demo")
    begin = {
        "c/pyproject.toml": b'[build-system]\nrequires = ["meson-python"]\n'
        b'build-backend = "mesonpy"\n[project]\nname = "demo"\nversion = "1.0"\n',
        "c/meson.build": _C.encode(),
    }
    wheels = {"system.toml": _SYSTEM.encode(), **release}
    tables = {"demo/pyproject.toml": TABLES.encode()}
    return [
        *found,
        Command("show", ("show", "--hashes", "{work}/wheels"), release),
        Command("explain", ("explain", "{work}/wheels", "--system", "{work}/system.toml"), wheels),
        Command("providers", ("providers", "{work}/demo", "--json"), tables),
        Command("matrix", ("matrix", "{work}/demo", "--json"), project),
        Command("ci github", ("ci", "github", "{work}/demo"), project),
        Command("ci collect", ("ci", "collect", "{work}", "-o", "{work}/out"), artifacts(release)),
        Command("init", ("init", "{work}/c", "--template", "blas", "-o", "{work}/new.toml"), begin),
        Command(
            "build",
            ("build", "{work}/demo", "-o", "{work}/out", "-j", "2"),
            project,
            made=lambda name: not name.startswith("out/") or name.endswith(".whl"),
        ),
    ]


@dataclass
class Place:
    """Where a command works, with which shortage."""

    folder: Path
    mark: str

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    def begin(self, command: Command) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        for name, content in command.before.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, command: Command, *, limits: str = "", streams: str = "") -> tuple[int, str]:
        """Its exit code, and what it printed."""
        filled = [one.replace("{work}", str(self.work)) for one in command.arguments]
        environment = campaign.environment(
            self.folder,
            ENDURANCE_MARK=self.mark,
            DEMO_FOLDER="/dev/shm",
            SOURCE_DATE_EPOCH="1700000000",
            PYTHONDONTWRITEBYTECODE="1",
        )
        log = self.folder.parent / f"log-{self.mark}"
        with log.open("w") as output:
            running = subprocess.Popen(
                [
                    *("bash", "-c", f'{limits} exec "$@" {streams}', "bash"),
                    *(sys.executable, "-m", "polywheel", *filled),
                ],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = running.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                kill_all(running.pid)
                running.wait()
                code = 124
        said = log.read_text(errors="replace")
        log.unlink()
        return code, said

    def files(self) -> Content:
        return {
            path.relative_to(self.work).as_posix(): path.read_bytes()
            for path in sorted(self.work.rglob("*"))
            if path.is_file()
        }


def wrong_now(place: Place, command: Command, code: int, said: str) -> Iterator[str]:
    """What is wrong with how a command ended, and with what it left."""
    if code == 124:
        yield f"no end within {PATIENCE} seconds"
    if code not in {0, 1, 2, 3, 4, 124, 141}:
        yield f"exit code {code}: {said[-800:]}"
    if "Traceback (most recent" in said and "  | " not in said.partition("Traceback")[0][-400:]:
        yield f"a traceback: {said[-1200:]}"
    found = place.files()
    for name, content in found.items():
        if hidden(name) or not command.made(name):
            continue
        if content not in {command.after.get(name), command.before.get(name)}:
            if command.in_place and name in command.before and _whole(place.work / name):
                continue
            yield f"{name} is neither the old file nor the new one"
            break
    gone = {name for name in command.before if name not in found}
    if gone and not command.in_place:
        yield f"{min(gone)} is gone"
    if code == 0 and command.same(found) != command.same(command.after):
        yield f"exit code 0, and not the whole result: {said[-500:]}"


def _whole(path: Path) -> bool:
    """Whether a wheel that was to be changed in place can be read from all sides."""
    return not [
        one for one in inspect_wheel(path, hashes=True).disagreements if "filename" not in one.what
    ]


def wrong_after(place: Place, command: Command) -> Iterator[str]:
    """What is wrong with the same command, when there is enough of everything."""
    code, said = place.run(replace(command, arguments=(*command.arguments, *command.again)))
    if code != 0 or "Traceback" in said:
        yield f"the next run ended with {code}: {said[-800:]}"
        return
    found = place.files()
    if command.same(found) != command.same(command.after):
        others = {
            one for one in found if command.after.get(one) != found[one] and command.made(one)
        }
        yield f"the next run came to something else: {campaign.kinds(others)}"
    if parts := {one for one in found if hidden(one) and one not in command.after}:
        yield f"left beside the files: {campaign.kinds(parts)}"
    if left := {one.name for one in place.temporary.iterdir()}:
        yield f"left in the temporary folder: {campaign.kinds(left)}"
    if processes := marked_processes(place.mark):
        yield f"processes are left: {processes}"


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path, left: int) -> Path:
    """Fill a file system but for so many bytes."""
    filler = folder / "filler"
    with filler.open("wb") as file, suppress(OSError):
        file.write(bytes(max(0, shutil.disk_usage(folder).free - left)))
    return filler


def full_disk(place: Place, command: Command, chance: Random) -> tuple[int, str]:
    left = chance.choice((0, 4096, chance.randrange(600_000), chance.randrange(3_000_000)))
    filler = fill(place.folder, left)
    try:
        return place.run(command)
    finally:
        filler.unlink()


def read_only(place: Place, command: Command, chance: Random) -> tuple[int, str]:
    subprocess.run(["mount", "-o", "remount,ro", str(place.folder)], check=True)
    try:
        return place.run(command)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(place.folder)], check=True)


def few_files(place: Place, command: Command, chance: Random) -> tuple[int, str]:
    return limited(place, command, f"ulimit -n {chance.randint(4, 40)};")


def little_memory(place: Place, command: Command, chance: Random) -> tuple[int, str]:
    return limited(place, command, f"ulimit -v {int(2 ** chance.uniform(15, 20))};")


def limited(place: Place, command: Command, limits: str) -> tuple[int, str]:
    """Where Python itself begins, and imports what every command does: what fails is polywheel's."""
    begun = subprocess.run(
        ["bash", "-c", f'{limits} exec "$@"', "bash", sys.executable, "-m", "polywheel", "--help"],
        capture_output=True,
        check=False,
    )
    if begun.returncode != 0:
        return 1, "Python does not begin"
    return place.run(command, limits=limits)


def no_streams(place: Place, command: Command, chance: Random) -> tuple[int, str]:
    streams = chance.choice((">&-", "2>&-", ">&- 2>&-", ">/dev/full", "2>/dev/full", "<&-"))
    code, said = place.run(command, streams=streams)
    # Where nothing can be printed, the result may be whole, and the exit code say that it is not told.
    return code, said


SHORTAGES = {
    "full disk": full_disk,
    "read-only disk": read_only,
    "few files": few_files,
    "little memory": little_memory,
    "no streams": no_streams,
}


def shortages(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    campaign.heed_signals()
    mark = uuid.uuid4().hex
    with campaign.workplace() as base, mounted(base / "disk") as folder:
        place = Place(folder, mark)
        (base / "given" / "made").mkdir(parents=True)
        every = commands(base / "given")
        for command in every:
            for _ in range(2):
                place.begin(command)
                code, said = place.run(command)
                assert code == 0, f"{command.name}: {said}"
            command.after = place.files()
            campaign.empty_folder(place.temporary)
        pairs = list(itertools.product(SHORTAGES, range(len(every))))
        for done, number in enumerate(numbers, 1):
            shortage, which = pairs[number % len(pairs)]
            command = every[which]
            chance = Random(f"{figures.seed}:{number}")
            place.begin(command)
            began = time.monotonic()
            code, said = SHORTAGES[shortage](place, command, chance)
            figures.at_most(f"{shortage}: longest, seconds", time.monotonic() - began)
            outcome = "nothing lost" if code == 0 else "an error"
            figures.counts[f"{shortage}: {outcome}"] += 1
            found = [*wrong_now(place, command, code, said), *wrong_after(place, command)]
            for wrong in found:
                figures.found(
                    f"{shortage}, {command.name}: {wrong}",
                    repeat=f"shortage.py --seed {figures.seed} --first {number} --count 1",
                )
            if found:
                shutil.rmtree(place.folder / "cache", ignore_errors=True)
            campaign.empty_folder(place.temporary)
            figures.progress(f"{done} of {len(numbers)}", every=20)


def main(arguments: Sequence[str] | None = None) -> int:
    options = campaign.parse(__doc__, arguments, count=800)
    return campaign.shared_out(shortages, "shortage", options).finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
