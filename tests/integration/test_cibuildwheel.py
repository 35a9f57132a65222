"""The real cibuildwheel builds, repairs and tests variants; polywheel gives them their names.

Opt-in: ``nox -s cibuildwheel``. What runs in the containers is nobody's stand-in but the image (see
``tests/containers/image.sh``): cibuildwheel, its default frontend, auditwheel, pip.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from polywheel.cli import main
from support.builds import extension, levels_of_this_machine, read_wheel, run, snapshot
from support.containers import Machine
from support.projects import example

pytestmark = pytest.mark.cibuildwheel

LABELS = ("x86_64_v2", "x86_64_v3", "null")
PROJECT = "polywheel_example_cibuildwheel-1.0.0"
EAGER = "variant-label=x86_64_v3 variant-filename=label"
TOOLS = "/opt/python/cp312-cp312/bin"


@pytest.fixture(scope="module")
def runs(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with what each variant's run made, as the README of the example says; the logs."""
    folder = tmp_path_factory.mktemp("runs")
    source = example("cibuildwheel", folder)
    logs = [
        machine.build(source, folder / "wheelhouse" / label, f"variant-label={label}")
        for label in LABELS
    ]
    return folder / "wheelhouse", "\n".join(logs)


@pytest.fixture(scope="module")
def dist(runs: tuple[Path, str]) -> Path:
    """The wheels of all runs under their final names."""
    out = runs[0].with_name("dist")
    assert main(["finalize", *(str(runs[0] / label) for label in LABELS), "-o", str(out)]) == 0
    return out


def wheel_of(folder: Path, python: str, label: str) -> Path:
    (path,) = folder.glob(f"{PROJECT}-{python}-*-{label}.whl")
    return path


def popcounts(wheel: Path, scratch: Path) -> int:
    module = extension(read_wheel(wheel), scratch / wheel.name)
    return run(["objdump", "-d", module], cwd=scratch).stdout.count("popcnt")


def test_the_runs_repair_and_test_two_pythons_of_three_variants(runs: tuple[Path, str]) -> None:
    folder, log = runs
    names = {label: sorted(snapshot(folder / label)) for label in LABELS}
    assert len(names["null"]) == 2
    assert names["null"] == names["x86_64_v2"] == names["x86_64_v3"], "or no run could overwrite"
    assert all("manylinux_" in name and name.endswith("_x86_64.whl") for name in names["null"])
    assert log.count("Fixed-up wheel written to") == 6
    assert log.count("'polywheel finalize' adds it") == 6
    assert log.count("from polywheel_example_cibuildwheel import count; assert") >= 6


def test_finalized_they_are_labelled_repaired_stamped_and_whole(dist: Path, tmp_path: Path) -> None:
    assert len(snapshot(dist)) == 6
    for python in ("cp311", "cp312"):
        counts = {}
        for label in LABELS:
            path = wheel_of(dist, python, label)
            assert "manylinux_" in path.name
            wheel = read_wheel(path)
            assert list(wheel.variant_json["variants"]) == [label]
            assert wheel.metadata["Variant-Label"] == label
            counts[label] = popcounts(path, tmp_path)
        assert counts["null"] == 0
        assert counts["x86_64_v2"] > 0
        assert counts["x86_64_v3"] > 0


def test_show_finds_nothing_and_a_second_run_does_nothing(
    runs: tuple[Path, str], dist: Path
) -> None:
    assert main(["show", "--hashes", str(dist)]) == 0
    before = {path: path.stat().st_mtime_ns for path in dist.iterdir()}
    folders = [str(runs[0] / label) for label in LABELS]
    assert main(["finalize", *folders, str(dist), "-o", str(dist)]) == 0
    assert {path: path.stat().st_mtime_ns for path in dist.iterdir()} == before


def test_uv_installs_the_best_of_them(dist: Path, tmp_path: Path) -> None:
    served, target = tmp_path / "served", tmp_path / "target"
    shutil.copytree(dist, served)
    assert main(["index", str(served)]) == 0
    uv = ["uv", "pip", "install", "--quiet", "--preview-features", "wheel-variants", "--offline"]
    where = ["--no-cache", "--no-index", "--find-links", str(served), "--target", str(target)]
    run([*uv, *where, "--python", sys.executable, PROJECT.partition("-")[0]], cwd=tmp_path)
    (info,) = target.glob("*.dist-info")
    (label,) = [
        line.partition(": ")[2]
        for line in (info / "METADATA").read_text(encoding="utf-8").splitlines()
        if line.startswith("Variant-Label: ")
    ]
    levels = levels_of_this_machine()
    best = next((f"x86_64_{level}" for level in ("v3", "v2") if level in levels), "null")
    assert label == best
    code = "from polywheel_example_cibuildwheel import count; print(count(b'abc'))"
    assert run([sys.executable, "-c", code], cwd=target).stdout.strip() == "10"


