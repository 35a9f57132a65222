"""The sdist of a source, made once and unpacked: what every build of a run is made of.

Where the backend can't make one (meson-python outside of a checkout, say) the source itself is built.
meson-python's holds what is committed, so a checkout with changes is built as it stands.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polywheel.providers.environment import cache_directory
from polywheel.run.checkout import state_around, top
from polywheel.run.environments import Environment, Environments
from polywheel.run.interpreters import Interpreter
from polywheel.run.journal import sha256_of
from polywheel.run.keys import digest_of
from polywheel.run.locked import held
from polywheel.run.orders import StepFailedError, Time, Workshop, order
from polywheel.run.source import Source, kept_source, read_source, sdist_source

_COMMITTED_ONLY = ("meson-python",)
"""Profiles of backends whose sdists leave out what is not committed."""

_CANNOT = "polywheel-cannot.json"
_TELLING = (
    *("SETUPTOOLS_", "VCS_VERSIONING_", "HATCH_", "PDM_", "POETRY_", "FLIT_", "SKBUILD_"),
    *("VERSIONINGIT_", "MESON", "CMAKE_", "DISTUTILS_", "CIBW_", "CI"),
)
"""How variables begin that tell backends, and version tools, what to put into an sdist."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SdistMaker:
    """Makes sdists, in the environment of one interpreter."""

    shop: Workshop
    interpreter: Interpreter
    environments: Environments
    requires: Sequence[str]
    profile: str | None
    place: Path
    """Where the copy of the source lies meanwhile."""

    log: Path
    notify: Callable[[str], None]

    def unpacked_sdist(self, tree: Source) -> Source:
        """The unpacked sdist of a source, or the source itself where there can be none.

        Either is in the cache: what is edited from now on has no effect. Raises BuildError.
        """
        if self.profile in _COMMITTED_ONLY and (not tree.is_checkout or tree.changed):
            return tree.frozen()
        base = self.environments.get(self.interpreter, self.requires)
        kept = cache_directory() / "sdists" / self._key(tree, base)[:32]
        with held(
            self.place / "sdist.lock",
            stop=self.shop.stop,
            waiting=lambda: self.notify("waiting for another run that makes the sdist"),
        ):
            found, why = kept_source(kept), _reason(kept)
            if found is None and why is None:
                try:
                    return self._make(tree, base, kept)
                except StepFailedError as error:
                    why = error.problems[0].what.splitlines()[0]
                    kept.mkdir(parents=True, exist_ok=True)
                    (kept / _CANNOT).write_text(json.dumps(why), encoding="ascii")
        if found is not None:
            return found
        self.notify(f"no sdist can be made, so the source is built as it stands: {why}")
        return tree.frozen()

    def _key(self, tree: Source, base: Environment) -> str:
        config = self.shop.config
        return digest_of(
            {
                "source": tree.digest,
                "around": state_around(tree.root) if tree.prefix else None,
                "epoch": self.shop.epoch,
                "resolved": base.resolved,
                "environment": base.folder.name,
                "polywheel": self.shop.polywheel.name,
                "config": sha256_of(config) if config is not None else None,
                "settings": dict(self.shop.settings),
                "variables": {
                    name: text for name, text in os.environ.items() if name.startswith(_TELLING)
                },
            }
        )

    def _make(self, tree: Source, base: Environment, kept: Path) -> Source:
        copy = self.place / "sdist"
        # Of a part of a checkout the whole is copied: that is where its version comes from.
        whole = read_source(top(tree.root)) if tree.prefix else tree
        whole.copy_to(copy)
        source = copy / tree.prefix
        self.log.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="polywheel-", dir=self.place) as folder:
            out = Path(folder)
            limit = Time(self.shop.seconds)
            more = self._order("sdist-requires", base, source, out, limit)["requires"]
            environment = base
            if more:
                environment = self.environments.get(self.interpreter, [*self.requires, *more])
            said = self._order("sdist", environment, source, out, limit)
            made = out / Path(str(said["sdist"])).name
            if not made.is_file():
                raise StepFailedError(f"the real backend names an sdist that is not there: {made}")
            found = sdist_source(made, kept=kept, epoch=self.shop.epoch)
        shutil.rmtree(copy, ignore_errors=True)
        return found

    def _order(
        self, step: str, environment: Environment, source: Path, out: Path, limit: Time
    ) -> dict[str, Any]:
        return order(
            self.shop,
            step,
            [],
            environment=environment,
            source=source,
            scratch=out,
            out=out,
            log=self.log,
            limit=limit,
        )


def _reason(kept: Path) -> str | None:
    """Why no sdist can be made; None where nobody tried."""
    try:
        return str(json.loads((kept / _CANNOT).read_text(encoding="ascii")))
    except (OSError, ValueError):
        return None
