"""Setup rules from TOML, projects, backend profiles, answers of plugins, and contexts of runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from polywheel.config.project import BuildSystem, Project, Settings
from polywheel.config.reader import Problems, Table
from polywheel.config.setup_table import read_setup_rules
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer
from polywheel.model.setup import BackendProfile, BuildSetup, Entry, SetupRule
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty
from polywheel.run.worker.requests import WorkerContext
from polywheel.setup.profiles import shipped_profiles

SETUP = "pyproject.toml: tool.polywheel.setup"


def variant(*properties: str, label: str | None = None) -> Variant:
    return Variant.of((VariantProperty.parse(text) for text in properties), label)


def worker_context(polywheel: Path) -> WorkerContext:
    """The context of a run without options. ``polywheel``: the folder that workers would import from."""
    return WorkerContext(
        polywheel=polywheel, config=None, settings={}, epoch=0, time_limit=None, stop=Event()
    )


def read_rules(document: Mapping[str, Any]) -> tuple[SetupRule, ...]:
    problems = Problems()
    root = Table({"tool": {"polywheel": {"setup": document}}}, "pyproject.toml", (), problems)
    rules = read_setup_rules(root.table("tool").table("polywheel"), "setup")
    problems.raise_all()
    return rules


def rules(text: str) -> tuple[SetupRule, ...]:
    """Rules as they stand under ``[tool.polywheel.setup]``."""
    return read_rules(tomllib.loads(text))


def at(key: str, *more: str) -> str:
    """The key path of a rule in pyproject.toml."""
    quoted = key if key.replace("_", "").isalnum() else f'"{key}"'
    return ".".join([SETUP, quoted, *more])


def flags(setup: BuildSetup) -> dict[str, list[str]]:
    return {name: [one.value for one in entries] for name, entries in setup.flags.items()}


def values(entries: Mapping[str, Entry | tuple[Entry, ...]]) -> dict[str, str | list[str]]:
    return {
        name: entry.value if isinstance(entry, Entry) else [one.value for one in entry]
        for name, entry in entries.items()
    }


def plugin_answer(
    namespace: str = "cpu",
    joint: Mapping[str, Iterable[str]] | None = None,
    each: Mapping[str, Mapping[str, Iterable[str]]] | None = None,
    configs: Mapping[str, Iterable[str]] | None = None,
) -> PluginAnswer:
    """The answer of a plugin; ``each`` is by property, ``configs`` by feature."""
    return PluginAnswer(
        namespace=namespace,
        generation="2025-06",
        version="1",
        all_configs=None
        if configs is None
        else tuple(FeatureConfig(name, tuple(found)) for name, found in configs.items()),
        valid={},
        supported=None,
        all_compatible=False,
        setup={name: tuple(texts) for name, texts in (joint or {}).items()},
        setup_each={
            VariantProperty.parse(prop): {name: tuple(texts) for name, texts in said.items()}
            for prop, said in (each or {}).items()
        },
    )


def project(
    settings: Settings | None = None,
    *providers: Provider,
    variants: Iterable[Variant] = (),
    source: Path = Path("/nowhere"),
    document: Mapping[str, Any] | None = None,
) -> Project:
    return Project(
        source=source,
        build_system=BuildSystem(build_backend="polywheel.backend"),
        settings=settings or Settings(),
        metadata=VariantMetadata(
            namespaces=tuple(one.namespace for one in providers),
            providers={one.namespace: one for one in providers},
            variants={one.label: one for one in variants},
        ),
        document=document or {},
    )


def project_with_backend(
    backend: str | None = "polywheel.backend",
    *,
    requires: tuple[str, ...] = (),
    backend_path: tuple[str, ...] | None = None,
    real: str | None = None,
    real_path: tuple[str, ...] | None = None,
) -> Project:
    """A project with these keys of [build-system] and [tool.polywheel]."""
    return Project(
        source=Path("/nowhere"),
        build_system=BuildSystem(
            requires=requires, build_backend=backend, backend_path=backend_path
        ),
        settings=Settings(build_backend=real, backend_path=real_path),
        metadata=VariantMetadata(),
        document={},
    )


def profile(name: str) -> BackendProfile:
    """The profile of a backend that polywheel ships."""
    return next(one for one in shipped_profiles() if one.name == name)
