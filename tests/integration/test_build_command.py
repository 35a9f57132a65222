"""``polywheel build``: runs, failures, interrupts, and output."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polywheel.matrix.platforms import this_target
from support.build_command import CACHE, Builds, workplaces
from support.builds import COMPILED, read_wheel, run, snapshot, wide_registers
from support.commands import polywheel
from support.disks import fill_disk, small_disk
from support.projects import HERE, change_backend, demo, example, write_project

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
SOON = 60.0
OTHER_TARGET = "windows-arm64" if this_target() != "windows-arm64" else "linux-x86_64"
MESON_MATRIX = """
[variant.providers.math.static-properties]
speed = ["exact", "fast"]
[tool.polywheel.setup."x86_64 :: level"]
cflags = ["-march=x86-64-{{value}}"]
[tool.polywheel.setup."x86_64 :: level :: v1"]
cflags = ["-march=x86-64"]
[tool.polywheel.setup."math :: speed :: fast"]
cflags = ["-ffast-math"]
[tool.polywheel.matrix]
python = ["{}", "{}"]
label = "{{level}}_{{speed}}"
[tool.polywheel.matrix.axes.level]
v1 = ["x86_64 :: level :: v1"]
v2 = ["x86_64 :: level :: v2"]
v3 = ["x86_64 :: level :: v3"]
v4 = ["x86_64 :: level :: v4"]
[tool.polywheel.matrix.axes.speed]
exact = ["math :: speed :: exact"]
fast = ["math :: speed :: fast"]
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    """A demo with the variants a, b and c."""
    return Builds(demo(tmp_path / "demo", "a", "b", "c"), tmp_path / "out")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    with small_disk(tmp_path / "disk", "512k") as folder:
        yield folder


def until(reached: Callable[[], bool]) -> None:
    """Wait for what will be soon."""
    for _ in range(int(SOON * 50)):
        if reached():
            return
        time.sleep(0.02)
    pytest.fail("it was not reached")


def until_it_ends(process: int) -> None:
    """Wait for a process that has been killed: the system may take a moment to end it."""
    until(lambda: not is_there(process))


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
        status = Path(f"/proc/{process}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.slow
def test_8_variants_of_the_meson_example_on_two_pythons(tmp_path: Path, second_python: str) -> None:
    """Built once, and nothing is left to do; in another directory the same bytes."""
    source = example("meson", tmp_path)
    tables = source / "pyproject.toml"
    kept, _, _ = tables.read_text(encoding="utf-8").partition("[variant.variants.")
    assert 'namespace = ["x86_64"]' in kept
    tables.write_text(
        kept.replace('["x86_64"]', '["x86_64", "math"]') + MESON_MATRIX.format(HERE, second_python),
        encoding="utf-8",
    )
    builds = Builds(source, tmp_path / "out")
    before = snapshot(source)
    first = builds()
    assert [one["state"] for one in first.report["builds"]] == ["built"] * 16
    assert snapshot(source) == before
    wheels = builds.wheels
    assert len(wheels) == 16
    for job in first.report["jobs"]:
        wheel = read_wheel(builds.out / job["file"])
        assert list(wheel.variant_json["variants"]) == [job["label"]]
        assert "-cp" + job["pythons"][0].replace(".", "") in job["file"]
        wide = wide_registers(wheel.path, tmp_path / "unpacked")
        assert (wide > 0) == job["label"].startswith(("v3", "v4"))
    assert [one["state"] for one in builds().report["builds"]] == ["up-to-date"] * 16
    assert builds.wheels == wheels
    other = Builds(source, tmp_path / "other")
    other("--select", "v3_fast")
    assert len(other.wheels) == 2
    assert other.wheels.items() <= wheels.items()


@pytest.mark.parametrize(
    "name",
    [
        "setuptools",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("flit-core", "hatchling", "scikit-build-core")
        ),
    ],
)
def test_two_runs_give_the_same_bytes_for_the_examples(name: str, tmp_path: Path) -> None:
    """The second makes all of it again, in another directory."""
    if name in COMPILED and not shutil.which("cc"):
        pytest.skip("needs a compiler")
    source = example(name, tmp_path)
    first, second = (Builds(source, tmp_path / out) for out in ("first", "second"))
    for builds in (first, second):
        assert set(builds("--python", HERE, "--rebuild").states.values()) == {"built"}
    assert len(first.wheels) == 2
    assert first.wheels == second.wheels


