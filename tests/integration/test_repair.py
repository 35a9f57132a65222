"""``polywheel repair``: a tool that refuses labels, on wheels with labels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polywheel.cli import main
from support.builds import run, snapshot
from support.projects import ROOT
from support.uv_releases import BLAS, write_wheel

RETAG = ROOT / "tests" / "containers" / "retag.py"
OLD, NEW = "linux_x86_64", "manylinux_2_17_x86_64"
TAGS = f"cp311-cp311-{OLD}"
DOCUMENT = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
    "default-priorities": {"namespace": ["blas"]},
    "providers": {"blas": {"static-properties": BLAS["static-properties"]}},
    "variants": {"fast": {"blas": {"library": ["mkl"]}}},
}
PLAIN = f"demo-1.0-cp311-cp311-{NEW}.whl"
LABELLED = PLAIN.replace(".whl", "-fast.whl")


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIBUILDWHEEL", raising=False)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel as an eager backend makes it: stamped, and its name labelled."""
    (tmp_path / "built").mkdir()
    headers = "Variant-Property: blas :: library :: mkl\nVariant-Label: fast\n"
    return write_wheel(tmp_path / "built", "fast", document=DOCUMENT, tags=TAGS, headers=headers)


def repair(*arguments: str | Path) -> int:
    return main(["repair", *map(str, arguments)])


def tool(*arguments: str | Path) -> list[str | Path]:
    return ["--", sys.executable, RETAG, *arguments]


