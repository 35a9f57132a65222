"""A whole plan, from its source to a directory of finished wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from polywheel.config.project import Project
from polywheel.errors import BuildError, WheelError
from polywheel.model.plan import Build, Plan
from polywheel.model.profile import BackendProfile
from polywheel.providers.environment import cache_directory
from polywheel.run.builder import STAGING, Builder
from polywheel.run.compile_slots import Slots, compile_slots
from polywheel.run.environments import Environments
from polywheel.run.interpreters import Interpreter, find_interpreter, install_interpreter
from polywheel.run.interruption import interrupt, on_interrupt
from polywheel.run.journal import Journal, opened_journal, sha256_of
from polywheel.run.needs import Needs
from polywheel.run.orders import Workshop
from polywheel.run.publishing import Publisher
from polywheel.run.report import Report
from polywheel.run.sdist import SdistMaker
from polywheel.run.served import served_polywheel, without_polywheel
from polywheel.run.source import Source, opened_source
from polywheel.run.turns import Turns, Watcher
from polywheel.run.wanted import plugin_requirements

_DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""What builds a project that names no backend (PEP 518, "build-system table")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """How a run is to go."""

    out: Path
    at_once: int
    """Jobs at a time, and compile slots for all of them together."""

    logs: Path
    keep_going: bool = True
    fresh: bool = False
    """Whether kept environments are made anew."""

    force: bool = False
    """Whether a wheel of another origin may be written over."""

    clean: bool = False
    """Whether only what is committed is built."""

    install_python: bool = False
    all_of_it: bool = False
    """Whether builds for other machines were asked for too, and not only come with the plan."""

    config: Path | None = None
    settings: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Config settings for the real backend."""

    seconds: float | None = None
    """How long the steps of one build may take together."""

    memory_per_job: int = 0
    """Bytes; 0 where nobody said."""

    recorded: Mapping[str, float] = field(default_factory=dict)
    """Seconds that jobs took, from an earlier report."""


def run_plan(
    plan: Plan,
    project: Project,
    source: Path,
    wishes: Wishes,
    *,
    here: str,
    profile: BackendProfile | None,
    watcher: Watcher,
) -> Report:
    """Make the wheels of a plan that this machine (the target ``here``) can make.

    A failure of one build is an outcome in the report; PolywheelError is raised for what keeps all
    of them from being made, and KeyboardInterrupt before the first has begun. After that what runs
    is ended, and the report says so. SIGTERM and SIGHUP are the same as Ctrl-C meanwhile.
    """
    started = time.monotonic()
    requires = without_polywheel(
        project.build_system.requires if "build-system" in project.document else _DEFAULT_REQUIRES,
        at="pyproject.toml: build-system.requires",
    )
    builds = _builds_here(plan, here)
    stop = Event()
    with (
        _as_build_error(),
        on_interrupt(interrupt),
        opened_journal(wishes.out) as journal,
        opened_source(source, clean=wishes.clean, without=[wishes.out, wishes.logs]) as tree,
        compile_slots(wishes.at_once, wishes.at_once) as slots,
    ):
        _clear_staging(wishes.out)
        _make_folder(wishes.logs)
        interpreters, missing = _interpreters(builds, wishes, watcher)
        run = _Run(
            plan=plan,
            project=project,
            requires=requires,
            place=_place(source),
            shop=_workshop(tree, wishes, stop),
            environments=Environments(fresh=wishes.fresh, notify=watcher.said, stop=stop),
            wishes=wishes,
            interpreters=interpreters,
            journal=journal,
            slots=slots,
            profile=profile,
            watcher=watcher,
        )
        built = run.sdist(tree) if interpreters and source.is_dir() else tree
        outcomes, interrupted = run.turns(built).all(builds, missing)
    order = {build.id: number for number, build in enumerate(plan.builds)}
    known = {build.id for build in builds}
    return Report(
        plan=plan,
        out=wishes.out,
        outcomes=tuple(sorted(outcomes, key=lambda one: order[one.build])),
        elsewhere=tuple(build.id for build in plan.builds if build.id not in known),
        all_of_it=wishes.all_of_it,
        seconds=time.monotonic() - started,
        interrupted=interrupted,
    )


def is_for(build: Build, plan: Plan, here: str) -> bool:
    """Whether a build is for a target: to be built there, or all of its wheels serve it as well."""
    if build.target == here:
        return True
    jobs = [plan.job(identifier) for identifier in build.jobs]
    return all(job is not None and here in job.targets for job in jobs)


