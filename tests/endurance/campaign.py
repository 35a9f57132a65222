"""What all campaigns share: their options, the folders they work in, their figures, and their findings.

A campaign is a script with ``--count``, ``--seed`` and ``--json FILE``. It prints its progress, then its
figures, then every finding with what repeats it. It exits with 0 where there is no finding.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

MOST_SHOWN = 40
"""Findings that are printed; the figures have one of each kind."""


def parse(
    description: str | None, arguments: Sequence[str] | None, *, count: int, seed: int = 1
) -> argparse.Namespace:
    """The options that every campaign has."""
    return parser(description, count=count, seed=seed).parse_args(arguments)


def parser(description: str | None, *, count: int, seed: int = 1) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--count", type=int, default=count, help=f"how many (default: {count})")
    made.add_argument("--seed", type=int, default=seed, help=f"default: {seed}")
    made.add_argument("--first", type=int, default=0, metavar="N", help="the number to begin with")
    made.add_argument("--processes", type=int, default=2, help="that share the work (default: 2)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return made


@dataclass
class Figures:
    """What a campaign counted, and what it found."""

    name: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    """Measured."""
    peaks: dict[str, float] = field(default_factory=dict)
    """Measured, the highest of all: seconds, bytes."""

    began: float = field(default_factory=time.monotonic)
    _kinds: set[str] = field(default_factory=set)
    _shown: float = field(default_factory=time.monotonic)

    def found(self, what: str, *, repeat: str) -> None:
        """Note a finding; ``repeat`` says how it is seen again. One of a kind stands for all."""
        self.counts["findings"] += 1
        kind = re.sub(r"[0-9]+", "N", what)[:120]
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        self.findings.append(f"{what}\n    again: {repeat}")
        if len(self.findings) <= MOST_SHOWN:
            print(f"FINDING {self.name}: {self.findings[-1]}", flush=True)

    def progress(self, text: str, *, every: float = 5.0) -> None:
        now = time.monotonic()
        if now - self._shown >= every:
            self._shown = now
            print(f"{self.name}: {text}, {len(self.findings)} findings", flush=True)

    def at_most(self, name: str, value: float) -> None:
        """Note the highest value of something."""
        self.peaks[name] = max(round(value, 2), self.peaks.get(name, 0))

    def add(self, other: Figures) -> None:
        """The figures of another process that shared the work."""
        self.counts.update(other.counts)
        self.values.update(other.values)
        for name, value in other.peaks.items():
            self.at_most(name, value)
        for finding in other.findings:
            if finding not in self.findings:
                self.findings.append(finding)

    def finish(self, path: Path | None) -> int:
        """Print the figures and write them; the exit code."""
        document = {
            "campaign": self.name,
            "seed": self.seed,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "seconds": round(time.monotonic() - self.began, 1),
            "counts": dict(sorted(self.counts.items())),
            "values": {**self.values, **self.peaks},
            "findings": self.findings,
        }
        if path is not None:
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        shown = {key: value for key, value in document.items() if key != "findings"}
        print(json.dumps(shown, indent=2))
        print(f"{self.name}: {len(self.findings)} findings", flush=True)
        return 1 if self.findings else 0


Work = Callable[[Figures, Sequence[int]], None]
"""Does the numbers that it is given, in a process of its own, and notes what comes of it."""


def shared_out(work: Work, name: str, options: argparse.Namespace) -> Figures:
    """Do ``--count`` numbers from ``--first`` in ``--processes`` processes; all their figures."""
    whole = Figures(name, options.seed)
    numbers = range(options.first, options.first + options.count)
    if options.processes == 1:
        work(whole, numbers)
        return whole
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(_share, work, name, options.seed, numbers[start :: options.processes])
            for start in range(options.processes)
        ]
        for part in parts:
            whole.add(part.result())
    return whole


def _share(work: Work, name: str, seed: int, numbers: Sequence[int]) -> Figures:
    figures = Figures(name, seed)
    work(figures, numbers)
    return figures


def peak_of_memory() -> int:
    """Bytes that this process has had at most."""
    if sys.platform == "win32":
        sys.exit("the campaigns are for systems that have limits, signals, and /proc")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def alarm(seconds: int, hangs: Callable[[int, FrameType | None], None]) -> None:
    """Have ``hangs`` called when so many seconds are over; 0 calls it off."""
    if sys.platform == "win32":
        sys.exit("the campaigns are for systems that have limits, signals, and /proc")
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)


def heed_signals() -> None:
    """Under nohup some signals are ignored, and every child inherits that."""
    if sys.platform == "win32":
        sys.exit("the campaigns are for systems that have limits, signals, and /proc")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def machine() -> str:
    """For the document of the figures: ``2 cores, Linux, Python 3.11``."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{os.cpu_count()} cores, {platform.system()}, Python {version}"


@contextmanager
def workplace(*, in_memory: bool = False) -> Iterator[Path]:
    """A folder that goes at the end; ``in_memory`` where the system has such a place."""
    memory = Path("/dev/shm")
    place = memory if in_memory and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="endurance-", dir=place) as name:
        yield Path(name)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Variables for commands that are to keep everything below ``folder``: cache and temporary files."""
    for name in ("cache", "temporary"):
        with suppress(OSError):  # on a disk that cannot be written they are there
            (folder / name).mkdir(exist_ok=True)
    left_out = ("CFLAGS", "CXXFLAGS", "LDFLAGS", "SOURCE_DATE_EPOCH", "DIST_EXTRA_CONFIG")
    return {
        **{name: value for name, value in os.environ.items() if name not in left_out},
        "POLYWHEEL_CACHE_DIR": str(folder / "cache"),
        "TMPDIR": str(folder / "temporary"),
        "UV_CACHE_DIR": str(ROOT / ".cache" / "uv"),
        "PIP_CACHE_DIR": str(ROOT / ".cache" / "pip"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        **more,
    }


def kinds(names: set[str]) -> str:
    """A few names, without what is random in them: so that findings of one kind are one."""
    return ", ".join(sorted({re.sub("(?<=^tmp).*|-.*(?=[.])|-.*", "…", one) for one in names}))


def empty_folder(folder: Path) -> None:
    """Remove what lies in a folder, so that it is not found again after the next run."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
