"""Keys of wheels for tests."""

from __future__ import annotations

from polywheel.config.project import Project
from polywheel.environments.virtual_environments import Environment, Interpreter
from polywheel.run.build_key import Key, KeyMaker, Part
from polywheel.run.fingerprint import ToolVersions
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.requests import WorkerContext
from polywheel.setup.profiles import choose_backend


def key_named(text: str) -> Key:
    """A key that equals the keys of the same name."""
    return Key({"source": Part({"name": text})})


def source_of(project: Project, **contents: str) -> Source:
    """A source with these contents, which are not looked at, except pyproject.toml."""
    return Source(
        root=project.source,
        files=tuple(contents),
        digest="",
        contents={name.replace("__", "."): text for name, text in contents.items()},
        epoch=0,
    )


def key_maker(
    project: Project, context: WorkerContext, *, reads_variant: bool = False, **contents: str
) -> KeyMaker:
    """Makes keys for a project whose source has these contents."""
    source = source_of(project, **contents)
    return KeyMaker(
        project=project,
        choice=choose_backend(project),
        context=context,
        source=source,
        origin=source,
        tools=ToolVersions(project, context),
        reads_variant=reads_variant,
    )


def interpreter(version: str = "3.12.4") -> Interpreter:
    """An interpreter that does not exist."""
    python = version.rpartition(".")[0]
    return Interpreter(python=python, executable="python", identity=f"{version} (main) linux")


def environment_with(project: Project, **distributions: str) -> Environment:
    """An environment that does not exist, with these distributions."""
    return Environment(folder=project.source, python="python", distributions=distributions)
