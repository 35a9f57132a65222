"""The requirements of builds besides ``build-system.requires``.

The backend is asked once, and its answer is cached. It is asked in an environment that has the plugins and the
requirements of the variant's setup already: a ``setup.py`` may import them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.backend.requirements import check_requirements
from polywheel.config.project import Project
from polywheel.config.reader import (
    local_marker_environment,
    normalized_requirements,
    parse_requirement,
)
from polywheel.environments.virtual_environments import Environment, Environments, Interpreter
from polywheel.errors import BuildError
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import Variant
from polywheel.providers.plugins import plugin_requires, without_plugin
from polywheel.run.build_key import KeyMaker
from polywheel.run.fingerprint import digest_of
from polywheel.run.worker.requests import (
    WorkerContext,
    installer_variables,
    variables_of_settings,
)
from polywheel.setup.resolve import has_requirements, resolve_setup
from polywheel.system.cache import cache_directory
from polywheel.system.cache_entries import record_use
from polywheel.system.temporary import remove_unused, replacing

_OTHER_TOOLS = ("cmake3", "ninja-build", "samu", "make", "gmake", "patchelf")
"""Backends require no package for these programs if they are on PATH, as for cmake and ninja."""


def known_plugin_requirements(project: Project) -> dict[str, tuple[str, ...]]:
    """Return the requirements of each namespace's plugin, if they are the same for every Python.

    A build reports its requirements itself. A good guess saves an environment only for that
    question.
    """
    requirements = {
        namespace: plugin_requires(project, provider)
        for namespace, provider in project.metadata.providers.items()
    }
    return {
        namespace: texts
        for namespace, texts in requirements.items()
        if not any(";" in text for text in texts)
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildEnvironment:
    """The environment of a build."""

    environment: Environment
    requirements: tuple[str, ...]
    """The requirements that were installed into it, normalized."""

    certain: bool
    """Whether the backend asked for these requirements; otherwise they are a guess."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequirements:
    """The requirements of the builds of one source."""

    project: Project
    choice: BackendChoice
    requires: Sequence[str]
    """``build-system.requires`` without polywheel."""

    plugins: Mapping[str, tuple[str, ...]]
    """The requirements of plugins, by namespace (:func:`known_plugin_requirements`)."""

    source: Path
    """The source in the cache."""

    keys: KeyMaker
    context: WorkerContext
    environments: Environments
    settings: Mapping[str, BuildSettings]
    """By build."""

    fresh: bool = False
    """Whether backends are asked again, even if their answer is cached."""

    def find_environment(self, interpreter: Interpreter, jobs: Sequence[Job]) -> Environment | None:
        """Return the environment that jobs were built in; None if it is unknown or was removed."""
        guess = self._guess(interpreter, jobs)
        variables = self._installer_variables(jobs)
        base = self.environments.find(interpreter, guess, variables)
        answer = self._cached_answer(interpreter, base, jobs) if base is not None else None
        if answer is None:
            return None
        return self.environments.find(interpreter, [*guess, *answer], variables)

    def prepare_environment(
        self, interpreter: Interpreter, jobs: Sequence[Job]
    ) -> BuildEnvironment:
        """Return the environment with all known requirements of jobs. Raises BuildError."""
        guess = self._guess(interpreter, jobs)
        base = self._create(interpreter, guess, jobs)
        answer = self._cached_answer(interpreter, base, jobs)
        if answer is None:
            return BuildEnvironment(
                environment=base, requirements=normalized_requirements(guess), certain=False
            )
        return self._certain(interpreter, [*guess, *answer], jobs)

    def remember(
        self,
        interpreter: Interpreter,
        jobs: Sequence[Job],
        base: Environment,
        answer: Sequence[str],
    ) -> BuildEnvironment:
        """Cache the answer of the backend in the guessed environment ``base``.

        Returns the environment that jobs need. Raises BuildError.
        """
        check_requirements(answer)
        _write_answer(self._answer_file(interpreter, base, jobs), answer)
        return self._certain(interpreter, [*self._guess(interpreter, jobs), *answer], jobs)

    def _certain(
        self, interpreter: Interpreter, requirements: Sequence[str], jobs: Sequence[Job]
    ) -> BuildEnvironment:
        return BuildEnvironment(
            environment=self._create(interpreter, requirements, jobs),
            requirements=normalized_requirements(requirements),
            certain=True,
        )

    def _create(
        self, interpreter: Interpreter, requirements: Sequence[str], jobs: Sequence[Job]
    ) -> Environment:
        try:
            return self.environments.get(interpreter, requirements, self._installer_variables(jobs))
        except BuildError as error:
            output = " ".join(line for problem in error.problems for line in problem.output).lower()
            names = {canonicalize_name(parse_requirement(text).name) for text in requirements}

            def is_named(text: str) -> bool:
                name = canonicalize_name(parse_requirement(text).name)
                return name in names and name in output

            hints = [
                without_plugin(namespace)
                for namespace, texts in self.plugins.items()
                if any(map(is_named, texts))
            ]
            of_setup = self._setup_requirements(interpreter, jobs)
            places = [origin for text, origin in of_setup.items() if is_named(text)]
            if not hints and not places:
                raise
            raise BuildError.collected(
                replace(
                    problem,
                    at=problem.at or next(iter(places), None),
                    hint=problem.hint or next(iter(hints), None),
                )
                for problem in error.problems
            ) from None

    def _installer_variables(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        settings = self.settings[jobs[0].build]
        return installer_variables(self.context, settings.environment, project=self.source)

    def _guess(self, interpreter: Interpreter, jobs: Sequence[Job]) -> list[str]:
        """All requirements that are known before the backend is asked."""
        variants = [job for job in jobs if job.label is not None]
        used = {prop.namespace for job in variants for prop in job.properties}
        providers = self.project.metadata.providers
        of_plugins = [
            text
            for namespace, texts in self.plugins.items()
            if namespace in used or (variants and providers[namespace].build_requires)
            for text in texts
        ]
        of_setup = self._setup_requirements(interpreter, jobs)
        return [*self.requires, *dict.fromkeys([*of_plugins, *of_setup])]

    def _setup_requirements(
        self, interpreter: Interpreter, jobs: Sequence[Job]
    ) -> Mapping[str, str]:
        """The requirements of the jobs' build setup, each with its origin."""
        if not has_requirements(self.project):
            return {}
        # The worker evaluates markers with this Python.
        environment = local_marker_environment(interpreter.version)
        return {
            entry.value: entry.origin
            for job in jobs
            if job.label is not None
            for entry in resolve_setup(
                self.project,
                self.choice,
                Variant(job.properties, job.label),
                python=None,  # plugins have no requirements
                notify=lambda _: None,
                environment=environment,
            ).setup.requires
        }

    def _cached_answer(
        self, interpreter: Interpreter, base: Environment, jobs: Sequence[Job]
    ) -> list[str] | None:
        if self.fresh:
            return None
        file = self._answer_file(interpreter, base, jobs)
        try:
            answer = json.loads(file.read_text(encoding="utf-8"))
            record_use(file.parent)
            return list(normalized_requirements(answer))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def _answer_file(
        self, interpreter: Interpreter, base: Environment, jobs: Sequence[Job]
    ) -> Path:
        settings = self.settings[jobs[0].build]
        path = variables_of_settings(self.context, settings.environment).get("PATH")
        digest = digest_of(
            {
                "key": self.keys.requirements_key(jobs, settings, interpreter, base),
                "others": [shutil.which(name, path=path) for name in _OTHER_TOOLS],
            }
        )
        source = self.keys.source_part.digest[:32]
        return cache_directory() / "requires" / source / f"{digest[:32]}.json"


def _write_answer(path: Path, requirements: Sequence[str]) -> None:
    # If the disk is full, the backend is asked again the next time.
    with suppress(OSError):
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_unused(path.parent.parent)
        with replacing(path) as part:
            part.touch(mode=0o600)  # a requirement may hold a password
            part.write_text(json.dumps(list(requirements)), encoding="utf-8")
