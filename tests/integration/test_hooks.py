"""The hooks for frontends: the existing hooks, their results, and the arguments for the real backend."""

from __future__ import annotations

import filecmp
import json
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest
from pyproject_hooks import (
    BuildBackendHookCaller,
    UnsupportedOperation,
    quiet_subprocess_runner,
)

from support.builds import build, build_wheel, read_wheel, run, snapshot
from support.projects import example, fake_backend, write_project

OPTIONAL = (
    "build_editable",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
)
STATIC = """
[variant.default-priorities]
namespace = ["blas_lapack"]
[variant.providers.blas_lapack.static-properties]
library = ["openblas", "mkl"]
[variant.variants.fast]
blas_lapack.library = ["mkl"]
"""
SPY = fake_backend(
    """
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import json
    said = {"settings": config_settings, "metadata_directory": metadata_directory}
    return write_wheel(wheel_directory, {"said.json": json.dumps(said)})

def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError
""",
    name="spied",
)
"""A backend whose wheel holds the arguments of the hook."""


def in_tree(folder: Path, backend: str, extra: str = STATIC) -> Path:
    pyproject = """
    [build-system]
    requires = ["polywheel"]
    build-backend = "polywheel.backend"
    [project]
    name = "spied"
    version = "1.0"
    [tool.polywheel]
    build-backend = "spy"
    backend-path = ["_build"]
    """
    files = {"pyproject.toml": textwrap.dedent(pyproject) + extra, "_build/spy.py": backend}
    return write_project(folder, files)


def hooks_of(source: Path, backend: str) -> set[str]:
    code = f"import {backend} as b; print([h for h in {OPTIONAL!r} if hasattr(b, h)])"
    done = run([sys.executable, "-c", code], cwd=source)
    return set(eval(done.stdout.strip().splitlines()[-1]))


def caller(source: Path) -> BuildBackendHookCaller:
    return BuildBackendHookCaller(str(source), "polywheel.backend", runner=quiet_subprocess_runner)


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("meson", "mesonpy"),
        ("scikit-build-core", "scikit_build_core.build"),
        ("setuptools", "setuptools.build_meta"),
        ("hatchling", "hatchling.build"),
        ("flit-core", "flit_core.buildapi"),
    ],
)
def test_the_optional_hooks_are_those_of_the_real_backend(
    name: str, backend: str, tmp_path: Path
) -> None:
    source = example(name, tmp_path)
    assert hooks_of(source, "polywheel.backend") == hooks_of(source, backend)


def test_an_in_tree_backend_without_optional_hooks_has_none_through_polywheel(
    tmp_path: Path,
) -> None:
    source = in_tree(tmp_path, SPY)
    assert hooks_of(source, "polywheel.backend") == set()
    assert caller(source)._supported_features() == []


@pytest.mark.parametrize("hook", OPTIONAL)
def test_each_optional_hook_exists_for_itself(hook: str, tmp_path: Path) -> None:
    source = in_tree(tmp_path, f"{SPY}\ndef {hook}(*args, **kwargs):\n    return []\n")
    assert hooks_of(source, "polywheel.backend") == {hook}


def test_the_real_backend_sees_neither_our_keys_nor_our_metadata(tmp_path: Path) -> None:
    source = in_tree(tmp_path / "source", SPY)
    metadata = tmp_path / "spied-1.0.dist-info"
    metadata.mkdir()
    settings = {
        "variant": ["blas_lapack::library::openblas"],
        "variant-label": "chosen",
        "variant-filename": "unlabelled",
        "theirs": "kept",
        "theirs-too": ["a", "b"],
    }
    name = caller(source).build_wheel(str(tmp_path), settings, str(metadata))
    assert name == "spied-1.0-py3-none-any.whl"
    wheel = read_wheel(tmp_path / name)
    assert json.loads(wheel.members["said.json"]) == {
        "settings": {"theirs": "kept", "theirs-too": ["a", "b"]},
        "metadata_directory": None,
    }
    assert wheel.metadata["Variant-Label"] == "chosen"


def test_without_a_variant_the_real_backend_sees_what_the_frontend_said(tmp_path: Path) -> None:
    source = in_tree(tmp_path / "source", SPY)
    name = caller(source).build_wheel(str(tmp_path), {"theirs": "kept"}, "/some/where")
    said = json.loads(read_wheel(tmp_path / name).members["said.json"])
    assert said == {"settings": {"theirs": "kept"}, "metadata_directory": "/some/where"}
    name = caller(source).build_wheel(str(tmp_path), None)
    said = json.loads(read_wheel(tmp_path / name).members["said.json"])
    assert said == {"settings": None, "metadata_directory": None}


