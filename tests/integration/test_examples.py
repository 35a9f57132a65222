"""Each example builds as its README says: isolated, with its real backend, as a variant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from variantlib.variant_dist_info import VariantDistInfo

from support.builds import COMPILED, PURE, build_wheel, read_wheel, run, wide_registers
from support.projects import example

LABELS = {
    "meson": ("x86_64_v1", "x86_64_v3"),
    "scikit-build-core": ("x86_64_v1", "x86_64_v3"),
    "setuptools": ("x86_64_v1", "x86_64_v3"),
    "hatchling": ("full", "small"),
    "flit-core": ("openblas", "mkl"),
}
CHECKS = {
    "meson": ("axpy(2, [1, 2, 3], [10, 20, 30]).tolist()", "[12.0, 24.0, 36.0]"),
    "scikit-build-core": ("dot([1, 2, 3], [4, 5, 6])", "32"),
    "setuptools": ("list(brighten(bytes([0, 100, 250]), 20))", "[20, 120, 255]"),
    "hatchling": ("elements()['Ca'].number", "20"),
    "flit-core": ("blas()", "openblas"),
}
MARCH = {"x86_64_v1": "-march=x86-64", "x86_64_v3": "-march=x86-64-v3"}


@pytest.mark.parametrize("name", [*COMPILED, *PURE])
def test_an_isolated_build_makes_a_variant_wheel(
    name: str, tmp_path: Path, isolated: dict[str, str]
) -> None:
    source = example(name, tmp_path)
    label = LABELS[name][1]
    frontend = {
        "setuptools": [sys.executable, "-m", "build", "--wheel", "--installer", "pip"],
        "scikit-build-core": [sys.executable, "-m", "build", "--wheel", "--installer", "uv"],
    }.get(name, ["uv", "build", "--wheel", "--python", sys.executable])
    run([*frontend, f"-Cvariant-label={label}"], cwd=source, env=isolated)
    (path,) = (source / "dist").glob("*.whl")
    wheel = read_wheel(path)
    assert path.name.endswith(f"-{label}.whl")
    assert wheel.metadata["Variant-Label"] == label
    assert list(wheel.variant_json["variants"]) == [label]
    read_by_variantlib = VariantDistInfo(
        wheel.members[f"{wheel.dist_info}/variant.json"], expected_label=label
    )
    assert read_by_variantlib.variant_desc.hexdigest == wheel.metadata["Variant-Hash"]


@pytest.mark.slow  # as test_one_after_the_other_each_variant_holds_its_own_code, which sets them too
@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.parametrize("name", COMPILED)
def test_flags_set_by_hand_reach_the_compiler(name: str, tmp_path: Path) -> None:
    source = example(name, tmp_path)
    counts = {}
    for label in LABELS[name]:
        flags = {"CFLAGS": MARCH[label], "CXXFLAGS": MARCH[label]}
        path = build_wheel(source, tmp_path / label, f"-Cvariant-label={label}", env=flags)
        counts[label] = wide_registers(path, tmp_path)
    assert counts["x86_64_v1"] == 0
    assert counts["x86_64_v3"] > 0


@pytest.mark.parametrize(
    "name",
    # Those of the others are installed by test_the_level_reaches_the_compiler_and_results_are_the_same.
    [
        *("setuptools", *PURE),
        *(pytest.param(one, marks=pytest.mark.slow) for one in COMPILED if one != "setuptools"),
    ],
)
def test_pip_installs_the_wheel_without_its_label_and_it_works(name: str, tmp_path: Path) -> None:
    source = example(name, tmp_path)
    label = LABELS[name][0]
    labelled = build_wheel(source, tmp_path / "out", f"-Cvariant-label={label}")
    plain = labelled.rename(labelled.with_name(labelled.name.replace(f"-{label}.whl", ".whl")))
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    run([*pip, "--target", target, plain], cwd=tmp_path)
    expression, expected = CHECKS[name]
    module = f"polywheel_example_{name.replace('-', '_')}"
    code = f"import sys; sys.path.insert(0, {str(target)!r}); from {module} import *"
    done = run([sys.executable, "-c", f"{code}; print({expression})"], cwd=tmp_path)
    assert done.stdout.strip() == expected
