"""The reasons why a wheel is built or stamped again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from polywheel.run.build_key import ENVIRONMENT, NOT_KNOWN, STAMP, Key, Part
from polywheel.run.journal import Entry
from polywheel.run.rebuild_reasons import parts_for_journal, rebuild_reasons

PARTS: Mapping[str, Mapping[str, str]] = {
    "source": {"a.c": "file 1", "b.c": "file 2", "c.c": "file 3"},
    "setup": {"cflags": "-O2", "profile": "ab12"},
    ENVIRONMENT: {"setuptools": "84.1 aa", "wheel": "1 bb"},
    "variables": {"A": "1234"},
    "polywheel": {"version": "1.0", "code": "ab"},
    "epoch": {"SOURCE_DATE_EPOCH": "1"},
    STAMP: {"label": "v3", "metadata": "ff"},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def key_of(
    changes: Mapping[str, Mapping[str, str]] | None = None, origin: Mapping[str, str] | None = None
) -> Key:
    parts = {**PARTS, **(changes or {})}
    return Key(
        {name: Part(values) for name, values in parts.items()},
        origin=Part(origin) if origin is not None else None,
    )


def entry_of(key: Key) -> Entry:
    return Entry(
        job="job",
        key=key.digest,
        file="demo-1.0-py3-none-any.whl",
        sha256="",
        seconds=1.0,
        parts=parts_for_journal(key),
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"source": {**PARTS["source"], "a.c": "file 9"}}, ["source: a.c changed"]),
        ({"source": {"a.c": "file 1", "b.c": "file 2"}}, ["source: c.c removed"]),
        ({"source": {**PARTS["source"], "d.c": "file 4"}}, ["source: d.c added"]),
        (
            {"source": dict.fromkeys("uvwxyz", "file 1")},
            ["source: a.c removed", "source: b.c removed", "source: c.c removed", "source: 6 more"],
        ),
        ({"setup": {"cflags": "-O3", "profile": "ab12"}}, ["setup: cflags: -O2 → -O3"]),
        ({"setup": {"cflags": "-O2", "profile": "cd34"}}, ["setup: profile changed"]),
        (
            {ENVIRONMENT: {"setuptools": "84.2 cc", "wheel": "1 dd", "ninja": "1 ee"}},
            [
                "environment: ninja added",
                "environment: setuptools 84.1 → 84.2",
                "environment: wheel 1 has other files",
            ],
        ),
        ({"variables": {"A": "1234", "FOO": "99"}}, ["variable FOO added"]),
        ({"variables": {"A": "4321"}}, ["variable A changed"]),
        ({"polywheel": {"version": "1.1", "code": "ab"}}, ["polywheel: 1.0 → 1.1"]),
        ({"polywheel": {"version": "1.0", "code": "cd"}}, ["polywheel: its code changed"]),
        ({STAMP: {"label": "x86_64_v3", "metadata": "ff"}}, ["stamp: label: v3 → x86_64_v3"]),
        ({"epoch": {"SOURCE_DATE_EPOCH": "2"}}, ["epoch: SOURCE_DATE_EPOCH: 1 → 2"]),
        (
            {
                "source": {**PARTS["source"], "a.c": "file 9"},
                "epoch": {"SOURCE_DATE_EPOCH": "2"},
            },
            ["source: a.c changed"],  # the time follows from it
        ),
        (
            {"setup": {"cflags": "x" * 200, "profile": "ab12"}},
            [f"setup: cflags: -O2 → {'x' * 59}…"],
        ),
    ],
)
def test_what_has_changed(changes: Mapping[str, Mapping[str, str]], expected: list[str]) -> None:
    assert list(rebuild_reasons(entry_of(key_of()), key_of(changes))) == expected


def test_without_the_cache_a_reason_names_the_part(cache: Path) -> None:
    entry = entry_of(key_of())
    for path in (cache / "parts").iterdir():
        path.write_text('{"a": "other"}', encoding="utf-8")
    changed = key_of({"source": {}, "variables": {}})
    assert list(rebuild_reasons(entry, changed)) == ["source: changed", "variables: changed"]


def test_a_wheel_without_a_known_key() -> None:
    assert list(rebuild_reasons(None, key_of())) == ["it was not built in this folder before"]
    old = Entry(job="job", key="k", file="a.whl", sha256="", seconds=1.0)
    assert list(rebuild_reasons(old, key_of())) == ["an earlier version of polywheel built it"]


def test_the_files_that_the_user_edits_are_named_and_not_those_of_the_sdist() -> None:
    entry = entry_of(key_of(origin={"a.c": "file 1"}))
    changed = key_of({"source": {"PKG-INFO": "file 1"}}, origin={"a.c": "file 2"})
    assert list(rebuild_reasons(entry, changed)) == ["source: a.c changed"]
    same = key_of({"source": {**PARTS["source"], "PKG-INFO": "file 1"}}, origin={"a.c": "file 1"})
    assert list(rebuild_reasons(entry, same)) == ["source: PKG-INFO added"]
    unknown = key_of({"source": {NOT_KNOWN: ""}}, origin={"a.c": "file 1"})
    assert list(rebuild_reasons(entry, unknown)) == ["source: its sdist has to be made again"]


def test_an_environment_that_does_not_exist_yet() -> None:
    parts = {name: Part(values) for name, values in PARTS.items() if name != ENVIRONMENT}
    entry = entry_of(key_of())
    assert list(rebuild_reasons(entry, Key(parts))) == ["environment: it has to be created"]
    parts["variables"] = Part({})
    assert list(rebuild_reasons(entry, Key(parts))) == ["variable A removed"]


def test_the_cache_can_be_read_only(cache: Path) -> None:
    """Then later reasons are short."""
    cache.parent.mkdir(exist_ok=True)
    cache.mkdir(mode=0o700)
    (cache / "parts").write_text("not a folder", encoding="utf-8")
    assert set(entry_of(key_of()).parts) == set(PARTS)