def test_the_tool_itself_refuses_the_label(wheel: Path, tmp_path: Path) -> None:
    """Without this, the other tests would show nothing."""
    done = run([sys.executable, RETAG, "-w", tmp_path, wheel], cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "Invalid" in done.stdout


def test_the_repaired_wheel_gets_its_label_back(wheel: Path, tmp_path: Path) -> None:
    before, out = wheel.read_bytes(), tmp_path / "out"
    assert repair(*tool("-w", out, wheel)) == 0
    assert sorted(snapshot(out)) == [LABELLED, "report.txt"]
    assert wheel.read_bytes() == before
    assert main(["show", "--hashes", str(out)]) == 0


def test_under_cibuildwheel_it_stays_plain_until_it_is_finalized(
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CIBUILDWHEEL", "1")
    out = tmp_path / "out"
    assert repair(*tool("-w", out, wheel)) == 0
    assert sorted(snapshot(out)) == [PLAIN, "report.txt"]
    said = capfd.readouterr().out
    assert "retag: demo-1.0-cp311-cp311-linux_x86_64.whl" in said
    assert "polywheel finalize adds the label to the filename" in said
    assert main(["finalize", str(out)]) == 0
    assert sorted(snapshot(out)) == [LABELLED, "report.txt"]
    assert main(["show", "--hashes", str(out)]) == 0


@pytest.mark.parametrize(
    ("filename", "name"), [("unlabelled", PLAIN), ("plain", PLAIN), ("label", LABELLED)]
)
def test_the_name_that_is_asked_for_is_given(
    filename: str, name: str, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIBUILDWHEEL", "1" if filename == "label" else "0")
    assert repair("--filename", filename, *tool("-w", tmp_path / "out", wheel)) == 0
    assert name in snapshot(tmp_path / "out")


def test_a_wheel_without_a_label_is_repaired_too(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, None, tags=TAGS)
    assert repair(*tool("-w", tmp_path / "out", wheel)) == 0
    assert sorted(snapshot(tmp_path / "out")) == [PLAIN, "report.txt"]


def test_a_stamped_wheel_under_its_plain_name_gets_the_label(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, None, document=DOCUMENT, tags=TAGS)
    assert repair(*tool("-w", tmp_path / "out", wheel)) == 0
    assert LABELLED in snapshot(tmp_path / "out")


def test_the_folder_is_told_in_many_ways(wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shapes: list[list[str | Path]] = [
        tool(f"--wheel-dir={out}", wheel),
        tool(out, wheel),
        ["--wheel", wheel, "--dest-dir", out, *tool("{dest_dir}", "{wheel}")],
        ["--wheel", wheel, "--dest-dir", out, *tool("-w", out, wheel)],
    ]
    for shape in shapes:
        out.mkdir(exist_ok=True)
        assert repair(*shape) == 0
        (out / LABELLED).unlink()


def test_relative_paths_are_those_of_the_caller(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert repair(*tool("-w", "out", wheel.relative_to(tmp_path))) == 0
    assert LABELLED in snapshot(tmp_path / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_shell_line_has_placeholders(wheel: Path, tmp_path: Path) -> None:
    line = f"'{sys.executable}' '{RETAG}' {{dest_dir}} {{wheel}} && echo done"
    out = tmp_path / "out"
    assert repair("--wheel", wheel, "--dest-dir", out, "--", "sh", "-c", line) == 0
    assert LABELLED in snapshot(tmp_path / "out")


def test_without_a_command_the_wheel_gets_its_other_name(wheel: Path, tmp_path: Path) -> None:
    """Where cibuildwheel repairs nothing, the label has to go all the same."""
    out = tmp_path / "out"
    assert repair("--wheel", wheel, "--dest-dir", out, "--filename", "unlabelled") == 0
    assert snapshot(out) == {wheel.name.replace("-fast", ""): wheel.read_bytes()}


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ("fail", 1, "exit code 7"),
        ("nothing", 1, "wrote no wheel"),
        ("two", 1, "several wheels"),
        ("drop", 4, "removed variant.json from"),
        ("other", 4, "changed the variant: it was"),
        ("stale", 4, "RECORD"),
    ],
)
def test_a_repair_that_went_wrong_is_told_and_leaves_nothing(
    wrong: str,
    code: int,
    said: str,
    *,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RETAG", wrong)
    before, out = wheel.read_bytes(), tmp_path / "out"
    assert repair(*tool("-w", out, wheel)) == code
    assert said in capfd.readouterr().err
    assert not snapshot(out)
    assert wheel.read_bytes() == before


def arguments_of(case: str, wheel: Path, out: Path) -> list[str | Path]:
    second = wheel.with_name(wheel.name.replace("1.0", "2.0"))
    second.write_bytes(wheel.read_bytes())
    cases: dict[str, list[str | Path]] = {
        "no command": [],
        "an empty command": ["--"],
        "no such command": ["--", "auditwhel", "repair", "-w", out, wheel],
        "not installed": ["--", "delvewheel", "repair", "-w", out, wheel],
        "no wheel": tool("-w", out),
        "no such wheel": tool("-w", out, str(wheel).replace("demo", "dmeo")),
        "two wheels": tool("-w", out, wheel, second),
        "no folder": tool(wheel),
        "two folders": tool(out.parent, wheel.parent, wheel),
        "not filled in": tool("-w", "{dest_dir}", "{wheel}"),
        "another wheel": ["--wheel", wheel, "--dest-dir", out, *tool("-w", out, second)],
        "another folder": ["--wheel", wheel, "--dest-dir", out, *tool("x", wheel)],
    }
    return cases[case]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no command", "add the command after --"),
        ("an empty command", "add the command after --"),
        ("no such command", "did you mean 'auditwheel'?"),
        ("not installed", "pip install delvewheel"),
        ("no wheel", "names no wheel"),
        ("no such wheel", "did you mean 'demo-1.0-"),
        ("two wheels", "several wheels"),
        ("no folder", "--dest-dir DIR"),
        ("two folders", "several folders"),
        ("not filled in", "--wheel and --dest-dir"),
        ("another wheel", "does not name the wheel"),
        ("another folder", "does not name the folder"),
    ],
)
def test_a_command_that_cannot_be_understood_is_a_clear_error(
    case: str,
    said: str,
    *,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert repair(*arguments_of(case, wheel, tmp_path / "out")) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists() or not snapshot(tmp_path / "out")


@pytest.mark.parametrize("document", [None, {**DOCUMENT, "variants": {"slow": {}}}])
def test_a_label_that_could_not_be_put_back_is_refused_before_the_repair(
    document: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(tmp_path, "fast", tags=TAGS, document=document)
    assert repair(*tool("-w", tmp_path / "out", wheel)) == 4
    said = capfd.readouterr()
    assert "variant.json" in said.err
    assert "retag" not in said.out
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_wheel_is_a_clear_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "demo-1.0-py3-none-any-fast.whl"
    path.write_text("not a zip")
    assert repair(*tool("-w", tmp_path / "out", path)) == 4
    assert path.name in capfd.readouterr().err


def test_it_needs_the_core_alone(wheel: Path, tmp_path: Path) -> None:
    """It is installed into the container of a build, where ``polywheel[cli]`` would be too much."""
    code = (
        "import sys; before = set(sys.modules); from polywheel.cli import main\n"
        f"assert main({['repair', *map(str, tool('-w', tmp_path / 'out', wheel))]!r}) == 0\n"
        f"assert main(['finalize', {str(tmp_path / 'out')!r}]) == 0\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    tops = set(done.stderr.split())
    assert tops - sys.stdlib_module_names - {"_sysconfigdata"} <= {
        "packaging",
        "pyproject_hooks",
        "polywheel",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and pipes")
def test_links_and_pipes_of_the_command_reach_no_folder(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    link = f"import os, sys; os.symlink({str(wheel)!r}, sys.argv[1] + '/{PLAIN}')"
    command: list[str | Path] = ["--wheel", wheel, "--dest-dir", out, "--", sys.executable, "-c"]
    assert repair(*command, link, "{dest_dir}", "{wheel}") == 1
    assert "wrote no wheel" in capsys.readouterr().err
    code = (
        "import os, shutil, sys; shutil.copy(sys.argv[2], sys.argv[1]); "
        "os.mkfifo(sys.argv[1] + '/pipe'); os.symlink('x', sys.argv[1] + '/link'); "
        "open(sys.argv[1] + '/report', 'w').close()"
    )
    assert repair(*command, code, "{dest_dir}", "{wheel}") == 0
    assert sorted(path.name for path in out.iterdir()) == [wheel.name, "report"]
