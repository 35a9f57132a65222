"""``polywheel build --frontend cibuildwheel`` with the real one, in containers.

Opt-in: ``nox -s cibuildwheel``.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from polywheel.cli import main
from support.build_command import Builds, workplaces
from support.builds import extension, read_wheel, run, snapshot
from support.commands import polywheel
from support.containers import Machine
from support.projects import HERE, example
from support.workflows import filled, load

pytestmark = pytest.mark.cibuildwheel
places = pytest.fixture(autouse=True)(workplaces)

FRONTEND = ("--frontend", "cibuildwheel")
MATRIX = """
[tool.polywheel.matrix]
python = ["3.11", "3.12"]
null = true
"""


@pytest.fixture
def builds(machine: Machine, tmp_path: Path) -> Builds:
    """The example with a matrix. polywheel is not in reach of the containers but by itself."""
    source = example("cibuildwheel", tmp_path)
    add(source, MATRIX)
    env = {name: text for name, text in machine.env.items() if name != "CIBW_ENVIRONMENT"}
    return Builds(source, tmp_path / "out", env, patience=600)


def add(source: Path, tables: str) -> None:
    path = source / "pyproject.toml"
    path.write_text(path.read_text("utf-8") + tables, encoding="utf-8")


def test_three_variants_for_two_pythons(builds: Builds, tmp_path: Path) -> None:
    before = snapshot(builds.source)
    first = builds(*FRONTEND)
    assert snapshot(builds.source) == before
    assert [(one["state"], len(one["jobs"])) for one in first.report["builds"]] == [
        ("built", 2)
    ] * 3
    wheels = builds.wheels
    assert len(wheels) == 6
    assert all("manylinux_" in name for name in wheels), "repaired"
    assert main(["show", "--hashes", str(builds.out)]) == 0
    for job in first.report["jobs"]:
        wheel = read_wheel(builds.out / job["file"])
        assert list(wheel.variant_json["variants"]) == [job["label"]]
        module = extension(wheel, tmp_path / job["id"])
        counts = run(["objdump", "-d", module], cwd=tmp_path).stdout.count("popcnt")
        assert (counts > 0) == (job["label"] != "null")
        assert wheels[job["file"]] == job["sha256"]
    log = Path(first.report["builds"][0]["log"]).read_text("utf-8")
    assert log.count("import count; assert count") >= 2, "the project's own tests"
    assert "-march=" not in log or "null" not in first.report["builds"][0]["id"]
    assert {one["state"] for one in builds(*FRONTEND).report["builds"]} == {"up-to-date"}
    next(builds.out.glob("*cp312*-null.whl")).unlink()
    again = builds(*FRONTEND)
    assert [one["state"] for one in again.report["jobs"]].count("built") == 1
    assert builds.wheels == wheels, "the same bytes, in another container"


def test_settings_of_targets_and_overrides(builds: Builds) -> None:
    """They reach the container, also with quotes."""
    add(
        builds.source,
        """
