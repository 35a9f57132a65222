"""Make the sdist of a source once, and unpack it. All builds of a run use it.

It is made with the variables that all builds have in common. So it does not depend on the selection of builds.
If the backend can't make an sdist, the source itself is built. The sdists of meson-python have only committed
files. They are used only for checkouts without changes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from polywheel.backend.requirements import check_requirements
from polywheel.config.reader import normalized_requirements
from polywheel.environments.virtual_environments import Environment, Environments, Interpreter
from polywheel.errors import BuildError
from polywheel.model.plan import Build
from polywheel.model.setup import BackendChoice
from polywheel.run.fingerprint import build_variables, digest_of, effective_variables
from polywheel.run.source.git import checkout_root
from polywheel.run.source.own_tables import (
    contents_without_tables,
    copy_with_tables,
    digests,
    names_with_tables,
)
from polywheel.run.source.snapshot import (
    Source,
    cached_source,
    read_source,
    source_changed_error,
    unpack_source,
)
from polywheel.run.work_folder import open_work_folder
from polywheel.run.worker.protocol import SdistStep
from polywheel.run.worker.requests import (
    StepContext,
    StepFailedError,
    TimeBudget,
    WorkerContext,
    installer_variables,
    run_step,
)
from polywheel.system.cache import cache_directory
from polywheel.system.cache_manifest import write_json
from polywheel.system.files import sha256_of
from polywheel.system.locks import hold_lock

_COMMITTED_ONLY = ("meson-python",)
"""Profiles of backends whose sdists leave out uncommitted files."""

_CANNOT = "polywheel-cannot.json"
_LAST = "last-sdist.json"
_SDIST_VARIABLES = "CI"
"""The prefix of variables that sdists may depend on, but wheels do not: CI, CI_COMMIT_TAG."""


_VERSION = re.compile(
    r"(.*_)?(PRETEND|PBR|SCM|BUILD|PROJECT|PACKAGE|RELEASE|WHEEL|LOCAL)_VERSION(_.*)?"
    r"|VERSION|.*VERSION_SUFFIX|.*VERSIONING_BYPASS|SETUPTOOLS_SCM_OVERRIDES_.*"
)
"""Variables that set the version of a project, such as SETUPTOOLS_SCM_PRETEND_VERSION_FOR_DEMO."""


class _NoSdistError(StepFailedError):
    """The backend can't make an sdist of this source, and would fail again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistVariables:
    """The variables of builds' settings for the one sdist of all builds."""

    common: Mapping[str, str] = field(default_factory=dict)
    """The variables with the same value in all builds. The sdist is made with them."""

    of_version: str | None = None
    """A variable for the version of the project that has different values. Then there can't be one sdist."""

    @classmethod
    def of(cls, builds: Sequence[Build], project: str | None) -> SdistVariables:
        """Return the variables of builds of a project."""
        all_variables = [build.settings.environment for build in builds]
        names = dict.fromkeys(name for variables in all_variables for name in variables)
        own = re.sub(r"\W", "_", f"{project}_VERSION".upper())
        common: dict[str, str] = {}
        for name in names:
            values = {variables.get(name) for variables in all_variables}
            if len(values) == 1:
                common[name] = all_variables[0][name]
            elif name == own or _VERSION.fullmatch(name):
                return cls(of_version=name)
        return cls(common=common)


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistMaker:
    """Makes sdists in the environment of one interpreter."""

    context: WorkerContext
    interpreter: Interpreter
    environments: Environments
    requires: Sequence[str]
    choice: BackendChoice
    project: Path
    """The folder of the project."""

    folder: Path
    """The folder for the copy of the source."""

    log: Path
    notify: Callable[[str], None]
    installer_settings: Mapping[str, str]
    """The variables of a build's settings. Those of pip and uv are for the environment."""

    variables: SdistVariables

    without: Sequence[Path] = ()
    """The folders that the run writes to. They are not part of the source or of its checkout."""

    fresh: bool = False
    """Whether a backend that made no sdist in an earlier run tries again."""

    only_find: bool = False
    """Whether no sdist is made."""

    def unpacked_sdist(self, tree: Source) -> Source | None:
        """Return the unpacked sdist of a source, or the source itself if there can be no sdist.

        Both have the source as it was read: later edits have no effect. Returns None if there is no sdist yet,
        and none is made. Raises BuildError, also if the source has changed since it was read.
        """
        part = tree.freeze(fresh=self.fresh)
        if self.choice.profile_name in _COMMITTED_ONLY and (not tree.is_checkout or tree.changed):
            return part
        if self.variables.of_version is not None:
            self.notify(
                "the source is built without an sdist: builds have different values of "
                f"{self.variables.of_version}, and an sdist has one version"
            )
            return part
        # Creating the environment may take minutes, and so may waiting for another run.
        whole = self._around(tree.root, part) if tree.prefix else part
        # The files of an existing environment are checked when it is used.
        variables = installer_variables(self.context, self.installer_settings, project=part.root)
        base = self.environments.find(self.interpreter, self.requires, variables)
        if base is None:
            if self.only_find:
                return None
            base = self.environments.get(self.interpreter, self.requires, variables)
        sdists, names = cache_directory() / "sdists", self._names_with_tables(part)
        kept = sdists / self._key(part, whole, base)[:32]
        last = _LastSdist(self.folder / _LAST, self._key(part, whole, base, without=names))
        with hold_lock(
            self.folder / "sdist.lock",
            stop=self.context.stop,
            waiting=lambda: self.notify("waiting for another run that makes the sdist"),
            seconds=self.context.time_limit,
        ):
            try:
                return self._find_or_make(whole, part, kept, last, variables)
            except StepFailedError as error:
                self.notify(
                    "making the sdist failed, so the source is built without an sdist, and the next "
                    f"run tries again: {_first_line(error)}; see {self.log}"
                )
                return part

    def _find_or_make(
        self,
        whole: Source,
        part: Source,
        kept: Path,
        last: _LastSdist,
        for_installer: Mapping[str, str],
    ) -> Source | None:
        """Return the unpacked sdist, or the source if the backend makes none; None if none may be made.

        Raises StepFailedError if the backend fails, and BuildError for other failures.
        """
        names = self._names_with_tables(part)
        sdist, why = None, None
        if not self.fresh:
            sdist, why = cached_source(kept), _reason(kept)
            if sdist is None and why is None:
                sdist, why = last.with_tables_of(part, names, kept)
        if sdist is None and why is None:
            if self.only_find:
                return None
            sdist, why = self._try_to_make(whole, part.prefix, kept, for_installer)
            last.write(kept, digests(part, names), why)
        if sdist is None:
            self.notify(f"the source is built without an sdist: {why}")
        return sdist or part

    def _try_to_make(
        self, whole: Source, prefix: str, kept: Path, for_installer: Mapping[str, str]
    ) -> tuple[Source | None, str | None]:
        """Return the unpacked sdist, or the reason why the backend makes none, now and later.

        Raises StepFailedError if the backend fails, and BuildError for other failures.
        """
        try:
            return self._make(whole, prefix, kept, for_installer), None
        except _NoSdistError as error:
            why = _first_line(error)
            kept.mkdir(parents=True, exist_ok=True)
            (kept / _CANNOT).write_text(json.dumps(why), encoding="ascii")
            return None, why
        except StepFailedError:
            raise
        except BuildError as error:
            if self.context.stop.is_set():
                raise
            what = f"making the sdist: {_first_line(error)}"
            raise BuildError(what, at=str(self.log)) from None

    def _around(self, root: Path, part: Source) -> Source:
        """Return the checkout that contains a source: its version comes from there.

        Raises BuildError if the source has changed since it was read.
        """
        around = read_source(checkout_root(root), without=[*self.without, self.log.parent])
        whole = around.freeze(fresh=self.fresh)
        if not part.has_same_content(whole.root / part.prefix):
            raise source_changed_error()
        return whole

    def _names_with_tables(self, part: Source) -> list[str]:
        return names_with_tables(part, self.context.config, self.project)

    def _key(
        self, part: Source, whole: Source, base: Environment, *, without: Sequence[str] = ()
    ) -> str:
        """The digest of what an sdist depends on. The tables of polywheel in the files ``without`` do not count."""
        config = self.context.config
        around: object = whole.digest if part.prefix else None
        if without and part.prefix:
            inside = [f"{part.prefix}{name}" for name in without]
            around = contents_without_tables(whole, inside)
        variables = {
            name: text for name, text in os.environ.items() if name.startswith(_SDIST_VARIABLES)
        }
        return digest_of(
            {
                "source": contents_without_tables(part, without) if without else part.digest,
                "around": around,
                "backend": [self.choice.build_backend, self.choice.backend_path],
                "profile": repr(self.choice.profile),
                "epoch": self.context.epoch,
                "distributions": base.distributions,
                "environment": base.folder.name,
                "polywheel": self.context.polywheel.name,
                "config": sha256_of(config) if config is not None and not without else None,
                "settings": dict(self.context.settings),
                "variables": {**build_variables(), **variables},
                "common": effective_variables(self.context, self.variables.common),
            }
        )

    def _make(
        self, whole: Source, prefix: str, kept: Path, for_installer: Mapping[str, str]
    ) -> Source:
        """Make an sdist of a copy, and return the unpacked sdist. Raises BuildError."""
        with open_work_folder(self.folder / "sdist") as work:
            base = self.environments.get(self.interpreter, self.requires, for_installer)
            whole.copy_to(work.source)
            work.scratch.mkdir()
            self.log.unlink(missing_ok=True)
            step_context = StepContext(
                worker_context=self.context,
                source=work.source / prefix,
                scratch=work.scratch,
                log=self.log,
                time_budget=TimeBudget(self.context.time_limit),
                variables=self.variables.common,
                settings={},
                keep_open=(work.lock,),
                messages=[],
            )
            out = str(work.scratch)
            step = SdistStep(out=out, installed=normalized_requirements(self.requires))
            result = run_step(step, step_context, base)
            if result.missing:
                more = check_requirements(result.missing)
                requires = [*self.requires, *more]
                environment = self.environments.get(self.interpreter, requires, for_installer)
                result = run_step(SdistStep(out=out), step_context, environment)
            if result.file is None:
                raise _NoSdistError(result.reason)
            sdist = work.scratch / result.file
            if not sdist.is_file():
                raise StepFailedError(f"the sdist of the real backend does not exist: {sdist.name}")
            return unpack_source(sdist, kept=kept, epoch=self.context.epoch, fresh=self.fresh)


