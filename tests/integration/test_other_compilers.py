"""Examples with other compilers: nvcc, cargo."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from support.builds import build_wheel, install, read_wheel, run, wide_registers
from support.cuda import architectures
from support.projects import example


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc")
@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("sm80", {"80_real"}),
        pytest.param("sm90", {"90_real"}, marks=pytest.mark.slow),
        ("sm80_sm90", {"80_real", "90_real"}),
    ],
)
def test_cuda_wheels_hold_the_declared_architectures_and_no_other(
    label: str, expected: set[str], tmp_path: Path
) -> None:
    source = example("cuda", tmp_path)
    wheel = read_wheel(build_wheel(source, tmp_path / "out", f"-Cvariant-label={label}"))
    assert architectures(wheel) == expected


@pytest.mark.skipif(not shutil.which("cargo"), reason="needs cargo and rustc")
@pytest.mark.usefixtures("x86_64_gcc")
def test_rust_wheels_of_two_levels_hold_their_own_code_and_agree(tmp_path: Path) -> None:
    source = example("rust", tmp_path)
    results: dict[str, str] = {}
    for level in ("v1", "v3", "v1"):
        out = tmp_path / f"{level}-{len(results)}"
        wheel = build_wheel(source, out, f"-Cvariant=x86_64::level::{level}")
        scratch = tmp_path / "scratch" / out.name
        assert (wide_registers(wheel, scratch) > 0) == (level == "v3")
        target = tmp_path / f"installed-{out.name}"
        plain = wheel.rename(wheel.with_name(wheel.name.replace(f"-x86_64_{level}", "")))
        install(target, plain)
        code = (
            f"import sys; sys.path.insert(0, {str(target)!r})\n"
            "from polywheel_example_rust import blend\n"
            "print(blend(bytes(i % 256 for i in range(5000)), bytes(i % 199 for i in range(5000))))"
        )
        results[out.name] = run([sys.executable, "-c", code], cwd=tmp_path).stdout
    assert len(set(results.values())) == 1
    assert (source / "target" / "polywheel").is_dir()
