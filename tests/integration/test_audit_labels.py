"""``polywheel audit`` on wheels whose device code, libraries, or content do not fit their labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from polywheel.model.variant import Provider
from support.binary_files import elf_file
from support.builds import run
from support.commands import polywheel
from support.cuda import cuda_code, hip_code
from support.index_wheels import declared, variant, write_wheel

KERNEL = """
__global__ void scale(float *x) { x[threadIdx.x] *= 2; }
extern "C" void run(float *x) { scale<<<1, 256>>>(x); }
"""


def wheel(folder: Path, label: str, files: Mapping[str, bytes], *properties: str) -> Path:
    """A wheel of a variant with these files."""
    names = {text.partition(" ")[0] for text in properties}
    providers = {name: Provider(namespace=name, requires=(f"{name}-provider",)) for name in names}
    metadata = declared(*sorted(names), providers=providers)
    what = variant(label, *properties)
    return write_wheel(folder, what, tag="cp311-cp311-linux_x86_64", metadata=metadata, files=files)


def audit(folder: Path, *wheels: Path, code: int = 0) -> dict[str, set[tuple[str, str, str]]]:
    """The severity, check, and text of the findings, by the label of the wheel."""
    done = polywheel("audit", *wheels, "--json", cwd=folder, check=False, apart=True)
    assert done.returncode == code, done.stdout + done.stderr
    return {
        entry["label"]: {(one["severity"], one["check"], one["what"]) for one in entry["findings"]}
        for entry in json.loads(done.stdout)["wheels"]
    }


def nvidia(*values: str) -> list[str]:
    return [f"nvidia :: sm_arch :: {value}" for value in values]


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc")
def test_wheels_of_nvcc_with_other_architectures_than_their_labels(tmp_path: Path) -> None:
    (tmp_path / "kernel.cu").write_text(KERNEL, encoding="utf-8")
    library = tmp_path / "_core.so"
    codes = ("[sm_80,compute_80]", "sm_90a")
    flags = [
        f"-gencode=arch=compute_{code.rpartition('_')[2].strip(']')},code={code}" for code in codes
    ]
    run(["nvcc", "-shared", "-Xcompiler=-fPIC", *flags, "-o", library, "kernel.cu"], cwd=tmp_path)
    files = {"demo/_core.so": library.read_bytes()}
    labels = {
        "exact": nvidia("80_real", "80_virtual", "90a_real"),
        "missing": nvidia("80_real", "80_virtual", "90a_real", "75_real", "120_virtual"),
        "beyond": nvidia("80_real"),
    }
    wheels = [wheel(tmp_path, label, files, *labels[label]) for label in labels]
    found = audit(tmp_path, *wheels, code=4)
    same = {one for one in found["exact"] if one[1] == "same-content"}
    assert len(same) == 1
    check = "gpu-architectures"
    assert {label: findings - same for label, findings in found.items()} == {
        "exact": set(),
        "missing": {
            ("error", check, "device code of the label is missing: 75_real"),
            (
                "warning",
                check,
                "device code of the label is missing: 120_virtual (80_virtual will run instead)",
            ),
        },
        "beyond": {
            ("warning", check, "device code that the label does not declare: 80_virtual, 90a_real")
        },
    }


def test_device_code_and_libraries_that_contradict_the_label(tmp_path: Path) -> None:
    cuda, hip = cuda_code("80_real"), hip_code("gfx90a")
    content = elf_file(
        libraries=["libcudart-1a2b3c4d.so.13", "libiomp5.so", "libopenblas.so.0"],
        sections={".nv_fatbin": cuda, ".hip_fatbin": hip},
    )
    properties = (
        *("nvidia :: sm_arch :: 90_real", "nvidia :: cuda_version_lower_bound :: 12.8"),
        *("amd :: gfx_arch :: gfx90a", "amd :: gfx_arch :: gfx942"),
        *("blas_lapack :: library :: openblas", "openmp :: provider :: gnu"),
    )
    path = wheel(tmp_path, "all", {"demo/_core.so": content}, *properties)
    found = audit(tmp_path, path, code=4)
    assert {what for severity, _, what in found["all"] if severity == "error"} == {
        "device code of the label is missing: 90_real",
        "device code of the label is missing: gfx942",
        "it needs libcudart-1a2b3c4d.so.13, newer than 'nvidia :: cuda_version_lower_bound :: 12.8'",
        "it needs libiomp5.so (intel), the label declares 'openmp :: provider :: gnu'",
    }
    done = polywheel("audit", path, cwd=tmp_path, check=False)
    assert "error: demo/_core.so: device code of the label is missing: gfx942" in done.stdout
    assert "hint: the file has gfx90a" in done.stdout


def test_labels_that_make_no_difference(tmp_path: Path) -> None:
    files = {"demo/_core.so": elf_file()}
    level, bf16 = "x86_64 :: level :: v3", "x86_64 :: avx512_bf16 :: on"
    wheels = [
        wheel(tmp_path, "v3", files, level),
        wheel(tmp_path, "bf16", files, bf16),
        wheel(tmp_path, "pure", {"demo/__init__.py": b""}, level),
    ]
    same = "the same content has several labels: 'bf16', 'v3'"

    def unused(prop: str) -> tuple[str, str, str]:
        what = f"the label declares '{prop}', but no code uses its instructions"
        return "note", "unused-level", what

    assert audit(tmp_path, *wheels) == {
        "v3": {("warning", "same-content", same), unused(level)},
        "bf16": {("warning", "same-content", same), unused(bf16)},
        "pure": {unused(level)},
    }