def test_a_label_in_the_name_breaks_every_step_after_the_build(
    machine: Machine, tmp_path: Path
) -> None:
    """What the guide says fails without polywheel's part; the next test has it mended."""
    source = example("cibuildwheel", tmp_path)
    one = {"CIBW_BUILD": "cp311-manylinux_x86_64"}
    log = machine.build(source, tmp_path / "a", EAGER, check=False, **one)
    assert "Successfully built" in log
    assert "Invalid build number" in log
    assert log.count("auditwheel repair -w") >= 1
    log = machine.build(
        source, tmp_path / "b", EAGER, check=False, CIBW_REPAIR_WHEEL_COMMAND="", **one
    )
    assert "Invalid build number" in log
    assert "auditwheel repair -w" not in log
    assert not (tmp_path / "b").exists() or not snapshot(tmp_path / "b")


def test_a_backend_that_labels_by_itself_goes_through_polywheel_repair(
    machine: Machine, tmp_path: Path
) -> None:
    source, out = example("cibuildwheel", tmp_path), tmp_path / "out"
    command = "polywheel repair -- auditwheel repair -w {dest_dir} {wheel}"
    log = machine.build(
        source,
        out,
        EAGER,
        CIBW_BEFORE_ALL=f"{TOOLS}/python -m pip install polywheel",
        CIBW_REPAIR_WHEEL_COMMAND=f"{TOOLS}/{command}",
    )
    assert log.count("linux_x86_64-x86_64_v3.whl") >= 2, "the backend did not label"
    assert log.count("Fixed-up wheel written to") == 2
    assert not list(out.glob("*-x86_64_v3.whl"))
    assert main(["finalize", str(out)]) == 0
    assert main(["show", "--hashes", str(out)]) == 0
    assert len(snapshot(out)) == 2
    for python in ("cp311", "cp312"):
        path = wheel_of(out, python, "x86_64_v3")
        assert "manylinux_" in path.name
        assert read_wheel(path).metadata["Variant-Label"] == "x86_64_v3"


def test_an_abi3_wheel_of_a_variant_is_reused_for_later_pythons(
    machine: Machine, tmp_path: Path
) -> None:
    source, out = example("cibuildwheel", tmp_path), tmp_path / "out"
    pyproject = source / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    limited = 'py-limited-api = true\ndefine-macros = [["Py_LIMITED_API", "0x030B0000"]]\n'
    sources = 'sources = ["src/bits.c"]\n'
    assert sources in text
    text = text.replace(sources, f"{sources}{limited}")
    text += '\n[tool.distutils.bdist_wheel]\npy_limited_api = "cp311"\n'
    pyproject.write_text(text, encoding="utf-8")
    # The audit of abi3 wheels runs beside cibuildwheel, in an environment that it downloads tools for.
    for label in ("x86_64_v2", "x86_64_v3"):
        log = machine.build(source, out / label, f"variant-label={label}", CIBW_AUDIT_COMMAND="")
        assert "Found previously built wheel" in log
        assert log.count("import count; assert") >= 2, "it is tested with both Pythons"
    dist = tmp_path / "dist"
    assert main(["finalize", *(str(one) for one in out.iterdir()), "-o", str(dist)]) == 0
    assert len(snapshot(dist)) == 2
    for label in ("x86_64_v2", "x86_64_v3"):
        assert "-cp311-abi3-" in wheel_of(dist, "cp311", label).name
    assert main(["show", "--hashes", str(dist)]) == 0


def test_a_machine_without_a_container_engine_is_told_by_cibuildwheel(
    machine: Machine, tmp_path: Path
) -> None:
    """It ends with an error and no wheel, and finalize says that there is none."""
    source, out = example("cibuildwheel", tmp_path), tmp_path / "out"
    out.mkdir()
    empty = {"PATH": str(tmp_path), "CIBW_CONTAINER_ENGINE": "docker"}
    machine.build(source, out, "variant-label=null", check=False, **empty)
    assert not snapshot(out)
    assert main(["finalize", str(out)]) == 2
