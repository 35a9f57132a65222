"""Edits of a project at random, and after each the wheels of a run, which must be those of a build of everything.

A sequence begins with a project whose wheels are built. Then files, rules, labels, variables, requirements, and
settings are edited, and edits are taken back. After the edits ``polywheel build`` runs in the same output directory
or in another one, with the cache of all sequences. A second run builds everything again, with a cache of its own, into
an empty directory. Its wheels are the same, byte for byte.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random

import campaign

from polywheel.cli import main as polywheel
from support.projects import HERE, fake_project

BACKEND = """
WHO = "one"

def build_sdist(sdist_directory, config_settings=None):
    files = (path for path in pathlib.Path(".").rglob("*") if path.is_file())
    contents = {str(path): path.read_bytes() for path in sorted(files)}
    return write_sdist(sdist_directory, {**contents, "origin": WHO.encode()})

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import tomllib

    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    told = {"backend": WHO, "urls": [*project["urls"]], "origin": pathlib.Path("origin").read_text()}
    told |= {
        name: os.environ.get(name, "")
        for name in ("CFLAGS", "CXXFLAGS", "OF_RULE", "OF_USER", "OF_TARGET", "SOURCE_DATE_EPOCH")
    }
    told["settings"] = {k: v for k, v in sorted((config_settings or {}).items())}
    try:
        import dependency
        told["dependency"] = dependency.__doc__
    except ImportError:
        pass
    if pathlib.Path("reads").exists():
        told["label"] = os.environ.get(pathlib.Path("reads").read_text().strip(), "")
    files = {"told.txt": repr(told)}
    for path in sorted(pathlib.Path(".").glob("data/*")):
        files[f"rebuilds/{path.name}"] = path.read_bytes()
    if pathlib.Path("with-pyproject").exists():
        files["rebuilds/config.toml"] = pathlib.Path("pyproject.toml").read_bytes()
    return write_wheel(wheel_directory, files)
