"""Mutated inputs for all readers: only PolywheelError may come out, soon, and in little memory.

Input number N of a seed is always the same: ``--first N --count 1`` reads it again, and ``--keep DIR``
keeps what was found as files. A run that was stopped goes on with ``--first``.
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from random import Random
from types import FrameType
from typing import NamedTuple

import campaign
from readers import READERS, Reader

from polywheel.errors import PolywheelError

SECONDS = 2.0
"""Of processor time, for one input of a few kilobytes."""
PATIENCE = 30
"""Seconds after which a reader is taken for one that hangs."""
MEMORY = 128 * 1024 * 1024
"""Bytes beyond what a process takes before its first input."""
CHUNK = 2000


class Finding(NamedTuple):
    reader: str
    number: int
    what: str
    where: str
    content: bytes


class Chunk(NamedTuple):
    read: Counter[str]
    refused: Counter[str]
    slowest: dict[str, float]
    peak: int
    """Bytes."""
    findings: list[Finding]


class HangsError(BaseException):
    """A reader that did not come back."""


def _hangs(_: int, __: FrameType | None) -> None:
    raise HangsError


def readers_named(names: Sequence[str]) -> list[Reader]:
    chosen = [one for one in READERS if not names or one.name in names]
    if not chosen:
        sys.exit(f"known readers: {', '.join(one.name for one in READERS)}")
    return chosen


def input_of(seed: int, number: int, readers: Sequence[Reader]) -> tuple[Reader, bytes]:
    """The reader and the bytes of an input: they depend on these three alone."""
    chance = Random(f"{seed}:{number}")
    (reader,) = chance.choices(readers, [one.share for one in readers])
    return reader, reader.make(chance)


def check_message(error: PolywheelError) -> None:
    """A message is a few lines that a terminal and a CI log can show as they are."""
    text = error.render()
    assert len(text) < 200_000, "a message of more than 200,000 letters"
    for line in text.split("\n"):
        assert line.isprintable(), f"a line that can't be printed: {line[:200]!r}"
        assert not line.startswith(("::", "##[")), f"a command for CI: {line[:200]!r}"


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        one for one in frames if "polywheel" in one.filename and "endurance" not in one.filename
    ]
    frame = (ours or frames)[-1]
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"


def read_chunk(seed: int, first: int, count: int, names: Sequence[str]) -> Chunk:
    """Read inputs in this process."""
    warnings.simplefilter("error")
    logging.disable()
    readers = readers_named(names)
    found = Chunk(Counter(), Counter(), {}, 0, [])
    before = campaign.peak_of_memory()
    peak = 0
    with campaign.workplace(in_memory=True) as folder:
        for number in range(first, first + count):
            reader, content = input_of(seed, number, readers)
            what, where = "", ""
            campaign.alarm(PATIENCE, _hangs)
            began = time.thread_time()
            try:
                reader.read(content, folder)
            except PolywheelError as error:
                found.refused[reader.name] += 1
                try:
                    check_message(error)
                except AssertionError as wrong:
                    what, where = str(wrong), _where(error)
            except HangsError as error:
                what, where = f"no end within {PATIENCE} seconds", _where(error)
            except BaseException as error:  # noqa: BLE001 -- that is the finding
                what, where = f"{type(error).__name__}: {error}"[:500], _where(error)
            seconds = time.thread_time() - began
            campaign.alarm(0, _hangs)
            campaign.empty_folder(folder)
            found.read[reader.name] += 1
            found.slowest[reader.name] = max(seconds, found.slowest.get(reader.name, 0.0))
            if seconds > SECONDS and not what:
                what = f"{seconds:.1f} seconds of processor time"
            used = campaign.peak_of_memory() - before
            if used > max(MEMORY, peak + MEMORY // 4) and not what:
                what = f"{used >> 20} MiB of memory"
            peak = max(peak, used)
            if what:
                found.findings.append(Finding(reader.name, number, what, where, content))
    return found._replace(peak=peak)


def _chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, CHUNK):
        yield start, min(CHUNK, first + count - start)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = campaign.parser(__doc__, count=1_000_000)
    parser.add_argument("--reader", action="append", default=[], help="this one; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what was found as files")
    options = parser.parse_args(arguments)
    figures = campaign.Figures("inputs", options.seed)
    slowest: dict[str, float] = {}
    refused, peak, kinds = 0, 0, Counter[tuple[str, str, str]]()
    with ProcessPoolExecutor(
        options.processes, mp_context=get_context("spawn"), max_tasks_per_child=10
    ) as pool:
        rest = _chunks(options.first, options.count)
        running = {
            pool.submit(read_chunk, options.seed, *one, options.reader)
            for one in itertools.islice(rest, 2 * options.processes)
        }
        while running:
            done = next(as_completed(running))
            running.remove(done)
            for one in itertools.islice(rest, 1):
                running.add(pool.submit(read_chunk, options.seed, *one, options.reader))
            chunk = done.result()
            figures.counts.update(chunk.read)
            refused += chunk.refused.total()
            peak = max(peak, chunk.peak)
            for name, seconds in chunk.slowest.items():
                slowest[name] = max(seconds, slowest.get(name, 0.0))
            for finding in chunk.findings:
                kind = (finding.reader, finding.what.partition(":")[0], finding.where)
                kinds[kind] += 1
                if kinds[kind] == 1:
                    _show(figures, finding, options.seed, options.reader, options.keep)
            rate = figures.counts.total() / (time.monotonic() - figures.began)
            figures.progress(f"{figures.counts.total():,} inputs, {rate:.0f} a second")
    figures.values = {
        "inputs": figures.counts.total(),
        "refused with a message": refused,
        "inputs a second": round(figures.counts.total() / (time.monotonic() - figures.began)),
        "slowest, seconds": {key: round(value, 3) for key, value in sorted(slowest.items())},
        "memory beyond the start, MiB": peak >> 20,
        "inputs that were found": kinds.total(),
    }
    return figures.finish(options.json)


def _show(
    figures: campaign.Figures,
    finding: Finding,
    seed: int,
    readers: Sequence[str],
    keep: Path | None,
) -> None:
    chosen = "".join(f" --reader '{name}'" for name in readers)
    figures.found(
        f"{finding.reader}: {finding.what} ({finding.where})",
        repeat=f"inputs.py --seed {seed} --first {finding.number} --count 1{chosen}",
    )
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        name = finding.reader.replace(" ", "-").replace(",", "").replace("/", "-")
        (keep / f"{name}-{seed}-{finding.number}").write_bytes(finding.content)


if __name__ == "__main__":
    sys.exit(main())
