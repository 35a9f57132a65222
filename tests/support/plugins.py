"""Calls to the plugins in tests/providers, and projects that use plugins."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from polywheel.config.project import Project, read_project
from polywheel.errors import Problem, ProviderError
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.model.variant import VariantProperty
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import BuildProvider
from support.process_tree import marked_processes

PLUGINS = Path(__file__).resolve().parents[1] / "providers"
AT = "pyproject.toml: variant.providers.ns"
LEVEL = "odd :: level :: v2"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The body of a fixture: plugins are found, and no process of theirs is left after the test."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("POLYWHEEL_TEST_MARK", mark)
    yield
    if sys.platform == "linux":
        assert not marked_processes(mark)


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


DECLARED = """
[variant.default-priorities]
namespace = ["winter", "autumn", "herbs", "rest"]
[variant.providers.winter]
requires = ["Provider.Of_Winter >= 1", "winter-data; python_version < '3'"]
[variant.providers.autumn]
requires = ["provider-of-autumn; python_version > '3'"]
plugin-api = "autumn.plugin:Plugin"
optional = true
[variant.providers.herbs]
build-requires = ["provider-of-herbs"]
[variant.providers.rest.static-properties]
day = ["sunday", "monday"]
"""
WINTER = BuildProvider(
    namespace="winter",
    query="plugin",
    at="pyproject.toml: variant.providers.winter",
    reference="provider_of_winter",
    requires=("Provider.Of_Winter >= 1",),
)
AUTUMN = BuildProvider(
    namespace="autumn",
    query="plugin",
    at="pyproject.toml: variant.providers.autumn",
    reference="autumn.plugin:Plugin",
    requires=("provider-of-autumn; python_version > '3'",),
)
HERBS = BuildProvider(
    namespace="herbs",
    query="plugin",
    at="pyproject.toml: variant.providers.herbs",
    reference="provider_of_herbs",
    requires=("provider-of-herbs",),
    fills_static=True,
)


def project_with_plugins(folder: Path, settings: str = "", declared: str = DECLARED) -> Project:
    """A project that declares providers of all kinds, and settings for them."""
    (folder / "pyproject.toml").write_text(declared + settings, encoding="utf-8")
    return read_project(folder, variants=True)
