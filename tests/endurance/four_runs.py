"""Four runs of ``polywheel build`` at once, again and again, on one cache and, in half of the rounds, one output.

Of four runs on one output, one has it and the others say so and end, or begin when it is free; at least one
comes to its end, and what lies there is right. Four runs on outputs of their own share the cache: all come to
their end, with the same wheels, byte for byte. Every round begins with an empty cache, or with that of the last.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import campaign

from polywheel.wheel.inspect import inspect_wheel
from support.build_command import JOURNAL
from support.process_tree import kill_all, marked_processes
from support.projects import compiled_demo, demo

RUNS = 4
PATIENCE = 300
TAKEN = "another polywheel build is writing to this directory"


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.whl"))
    }


def start(source: Path, out: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[str]:
    with log.open("w") as output:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "polywheel", "build", str(source), "-o", str(out)),
                *("-j", "2", "--report", f"{log}.json"),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@dataclass
class Round:
    """Four runs, and where they write to."""

    source: Path
    folder: Path
    environment: dict[str, str]
    together: bool
    """Whether they have one output."""

    @property
    def outs(self) -> list[Path]:
        return [self.folder / ("out" if self.together else f"out{one}") for one in range(RUNS)]

    def run(self, chance: Random) -> list[tuple[int, str]]:
        """The exit code of each, and what it printed. Raises TimeoutExpired."""
        logs = [self.folder / f"log{one}" for one in range(RUNS)]
        running = []
        for out, log in zip(self.outs, logs, strict=True):
            running.append(start(self.source, out, self.environment, log))
            time.sleep(chance.choice((0, 0, chance.uniform(0, 1.5))))
        try:
            codes = [process.wait(PATIENCE) for process in running]
        finally:
            for process in running:
                if process.poll() is None:
                    kill_all(process.pid)
                    process.wait()
        return [
            (code, log.read_text(errors="replace")) for code, log in zip(codes, logs, strict=True)
        ]

    def refused(self, code: int, said: str) -> bool:
        """Whether a run found its output taken."""
        return self.together and code == 1 and TAKEN in said

    def wrong(self, ended: Sequence[tuple[int, str]]) -> Iterator[str]:
        """What is wrong with how they ended, and with what they made."""
        for code, said in ended:
            if (code != 0 and not self.refused(code, said)) or "Traceback" in said:
                yield f"a run ended with {code}: {said[-1500:]}"
        if all(code != 0 for code, _ in ended):
            yield "none of the runs came to its end"
        outs = list(dict.fromkeys(self.outs))
        made = [digests(out) for out in outs]
        if any(one != made[0] for one in made) or not made[0]:
            yield f"the outputs differ: {made}"
        for out in outs:
            yield from wrong_output(out)
        if temporary := {one.name for one in Path(self.environment["TMPDIR"]).iterdir()}:
            yield f"left in the temporary folder: {campaign.kinds(temporary)}"
        if left := marked_processes(self.environment["ENDURANCE_MARK"]):
            yield f"processes are left: {left}"


def wrong_output(out: Path) -> Iterator[str]:
    for path in out.glob("*.whl"):
        wheel = inspect_wheel(path, hashes=True)
        if wheel.disagreements or wheel.variant is None or wheel.variant.label != wheel.name.label:
            yield f"{path.name} is not right"
    beside = {one.name for one in out.iterdir() if one.suffix != ".whl"} - {JOURNAL, "logs"}
    if beside:
        yield f"left beside the wheels: {campaign.kinds(beside)}"


def one_round(one: Round, number: int, figures: campaign.Figures) -> None:
    chance = Random(f"{figures.seed}:{number}")
    if chance.random() < 0.4:
        shutil.rmtree(one.environment["POLYWHEEL_CACHE_DIR"])
        Path(one.environment["POLYWHEEL_CACHE_DIR"]).mkdir()
    try:
        ended = one.run(chance)
    except subprocess.TimeoutExpired:
        found = [f"no end within {PATIENCE} seconds"]
    else:
        found = list(one.wrong(ended))
        refused = sum(one.refused(code, said) for code, said in ended)
        figures.counts["runs that found the output taken"] += refused
    for wrong in found:
        figures.found(
            wrong, repeat=f"four_runs.py --seed {figures.seed} --first {number} --count 1"
        )
    figures.counts["rounds"] += 1
    figures.counts["runs"] += RUNS


def rounds(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    campaign.heed_signals()
    mark = uuid.uuid4().hex
    with campaign.workplace() as folder:
        environment = campaign.environment(
            folder, ENDURANCE_MARK=mark, DEMO_FOLDER=str(folder), SOURCE_DATE_EPOCH="1700000000"
        )
        cheap = demo(folder / "cheap", *(f"kind{number}" for number in range(6)))
        sources = [cheap, cheap, compiled_demo(folder / "compiled", "1", "2")]
        for done, number in enumerate(numbers, 1):
            began = time.monotonic()
            source = sources[number % 3]
            one_round(Round(source, folder, environment, number % 2 == 0), number, figures)
            figures.at_most("longest round, seconds", time.monotonic() - began)
            campaign.empty_folder(Path(environment["TMPDIR"]))
            for out in folder.glob("out*"):
                shutil.rmtree(out)
            figures.progress(f"{done} of {len(numbers)} rounds", every=20)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = campaign.parser(__doc__, count=50)
    parser.set_defaults(processes=1)
    options = parser.parse_args(arguments)
    return campaign.shared_out(rounds, "four runs at once", options).finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