@pytest.mark.parametrize("name", ["meson", "scikit-build-core", "setuptools", "hatchling"])
def test_without_a_variant_the_wheel_is_the_real_backends_to_the_byte(
    name: str, tmp_path: Path
) -> None:
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    source = example(name, tmp_path)
    ours = build_wheel(source, tmp_path / "ours", env=env)
    pyproject = source / "pyproject.toml"
    real = {"meson": "mesonpy", "scikit-build-core": "scikit_build_core.build"}.get(name)
    real = real or {"setuptools": "setuptools.build_meta", "hatchling": "hatchling.build"}[name]
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace('"polywheel.backend"', f'"{real}"'), encoding="utf-8")
    theirs = build_wheel(source, tmp_path / "theirs", env=env)
    assert ours.name == theirs.name
    assert filecmp.cmp(ours, theirs, shallow=False)


@pytest.mark.parametrize("name", ["setuptools", "hatchling", "flit-core"])
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_prepared_metadata_is_that_of_the_wheel(name: str, kind: str, tmp_path: Path) -> None:
    source = example(name, tmp_path)
    label = {"hatchling": "small", "flit-core": "mkl"}.get(name, "x86_64_v3")
    settings = {"variant-label": label}
    hooks = caller(source)
    prepared = tmp_path / "prepared"
    out = tmp_path / "out"
    prepared.mkdir()
    out.mkdir()
    folder = getattr(hooks, f"prepare_metadata_for_build_{kind}")(
        str(prepared), settings, _allow_fallback=False
    )
    built = getattr(hooks, f"build_{kind}")(str(out), settings, str(prepared / folder))
    wheel = read_wheel(out / built)
    for file in ("METADATA", "variant.json"):
        said = (prepared / folder / file).read_bytes()
        assert said == wheel.members[f"{wheel.dist_info}/{file}"]
    assert wheel.metadata["Variant-Label"] == label


@pytest.mark.parametrize("name", ["setuptools", "hatchling", "meson"])
def test_an_editable_variant_is_stamped_and_has_no_label_in_its_name(
    name: str, tmp_path: Path
) -> None:
    source = example(name, tmp_path)
    label = {"hatchling": "small"}.get(name, "x86_64_v3")
    out = tmp_path / "out"
    out.mkdir()
    built = caller(source).build_editable(str(out), {"variant-label": label})
    assert label not in built
    assert read_wheel(out / built).metadata["Variant-Label"] == label