def test_equal_builds_run_once(tmp_path: Path) -> None:
    """20 variants of a pure project that are stamped and nothing else: one run of the backend."""
    names = [f"kind{number}" for number in range(20)]
    variants = "".join(f'[variant.variants.{name}]\ndemo.kind = ["{name}"]\n' for name in names)
    source = write_project(
        tmp_path / "pure",
        {
            "pyproject.toml": f"""
[build-system]
requires = ["flit-core>=3.11"]
build-backend = "flit_core.buildapi"
[project]
name = "pure"
version = "1.0"
requires-python = ">=3.11"
description = "Files of which every variant has the same"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
kind = {json.dumps(names)}
{variants}
[tool.polywheel.matrix]
python = ["{HERE}"]
plain = true
""",
            "pure/__init__.py": "",
        },
    )
    builds = Builds(source, tmp_path / "out")
    before = snapshot(source)
    first = builds()
    assert len(builds.wheels) == 21
    assert len(list((builds.out / "logs").glob("any-py3-*.log"))) == 1
    assert [one["state"] for one in first.report["builds"]] == ["built"]
    stamped = [read_wheel(builds.out / name) for name in builds.wheels]
    labels = [list(one.variant_json["variants"]) for one in stamped if one.stamped]
    assert sorted(labels) == sorted([name] for name in names)
    assert snapshot(source) == before
    wheels, journal = builds.wheels, builds.journal
    # One wheel is gone: one is stamped.
    (builds.out / "pure-1.0-py3-none-any-kind7.whl").unlink()
    assert list(builds().states.values()).count("up-to-date") == 20
    assert builds.wheels == wheels
    assert [one["job"] for one in builds.journal[len(journal) :]] == ["any-py3-kind7"]


def test_a_build_that_reads_its_variant_runs_for_each_of_them(tmp_path: Path) -> None:
    """No rule tells the variants apart; the backend does, by what polywheel tells it."""
    source = demo(tmp_path / "demo", "a", "b", matrix="null = true\nplain = true")
    tables = source / "pyproject.toml"
    text = tables.read_text(encoding="utf-8")
    rules, matrix = text.index("[tool.polywheel.setup"), text.index("[tool.polywheel.matrix]")
    tables.write_text(text[:rules] + text[matrix:], encoding="utf-8")
    change_backend(source, 'get("DEMO_DOES", ', 'get("POLYWHEEL_VARIANT_LABEL", ')
    builds = Builds(source, tmp_path / "out")
    builds()
    contents = {read_wheel(builds.out / one).members["demo/__init__.py"] for one in builds.wheels}
    told = ("a", "b", "null", "nothing special")  # the last for the non-variant wheel
    assert contents == {f"does = {one!r}\n".encode() for one in told}


def test_a_second_run_has_nothing_to_do(builds: Builds) -> None:
    first = builds("--json")
    assert builds.labels == ["a", "b", "c"]
    assert [one["event"] for one in first.events].count("start") == 3
    wheels, journal = builds.wheels, builds.journal
    second = builds("--json")
    assert [one["event"] for one in second.events].count("start") == 0
    ends = [one for one in second.events if one["event"] == "end"]
    assert [one["state"] for one in ends] == ["up-to-date"] * 3
    assert builds.wheels == wheels
    assert builds.journal == journal
    assert builds.leftovers == []


def test_an_output_directory_in_the_project_is_no_part_of_it(builds: Builds) -> None:
    builds.out = builds.source / "wheels"
    assert builds().built == ["a", "b", "c"]
    assert builds().built == []


