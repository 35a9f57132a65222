"""The options of a run, and the callbacks for its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.config.selection import refuse_variant_settings
from polywheel.errors import ConfigError
from polywheel.system.cache import cache_directory
from polywheel.system.limits import cpu_count

if TYPE_CHECKING:
    from polywheel.model.plan import Build
    from polywheel.run.outcome import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """The options of a run; see docs/build.md for what each of them does."""

    out: Path
    """The folder for the wheels."""

    max_parallel: int = field(default_factory=cpu_count)
    """Builds in parallel, and their compile slots together; by default the number of processors."""

    logs: Path | None = None
    """The folder for logs; by default the folder ``logs`` in ``out``."""

    keep_going: bool = True
    fresh: bool = False
    """Whether environments in the cache are created again."""

    rebuild: bool = False
    """Whether wheels are built again that are up to date, or whose content is in the cache."""

    dry_run: bool = False
    """Whether nothing is built, and the output directory is not touched."""

    force: bool = False
    """Whether a wheel of another origin may be overwritten."""

    keep_work: bool = False
    """Whether the files of builds that fail are kept."""

    prune: bool = False
    """Whether stale wheels that polywheel made are removed."""

    install_python: bool = False
    elsewhere_fails: bool = False
    """Whether builds for other machines were chosen by name, so that the run fails without them."""

    config: Path | None = None
    settings: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Config settings for the real backend."""

    compiler_cache: str | None = None
    """A value of the setting `compiler-cache`; None: the variable, or the project's setting."""

    time_limit: float | None = None
    """Seconds that the steps of one build may take together; None: the targets' ``job-timeout``."""

    memory_per_job: int | None = None
    """Bytes; None: the targets' ``memory-per-job``."""

    test: bool = True
    """Whether wheels with a test command are tested."""

    require_tests: bool = False
    """Whether a wheel that this machine can't test counts as failed."""

    report: Path | None = None
    """The file for the report, which is not part of the source."""

    html: Path | None = None
    """The file for the page of the run, which is not part of the source."""

    command: tuple[str, ...] = ()
    """The words of a command that builds the same jobs with the same options, for the report. A selection
    of jobs can be appended."""

    cibuildwheel: tuple[str, ...] | None = None
    """The options for cibuildwheel if it builds the wheels; None if polywheel builds them."""

    durations: Mapping[str, float] = field(default_factory=dict)
    """Seconds that jobs took, from an earlier report."""

    def __post_init__(self) -> None:
        """Check the values, and make the paths absolute: workers run in other folders."""
        for name in ("max_parallel", "time_limit", "memory_per_job"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"expected a number above 0, got {value!r}", at=name)
        refuse_variant_settings(self.settings, at="settings")
        for name in ("out", "logs", "config", "report", "html"):
            path = getattr(self, name)
            if path is not None:
                object.__setattr__(self, name, path.resolve())

    @property
    def log_folder(self) -> Path:
        """The folder for logs."""
        return self.logs if self.logs is not None else self.out / "logs"

    @property
    def config_name(self) -> str:
        """The name of the file with the tables; empty if the project's own tables are read."""
        return self.config.name if self.config is not None else ""

    def paths_outside_source(self) -> list[Path]:
        """Return the paths that may lie in the source folder and are not part of the source."""
        files = [path for path in (self.report, self.html) if path is not None]
        return [self.out, self.log_folder, cache_directory(), *files]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunObserver:
    """Callbacks for the events of a run.

    ``note`` may be called in any thread, the others are called in the thread that runs the plan.
    """

    note: Callable[[str], None] = lambda _: None
    begin: Callable[[Sequence[Build], Sequence[Outcome]], None] = lambda *_: None
    """Called with the builds that have to run, and the outcomes of all others."""

    explain: Callable[[str, Sequence[str]], None] = lambda *_: None
    """Called with the id of a job whose wheel is missing, and the reasons."""

    build_started: Callable[[Build], None] = lambda _: None
    build_ended: Callable[[Outcome], None] = lambda _: None


def refuse_source_in_output(source: Path, output: Path) -> None:
    """Raise ConfigError if the output directory contains the source: wheels would become a part of it."""
    if source.is_dir() and source.resolve().is_relative_to(output.resolve()):
        raise ConfigError(
            f"the output directory {output} contains the source",
            at="-o",
            hint="choose a separate folder, such as dist",
        )
