"""The workflow for GitHub: containers that its jobs can have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polywheel.ci.github import container_credentials
from polywheel.ci.plan_formats import github, gitlab
from polywheel.errors import ConfigError
from polywheel.matrix.shards import pack
from polywheel.model.matrix import Credentials
from support.plans import HEAD, MATRIX, expanded

TARGET = "[tool.polywheel.targets.linux-x86_64]\n"
LOGIN = 'container-credentials = { username = "me", password-secret = "REGISTRY" }\n'


def test_all_images_of_a_workflow_have_one_login(tmp_path: Path) -> None:
    assert container_credentials(expanded(tmp_path / "none")) is None
    plan = expanded(tmp_path / "one", HEAD + MATRIX + TARGET + LOGIN)
    assert container_credentials(plan) == Credentials(username="me", password_secret="REGISTRY")
    override = '[[tool.polywheel.overrides]]\nselect = "*mkl"\n'
    for text in (LOGIN.replace('"me"', '"you"'), LOGIN.replace("REGISTRY", "OTHER")):
        plan = expanded(tmp_path / text[-9:-4], HEAD + MATRIX + TARGET + LOGIN + override + text)
        with pytest.raises(ConfigError, match="need the same container-credentials") as caught:
            container_credentials(plan)
        assert "-v3_mkl" in caught.value.problems[0].what
    plan = expanded(tmp_path / "some", HEAD + MATRIX + override + LOGIN)
    with pytest.raises(
        ConfigError, match="-v3_mkl has some, and linux-x86_64-cp311-non-variant has none"
    ) as caught:
        container_credentials(plan)
    (problem,) = caught.value.problems
    assert problem.at == "pyproject.toml: tool.polywheel.targets.linux-x86_64.container-credentials"
    assert "overrides[0].container-credentials" in (problem.hint or "")


def test_only_gitlab_replaces_variables_in_images(tmp_path: Path) -> None:
    plan = expanded(
        tmp_path, HEAD + MATRIX + TARGET + 'image = "$CI_REGISTRY_IMAGE/build:${{TAG}}"\n'
    )
    packs = pack(plan, 256, {})
    assert '"$CI_REGISTRY_IMAGE/build:${TAG}"' in gitlab(plan, packs)
    with pytest.raises(ConfigError) as caught:
        github(plan, packs, minutes=350)
    (problem,) = caught.value.problems
    assert "nothing replaces the variable $CI_REGISTRY_IMAGE" in problem.what
    assert problem.at == "pyproject.toml: tool.polywheel.targets.linux-x86_64.image"


@pytest.mark.parametrize(
    ("extra", "what", "at"),
    [
        (
            f'{TARGET}image = "quay.io/pypa/manylinux2014_x86_64"\n{LOGIN}',
            "started in a step, without a login",
            "tool.polywheel.targets.linux-x86_64.container-credentials",
        ),
        (
            f'{TARGET}image = ""\n{LOGIN}',
            "container-credentials has no effect without an image",
            "tool.polywheel.targets.linux-x86_64.container-credentials",
        ),
        (
            '[[tool.polywheel.overrides]]\nselect = "*mkl"\nimage = ""\ncontainer-options = "-a"\n',
            "container-options has no effect without an image",
            "tool.polywheel.overrides[0].container-options",
        ),
        (
            f'{TARGET}container-options = "--cpus 2 --network=host"\n',
            "GitHub does not support --network for the container of a job",
            "tool.polywheel.targets.linux-x86_64.container-options",
        ),
        (
            '[[tool.polywheel.overrides]]\nselect = "*mkl"\ncontainer-options = "--entrypoint x"\n',
            "GitHub does not support --entrypoint",
            "tool.polywheel.overrides[0].container-options",
        ),
    ],
)
def test_containers_that_github_can_not_start(
    extra: str, what: str, at: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        container_credentials(expanded(tmp_path, HEAD + MATRIX + extra))
    problem = caught.value.problems[0]
    assert what in problem.what
    assert at in (problem.at or "")


def test_an_entry_has_the_settings_of_its_build(tmp_path: Path) -> None:
    extra = f"""{TARGET}container-options = "--cpus 2"
[[tool.polywheel.overrides]]
select = {{ blas = "mkl" }}
image = "cuda:{{python}}"
runner = ["self-hosted", "gpu"]
container-options = "--gpus all"
"""
    plan = expanded(tmp_path, HEAD + MATRIX + extra)
    include = json.loads(github(plan, pack(plan, 256, {}), minutes=350))["include"]
    entries = {entry["id"]: entry for entry in include}
    keys = ("runner", "image", "container", "options")
    mkl, openblas = (entries[f"linux-x86_64-cp312-v3_{name}"] for name in ("mkl", "openblas"))
    assert [mkl[key] for key in keys] == [
        ["self-hosted", "gpu"],
        *("cuda:3.12", "job", "--gpus all"),
    ]
    image = "quay.io/pypa/manylinux_2_28_x86_64"
    assert [openblas[key] for key in keys] == ["ubuntu-24.04", image, "job", "--cpus 2"]
    packed = json.loads(github(plan, pack(plan, 8, {}), minutes=350))["include"]
    for entry in packed:
        jobs = entry["jobs"].split()
        assert len({"mkl" in name for name in jobs if "mkl" in name or "blas" in name}) <= 1
