"""Text from foreign files in messages: one line, nothing hidden, no commands for terminals or CI."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polywheel import backend
from polywheel.ci.rendering import literal
from polywheel.cli import main, say
from polywheel.errors import ConfigError, PolywheelError, Problem, show_error
from polywheel.init.tables import _string
from polywheel.model.plan import Build
from polywheel.run.outcome import Outcome, State
from polywheel.run.progress import json_events, plain_lines
from polywheel.run.report import Report
from polywheel.system.terminal import (
    escape_unencodable,
    format_size,
    json_text,
    log_line,
    one_line,
    print_json,
    print_lines,
    without_passwords,
)
from support.plans import job, plan_of

BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
HIDDEN = [
    *("\0", "\x07", "\x08", "\x1b", "\x7f", "\x9b", "\xad", "\xa0", "\u3000", "\ud800", "\ue000"),
    *(
        "\u061c",
        "\u200e",
        "\u200f",
        *map(chr, range(0x202A, 0x202F)),
        *map(chr, range(0x2066, 0x206A)),
    ),
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u034f", "\u115f", "\u3164", "\ufe0f"),
    *("\u2800", "\U000e0001", "\U000e0041", "\U000e0100"),
]
"""C0 and C1 controls, DEL, bidirectional controls, what has no width or no picture, lone surrogates."""
COMMANDS = [
    *(
        "::error::x",
        "   ::add-mask::x",
        "##[error]x",
        "text ##[add-mask]x",
        "##vso[task.setvariable]x",
    ),
    *(
        "###[error]x",
        "##Vso[x]y",
        "\n::error::x",
        "\u2028::set-output name=a::b",
        "\u3000::error::x",
    ),
]


def is_command(line: str) -> bool:
    """As the runners of GitHub (ActionCommand.cs) and of Azure Pipelines (Command.cs) look for one."""
    return line.strip().startswith("::") or "##[" in line or "##vso[" in line.lower()


@pytest.mark.parametrize("odd", [*BREAKS, *HIDDEN], ids=ascii)
def test_what_is_not_plainly_visible_is_escaped(odd: str) -> None:
    shown = one_line(f"a{odd}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown == "a" + odd.encode("unicode_escape").decode() + "b"


@pytest.mark.parametrize(
    "text",
    ["größer", "漢字かな", "Привет", "עברית", "한국어", "a b", "C:\\x", "→ …", "é", "e\u0301"],
)
def test_letters_of_all_languages_stay_as_they_are(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize("text", COMMANDS)
def test_nothing_is_a_command_to_a_ci_system(text: str) -> None:
    for shown in (one_line(text), log_line(text), one_line(one_line(text))):
        assert not is_command(shown)
    stream = io.StringIO()
    print_lines([text, f"note: {text}"], stream=stream)
    assert not any(map(is_command, stream.getvalue().splitlines()))


@given(st.text(st.one_of(st.characters(), st.sampled_from("\n :#[vso"))))
def test_any_text_is_one_line_and_escaped_once(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    assert not is_command(shown)
    assert one_line(shown) == shown
    assert escape_unencodable(shown, io.TextIOWrapper(io.BytesIO(), encoding="ascii")).isascii()


def test_long_text_is_cut() -> None:
    assert one_line("x" * 300, longest=200) == "x" * 199 + "…"
    assert len(Problem("x" * 10**6).render()) < 20_000


@pytest.mark.parametrize("odd", [*BREAKS, "\x1b[2J", "\u202e"], ids=ascii)
def test_each_part_of_an_error_is_one_line(odd: str) -> None:
    text = f"a{odd}::error::b ##[error]c"
    error = ConfigError(text, at=text, hint=text, output=[text])
    lines = error.render().split("\n")
    assert [line.split("a", 1)[0] for line in lines] == ["error: ", "  | ", "  ", "  hint: "]
    assert error.render().splitlines() == lines
    assert not any(map(is_command, lines))
    assert str(error) == error.render()


def test_notes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for speak in (say, backend.say):
        speak("installing x\n::error::y\u2028::error::z")
        (line,) = capsys.readouterr().err.splitlines()
        assert line == r"polywheel: installing x\n::error::y\u2028::error::z"


def test_documents_hold_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    document = {text: [text, "##", "###", "\\##[", "ä"] for text in COMMANDS}
    print_json(document)
    out = capsys.readouterr().out
    assert json.loads(out) == document
    assert not any(map(is_command, out.splitlines()))
    assert out.isascii()


def test_events_and_failures_hold_no_command(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(COMMANDS), encoding="utf-8")
    for face in (json_events, plain_lines):
        stream = io.StringIO()
        with face(stream) as observer:
            observer.begin([Build(id="b", python="3.12", target="t", jobs=("b",))], [])
            for text in COMMANDS:
                observer.note(text)
                error = PolywheelError(text, at=text, hint=text).render().removeprefix("error: ")
                observer.build_ended(Outcome(build="b", state=State.FAILED, error=error, log=log))
        lines = stream.getvalue().splitlines()
        assert lines
        assert not any(map(is_command, lines))
        if face is json_events:
            events = [json.loads(line) for line in lines]
            assert [one["text"] for one in events if one["event"] == "note"] == COMMANDS


def test_documents_of_toml_and_yaml_hold_no_command() -> None:
    for text in COMMANDS:
        for shown in (_string(text), literal(text)):
            assert not is_command(shown)
        assert tomllib.loads(f"a = {_string(text)}")["a"] == text
        assert yaml.safe_load(literal(text)) == text


EVIL = "x\n::error::y\u2028::error::z\x1b[2J\u202e##[error]"
TABLES = {
    "key": f"[tool.polywheel]\n{json.dumps(EVIL)} = 1\n",
    "table": f"[tool.polywheel.matrix.axes.{json.dumps(EVIL)}]\nv = 1\n",
    "value": f"[tool.polywheel.matrix]\ntargets = [{json.dumps(EVIL)}]\n",
    "label": f"[tool.polywheel.matrix]\nlabel = {json.dumps(EVIL)}\n",
    "property": f"[tool.polywheel.matrix.axes.a]\nb = [{json.dumps(EVIL)}]\n",
    "namespace": f"[variant.default-priorities]\nnamespace = [{json.dumps(EVIL)}]\n",
    "requirement": '[variant.default-priorities]\nnamespace = ["a"]\n'
    f"[variant.providers.a]\nrequires = [{json.dumps(EVIL)}]\n",
    "backend": f"[tool.polywheel]\nbuild-backend = {json.dumps(EVIL)}\n",
    "broken": '[a]\n"\u2028::error::x" = \n',
}


@pytest.mark.parametrize("command", ["matrix", "build"])
@pytest.mark.parametrize("table", TABLES)
def test_no_line_about_a_projects_tables_is_a_command(
    table: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a\n::error::b\x1b[2J"
    source.mkdir()
    (source / "pyproject.toml").write_text(TABLES[table], encoding="utf-8")
    assert main([command, str(source), "--config", str(source / "pyproject.toml")]) == 2
    out, err = capsys.readouterr()
    assert "error: " in err
    for line in (out + err).split("\n"):
        assert line.isprintable()
        assert not is_command(line)
        assert line.startswith(("error: ", "  at: ", "  hint: ", "polywheel: ")) or not line


def test_arguments_are_shown_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["matrix", f"--{EVIL}"], [EVIL], ["show", EVIL], ["matrix", ".", EVIL]):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert not any(map(is_command, err.splitlines()))


def test_what_rich_takes_for_markup_is_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from polywheel.cli import providers

    monkeypatch.setenv("COLUMNS", "300")
    text = "[red]a[/red]\n::error::b"
    features = [{"feature": "f", "values": [text, "c"]}]
    one = {
        **dict.fromkeys(("namespace", "kind", "plugin", "generation", "version"), text),
        "features": features,
        "supported": None,
    }
    providers._print_table([one])
    out = capsys.readouterr().out
    assert out.count(r"[red]a[/red]\n::error::b") == 6
    assert not any(map(is_command, out.splitlines()))


@pytest.mark.parametrize(
    "encoding", ["cp1252", "cp437", "ascii", "utf-8", "utf-16-le", "shift_jis"]
)
def test_every_encoding_takes_every_text(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_lines(["→ … — ● ä 漢 \udc80"], stream=stream)
    shown = stream.buffer.getvalue().decode(encoding)
    assert shown.endswith("\\udc80\n")
    if encoding == "ascii":
        assert shown == "-> ... - # \\xe4 \\u6f22 \\udc80\n"


def test_the_errors_of_standard_streams_are_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["repair", "--help"]) == 0
    assert "COMMAND ..." in out.buffer.getvalue().decode("ascii")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pkg @ https://bob:secret@host/x.whl", "pkg @ https://bob:****@host/x.whl"),
        ("git+ssh://bob:secret@host/x@v1", "git+ssh://bob:****@host/x@v1"),
        ("HTTPS://bob:se%40cret@host", "HTTPS://bob:****@host"),
        ("https://bob:s@cr@t@host:8080/a@b", "https://bob:****@host:8080/a@b"),
        ("https://:secret@host/ https://u:secret@h", "https://:****@host/ https://u:****@h"),
        ("https://ghp_secret@github.com/x", "https://****@github.com/x"),
        ('{"url": "https://bob:secret@host"}', '{"url": "https://bob:****@host"}'),
        ("https://bob:@host", "https://bob:****@host"),
        ("ssh://git@github.com/x", "ssh://git@github.com/x"),
        ("https://host:8080/x@v1 a@b", "https://host:8080/x@v1 a@b"),
        ("https://host, b@c", "https://host, b@c"),
        ("bob:secret@host", "bob:secret@host"),
    ],
)
def test_passwords_in_urls_are_left_out(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
    assert one_line(text) == shown


def test_passwords_reach_no_message_and_no_document(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = "https://bob:s3cret@host/x.whl"
    error = ConfigError(f"can't install {url}", at=url, hint=url, output=[f"failed: {url}"])
    show_error(error)
    print_lines([url])
    print_json({"requires": [url]})
    stream = io.StringIO()
    with json_events(stream) as observer:
        observer.note(f"installing {url}")
    with plain_lines(stream) as observer:
        observer.note(f"installing {url}")
    outcome = Outcome(build="a", state=State.FAILED, error=error.render())
    plan = plan_of([job(None)])
    report = Report(
        plan=plan,
        out=tmp_path,
        outcomes=(replace(outcome, build=plan.builds[0].id),),
        elsewhere=(),
        seconds=1.0,
    )
    report.write(tmp_path / "report.json")
    written = (tmp_path / "report.json").read_text(encoding="utf-8")
    shown = [*capsys.readouterr(), stream.getvalue(), written]
    for text in shown:
        assert "s3cret" not in text
        assert "https://bob:****@host/x.whl" in text
    # What polywheel reads again has to stay what it is.
    print_json({"command": url}, exact=True)
    assert url in capsys.readouterr().out


def test_the_line_that_ends_a_run_is_safe_too() -> None:
    url = "https://user:sekret@example.org/x"
    line = json_text({"event": "finish", "warnings": [f"##[error]{url}"]})
    assert "sekret" not in line
    assert "##" not in line
    assert json.loads(line)["warnings"] == ["##[error]https://user:****@example.org/x"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1436, "1.44 kB"),
        (999_600, "1 MB"),
        (2 * 10**9, "2 GB"),
    ],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert format_size(size) == text
