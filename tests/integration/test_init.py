"""``polywheel init``: real projects get tables that build, and no other change."""

from __future__ import annotations

import platform
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from polywheel.matrix.expansion import expand
from support.builds import COMPILED, build, build_wheel, extension, read_wheel, run, wide_registers
from support.commands import polywheel
from support.projects import example, write_project

X86_64 = platform.machine() in {"x86_64", "AMD64"}
MESON = """\
[build-system]
requires = ["meson-python"]
build-backend = "mesonpy"

[project]
name = "small"
version = "1"
requires-python = ">=3.12"
classifiers = ["Operating System :: POSIX :: Linux"]
"""
PURE = """\
[build-system]
requires = ["flit_core"]
build-backend = "flit_core.buildapi"
[project]
name = "which_variant"
version = "1.0"
description = "Says which variant it is"
"""


def init(
    *arguments: str | Path, cwd: Path, code: int = 0, env: dict[str, str] | None = None
) -> CompletedProcess[str]:
    done = polywheel("init", *arguments, cwd=cwd, check=False, env=env)
    assert done.returncode == code, done.stdout
    return done


def unprepared(name: str, into: Path) -> Path:
    """An example as it would be without polywheel."""
    source = example(name, into)
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8").partition("[tool.polywheel]")[0]
    real = {
        "meson": "mesonpy",
        "scikit-build-core": "scikit_build_core.build",
        "setuptools": "setuptools.build_meta",
        "rust": "maturin",
    }[name]
    text = text.replace('"polywheel", ', "").replace("polywheel.backend", real)
    path.write_text(text, encoding="utf-8")
    return source


def follow_the_advice(source: Path, said: str) -> None:
    """Change [build-system] as a user does who does what init says."""
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    for key in ("requires", "build-backend"):
        there = re.search(rf"^{key} = .*$", text, re.MULTILINE)
        advised = re.search(rf"^polywheel:     ({key} = .*)$", said, re.MULTILINE)
        assert there is not None
        assert advised is not None
        text = text[: there.start()] + advised[1] + text[there.end() :]
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    files = {"pyproject.toml": MESON, "meson.build": "project('small', 'c')\n"}
    return write_project(tmp_path / "small", files)


@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.parametrize(
    "name",
    [one if one == "setuptools" else pytest.param(one, marks=pytest.mark.slow) for one in COMPILED],
)
def test_what_init_writes_builds(name: str, tmp_path: Path) -> None:
    source = unprepared(name, tmp_path)
    before = (source / "pyproject.toml").read_bytes()
    said = init(cwd=source).stdout
    assert (source / "pyproject.toml").read_bytes().startswith(before)
    plan = expand(source)
    assert {"x86_64_v2", "x86_64_v3", "x86_64_v4", "null", None} == {job.label for job in plan.jobs}
    follow_the_advice(source, said)
    assert expand(source) == plan
    wheel = build_wheel(source, tmp_path / "v3", "-Cvariant-label=x86_64_v3")
    assert wheel.name.endswith("-x86_64_v3.whl")
    assert wide_registers(wheel, tmp_path) > 0
    null = build_wheel(source, tmp_path / "null", "-Cvariant-label=null")
    assert wide_registers(null, tmp_path) == 0
    again = (source / "pyproject.toml").read_bytes()
    assert "nothing to do" in init(cwd=source).stdout
    assert (source / "pyproject.toml").read_bytes() == again


@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.parametrize(
    "name",
    [
        "meson",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("scikit-build-core", "rust")),
    ],
)
def test_a_debug_build_is_one(name: str, tmp_path: Path) -> None:
    source = unprepared(name, tmp_path)
    follow_the_advice(source, init("--template", "debug", cwd=source).stdout)
    described = {}
    for label in ("null", "debug"):
        wheel = build_wheel(source, tmp_path / label, f"-Cvariant-label={label}")
        library = extension(read_wheel(wheel), tmp_path / f"{label}-library")
        sections = run(["readelf", "-S", "-W", library], cwd=tmp_path).stdout
        described[label] = ".debug_info" in sections
    assert described == {"null": False, "debug": True}


