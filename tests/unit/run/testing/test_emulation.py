"""Which CPU a wheel is tested on, and the proof that its test ran there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from polywheel.errors import BuildError
from polywheel.model.setup import CpuModel
from polywheel.model.variant import VariantProperty
from polywheel.run.testing.emulation import EmulatedPython, emulate_python, oldest_cpu

HASWELL = CpuModel(model="Haswell", has=("avx2",), lacks=("avx512f",))
posix = pytest.mark.skipif(sys.platform == "win32", reason="the script is for sh")


@pytest.mark.parametrize(
    ("properties", "model"),
    [
        ([], "qemu64"),
        (["blas :: library :: mkl"], "qemu64"),
        (["x86_64 :: level :: v1"], "qemu64"),
        (["x86_64 :: level :: v2", "blas :: library :: mkl"], "Nehalem"),
        (["x86_64 :: level :: v3"], "Haswell"),
    ],
)
def test_the_oldest_cpu_that_a_label_admits(properties: list[str], model: str) -> None:
    cpu = oldest_cpu("x86_64", [*map(VariantProperty.parse, properties)])
    assert isinstance(cpu, CpuModel)
    assert cpu.model.partition(",")[0] == model
    assert not set(cpu.has) & set(cpu.lacks)


@pytest.mark.parametrize(
    ("machine", "properties", "why"),
    [
        (
            "x86_64",
            ["x86_64 :: level :: v4"],
            "no CPU model is known that has x86_64 :: level :: v4",
        ),
        ("x86_64", ["x86_64 :: avx2 :: on"], "no CPU model is known that has x86_64 :: avx2 :: on"),
        ("x86_64", ["x86_64 :: level :: v3", "x86_64 :: aes :: on"], "no CPU model is known"),
        ("riscv64", [], "no CPU model of riscv64 is known"),
        ("aarch64", [], "no CPU model of aarch64 is known"),
    ],
)
def test_wheels_that_are_not_emulated(machine: str, properties: list[str], why: str) -> None:
    assert why in str(oldest_cpu(machine, [*map(VariantProperty.parse, properties)]))


@pytest.mark.parametrize(
    ("recorded", "problem"),
    [
        ("", "the test started no Python of its environment"),
        ("cpu avx avx2\n", None),
        ("cpu avx avx2\ncpu avx2 avx512f\n", "ran on a CPU with avx512f"),
        ("cpu avx\n", "ran on a CPU without avx2"),
        ("cpu \xff\n", "ran on a CPU without avx2"),
    ],
)
def test_the_proof(recorded: str, problem: str | None, tmp_path: Path) -> None:
    record = tmp_path / "record"
    if recorded:
        record.write_text(recorded, encoding="latin-1")
    python = EmulatedPython(cpu=HASWELL, record=record)
    if problem is None:
        python.check()
        return
    with pytest.raises(BuildError, match=problem):
        python.check()


@posix
def test_the_script_that_takes_the_place_of_python(tmp_path: Path) -> None:
    real, environment = tmp_path / "real python", tmp_path / "an environment"
    real.touch()
    environment.mkdir()
    python = environment / "python"
    python.symlink_to(real)
    program = tmp_path / "emulator"
    program.touch(mode=0o755)
    emulator = (str(program), "-x{model}", "{python}", "$(touch hacked)")
    emulate_python(python, [environment], HASWELL, emulator, tmp_path / "it's")
    assert os.access(python, os.X_OK)
    _, line = python.read_text("utf-8").splitlines()
    assert line == (
        f"exec {program} -xHaswell '{python}' '$(touch hacked)' '{python}-native' \"$@\""
    )
    assert "record(" in (environment / "_polywheel_record_cpu.pth").read_text("utf-8")
    with pytest.raises(BuildError, match="the emulator 'no-such-emulator' is not installed"):
        emulate_python(python, [environment], HASWELL, ("no-such-emulator",), tmp_path)
