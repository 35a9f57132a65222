"""Random releases: what ``polywheel explain`` predicts, compared with what a real uv installs.

    python tests/uv/random_releases.py --count 400 --seed 12

Each case is a machine and a project with one to four versions: wheels of random variants, platforms,
Pythons, and build tags, sdists, pre-releases, and, on an index, yanked files. ``polywheel index`` writes
the variants.json. The exit code is 1 where the two disagree and docs/systems.md does not say why.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from machines import Machine, random_machine  # noqa: E402

from polywheel.cli import main as polywheel  # noqa: E402
from polywheel.model.wheelname import WheelName  # noqa: E402
from support.uv_releases import write_wheel  # noqa: E402
from support.web_server import FileHandler, serve  # noqa: E402

VERSIONS = ("0.9", "1.0", "1.1", "1.1.post1", "1.2rc1", "2.0", "2.0a1", "2.0.dev3", "2.1")
LEVELS = ("v1", "v2", "v3", "v4")
KNOWN = {
    "x86_64": {"requires": ["x86-64-variant-provider"]},
    "aarch64": {"requires": ["aarch64-variant-provider>=0.0.1"]},
    "nvidia": {
        "requires": ["nvidia-variant-provider>=0.0.1,<1.0.0"],
        "plugin-api": "nvidia_variant_provider.plugin:NvidiaVariantPlugin",
    },
}
"""The providers that uv has built in."""
STATIC = {
    "blas": {"static-properties": {"library": ["openblas", "mkl"]}},
    "build": {
        "static-properties": {"debug": ["off", "on"], "mode": ["fast", "small"]},
        "feature-order": ["mode", "debug"],
    },
}
UNKNOWN = {
    "spice": {"requires": ["spice-provider"]},
    "gpu": {"builtin": "gpu"},
    "x86_64": {"requires": ["provider-variant-x86-64"]},
    "nvidia": {"requires": ["nvidia-variant-provider"]},
}
VALUES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x86_64": {"level": (*LEVELS, "v9"), "aes": ("on",)},
    "aarch64": {"version": ("8a", "8.1a", "8.2a", "8.4a", "9.0a")},
    "nvidia": {
        "cuda_version_lower_bound": ("11", "11.8", "12.0", "12.4", "12.8", "13.0"),
        "cuda_version_upper_bound": ("12", "13", "13.1", "14"),
        "sm_arch": ("70_real", "75_real", "80_real", "86_real", "90_real", "80_virtual"),
    },
    "blas": {"library": ("openblas", "mkl", "atlas")},
    "build": {"debug": ("off", "on"), "mode": ("fast", "small", "tiny"), "lto": ("on",)},
    "spice": {"heat": ("hot", "mild")},
    "gpu": {"maker": ("a", "b")},
}
SDIST = "import sys\ndef build_wheel(*_):\n    sys.exit('BUILT FROM SDIST')\n"


@dataclass(kw_only=True)
class Case:
    """One machine, and what it can choose from."""

    folder: Path
    machine: Machine
    wanted: str | None
    """A version that is asked for; None for any."""

    served: bool
    """Whether the files are on an index, and not in a folder."""

    without_file: set[str] = field(default_factory=set)
    """Versions whose variants.json is missing."""

    yanked: dict[str, str] = field(default_factory=dict)
    requires: dict[str, str] = field(default_factory=dict)
    """By filename, what the page of the index says of it."""


def make(random: Random, folder: Path) -> Case:
    """A case; its files lie in ``folder``, and ``polywheel index`` has been run."""
    machine = random_machine(random, sys.version_info[:2])
    folder.mkdir(parents=True)
    case = Case(
        folder=folder,
        machine=machine,
        wanted=None,
        served=random.random() < 0.4,
    )
    versions = random.sample(VERSIONS, random.choice([1, 1, 2, 3, 4]))
    for version in versions:
        _release(random, case, version)
    with contextlib.redirect_stdout(io.StringIO()):
        assert polywheel(["index", str(folder)]) == 0
    for version in versions:
        path = folder / f"demo-{version}-variants.json"
        if path.exists() and random.random() < 0.05:
            path.unlink()
            case.without_file.add(version)
    if random.random() < 0.15:
        case.wanted = random.choice(versions)
    return case


def _release(random: Random, case: Case, version: str) -> None:
    namespaces, providers = _providers(random)
    variants = _variants(random, namespaces)
    document = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": namespaces},
        "providers": providers,
    }
    restrictive = random.random() < 0.3
    for label, properties in variants.items():
        own = {**document, "variants": {label: properties}}
        for _ in range(random.choice([1, 1, 2, 3])):
            _wheel(random, case, version, label, own, restrictive=restrictive)
    for _ in range(random.choice([0, 1, 1, 2]) if variants else 1):
        _wheel(random, case, version, None, None, restrictive=restrictive)
    if random.random() < 0.15:
        _sdist(case, version)


def _providers(random: Random) -> tuple[list[str], dict[str, Any]]:
    every: dict[str, Any] = {**KNOWN, **STATIC}
    names = random.sample(sorted(every), random.randint(1, 4))
    if random.random() < 0.25:
        other = random.choice(sorted(UNKNOWN))
        every[other] = UNKNOWN[other]
        names = [*(one for one in names if one != other), other]
    random.shuffle(names)
    providers = {name: dict(every[name]) for name in names}
    if random.random() < 0.1:
        providers[random.choice(names)]["optional"] = True
    return names, providers


def _variants(random: Random, namespaces: list[str]) -> dict[str, dict[str, Any]]:
    """Variants by label: no two with the same properties."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(random.choice([0, 1, 2, 4, 6])):
        properties: dict[str, dict[str, list[str]]] = {}
        for namespace in random.sample(namespaces, random.randint(1, min(2, len(namespaces)))):
            features = VALUES[namespace]
            for feature in random.sample(
                sorted(features), random.randint(1, min(2, len(features)))
            ):
                values = features[feature]
                count = random.choice([1, 1, 1, 2]) if len(values) > 1 else 1
                chosen = sorted(random.sample(values, count))
                properties.setdefault(namespace, {})[feature] = chosen
        if properties not in found.values():
            found[f"{random.choice('abz')}{number}"] = properties
    if random.random() < 0.5:
        found["null"] = {}
    return found