def _builds_here(plan: Plan, here: str) -> list[Build]:
    builds = [build for build in plan.builds if is_for(build, plan, here)]
    if plan.builds and not builds:
        others = sorted({build.target for build in plan.builds})
        raise BuildError(
            f"nothing of this can be built here: this machine is {here}, and the builds are for "
            + ", ".join(others),
            hint="run it there; polywheel matrix shows what is for which machine",
        )
    return builds


@contextmanager
def _as_build_error() -> Iterator[None]:
    """What the system refuses (no room, no permission) is a BuildError."""
    try:
        yield
    except OSError as error:
        raise BuildError(str(error.strerror or error), at=str(error.filename or "")) from None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WheelError(
            f"the folder for logs can't be made: {error.strerror or error}", at=str(path)
        ) from None


def _clear_staging(out: Path) -> None:
    """Remove what a run that was killed has left; nobody else is at work here."""
    for path in out.glob(f"{STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _place(source: Path) -> Path:
    """Where the builds of a source lie: always the same folder, so that compiler caches hit."""
    resolved = os.fsencode(source.resolve())
    name = f"{source.resolve().stem[:40]}-{hashlib.sha256(resolved).hexdigest()[:10]}"
    return cache_directory() / "work" / name


def _interpreters(
    builds: Iterable[Build], wishes: Wishes, watcher: Watcher
) -> tuple[dict[str, Interpreter], dict[str, str]]:
    """The Pythons of the builds; and why those that are not there are not."""
    pythons = sorted({build.python for build in builds})
    found: dict[str, Interpreter] = {}
    missing: dict[str, str] = {}
    if not pythons:
        return found, missing
    with ThreadPoolExecutor(max_workers=min(8, len(pythons))) as pool:
        for python, one in zip(pythons, pool.map(find_interpreter, pythons), strict=True):
            if one is not None:
                found[python] = one
            elif not wishes.install_python:
                missing[python] = f"there is no Python {python} here; --install-python gets it"
            else:
                try:
                    found[python] = install_interpreter(python, notify=watcher.said)
                except BuildError as error:
                    missing[python] = error.problems[0].what
    return found, missing


def _workshop(tree: Source, wishes: Wishes, stop: Event) -> Workshop:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return Workshop(
        polywheel=served_polywheel(),
        config=wishes.config,
        settings=wishes.settings,
        epoch=int(epoch) if epoch.isdigit() else tree.epoch,
        seconds=wishes.seconds,
        stop=stop,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What a run works with."""

    plan: Plan
    project: Project
    requires: Sequence[str]
    place: Path
    shop: Workshop
    environments: Environments
    wishes: Wishes
    interpreters: Mapping[str, Interpreter]
    journal: Journal
    slots: Slots
    profile: BackendProfile | None
    watcher: Watcher

    def sdist(self, tree: Source) -> Source:
        """The unpacked sdist of a source, or the source itself where there can be none."""
        maker = SdistMaker(
            shop=self.shop,
            interpreter=next(iter(self.interpreters.values())),
            environments=self.environments,
            requires=self.requires,
            profile=self.profile.name if self.profile is not None else None,
            place=self.place,
            log=self.wishes.logs / "sdist.log",
            notify=self.watcher.said,
        )
        return maker.unpacked_sdist(tree)

    def turns(self, source: Source) -> Turns:
        """All that is needed to make the builds of a source one after the other."""
        config = self.wishes.config
        identity = source.digest + (sha256_of(config) if config is not None else "")
        builder = Builder(
            jobs={job.id: job for job in self.plan.jobs},
            source=source,
            identity=identity,
            place=self.place,
            shop=self.shop,
            interpreters=self.interpreters,
            needs=Needs(
                requires=self.requires,
                foreseen=plugin_requirements(self.project, self.plan.jobs),
                source=identity,
                shop=self.shop,
                environments=self.environments,
            ),
            publisher=Publisher(
                out=self.wishes.out,
                journal=self.journal,
                targets=self.plan.targets,
                force=self.wishes.force,
            ),
            logs=self.wishes.logs,
            slots=self.slots,
            profile=self.profile,
        )
        return Turns(
            builder=builder,
            stop=self.shop.stop,
            watcher=self.watcher,
            seconds=self._seconds,
            at_once=self.wishes.at_once,
            memory_per_job=self.wishes.memory_per_job,
            keep_going=self.wishes.keep_going,
        )

    def _seconds(self, build: Build) -> float | None:
        """How long a build took the last time, as far as that is known."""
        took = [self.wishes.recorded.get(job) or self.journal.seconds(job) for job in build.jobs]
        known = [one for one in took if one is not None]
        return sum(known) if known else None
