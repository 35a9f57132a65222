"""One label stands for one set of properties, and one set of properties has one label (issue 12.4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from matrices import VARIANT

from polywheel.build_call import Build
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import matrix_variants
from polywheel.model.variant import Variant

OWN = """
[build-system]
requires = ["polywheel", "flit-core>=3.12"]
build-backend = "polywheel.backend"
[project]
name = "sums"
version = "1.0"
"""
MATRIX = """
[tool.polywheel.matrix]
label = "cpu_{level}"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = ["cpu :: level :: v3"]
"""
ELSEWHERE = "sys_platform == 'win32' and platform_machine == 'ARM64' and python_version == '3.9'"
V3 = "cpu :: level :: v3"


def variant(folder: Path, text: str, settings: dict[str, str]) -> Variant:
    """The variant that a build with these config settings makes."""
    (folder / "pyproject.toml").write_text(OWN + VARIANT + text, encoding="utf-8")
    build = Build.begin(folder, settings, notify=print, more=matrix_variants)
    assert build.variant is not None
    return build.variant


def error(folder: Path, text: str, settings: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        variant(folder, text, settings)
    return caught.value.render()


def test_properties_of_a_matrix_have_the_label_of_the_matrix(tmp_path: Path) -> None:
    """Until now they took their hash: two labels for what -Cvariant-label=cpu_v3 builds."""
    by_label = variant(tmp_path, MATRIX, {"variant-label": "cpu_v3"})
    by_properties = variant(tmp_path, MATRIX, {"variant": "cpu::level::v3"})
    assert by_properties == by_label
    assert (by_label.label, list(map(str, by_label.properties))) == ("cpu_v3", [V3])
    both = {"variant": "cpu::level::v3", "variant-label": "cpu_v3"}
    assert variant(tmp_path, MATRIX, both) == by_label


def test_properties_that_neither_matrix_nor_tables_have_take_their_hash(tmp_path: Path) -> None:
    found = variant(tmp_path, MATRIX, {"variant": "cpu::level::v1"})
    assert found.label == found.hash


def test_the_label_of_another_target_and_python_counts_here_too(tmp_path: Path) -> None:
    """A matrix without targets is for this machine; its labels are for the whole release."""
    text = MATRIX.replace(
        'v3 = ["cpu :: level :: v3"]',
        f'v3 = {{ properties = ["cpu :: level :: v3"], when = "{ELSEWHERE}" }}',
    )
    assert variant(tmp_path, text, {"variant": "cpu::level::v3"}).label == "cpu_v3"
    assert variant(tmp_path, text, {"variant": "cpu::level::v2"}).label == "cpu_v2"
    # Where nothing at all of the matrix is for this machine, its labels count all the same.
    only = text.replace('v2 = ["cpu :: level :: v2"]\n', "")
    assert variant(tmp_path, only, {"variant": "cpu::level::v3"}).label == "cpu_v3"


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (
            MATRIX,
            {"variant": "cpu::level::v3", "variant-label": "mine"},
            "these properties are declared with the label 'cpu_v3', not 'mine'",
        ),
        (
            MATRIX,
            {"variant": "cpu::level::v2", "variant-label": "cpu_v3"},
            f"the label 'cpu_v3' is declared with other properties: {V3}",
        ),
        (
            "[variant.variants]\nfast.cpu.level = ['v3']\n",
            {"variant": "cpu::level::v3", "variant-label": "mine"},
            "these properties are declared with the label 'fast', not 'mine'",
        ),
        (
            "[variant.variants]\nfast.cpu.level = ['v3']\nquick.cpu.level = ['v3']\n",
            {"variant-label": "fast"},
            "the same properties are declared with several labels: fast, quick",
        ),
        (
            "[variant.variants]\nfast.cpu.level = ['v3']\nquick.cpu.level = ['v3']\n",
            {"variant": "cpu::level::v3"},
            "the same properties are declared with several labels: fast, quick",
        ),
        (
            f"[variant.variants]\nfast.cpu.level = ['v3']\n{MATRIX}",
            {"variant": "cpu::level::v2"},
            "the same properties have two labels: 'fast' (pyproject.toml: variant.variants.fast) "
            "and 'cpu_v3'",
        ),
        (
            # One label for each target.
            '[tool.polywheel.matrix]\npython = ["3.12"]\ntargets = ["linux-x86_64", "macos-arm64"]'
            '\ninclude = [{ target = "linux-x86_64", label = "a", properties = ["cpu::level::v3"] '
            '}, { target = "macos-arm64", label = "b", properties = ["cpu::level::v3"] }]\n',
            {"variant": "cpu::level::v3"},
            "the same properties have two labels: 'a'",
        ),
    ],
)
def test_what_would_be_two_labels_is_refused(
    text: str, settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert said in error(tmp_path, text, settings)