[tool.polywheel.targets.linux-x86_64]
environment = { DEMO = "it's $HOME", OTHER = "\\"$$HOME\\" $DEMO {project}" }
before-all = "test -f {project}/pyproject.toml && touch /tmp/before-all"
container-options = "--label 'a b=c d'"
[[tool.polywheel.overrides]]
select = { python = "3.12" }
before-build = "test -f /tmp/before-all && test \\"$DEMO\\" = \\"it's /root\\" && echo OTHER=$OTHER"
""",
    )
    report = builds(*FRONTEND, "--select", "x86_64_v3").report
    assert [build["state"] for build in report["builds"]] == ["built", "built"], "a run for each"
    logs = [Path(build["log"]).read_text("utf-8") for build in report["builds"]]
    assert [log.count('OTHER="$HOME" it\'s /root /project\n') for log in logs] == [0, 1]
    assert len(builds.wheels) == 2


def test_containers_share_the_compiler_cache_of_the_machine(builds: Builds, tmp_path: Path) -> None:
    ccache = shutil.which("ccache")
    if ccache is None:
        pytest.skip("ccache is not installed")
    # The image is made from the same packages as this machine.
    libraries = "/usr/lib/x86_64-linux-gnu"
    files = f"/host{ccache} /host{libraries}/libhiredis.so.* /host{libraries}/libzstd.so.*"
    install = f"mkdir -p /tools && cp {files} /tools && mv /tools/ccache /usr/bin && cp -n /tools/* {libraries}"
    add(
        builds.source,
        f"[tool.polywheel.targets.linux-x86_64]\nbefore-all = {json.dumps(install)}\n",
    )
    builds.env["CCACHE_DIR"] = str(tmp_path / "ccache")
    options = (*FRONTEND, "--select", "x86_64_v3", "--compiler-cache", "ccache")
    (build,) = builds(*options).report["builds"]
    cold = build["compiler-cache"]
    again = replace(builds, out=tmp_path / "again")
    (build,) = again(*options).report["builds"]
    warm = build["compiler-cache"]
    assert cold["misses"] > 0
    assert warm == {"hits": cold["hits"] + cold["misses"], "misses": 0}
    assert builds.wheels == again.wheels, "the same bytes, in another container"


def test_the_step_of_a_workflow_builds_two_variants(machine: Machine, tmp_path: Path) -> None:
    """Each in its own folder, from which the labels are added."""
    source = example("cibuildwheel", tmp_path)
    add(source, MATRIX.replace('"3.11", ', "").replace("null = true", ""))
    (source / ".git").mkdir()
    command = ("ci", "cibuildwheel", "--max-jobs=1", "-o", "-")
    jobs = load(polywheel(*command, cwd=source, apart=True).stdout)["jobs"]
    job = jobs["build-linux-x86-64"]
    (entry,) = job["strategy"]["matrix"]["include"]
    (step,) = [step for step in job["steps"] if step.get("shell") == "python"]
    values = filled(step["env"], {"matrix": entry}, {"toJSON": json.dumps})
    temporary = {"RUNNER_TEMP": str(tmp_path / "temporary")}
    env = {**machine.env, **job["env"], **values, **temporary}
    run([sys.executable, "-c", step["run"]], cwd=source, env=env)
    folders = sorted((tmp_path / "temporary" / "wheelhouse").iterdir())
    assert [folder.name for folder in folders] == [told["folder"] for told in entry["runs"]]
    out = tmp_path / "dist"
    assert main(["finalize", *map(str, folders), "-o", str(out)]) == 0
    assert sorted(path.stem.split("-")[5] for path in out.iterdir()) == ["x86_64_v2", "x86_64_v3"]


def test_what_is_good_is_kept(builds: Builds) -> None:
    """A variant that does not compile, a Python that the project's tables skip, and code beyond the label."""
    add(builds.source, '[tool.polywheel.setup."label:x86_64_v2"]\ncflags = ["-march=nonsense"]\n')
    add(builds.source, '[tool.polywheel.audit]\nbuilds = "error"\n')
    path = builds.source / "pyproject.toml"
    text = path.read_text("utf-8").replace('skip = "', 'skip = "cp312-* ')
    path.write_text(text.replace('"-O2"', '"-O2", "-mpopcnt"'), encoding="utf-8")
    said = builds(*FRONTEND, code=1)
    states = {one["id"]: (one["state"], one["error"] or "") for one in said.report["builds"]}
    assert [state for state, _ in states.values()] == ["failed"] * 3
    assert "cibuildwheel ended with exit code" in states["linux-x86_64-cp311-x86_64_v2"][1]
    for label in ("null", "x86_64_v3"):
        assert "made no wheel for linux-x86_64-cp312" in states[f"linux-x86_64-cp311-{label}"][1]
    assert "POPCNT" in states["linux-x86_64-cp311-null"][1]
    assert builds.labels == ["x86_64_v3"]
    assert [path.stem[-5:] for path in (builds.out / "failed").iterdir()] == ["-null"]


