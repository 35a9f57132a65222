"""Projects from PyPI: unpacked sdists with new tables in pyproject.toml."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from support.build_command import Builds
from support.builds import downloaded_sdist, extension, read_wheel, run, wide_registers
from support.commands import polywheel
from support.projects import HERE

pytestmark = pytest.mark.usefixtures("x86_64_gcc")

VARIANTS = """
[variant.default-priorities]
namespace = ["x86_64"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"
"""


def unpacked(project: str, backend: str, python: str, into: Path) -> Path:
    """The sdist of a project, with polywheel put in front of its backend."""
    sdist = downloaded_sdist(project, python)
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    source = into / sdist.name.removesuffix(".tar.gz")
    pyproject = source / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    assert f'build-backend = "{backend}"' in text
    text = text.replace(f'build-backend = "{backend}"', 'build-backend = "polywheel.backend"')
    text = re.sub(r"(\[build-system\][^\[]*requires = \[)", r'\1"polywheel", ', text, count=1)
    assert '"polywheel", ' in text
    path = re.search(r"^backend-path = .*\n", text, re.MULTILINE)
    moved = path[0] if path else ""
    text = text.replace(moved, "")
    text += f'\n[tool.polywheel]\nbuild-backend = "{backend}"\n{moved}{VARIANTS}'
    pyproject.write_text(text, encoding="utf-8")
    return source


def levels(source: Path, python: str, env: dict[str, str], tmp_path: Path) -> dict[str, int]:
    """How many wide instructions the extensions of each level's wheel hold."""
    found = {}
    for level, flag in (("v1", "-march=x86-64"), ("v3", "-march=x86-64-v3")):
        out = tmp_path / level
        command = ["uv", "build", "--wheel", "--python", python, "--out-dir", str(out)]
        flags = {"CFLAGS": f"-O3 {flag}", "CXXFLAGS": f"-O3 {flag}"}
        run([*command, f"-Cvariant=x86_64::level::{level}"], cwd=source, env={**env, **flags})
        (path,) = out.glob("*.whl")
        wheel = read_wheel(path)
        assert wheel.metadata["Variant-Property"] == f"x86_64 :: level :: {level}"
        found[level] = wide_registers(path, tmp_path)
    return found


def test_markupsafe_with_setuptools(tmp_path: Path, isolated: dict[str, str]) -> None:
    source = unpacked("markupsafe==3.0.3", "setuptools.build_meta", sys.executable, tmp_path)
    # Its one loop is not vectorised: what counts is that real sources build, twice, from one tree.
    assert levels(source, sys.executable, isolated, tmp_path)["v1"] == 0


@pytest.mark.slow
def test_contourpy_with_meson_python(
    tmp_path: Path, isolated: dict[str, str], python312: str
) -> None:
    source = unpacked("contourpy==1.4.0", "mesonpy", python312, tmp_path)
    counts = levels(source, python312, isolated, tmp_path)
    assert counts["v1"] == 0
    assert counts["v3"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("project", "backend"),
    [
        # an in-tree backend over setuptools
        ("frozenlist==1.8.0", "pep517_backend.hooks"),
        # a build script of poetry-core
        ("ulid_transform==2.2.9", "poetry.core.masonry.api"),
    ],
)
def test_a_variant_is_compiled_with_pythons_own_flags(
    project: str, backend: str, tmp_path: Path, isolated: dict[str, str]
) -> None:
    """Code that is not optimized keeps its variables on the stack: many more accesses there."""
    source = unpacked(project, backend, sys.executable, tmp_path)
    pythons = set((sysconfig.get_config_var("CFLAGS") or "").split())
    stack = []
    for name, settings in (("plain", []), ("v3", ["-Cvariant=x86_64::level::v3"])):
        out = tmp_path / name
        command = ["uv", "build", "--wheel", "--python", sys.executable, "--out-dir", str(out)]
        log = run([*command, *settings], cwd=source, env=isolated).stdout
        for line in log.splitlines():
            if re.match(r"\s*(gcc|g\+\+|cc|c\+\+) .* -c ", line):
                assert pythons <= set(line.split()), line
        (wheel,) = out.glob("*.whl")
        module = extension(read_wheel(wheel), tmp_path / f"unpacked-{name}")
        stack.append(run(["objdump", "-d", module], cwd=tmp_path).stdout.count("(%rbp)"))
    assert stack[1] < 1.5 * stack[0] + 100


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64 (Debian: qemu-user)"
)
def test_xxhash_with_the_code_of_v3_and_the_label_v2(tmp_path: Path) -> None:
    """Its test dies on the oldest CPU of the label, and the audit names the functions."""
    source = unpacked("xxhash==3.5.0", "setuptools.build_meta", sys.executable, tmp_path)
    pyproject = source / "pyproject.toml"
    text = pyproject.read_text("utf-8").replace(
        "[tool.polywheel]\n",
        "[tool.polywheel]\nemulate = true\n"
        "test-command = \"python -c 'import xxhash; print(xxhash.xxh3_64_hexdigest(bytes(9999)))'\"\n",
    )
    pyproject.write_text(
        f"""{text}
[variant.variants.v2]
x86_64.level = ["v2"]
[variant.variants.v3]
x86_64.level = ["v3"]
[tool.polywheel.setup."x86_64 :: level"]
cflags = ["-O2", "-march=x86-64-v3"]
[tool.polywheel.matrix]
python = ["{HERE}"]
""",
        encoding="utf-8",
    )
    builds = Builds(source, tmp_path / "out")
    jobs = {job["label"]: job for job in builds(code=1).report["jobs"]}
    assert jobs["v3"]["test"]["state"] == "passed"
    assert "SIGILL" in jobs["v2"]["test"]["reason"]
    (wheel,) = (builds.out / "failed").glob("*-v2.whl")
    audit = polywheel("audit", wheel, cwd=tmp_path, check=False)
    assert audit.returncode == 4
    assert re.search(r"error: xxhash/_xxhash.*: XXH3_\w+: BMI2 \(level v3\)", audit.stdout)