def by_uv(dist: Path, into: Path, env: dict[str, str] | None = None) -> str:
    command = ["uv", "pip", "install", "--preview-features", "wheel-variants", "--no-index"]
    where: list[str | Path] = ["--find-links", dist, "--target", into]
    run([*command, *where, "which-variant"], cwd=dist, env=env)
    return (into / "which_variant.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("template", "labels", "env", "best"),
    [
        ("x86-64-levels", ("x86_64_v2", "null", None), {}, "x86_64_v2"),
        (
            "cuda",
            ("cu126", "cu128", "cu130", "null", None),
            {"NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION": "12.9"},
            "cu128",
        ),
        ("cuda", ("cu126", "null", None), {}, "null"),
        ("rocm", ("rocm7.0", "null", None), {}, "null"),
        ("debug", ("debug", "null", None), {}, "null"),
        ("blas", ("mkl", "openblas", None), {}, "openblas"),
    ],
    ids=["level", "driver", "no driver", "unknown provider", "debug", "static"],
)
@pytest.mark.skipif(not X86_64, reason="asks uv what an x86-64 machine has")
def test_uv_installs_by_the_providers_that_are_chosen(
    template: str, labels: tuple[str | None, ...], env: dict[str, str], best: str, tmp_path: Path
) -> None:
    if template == "cuda" and not env and Path("/proc/driver/nvidia/version").exists():
        pytest.skip("there is a driver here")
    dist = tmp_path / "dist"
    for label in labels:
        files = {"pyproject.toml": PURE, "which_variant.py": str(label)}
        source = write_project(tmp_path / str(label), files)
        follow_the_advice(source, init("--template", template, cwd=source).stdout)
        setting = [f"-Cvariant-label={label}"] if label else []
        build(source, "--wheel", *setting, out=dist)
    polywheel("index", dist, cwd=tmp_path)
    assert by_uv(dist, tmp_path / "into", env) == best


@pytest.mark.parametrize("ending", ["\n", "\r\n", "", "\n\n\n"])
def test_the_text_that_is_there_stays_byte_for_byte(ending: str, small: Path) -> None:
    path = small / "pyproject.toml"
    line_break = "\r\n" if ending == "\r\n" else "\n"
    before = (MESON + "# ä\n").rstrip("\n").replace("\n", line_break).encode() + ending.encode()
    path.write_bytes(before)
    path.chmod(0o640)
    init(cwd=small)
    after = path.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\r\n") == (after.count(b"\n") if line_break == "\r\n" else 0)
    assert after.endswith(line_break.encode())
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in small.iterdir() if "polywheel" in one.name] == []
    assert "nothing to do" in init(cwd=small).stdout
    assert path.read_bytes() == after
    expand(small)


def test_pythons_and_targets_are_those_of_the_project(small: Path) -> None:
    init(cwd=small)
    matrix = tomllib.loads((small / "pyproject.toml").read_text())["tool"]["polywheel"]["matrix"]
    assert matrix["python"] == ["3.12", "3.13", "3.14"]
    assert matrix["targets"] == ["linux-x86_64", "linux-aarch64"]


def test_a_dry_run_prints_what_would_be_appended(small: Path) -> None:
    path = small / "pyproject.toml"
    command = [sys.executable, "-m", "polywheel", "init", "--dry-run", "--template", "cuda,debug"]
    done = subprocess.run(
        command, cwd=small, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert path.read_text(encoding="utf-8") == MESON
    init("--preset", "debug", "cuda", cwd=small)  # the earlier name of the option
    assert path.read_text(encoding="utf-8") == f"{MESON}\n{done.stdout}"


def test_the_file_that_a_link_leads_to_is_changed(small: Path, tmp_path: Path) -> None:
    real = tmp_path / "shared.toml"
    (small / "pyproject.toml").rename(real)
    try:
        (small / "pyproject.toml").symlink_to(Path("..", "shared.toml"))
    except OSError:
        pytest.skip("links can't be made here")
    init(cwd=small)
    assert (small / "pyproject.toml").is_symlink()
    assert "[variant.default-priorities]" in real.read_text(encoding="utf-8")


def test_a_read_only_file_stays(small: Path) -> None:
    path = small / "pyproject.toml"
    path.chmod(0o444)
    said = init(cwd=small, code=2).stdout
    assert "is read-only" in said
    assert path.read_text(encoding="utf-8") == MESON
    path.chmod(0o644)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MESON + "[variant.variants.mine]\n", "[variant]"),
        (MESON + '[tool.polywheel]\nbuild-backend = "mesonpy"\n', "[tool.polywheel]"),
        ("tool = { other = 1 }\n" + MESON, "no table can be appended"),
        ("\ufeff" + MESON, "byte order mark"),
        (MESON + "[[[", "invalid TOML"),
        (MESON.encode("utf-16").decode("latin-1"), "error:"),
    ],
)
def test_files_that_nothing_can_be_appended_to(text: str, says: str, small: Path) -> None:
    path = small / "pyproject.toml"
    path.write_bytes(text.encode())
    assert says in init(cwd=small, code=2).stdout
    assert path.read_bytes() == text.encode()


