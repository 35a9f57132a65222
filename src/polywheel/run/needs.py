"""What builds need beside ``build-system.requires``: asked of the backend once, then remembered."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement

from polywheel.errors import BuildError
from polywheel.model.plan import Job
from polywheel.providers.environment import cache_directory
from polywheel.run.environments import Environment, Environments, normalized
from polywheel.run.interpreters import Interpreter
from polywheel.run.keys import digest_of
from polywheel.run.orders import Workshop

Ask = Callable[[Environment], Sequence[str]]
"""Ask the backend, in the environment that has ``build-system.requires`` alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """The requirements of the builds of one source."""

    requires: Sequence[str]
    """``build-system.requires`` without polywheel."""

    source: str
    """The digest of the source."""

    shop: Workshop
    environments: Environments

    def kept(self, interpreter: Interpreter, jobs: Sequence[Job]) -> Environment | None:
        """The environment that jobs were built in, where it is known and still there."""
        base = self.environments.kept(interpreter, self.requires)
        more = _remembered(self._memory(base, jobs)) if base is not None else None
        if more is None:
            return None
        return self.environments.kept(interpreter, [*self.requires, *more]) if more else base

    def environment(self, interpreter: Interpreter, jobs: Sequence[Job], ask: Ask) -> Environment:
        """The environment with all that jobs need. Raises BuildError."""
        base = self.environments.get(interpreter, self.requires)
        memory = self._memory(base, jobs)
        more = _remembered(memory)
        if more is None:
            more = list(ask(base))
            try:
                normalized(more)
            except InvalidRequirement as error:
                raise BuildError(
                    f"the backend requires what is no requirement: {str(error).splitlines()[0]}"
                ) from None
            _remember(memory, more)
        return self.environments.get(interpreter, [*self.requires, *more]) if more else base

    def _memory(self, base: Environment, jobs: Sequence[Job]) -> Path:
        digest = digest_of(
            {
                "source": self.source,
                "polywheel": self.shop.polywheel.name,
                "resolved": base.resolved,
                "environment": base.folder.name,
                "settings": dict(self.shop.settings),
                "jobs": [[job.label, *map(str, job.properties)] for job in jobs],
            }
        )
        return cache_directory() / "requires" / f"{digest[:32]}.json"


def _remembered(memory: Path) -> list[str] | None:
    try:
        return list(normalized(json.loads(memory.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return None


def _remember(memory: Path, more: Sequence[str]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=memory.parent, prefix="new-", delete=False
    ) as file:
        json.dump(list(more), file)
    Path(file.name).replace(memory)