"""
PYPROJECT = """\
# {comment}
[build-system]
requires = {requires}
build-backend = "backend"
backend-path = ["."]
[project]
name = "rebuilds"
version = "1.0"
description = "{description}"
[project.urls]
{urls}
[variant.default-priorities]
namespace = ["rebuilds"]
feature.rebuilds = {features}
[variant.providers.rebuilds.static-properties]
kind = ["a", "b", "c", "d"]
other = ["x"]
{variants}
[tool.polywheel]
compiled = false
{backend}
metadata-fields = {fields}
strict = {strict}
{rules}
[tool.polywheel.matrix]
python = ["{python}"]
{override}
"""
KINDS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class State:
    """Everything that a sequence edits."""

    comment: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: {"a": "one", "b": "two"})
    """The label of each kind that is a variant."""

    flags: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"a": ("-O1",), "b": ("-O2",), "c": ("-O3",)}
    )
    variable: Mapping[str, str] = field(default_factory=dict)
    setting: Mapping[str, str] = field(default_factory=dict)
    dependencies: Mapping[str, str] = field(default_factory=dict)
    by_label: str = ""
    features: tuple[str, ...] = ("kind", "other")
    fields: bool = True
    strict: bool = False
    requires: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=lambda: {"one": "1"})
    reads: str = ""
    with_pyproject: bool = False
    user: str = ""
    epoch: int = 1_700_000_000
    urls: tuple[str, ...] = ("first", "second")
    backend: str = ""


Edit = Callable[[State, Random], State]


def _without(table: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: text for key, text in table.items() if key != name}


def _toggled(table: Mapping[str, str], name: str, text: str) -> dict[str, str]:
    return _without(table, name) if table.get(name) == text else {**table, name: text}


def _edit_labels(state: State, chance: Random) -> State:
    kind = chance.choice(KINDS)
    if kind in state.labels and len(state.labels) > 1 and chance.random() < 0.4:
        return replace(state, labels=_without(state.labels, kind))
    free = [f"label{n}" for n in range(6) if f"label{n}" not in state.labels.values()]
    return replace(state, labels={**state.labels, kind: chance.choice(free)})


def _edit_flags(state: State, chance: Random) -> State:
    flags = chance.choice([(), ("-O1",), ("-O2",), ("-O2", "-g"), ("-DA=b c",)])
    return replace(state, flags={**state.flags, chance.choice(KINDS): flags})


def _edit_requires(state: State, chance: Random) -> State:
    return replace(state, requires=chance.choice([(), ("dependency==1",), ("dependency==2",)]))


EDITS: Mapping[str, Edit] = {
    "comment": lambda s, c: replace(s, comment=f"comment {c.randrange(3)}"),
    "description": lambda s, c: replace(s, description=f"{c.randrange(2)}"),
    "labels": _edit_labels,
    "flags": _edit_flags,
    "variable of a rule": lambda s, c: replace(
        s, variable=_toggled(s.variable, c.choice(KINDS), f"{c.randrange(2)}")
    ),
    "config setting of a rule": lambda s, c: replace(
        s, setting=_toggled(s.setting, c.choice(KINDS), f"{c.randrange(2)}")
    ),
    "dependencies": lambda s, c: replace(
        s, dependencies=_toggled(s.dependencies, c.choice(KINDS), f"numpy>={c.randrange(2)}")
    ),
    "rule for a label": lambda s, c: replace(s, by_label=c.choice(["", "label*", "one"])),
    "priorities": lambda s, c: replace(
        s, features=c.choice([("kind", "other"), ("other", "kind")])
    ),
    "metadata fields": lambda s, _: replace(s, fields=not s.fields),
    "strict": lambda s, _: replace(s, strict=not s.strict),
    "requirements": _edit_requires,
    "config settings": lambda s, c: replace(
        s, settings=_toggled(s.settings, "a", f"{c.randrange(2)}")
    ),
    "variables": lambda s, c: replace(
        s, environment=_toggled(s.environment, "OF_TARGET", f"{c.randrange(2)}")
    ),
    "data": lambda s, c: replace(
        s, data=_toggled(s.data, c.choice(["one", "two"]), f"{c.randrange(3)}")
    ),
    "reads its variant": lambda s, c: replace(
        s, reads=c.choice(["", "POLYWHEEL_VARIANT_LABEL", "POLYWHEEL_VARIANT_PROPERTIES"])
    ),
    "pyproject.toml in the wheel": lambda s, _: replace(s, with_pyproject=not s.with_pyproject),
    "variable of the user": lambda s, c: replace(s, user=c.choice(["", "1", "2"])),
    "order of a table": lambda s, _: replace(s, urls=s.urls[::-1]),
    "backend": lambda s, c: replace(s, backend=c.choice(["", "backend", "other"])),
    "epoch": lambda s, c: replace(s, epoch=s.epoch + c.choice([-86400, 86400])),
}


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def _table(values: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f'{name} = "{text}"' for name, text in values.items()) + " }"


def _rules(state: State) -> Iterator[str]:
    for kind in state.labels:
        lines = [f"cflags = {_list(state.flags[kind])}"] if kind in state.flags else []
        if kind in state.variable:
            lines.append(f'env = {{ OF_RULE = "{state.variable[kind]}" }}')
        if kind in state.setting:
            lines.append(f'config-settings = {{ of-rule = "{state.setting[kind]}" }}')
        if kind in state.dependencies:
            lines.append(f'dependencies = ["{state.dependencies[kind]}"]')
        if lines:
            yield "\n".join([f'[tool.polywheel.setup."rebuilds :: kind :: {kind}"]', *lines])
    if any(fnmatchcase(label, state.by_label) for label in state.labels.values()):
        yield f'[tool.polywheel.setup."label:{state.by_label}"]\ncxxflags = ["-Dby-label"]'


def _override(state: State) -> Iterator[str]:
    if state.settings or state.environment:
        yield '[[tool.polywheel.overrides]]\nselect = "*"'
    if state.settings:
        yield f"config-settings = {_table(state.settings)}"
    if state.environment:
        yield f"environment = {_table(state.environment)}"


def write(state: State, source: Path) -> None:
    """Write the project of a state."""
    text = PYPROJECT.format(
        comment=state.comment,
        description=state.description,
        requires=_list(state.requires),
        features=_list(state.features),
        variants="\n".join(
            f'[variant.variants.{label}]\nrebuilds.kind = ["{kind}"]'
            for kind, label in state.labels.items()
        ),
        fields=str(state.fields).lower(),
        strict=str(state.strict).lower(),
        rules="\n".join(_rules(state)),
        python=HERE,
        override="\n".join(_override(state)),
        urls="\n".join(f'{name} = "https://example.org"' for name in state.urls),
        backend=f'build-backend = "{state.backend}"\nbackend-path = ["."]' if state.backend else "",
    )
    (source / "pyproject.toml").write_text(text, encoding="utf-8")
    shutil.rmtree(source / "data", ignore_errors=True)
    (source / "data").mkdir()
    for name, content in state.data.items():
        (source / "data" / name).write_text(content, encoding="utf-8")
    for name, content in (("reads", state.reads), ("with-pyproject", "x" * state.with_pyproject)):
        (source / name).unlink(missing_ok=True)
        if content:
            (source / name).write_text(content, encoding="utf-8")


class _RefusedError(Exception):
    """A project is refused before anything is built: with ``strict``, variants with equal setups are."""


def build(state: State, source: Path, out: Path, *options: str) -> str:
    """Run ``polywheel build`` in this process; what it printed. Raises _RefusedError."""
    os.environ["OF_USER"] = state.user
    os.environ["SOURCE_DATE_EPOCH"] = str(state.epoch)
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        code = polywheel(
            ["build", str(source), "-o", str(out), "-j", "2", "--force", "--prune", *options]
        )
    if code == 2 and state.strict and "ask the same of the build" in printed.getvalue():
        raise _RefusedError
    if code != 0:
        raise AssertionError(f"polywheel build ended with {code}:\n{printed.getvalue()}")
    return printed.getvalue()


def wheels(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.whl"))}


def sequence(folder: Path, figures: campaign.Figures, number: int) -> None:
    """Some edits, and the builds with and without the store."""
    chance = Random(f"{figures.seed}:{number}")
    state = State()
    states, names = [state], []
    source, outs = folder / "source", [folder / "out", folder / "other"]
    for _ in range(chance.choice([1, 1, 2, 3])):
        if len(states) > 1 and chance.random() < 0.2:
            names.append("back to an earlier state")
            state = chance.choice(states)
        else:
            name = chance.choice(sorted(EDITS))
            names.append(name)
            state = EDITS[name](state, chance)
        states.append(state)
        if chance.random() < 0.3:  # others are built together
            write(state, source)
            with contextlib.suppress(_RefusedError):
                build(state, source, chance.choice(outs))
    if chance.random() < 0.1:
        names.append("a damaged wheel in the store")
        for path in (Path(os.environ["POLYWHEEL_CACHE_DIR"]) / "wheels").glob("*/*/*.whl"):
            path.write_bytes(path.read_bytes()[:-10])
    write(state, source)
    out = chance.choice(outs)
    try:
        printed = build(state, source, out)
    except _RefusedError:
        figures.counts["refused"] += 1
        return
    reference = folder / "reference"
    shutil.rmtree(reference, ignore_errors=True)
    cache = os.environ["POLYWHEEL_CACHE_DIR"]
    os.environ["POLYWHEEL_CACHE_DIR"] = f"{cache}-of-reference"
    build(state, source, reference, "--rebuild", "--fresh")
    os.environ["POLYWHEEL_CACHE_DIR"] = cache
    for what in ("built", "stamped", "up to date"):
        figures.counts[f"runs with wheels {what}"] += f" {what}" in printed.split("\nbuilds: ")[-1]
    if (found := wheels(out)) != (expected := wheels(reference)):
        differing = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
        figures.found(
            f"after {', '.join(names)}: other wheels {sorted(differing)}\n{printed}",
            repeat=f"rebuilds.py --seed {figures.seed} --first {number} --count 1",
        )
    figures.counts["sequences"] += 1


def dependencies(folder: Path) -> Path:
    """A folder with two versions of a package that builds require."""
    from support.fake_backend import write_wheel

    folder.mkdir()
    for version in ("1", "2"):
        write_wheel(
            str(folder), {"dependency.py": f'"""{version}"""'}, project=f"dependency-{version}"
        )
    return folder


def run(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    """Do these sequences."""
    campaign.heed_signals()
    with campaign.workplace() as folder:
        os.environ.update(campaign.environment(folder, DEMO_FOLDER=str(folder)))
        found = dependencies(folder / "packages")
        os.environ.update(UV_FIND_LINKS=str(found), PIP_FIND_LINKS=str(found))
        os.environ.update(UV_NO_INDEX="1", PIP_NO_INDEX="1")
        source = fake_project(folder / "source", backend=BACKEND, name="rebuilds")
        text = (source / "backend.py").read_text(encoding="utf-8")
        other = text.replace('WHO = "one"', 'WHO = "other"')
        (source / "other.py").write_text(other, encoding="utf-8")
        write(State(), source)
        build(State(), source, folder / "out")
        for done, number in enumerate(numbers, 1):
            sequence(folder, figures, number)
            figures.progress(f"{done} of {len(numbers)} sequences", every=20)


def main(arguments: Sequence[str] | None = None) -> int:
    options = campaign.parse(__doc__, arguments, count=500)
    return campaign.shared_out(run, "rebuilds", options).finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