def test_what_init_wrote_and_the_user_changed_is_the_users(small: Path) -> None:
    path = small / "pyproject.toml"
    init(cwd=small)
    said = init("--template", "cuda", cwd=small, code=2).stdout
    assert "for x86-64-levels" in said
    assert "lines 11 to" in said
    changed = path.read_text(encoding="utf-8").replace("plain = true", "plain = false")
    path.write_text(changed, encoding="utf-8")
    assert "[variant], [tool.polywheel]" in init(cwd=small, code=2).stdout
    assert path.read_text(encoding="utf-8") == changed


def test_tables_in_a_file_of_their_own(small: Path, tmp_path: Path) -> None:
    config = tmp_path / "variants.toml"
    init("-o", config, cwd=small)
    assert (small / "pyproject.toml").read_text(encoding="utf-8") == MESON
    labels = {job.label for job in expand(small, config=config).jobs}
    assert "x86_64_v4" in labels
    written = config.read_bytes()
    assert "nothing to do" in init("-o", config, cwd=small).stdout
    config.write_bytes(written.replace(b"plain", b"null"))
    said = init("-o", config, cwd=small, code=2).stdout
    assert "exists already" in said
    assert config.read_bytes() == written.replace(b"plain", b"null")
    assert "can't be written" in init("-o", tmp_path / "none" / "x", cwd=small, code=2).stdout


def test_a_file_of_their_own_serves_a_project_that_names_polywheel(tmp_path: Path) -> None:
    source = write_project(
        tmp_path / "source",
        {
            "pyproject.toml": PURE.replace('["', '["polywheel", "').replace(
                "flit_core.buildapi", "polywheel.backend"
            ),
            "which_variant.py": "",
        },
    )
    init("--template", "blas", "-o", "variants.toml", cwd=source)
    env = {"POLYWHEEL_CONFIG": str(source / "variants.toml")}
    wheel = build_wheel(source, tmp_path / "out", "-Cvariant-label=openblas", env=env)
    assert wheel.name.endswith("-openblas.whl")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--template", "cuba"], "did you mean 'cuda'?"),
        (["--template", "cuda", "."], "put the project before --template"),
        (["nowhere"], "there is no pyproject.toml"),
        (["--template"], "expected at least one argument"),
    ],
)
def test_mistakes(arguments: list[str], says: str, small: Path) -> None:
    assert says in init(*arguments, cwd=small, code=2).stdout
    assert (small / "pyproject.toml").read_text(encoding="utf-8") == MESON


def test_a_pure_project_is_told_of_the_templates(tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", {"pyproject.toml": PURE, "which_variant.py": ""})
    said = init(cwd=source, code=2).stdout
    assert "no compiled language was found in" in said
    assert "x86-64-levels" in said
    assert sorted(one.name for one in source.iterdir()) == ["pyproject.toml", "which_variant.py"]


def test_names_of_files_do_a_terminal_no_harm(small: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no such name there")
    (small / "a\x1b[31m.cu").write_text("")
    assert "\x1b" not in init("--dry-run", cwd=small).stdout


def test_the_next_command_is_said_in_full(small: Path, tmp_path: Path) -> None:
    said = init(small, "-o", tmp_path / "a b.toml", cwd=tmp_path).stdout
    config = f"--config '{tmp_path / 'a b.toml'}'"
    assert f"next: `polywheel build {small} {config}` builds the wheels for this machine" in said
    assert (
        "to also build with pip or python -m build, change [build-system] in pyproject.toml" in said
    )
    assert "works now" not in said


def test_pythons_that_are_missing_are_named(tmp_path: Path) -> None:
    text = MESON.replace(">=3.12", ">=3.98")
    source = write_project(
        tmp_path / "small", {"pyproject.toml": text, "meson.build": "project('small', 'c')\n"}
    )
    said = init(cwd=source).stdout
    assert "Python 3.98 is not installed; use --install-python" in said
    assert "otherwise nothing is built" in said


def test_several_pythons_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polywheel.cli.init.find_interpreter", lambda _: None)
    source = write_project(
        tmp_path / "small", {"pyproject.toml": MESON, "meson.build": "project('small', 'c')\n"}
    )
    said = init(cwd=source).stdout
    assert " are not installed; use --install-python to install them with uv" in said


def test_an_sdist_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "x-1.0.tar.gz").write_bytes(b"")
    done = init("x-1.0.tar.gz", cwd=tmp_path, code=2)
    assert "only `polywheel build` reads sdists; unpack it" in done.stdout
