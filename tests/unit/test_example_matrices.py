"""The matrices of ``examples/matrices`` and their golden plans."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from polywheel.backend.hook_call import HookCall
from polywheel.backend.setup_report import setup_report
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import expand
from polywheel.matrix.plan_json import plan_as_json, read_plan
from polywheel.providers.plugins import PluginEnvironments
from support.example_matrices import MATRICES, changed

NAMES = sorted(path.parent.name for path in MATRICES.glob("*/pyproject.toml"))


def test_every_one_is_there() -> None:
    assert [
        *(
            "debug-release",
            "flash-attention",
            "levels",
            "numpy",
            "pytorch",
            "rapids",
            "scikit-learn",
        )
    ] == NAMES


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
    rows = re.findall(r"^\| `([a-z-]+)` \|[^|]*\| ([0-9]+) \| ([0-9]+) \|$", text, re.MULTILINE)
    plans = {name: expand(MATRICES / name) for name in NAMES}
    assert {name: (int(wheels), int(builds)) for name, wheels, builds in rows} == {
        name: (len(plan.jobs), len(plan.builds)) for name, plan in plans.items()
    }


OF_CUDA = re.compile(r'\[\[tool\.polywheel\.matrix\.exclude\]\]\ntorch = "[^"]*"\ncuda = .*\n')


def test_an_exclude_of_flash_attention_that_names_no_value_is_an_error(tmp_path: Path) -> None:
    """In 2023, three excludes named a CUDA version that its axis did not have. All these jobs ran."""
    assert len(expand(MATRICES / "flash-attention").jobs) == 42
    source = changed(tmp_path, "flash-attention", ('"\ncuda = "cu130"', '"\ncuda = "cu1300"'))
    with pytest.raises(ConfigError) as caught:
        expand(source)
    assert [(one.what, one.hint) for one in caught.value.problems] == [
        ("the axis 'cuda' has no value 'cu1300'", "did you mean 'cu130'?")
    ] * 3
    path = source / "pyproject.toml"
    text, left_out = OF_CUDA.subn("", path.read_text(encoding="utf-8"))
    assert left_out == 3
    path.write_text(text, encoding="utf-8")
    # torch 2.6 twice (with both ABIs) on x86-64, 2.7 and 2.8 on both, for three Pythons
    assert len(expand(source).jobs) == 42 + 3 * (2 + 2 * 2)


def test_where_the_wheels_of_pytorch_are_built() -> None:
    plan = expand(MATRICES / "pytorch")
    targets: dict[str, set[str]] = {}
    for job in plan.jobs:
        targets.setdefault(job.label or "plain", set()).add(job.target)
    linux, arm, windows = "linux-x86_64", "linux-aarch64", "windows-x86_64"
    everywhere = {linux, arm, windows, "windows-arm64", "macos-arm64"}
    assert targets == {
        "plain": everywhere,
        "null": everywhere,
        **{key: {linux, arm, windows} for key in ("cu126", "cu130", "cu132")},
        "cu134": {arm},
        **{key: {linux} for key in ("rocm7.1", "rocm7.2")},
        "xpu": {linux, windows},
    }
    together = [build.jobs for build in plan.builds if len(build.jobs) > 1]
    assert len(together) == 5 * 4 + 3
    assert {tuple(name.rpartition("-")[2] for name in jobs) for jobs in together} == {
        ("variant", "null")  # the wheel of the CPU, with and without a stamp
    }


def test_variants_with_different_settings_do_not_share_builds() -> None:
    for name, labels in (
        ("pytorch", {"cu126", "cu130", "cu132", "cu134"}),
        ("rapids", {"cuda12.9.2", "cuda13.3.0"}),
    ):
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
        assert found["told"] or label in {"null", "release", "xpu"}
