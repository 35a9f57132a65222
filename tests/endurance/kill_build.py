"""``polywheel build``, killed with SIGKILL at random moments, over and over in the same folders.

Two projects take turns: one whose backend costs nothing, so that a kill meets what polywheel does, and
one of setuptools that compiles C, so that it meets environments and compilers. Most kills hit the whole
tree of processes, some the parent alone: its workers go on, and the next run meets them.

After each kill: whatever has the name of a wheel is the right one, byte for byte, and the journal can be
read. After one to a few kills the same command is run to its end: it makes every wheel, and leaves nothing
beside them, in the temporary folder, or among the processes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import campaign

from polywheel.wheel.inspect import inspect_wheel
from support.build_command import JOURNAL
from support.process_tree import kill_all, marked_processes
from support.projects import compiled_demo, demo

PATIENCE = 240
COMPILED = 10
"""One kill of so many meets the project that compiles."""


@dataclass
class Place:
    """A project, what its runs write to, and what they should come to."""

    name: str
    source: Path
    environment: dict[str, str]
    base: Path
    expected: dict[str, str] = field(default_factory=dict)
    """The digest of each wheel."""

    seconds: float = 0.0
    """Of a run with nothing to take up."""

    @property
    def out(self) -> Path:
        return self.base / "out"

    def start(self) -> subprocess.Popen[str]:
        with (self.base / "log").open("w") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "polywheel", "build", str(self.source)),
                    *("-o", str(self.out), "--report", str(self.base / "report.json"), "-j", "2"),
                ],
                cwd=self.base,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(self) -> int:
        """Run it to its end; its exit code."""
        with self.start() as running:
            try:
                return running.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                kill_all(running.pid)
                raise

    def wheels(self) -> dict[str, str]:
        found = self.out.glob("*.whl") if self.out.is_dir() else ()
        return {path.name: _digest(path) for path in found}

    def said(self) -> str:
        return (self.base / "log").read_text(errors="replace")[-2000:]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wrong_after_kill(place: Place) -> str | None:
    """What is wrong with what a killed run left behind."""
    journal = place.out / JOURNAL
    lines = journal.read_bytes().split(b"\n") if journal.exists() else []
    for line in lines[:-1]:  # the last may be cut short
        try:
            json.loads(line)
        except ValueError:
            return f"a damaged line in the journal: {line[:200]!r}"
    for name, digest in place.wheels().items():
        if place.expected.get(name) != digest:
            return f"{name} is not the wheel that it should be"
        if not any(digest.encode() in line for line in lines):
            return f"{name} is not in the journal"
        wheel = inspect_wheel(place.out / name, hashes=True)
        if wheel.disagreements:
            return f"{name}: {wheel.disagreements[0].what}"
        if wheel.variant is None or wheel.variant.label != wheel.name.label:
            return f"{name} has another label within"
    return None


def wrong_after_run(place: Place, code: int, mark: str) -> str | None:
    """What is wrong after a run that nobody disturbed."""
    if code != 0 or "Traceback" in place.said():
        return f"it ended with {code}: {place.said()}"
    if place.wheels() != place.expected:
        return f"it made other wheels: {sorted(place.wheels())}"
    beside = {path.name for path in place.out.iterdir()} - {JOURNAL, "logs", *place.expected}
    if beside:
        return f"left beside the wheels: {campaign.kinds(beside)}"
    temporary = {path.name for path in Path(place.environment["TMPDIR"]).iterdir()}
    # What a compiler has there is its own: it lies where the build's environment says, as a server
    # that a build starts (sccache's) must find its folder after the build too.
    temporary = {name for name in temporary if not re.fullmatch(r"cc\w{6}\..*", name)}
    if temporary:
        return f"left in the temporary folder: {campaign.kinds(temporary)}"
    if left := marked_processes(mark):
        return f"processes are left: {left}"
    return None


def settled(mark: str) -> bool:
    """Wait for what a parent that was killed alone has left running; whether it has ended."""
    until = time.monotonic() + 30
    while marked_processes(mark):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def prepared(place: Place) -> None:
    """A run that nobody disturbs: what all others have to come to, and how long it takes."""
    assert place.run() == 0, place.said()  # makes the environment
    shutil.rmtree(place.out)
    began = time.monotonic()
    assert place.run() == 0, place.said()
    place.seconds = time.monotonic() - began
    place.expected = place.wheels()
    shutil.rmtree(place.out)


def places(folder: Path, mark: str) -> list[Place]:
    made = []
    for name in ("cheap", "compiled"):
        base = folder / name
        base.mkdir()
        environment = campaign.environment(base, DEMO_FOLDER=str(base), ENDURANCE_MARK=mark)
        variants = [f"kind{number}" for number in range(3)]
        source = (
            demo(base / "demo", *variants)
            if name == "cheap"
            else compiled_demo(base / "demo", "1", "2")
        )
        # As old as can be: a source that has just been written is another one a second later.
        made.append(Place(name, source, {**environment, "SOURCE_DATE_EPOCH": "1700000000"}, base))
    return made


def kill(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    """The kills with these numbers, in folders of this process's own."""
    campaign.heed_signals()
    mark = uuid.uuid4().hex
    with campaign.workplace() as folder:
        both = places(folder, mark)
        for place in both:
            prepared(place)
        for done, number in enumerate(numbers, 1):
            chance = Random(f"{figures.seed}:{number}")
            place = both[number % COMPILED == COMPILED - 1]
            again = place.name == "cheap" and chance.random() < 0.5 and done < len(numbers)
            one_kill(place, chance, figures, mark, number, again=again)
            figures.progress(f"{done} of {len(numbers)} kills", every=30)
        for place in both:
            cache = Path(place.environment["POLYWHEEL_CACHE_DIR"])
            figures.at_most(f"{place.name}: seconds of a whole run", place.seconds)
            figures.at_most(f"{place.name}: MiB of the cache at the end", _size(cache) >> 20)


