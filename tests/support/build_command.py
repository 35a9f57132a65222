"""``polywheel build`` for the tests: small projects, and runs of them in processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.builds import ROOT, write_project

# Each process that runs tests has one of its own: what a test leaves behind in it is removed.
CACHE = ROOT / ".cache" / f"polywheel-build{os.environ.get('PYTEST_XDIST_WORKER', '')}"
"""Build environments are made once, and serve every test and every run of the tests."""
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
JOURNAL = ".polywheel-journal.jsonl"

# A backend of the project's own, which needs no environment worth speaking of. What it does is what
# the setup rules of the variant say.
BACKEND = """
import base64, hashlib, os, pathlib, sys, time, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    does = os.environ.get("DEMO_DOES", "nothing special")
    print("demo: this one does", does, flush=True)
    with open(os.path.join(os.environ["DEMO_FOLDER"], "begun"), "a") as file:
        file.write(does + "\\n")
    tag = "cp311-cp311-win_amd64" if does == "another tag" else "py3-none-any"
    if does == "fail":
        sys.exit("demo: it does not compile")
    if does.startswith("wait"):
        code = [sys.executable, "-c", "import time; time.sleep(300)"]
        child = os.spawnv(os.P_NOWAIT, sys.executable, code)
        part = pathlib.Path(os.environ["DEMO_FOLDER"], f"{os.getpid()}.part")
        part.write_text(f"{os.getpid()} {child}")
        part.rename(part.with_name(f"{does}ing"))
        time.sleep(300)
    if does == "fill":
        with open("big", "wb") as file:
            file.write(b"x" * (64 << 20))
    time.sleep(float(os.environ.get("DEMO_SECONDS", "0")))
    info = "demo-1.0.dist-info"
    files = {
        "demo/__init__.py": f"does = {does!r}\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nGenerator: demo\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }
    if does == "another tag":
        files["demo/_demo.pyd"] = "MZ: a program for Windows begins so"
    if os.environ.get("DEMO_RANDOM"):
        files["demo/random.txt"] = os.urandom(16).hex()
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(text.encode())}\\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\\n"
    name = f"demo-1.0-{tag}.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return name
"""


def demo(
    folder: Path,
    *variants: str,
    does: Mapping[str, str] | None = None,
    matrix: str = "",
    pythons: Iterable[str] = (HERE,),
) -> Path:
    """A project with a variant for each of these names, one build each.

    ``does`` says what the builds of some of them do: ``fail``, ``wait`` or ``wait …`` (for minutes, with a child),
    ``another tag``, ``fill`` (a disk).
    """
    tables = "".join(f'[variant.variants.{name}]\ndemo.kind = ["{name}"]\n' for name in variants)
    rules = "".join(
        f'[tool.polywheel.setup."demo :: kind :: {name}"]\n'
        f'env = {{ DEMO_DOES = "{(does or {}).get(name, name)}" }}\n'
        for name in variants
    )
    write_project(
        folder,
        {
            "pyproject.toml": f"""
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
kind = {json.dumps(variants)}
{tables}{rules}
[tool.polywheel.matrix]
python = {json.dumps(list(pythons))}
{matrix}
""",
            "backend.py": BACKEND,
        },
    )
    return folder


def workplaces() -> Iterator[None]:
    """A fixture: copies of sources, which lie in the cache by project, go with the projects."""
    places = [CACHE / name for name in ("work", "snapshots", "served")]
    before = {path for place in places if place.is_dir() for path in place.iterdir()}
    yield
    for place in places:
        for path in set(place.iterdir() if place.is_dir() else ()) - before:
            shutil.rmtree(path, ignore_errors=True)


@dataclass
class Run:
    """A run that has ended."""

    out: str
    err: str
    report: dict[str, Any]
    """Empty where the run did not begin."""

    @property
    def states(self) -> dict[str, str]:
        """What became of the jobs, by label."""
        return {str(job["label"]): job["state"] for job in self.report["jobs"]}

    @property
    def built(self) -> list[str]:
        """The labels of the builds that were run and went well."""
        jobs = {job["id"]: str(job["label"]) for job in self.report["jobs"]}
        return [jobs[one["id"]] for one in self.report["builds"] if one["state"] == "built"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """With ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Builds:
    """Runs of ``polywheel build`` on one project and one output directory."""

    source: Path
    out: Path
    env: dict[str, str] = field(default_factory=dict)
    patience: float = 120
    """Seconds after which a run is taken for one that does not end."""

    def command(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "polywheel", "build", str(self.source)]
        command += ["-o", str(self.out), "--report", str(self.report)]
        return [*command, "-j", "2", *options]

    @property
    def report(self) -> Path:
        return self.source.with_name(f"{self.out.name}-report.json")

    def start(self, *options: str, **more: Any) -> subprocess.Popen[str]:
        self.report.unlink(missing_ok=True)
        return subprocess.Popen(
            self.command(*options),
            cwd=self.source.parent,
            env={
                **os.environ,
                "POLYWHEEL_CACHE_DIR": str(CACHE),
                "DEMO_FOLDER": str(self.source.parent),
                **self.env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **more,
        )

    def __call__(self, *options: str, code: int = 0, **more: Any) -> Run:
        """Run it; it is to end with this code, and without a traceback."""
        return self.ended(self.start(*options, **more), code=code)

    def ended(self, running: subprocess.Popen[str], *, code: int = 0) -> Run:
        try:
            out, err = running.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGABRT)
            out, err = running.communicate()
            raise AssertionError(f"it does not end:\n{out}\n{err}") from None
        # Those of backends stand in their logs, the ends of which are shown with something in front.
        assert "\nTraceback" not in f"\n{err}", err
        assert running.returncode == code, f"{running.returncode}:\n{out}\n{err}"
        report = json.loads(self.report.read_text("utf-8")) if self.report.exists() else {}
        return Run(out, err, report)

    @property
    def wheels(self) -> dict[str, str]:
        """The names of the wheels, and the hashes of their content."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.out.glob("*.whl"))
        }

    @property
    def labels(self) -> list[str]:
        """The labels in the names of the wheels."""
        return sorted(name.removesuffix(".whl").split("-")[5] for name in self.wheels)

    @property
    def begun(self) -> list[str]:
        """What the backend was called for, in whichever run."""
        path = self.source.with_name("begun")
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []

    @property
    def journal(self) -> list[dict[str, Any]]:
        text = (self.out / JOURNAL).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def log(self, label: str, *, python: str = HERE) -> str:
        """What a build printed."""
        (found,) = (self.out / "logs").glob(f"*-cp{python.replace('.', '')}-{label}.log")
        return found.read_text(encoding="utf-8")

    @property
    def leftovers(self) -> list[str]:
        """What lies in the output directory beside wheels, the journal and the logs."""
        known = {JOURNAL, "logs", *self.wheels}
        return sorted(path.name for path in self.out.iterdir() if path.name not in known)
