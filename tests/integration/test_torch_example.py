"""examples/torch: an extension of torch, for two versions of torch.

Both versions are installed. On Linux, PyPI has them with CUDA: together 3 GB of downloads, unless pip's settings name a
folder or an index with other builds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from polywheel.environments.interpreters import probe
from polywheel.environments.virtual_environments import Environments
from support.build_command import Builds
from support.builds import read_wheel, run
from support.projects import HERE, example

pytestmark = pytest.mark.slow
TORCH = ("2.13", "2.14")
CODE = """
import torch, polywheel_example_torch as m
print(torch.__version__.partition("+")[0], m.compiled_with())
print(m.squash(torch.tensor([1.0, -3.0])))
"""


def check(path: Path, torch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has the label of the torch that it was compiled with, and works beside it."""
    assert path.name.endswith(f"-torch{torch}.whl")
    metadata = read_wheel(path).metadata
    assert metadata.get_all("Variant-Property") == [
        f"abi_dependency :: torch :: {torch}",
        "accelerator :: kind :: cpu",
    ]
    assert metadata.get_all("Requires-Dist") == [f"torch=={torch}.*"]
    # With its requirements, as pip's settings find them.
    folder = path.parent / f"installed-{torch}"
    folder.mkdir()
    plain = path.rename(folder / path.name.replace(f"-torch{torch}", ""))
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(folder / "cache"))
    python = probe(sys.executable)
    assert python is not None
    wheel = f"polywheel-example-torch @ {plain.as_uri()}"
    environment = Environments(fresh=False, notify=print).get(python, [wheel])
    printed = run([environment.python, "-W", "ignore", "-c", CODE], cwd=path.parent).stdout
    versions, result = printed.splitlines()
    (installed, compiled) = versions.split()
    assert installed == compiled
    assert installed.startswith(f"{torch}.")
    assert result == "tensor([ 0.5000, -0.7500])"


def test_polywheel_build_compiles_each_wheel_with_its_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = Builds(example("torch", tmp_path), tmp_path / "out", patience=3600)
    done = builds("--python", HERE)
    assert done.states == {f"torch{torch}": "built" for torch in TORCH}
    for torch, path in zip(TORCH, sorted(builds.out.glob("*.whl")), strict=True):
        assert "Traceback" not in builds.log(f"torch{torch}")
        check(path, torch, monkeypatch)


def test_the_frontend_installs_torch_after_the_first_question(
    tmp_path: Path, isolated: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = example("torch", tmp_path)
    command = [sys.executable, "-m", "build", "--wheel", f"-Cvariant-label=torch{TORCH[0]}"]
    done = run(command, cwd=source, env={**os.environ, **isolated})
    assert f"not installed yet: torch=={TORCH[0]}.*; it is asked again" in done.stdout
    (path,) = (source / "dist").glob("*.whl")
    check(path, TORCH[0], monkeypatch)
