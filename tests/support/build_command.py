"""Runs of ``polywheel build`` in processes, and their results."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.commands import call_main
from support.projects import HERE, ROOT

# Each process of pytest-xdist has its own: the leftovers of a test are removed.
CACHE = ROOT / ".cache" / f"polywheel-build{os.environ.get('PYTEST_XDIST_WORKER', '')}"
"""The cache of the builds. Its build environments serve all tests, and later runs of the tests."""
JOURNAL = ".polywheel-journal.jsonl"


def workplaces() -> Iterator[None]:
    """The body of a fixture: remove the copies of sources that tests left in the cache.

    The last copies of polywheel stay: each takes a second to write and to compile.
    """
    places = [CACHE / name for name in ("work", "snapshots", "wheels", "parts")]
    before = {path for place in places if place.is_dir() for path in place.iterdir()}
    yield
    for place in places:
        for path in set(place.iterdir() if place.is_dir() else ()) - before:
            shutil.rmtree(path, ignore_errors=True)
    if (CACHE / "served").is_dir():
        copies = sorted((CACHE / "served").iterdir(), key=lambda path: path.stat().st_mtime)
        for path in copies[:-3]:
            shutil.rmtree(path, ignore_errors=True)


@dataclass
class Run:
    """The result of a run."""

    out: str
    err: str
    report: dict[str, Any]
    """Empty if the run did not begin."""

    @property
    def states(self) -> dict[str, str]:
        """The state of each job, by label."""
        return {str(job["label"]): job["state"] for job in self.report["jobs"]}

    @property
    def built(self) -> list[str]:
        """The labels of the builds that succeeded in this run."""
        jobs = {job["id"]: str(job["label"]) for job in self.report["jobs"]}
        return [jobs[one["id"]] for one in self.report["builds"] if one["state"] == "built"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Builds:
    """Runs of ``polywheel build`` on one project and one output directory."""

    source: Path
    out: Path
    env: dict[str, str] = field(default_factory=dict)
    patience: float = 300
    """Seconds after which a run in a process of its own counts as hanging."""
    own_process: bool = False
    """Whether each run starts a process. Otherwise, only those of ``start`` do."""

    def command(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "polywheel", "build", str(self.source)]
        if "--dry-run" not in options:
            command += ["--report", str(self.report)]
        return [*command, "-o", str(self.out), "-j", "2", *options]

    @property
    def report(self) -> Path:
        return self.source.with_name(f"{self.out.name}-report.json")

    @property
    def _variables(self) -> dict[str, str]:
        folders = {"POLYWHEEL_CACHE_DIR": str(CACHE), "DEMO_FOLDER": str(self.source.parent)}
        return folders | self.env

    def start(self, *options: str, **more: Any) -> subprocess.Popen[str]:
        self.report.unlink(missing_ok=True)
        return subprocess.Popen(
            self.command(*options),
            cwd=self.source.parent,
            env={**os.environ, **self._variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **more,
        )

    def __call__(self, *options: str, code: int = 0, **more: Any) -> Run:
        """Run it. Fail if it ends with another exit code, or with a traceback."""
        if self.own_process or more:
            return self.ended(self.start(*options, **more), code=code)
        self.report.unlink(missing_ok=True)
        _, _, _, *arguments = self.command(*options)
        ended, out, err, _ = call_main(arguments, cwd=self.source.parent, env=self._variables)
        return self._result(ended, out, err, code)

    def ended(self, running: subprocess.Popen[str], *, code: int = 0) -> Run:
        try:
            out, err = running.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGABRT)
            out, err = running.communicate()
            raise AssertionError(f"it does not end:\n{out}\n{err}") from None
        return self._result(running.returncode, out, err, code)

    def _result(self, ended: int, out: str, err: str, code: int) -> Run:
        # Tracebacks of backends are in the logs; their last lines are shown with a prefix.
        assert "\nTraceback" not in f"\n{err}", err
        assert ended == code, f"{ended}:\n{out}\n{err}"
        report = json.loads(self.report.read_text("utf-8")) if self.report.exists() else {}
        return Run(out, err, report)

    @property
    def wheels(self) -> dict[str, str]:
        """The SHA-256 of each wheel, by filename."""
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
        """The calls of the backend in all runs."""
        path = self.source.with_name("begun")
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []

    @property
    def journal(self) -> list[dict[str, Any]]:
        text = (self.out / JOURNAL).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def log(self, label: str, *, python: str = HERE) -> str:
        """The log of a build."""
        (found,) = (self.out / "logs").glob(f"*-cp{python.replace('.', '')}-{label}.log")
        return found.read_text(encoding="utf-8")

    @property
    def leftovers(self) -> list[str]:
        """Files in the output directory other than wheels, the journal, and the logs."""
        known = {JOURNAL, "logs", *self.wheels}
        return sorted(path.name for path in self.out.iterdir() if path.name not in known)
