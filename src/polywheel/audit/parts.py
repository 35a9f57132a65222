"""Parts of one large file in several processes: the code of a file may be larger than that of all others together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Part = TypeVar("Part")
Result = TypeVar("Result")
_MOST = 60
"""Processes: Windows can't wait for more."""


def map_parts(
    function: Callable[[Part], Result], parts: Iterable[Part], count: int, processes: int
) -> Iterator[Result]:
    """Return the results for ``count`` parts, in order. ``function`` and all values are pickled.

    One process, this one, does it if there are few parts, or if the system can't start others.
    """
    executor = None
    processes = min(count, processes, _MOST)
    if processes > 1:
        with suppress(ImportError, OSError):  # for example without semaphores
            executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    if executor is None:
        yield from map(function, parts)
        return
    with executor:
        remaining = iter(parts)
        running: list[Future[Result]] = [
            executor.submit(function, part) for part in islice(remaining, 2 * processes)
        ]
        while running:
            result = running.pop(0).result()
            running += [executor.submit(function, part) for part in islice(remaining, 1)]
            yield result


def split(items: Sequence[Item], size: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Split items into lists that reach a size together."""
    part: list[Item] = []
    total = 0
    for item in items:
        part.append(item)
        total += size(item)
        if total >= most:
            yield part
            part, total = [], 0
    if part:
        yield part
