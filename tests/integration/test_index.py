"""``polywheel index``, and installers that read its files: uv, and pip, which knows no variants."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any, ClassVar

import pytest

from support.builds import build_wheel, run
from support.commands import polywheel
from support.projects import write_project
from support.web_server import FileHandler, serve

X86_64 = platform.machine() in {"x86_64", "AMD64"}
PYPROJECT = """
[build-system]
requires = ["polywheel", "flit_core"]
build-backend = "polywheel.backend"

[project]
name = "Which.Variant"
version = "1.0"
description = "Says which variant it is"
requires-python = ">=3.9"

[tool.flit.module]
name = "which_variant"

[tool.polywheel.providers.x86_64]
query = "never"

[variant.default-priorities]
namespace = ["x86_64", "blas"]
[variant.providers.x86_64]
requires = ["x86-64-variant-provider"]
[variant.providers.blas.static-properties]
library = ["mkl", "openblas"]

[variant.variants.x86]
x86_64.level = ["v1"]
[variant.variants.too_new]
x86_64.level = ["v999"]
[variant.variants.mkl]
blas.library = ["mkl"]
[variant.variants.openblas]
blas.library = ["openblas"]
[variant.variants.null]
"""
LABELS = ("x86", "too_new", "mkl", "openblas", "null", None)
BEST = ("x86", "mkl") if X86_64 else ("mkl", "openblas")
"""What uv takes here, and what it takes where that is gone."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of one release, each variant and the non-variant one, built by the backend."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "dist").mkdir()
    for label in LABELS:
        module = f"variant = {label!r}\n"
        files = {"pyproject.toml": PYPROJECT, "which_variant.py": module}
        source = write_project(folder / f"{label}", files)
        setting = [f"-Cvariant-label={label}"] if label else []
        wheel = build_wheel(source, source / "dist", *setting)
        wheel.rename(folder / "dist" / wheel.name)
    return folder / "dist"


@pytest.fixture
def dist(built: Path, tmp_path: Path) -> Path:
    return Path(copytree(built, tmp_path / "dist"))


@pytest.fixture
def _no_other_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's configuration adds a place to look for packages."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class _Recording(FileHandler):
    asked: ClassVar[list[str]]

    def send_head(self) -> Any:
        self.asked.append(self.path)
        return super().send_head()


class _Negotiating(_Recording):
    """A server that was told of index.json: it sends that one to whoever asks for JSON."""

    def send_head(self) -> Any:
        wanted = "application/vnd.pypi.simple.v1+json" in self.headers.get("Accept", "")
        if wanted and self.path.endswith("/"):
            self.path += "index.json"
        return super().send_head()

    def guess_type(self, path: Any) -> str:
        if str(path).endswith("index.json"):
            return "application/vnd.pypi.simple.v1+json"
        return super().guess_type(path)


@contextmanager
def served(folder: Path, kind: type[_Recording] = _Recording) -> Iterator[tuple[str, list[str]]]:
    """The URL of the simple API of a folder that a file server serves, and what was asked of it."""
    asked: list[str] = []

    handler = type("Handler", (kind,), {"asked": asked})
    with serve(partial(handler, directory=str(folder))) as address:
        yield f"{address}/simple/", asked


def index(*arguments: str | Path) -> str:
    return polywheel("index", *arguments, cwd=Path.cwd()).stdout


def installed(into: Path, command: list[str | Path]) -> str:
    """The variant that a frontend installs into a fresh folder."""
    run([*command, "--target", into, "which-variant"], cwd=into.parent)
    code = "import which_variant; print(which_variant.variant)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(into)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def by_uv(into: Path, *where: str | Path) -> str:
    cache = into.with_name(f"{into.name}-cache")
    feature = ("--preview-features", "wheel-variants")
    options = ("--python", sys.executable, "--cache-dir", cache)
    return installed(into, ["uv", "pip", "install", *feature, *options, *where])


def by_pip(into: Path, *where: str | Path) -> str:
    return installed(into, [sys.executable, "-m", "pip", "install", *where])


@pytest.mark.usefixtures("_no_other_index")
def test_uv_installs_the_best_variant_from_the_folder(dist: Path, tmp_path: Path) -> None:
    assert by_uv(tmp_path / "before", "--no-index", "--find-links", dist) == "None"
    assert "which-variant 1.0: 5 variants in 5 wheels, 1 non-variant wheel" in index(dist)
    assert by_uv(tmp_path / "one", "--no-index", "--find-links", dist) == BEST[0]
    next(dist.glob(f"*-{BEST[0]}.whl")).unlink()
    index(dist)
    assert by_uv(tmp_path / "two", "--no-index", "--find-links", dist) == BEST[1]


