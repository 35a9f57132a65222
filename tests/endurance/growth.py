"""Runs of ``polywheel build`` one after another, the source changed before each: what grows does not grow on.

As in months of work on one project: a file changes, now and then a variant comes or goes or a requirement
does, and the build is run again into the same folder. The cache, the output and the temporary folder are
measured after every run, in bytes and in files, and so are the journals in the output. The most that they
hold in the last quarter of the runs must be no more than in the second quarter, and a tenth of it.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from random import Random

import campaign

from support.build_command import JOURNAL
from support.process_tree import marked_processes
from support.projects import compiled_demo, demo

ROOM = 1.1
"""How much more the last quarter may have than the second."""
_SLACK = {"bytes": 4 << 20, "files": 50}


def size(folder: Path) -> dict[str, int]:
    """Bytes and files of a folder; a file with several names counts once."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[status.st_ino] = 0 if path.is_dir() else status.st_size
    return {"bytes": sum(found.values()), "files": len(found)}


def change(source: Path, number: int, chance: Random) -> None:
    """What a developer does between two builds."""
    (source / "notes.txt").write_text(f"{number}\n" * 50)
    if chance.random() < 0.1:
        more = [f"kind{one}" for one in range(chance.randint(2, 4))]
        if (source / "backend.py").exists():
            demo(source, *more)
    if (source / "setup.py").exists() and chance.random() < 0.3:
        text = (source / "demo.c").read_text().partition("/* ")[0]
        (source / "demo.c").write_text(f"{text}/* {number} */\n")


def grow(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    campaign.heed_signals()
    mark = uuid.uuid4().hex
    with campaign.workplace() as folder:
        environment = campaign.environment(
            folder, ENDURANCE_MARK=mark, DEMO_FOLDER=str(folder), SOURCE_DATE_EPOCH="1700000000"
        )
        places = {
            "cache": Path(environment["POLYWHEEL_CACHE_DIR"]),
            "output": folder / "out",
            "temporary folder": Path(environment["TMPDIR"]),
        }
        journals = [folder / "out" / str(which) / JOURNAL for which in range(2)]
        sources = [
            demo(folder / "cheap", "kind0", "kind1"),
            compiled_demo(folder / "compiled", "1", "2"),
        ]
        measured: dict[str, list[int]] = {}
        for done, number in enumerate(numbers, 1):
            chance = Random(f"{figures.seed}:{number}")
            which = int(chance.random() < 0.2)
            change(sources[which], number, chance)
            command = [sys.executable, "-m", "polywheel", "build", str(sources[which])]
            command += ["-o", str(folder / "out" / str(which)), "-j", "2"]
            ran = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            if ran.returncode != 0:
                figures.found(
                    f"run {number} ended with {ran.returncode}: {ran.stderr[-1000:]}",
                    repeat=f"growth.py --seed {figures.seed} --count {number + 1}",
                )
            figures.counts["runs"] += 1
            for place, path in places.items():
                for what, value in size(path).items():
                    measured.setdefault(f"{place}, {what}", []).append(value)
            journal = sum(path.stat().st_size for path in journals if path.exists())
            measured.setdefault("journals, bytes", []).append(journal)
            figures.progress(f"{done} of {len(numbers)} runs", every=20)
        _judge(figures, measured)
        if left := marked_processes(mark):
            figures.found(f"processes are left: {left}", repeat=f"growth.py --seed {figures.seed}")


def _judge(figures: campaign.Figures, measured: dict[str, list[int]]) -> None:
    for name, values in measured.items():
        quarter = max(1, len(values) // 4)
        before = max(values[quarter : 2 * quarter])
        after = max(values[-quarter:])
        figures.values[name] = {
            "first run": values[0],
            "second quarter": before,
            "last quarter": after,
        }
        what = "files" if name.endswith("files") else "bytes"
        room = {"temporary folder": 0, "journals": 8 << 10}.get(
            name.partition(",")[0], _SLACK[what]
        )
        if len(values) >= 40 and after > before * ROOM + room:
            figures.found(
                f"{name}: {before} in the second quarter of the runs, {after} in the last",
                repeat=f"growth.py --seed {figures.seed} --count {len(values)}",
            )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = campaign.parser(__doc__, count=200)
    parser.set_defaults(processes=1)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    figures = campaign.shared_out(grow, "growth", options)
    figures.at_most("seconds a run", (time.monotonic() - began) / max(1, options.count))
    return figures.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
