"""The time limits of CI jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polywheel.ci.plan_formats import build_jobs, github
from polywheel.ci.time_limits import check_github_limits, too_long_jobs
from polywheel.errors import ConfigError
from polywheel.matrix.shards import pack
from polywheel.model.ci import GitHubSettings
from polywheel.model.plan import Plan
from support.plans import HEAD, MATRIX, expanded

TARGET = "[tool.polywheel.targets.linux-x86_64]\n"


def limits(plan: Plan, minutes: int, most: int = 256) -> dict[str, tuple[int, int]]:
    """The time limits of the CI jobs by target: the smallest and the largest."""
    include = json.loads(github(plan, pack(plan, most, {}), minutes=minutes))["include"]
    found: dict[str, list[int]] = {}
    for entry in include:
        assert entry["build_timeout"] == entry["timeout"] - 10
        found.setdefault(entry["target"], []).append(entry["timeout"])
    return {target: (min(values), max(values)) for target, values in found.items()}


@pytest.mark.parametrize(
    ("minutes", "extra", "at"),
    [
        (361, "", "tool.polywheel.ci.github.timeout-minutes"),
        (350, f"{TARGET}job-timeout = 21001\n", "tool.polywheel.targets.linux-x86_64.job-timeout"),
    ],
)
def test_time_limits_that_github_does_not_allow(
    minutes: int, extra: str, at: str, tmp_path: Path
) -> None:
    plan = expanded(tmp_path, HEAD + MATRIX + extra)
    settings = GitHubSettings(timeout_minutes=minutes, at="tool.polywheel.ci.github")
    with pytest.raises(ConfigError, match="has at most 360 minutes") as caught:
        check_github_limits(settings, plan)
    assert str(caught.value.problems[0].at).endswith(at)


def test_own_runners_have_more_time_beside_those_of_github(tmp_path: Path) -> None:
    extra = f'{TARGET}runner = ["self-hosted", "gpu"]\njob-timeout = 28800\n'
    plan = expanded(tmp_path, HEAD + MATRIX + extra)
    check_github_limits(GitHubSettings(), plan)
    assert limits(plan, 350) == {"linux-x86_64": (490, 490), "windows-x86_64": (350, 350)}
    check_github_limits(GitHubSettings(timeout_minutes=600), plan)
    assert limits(plan, 600) == {"linux-x86_64": (600, 600), "windows-x86_64": (360, 360)}


def test_a_ci_job_has_time_for_all_its_builds(tmp_path: Path) -> None:
    extra = f"{TARGET}job-timeout = 3600\n"
    plan = expanded(tmp_path, HEAD + MATRIX + extra)
    builds = sum(build.target == "linux-x86_64" for build in plan.builds)
    assert builds == 7
    assert limits(plan, 60)["linux-x86_64"] == (70, 70)
    assert limits(plan, 60, 2) == {"linux-x86_64": (360, 360), "windows-x86_64": (60, 60)}
    assert not [*too_long_jobs(build_jobs(pack(plan, 256, {})))]
    (warning,) = too_long_jobs(build_jobs(pack(plan, 2, {})))
    assert warning.startswith(
        "the 7 builds of the CI job linux-x86_64-cp311-non-variant may take 420 minutes together"
    )
    own = expanded(tmp_path, HEAD + MATRIX + extra + 'runner = "own"\n')
    assert limits(own, 60, 2)["linux-x86_64"] == (430, 430)
    assert not [*too_long_jobs(build_jobs(pack(own, 2, {})))]
