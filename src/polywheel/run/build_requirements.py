"""What builds need besides ``build-system.requires``: the backend is asked once, its answer is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polywheel.config.reader import parse_requirement
from polywheel.environments.environments import (
    Environment,
    Environments,
    Interpreter,
    normalized_requirements,
)
from polywheel.errors import BuildError
from polywheel.model.plan import Job
from polywheel.providers.plugins import plugin_requires, without_plugin
from polywheel.run.fingerprint import digest_of, tools, variables
from polywheel.run.worker.requests import WorkerContext
from polywheel.system.cache import cache_directory
from polywheel.system.temporary import replacing

if TYPE_CHECKING:
    from polywheel.config.project import Project
    from polywheel.model.plan import Job


def plugin_requirements(project: Project, jobs: Sequence[Job]) -> Mapping[str, tuple[str, ...]]:
    """By job, the plugins that its build asks, as far as they are the same for every Python.

    Builds say for themselves what they need; a good guess saves making an environment for that.
    """
    plugins = {
        namespace: _of_namespace(project, namespace) for namespace in project.metadata.providers
    }
    always = [
        namespace for namespace, one in project.metadata.providers.items() if one.build_requires
    ]
    return {
        job.id: tuple(
            text
            for namespace in sorted({*always, *(one.namespace for one in job.properties)})
            for text in plugins.get(namespace, ())
        )
        if job.label is not None
        else ()
        for job in jobs
    }


def plugin_namespaces(project: Project) -> Mapping[str, str]:
    """The namespace for each normalized name of a distribution with its plugin."""
    return {
        canonicalize_name(Requirement(text).name): namespace
        for namespace in project.metadata.providers
        for text in _of_namespace(project, namespace)
    }


def _of_namespace(project: Project, namespace: str) -> tuple[str, ...]:
    requires = plugin_requires(project, project.metadata.providers[namespace])
    return () if any(";" in text for text in requires) else requires


_IN_PLACE_OF_OTHERS = ("cmake3", "ninja-build", "samu", "make", "gmake", "patchelf")
"""What keeps a hook, where it is on PATH, from asking for a package, beside cmake and ninja."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundEnvironment:
    """An environment for jobs."""

    environment: Environment
    wanted: tuple[str, ...]
    """What was installed into it, by name."""

    certain: bool
    """Whether that is what the jobs' backend has asked for, and not only a guess."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequirements:
    """The requirements of the builds of one source."""

    requires: Sequence[str]
    """``build-system.requires`` without polywheel."""

    foreseen: Mapping[str, Sequence[str]]
    """By job, what it will ask for, as far as that is known before."""

    source: str
    """The digest of the source."""

    shop: WorkerContext
    environments: Environments
    plugins: Mapping[str, str]
    """The namespace for each name of a distribution that has its provider's plugin."""

    fresh: bool = False
    """Whether backends are asked again, whatever they said in earlier runs."""

    def kept(self, interpreter: Interpreter, jobs: Sequence[Job]) -> Environment | None:
        """The environment that jobs were built in, where it is known and still there."""
        guess = self._guess(jobs)
        base = self.environments.kept(interpreter, guess)
        more = self._remembered(base, jobs) if base is not None else None
        return None if more is None else self.environments.kept(interpreter, [*guess, *more])

    def environment(self, interpreter: Interpreter, jobs: Sequence[Job]) -> FoundEnvironment:
        """The environment with all that jobs need, as far as that is known. Raises BuildError."""
        guess = self._guess(jobs)
        base = self._get(interpreter, guess)
        more = self._remembered(base, jobs)
        if more is None:
            return FoundEnvironment(
                environment=base, wanted=normalized_requirements(guess), certain=False
            )
        return self._with(interpreter, [*guess, *more])

    def learnt(
        self, interpreter: Interpreter, jobs: Sequence[Job], base: Environment, more: Sequence[str]
    ) -> FoundEnvironment:
        """The environment that jobs need, as their backend says in the one that was a guess.

        Raises BuildError.
        """
        checked(more)
        _remember(self._memory(base, jobs), more)
        return self._with(interpreter, [*self._guess(jobs), *more])

    def _with(self, interpreter: Interpreter, requirements: Sequence[str]) -> FoundEnvironment:
        return FoundEnvironment(
            environment=self._get(interpreter, requirements),
            wanted=normalized_requirements(requirements),
            certain=True,
        )

    def _get(self, interpreter: Interpreter, requirements: Sequence[str]) -> Environment:
        try:
            return self.environments.get(interpreter, requirements)
        except BuildError as error:
            said = " ".join(line for one in error.problems for line in one.output).lower()
            blamed = [
                self.plugins[name]
                for name in sorted(
                    {canonicalize_name(parse_requirement(one).name) for one in requirements}
                )
                if name in self.plugins and name in said
            ]
            if not blamed:
                raise
            raise BuildError.collected(
                replace(one, hint=one.hint or without_plugin(blamed[0])) for one in error.problems
            ) from None

    def _guess(self, jobs: Sequence[Job]) -> list[str]:
        more = [text for job in jobs for text in self.foreseen.get(job.id, ())]
        return [*self.requires, *dict.fromkeys(more)]

    def _remembered(self, base: Environment, jobs: Sequence[Job]) -> list[str] | None:
        if self.fresh:
            return None
        try:
            said = json.loads(self._memory(base, jobs).read_text(encoding="utf-8"))
            return list(normalized_requirements(said))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def _memory(self, base: Environment, jobs: Sequence[Job]) -> Path:
        digest = digest_of(
            {
                "source": self.source,
                "polywheel": self.shop.polywheel.name,
                "resolved": base.resolved,
                "content": base.content,
                "environment": base.folder.name,
                "variables": variables(),
                "tools": tools(),
                "others": [shutil.which(name) for name in _IN_PLACE_OF_OTHERS],
                "settings": dict(self.shop.settings),
                "jobs": [[job.label, *map(str, job.properties)] for job in jobs],
            }
        )
        return cache_directory() / "requires" / f"{digest[:32]}.json"


def checked(more: Sequence[str]) -> Sequence[str]:
    """What a backend asks for, where all of it is requirements. Raises BuildError."""
    for text in more:
        try:
            parse_requirement(text)
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            raise BuildError(
                f"the backend requires {text!r}, which is no requirement: {why}"
            ) from None
    return more


def _remember(memory: Path, more: Sequence[str]) -> None:
    # Where there is no room for it, the backend is asked again the next time.
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(memory) as part:
            part.touch(mode=0o600)  # a requirement may hold a password
            part.write_text(json.dumps(list(more)), encoding="utf-8")
