"""The sources of ``polywheel build``, and the environments of its builds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from polywheel import __version__
from support.build_command import Builds
from support.builds import downloaded_sdist, downloads, read_wheel, run, snapshot
from support.checkouts import git
from support.projects import HERE, ROOT, example, fake_project, write_project

pytestmark = pytest.mark.usefixtures("git_user")
BACKEND = """
import json, subprocess
from importlib.metadata import distributions

NAMES = ("MAX_JOBS", "CMAKE_BUILD_PARALLEL_LEVEL", "CARGO_BUILD_JOBS", "SOURCE_DATE_EPOCH",
         "GIT_DIR", "PYTHONPATH", "VIRTUAL_ENV", "SEEN_KIND", "PYTHONDONTWRITEBYTECODE")

def git(*arguments):
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    pathlib.Path("left-by-the-build.o").touch()
    seen = {
        "installed": sorted({one.metadata["Name"].lower() for one in distributions()}),
        "environment": {name: os.environ.get(name) for name in NAMES},
        "settings": config_settings or {},
        "folder": os.getcwd(),
        "files": sorted(one.as_posix() for one in pathlib.Path().rglob("*") if one.is_file()
                        and ".git" not in one.parts and "__pycache__" not in one.parts),
        "version": git("describe", "--tags", "--dirty"),
        "polywheel": any((pathlib.Path(one) / "polywheel").exists() for one in sys.path),
        "stdin": sys.stdin.read(),
    }
    return write_wheel(wheel_directory, {"seen.json": json.dumps(seen)})
"""


def seen_project(
    folder: Path, *, requires: Iterable[str] = (), more: str = "", config: str = "pyproject.toml"
) -> Path:
    """A project with two variants, whose wheel holds what its build has seen."""
    env = {kind: {"SEEN_KIND": kind} for kind in ("one", "two")}
    return fake_project(
        *(folder, "one", "two"),
        name="seen",
        backend=BACKEND,
        requires=requires,
        env=env,
        more=more,
        config=config,
    )


def seen(builds: Builds) -> dict[str, dict[str, Any]]:
    """What the builds of each label saw."""
    return {
        path.stem.split("-")[-1]: json.loads(read_wheel(path).members["seen.json"])
        for path in builds.out.glob("*.whl")
    }


def checkout(folder: Path) -> Path:
    """Make a project a checkout with a tag, a commit after it, and a change."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "tag", "v1.2.3")
    write_project(folder, {"NEWS": "1\n"})
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "second")
    return write_project(folder, {"NEWS": "2\n"})


# Sources ----------------------------------------------------------------------------------------


