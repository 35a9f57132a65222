"""What builds need beside ``build-system.requires``: their backend says so once, it is remembered."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement

from polywheel.errors import BuildError
from polywheel.model.plan import Job
from polywheel.providers.environment import cache_directory
from polywheel.run.environments import Environment, Environments
from polywheel.run.interpreters import Interpreter
from polywheel.run.keys import digest_of
from polywheel.run.orders import Workshop
from polywheel.run.wanted import normalized


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An environment for jobs."""

    environment: Environment
    wanted: tuple[str, ...]
    """What was installed into it, by name."""

    certain: bool
    """Whether that is what the jobs' backend has asked for, and not only a guess."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """The requirements of the builds of one source."""

    requires: Sequence[str]
    """``build-system.requires`` without polywheel."""

    foreseen: Mapping[str, Sequence[str]]
    """By job, what it will ask for, as far as that is known before."""

    source: str
    """The digest of the source."""

    shop: Workshop
    environments: Environments

    def kept(self, interpreter: Interpreter, jobs: Sequence[Job]) -> Environment | None:
        """The environment that jobs were built in, where it is known and still there."""
        guess = self._guess(jobs)
        base = self.environments.kept(interpreter, guess)
        more = _remembered(self._memory(base, jobs)) if base is not None else None
        return None if more is None else self.environments.kept(interpreter, [*guess, *more])

    def environment(self, interpreter: Interpreter, jobs: Sequence[Job]) -> Found:
        """The environment with all that jobs need, as far as that is known. Raises BuildError."""
        guess = self._guess(jobs)
        base = self.environments.get(interpreter, guess)
        more = _remembered(self._memory(base, jobs))
        if more is None:
            return Found(environment=base, wanted=normalized(guess), certain=False)
        return self._with(interpreter, [*guess, *more])

    def learnt(
        self, interpreter: Interpreter, jobs: Sequence[Job], base: Environment, more: Sequence[str]
    ) -> Found:
        """The environment that jobs need, as their backend says in the one that was a guess.

        Raises BuildError.
        """
        try:
            normalized(more)
        except InvalidRequirement as error:
            raise BuildError(
                f"the backend requires what is no requirement: {str(error).splitlines()[0]}"
            ) from None
        _remember(self._memory(base, jobs), more)
        return self._with(interpreter, [*self._guess(jobs), *more])

    def _with(self, interpreter: Interpreter, requirements: Sequence[str]) -> Found:
        return Found(
            environment=self.environments.get(interpreter, requirements),
            wanted=normalized(requirements),
            certain=True,
        )

    def _guess(self, jobs: Sequence[Job]) -> list[str]:
        more = [text for job in jobs for text in self.foreseen.get(job.id, ())]
        return [*self.requires, *dict.fromkeys(more)]

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
