"""The key of a wheel, in named parts: a wheel is up to date while all of its parts are unchanged.

The parts of a build decide about the unstamped wheel. The part :data:`STAMP` decides about what polywheel adds to it:
a change of it alone costs no build. The tables that polywheel itself reads, ``[variant]`` and ``[tool.polywheel]``,
are not a part of the source. What they mean for a build is in its setup, in its settings, and in the stamp.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from polywheel import __version__
from polywheel.config.project import Project
from polywheel.config.reader import local_marker_environment
from polywheel.environments.virtual_environments import Environment, Interpreter
from polywheel.errors import WheelError, os_error_as
from polywheel.formats.metadata import variant_fields
from polywheel.formats.variant_json import variant_json
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.model.setup import BackendChoice, BuildSetup, SetupRule
from polywheel.model.variant import Variant
from polywheel.providers.plugins import BuildProvider, build_providers, queries
from polywheel.run.fingerprint import (
    ToolVersions,
    build_variables,
    digest_of,
    effective_variables,
)
from polywheel.run.source.own_tables import (
    contents_without_tables,
    digests,
    names_with_tables,
)
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.requests import WorkerContext, variables_of_settings
from polywheel.setup.digest import comparable, named_values
from polywheel.setup.flags_and_settings import compiler_family
from polywheel.setup.presets import project_presets
from polywheel.setup.rules import SetupSources, merge_rules
from polywheel.system.files import open_regular
from polywheel.wheel.archive.reader import open_archive

STAMP = "stamp"
ENVIRONMENT = "environment"
NOT_KNOWN = "not known"
"""The content of the part of a source whose sdist has not been made."""
_PROJECT = "{project}"


@dataclass(frozen=True)
class Part:
    """A part of a key: named values, or digests of them."""

    values: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the values, in hexadecimal."""
        return digest_of({"values": dict(self.values)})


@dataclass(frozen=True)
class Key:
    """Everything that a wheel depends on."""

    parts: Mapping[str, Part]
    files_with_tables: Mapping[str, str] = field(default_factory=dict)
    """The digests of files with tables of polywheel. They count only for wheels that contain these files."""

    origin: Part | None = None
    """The files that the sdist was made from. A wheel depends on them by the sdist, but users know these files."""

    def allows(self, contained: Mapping[str, str]) -> bool:
        """Whether files with tables of polywheel that a wheel contains are still the same."""
        return all(self.files_with_tables.get(name) == text for name, text in contained.items())

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """The digest of each part by its name."""
        return {name: part.digest for name, part in self.parts.items()}

    @cached_property
    def build(self) -> str:
        """The digest of everything that the unstamped wheel depends on."""
        return digest_of({name: text for name, text in self.digests.items() if name != STAMP})

    @cached_property
    def digest(self) -> str:
        """The digest of everything."""
        return digest_of(self.digests)


