"""Tests of wheels by ``polywheel build`` and ``polywheel test``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from support.build_command import Builds, workplaces
from support.builds import levels_of_this_machine
from support.commands import polywheel
from support.projects import HERE, demo, example

places = pytest.fixture(autouse=True)(workplaces)
posix = pytest.mark.skipif(sys.platform == "win32", reason="the commands are for sh")
emulates = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64 (Debian: qemu-user)"
)


def with_tests(source: Path, tests: str, more: str = "") -> Path:
    """Add settings to ``[tool.polywheel]``, and more tables at the end."""
    path = source / "pyproject.toml"
    text = path.read_text("utf-8")
    table = "\n[tool.polywheel]\n"
    text = text if table in text else f"{text}{table}"
    text = text.replace(table, f"{table}{tests}\n")
    path.write_text(f"{text}\n{more}\n", encoding="utf-8")
    return source


def results_of(builds: Builds, *options: str, code: int = 0) -> dict[str, tuple[str, str | None]]:
    """Run it. Return state and reason of each test, by label."""
    report = builds(*options, code=code).report
    return {
        str(job["label"]): (job["test"]["state"], job["test"]["reason"])
        for job in report["jobs"]
        if job["test"] is not None
    }


def log_of(builds: Builds, label: str) -> str:
    (path,) = (builds.out / "logs").glob(f"*-{label}.test.log")
    return path.read_text("utf-8")


@posix
def test_a_wheel_is_installed_and_tested_outside_of_the_source(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one", "two")
    (source / "checks").mkdir()
    (source / "checks" / "data.txt").write_text("of the source\n", encoding="utf-8")
    command = (
        'python -c "import demo, os; print(os.path.dirname(demo.__file__))" && pwd && ls && '
        "cat checks/data.txt && echo label=$POLYWHEEL_VARIANT_LABEL extra=$EXTRA && "
        "echo properties=$POLYWHEEL_VARIANT_PROPERTIES && basename {wheel} && ls {project} && "
        "! read line"
    )
    with_tests(
        source,
        f"test-command = '''{command}'''\ntest-sources = 'checks'\nbefore-test = 'pwd; ls {{project}}'\n"
        'test-environment = { EXTRA = "$PATH:x" }\ntest-requires = "iniconfig"',
        '[[tool.polywheel.overrides]]\nselect = "two"\n'
        'test-command = ["python -c \'import iniconfig\'", "false"]\n',
    )
    builds = Builds(source, tmp_path / "out")
    assert results_of(builds, code=1) == {
        "one": ("passed", None),
        "two": ("failed", "test-command ended with exit code 1"),
    }
    log = log_of(builds, "one").splitlines()
    assert "/environment/lib" in next(line for line in log if line.endswith("site-packages/demo"))
    assert "of the source" in "\n".join(log)
    assert any(line.startswith("label=one extra=/") for line in log)
    assert next(line for line in log if line.startswith("properties=")) != "properties="
    assert any(line.startswith("demo-1.0") and line.endswith("any.whl") for line in log)
    assert "pyproject.toml" in log
    # The wheel is beside the log of its test, and not in the output.
    assert {path.rpartition("-")[2] for path in builds.wheels} == {"one.whl"}
    assert {path.suffix for path in (builds.out / "failed").iterdir()} == {".whl", ".log"}


@posix
def test_a_failed_test_is_repeated_without_a_build(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one")
    mark = tmp_path / "mark"
    with_tests(source, f"test-command = 'test -e {mark}'")
    builds = Builds(source, tmp_path / "out")
    run = builds(code=1)
    assert run.states == {"one": "test-failed"}
    assert "the test of" in run.err
    assert builds(code=1).states == {"one": "test-failed"}
    mark.touch()
    run = builds()
    assert (run.states, run.built) == ({"one": "stamped"}, [])
    assert not [*builds.out.glob("logs/*-one.log")]  # the log of a build
    assert not (builds.out / "failed").exists()
    assert builds().states == {"one": "up-to-date"}
    # Wheels that exist are tested when a test is added or changed.
    assert builds("--no-tests").states == {"one": "up-to-date"}


@posix
def test_an_existing_wheel_whose_test_fails_leaves_the_output(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one")
    with_tests(source, "test-command = 'false'")
    builds = Builds(source, tmp_path / "out")
    assert builds("--no-tests").states == {"one": "built"}
    assert builds(code=1).states == {"one": "test-failed"}
    assert not builds.wheels
    assert [*(builds.out / "failed").glob("*.whl")]


@posix
def test_commands_that_fail(tmp_path: Path) -> None:
    commands = {
        "missing": ("no-such-program", "test-command ended with exit code 127"),
        "late": ("sleep 60 & sleep 60", "test-command: timed out after 2 seconds (test-timeout)"),
        "parent": ("kill -9 $PPID; sleep 60", "test-command was killed by SIGKILL"),
        "group": ("kill -9 0", "test-command was killed by SIGKILL"),
        "crash": ("kill -SEGV $$", "test-command was killed by SIGSEGV: invalid access to memory"),
    }
    overrides = "".join(
        f'[[tool.polywheel.overrides]]\nselect = "{label}"\ntest-command = "{command}"\n'
        f"test-timeout = {2 if label == 'late' else 120}\n"
        for label, (command, _) in commands.items()
    )
    source = with_tests(demo(tmp_path / "demo", *commands), "", overrides)
    builds = Builds(source, tmp_path / "out")
    expected = {label: ("failed", reason) for label, (_, reason) in commands.items()}
    assert results_of(builds, code=1) == expected
    assert not builds.wheels


@posix
def test_hostile_tests_do_not_reach_the_output(tmp_path: Path) -> None:
    """Each wheel in the output is the one that was built, whatever the command of its test does."""
    commands = {
        "changes": "echo 1 >> $WHEEL; false",
        "removes": "rm $WHEEL",
        "noise": "head -c 20000000 /dev/zero | tr '\\\\0' x; echo end",
        "escapes": "printf 'a\\\\033[2Jb\\\\n'; exit 7",
        "leaves": f"(while :; do date >> {tmp_path}/alive; sleep 0.1; done) & "
        f"until test -s {tmp_path}/alive; do sleep 0.1; done",
        "writes": "rm -r {project}/* {wheel}; pip uninstall -y demo || true; rm -r $VIRTUAL_ENV",
    }
    overrides = "".join(
        f'[[tool.polywheel.overrides]]\nselect = "{name}"\ntest-command = """'
        f"WHEEL=$(ls {tmp_path}/out/.*/wheels/*-{name}.whl 2>/dev/null || ls {tmp_path}/out/*-{name}.whl);"
        f'{command}"""\n'
        for name, command in commands.items()
    )
    source = with_tests(demo(tmp_path / "demo", *commands), "test-timeout = 60", overrides)
    files = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    builds = Builds(source, tmp_path / "out")
    run = builds(code=1)
    passed = dict.fromkeys(("noise", "leaves", "writes"), "built")
    failed = dict.fromkeys(("changes", "removes", "escapes"), "test-failed")
    assert run.states == {**passed, **failed}
    jobs = {job["label"]: job for job in run.report["jobs"]}
    assert {jobs[name]["file"]: jobs[name]["sha256"] for name in passed} == builds.wheels
    for name in ("changes", "removes"):
        assert jobs[name]["test"]["reason"] == "the test has changed the wheel"
    assert jobs["removes"]["test"]["wheel"] is None
    assert {path.stem.rpartition("-")[2] for path in (builds.out / "failed").glob("*.whl")} == {
        *("changes", "escapes")
    }
    assert "  | ab" in run.err.splitlines()
    assert "\x1b" not in run.err + run.out
    assert log_of(builds, "noise").endswith("end\n")
    alive = (tmp_path / "alive").stat().st_size
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == files
    # A wheel that was changed comes from the cache, one whose test failed is there.
    begun = len(builds.begun)
    run = builds("--no-tests")
    assert {run.states[label] for label in ("changes", "removes", "escapes")} == {"stamped"}
    assert len(builds.begun) == begun
    assert (tmp_path / "alive").stat().st_size == alive
    # The same for wheels that exist already.
    run = builds("--select=changes removes", code=1)
    assert set(run.states.values()) == {"test-failed"}
    assert {name.rpartition("-")[2] for name in builds.wheels} == {
        *("noise.whl", "leaves.whl", "writes.whl", "escapes.whl")
    }
    run = builds("--no-tests", "--select=changes removes")
    assert set(run.states.values()) == {"stamped"}


