"""The sdist of a source, made once and unpacked: what every build of a run is made of.

Where the backend can't make one (meson-python outside of a checkout, say) the source itself is built.
meson-python's holds what is committed, so a checkout with changes is built as it stands.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polywheel.errors import BuildError
from polywheel.providers.environment import cache_directory
from polywheel.run.environments import Environment, Environments
from polywheel.run.interpreters import Interpreter
from polywheel.run.keys import digest_of
from polywheel.run.orders import Workshop, order
from polywheel.run.source import Source, read_source, unpacked

_COMMITTED_ONLY = ("meson-python",)
"""Profiles of backends whose sdists leave out what is not committed."""


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
        """The unpacked sdist of a source, or the source itself where there can be none."""
        if self.profile in _COMMITTED_ONLY and (not tree.git or tree.changed):
            return tree
        base = self.environments.get(self.interpreter, self.requires)
        key = digest_of(
            {
                "source": tree.digest,
                "resolved": base.resolved,
                "environment": base.folder.name,
                "polywheel": self.shop.polywheel.name,
                "settings": dict(self.shop.settings),
            }
        )
        kept = cache_directory() / "sdists" / key[:32]
        if not kept.is_dir():
            try:
                self._make(tree, base, kept)
            except BuildError as error:
                if self.shop.stop.is_set():
                    raise
                why = error.problems[0].what.splitlines()[0]
                self.notify(f"no sdist can be made, so the source is built as it stands: {why}")
                kept.mkdir(parents=True, exist_ok=True)
        found = [one for one in kept.iterdir() if one.is_dir()]
        return read_source(found[0], epoch=tree.epoch) if found else tree

    def _make(self, tree: Source, base: Environment, kept: Path) -> None:
        source = self.place / "sdist"
        tree.copy_to(source)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="new-") as folder:
            out, made = Path(folder, "out"), Path(folder, "made")
            out.mkdir()
            made.mkdir()
            more = self._order("sdist-requires", base, source, out)["requires"]
            environment = base
            if more:
                environment = self.environments.get(self.interpreter, [*self.requires, *more])
            said = self._order("sdist", environment, source, out)
            unpacked(out / Path(str(said["sdist"])).name, made)
            if not kept.is_dir():
                made.rename(kept)
        shutil.rmtree(source, ignore_errors=True)

    def _order(
        self, step: str, environment: Environment, source: Path, out: Path
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
        )