def _wheel(
    random: Random,
    case: Case,
    version: str,
    label: str | None,
    document: Mapping[str, Any] | None,
    *,
    restrictive: bool,
) -> None:
    minor = case.machine.python[1]
    platform = random.choice(case.machine.platforms)
    if not restrictive and random.random() < 0.4:
        platform = "any"
    if platform == "any":
        python = random.choice(["py3-none", "py3-none", "py2.py3-none", f"py3{minor}-none"])
    else:
        older = max(minor - random.randint(0, 2), 2)
        python = random.choice(
            [
                f"cp3{minor}-cp3{minor}",
                f"cp3{older}-abi3",
                "py3-none",
                f"cp3{minor + 1}-cp3{minor + 1}",
            ]
            + [f"cp3{minor}-cp3{minor}t"] * (minor >= 13)
        )
    requires = random.choice(["", "", "", "", "", ">=3.9", ">=3.99", f"<3.{minor}"])
    path = write_wheel(
        case.folder,
        label,
        document=document,
        tags=f"{python}-{platform}",
        version=version,
        build=random.choice([None, None, None, "1", "2", "10", "2b"]),
        headers=f"Requires-Python: {requires}\n" if requires else "",
    )
    case.requires[path.name] = requires
    if case.served and random.random() < 0.12:
        case.yanked[path.name] = random.choice(["", "broken"])


def _sdist(case: Case, version: str) -> None:
    path = case.folder / f"demo-{version}.tar.gz"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.2\nName: demo\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "hook"\n'
        f'backend-path = ["."]\n[project]\nname = "demo"\nversion = "{version}"\n',
        "hook.py": SDIST,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"demo-{version}/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@contextlib.contextmanager
def served(case: Case) -> Iterator[str]:
    """The address of an index with the files of a case."""
    page = case.folder / "simple" / "demo" / "index.html"
    page.parent.mkdir(parents=True)
    lines = []
    for path in sorted(case.folder.iterdir()):
        if not path.is_file():
            continue
        extra = ""
        if required := case.requires.get(path.name):
            extra += f' data-requires-python="{html.escape(required)}"'
        if path.name in case.yanked:
            extra += f' data-yanked="{case.yanked[path.name]}"'
        lines.append(f'<a href="../../{path.name}"{extra}>{path.name}</a>')
    page.write_text("<!DOCTYPE html>\n" + "<br>\n".join(lines), encoding="utf-8")
    with serve(partial(FileHandler, directory=str(case.folder))) as address:
        yield f"{address}/simple/"


def predicted(case: Case, address: str | None) -> tuple[str | None, str]:
    """What explain says: a filename of a wheel or an sdist, or None for nothing; and its notes."""
    command = ["explain", f"{address}demo/" if address else str(case.folder), "--json"]
    if case.machine.description:
        system = case.folder.parent / "system.toml"
        system.write_text(case.machine.description, encoding="utf-8")
        command += ["--system", str(system)]
    if case.wanted is not None:
        command += ["--version", case.wanted]
    with (
        mock.patch.dict(os.environ, case.machine.env),
        contextlib.redirect_stdout(io.StringIO()) as printed,
        contextlib.redirect_stderr(io.StringIO()) as notes,
    ):
        polywheel(command)
    answer = json.loads(printed.getvalue())
    return answer["chosen"] or answer["sdist"], notes.getvalue()