def test_what_a_build_depends_on_makes_it_anew(tmp_path: Path) -> None:
    builds = Builds(demo(tmp_path / "demo", "a"), tmp_path / "out")
    assert builds().built == ["a"]
    # A line of no meaning, in a file of the source.
    with (builds.source / "backend.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert builds().built == ["a"]
    builds.env["CFLAGS"] = "-O1"
    assert builds().built == ["a"]
    assert builds().built == []
    assert builds("-C", "key=value").built == ["a"]


def test_events_and_report_are_about_the_same(builds: Builds) -> None:
    made = builds("--json")
    events, report = made.events, made.report
    begin = next(one for one in events if one["event"] == "begin")
    assert begin["waiting"] == [one["id"] for one in report["builds"]]
    ends = {one["build"]: one for one in events if one["event"] == "end"}
    assert {name: one["state"] for name, one in ends.items()} == {
        one["id"]: one["state"] for one in report["builds"]
    }
    assert report["out"] == str(builds.out)
    for job in report["jobs"]:
        path = builds.out / job["file"]
        assert job["size"] == path.stat().st_size
        assert job["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert job["seconds"] > 0
    for build in report["builds"]:
        assert 0 < build["hook-seconds"] < build["seconds"]
        assert "demo: this one does" in Path(build["log"]).read_text(encoding="utf-8")
        assert 0 <= build["started"] <= build["started"] + build["seconds"] <= report["seconds"]
        assert build["slot"] in {0, 1}


def test_the_setup_and_the_command_of_a_wheel(builds: Builds, tmp_path: Path) -> None:
    first = builds("--select", "a").report
    ((job,), (build,)) = first["jobs"], first["builds"]
    (setup,) = build["setup"]
    assert (setup["name"], setup["values"]) == ("env.DEMO_DOES", ["a"])
    assert setup["origin"].startswith("pyproject.toml")
    words = shlex.split(job["reproduce"])
    assert words[:2] == ["polywheel", "build"]
    again = [sys.executable, "-m", *words, "--report", str(builds.report)]
    folders = {"POLYWHEEL_CACHE_DIR": str(CACHE), "DEMO_FOLDER": str(builds.source.parent)}
    run(again, cwd=tmp_path, env={**os.environ, **folders})
    report = json.loads(builds.report.read_text(encoding="utf-8"))
    assert [(one["id"], one["state"]) for one in report["jobs"]] == [(job["id"], "built")]


def test_a_dry_run_makes_nothing(builds: Builds) -> None:
    said = builds("--dry-run").out
    for label in "abc":
        assert f"-{label}" in said
    assert not builds.out.exists()


def test_a_plan_is_built_as_it_stands(builds: Builds, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polywheel", "matrix", str(builds.source), "--json"]
    plan = tmp_path / "plan.json"
    plan.write_text(run([*command, "--select", "[ab]"], cwd=tmp_path).stdout, encoding="utf-8")
    builds("--plan", str(plan), "--select", "b")
    assert builds.labels == ["b"]
    builds("--plan", str(plan))
    assert builds.labels == ["a", "b"]
    assert len(builds.journal) == 2
    # An earlier version of polywheel may have written such a plan.
    text = plan.read_text(encoding="utf-8").replace(f'"{HERE}"', '"3.10"')
    plan.write_text(text, encoding="utf-8")
    said = builds("--plan", str(plan), code=2)
    assert "nothing can be built with Python 3.10" in said.err
    assert "plan.json: builds[0].python" in said.err


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    """The end of its log is shown; the next run does what is missing, and only that."""
    source = demo(tmp_path / "demo", "a", "bad", "z", does={"bad": "fail"})
    builds = Builds(source, tmp_path / "out")
    page = source / "page.html"  # it is not a part of the source
    failed = builds("--html", str(page), code=1)
    assert builds.labels == ["a", "z"]
    assert "demo: it does not compile" in failed.err
    text = page.read_text(encoding="utf-8")
    assert "demo: it does not compile" in text.partition('id="logs">')[2]
    out = polywheel("report", builds.report, "--html", "-", cwd=tmp_path).stdout
    assert out.partition('id="run">')[2].startswith('{"project":"demo"')
    names = ("markdown", "junit", "trace")
    outputs = [word for name in names for word in (f"--{name}", str(tmp_path / name))]
    polywheel("report", builds.report, *outputs, cwd=tmp_path)
    summary, junit, trace = ((tmp_path / name).read_text(encoding="utf-8") for name in names)
    assert "**1 failed**" in summary
    assert "cp" in summary.partition("### Failures")[2].partition("-bad")[0]
    (failure,) = ET.fromstring(junit).findall("testsuite/testcase/failure")
    assert "demo: it does not compile" in str(failure.text)
    assert sum(one["ph"] == "X" for one in json.loads(trace)["traceEvents"]) == 3
    assert "-bad.log" in failed.err
    assert failed.states == {"a": "built", "bad": "failed", "z": "built"}
    assert failed.report["exit-code"] == 1
    again = builds("--html", str(page), code=1)
    assert again.states == {"a": "up-to-date", "bad": "failed", "z": "up-to-date"}
    demo(tmp_path / "demo", "a", "bad", "z")
    builds()
    assert builds.labels == ["a", "bad", "z"]
    assert builds.leftovers == []


def test_to_fail_fast_ends_the_others(tmp_path: Path) -> None:
    names = ("w", "x", "y", "z")
    source = demo(tmp_path / "demo", *names, does={"w": "wait", "x": "fail"})
    # It fails when the other one is at work.
    wait = 'while not os.path.exists(os.environ["DEMO_FOLDER"] + "/waiting"): time.sleep(0.02)'
    change_backend(source, 'sys.exit("demo', f'{wait}\n        sys.exit("demo')
    builds = Builds(source, tmp_path / "out")
    assert builds("--fail-fast", code=1).states == {
        "w": "stopped",
        "x": "failed",
        "y": "not-started",
        "z": "not-started",
    }
    for process in (tmp_path / "waiting").read_text().split():
        until_it_ends(int(process))
    assert builds.wheels == {}


@pytest.mark.parametrize("where", ["option", "target"])
def test_one_that_takes_too_long_is_killed_and_has_failed(tmp_path: Path, where: str) -> None:
    for seconds in ("3", "40"):  # a busy machine may need more for the one that does not wait
        target = f"[tool.polywheel.targets.{this_target()}]\njob-timeout = {seconds}\n"
        folder = tmp_path / seconds
        limit = target if where == "target" else ""
        source = demo(folder / "demo", "a", "b", does={"a": "wait"}, matrix=limit)
        builds = Builds(source, folder / "out")
        said = builds(*(("--job-timeout", seconds) if where == "option" else ()), code=1)
        assert f"timed out after {seconds} seconds" in said.err
        waiting = folder / "waiting"
        if builds.labels and waiting.exists():
            break
    assert builds.labels == ["b"]
    for process in waiting.read_text().split():
        until_it_ends(int(process))


@posix
def test_an_interrupt_ends_what_runs_and_leaves_what_is_finished(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "a", "w", "x", "z", does={"w": "wait", "x": "wait too"})
    builds = Builds(source, tmp_path / "out")
    running = builds.start()
    until(lambda: (tmp_path / "waiting").exists() and (tmp_path / "wait tooing").exists())
    running.send_signal(signal.SIGINT)
    ended = builds.ended(running, code=130)
    assert builds.labels == ["a"]
    for file in ("waiting", "wait tooing"):
        for process in (tmp_path / file).read_text().split():
            until_it_ends(int(process))
    assert ended.report["interrupted"]
    assert ended.states == {"a": "built", "w": "stopped", "x": "stopped", "z": "not-started"}
    assert builds.leftovers == []
    # And on it goes.
    demo(tmp_path / "demo", "a", "w", "x", "z")
    builds()
    assert builds.labels == ["a", "w", "x", "z"]


@posix
def test_an_interrupt_before_the_first_build(tmp_path: Path) -> None:
    """While the sdist is made, say."""
    builds = Builds(demo(tmp_path / "demo", "a"), tmp_path / "out")
    with (builds.source / "backend.py").open("a", encoding="utf-8") as file:
        file.write(
            "\ndef build_sdist(sdist_directory, config_settings=None):\n"
            "    os.environ['DEMO_DOES'] = 'wait'\n"
            "    build_wheel(sdist_directory)\n"
        )
    running = builds.start()
    until((tmp_path / "waiting").exists)
    running.send_signal(signal.SIGTERM)
    builds.ended(running, code=130)
    for process in (tmp_path / "waiting").read_text().split():
        until_it_ends(int(process))
    assert builds.leftovers == []
    assert builds.wheels == {}


@posix
def test_of_two_runs_at_once_on_one_directory_the_second_says_so(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "w", does={"w": "wait"})
    builds = Builds(source, tmp_path / "out")
    running = builds.start()
    until((tmp_path / "waiting").exists)
    second = builds(code=1)
    assert "another polywheel build is writing to this directory" in second.err
    assert f"at: {builds.out}" in second.err
    running.send_signal(signal.SIGINT)
    builds.ended(running, code=130)


def test_two_runs_at_once_on_one_source_do_not_disturb_each_other(builds: Builds) -> None:
    builds.env["DEMO_SECONDS"] = "0.3"
    other = Builds(builds.source, builds.out.with_name("other"), builds.env)
    running = [builds.start(), other.start()]
    for one in running:
        builds.ended(one)
    assert builds.wheels == other.wheels
    assert builds.labels == ["a", "b", "c"]


def test_a_file_in_the_way_of_the_output_directory(builds: Builds) -> None:
    builds.out.write_text("mine")
    said = builds(code=4)
    assert "error: the output directory can't be written" in said.err
    assert builds.out.read_text() == "mine"


def test_a_file_in_the_way_of_the_logs(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("mine")
    said = builds("--log-dir", str(tmp_path / "logs"), code=4)
    assert "error: the folder for logs can't be created" in said.err


def test_a_wheel_of_another_origin_is_not_written_over(builds: Builds) -> None:
    name = "demo-1.0-py3-none-any-b.whl"
    builds.out.mkdir()
    (builds.out / name).write_bytes(b"mine")
    said = builds(code=1)
    assert f"{name} already exists, and no run of this matrix built it" in said.err
    assert (builds.out / name).read_bytes() == b"mine"
    assert builds.labels == ["a", "b", "c"]
    assert builds.leftovers == []
    builds("--force")
    assert (builds.out / name).read_bytes() != b"mine"


def test_a_wheel_that_was_changed_or_renamed(builds: Builds) -> None:
    builds()
    wheels = builds.wheels
    a, b, _ = (builds.out / name for name in wheels)
    a.rename(builds.out / "mine-1.0-py3-none-any-a.whl")
    b.write_bytes(b"repaired")
    said = builds(code=1)
    assert f"{b.name} has changed since a run of this matrix built it" in said.err
    assert not list((builds.out / "logs").glob("*-b.log"))  # it was not even built
    assert b.read_bytes() == b"repaired"
    assert a.exists()
    b.unlink()
    builds()
    assert {name: digest for name, digest in builds.wheels.items() if name in wheels} == wheels


def test_two_jobs_with_one_filename(tmp_path: Path, second_python: str) -> None:
    """Two Pythons, and a backend whose wheels are for all of them."""
    source = demo(tmp_path / "demo", "a", pythons=[HERE, second_python])
    builds = Builds(source, tmp_path / "out")
    for _ in range(2):
        said = builds(code=1)
        assert "error: two jobs build demo-1.0-py3-none-any-a.whl: " in said.err
        assert "wheel-tag" in said.err
        assert len(builds.wheels) == len(builds.journal) == 1
        first = builds.wheels
    assert builds.wheels == first


def test_a_wheel_with_a_tag_that_was_not_planned(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "a", "b", does={"b": "another tag"})
    builds = Builds(source, tmp_path / "out")
    said = builds(code=1)
    assert f"planned for {this_target()}" in said.err
    assert "win_amd64" in said.err
    assert builds.labels == ["a"]


@posix
def test_where_a_file_can_not_be_written_whole_there_is_none(tmp_path: Path) -> None:
    """A limit on the size of files does what a full disk does: the build fails, others go on."""
    import resource

    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    source = demo(tmp_path / "demo", "a", "b", does={"b": "fill"})
    builds = Builds(source, tmp_path / "out")
    builds("--select", "a")  # the environment is there
    builds.out = tmp_path / "other"

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))

    said = builds(code=1, preexec_fn=limited)
    assert "File too large" in said.err
    assert builds.labels == ["a"]
    assert builds.leftovers == []


def test_a_disk_that_is_full(tmp_path: Path, disk: Path) -> None:
    """No room for the wheel itself, in the output directory."""
    source = demo(tmp_path / "demo", "a", "b")
    builds = Builds(source, disk / "out")
    builds.out.mkdir()
    ballast = fill_disk(disk, but=0)
    said = builds("--log-dir", str(tmp_path / "logs"), code=1)
    assert "No space left on device" in said.err
    assert builds.wheels == {}
    ballast.unlink()
    builds()
    assert builds.labels == ["a", "b"]


@posix
def test_a_build_with_an_old_make_in_it_is_run_again_without_the_pool(tmp_path: Path) -> None:
    """GNU make before 4.4 ends at the name of a pool that is a named pipe."""
    said = (
        run(["make", "--version"], cwd=tmp_path, check=False).stdout if shutil.which("make") else ""
    )
    version = re.match(r"GNU Make (\d+)\.(\d+)", said)
    if version is None or not (4, 2) <= (int(version[1]), int(version[2])) < (4, 4):
        pytest.skip("needs GNU make 4.2 or 4.3")
    source = demo(tmp_path / "demo", "a", "b", "c")
    tables = source / "pyproject.toml"
    text = tables.read_text(encoding="utf-8") + "[tool.polywheel.backend]\nninja = true\n"
    tables.write_text(text, encoding="utf-8")
    change_backend(source, "    files = {", "    if os.system('make'): sys.exit(1)\n    files = {")
    (source / "Makefile").write_text("all:\n\t@echo made by make\n", encoding="utf-8")
    builds = Builds(source, tmp_path / "out")
    builds("-j", "1")
    assert builds.labels == ["a", "b", "c"]
    first = builds.log("a")
    assert "internal error: invalid --jobserver-auth string" in first
    assert "polywheel: this build uses a make before 4.4; trying again" in first
    assert "made by make" in first
    # Once is enough: the others are not told of the pool at all.
    assert builds.begun == ["a", "a", "b", "c"]


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    """The others are built; without --install-python nothing is installed."""
    source = demo(tmp_path / "demo", "a", pythons=[HERE, "3.99"])
    builds = Builds(source, tmp_path / "out")
    said = builds(code=1)
    assert "no Python 3.99 was found; use --install-python to install it" in said.err
    assert builds.labels == ["a"]
    assert [one["state"] for one in said.report["builds"]] == ["built", "no-python"]


def test_builds_for_other_machines_are_elsewhere(tmp_path: Path) -> None:
    matrix = f'targets = ["{this_target()}", "{OTHER_TARGET}"]'
    builds = Builds(demo(tmp_path / "demo", "a", matrix=matrix), tmp_path / "out")
    said = builds()
    assert builds.labels == ["a"]
    assert sorted(one["state"] for one in said.report["builds"]) == ["built", "elsewhere"]
    # Asked for, it counts; and where nothing else was, nothing is done.
    builds("--target", OTHER_TARGET, "--target", this_target(), code=1)
    said = builds("--target", OTHER_TARGET, code=1)
    assert f"no build is for this machine: it is {this_target()}" in said.err
    assert OTHER_TARGET in said.err


def test_a_wheel_for_every_platform_is_made_wherever_that_is(tmp_path: Path) -> None:
    matrix = f'targets = ["{OTHER_TARGET}", "{this_target()}"]\nwheel-tag = "py3-none-any"'
    # Python 3.9 can't build it, but it is for 3.9 too.
    source = demo(tmp_path / "demo", "a", matrix=matrix, pythons=["3.9", HERE])
    builds = Builds(source, tmp_path / "out")
    (build,) = builds().report["builds"]
    assert build["python"] == HERE
    assert builds.labels == ["a"]


def test_a_reader_of_the_events_that_goes_away_is_no_traceback(builds: Builds) -> None:
    with builds.start("--json") as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        said = running.stderr.read()
    assert running.returncode
    assert "Traceback" not in said


def test_nothing_is_written_beside_the_cache_and_the_output(builds: Builds, tmp_path: Path) -> None:
    before = snapshot(builds.source)
    builds()
    assert snapshot(builds.source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "begun",
        "demo",
        "out",
        "out-report.json",
    ]
    assert CACHE.is_dir()
