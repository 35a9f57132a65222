"""The time limits of CI jobs: those of their builds together, and time for the other steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, fsum

from polywheel.errors import ConfigError
from polywheel.model.ci import GitHubSettings
from polywheel.model.plan import Plan

AFTER_THE_BUILD = 10
"""Minutes of a build job on GitHub for the steps after the build, which upload what is finished."""
_HOSTED_RUNNER = re.compile(r"(ubuntu|windows|macos)-[a-z0-9.-]+")
_HOSTED_MOST = 360
"""The time limit of a job on GitHub's own runners, in minutes."""
_GITLAB_OVERHEAD = 30 * 60
"""Seconds of a GitLab job besides the time limit of its builds: for installations, and for the report."""

Limits = Sequence[float | None]
"""The time limits of the builds of a CI job, in seconds. None for a build without a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildJob:
    """A CI job that builds."""

    name: str
    runner: tuple[str, ...]
    limits: Limits


def seconds_together(limits: Iterable[float | None]) -> float | None:
    """The seconds that builds may take one after the other; None if one of them has no limit."""
    seconds = list(limits)
    return None if None in seconds else fsum(filter(None, seconds))


def gitlab_job_timeout(limits: Limits) -> str | None:
    """The ``timeout`` of a job on GitLab; None for the time limit of the project."""
    seconds = seconds_together(limits)
    return None if seconds is None else gitlab_timeout(seconds + _GITLAB_OVERHEAD)


def gitlab_timeout(seconds: float) -> str:
    """A time limit as the ``timeout`` of a GitLab job."""
    return f"{ceil(seconds / 60)} minutes"


def github_job_minutes(settings_minutes: int, runner: Sequence[str], limits: Limits) -> int:
    """The time limit of a CI job on GitHub: that of the settings, or more if its builds may take longer."""
    minutes = max(settings_minutes, _minutes_for(limits))
    return min(minutes, _HOSTED_MOST) if _is_hosted(runner) else minutes


def check_github_limits(settings: GitHubSettings, plan: Plan) -> None:
    """Raise ConfigError for a time limit that GitHub does not allow."""
    hosted = [_is_hosted(build.settings.runner or ()) for build in plan.builds]
    for build in (build for build, is_hosted in zip(plan.builds, hosted, strict=True) if is_hosted):
        at = plan.setting_at(build, "job-timeout")
        too_long = _minutes_for([build.settings.job_timeout]) > _HOSTED_MOST
        # On runners of your own, a job may have more time.
        if settings.timeout_minutes > _HOSTED_MOST and all(hosted):
            too_long, at = True, f"{settings.at}.timeout-minutes"
        if too_long:
            raise ConfigError(
                f"a job on GitHub's own runner {(build.settings.runner or ('',))[0]!r} has at most "
                f"{_HOSTED_MOST} minutes, {AFTER_THE_BUILD} of them for the upload of wheels",
                at=at,
                hint="use a runner of your own for longer builds",
            )


def too_long_jobs(jobs: Iterable[BuildJob]) -> Iterator[str]:
    """Yield a warning for each CI job on one of GitHub's own runners whose builds may take too long together."""
    for job in jobs:
        minutes = _minutes_for(job.limits)
        if len(job.limits) > 1 and minutes > _HOSTED_MOST and _is_hosted(job.runner):
            yield (
                f"the {len(job.limits)} builds of the CI job {job.name} may take "
                f"{minutes - AFTER_THE_BUILD} minutes together (job-timeout), and GitHub ends them after "
                f"{_HOSTED_MOST - AFTER_THE_BUILD}: raise max-jobs, or use a runner of your own"
            )


def _minutes_for(limits: Limits) -> int:
    """The minutes that a CI job on GitHub needs for its builds, as far as they have limits."""
    seconds = seconds_together(limit for limit in limits if limit is not None)
    return ceil((seconds or 0) / 60) + AFTER_THE_BUILD


def _is_hosted(runner: Sequence[str]) -> bool:
    """Whether a runner is one of GitHub's own."""
    return len(runner) == 1 and _HOSTED_RUNNER.fullmatch(runner[0]) is not None