def main(arguments: Sequence[str] | None = None) -> int:
    options = campaign.parse(__doc__, arguments, count=1000)
    return campaign.shared_out(kill, "kills of build", options).finish(options.json)


def one_kill(
    place: Place, chance: Random, figures: campaign.Figures, mark: str, number: int, *, again: bool
) -> None:
    """Start, kill, look; then a run to the end, and look again, unless it is killed ``again``."""
    if chance.random() < 0.05:
        shutil.rmtree(place.environment["POLYWHEEL_CACHE_DIR"], ignore_errors=True)
        Path(place.environment["POLYWHEEL_CACHE_DIR"]).mkdir()
    alone = chance.random() < 0.25
    with place.start() as running:
        time.sleep(chance.uniform(0, place.seconds * 0.95))
        ended = running.poll() is not None
        if alone:
            running.kill()
        else:
            kill_all(running.pid)
        running.wait()
    figures.counts["ended before" if ended else "kills"] += 1
    figures.counts["of the parent alone"] += alone and not ended
    repeat = f"kill_build.py --seed {figures.seed} --first {number} --count 1"
    if alone and not settled(mark):
        figures.found("workers go on for more than 30 seconds", repeat=repeat)
    wheels = place.wheels()
    figures.counts["with wheels that were finished"] += bool(wheels)
    if wrong := wrong_after_kill(place):
        figures.found(f"{place.name}, after the kill: {wrong}", repeat=repeat)
    if again:
        return
    began = time.monotonic()
    try:
        wrong = wrong_after_run(place, place.run(), mark)
    except subprocess.TimeoutExpired:
        wrong = f"the next run did not end within {PATIENCE} seconds: {place.said()}"
    figures.counts["next runs"] += 1
    if wrong:
        figures.found(f"{place.name}, next run: {wrong}", repeat=repeat)
    took = time.monotonic() - began
    figures.at_most("longest next run, seconds", took)
    if not wheels:
        place.seconds = 0.7 * place.seconds + 0.3 * took  # other programs may slow it down or not
    shutil.rmtree(place.out, ignore_errors=True)
    campaign.empty_folder(Path(place.environment["TMPDIR"]))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