def taken(case: Case, address: str | None) -> str | None:
    """What a real uv takes, in the same words. Raises RuntimeError for any other error of it."""
    target = case.folder.parent / "target"
    source = (
        ["--index-url", address] if address else ["--no-index", "--find-links", str(case.folder)]
    )
    python = sys.executable
    env = {**os.environ, **case.machine.env}
    if case.machine.answer is not None:
        env["POLYWHEEL_TEST_PYTHON"] = sys.executable
        env["POLYWHEEL_TEST_MACHINE"] = json.dumps(case.machine.answer)
        python = str(_wrapper(case.folder.parent))
    command = [
        *("uv", "pip", "install", "--quiet", "--preview-features", "wheel-variants", "--no-cache"),
        *(*source, "--python", python, "--target", str(target), "--no-build-isolation"),
        f"demo=={case.wanted}" if case.wanted is not None else "demo",
    ]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=False)
    if done.returncode == 0:
        text = (target / "demo.py").read_text(encoding="utf-8")
        return text.partition("'")[2].partition("'")[0]
    if "Failed to build" in done.stderr or "BUILT FROM SDIST" in done.stderr:
        version = done.stderr.partition("demo==")[2].split("`")[0].split()[0]
        return f"demo-{version}.tar.gz"
    if "No solution found" in done.stderr:
        return None
    raise RuntimeError(done.stderr)


def _wrapper(folder: Path) -> Path:
    path = folder / "python"
    if not path.exists():
        script = HERE / "interpreter.py"
        path.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" "$@"\n', encoding="utf-8"
        )
        path.chmod(0o755)
    return path


def explanation(case: Case, ours: str | None, theirs: str | None, notes: str) -> str | None:
    """Why the two may disagree, as docs/systems.md and notes say; None where they say nothing."""
    if case.machine.description and "uv installs no variant that needs" in notes:
        return "a description of what a plugin supports that uv does not run: a note says so"
    if theirs is None and "because it reads the metadata of a wheel" in notes:
        return "no wheel fits: uv reads Requires-Python of one of them, and refuses the sdist"
    if ours and theirs and not case.served and _are_tied(ours, theirs):
        return "non-variant wheels of a folder with the same best tag and build: uv takes any"
    versions = {
        name.removesuffix(".tar.gz").split("-")[1] for name in (ours, theirs) if name is not None
    }
    if not case.served and versions & case.without_file:
        return "a folder without variants.json: explain reads the wheels, uv takes no variant"
    return None


def _are_tied(one: str, other: str) -> bool:
    if not (one.endswith(".whl") and other.endswith(".whl")):
        return False
    first, second = WheelName.parse(one), WheelName.parse(other)
    same = (first.version, first.build, first.abi) == (second.version, second.build, second.abi)
    common = all(
        set(mine.split(".")) & set(yours.split("."))
        for mine, yours in ((first.python, second.python), (first.platform, second.platform))
    )
    return same and common and first.label is second.label is None


def compare(count: int, seed: int, only: int | None, keep: Path | None) -> Counter[str]:
    """How many cases came to what; every disagreement is printed."""
    counts: Counter[str] = Counter()
    for number in range(count) if only is None else [only]:
        random = Random(f"{seed}-{number}")
        with tempfile.TemporaryDirectory() as scratch:
            case = make(random, Path(scratch) / "dist")
            with served(case) if case.served else contextlib.nullcontext(None) as address:
                try:
                    theirs = taken(case, address)
                    ours, notes = predicted(case, address)
                except Exception:  # noqa: BLE001 -- a finding, whatever it is
                    traceback.print_exc()
                    theirs, ours, notes = "error", None, ""
            if ours == theirs:
                counts["alike: " + _kind(ours)] += 1
                continue
            why = explanation(case, ours, theirs, notes)
            counts[why or "unexplained"] += 1
            print(
                f"case {number}: explain {ours}, uv {theirs} ({why or 'UNEXPLAINED'})", flush=True
            )
            if keep is not None and why is None:
                shutil.copytree(scratch, keep / str(number), dirs_exist_ok=True)
    return counts


def _kind(name: str | None) -> str:
    if name is None:
        return "nothing"
    if name.endswith(".tar.gz"):
        return "an sdist"
    label = name.removesuffix(".whl").split("-")[-1]
    dashes = name.count("-") - (name.split("-")[2][0].isdigit())
    return "non-variant" if dashes == 4 else "null" if label == "null" else "variant"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--only", type=int, help="this case alone")
    parser.add_argument("--keep", type=Path, help="a folder for the files of disagreements")
    options = parser.parse_args()
    counts = compare(options.count, options.seed, options.only, options.keep)
    for what, number in sorted(counts.items()):
        print(f"{number:5} {what}")
    return 1 if counts["unexplained"] else 0


if __name__ == "__main__":
    sys.exit(main())