@pytest.mark.usefixtures("_no_other_index")
@pytest.mark.parametrize("kind", [_Recording, _Negotiating], ids=["html", "json"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["in place", "elsewhere"])
def test_uv_and_pip_install_from_the_tree_over_a_file_server(
    kind: type[_Recording], elsewhere: bool, dist: Path, tmp_path: Path
) -> None:
    out = tmp_path / "public" if elsewhere else dist
    index(dist, "--simple", "-o", out)
    with served(out, kind) as (url, asked):
        assert by_uv(tmp_path / "uv", "--index-url", url) == BEST[0]
        assert "/which_variant-1.0-variants.json" in asked
        assert f"/which_variant-1.0-py3-none-any-{BEST[0]}.whl.metadata" in asked
        asked.clear()
        assert by_pip(tmp_path / "pip", "--index-url", url) == "None"
        assert "/which_variant-1.0-py3-none-any.whl.metadata" in asked
        assert f"/simple/which-variant/{'index.json' if kind is _Negotiating else ''}" in asked


@pytest.mark.usefixtures("_no_other_index")
def test_a_variant_that_is_gone_is_gone_from_the_tree(dist: Path, tmp_path: Path) -> None:
    index(dist, "--simple")
    next(dist.glob(f"*-{BEST[0]}.whl")).unlink()
    assert f"which_variant-1.0-py3-none-any-{BEST[0]}.whl.metadata, which was out of date" in index(
        dist, "--simple"
    )
    with served(dist) as (url, _):
        assert by_uv(tmp_path / "uv", "--index-url", url) == BEST[1]


@pytest.mark.usefixtures("_no_other_index")
def test_a_wheel_changed_behind_the_back_of_the_tree_is_refused(dist: Path, tmp_path: Path) -> None:
    """The hashes are there for something."""
    index(dist, "--simple")
    plain = dist / "which_variant-1.0-py3-none-any.whl"
    plain.write_bytes(next(dist.glob("*-null.whl")).read_bytes())
    with served(dist) as (url, _):
        command = [sys.executable, "-m", "pip", "install", "--index-url", url, "which-variant"]
        done = run([*command, "--target", tmp_path / "pip"], cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "do not match the hash" in done.stdout.lower().replace("doesn't", "do not")


def test_variantlib_makes_the_same_of_built_wheels(dist: Path, tmp_path: Path) -> None:
    theirs = Path(copytree(dist, tmp_path / "theirs"))
    index(dist)
    run(["variantlib", "generate-index-json", "-d", theirs], cwd=tmp_path)
    (path,) = theirs.glob("*.json")
    ours = json.loads((dist / path.name).read_bytes())
    other = json.loads(path.read_bytes())
    assert {**ours, "$schema": ""} == {**other, "$schema": ""}


def test_metadata_alone_need_little_of_what_polywheel_is(dist: Path) -> None:
    """A short command is over before what it does not need would be imported."""
    code = (
        "import sys; from polywheel.cli import main; code = main(['index', sys.argv[1]]); "
        "print(*sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, str(dist)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "polywheel.index.write.index" in imported
    assert not imported & {
        "concurrent.futures",
        "csv",
        "difflib",
        "email",
        "jinja2",
        "multiprocessing",
        "packaging.requirements",
        "packaging.tags",
        "packaging.utils",
        "polywheel.wheel.inspect",
        "polywheel.index.write.simple",
        "polywheel.wheel.archive.reader",
        "rich",
        "shutil",
        "subprocess",
        "tomllib",
    }


def test_half_a_job_is_not_a_success(dist: Path, tmp_path: Path) -> None:
    (dist / "broken-1.0-py3-none-any.whl").write_bytes(b"PK")
    done = polywheel("index", dist, "--simple", cwd=tmp_path, check=False)
    assert done.returncode == 4
    assert "broken-1.0-py3-none-any.whl" in done.stdout
    assert (dist / "simple" / "which-variant" / "index.html").exists()
    assert not (dist / "simple" / "broken").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nowhere"], 2), (["."], 2), ([], 2), (["--help"], 0), ([".", "-o", "file/below"], 2)],
)
def test_exit_codes(arguments: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "polywheel", "index", *arguments]
    done = run(command, cwd=tmp_path, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stdout
