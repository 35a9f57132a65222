"""The matrices of ``examples/matrices`` and their golden plans."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from polywheel.backend.hook_call import HookCall
from polywheel.backend.setup_report import setup_report
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import expand
from polywheel.matrix.plan_json import plan_as_json, read_plan
from polywheel.providers.plugins import PluginEnvironments

MATRICES = Path(__file__).resolve().parents[2] / "examples" / "matrices"
NAMES = sorted(path.parent.name for path in MATRICES.glob("*/pyproject.toml"))


def test_every_one_is_there() -> None:
    assert NAMES == ["debug-release", "flash-attention", "numpy", "pytorch", "rapids"]


@pytest.mark.parametrize("name", NAMES)
def test_a_matrix_comes_to_its_plan(name: str) -> None:
    folder = MATRICES / name
    golden = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    found = json.loads(json.dumps(plan_as_json(expand(folder))))
    source = f"examples/matrices/{name}"
    assert found == golden, (
        f"the plan of {source} has changed; look at it: polywheel matrix {source} --diff "
        f"{source}/plan.json; if it is meant: polywheel matrix {source} --json > {source}/plan.json"
    )
    assert read_plan(folder / "plan.json") == expand(folder)


def test_the_readme_counts_them() -> None:
    text = (MATRICES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| ([0-9]+) \| ([0-9]+) \|$", text, re.MULTILINE)
    plans = {name: expand(MATRICES / name) for name in NAMES}
    assert {name: (int(wheels), int(builds)) for name, wheels, builds in rows} == {
        name: (len(plan.jobs), len(plan.builds)) for name, plan in plans.items()
    }


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A copy of a matrix, with other texts in it."""
    source = folder / name
    shutil.copytree(MATRICES / name, source)
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return source


OF_CUDA = re.compile(r'\[\[tool\.polywheel\.matrix\.exclude\]\]\ntorch = "[^"]*"\ncuda = .*\n')


def test_flash_attention_runs_12_jobs_and_not_16(tmp_path: Path) -> None:
    """What happened: excludes named a version that no axis had, and 84 jobs ran instead of 58.

    12 and 16 of them are for Python 3.11.
    """
    assert len(expand(MATRICES / "flash-attention").jobs) == 12
    source = changed(tmp_path, "flash-attention", ('cuda = "cu122"', 'cuda = "cu1220"'))
    with pytest.raises(ConfigError) as caught:
        expand(source)
    assert [(one.what, one.hint) for one in caught.value.problems] == [
        ("the axis 'cuda' has no value 'cu1220'", "did you mean 'cu122'?")
    ] * 2
    path = source / "pyproject.toml"
    text, left_out = OF_CUDA.subn("", path.read_text(encoding="utf-8"))
    assert left_out == 2
    path.write_text(text, encoding="utf-8")
    assert len(expand(source).jobs) == 16


def test_where_pytorch_is_built() -> None:
    plan = expand(MATRICES / "pytorch")
    targets: dict[str, set[str]] = {}
    for job in plan.jobs:
        targets.setdefault(job.label or "plain", set()).add(job.target)
    linux, arm, windows, macos = "linux-x86_64", "linux-aarch64", "windows-x86_64", "macos-arm64"
    everywhere = {linux, arm, windows, macos}
    assert targets == {
        "plain": everywhere,
        "null": everywhere,
        **{key: {linux, arm, windows} for key in ("cu126", "cu128", "cu130")},
        **{key: {linux} for key in ("rocm63", "rocm64")},
        "xpu": {linux, windows},
    }
    assert Counter(one.by for one in plan.removed) == {"when": 6 * 11, "exclude": 2}
    together = [build.jobs for build in plan.builds if len(build.jobs) > 1]
    assert len(together) == 6 * 4
    assert {tuple(name.rpartition("-")[2] for name in jobs) for jobs in together} == {
        ("variant", "null")  # the wheel of the CPU, with and without a stamp
    }


def test_toolkits_that_are_not_on_this_machine_are_builds_of_their_own() -> None:
    for name, labels in (("pytorch", {"cu126", "cu128", "cu130"}), ("rapids", {"cu12", "cu13"})):
        plan = expand(MATRICES / name)
        own = [job for job in plan.jobs if job.label in labels]
        assert own
        assert all(job.build == job.id for job in own)


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_can_be_told_to_its_backend(name: str) -> None:
    """Rules, presets and values of the examples belong together; plugins that PyPI has are asked."""
    said: list[str] = []
    for label in sorted({job.label for job in expand(MATRICES / name).jobs if job.label}):
        build = HookCall.read(MATRICES / name, {"variant-label": label}, notify=said.append)
        found = setup_report(build, PluginEnvironments(notify=said.append))
        assert found["told"] or label in {"null", "release"}
