"""The public API: the examples of docs/api.md, and the results of the functions."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import polywheel
from polywheel.matrix.platforms import this_target
from support.builds import build_wheel, run
from support.projects import ROOT, example

API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", API, re.MULTILINE | re.DOTALL)
WHEELS = [
    f"polywheel_example_flit_core-1.0.0-py3-none-any-{label}.whl" for label in ("mkl", "openblas")
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return example("flit-core", tmp_path)


def test_the_first_example(project: Path) -> None:
    done = run([sys.executable, "-c", EXAMPLES[0]], cwd=project)
    assert "any-py3-mkl mkl {'variant': ['blas_lapack :: library :: mkl']" in done.stdout
    assert f"any-py3-mkl built ['{WHEELS[0]}']" in done.stdout
    assert (project / "dist" / WHEELS[0]).is_file()


def test_a_nox_session_for_every_wheel(project: Path, isolated: dict[str, str]) -> None:
    (project / "noxfile.py").write_text(EXAMPLES[1], encoding="utf-8")
    nox = [sys.executable, "-m", "nox"]
    listed = run([*nox, "--list"], cwd=project).stdout
    assert "wheel(job='any-py3-mkl')" in listed
    run([*nox, "-s", "wheel(job='any-py3-mkl')"], cwd=project, env=isolated)
    assert [path.name for path in (project / "dist").iterdir()] == [WHEELS[0]]


def test_builds_for_another_engine(project: Path) -> None:
    distribute = EXAMPLES[2].replace("linux-x86_64", this_target())
    assert f'"{this_target()}"' in distribute
    done = run([sys.executable, "-c", distribute], cwd=project)
    words = done.stdout.split()
    assert sorted(word for word in words if word.endswith(".whl")) == sorted(WHEELS)
    # The content of both is the same.
    assert {*words} - {*WHEELS} <= {"built", "stamped"}


def test_builds_of_another_target_are_left_out(project: Path) -> None:
    here = this_target()
    other = "windows-arm64" if here != "windows-arm64" else "linux-x86_64"
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(
            f'\n[tool.polywheel.matrix]\ntargets = ["{here}", "{other}"]\n'
            f'exclude = [{{ label = "mkl", target = "{other}" }}, '
            f'{{ label = "openblas", target = "{here}" }}]\n'
        )
    plan = polywheel.expand(project)
    assert [build.target for build in plan.builds] != [here]
    with pytest.raises(polywheel.BuildError, match="no build is for this machine"):
        polywheel.build(project, plan=plan.select("openblas"))
    done = run([sys.executable, "-c", EXAMPLES[2].replace("linux-x86_64", here)], cwd=project)
    assert done.stdout.split()[-1] == WHEELS[0]


def test_wheels(project: Path, tmp_path: Path) -> None:
    built = build_wheel(project, tmp_path / "built")
    labelled = polywheel.label(
        built,
        ["blas_lapack :: library :: mkl"],
        pyproject=project / "pyproject.toml",
        output=tmp_path / "labelled",
    )
    assert labelled == tmp_path / "labelled" / WHEELS[0]
    wheel = polywheel.inspect(labelled, hashes=True)
    assert wheel.disagreements == ()
    assert wheel.variant is not None
    assert [str(one) for one in wheel.variant.properties] == ["blas_lapack :: library :: mkl"]
    plain = polywheel.unlabel(labelled, output=tmp_path / "plain")
    assert plain.read_bytes() == built.read_bytes()
    with pytest.raises(polywheel.WheelError, match=r"exists|there"):
        polywheel.unlabel(labelled, output=tmp_path / "plain")
    unlabelled = labelled.rename(labelled.with_name(built.name))
    (done,) = polywheel.finalize(unlabelled).done
    assert done.written == labelled


def test_a_plan_as_json_and_in_parts(project: Path) -> None:
    plan = polywheel.expand(project)
    assert polywheel.Plan.from_json(plan.to_json()) == plan
    assert json.loads(plan.to_json())["jobs"]
    assert [job.label for job in plan.select("open*").jobs] == ["openblas"]
    assert [job.id for job in plan.select(jobs=["any-py3-mkl"]).jobs] == ["any-py3-mkl"]
    with pytest.raises(polywheel.ConfigError, match="openblaz"):
        plan.select("openblaz")
    with pytest.raises(polywheel.ConfigError, match="JSON"):
        polywheel.Plan.from_json("{")


def test_options_that_make_no_sense(project: Path) -> None:
    out = project / "dist"
    for wrong in ({"max_parallel": 0}, {"time_limit": -1.0}, {"memory_per_job": 0}):
        with pytest.raises(polywheel.ConfigError, match="above 0"):
            polywheel.RunOptions(out=out, **wrong)
    with pytest.raises(polywheel.ConfigError, match="variant-label"):
        polywheel.RunOptions(out=out, settings={"variant-label": "mkl"})
    with pytest.raises(polywheel.ConfigError, match="contains the source"):
        polywheel.build(project, options=polywheel.RunOptions(out=project))
    assert polywheel.RunOptions(out=out).log_folder == out / "logs"
    assert polywheel.RunOptions(out=out, logs=Path()).log_folder == Path.cwd()


def test_a_report_that_cannot_be_written_is_noticed_before_the_first_build(project: Path) -> None:
    options = polywheel.RunOptions(
        out=project / "dist", report=project / "pyproject.toml" / "report.json"
    )
    with pytest.raises(polywheel.WheelError, match="the report can't be written"):
        polywheel.build(project, options=options)
    assert not (project / "dist").exists()


def test_another_file_with_tables_and_a_report(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.toml"
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    tables = text[text.index("[tool.polywheel]") :].replace("variants.mkl]", "variants.intel]")
    other.write_text(tables, encoding="utf-8")
    monkeypatch.setenv("POLYWHEEL_CONFIG", str(other))
    plan = polywheel.expand(project)
    assert [job.label for job in plan.jobs] == ["intel", "openblas"]
    options = polywheel.RunOptions(
        out=tmp_path / "out", report=tmp_path / "report.json", html=tmp_path / "page.html"
    )
    report = polywheel.build(project, plan=plan.select("intel"), options=options)
    assert report.exit_code == 0
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report.document()
    assert report.outcomes[0].build in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_variables_for_cibuildwheel(tmp_path: Path) -> None:
    plan = polywheel.expand(example("cibuildwheel", tmp_path))
    job = next(job for job in plan.jobs if job.label == "x86_64_v3")
    found = job.cibuildwheel_environment
    assert found["CIBW_PLATFORM"] == "linux"
    assert found["CIBW_ARCHS"] == "x86_64"
    assert found["CIBW_BUILD"].endswith("-manylinux_x86_64")
    assert found["CIBW_CONFIG_SETTINGS"] == "variant-label=x86_64_v3"


def test_the_import_stays_cheap_and_every_name_is_there() -> None:
    code = "import sys, polywheel; print(*(name for name in sys.modules if name.startswith('polywheel')))"
    assert run([sys.executable, "-c", code], cwd=ROOT).stdout.split() == ["polywheel"]
    for name in polywheel.__all__:
        value = getattr(polywheel, name)
        assert name == "__version__" or inspect.getdoc(value), name
    assert set(polywheel.__all__) <= set(dir(polywheel))
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(polywheel, "no_such_name")  # noqa: B009  # as a name that type checkers refuse


def test_pydoc_shows_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pydoc", "polywheel"],
        capture_output=True,
        text=True,
        check=True,
        env={"PAGER": "cat", "MANPAGER": "cat"},
    )
    for name in ("expand(source", "build(", "class Plan", "config_settings"):
        assert name in done.stdout, name


def test_the_documentation_names_everything() -> None:
    for name in polywheel.__all__:
        if name not in {"__version__", "FinalizedWheel", "Problem"}:
            assert f"`{name}" in API or f".{name}`" in API or f"{name}(" in API, name
