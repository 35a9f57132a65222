"""Values of build settings that are wrong fail when they are read."""

from __future__ import annotations

import tomllib

import pytest

from polywheel.config import build_values
from polywheel.config.matrix_table import read_matrix
from polywheel.errors import ConfigError
from support.matrices import project_of

AT = "pyproject.toml: tool.polywheel.targets.linux-x86_64"


@pytest.mark.parametrize(
    "image",
    [
        *("alpine", "alpine:3", "manylinux_2_28", "quay.io/pypa/manylinux_2_28_x86_64:2025.1.1-1"),
        *(
            "localhost:5000/a/b__c:v1",
            "Registry.Example/a",
            "[::1]:5000/a",
            "a/b@sha256:" + "0" * 64,
        ),
        *("$CI_REGISTRY_IMAGE/build:$TAG", "${REGISTRY}/a:1-${TAG}", "a---b"),
    ],
)
def test_images(image: str) -> None:
    assert build_values.image(image, at="x") == image


@pytest.mark.parametrize(
    "image",
    [
        *("my image:1", "-rm", "UPPER/Case:1", "a/B", "$(touch x)", "${{ secrets.X }}", "foo:{cpu"),
        *("a\n", "a:", "a:b:c", "/a", "a/", "a@sha256:0", "a:" + "b" * 129, "é", "a" * 600, "a..b"),
        "-" * 500,
    ],
)
def test_what_docker_would_not_accept(image: str) -> None:
    with pytest.raises(ConfigError, match="malformed image"):
        build_values.image(image, at="x")


@pytest.mark.parametrize(
    ("setting", "at", "what", "hint"),
    [
        ('container-options = "--gpus \'all"', "", "no closing quotation", "quote them"),
        ("container-options = 'a\\'", "", "no escaped character", "quote them"),
        ('container-options = "a\\u0007"', "", "unprintable", ""),
        ('runner = ["self-hosted", ""]', "[1]", "expected the label of a runner, found ''", ""),
        ('runner = ["a\\u001b[31m"]', "[0]", "unprintable", ""),
        ('runner = "a\\nb"', "", "unprintable", ""),
        ('repair-command = "auditwheel repair"', "", "the command has no {wheel}", "{dest_dir}"),
        ('repair-command = "repair {whel} {dest_dir}"', "", "no {wheel}, found {whel}", ""),
        ('repair-command = "repair {wheel}"', "", "the command has no {dest_dir}", ""),
    ],
)
def test_the_key_of_a_wrong_value_is_named(setting: str, at: str, what: str, hint: str) -> None:
    text = f"[tool.polywheel.targets.linux-x86_64]\n{setting}\n"
    with pytest.raises(ConfigError) as caught:
        read_matrix(project_of(tomllib.loads(text)))
    (problem,) = caught.value.problems
    assert what in problem.what
    assert problem.at == f"{AT}.{setting.partition(' ')[0]}{at}"
    assert hint in str(problem.hint)


def test_empty_values_remove_a_setting() -> None:
    text = '[tool.polywheel.targets.linux-x86_64]\nrunner = ""\ncontainer-options = ""\nrepair-command = ""\n'
    settings = read_matrix(project_of(tomllib.loads(text))).targets["linux-x86_64"].settings
    assert (settings.runner, settings.container_options, settings.repair_command) == ((), "", "")
