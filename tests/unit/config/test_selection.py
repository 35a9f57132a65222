"""The config settings that polywheel consumes, and those of the real backend."""

from __future__ import annotations

from typing import Any

import pytest

from polywheel.config.selection import Selection, parse_config_settings, parse_selection
from polywheel.errors import ConfigError

V3 = "x86_64 :: level :: v3"
NOTHING_OF_OURS = {
    "setup-args": ["-Dblas=mkl", "-Dlto=true"],
    "build-dir": "build",
    "--global-option": "--verbose",
    "--build-option": ["--plat-name", "any"],
    "cmake.define.VARIANT": "v3",
    "editable-verbose": "",
    "label": "v3",
    "name": "x",
    "VARIATION": "x",
}


@pytest.mark.parametrize(
    "settings",
    [
        None,
        {},
        NOTHING_OF_OURS,
        {"null-variant": "false"},
        {"null-variant": "0"},
        {"null-variant": "no"},
        {"null-variant": "off"},
        {"null-variant": False},
        {"variant": []},
        {"variant-filename": "unlabelled"},
    ],
)
def test_without_a_variant_key_no_variant_is_asked_for(settings: Any) -> None:
    selection, _ = parse_selection(settings)
    assert not selection.asks_for_variant


def test_none_stays_none() -> None:
    assert parse_selection(None) == (Selection(), None)


def test_keys_of_the_real_backend_are_untouched() -> None:
    mixed = {
        "variant": V3,
        **NOTHING_OF_OURS,
        "variant-label": "x",
        "null-variant": "false",
        "variant-filename": "label",
        "variant-name": [],
        "variant-property": [],
    }
    before = dict(mixed)
    _, rest = parse_selection(mixed)
    assert rest == NOTHING_OF_OURS
    assert rest is not None
    assert list(rest) == list(NOTHING_OF_OURS)  # the order is theirs too
    assert mixed == before
    assert parse_selection({"variant": V3})[1] == {}


@pytest.mark.parametrize("filename", ["label", "unlabelled"])
def test_the_filename_is_asked_for_apart(filename: str) -> None:
    selection, rest = parse_selection({"variant": V3, "variant-filename": filename})
    assert (selection.filename, rest) == (filename, {})
    assert parse_selection({"variant": V3})[0].filename is None
    assert parse_selection({"variant-filename": "plain"})[0].filename == "unlabelled"


# --- options ---


def test_options_become_config_settings() -> None:
    assert parse_config_settings(["a=1", "b=", "a=x=y"]) == {"a": ["1", "x=y"], "b": ""}


@pytest.mark.parametrize("text", ["variant", "=x", ""])
def test_an_option_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="malformed config setting") as caught:
        parse_config_settings([text])
    assert caught.value.problems[0].at == "-C"
    assert caught.value.problems[0].hint == "write -CKEY=VALUE"
