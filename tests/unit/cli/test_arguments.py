"""Wrong arguments of commands: the error names the nearest name."""

from __future__ import annotations

import pytest

from polywheel.cli import main


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        ("buidl", "unknown command: 'buidl'", "did you mean 'build'?"),
        ("", "required: COMMAND", "see `polywheel --help`"),
        ("build --confg x", "unexpected argument '--confg'", "did you mean '--config'?"),
        ("build --confg=x", "unexpected argument '--confg=x'", "did you mean '--config'?"),
        ("init --dryrun", "unexpected argument '--dryrun'", "did you mean '--dry-run'?"),
        ("ci githb", "unknown value for KIND: 'githb'", "did you mean 'github'?"),
        ("ci github --chek", "unexpected argument '--chek'", "did you mean '--check'?"),
        (
            "ci cibuildwheel --config=x.toml",
            "unexpected argument '--config=x.toml'",
            "it is an option of `polywheel ci github` and `polywheel ci gitlab`",
        ),
        ("matrix --format jsn", "unknown value for --format: 'jsn'", "did you mean 'json'?"),
        ("build a b", "unexpected argument 'b'", "see `polywheel build --help`"),
        ("build -j", "-j/--jobs: expected one argument", "see `polywheel build --help`"),
    ],
)
def test_a_misspelt_argument(
    arguments: str, what: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert what in error
    assert f"hint: {hint}" in error


@pytest.mark.parametrize(
    ("arguments", "option", "what"),
    [
        ("build --dry-run --report x.json", "--report", "a dry run writes no report"),
        ("build --dry-run --html x.html", "--html", "a dry run writes no page"),
        ("build --dry-run --prune", "--prune", "a dry run removes nothing"),
        ("matrix --fresh", "--fresh", "--fresh has no effect without --check-providers"),
    ],
)
def test_an_option_without_effect(
    arguments: str, option: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    assert f"error: {what}\n  at: {option}\n" in capsys.readouterr().err
