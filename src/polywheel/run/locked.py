"""Locks between processes, on files; they go with the process that holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from polywheel.errors import BuildError
from polywheel.system.locks import try_lock

_LOOK = 0.1


@contextmanager
def held(path: Path, *, stop: Event, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold the lock of a file, which is made; its descriptor, for children that are to hold it too.

    ``waiting`` is called once where somebody else has it. Raises BuildError once ``stop`` is set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        said = False
        while not try_lock(file):
            if not said:
                waiting()
                said = True
            if stop.wait(_LOOK):
                raise BuildError("it was stopped")
        yield file.fileno()
