"""Asking the plugins of tests/providers, and seeing that nothing of them is left."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from polywheel.errors import Problem, ProviderError
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.variant import VariantProperty
from polywheel.providers.client import ask_plugins

PLUGINS = Path(__file__).resolve().parents[1] / "providers"
AT = "pyproject.toml: variant.providers.ns"
LEVEL = "odd :: level :: v2"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fixture's body: the plugins are found, and what they start is gone after the test."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("POLYWHEEL_TEST_MARK", mark)
    yield
    if sys.platform == "linux":
        assert not [number for number in processes() if mark.encode() in environment(number)]


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def environment(number: int) -> bytes:
    try:
        return Path("/proc", str(number), "environ").read_bytes()
    except OSError:
        return b""


def is_alive(number: int) -> bool:
    try:
        about = Path("/proc", str(number), "stat").read_text()
    except OSError:
        return False
    return about.rpartition(")")[2].split()[0] != "Z"


def query(
    reference: str, *properties: str, namespace: str | None = None, supported: bool = False
) -> PluginQuery:
    asked = tuple(VariantProperty.parse(text) for text in properties)
    return PluginQuery(
        namespace=asked[0].namespace if asked else namespace,
        reference=reference,
        requires=("provider-of-tests",),
        at=AT,
        properties=asked,
        setup=asked,
        supported=supported,
    )


def ask(
    *queries: PluginQuery, timeout: float = 30, python: str = sys.executable
) -> tuple[tuple[PluginAnswer, ...], list[str]]:
    lines: list[str] = []
    answers = ask_plugins(queries, python=python, timeout=timeout, notify=lines.append)
    return answers, lines


def answer_of(reference: str, *properties: str, **options: Any) -> PluginAnswer:
    ((answer,), _) = ask(query(reference, *properties, **options))
    return answer


def problem_of(
    reference: str, *properties: str, timeout: float = 30, supported: bool = True
) -> Problem:
    """The one error that a plugin ends in; it names the plugin and is fit for a terminal."""
    with pytest.raises(ProviderError) as caught:
        ask(query(reference, *(properties or [LEVEL]), supported=supported), timeout=timeout)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 3
    assert reference in problem.what
    assert problem.at == AT
    assert problem.what.isprintable()
    assert len(problem.what) < 1500
    return problem


def shown(configs: Sequence[FeatureConfig] | None) -> dict[str, tuple[str, ...]] | None:
    return None if configs is None else {one.name: one.values for one in configs}


def does(what: str, monkeypatch: pytest.MonkeyPatch, call: str = "get_all_configs") -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_DOES", f"{call}: {what}")
