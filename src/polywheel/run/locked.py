"""Locks between processes, on files; they go with the process that holds them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from polywheel.errors import BuildError
from polywheel.system.locks import try_lock

_LOOK = 0.1


@contextmanager
def held(
    path: Path, *, stop: Event, waiting: Callable[[], None], seconds: float | None = None
) -> Iterator[None]:
    """Hold the lock of a file, which is made. No child inherits it: who holds it is a living run.

    ``waiting`` is called once where somebody else has it. Raises BuildError once ``stop`` is set,
    or ``seconds`` are over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = None if seconds is None else time.monotonic() + seconds
    with path.open("a+b") as file:
        said = False
        while not try_lock(file):
            if not said:
                waiting()
                said = True
            if stop.wait(_LOOK):
                raise BuildError("it was stopped")
            if until is not None and time.monotonic() > until:
                raise BuildError(f"it waited {seconds:g} seconds for another run", at=str(path))
        yield


@contextmanager
def first_free(paths: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Hold the lock of the first of these files, which is made, that nobody else holds.

    Yields its path, and its descriptor for children that are to hold it too. Raises OSError.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if try_lock(file):
                yield path, file.fileno()
                return
    raise ValueError("there are no more files to lock")
