"""The protocol between the scheduler and an executor.

An executor builds the wheels of one run. :func:`polywheel.run.scheduler.run_builds` decides which
build starts when, and the executor does the work: `LocalExecutor` with one worker process for each
build, `CibuildwheelExecutor` with one run of cibuildwheel for each build. To add another engine,
write a class that implements :class:`BuildExecutor` and a function that creates it from a
:class:`~polywheel.run.context.RunContext`, and call this function in
:func:`polywheel.run.executors.create.create_executor`.

Creation
    ``create_executor`` raises ConfigError or BuildError if the run can't start. It also returns why
    each missing version of Python is not available. Builds of these versions have the state
    NO_PYTHON, and the executor never gets them.

Order of calls
    1. ``find_existing`` once for each build of this machine whose Python is available, in several
       threads at once.
    2. ``prepare`` once, in the thread of the scheduler. The number is 0 if there is nothing to build.
    3. ``build`` at most once for each build that misses wheels, each in a thread of a pool of at
       most ``RunOptions.max_parallel`` threads. An executor that only waits for another machine
       holds its thread as well.

    There is no call at the end. Whatever has to be closed then is a context manager around the
    scheduler, like the compile slots of `polywheel.run.orchestrator.run_plan`.

Outcomes
    ``build`` returns one :class:`~polywheel.run.outcome.Outcome` with the state BUILT, STAMPED, FAILED,
    STOPPED, or UP_TO_DATE (only the new build environment showed that all wheels exist). The scheduler
    sets NO_PYTHON, NOT_STARTED, and UP_TO_DATE for builds without missing wheels; the report sets
    ELSEWHERE. ``Outcome.wheels`` has the existing wheels and every wheel that was published before
    a failure. Only :meth:`polywheel.run.worker.publish.Publisher.publish`, in any thread of this
    process, gives wheels their final names and lines in the journal. An engine on another machine
    sends its wheels back first.

Errors
    A build that fails is an outcome with an ``error``, not an exception: see
    :func:`capture_outcome`. Any other exception than PolywheelError and OSError is a defect: the
    scheduler sets ``stop``, waits for the builds that run, and raises it again. PolywheelError and
    OSError of ``find_existing`` end the run before anything is built.

Cancellation
    `WorkerContext.stop` is set after Ctrl-C, SIGTERM, or SIGHUP, after the first failure if
    ``keep_going`` is off, and after a defect. No build starts from then on. A running ``build``
    must end soon: it stops its processes, and returns STOPPED. Processes that ignore the request
    are killed after a grace period (:func:`polywheel.system.processes.run_child`). KeyboardInterrupt
    reaches neither ``build`` nor ``find_existing``.

Logs
    A build writes the output of its processes to :func:`polywheel.run.outcome.log_file` while it
    runs: the live table shows the last line, and a failure the end. Other messages go to
    ``RunObserver.note``.

Limits
    An executor ends a build whose steps take longer than ``RunContext.time_limit``, and returns
    FAILED. Memory is up to the scheduler: it starts a build only if this machine has the memory that the
    build may need.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Protocol

from polywheel.errors import PolywheelError
from polywheel.model.plan import Build
from polywheel.run.outcome import ExistingWheels, Outcome, State, Wheel
from polywheel.system.logs import remove_logs, tool_logs


class BuildExecutor(Protocol):
    """Builds the wheels of a run. The module's docstring has the order of calls and the rules."""

    def find_existing(self, build: Build) -> ExistingWheels:
        """Return the wheels of a build that are up to date, and the jobs that miss a wheel.

        Nothing is built, and no environment is created. If it is not known whether a wheel is up to
        date, its job is missing. Runs in several threads at once.
        """

    def prepare(self, builds: int) -> None:
        """Note that ``builds`` builds follow, to share this machine's processors among them.

        Runs once, in the thread of the scheduler.
        """

    def build(self, build: Build, existing: ExistingWheels) -> Outcome:
        """Build the missing wheels of a build, and return its outcome.

        ``existing`` is the answer of ``find_existing`` for this build. A failure is an outcome too.
        Runs in several threads at once.
        """


def capture_outcome(
    build: str,
    existing: ExistingWheels,
    log: Path | None,
    stop: Event,
    build_wheels: Callable[[list[Wheel]], float],
) -> Outcome:
    """Call ``build_wheels``, and return the outcome of the build with this id.

    ``build_wheels`` appends each wheel to its list as soon as the wheel is published, and returns
    the seconds that the real backend took. PolywheelError and OSError make the state FAILED, or
    STOPPED if ``stop`` is set. Wheels that were published before stay in the outcome. Logs of an
    earlier run are removed first. ``log`` is None if the build writes none.
    """
    started = time.monotonic()
    wheels = list(existing.wheels)
    state, error, hook_seconds = State.BUILT, None, 0.0
    try:
        if log is not None:
            remove_logs(log)
        hook_seconds = build_wheels(wheels)
    except PolywheelError as failure:
        state, error = State.FAILED, failure.render().removeprefix("error: ")
    except OSError as failure:
        state = State.FAILED
        error = f"{failure.filename or build}: {failure.strerror or failure}"
    if error is not None and stop.is_set():
        state, error = State.STOPPED, None
    if state == State.BUILT:
        states = {wheel.state for wheel in wheels}
        state = next((s for s in (State.BUILT, State.STAMPED) if s in states), State.UP_TO_DATE)
    return Outcome(
        build=build,
        state=state,
        wheels=tuple(wheels),
        seconds=time.monotonic() - started,
        hook_seconds=hook_seconds,
        error=error,
        log=log,
        tool_logs=tuple(tool_logs(log)) if log is not None and state == State.FAILED else (),
    )
