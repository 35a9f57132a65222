"""``label``, ``unlabel``, ``finalize`` and ``index``, killed with SIGKILL at random moments.

Each works on a folder of wheels. After each kill: every wheel that the command was given is as it was, or,
where it changes them in place, can be read as the old wheel or the new one; every file under a final name
is the right one, byte for byte. Then the same command is run to its end: all its files are right, and
nothing is left beside them, among the processes, or in the temporary folder.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import campaign

from polywheel.errors import WheelError
from polywheel.wheel.inspect import inspect_wheel
from support import plans, wheels
from support.process_tree import kill_all, marked_processes

WHEELS = 30
PATIENCE = 60
_TAGS = b"Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
Content = dict[str, bytes]
"""Files by their path below a folder."""


@dataclass
class Command:
    """A command, what it is given, and what it should come to."""

    name: str
    arguments: tuple[str, ...]
    """``{work}`` is the folder that is killed in."""

    before: Content
    in_place: bool = False
    """Whether a wheel that it is given goes when the new one is there."""

    turn: int | None = None
    """Which half of the kills it gets, where two ways of one command share them."""

    again: tuple[str, ...] = ()
    """Options of the run that follows a kill."""

    after: Content = field(default_factory=dict)
    whole: float = 0.0
    """Seconds of a run."""

    begins: float = 0.0
    """Seconds until it writes its first file."""

    slower: float = 1.0
    """How much longer it takes now, as other programs run beside it."""


def original_wheel(number: int) -> bytes:
    """A small wheel with more than polywheel's own name would need: 60 KB that do not deflate."""
    info = f"demo{number}-1.0.dist-info"
    noise = random.Random(number).randbytes(60_000)
    files = {
        f"demo{number}/__init__.py": b"value = 1\n",
        f"demo{number}/noise.bin": noise,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: demo%d\nVersion: 1.0\n" % number,
        f"{info}/WHEEL": _TAGS,
    }
    rows = [wheels.row(path, content) for path, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    return wheels.zipped(files)


def plain_name(number: int) -> str:
    return f"demo{number}-1.0-py3-none-any.whl"


def stamped_wheels(folder: Path, *labels: str) -> Content:
    """Wheels of one release under labelled names, made by the command itself."""
    found: Content = {}
    (folder / "tables.toml").write_text(TABLES)
    for label in labels:
        work = folder / label
        work.mkdir()
        for number in range(WHEELS // len(labels)):
            (work / plain_name(number)).write_bytes(original_wheel(number))
        label_of(work, label, folder / "tables.toml")
        for path in work.glob(f"*-{label}.whl"):
            found[path.name] = path.read_bytes()
    return found


TABLES = (
    plans.HEAD.replace('name = "Demo.Project"\n', "").replace("[project]\nversion", "[ignored]\nx")
    + '[variant.variants.v2]\ncpu.level = ["v2"]\n[variant.variants.v3]\ncpu.level = ["v3"]\n'
)


def label_of(folder: Path, label: str, tables: Path) -> None:
    command = ["label", str(folder), "--label", label, "--pyproject", str(tables)]
    subprocess.run(
        [sys.executable, "-m", "polywheel", *command, "--no-validate"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def label_commands(folder: Path) -> list[Command]:
    plain = {f"wheels/{plain_name(number)}": original_wheel(number) for number in range(WHEELS)}
    tables = folder / "pyproject.toml"
    tables.write_text(TABLES)
    label = ("label", "{work}/wheels", "--label", "v3", "--pyproject", str(tables), "--no-validate")
    return [
        Command("label", (*label, "-o", "{work}/out"), plain, again=("--force",)),
        Command("label --in-place", (*label, "--in-place"), plain, in_place=True),
    ]


def commands(folder: Path) -> dict[str, Command]:
    stamped = stamped_wheels(folder, "v2", "v3")
    labelled = {f"wheels/{name}": content for name, content in stamped.items()}
    unlabelled = {
        f"wheels/{name.rpartition('-')[2].removesuffix('.whl')}/{name.rpartition('-')[0]}.whl": content
        for name, content in stamped.items()
    }
    v3 = {name: content for name, content in labelled.items() if name.endswith("-v3.whl")}
    found = [
        *label_commands(folder),
        Command(
            "unlabel",
            ("unlabel", "{work}/wheels", "-o", "{work}/out"),
            v3,
            turn=0,
            again=("--force",),
        ),
        Command("unlabel --in-place", ("unlabel", "{work}/wheels", "--in-place"), v3, True, 1),
        Command("finalize", ("finalize", *_folders(), "-o", "{work}/out"), unlabelled, turn=0),
        Command("finalize, in place", ("finalize", *_folders()), unlabelled, True, 1),
        Command("index", ("index", "{work}/wheels"), labelled, turn=0),
        Command(
            "index --simple",
            ("index", "{work}/wheels", "--simple", "-o", "{work}/out"),
            labelled,
            turn=1,
        ),
    ]
    return {one.name: one for one in found}


def _folders() -> tuple[str, str]:
    return "{work}/wheels/v2", "{work}/wheels/v3"


@dataclass
class Place:
    """Where one process of the campaign works."""

    folder: Path
    environment: Mapping[str, str]
    mark: str

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def begin(self, command: Command) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        for name, content in command.before.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def start(self, command: Command, *options: str) -> subprocess.Popen[bytes]:
        filled = [one.replace("{work}", str(self.work)) for one in command.arguments]
        with (self.folder / "log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "polywheel", *filled, *options],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def files(self) -> Content:
        return {
            path.relative_to(self.work).as_posix(): path.read_bytes()
            for path in sorted(self.work.rglob("*"))
            if path.is_file()
        }

    def said(self) -> str:
        text = (self.folder / "log").read_text(errors="replace")
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        return "\n".join([*errors[:5], text[-1500:]])


def prepared(place: Place, command: Command) -> None:
    """A run that nobody disturbs: what all others have to come to, and when it writes."""
    for _ in range(2):  # the second time all is in the caches
        place.begin(command)
        there = len(place.files())
        began = time.monotonic()
        command.begins = 0.0
        with place.start(command) as running:
            while running.poll() is None:
                if not command.begins and _count(place.work) != there:
                    command.begins = time.monotonic() - began
                time.sleep(0.002)
        command.whole = time.monotonic() - began
        assert running.returncode == 0, place.said()
    command.begins = command.begins or command.whole * 0.6
    command.after = place.files()


def _count(folder: Path) -> int:
    # Not with rglob, which fails where a temporary folder goes meanwhile.
    return sum(len(names) for _, _, names in os.walk(folder))


def hidden(name: str) -> bool:
    """Whether a file, or a folder above it, has a name that nobody takes for that of a result."""
    return any(part.startswith(".") for part in name.split("/"))


def wrong_after_kill(place: Place, command: Command) -> str | None:
    found = place.files()
    for name, content in found.items():
        if hidden(name):
            continue
        if content == command.after.get(name, b""):
            continue
        if content == command.before.get(name, b""):
            continue
        if wrong := _wrong_in_place(place.work / name, command, name):
            return wrong
    if not command.in_place:
        gone = [name for name in command.before if name not in found]
        return f"{len(gone)} of its wheels are gone" if gone else None
    if lost := _lost(command, found):
        return f"neither the old nor the new wheel is there: {lost[:3]}"
    return None


def _wrong_in_place(path: Path, command: Command, name: str) -> str | None:
    """A wheel under its old name, in the middle of a change: it is read as one of the two."""
    if not command.in_place or name not in command.before:
        return f"{name} is neither the old file nor the new one"
    try:
        wheel = inspect_wheel(path, hashes=True)
    except WheelError as error:
        return f"{name} can't be read: {error.problems[0].what}"
    wrong = [one.what for one in wheel.disagreements if "filename" not in one.what]
    return f"{name}: {wrong[0]}" if wrong else None


def _lost(command: Command, found: Content) -> list[str]:
    """Wheels of which there is no name, old or new."""
    project: Callable[[str], tuple[str, str]] = lambda name: (  # noqa: E731
        name.rpartition("/")[2].partition("-")[0],
        "v2" if "v2" in name else "v3",
    )
    there = {project(name) for name in found if name.endswith(".whl")}
    return [name for name in command.before if project(name) not in there]


def wrong_after_run(place: Place, command: Command, code: int) -> str | None:
    if code != 0 or "Traceback" in place.said():
        return f"it ended with {code}: {place.said()}"
    found = place.files()
    if others := {name for name in found if name not in command.after}:
        return (
            f"left beside the wheels: {campaign.kinds({one.rpartition('/')[2] for one in others})}"
        )
    for name, content in command.after.items():
        if found.get(name) != content:
            return f"{name} is not what it should be"
    if temporary := {one.name for one in Path(place.environment["TMPDIR"]).iterdir()}:
        return f"left in the temporary folder: {campaign.kinds(temporary)}"
    if left := marked_processes(place.mark):
        return f"processes are left: {left}"
    return None


def kill(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    """The kills with these numbers of every command, in folders of this process's own."""
    campaign.heed_signals()
    with campaign.workplace(in_memory=True) as folder:
        mark = uuid.uuid4().hex
        place = Place(folder, campaign.environment(folder, ENDURANCE_MARK=mark), mark)
        every = commands(folder)
        for command in every.values():
            prepared(place, command)
        for done, number in enumerate(numbers, 1):
            for command in every.values():
                if command.turn in {None, number % 2}:
                    one_kill(place, command, figures, number)
            figures.progress(f"{done} of {len(numbers)} kills of each command", every=30)


def one_kill(place: Place, command: Command, figures: campaign.Figures, number: int) -> None:
    chance = Random(f"{figures.seed}:{number}:{command.name}")
    repeat = f"kill_tools.py --seed {figures.seed} --first {number} --count 1"
    ended = True
    while ended:  # a kill that comes too late is none
        place.begin(command)
        with place.start(command) as running:
            time.sleep(command.slower * chance.uniform(command.begins * 0.8, command.whole))
            ended = running.poll() is not None
            if chance.random() < 0.5:
                running.kill()
            else:
                kill_all(running.pid)
            running.wait()
        if ended:
            figures.counts["came too late"] += 1
        command.slower *= 0.9 if ended else 1.02
    figures.counts[f"kills of {command.name}"] += 1
    until = time.monotonic() + 60
    while marked_processes(place.mark) and time.monotonic() < until:
        time.sleep(0.01)  # a child that shields a change goes on for a moment
    if wrong := wrong_after_kill(place, command):
        figures.found(f"{command.name}, after the kill: {wrong}", repeat=repeat)
    found = place.files()
    between = found not in (command.before, command.after)
    figures.counts["kills in the middle of writing"] += between
    with place.start(command, *command.again) as running:
        try:
            code = running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            kill_all(running.pid)
            code = running.wait()
    if wrong := wrong_after_run(place, command, code):
        figures.found(f"{command.name}, next run: {wrong}", repeat=repeat)
        campaign.empty_folder(Path(place.environment["TMPDIR"]))


def main(arguments: Sequence[str] | None = None) -> int:
    options = campaign.parse(__doc__, arguments, count=200)
    return campaign.shared_out(kill, "kills of wheel commands", options).finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