def test_one_wheel_for_several_pythons(builds: Builds) -> None:
    """The stable ABI: cibuildwheel tests the wheel of the first Python with the second."""
    add(
        builds.source,
        'wheel-tag = "abi3"\n[tool.distutils.bdist_wheel]\npy_limited_api = "cp311"\n',
    )
    limited = 'py-limited-api = true\ndefine-macros = [["Py_LIMITED_API", "0x030B0000"]]\n'
    path = builds.source / "pyproject.toml"
    text = path.read_text("utf-8")
    path.write_text(
        text.replace('["src/bits.c"]\n', f'["src/bits.c"]\n{limited}'), encoding="utf-8"
    )
    # The audit of abi3 wheels runs beside cibuildwheel, in an environment that it downloads tools for.
    builds.env["CIBW_AUDIT_COMMAND"] = ""
    said = builds(*FRONTEND, "--select", "x86_64_v3")
    (name,) = builds.wheels
    assert "-cp311-abi3-" in name
    log = Path(said.report["builds"][0]["log"]).read_text("utf-8")
    assert "Found previously built wheel" in log


def test_an_interrupt_leaves_no_container(builds: Builds) -> None:
    engine = next(filter(shutil.which, ("podman", "docker")))
    ask = [engine, "ps", "--all", "--format", "{{.Names}}"]
    environment = {name: text for name, text in builds.env.items() if name == "CONTAINERS_CONF"}

    def containers() -> list[str]:
        return run(ask, cwd=builds.source, env=environment).stdout.split()

    before = containers()
    running = builds.start(*FRONTEND, "--select", "null")
    until = time.monotonic() + 120
    while containers() == before and time.monotonic() < until:
        time.sleep(0.2)
    assert containers() != before
    running.terminate()
    builds.ended(running, code=130)
    assert containers() == before
    assert builds.wheels == {}
    assert json.loads(builds.report.read_text("utf-8"))["interrupted"] is True


_CHECK = """
import iniconfig, os, sys
import packaging
import polywheel_example_cibuildwheel as module
assert "site-packages" in module.__file__
assert os.path.isfile(os.path.join(sys.argv[1], "pyproject.toml"))
assert os.path.samefile(*sys.argv[1:3])
assert sys.argv[3].endswith(".whl")
print("facts:", sorted(os.listdir()), os.environ["DEMO"], os.path.exists("/tmp/before-test"))
sys.exit(os.environ["RESULT"])
"""


@pytest.mark.parametrize("result", [0, 1])
def test_the_settings_of_tests_mean_the_same(result: int, builds: Builds, tmp_path: Path) -> None:
    """In ``[tool.cibuildwheel]`` for cibuildwheel, and in ``[tool.polywheel]`` for builds of polywheel."""
    path = builds.source / "pyproject.toml"
    (builds.source / "check").mkdir()
    code = _CHECK.replace('os.environ["RESULT"]', str(result))
    (builds.source / "check" / "it.py").write_text(code, encoding="utf-8")
    table = {
        "test-command": [
            "python -c 'import polywheel_example_cibuildwheel'",
            "python check/it.py {project} {package} {wheel}",
        ],
        "before-test": "test -f {project}/pyproject.toml && touch /tmp/before-test",
        "test-requires": "iniconfig",
        "test-groups": ["more"],
        "test-sources": ["check"],
        "test-environment": {"DEMO": "a b"},
    }
    text = tomllib.loads(path.read_text("utf-8"))
    text["dependency-groups"] = {"more": ["packaging"]}
    own = {key: value for key, value in text["tool"]["cibuildwheel"].items() if "test" not in key}
    text["tool"]["cibuildwheel"] = own | table
    path.write_text(tomli_w.dumps(text), encoding="utf-8")
    select = ("--select", "null", "--python", HERE)
    report = builds(*FRONTEND, *select, code=result).report
    (build,) = report["builds"]
    (facts,) = re.findall(r"facts: .*", Path(build["log"]).read_text("utf-8"))
    text["tool"]["cibuildwheel"] = own
    text["tool"]["polywheel"] |= table
    path.write_text(tomli_w.dumps(text), encoding="utf-8")
    native = Builds(builds.source, tmp_path / "native")
    (job,) = native(*select, code=result).report["jobs"]
    assert job["test"]["state"] == ("failed" if result else "passed")
    assert build["state"] == ("failed" if result else "built")
    assert facts in Path(job["test"]["log"]).read_text("utf-8").splitlines()
