"""The sdist of a source, made once and unpacked: what every build of a run is made of.

Where the backend makes none the source itself is built. meson-python's holds what is committed, and
is made in a checkout only; anything else, and a checkout with changes, is built as it stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.environments.environments import Environment, Environments, Interpreter
from polywheel.errors import BuildError
from polywheel.run.build_requirements import check_requirements
from polywheel.run.fingerprint import build_variables, digest_of
from polywheel.run.source.git import checkout_root
from polywheel.run.source.snapshot import Source, cached_source, read_source, unpack_source
from polywheel.run.source.tree import content_digest
from polywheel.run.work_folder import WorkFolder, open_work_folder
from polywheel.run.worker.protocol import SdistRequirementsStep, SdistStep
from polywheel.run.worker.requests import (
    StepContext,
    StepFailedError,
    TimeBudget,
    WorkerContext,
    run_step,
)
from polywheel.system.cache import cache_directory
from polywheel.system.files import sha256_of
from polywheel.system.locks import hold_lock
from polywheel.system.source_files import source_entries

_COMMITTED_ONLY = ("meson-python",)
"""Profiles of backends whose sdists leave out what is not committed."""

_CANNOT = "polywheel-cannot.json"
_TELLING = "CI"
"""How variables begin that wheels do not depend on, and sdists may: CI, CI_COMMIT_TAG."""


class _NoSdistError(StepFailedError):
    """The backend makes no sdist of this, and would say so again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistMaker:
    """Makes sdists, in the environment of one interpreter."""

    shop: WorkerContext
    interpreter: Interpreter
    environments: Environments
    requires: Sequence[str]
    profile: str | None
    place: Path
    """Where the copy of the source lies meanwhile."""

    log: Path
    notify: Callable[[str], None]
    without: Sequence[Path] = ()
    """Where the run writes: no part of a checkout around the source either."""

    fresh: bool = False
    """Whether a backend that made none in an earlier run is asked again."""

    def unpacked_sdist(self, tree: Source) -> Source:
        """The unpacked sdist of a source, or the source itself where there can be none.

        Either is made of the source as it was read: what is edited meanwhile has no effect. Raises
        BuildError, also where it has changed already.
        """
        part = tree.frozen(fresh=self.fresh)
        if self.profile in _COMMITTED_ONLY and (not tree.is_checkout or tree.changed):
            return part
        # Making the environment may take minutes, and so may another run that is waited for.
        whole = self._around(tree.root, part) if tree.prefix else part
        base = self._base()
        kept = cache_directory() / "sdists" / self._key(part, whole, base)[:32]
        with hold_lock(
            self.place / "sdist.lock",
            stop=self.shop.stop,
            waiting=lambda: self.notify("waiting for another run that makes the sdist"),
            seconds=self.shop.seconds,
        ):
            found, why = (None, None) if self.fresh else (cached_source(kept), _reason(kept))
            if found is None and why is None:
                try:
                    found = self._made(whole, part.prefix, kept)
                except _NoSdistError as error:
                    why = _first_line(error)
                    kept.mkdir(parents=True, exist_ok=True)
                    (kept / _CANNOT).write_text(json.dumps(why), encoding="ascii")
                except StepFailedError as error:
                    self.notify(
                        "making the sdist failed, so the source is built as it stands, and the next "
                        f"run tries again: {_first_line(error)}; see {self.log}"
                    )
                    return part
                except BuildError as error:
                    if self.shop.stop.is_set():
                        raise
                    what = f"making the sdist: {_first_line(error)}"
                    raise BuildError(what, at=str(self.log)) from None
        if found is not None:
            return found
        self.notify(f"no sdist can be made, so the source is built as it stands: {why}")
        return part

    def _base(self) -> Environment:
        """The environment to begin with; its files are looked at when it is used."""
        kept = self.environments.find(self.interpreter, self.requires)
        return kept or self.environments.get(self.interpreter, self.requires)

    def _around(self, root: Path, part: Source) -> Source:
        """The checkout that a source is a part of: that is where its version comes from.

        Raises BuildError where the part has changed since it was read.
        """
        around = read_source(checkout_root(root), without=[*self.without, self.log.parent])
        whole = around.frozen(fresh=self.fresh)
        if _contents(whole.root / part.prefix, part.files) != _contents(part.root, part.files):
            raise BuildError("the source changed while it was read", hint="run it again")
        return whole

    def _key(self, part: Source, whole: Source, base: Environment) -> str:
        config = self.shop.config
        told = {name: text for name, text in os.environ.items() if name.startswith(_TELLING)}
        return digest_of(
            {
                "source": part.digest,
                "around": whole.digest if part.prefix else None,
                "epoch": self.shop.epoch,
                "resolved": base.resolved,
                "content": base.content,
                "environment": base.folder.name,
                "polywheel": self.shop.polywheel.name,
                "config": sha256_of(config) if config is not None else None,
                "settings": dict(self.shop.settings),
                "variables": {**build_variables(), **told},
            }
        )

    def _made(self, whole: Source, prefix: str, kept: Path) -> Source:
        """The sdist that the backend makes of a copy, unpacked. Raises BuildError."""
        with open_work_folder(self.place / "sdist") as work:
            return self._made_in(work, whole, prefix, kept)

    def _made_in(self, work: WorkFolder, whole: Source, prefix: str, kept: Path) -> Source:
        base = self.environments.get(self.interpreter, self.requires)
        copy, out = work.source, work.scratch
        whole.copy_to(copy)
        out.mkdir()
        self.log.unlink(missing_ok=True)
        step_context = StepContext(
            source=copy / prefix,
            scratch=out,
            log=self.log,
            limit=TimeBudget(self.shop.seconds),
            keep_open=(work.lock,),
            messages=[],
        )
        more = check_requirements(
            run_step(SdistRequirementsStep(), self.shop, step_context, base).requires
        )
        environment = base
        if more:
            environment = self.environments.get(self.interpreter, [*self.requires, *more])
        result = run_step(SdistStep(out=str(out)), self.shop, step_context, environment)
        if result.file is None:
            raise _NoSdistError(result.reason)
        made = out / result.file
        if not made.is_file():
            raise StepFailedError(f"the real backend names an sdist that is not there: {made.name}")
        return unpack_source(made, kept=kept, epoch=self.shop.epoch, fresh=self.fresh)


def _contents(root: Path, files: Sequence[str]) -> list[tuple[str, bytes]]:
    return [
        (name, content_digest(root / name, status)) for name, status in source_entries(root, files)
    ]


def _first_line(error: BuildError) -> str:
    return error.problems[0].what.splitlines()[0]


def _reason(kept: Path) -> str | None:
    """Why no sdist can be made; None where nobody tried."""
    try:
        return str(json.loads((kept / _CANNOT).read_text(encoding="ascii")))
    except (OSError, ValueError, RecursionError):
        return None
