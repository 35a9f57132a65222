"""The variables of builds' settings with which the one sdist is made."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Build
from polywheel.run.source.sdist import SdistVariables


def variables_of(*environments: Mapping[str, str]) -> SdistVariables:
    builds = [
        Build(
            id=str(number),
            python="3.12",
            target="linux-x86_64",
            jobs=(str(number),),
            settings=BuildSettings(environment=environment),
        )
        for number, environment in enumerate(environments)
    ]
    return SdistVariables.of(builds, "Some.Project")


def test_an_sdist_has_the_variables_that_all_builds_have_in_common() -> None:
    assert variables_of() == SdistVariables()
    assert variables_of({"A": "1", "B": "$A"}).common == {"A": "1", "B": "$A"}
    found = variables_of({"A": "1", "B": "1", "C": "1"}, {"A": "1", "B": "2"})
    assert found == SdistVariables(common={"A": "1"})


@pytest.mark.parametrize(
    "name",
    [
        "SETUPTOOLS_SCM_PRETEND_VERSION",
        "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SOME_PROJECT",
        "PBR_VERSION",
        "PDM_BUILD_SCM_VERSION",
        "PYTORCH_BUILD_VERSION",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
        "VERSION_SUFFIX",
        "VERSION",
        "SOME_PROJECT_VERSION",
    ],
)
def test_builds_with_versions_of_their_own_have_no_sdist_in_common(name: str) -> None:
    version = {name: "1.0"}
    assert variables_of(version, version).common == version
    assert variables_of(version, {name: "2.0"}).of_version == name
    assert variables_of(version, {}).of_version == name


@pytest.mark.parametrize("name", ["CUDA_VERSION", "CUDA_HOME", "PYTHON_VERSION", "VERSIONS"])
def test_versions_of_other_things(name: str) -> None:
    assert variables_of({name: "1.0"}, {name: "2.0"}) == SdistVariables()
