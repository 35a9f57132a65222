"""The options of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polywheel.system.cache import cache_directory
from polywheel.system.limits import cpu_count


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """The options of a run; see docs/build.md for what each of them does."""

    out: Path
    """The folder for the wheels."""

    at_once: int = field(default_factory=cpu_count)
    """Jobs at a time, and compile slots for all of them together; by default one for each processor."""

    logs: Path = Path()
    """The folder for logs; by default the folder ``logs`` in ``out``."""

    keep_going: bool = True
    fresh: bool = False
    """Whether kept environments are made anew."""

    force: bool = False
    """Whether a wheel of another origin may be written over."""

    keep_work: bool = False
    """Whether the files of builds that fail are kept."""

    prune: bool = False
    """Whether stale wheels that polywheel has made are removed."""

    install_python: bool = False
    all_of_it: bool = False
    """Whether builds for other machines were asked for too, and not only come with the plan."""

    config: Path | None = None
    settings: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Config settings for the real backend."""

    seconds: float | None = None
    """How long the steps of one build may take together; None where the targets say."""

    memory_per_job: int | None = None
    """Bytes; None where the targets say."""

    report: Path | None = None
    """Where the report will be written, which is no part of the source."""

    cibuildwheel: tuple[str, ...] | None = None
    """The options for the cibuildwheel that makes the wheels; None where polywheel makes them."""

    recorded: Mapping[str, float] = field(default_factory=dict)
    """Seconds that jobs took, from an earlier report."""

    def __post_init__(self) -> None:
        """Make the paths absolute: workers run in other folders."""
        for name in ("out", "logs", "config", "report"):
            path = getattr(self, name)
            if name == "logs" and path == Path():
                path = self.out / "logs"
            if path is not None:
                object.__setattr__(self, name, path.resolve())

    @property
    def config_name(self) -> str:
        """The name of the file with the tables; empty where the project's own are read."""
        return self.config.name if self.config is not None else ""

    def no_source(self) -> list[Path]:
        """What may lie in a source folder, and is none of it."""
        report = [self.report] if self.report is not None else []
        return [self.out, self.logs, cache_directory(), *report]