def test_a_folder_is_copied_and_left_alone(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project")
    write_project(source, {"build/old.o": "", "__pycache__/a.pyc": "", "src/b.c": ""})
    before = snapshot(source)
    builds = Builds(source, source / "dist")
    builds()
    shutil.move(source / "dist", tmp_path / "dist")
    assert snapshot(source) == before
    builds.out = tmp_path / "dist"
    found = seen(builds)
    assert set(found) == {"one", "two"}
    for label, one in found.items():
        assert one["files"] == ["backend.py", "left-by-the-build.o", "pyproject.toml", "src/b.c"]
        assert Path(one["folder"]).parent.name.endswith(f"-{label}")
        assert one["stdin"] == ""
        assert one["version"] is None


def test_a_copy_lies_at_the_same_place_every_time(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project")
    first, second = Builds(source, tmp_path / "a"), Builds(source, tmp_path / "b")
    first()
    write_project(source, {"more.c": ""})
    second()
    assert {one["folder"] for one in seen(first).values()} == {
        one["folder"] for one in seen(second).values()
    }


def test_a_checkout_with_changes_is_built_as_it_stands(tmp_path: Path) -> None:
    source = checkout(seen_project(tmp_path / "project"))
    write_project(source, {".gitignore": "*.o\n/dist/\n", "ignored.o": "", "new.c": ""})
    status, before = git(source, "status", "--porcelain"), snapshot(source)
    builds = Builds(source, tmp_path / "out")
    builds()
    assert snapshot(source) == before
    assert git(source, "status", "--porcelain") == status
    for one in seen(builds).values():
        assert one["version"] == git(source, "describe", "--tags", "--dirty")
        assert one["version"].startswith("v1.2.3-1-g")
        assert one["version"].endswith("-dirty")
        assert "new.c" in one["files"]
        assert "ignored.o" not in one["files"]
        assert one["environment"]["SOURCE_DATE_EPOCH"] == "1709208000"
    builds("--clean")
    for one in seen(builds).values():
        assert one["version"] == git(source, "describe", "--tags")
        assert "new.c" not in one["files"]


def test_clean_checks_out_once(tmp_path: Path) -> None:
    source = checkout(seen_project(tmp_path / "project"))
    trace = tmp_path / "trace"
    builds = Builds(source, tmp_path / "out", env={"GIT_TRACE": str(trace)})
    builds("--clean", "--select", "one")
    assert trace.read_text(encoding="utf-8").count("reset --hard") == 1


def test_a_run_by_a_hook_of_git(tmp_path: Path) -> None:
    source = checkout(seen_project(tmp_path / "project"))
    other = checkout(write_project(tmp_path / "other", {"a": ""}))
    git(other, "tag", "v9", "HEAD")
    builds = Builds(source, tmp_path / "out", env={"GIT_DIR": str(other / ".git")})
    builds("--select", "one")
    (one,) = seen(builds).values()
    assert one["environment"]["GIT_DIR"] is None
    assert one["version"].startswith("v1.2.3-1-g")


def test_wheels_and_logs_in_the_source_are_no_source(tmp_path: Path) -> None:
    source = checkout(seen_project(tmp_path / "project"))
    builds = Builds(source, source / "dist")
    builds("--log-dir", str(source / "logs"))
    again = builds("--log-dir", str(source / "logs"))
    assert set(again.states.values()) == {"up-to-date"}
    for one in seen(builds).values():
        assert not [name for name in one["files"] if name.startswith(("dist", "logs"))]


VERSIONED = {
    "setuptools-scm": {
        "pyproject.toml": """
[build-system]
requires = ["setuptools>=77", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "versioned"
dynamic = ["version"]
[tool.setuptools]
packages = ["versioned"]
[tool.setuptools_scm]
""",
        "versioned/__init__.py": "",
    },
    "hatch-vcs": {
        "pyproject.toml": """
[build-system]
requires = ["hatchling", "hatch-vcs"]
build-backend = "hatchling.build"
[project]
name = "versioned"
dynamic = ["version"]
[tool.hatch.version]
source = "vcs"
""",
        "versioned/__init__.py": "",
    },
}
STAMPS = """
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
kind = ["one", "two"]
[variant.variants.one]
demo.kind = ["one"]
[variant.variants.two]
demo.kind = ["two"]
[tool.polywheel.matrix]
plain = true
"""


@pytest.mark.parametrize(("tool", "inside"), [("setuptools-scm", "python"), ("hatch-vcs", "")])
def test_version_tools_find_the_version(tool: str, inside: str, tmp_path: Path) -> None:
    """As `python -m build` does in the checkout itself, at its root and in a part of it."""
    files = dict(VERSIONED[tool])
    if inside:
        files["pyproject.toml"] += {
            "setuptools-scm": 'root = ".."\n',
            "hatch-vcs": '[tool.hatch.version.raw-options]\nroot = ".."\n',
        }[tool]
    top = tmp_path / "top"
    source = write_project(top / inside, files)
    (tmp_path / "tables.toml").write_text(STAMPS, encoding="utf-8")
    checkout(top)
    epoch = {"SOURCE_DATE_EPOCH": "1709208000"}  # as polywheel takes it from the commit
    before = snapshot(top)
    builds = Builds(source, tmp_path / "out", env={"PYTHONDONTWRITEBYTECODE": "1"})
    done = builds("--config", str(tmp_path / "tables.toml"))
    builds.report.unlink()  # it lies beside the project
    assert snapshot(top) == before
    assert len(done.built) == 1, "two stamps and a plain wheel are one build"
    command = [sys.executable, "-m", "build", "-w", "--installer", "uv", "-o", "theirs"]
    run([*command, str(source)], cwd=tmp_path, env=epoch)
    (theirs,) = (tmp_path / "theirs").glob("*.whl")
    version = theirs.name.split("-")[1]
    assert re.match(r"1\.2\.4\.dev1\+g[0-9a-f]+\.d20240229", version)
    assert {name.split("-")[1] for name in builds.wheels} == {version}
    assert len(builds.wheels) == 3


@pytest.mark.slow  # each command of Mercurial takes a second
def test_a_checkout_of_mercurial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is found, what is ignored stays away, what is changed and new is there."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if not shutil.which("hg", path=path):
        pytest.skip("needs Mercurial, which is among the requirements of the tests")
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("HGRCPATH", "")
    source = write_project(tmp_path / "top", VERSIONED["setuptools-scm"])
    write_project(source, {".hgignore": "syntax: glob\n*.junk\n", "versioned/a.junk": ""})
    (tmp_path / "tables.toml").write_text(STAMPS, encoding="utf-8")
    commit = ["hg", "commit", "--user", "Ada", "--date", "1709208000 0", "-m"]
    run(["hg", "init"], cwd=source)
    run([*commit, "one", "--addremove"], cwd=source)
    run(["hg", "tag", "--user", "Ada", "--date", "1709208000 0", "1.2.3"], cwd=source)
    write_project(source, {"versioned/more.py": "", "versioned/__init__.py": "new = 1\n"})
    before = snapshot(source)
    builds = Builds(source, tmp_path / "out")
    builds("--config", str(tmp_path / "tables.toml"), "--select", "one")
    after = snapshot(source)
    # What Mercurial notes for itself whenever somebody asks it anything.
    assert {name for name in after if after[name] != before.get(name)} <= {".hg/dirstate"}
    (name,) = builds.wheels
    assert re.match(r"versioned-1\.2\.4\.dev\d+\+h[0-9a-f]+\.d20240229-py3", name)
    wheel = read_wheel(builds.out / name)
    assert wheel.members["versioned/__init__.py"] == b"new = 1\n"
    assert "versioned/more.py" in wheel.members
    assert "versioned/a.junk" not in wheel.members
    again = builds("--config", str(tmp_path / "tables.toml"), "--select", "one")
    assert set(again.states.values()) == {"up-to-date"}


@pytest.mark.parametrize("kind", [".tar.gz", ".zip"])
def test_an_sdist(kind: str, tmp_path: Path) -> None:
    folder = seen_project(tmp_path / "seen-1.0")
    write_project(folder, {"build/kept.c": ""})
    shutil.make_archive(
        str(tmp_path / "seen-1.0"), {".zip": "zip", ".tar.gz": "gztar"}[kind], tmp_path, "seen-1.0"
    )
    shutil.rmtree(folder)
    builds = Builds(tmp_path / f"seen-1.0{kind}", tmp_path / "out")
    assert len(builds().built) == 2
    for one in seen(builds).values():
        assert "build/kept.c" in one["files"], "all of an sdist is source"
    assert set(builds().states.values()) == {"up-to-date"}
    refused = builds("--clean", code=2)
    assert "leave out --clean" in refused.err


@pytest.mark.parametrize("source", ["nowhere", "a.whl", "empty"])
def test_what_is_no_source(source: str, tmp_path: Path) -> None:
    write_project(tmp_path, {"a.whl": "", "empty/x": ""})
    done = Builds(tmp_path / source, tmp_path / "out")(code=2)
    assert done.err.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_the_output_directory_may_not_hold_the_source(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project")
    done = Builds(source, tmp_path)(code=2)
    assert "contains the source" in done.err


@pytest.mark.parametrize("setting", ["variant-label=one", "null-variant=true", "novalue", "=x"])
def test_settings_that_are_the_matrix_s(setting: str, tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project")
    assert "at: -C" in Builds(source, tmp_path / "out")(f"-C{setting}", code=2).err


def test_settings_for_the_backend(tmp_path: Path) -> None:
    builds = Builds(seen_project(tmp_path / "project"), tmp_path / "out")
    builds("-Ca=1", "-Cb=2", "-Cb=3", "--select", "one")
    assert seen(builds)["one"]["settings"] == {"a": "1", "b": ["2", "3"]}


# Projects that know nothing of polywheel ---------------------------------------------------------

BACKENDS = {
    "meson": ("mesonpy", ["meson-python>=0.18"]),
    "scikit-build-core": ("scikit_build_core.build", ["scikit-build-core>=0.11"]),
    "setuptools": ("setuptools.build_meta", ["setuptools>=77"]),
}


def unmodified(name: str, into: Path) -> tuple[Path, Path]:
    """An example as it would be without polywheel, and a file with its tables."""
    source = example(name, into)
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    tables = text[text.index("[variant.default-priorities]") :]
    backend, requires = BACKENDS[name]
    text = text[: text.index("[tool.polywheel]")]
    text = text.replace('"polywheel.backend"', f'"{backend}"').replace('"polywheel", ', "")
    assert requires[0] in text
    path.write_text(text, encoding="utf-8")
    config = into / "tables.toml"
    config.write_text(
        f"{tables}\n[tool.polywheel.matrix]\nnull = true\nplain = true\n", encoding="utf-8"
    )
    return source, config


@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.parametrize(
    "name",
    [one if one == "setuptools" else pytest.param(one, marks=pytest.mark.slow) for one in BACKENDS],
)
def test_zero_touch(name: str, tmp_path: Path) -> None:
    source, config = unmodified(name, tmp_path)
    assert "polywheel.backend" not in (source / "pyproject.toml").read_text(encoding="utf-8")
    before = snapshot(source)
    builds = Builds(source, tmp_path / "out")
    builds("--config", str(config))
    assert snapshot(source) == before
    labels = {
        path.stem.split("-")[5:][0] if path.stem.count("-") == 5 else None: path
        for path in builds.out.glob("*.whl")
    }
    assert set(labels) == {None, "null", "x86_64_v1", "x86_64_v3"}
    assert not read_wheel(labels[None]).stamped
    properties = read_wheel(labels["x86_64_v3"]).variant_json["variants"]["x86_64_v3"]
    assert properties == {"x86_64": {"level": ["v3"]}}
    again = builds("--config", str(config))
    assert set(again.states.values()) == {"up-to-date"}


def test_the_variable_stands_for_the_option(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project", config="tables.toml")
    builds = Builds(source, tmp_path / "out", env={"POLYWHEEL_CONFIG": str(source / "tables.toml")})
    assert len(builds().built) == 2
    assert {one["environment"]["SEEN_KIND"] for one in seen(builds).values()} == {"one", "two"}


@pytest.mark.slow
@pytest.mark.usefixtures("x86_64_gcc")
def test_contourpy(tmp_path: Path, python312: str) -> None:
    """Unmodified, from its sdist on PyPI: three levels on two Pythons."""
    sdist = downloaded_sdist("contourpy==1.4.0", python312)
    config = tmp_path / "tables.toml"
    levels = "".join(
        f'[variant.variants.{level}]\nx86_64.level = ["{level}"]\n' for level in ("v1", "v2", "v3")
    )
    config.write_text(
        "[variant.default-priorities]\nnamespace = ['x86_64']\n"
        "[variant.providers.x86_64]\nrequires = ['provider-variant-x86-64']\n"
        "plugin-api = 'provider_variant_x86_64.plugin:X8664Plugin'\n"
        f"{levels}[tool.polywheel]\npresets = ['x86_64']\n"
        "[tool.polywheel.matrix]\npython = ['3.12', '3.13']\n",
        encoding="utf-8",
    )
    builds = Builds(sdist, tmp_path / "out")
    command = builds.command("--config", str(config), "--report", str(tmp_path / "r.json"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [job["state"] for job in report["jobs"]] == ["built"] * 6
    assert {tuple(name.split("-")[2:3] + name[:-4].split("-")[5:]) for name in builds.wheels} == {
        (tag, level) for tag in ("cp312", "cp313") for level in ("v1", "v2", "v3")
    }


# Environments -----------------------------------------------------------------------------------


def test_a_project_that_wants_another_polywheel(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project", requires=["polywheel>=99"])
    done = Builds(source, tmp_path / "out")(code=2)
    assert f"the project requires polywheel>=99, and this is polywheel {__version__}" in done.err
    assert "at: pyproject.toml: build-system.requires" in done.err


def test_requirements_that_can_not_be_installed(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project", requires=["polywheel-no-such-thing>=99"])
    done = Builds(source, tmp_path / "out", env={"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"})(code=1)
    assert f"Python {HERE}: can't install polywheel-no-such-thing>=99" in done.err
    assert "not found" in done.err, "the installer's own words"


def test_a_plugin_that_can_not_be_installed(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project")
    path = source / "pyproject.toml"
    static = '[variant.providers.seen.static-properties]\nkind = ["one", "two"]\n'
    plugin = '[variant.providers.seen]\nrequires = ["polywheel-no-such-plugin"]\n'
    path.write_text(path.read_text("utf-8").replace(static, plugin), encoding="utf-8")
    done = Builds(source, tmp_path / "out", env={"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"})(code=1)
    assert "can't install polywheel-no-such-plugin" in done.err
    assert '[tool.polywheel.providers.seen] query = "preset"' in done.err


def test_requirements_of_one_variant_are_in_its_environment_only(
    tmp_path: Path, house: Mapping[str, str]
) -> None:
    more = '[tool.polywheel.setup."label:two"]\nrequires = ["flit-core"]\n'
    source = seen_project(tmp_path / "project", more=more)
    builds = Builds(source, tmp_path / "out", env=dict(house))
    builds()
    found = seen(builds)
    assert found["one"]["installed"] == []
    assert found["two"]["installed"] == ["flit_core"]


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An index that has flit-core, and nothing else."""
    with downloads("house") as folder:
        if not list(folder.glob("flit_core-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            command += ["flit-core>=3.12", "--dest", str(folder)]
            run(command, cwd=tmp_path_factory.mktemp("house"))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def test_polywheel_is_asked_of_no_index(tmp_path: Path, house: dict[str, str]) -> None:
    source = write_project(
        tmp_path / "project",
        {
            "pyproject.toml": '[build-system]\nrequires = ["polywheel", "flit-core"]\n'
            'build-backend = "polywheel.backend"\n[project]\nname = "pure"\nversion = "1.0"\n'
            f'description = "pure"\n{STAMPS}',
            "pure.py": "",
        },
    )
    builds = Builds(source, tmp_path / "out", env=house)
    assert len(builds().built) == 1
    assert len(builds.wheels) == 3


def test_what_a_build_sees(tmp_path: Path) -> None:
    builds = Builds(
        seen_project(tmp_path / "project"),
        tmp_path / "out",
        env={"PYTHONPATH": str(ROOT / "src"), "VIRTUAL_ENV": "/elsewhere", "MAX_JOBS": "7"},
    )
    builds("-j", "2")
    for label, one in seen(builds).items():
        environment = one["environment"]
        assert one["installed"] == []
        assert not one["polywheel"], "it serves itself to its own process only"
        assert environment["PYTHONPATH"] is None
        assert environment["VIRTUAL_ENV"] not in {None, "/elsewhere"}
        assert environment["SEEN_KIND"] == label
        assert environment["MAX_JOBS"] == "7", "what the user says goes before"
        assert environment["CMAKE_BUILD_PARALLEL_LEVEL"] == "1"


def test_a_provider_that_is_a_plugin(tmp_path: Path) -> None:
    source = write_project(
        tmp_path / "project",
        {
            "pyproject.toml": '[build-system]\nrequires = ["flit-core>=3.12"]\n'
            'build-backend = "flit_core.buildapi"\n'
            '[project]\nname = "pure"\nversion = "1.0"\ndescription = "pure"\n'
            '[variant.default-priorities]\nnamespace = ["x86_64"]\n'
            '[variant.providers.x86_64]\nrequires = ["provider-variant-x86-64"]\n'
            'plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"\n'
            '[variant.variants.good]\nx86_64.level = ["v3"]\n'
            '[variant.variants.bad]\nx86_64.level = ["v99"]\n'
            # The preset knows that the plugin has no such value.
            '[tool.polywheel.providers.x86_64]\nquery = "plugin"\n'
            "[tool.polywheel.matrix]\n",
            "pure.py": "",
        },
    )
    builds = Builds(source, tmp_path / "out")
    done = builds(code=1)
    assert done.states == {"good": "built", "bad": "failed"}
    (log,) = (builds.out / "logs").glob("*-bad.log")
    assert "v99" in log.read_text(encoding="utf-8")
    assert "error: " in done.err


# Before anything is built -------------------------------------------------------------------------


def test_a_dry_run_says_what_each_build_would_be_told(tmp_path: Path) -> None:
    more = '[tool.polywheel.setup."label:two"]\nrequires = ["flit-core"]\ncflags = ["-O3"]\n'
    source = seen_project(tmp_path / "project", more=more)
    builds = Builds(source, tmp_path / "out")
    done = builds("--dry-run")
    assert not builds.out.exists()
    lines = [line.strip() for line in done.out.splitlines()]
    assert lines[0].startswith(f"Python {HERE}: ")
    origin = 'pyproject.toml: tool.polywheel.setup."seen :: kind :: two"'
    assert f"env SEEN_KIND = two  ({origin})" in lines
    assert 'cflags -O3  (pyproject.toml: tool.polywheel.setup."label:two")' in lines
    assert "requires: flit-core" in lines
    assert lines[-1] == "builds: 2, wheels: 2"


def test_a_dry_run_as_json(tmp_path: Path) -> None:
    source = seen_project(tmp_path / "project")
    done = Builds(source, tmp_path / "out")("--dry-run", "--json")
    document = json.loads(done.out)
    assert document["shape"] == 1
    (python,) = document["pythons"]
    assert python == HERE
    assert [one["here"] for one in document["builds"]] == [True, True]
    one = next(one for one in document["builds"] if one["id"].endswith("-one"))
    assert one["jobs"][0]["properties"] == ["seen :: kind :: one"]
    (entry,) = one["setup"]["setup"]["env"]
    assert entry["name"], entry["value"] == ("SEEN_KIND", "one")


def test_a_dry_run_of_what_is_committed(tmp_path: Path) -> None:
    source = checkout(seen_project(tmp_path / "project"))
    text = (source / "pyproject.toml").read_text(encoding="utf-8")
    (source / "pyproject.toml").write_text(text.replace("one", "first"), encoding="utf-8")
    builds = Builds(source, tmp_path / "out")
    assert "seen :: kind :: one" in builds("--dry-run", "--clean").out
    assert "seen :: kind :: first" in builds("--dry-run").out


def test_at_the_end_it_says_what_to_do_next(tmp_path: Path) -> None:
    builds = Builds(seen_project(tmp_path / "project"), tmp_path / "out")
    done = builds()
    note, jobs, *lines = done.out.splitlines()
    assert "it has no compiled code" in note
    assert jobs.startswith("  jobs: ")
    assert lines[0] == "builds: 2 built"
    assert re.fullmatch(rf"wheels: 2 \(\d\.\d\d kB\) in {builds.out}, after \d+\.\d s", lines[1])
    assert lines[2] == f"next: polywheel index {builds.out}"