def test_an_editable_build_without_a_variant_is_the_real_backends(tmp_path: Path) -> None:
    source = example("hatchling", tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    built = caller(source).build_editable(str(out))
    assert not read_wheel(out / built).stamped


def test_an_sdist_made_through_polywheel_builds_variants_again(tmp_path: Path) -> None:
    source = example("setuptools", tmp_path)
    build(source, "--sdist", "-Cvariant-label=x86_64_v3", out=tmp_path / "sdist")
    (sdist,) = (tmp_path / "sdist").iterdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = read_wheel(build_wheel(unpacked, tmp_path / "out", "-Cvariant-label=x86_64_v3"))
    assert wheel.metadata["Variant-Property"] == "x86_64 :: level :: v3"


def test_an_sdist_is_the_real_backends_to_the_byte(tmp_path: Path) -> None:
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    source = example("hatchling", tmp_path)
    build(source, "--sdist", "-Cvariant-label=small", env=env, out=tmp_path / "ours")
    code = f"import hatchling.build as b; print(b.build_sdist({str(tmp_path)!r}))"
    run([sys.executable, "-c", code], cwd=source, env=env)
    (ours,) = (tmp_path / "ours").iterdir()
    assert filecmp.cmp(ours, tmp_path / ours.name, shallow=False)


def test_a_pure_variant_build_leaves_the_source_tree_untouched(tmp_path: Path) -> None:
    source = example("flit-core", tmp_path)
    before = snapshot(source)
    build_wheel(source, tmp_path / "out", "-Cvariant-label=mkl")
    assert snapshot(source) == before


def test_metadata_fields_can_be_left_out(tmp_path: Path) -> None:
    source = in_tree(tmp_path / "source", SPY, "metadata-fields = false\n" + STATIC)
    name = caller(source).build_wheel(str(tmp_path), {"variant-label": "fast"})
    wheel = read_wheel(tmp_path / name)
    assert name == "spied-1.0-py3-none-any-fast.whl"
    assert wheel.stamped
    assert not [field for field in wheel.metadata if field.startswith("Variant-")]


def test_an_older_wheel_of_that_name_is_replaced_whole(tmp_path: Path) -> None:
    source = in_tree(tmp_path / "source", SPY)
    target = tmp_path / "out" / "spied-1.0-py3-none-any-fast.whl"
    target.parent.mkdir()
    target.write_bytes(b"older")
    caller(source).build_wheel(str(target.parent), {"variant-label": "fast"})
    assert read_wheel(target).stamped
    assert [path.name for path in target.parent.iterdir()] == [target.name]


PLUGIN = """
[variant.default-priorities]
namespace = ["x86_64"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
"""


def test_plugins_are_required_though_the_real_backend_has_no_such_hook(tmp_path: Path) -> None:
    source = in_tree(tmp_path, SPY, PLUGIN)
    hooks = {"get_requires_for_build_wheel", "get_requires_for_build_editable"}
    assert hooks_of(source, "polywheel.backend") == hooks
    assert caller(source).get_requires_for_build_wheel({}) == []
    asked = {"variant": "x86_64::level::v3"}
    for hook in hooks:
        assert getattr(caller(source), hook)(asked) == ["provider-variant-x86-64"]


def test_a_backend_that_can_not_be_imported_without_a_requirement_of_the_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    rule = '[tool.polywheel.setup."label:fast"]\nrequires = ["absent-tool==1.*"]\n'
    source = in_tree(tmp_path / "source", f"{SPY}\nimport absent_tool\n", STATIC + rule)
    asked = {"variant-label": "fast"}
    assert caller(source).get_requires_for_build_wheel(asked) == ["absent-tool==1.*"]
    done = build(source, "--wheel", "-Cvariant-label=fast", check=False)
    assert "ModuleNotFoundError: No module named 'absent_tool'" in done.stdout
    assert "the variant requires 'absent-tool==1.*', which is not installed" in done.stdout
    # Without a variant there is no such requirement.
    code = "from polywheel import backend; backend.get_requires_for_build_wheel()"
    done = run([sys.executable, "-c", code], cwd=source, check=False)
    assert done.returncode == 1
    assert "requires of setup rules are installed only for the wheels of variants" in done.stdout


def test_a_broken_variant_table_does_not_keep_a_plain_wheel_from_being_built(
    tmp_path: Path,
) -> None:
    source = in_tree(tmp_path / "source", SPY, "[variant]\nbroken = true\n")
    assert hooks_of(source, "polywheel.backend") == set()
    assert caller(source).build_wheel(str(tmp_path), {}) == "spied-1.0-py3-none-any.whl"


def test_a_backend_that_cannot_make_an_sdist_here_says_so_through_polywheel(
    tmp_path: Path,
) -> None:
    unsupported = "class UnsupportedOperation(Exception): pass\n"
    text = SPY.replace("raise NotImplementedError", "raise UnsupportedOperation")
    source = in_tree(tmp_path, f"{text}\n{unsupported}")
    with pytest.raises(UnsupportedOperation):
        caller(source).build_sdist(str(tmp_path))


def test_a_backend_that_leaves_without_an_answer_is_a_clear_error(tmp_path: Path) -> None:
    backend = "import sys\ndef build_wheel(*arguments):\n    sys.exit(0)\n"
    done = build(in_tree(tmp_path, backend), "--wheel", check=False)
    assert "error: the real backend 'spy' ended in build_wheel without a result" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_output_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    source = in_tree(tmp_path / "source", SPY)
    (tmp_path / "file").touch()
    code = "import sys; from polywheel import backend as b; b.build_wheel(*sys.argv[1:], {sys.argv[1]: ''})"
    code = code.replace("{sys.argv[1]: ''}", "{'variant-label': 'fast'}")
    done = run([sys.executable, "-c", code, tmp_path / "file"], cwd=source, check=False)
    assert done.returncode == 4
    assert "error: no wheel can be written there" in done.stdout
    assert "Traceback" not in done.stdout


def test_under_cibuildwheel_the_label_stays_out_of_the_filename_and_the_log_says_so(
    tmp_path: Path,
) -> None:
    source = in_tree(tmp_path / "source", SPY)
    out, env = tmp_path / "out", {"CIBUILDWHEEL": "1"}
    done = build(source, "--wheel", "-Cvariant-label=fast", env=env, out=out)
    (path,) = out.iterdir()
    assert path.name == "spied-1.0-py3-none-any.whl"
    assert read_wheel(path).metadata["Variant-Label"] == "fast"
    assert "'polywheel finalize' adds it" in done.stdout


@pytest.mark.parametrize(("asked", "end"), [("label", "-fast.whl"), ("unlabelled", "-any.whl")])
def test_under_cibuildwheel_a_filename_that_was_asked_for_is_given(
    asked: str, end: str, tmp_path: Path
) -> None:
    source = in_tree(tmp_path / "source", SPY)
    arguments = ("-Cvariant-label=fast", f"-Cvariant-filename={asked}")
    out, env = tmp_path / "out", {"CIBUILDWHEEL": "1"}
    done = build(source, "--wheel", *arguments, env=env, out=out)
    (path,) = out.iterdir()
    assert path.name.endswith(end)
    assert "polywheel finalize" not in done.stdout


def test_under_cibuildwheel_pip_is_no_reason_to_refuse_a_variant(tmp_path: Path) -> None:
    source = in_tree(tmp_path / "source", SPY)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [*pip, "-Cvariant-label=fast", "-w", str(tmp_path / "out"), str(source)]
    refused = run(command, cwd=tmp_path, check=False)
    assert refused.returncode != 0
    assert "pip rejects a wheel" in refused.stdout
    run(command, cwd=tmp_path, env={"CIBUILDWHEEL": "1"})
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "spied-1.0-py3-none-any.whl"