@dataclass(frozen=True, kw_only=True)
class KeyMaker:
    """Makes the keys of the builds of one source."""

    project: Project
    choice: BackendChoice
    context: WorkerContext
    source: Source
    """The unpacked sdist; the source itself if there is no sdist."""

    origin: Source
    """The source as it was read."""

    tools: ToolVersions
    reads_variant: bool
    """Whether a build may read its label and its properties."""

    compiler_cache: str = ""
    """``ccache`` if builds use it: it changes paths in debug information. Empty for other or no compiler caches."""

    knows_source: bool = True
    """False for a dry run, if the sdist of the source has not been made yet."""

    @cached_property
    def source_part(self) -> Part:
        """The files of the source, without the tables that polywheel reads."""
        return self._files(self.source) if self.knows_source else Part({NOT_KNOWN: ""})

    @cached_property
    def origin_part(self) -> Part:
        """The files that the sdist is made from."""
        return self._files(self.origin)

    def _files(self, source: Source) -> Part:
        return Part(contents_without_tables(source, self._names_with_tables(source)))

    def _names_with_tables(self, source: Source) -> list[str]:
        return names_with_tables(source, self.context.config, self.project.source)

    @cached_property
    def polywheel_part(self) -> Part:
        """The version and the code of polywheel."""
        return Part({"version": __version__, "code": self.context.polywheel.name})

    @cached_property
    def files_with_tables(self) -> Mapping[str, str]:
        """The digests of the files of the source with tables that polywheel reads."""
        return digests(self.source, self._names_with_tables(self.source))

    def contained_files(self, wheel: Path) -> dict[str, str]:
        """Return the digests of the files with tables of polywheel that a wheel contains, maybe changed by the build.

        Raises WheelError.
        """
        contained = {}
        with os_error_as(WheelError, f"{wheel.name} can't be read", at=wheel.parent):
            with open_regular(wheel) as file:
                members = open_archive(file, wheel).members
            contents = {(member.size, member.crc) for member in members}
            names = {PurePosixPath(member.name).name for member in members}
            for name, digest in self.files_with_tables.items():
                content = (self.source.root / name).read_bytes()
                has_content = (len(content), zlib.crc32(content)) in contents
                if has_content or PurePosixPath(name).name in names:
                    contained[name] = digest
        return contained

    def keys(
        self,
        jobs: Sequence[Job],
        settings: BuildSettings,
        interpreter: Interpreter,
        environment: Environment | None,
    ) -> dict[str, Key]:
        """Return the keys of the jobs of a build by their ids.

        Without an environment a key has no part for it, and equals no other key. Raises ConfigError for rules
        that contradict each other.
        """
        setups = self._setups(jobs, settings, interpreter.version)
        parts = {
            "source": self.source_part,
            "setup": self._setup_part(jobs, setups),
            "interpreter": Part({"interpreter": interpreter.identity}),
            **self._common_parts(settings),
        }
        if environment is not None:
            parts[ENVIRONMENT] = Part(environment.distributions)
        return {
            job.id: Key(
                {**parts, STAMP: self._stamp_part(job, setup, environment)},
                self.files_with_tables,
                self.origin_part,
            )
            for job, setup in zip(jobs, setups, strict=True)
        }

    def project_parts(
        self,
        job: Job,
        jobs: Sequence[Job],
        settings: BuildSettings,
        python: str,
        environment: Environment | None = None,
    ) -> dict[str, Part]:
        """Return the parts of a key that the files of the project decide about. ``python`` is a full version."""
        setups = self._setups(jobs, settings, python)
        return {
            "source": self.source_part,
            "setup": self._setup_part(jobs, setups),
            STAMP: self._stamp_part(job, setups[jobs.index(job)], environment),
        }

    def requirements_key(
        self,
        jobs: Sequence[Job],
        settings: BuildSettings,
        interpreter: Interpreter,
        base: Environment,
    ) -> str:
        """Return the digest of everything that the answer of the backend about its requirements depends on."""
        setups = self._setups(jobs, settings, interpreter.version)
        parts = {
            "source": self.source_part,
            "setup": self._setup_part(jobs, setups),
            **self._common_parts(settings),
            ENVIRONMENT: Part({**base.distributions, "folder": base.folder.name}),
        }
        return Key(parts).digest

    def _common_parts(self, settings: BuildSettings) -> dict[str, Part]:
        variables = {
            **build_variables(),
            **effective_variables(self.context, settings.environment),
        }
        return {
            "polywheel": self.polywheel_part,
            "tools": Part(tools_by_name(self.tools.of(settings))),
            "settings": Part(
                {
                    **{
                        f"config setting {name}": _text(value)
                        for name, value in {
                            **settings.config_settings,
                            **self.context.settings,
                        }.items()
                    },
                    "before-all": _text(settings.before_all),
                    "before-build": _text(settings.before_build),
                    "repair-command": _text(settings.repair_command),
                    "compiler-cache": self.compiler_cache,
                }
            ),
            "variables": part_of_secrets(variables),
            "epoch": Part({"SOURCE_DATE_EPOCH": str(self.context.epoch)}),
        }

    def _setups(
        self, jobs: Sequence[Job], settings: BuildSettings, python: str
    ) -> list[BuildSetup]:
        """The build setup of each job, without the answers of plugins."""
        variables = {
            **os.environ,
            **variables_of_settings(self.context, settings.environment),
        }
        sources = SetupSources(
            rules=self.project.settings.setup,
            presets=project_presets(self.project),
            namespaces=self.project.metadata.namespaces,
            compiler=compiler_family(variables)[0],
            backend=self.choice.profile_name,
            source=self.project.source,
            environment=local_marker_environment(python),
        )
        return [
            BuildSetup()
            if job.label is None
            else merge_rules(Variant(job.properties, job.label), sources)
            for job in jobs
        ]

    def _setup_part(self, jobs: Sequence[Job], setups: Sequence[BuildSetup]) -> Part:
        """The build setup of a build, and how its backend gets it.

        If one of the jobs has no variant, its backend gets none, and otherwise that of the first job.
        """
        choice = self.choice
        values = {
            "build-backend": choice.build_backend,
            "backend-path": _text(choice.backend_path),
            "profile": _short_digest(_text(asdict(choice.profile) if choice.profile else None)),
            # A wheel without compiled code is an error, if it gets a label and the project does not allow it.
            "has label": _text(any(job.label is not None for job in jobs)),
            "compiled": _text(self.project.settings.compiled),
            "strict": _text(self.project.settings.strict),
        }
        if all(job.label is not None for job in jobs):
            for name, texts in named_values([comparable(setups[0])], [""]).items():
                values[name] = shlex.join(texts).replace(str(self.project.source), _PROJECT)
            values.pop("dependencies", None)  # a part of the stamp
            values |= self._plugins(jobs)
        if self.reads_variant:
            values["variants"] = _text([[job.label, *map(str, job.properties)] for job in jobs])
        return Part(values)

    def _plugins(self, jobs: Sequence[Job]) -> dict[str, str]:
        """What plugins are asked for a build, and the rules that their answers are merged with.

        Their code is a part of the environment.
        """
        values = {}
        rules: list[object] = []
        for job in jobs:
            variant = Variant(job.properties, job.label or "")
            # Without properties, a plugin is only asked for what the stamp has.
            asked = [query for query in queries(self._providers(job), variant) if query.properties]
            for query in asked:
                texts = (query.reference, *query.requires, *map(str, query.properties))
                values[f"provider {query.namespace}"] = _text(texts)
            if asked:
                rules += [
                    asdict(replace(rule, at=""))
                    for rule in self.project.settings.setup
                    if _is_for(rule, variant)
                ]
        if values:
            values["rules"] = _short_digest(_text([rules, self.project.settings.presets]))
        return values

    def _providers(self, job: Job) -> tuple[BuildProvider, ...]:
        return build_providers(self.project, Variant(job.properties, job.label or ""))

    def _stamp_part(self, job: Job, setup: BuildSetup, environment: Environment | None) -> Part:
        # A wheel is audited after it was stamped.
        own = self.project.settings.audit
        audit = _short_digest(_text(asdict(own))) if own.builds != "off" else ""
        if job.label is None:
            return Part({"label": "", "audit": audit})
        variant, metadata = Variant(job.properties, job.label), self.project.metadata
        values = {
            "label": job.label,
            "audit": audit,
            "properties": _text(list(map(str, job.properties))),
            "dependencies": _text([entry.value for entry in setup.dependencies]),
            "metadata": _short_digest(_text(list(variant_fields(variant, metadata))))
            if self.project.settings.metadata_fields
            else "",
        }
        if any(provider.fills_static for provider in self._providers(job)):
            # The static properties are what its plugin answers.
            known = environment.distributions if environment is not None else None
            values["variant.json"] = _short_digest(
                _text([asdict(replace(metadata, variants={})), known])
            )
        else:
            values["variant.json"] = _short_digest(variant_json(variant, metadata).decode())
        return Part(values)


def part_of_secrets(values: Mapping[str, str]) -> Part:
    """Return a part with the digests of values that may be secret."""
    return Part({name: _short_digest(text) for name, text in values.items()})


def tools_by_name(versions: Iterable[str]) -> dict[str, str]:
    """Return the versions of tools by their names."""
    named = (text.partition(": ") for text in versions)
    return {name: version for name, _, version in named}


def _is_for(rule: SetupRule, variant: Variant) -> bool:
    """Whether a rule may say something about the build setup of a variant."""
    if rule.label_glob is not None:
        return fnmatchcase(variant.label, rule.label_glob)
    return not rule.target or any(rule.is_about(prop) for prop in variant.properties)


def _text(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """A value as text, the same for equal values."""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, default=repr, ensure_ascii=False)


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