@dataclass(frozen=True, slots=True)
class _LastSdist:
    """The last sdist of a source, for a source that differs only in the tables of polywheel."""

    note: Path
    key: str
    """The digest of everything else that it depends on."""

    def write(self, kept: Path, tables: Mapping[str, str], why: str | None) -> None:
        """Note the folder of an sdist, and the digests of the files with tables that it was made from.

        ``why`` is the reason if the backend makes no sdist.
        """
        note = {"key": self.key, "sdist": kept.name, "tables": dict(tables), "why": why}
        with suppress(OSError):  # the next sdist is made again
            write_json(self.note, note)

    def with_tables_of(
        self, source: Source, names: Sequence[str], kept: Path
    ) -> tuple[Source | None, str | None]:
        """Return a copy of that sdist with the files of a source, or the reason why the backend makes none.

        The sdist must have the files as they were. Otherwise, both are None.
        """
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if note["key"] != self.key:
                return None, None
            if note["why"] is not None:
                return None, str(note["why"])
            last = cached_source(kept.with_name(str(note["sdist"])))
            if last is None or digests(last, names) != note["tables"]:
                return None, None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None, None
        return copy_with_tables(last, source, names, kept), None


def _first_line(error: BuildError) -> str:
    return error.problems[0].what.splitlines()[0]


def _reason(kept: Path) -> str | None:
    """Return why no sdist can be made; None if no run has tried."""
    try:
        return str(json.loads((kept / _CANNOT).read_text(encoding="ascii")))
    except (OSError, ValueError, RecursionError):
        return None