@posix
def test_equal_content_is_tested_once_unless_the_dependencies_differ(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one", "two", "three", "four")
    runs = tmp_path / "runs"
    with_tests(
        source,
        f"test-command = 'echo x >> {runs}'\ntest-skip = ['four']\n[tool.polywheel.setup.\"*\"]\n",
        f"[[tool.polywheel.overrides]]\nselect = \"three\"\ntest-command = 'echo y >> {runs}'\n",
    )
    text = (source / "pyproject.toml").read_text("utf-8")
    assert "setup" in text
    builds = Builds(source, tmp_path / "out")
    results = results_of(builds)
    assert results["four"] == ("skipped", "test-skip")
    lines = runs.read_text("utf-8").splitlines()
    shared = [reason for state, reason in results.values() if reason and "tested as" in reason]
    assert len(lines) + len(shared) == 3
    assert "y" in lines


def test_groups_and_extras(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one")
    with_tests(
        source,
        "test-command = 'python -c \"import iniconfig\"'\ntest-groups = ['test']",
        "[dependency-groups]\ntest = [{ include-group = 'base' }]\nbase = ['iniconfig']",
    )
    builds = Builds(source, tmp_path / "out")
    assert results_of(builds) == {"one": ("passed", None)}
    path = source / "pyproject.toml"
    path.write_text(
        path.read_text("utf-8").replace("test-groups = ['test']", "test-groups = ['tests']")
    )
    err = builds(code=2).err
    assert "[dependency-groups] has no group 'tests'" in err
    assert "did you mean 'test'?" in err
    text = path.read_text("utf-8").replace("test-groups = ['tests']", "test-extras = ['nope']")
    path.write_text(text, encoding="utf-8")
    assert "the wheel has no extra 'nope' (test-extras); it has: none" in builds(code=1).err


@pytest.mark.usefixtures("x86_64_gcc")
@emulates
def test_the_oldest_cpu_of_a_label(tmp_path: Path) -> None:
    """A wheel labelled v2 with the code of v3, and a null wheel with AVX2, die with SIGILL."""
    source = example("meson", tmp_path)
    code = "import polywheel_example_meson as m; assert list(m.axpy(2.0, [1.0] * 33, [1.0] * 33)) == [3.0] * 33"
    (source / "check.py").write_text(
        f"import subprocess, sys\n{code}\nsubprocess.run([sys.executable, '-c', {code!r}], check=True)\n",
        encoding="utf-8",
    )
    with_tests(
        source,
        'test-command = "python {project}/check.py"\nemulate = true',
        f"""
[variant.variants.x86_64_v2]
x86_64.level = ["v2"]
[variant.variants.x86_64_v4]
x86_64.level = ["v4"]
[tool.polywheel.setup."x86_64 :: level :: v2"]
cflags = ["-march=x86-64-v2"]
[tool.polywheel.setup."x86_64 :: level :: v4"]
cflags = ["-march=x86-64-v4"]
[tool.polywheel.matrix]
python = ["{HERE}"]
null = true
plain = true
variants = ["*"]
""",
    )
    builds = Builds(source, tmp_path / "out")
    report = builds().report
    tests = {str(job["label"]): job["test"] for job in report["jobs"]}
    assert {name: test["state"] for name, test in tests.items()} == {
        **dict.fromkeys(("None", "null", "x86_64_v1", "x86_64_v2", "x86_64_v3"), "passed"),
        "x86_64_v4": "skipped",
    }
    assert tests["x86_64_v2"]["cpu"] == "Nehalem"
    assert tests["x86_64_v3"]["cpu"].startswith("Haswell")
    assert "no CPU model is known" in tests["x86_64_v4"]["reason"]
    # The same code with the wrong labels.
    path = source / "pyproject.toml"
    text = path.read_text("utf-8").replace('"-march=x86-64-v2"', '"-march=x86-64-v3"')
    path.write_text(text, encoding="utf-8")
    file = source / "src" / "axpy.c"
    file.write_text(
        file.read_text("utf-8").replace(
            "static void\naxpy_loop", '__attribute__((target("avx2")))\nstatic void\naxpy_loop'
        ),
        encoding="utf-8",
    )
    results = results_of(builds, "--select=null x86_64_v2 x86_64_v3", code=1)
    killed = (
        "failed",
        "test-command was killed by SIGILL: an instruction that this CPU does not have",
    )
    assert results["x86_64_v3"] == ("passed", None)
    assert results["x86_64_v2"][0] == results["null"][0] == "failed"
    assert results["null"] == killed or "exit code 1" in str(results["null"])


@posix
@pytest.mark.skipif("v2" not in levels_of_this_machine(), reason="the oldest CPU runs everything")
def test_an_emulator_that_emulates_nothing(tmp_path: Path) -> None:
    """The Python of the environment is found without the help of the emulator, but the CPU is wrong."""
    source = demo(tmp_path / "demo", "one")
    with_tests(
        source, "test-command = 'python -c \"import demo\"'\nemulate = true\nemulator = ['env']"
    )
    builds = Builds(source, tmp_path / "out")
    ((state, reason),) = results_of(builds, code=1).values()
    assert state == "failed"
    assert "a Python of the test ran on a CPU with " in str(reason)


@posix
@emulates
def test_a_test_that_does_not_run_on_the_emulated_cpu(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one")
    with_tests(source, "test-command = 'true'\nemulate = true")
    builds = Builds(source, tmp_path / "out")
    ((state, reason),) = results_of(builds, code=1).values()
    assert state == "failed"
    assert "nothing ran on the emulated CPU" in str(reason)


@posix
def test_wheels_that_exist_already(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one", "two", does={"one": "same", "two": "same"})
    with_tests(
        source,
        "test-command = 'true'",
        "[[tool.polywheel.overrides]]\nselect = 'two'\ntest-command = 'false'",
    )
    builds = Builds(source, tmp_path / "out")
    builds("--no-tests")
    before = builds.wheels
    plan = tmp_path / "plan.json"
    printed = polywheel("matrix", "--json", cwd=source).stdout  # a warning, and the plan
    plan.write_text(printed[printed.index("\n{") :], encoding="utf-8")
    report = tmp_path / "report.json"

    def test(*options: str, code: int) -> str:
        command = ("test", str(builds.out), "--plan", str(plan), "--report", str(report), *options)
        done = polywheel(*command, cwd=source, check=False)
        assert done.returncode == code, done.stdout
        return done.stdout

    def jobs() -> dict[str, tuple[str, str | None]]:
        """The state and the reason of a failure of each job, by label."""
        jobs = json.loads(report.read_text(encoding="utf-8"))["jobs"]
        return {job["label"]: (job["state"], job["test"]["reason"]) for job in jobs}

    done = polywheel("test", tmp_path / "none", cwd=source, check=False)
    assert (done.returncode, "does not exist" in done.stdout) == (2, True)
    events = [json.loads(line) for line in test("--json", code=1).splitlines() if line[0] == "{"]
    assert [event["event"] for event in events] == ["begin", "start", "end", "finish"]
    assert events[-1]["tests"] == {"passed": 1, "failed": 1}
    assert builds.wheels == before
    assert [*builds.out.glob("logs/*-one.log")], "the log of the build"
    failed = ("test-failed", "test-command ended with exit code 1")
    assert jobs() == {"one": ("up-to-date", None), "two": failed}
    assert "tests: 1 passed" in test("--select", "one", code=0)
    one, two = (builds.out / name for name in sorted(before))
    # One wrong wheel does not hide the results of the others of its build.
    shutil.copy(one, two)
    assert "the filename has the label 'two'" in test(code=1)
    assert jobs()["one"] == ("up-to-date", None)
    one.unlink()
    assert "it has no wheel in " in test("--select", "one", code=1)
    text = plan.read_text(encoding="utf-8").replace(f'"{HERE}"', '"3.99"')
    plan.write_text(text, encoding="utf-8")
    assert "builds: 1 no python" in test(code=1)


@pytest.mark.usefixtures("x86_64_gcc")
def test_wheels_are_audited_before_they_are_published(tmp_path: Path) -> None:
    source = example("meson", tmp_path)
    path = source / "pyproject.toml"
    # v1 has the code of v3, and the rule of v4 sets a flag without effect: v3 and v4 are the same.
    text = path.read_text("utf-8").replace(
        'level :: v1"]\ncflags = ["-march=x86-64"]', 'level :: v1"]\ncflags = ["-march=x86-64-v3"]'
    )
    text += """
[variant.variants.x86_64_v4]
x86_64.level = ["v4"]
[tool.polywheel.setup."x86_64 :: level :: v4"]
cflags = ["-march=x86-64-v3", "-DNONE"]
[tool.polywheel.audit]
builds = "off"
"""
    path.write_text(text, encoding="utf-8")
    builds = Builds(source, tmp_path / "out")
    assert builds("--select", "x86_64_v1").states == {"x86_64_v1": "built"}
    path.write_text(text.replace('builds = "off"', 'builds = "error"'), encoding="utf-8")
    run = builds(code=1)
    assert run.states == {"x86_64_v1": "failed", "x86_64_v3": "built", "x86_64_v4": "built"}
    (failed,) = (build for build in run.report["builds"] if build["error"])
    assert failed["error"].startswith("the audit of polywheel_example_meson-1.0.0-")
    assert "axpy_into: AVX" in failed["error"]
    audits = {job["label"]: job["audit"] for job in run.report["jobs"]}
    assert {one["symbol"] for one in audits["x86_64_v1"] if one["severity"] == "error"} == {
        "axpy_into"
    }
    assert "error" not in {one["severity"] for one in audits["x86_64_v3"]}
    (wheel,) = (builds.out / "failed").iterdir()
    assert wheel.stem.endswith("-x86_64_v1")
    assert f"failed: {failed['id']}: the audit of {wheel.name} found " in run.out
    warnings = {one["text"]: one["jobs"] for one in run.report["warnings"]}
    (same,) = (jobs for text, jobs in warnings.items() if "'x86_64_v3', 'x86_64_v4'" in text)
    assert [job.rpartition("-")[2] for job in same] == ["x86_64_v3", "x86_64_v4"]
    note = (
        "note: audit: the label declares 'x86_64 :: level :: v4', but no code uses its instructions"
    )
    assert note in run.out
    # Wheels that are up to date are compared, too.
    run = builds("--select=x86_64_v3 x86_64_v4")
    assert run.states == {"x86_64_v3": "up-to-date", "x86_64_v4": "up-to-date"}
    assert {job["audit"] for job in run.report["jobs"]} == {None}
    assert "the same content has several labels: 'x86_64_v3', 'x86_64_v4'" in run.out
    path.write_text(text.replace('builds = "off"', 'builds = "warn"'), encoding="utf-8")
    run = builds("--select", "x86_64_v1")
    assert run.states == {"x86_64_v1": "stamped"}
    assert "warning: audit: polywheel_example_meson/_axpy" in run.out
