"""GitHub Actions, as much of it as a generated workflow needs, on this machine.

Steps that run something run for real: each ``run:`` in bash as GitHub starts it, each action of this
checkout by its own steps. What moves files (checkout, artifacts) stands as a copy. An expression or an
action that is not known here is an error.
"""

from __future__ import annotations

import fnmatch
import glob
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.job_containers import JobContainer
from support.projects import ROOT

Context = Mapping[str, Any]
_OPTIONAL = frozenset({"container", "id", "setup", "inputs", "select", "publish", "path"})
_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|[!(),]|[A-Za-z_][A-Za-z0-9_.*-]*)")
_EXPRESSION = re.compile(r"\$\{\{((?:'(?:[^']|'')*'|[^'])*?)\}\}")


def load(text: str) -> dict[str, Any]:
    """A workflow, or an action. ``on`` is a boolean to YAML 1.1, and stays a name here."""
    document = yaml.safe_load(text)
    assert isinstance(document, dict)
    return {"on" if key is True else key: value for key, value in document.items()}


def evaluate(text: str, context: Context, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """The value of an expression, without its ``${{ }}``."""
    tokens = []
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        assert found is not None, f"unknown in an expression: {text[place:]!r}"
        tokens.append(found[1])
        place = found.end()
    tokens.reverse()
    value = _either(tokens, context, functions)
    assert not tokens, f"left over in {text!r}: {tokens}"
    return value


def _either(tokens: list[str], context: Context, functions: Mapping[str, Any]) -> Any:
    value = _both(tokens, context, functions)
    while tokens and tokens[-1] == "||":
        tokens.pop()
        other = _both(tokens, context, functions)
        value = value or other
    return value


def _both(tokens: list[str], context: Context, functions: Mapping[str, Any]) -> Any:
    value = _compared(tokens, context, functions)
    while tokens and tokens[-1] == "&&":
        tokens.pop()
        other = _compared(tokens, context, functions)
        value = value and other
    return value


def _compared(tokens: list[str], context: Context, functions: Mapping[str, Any]) -> Any:
    value = _term(tokens, context, functions)
    if tokens and tokens[-1] in {"==", "!="}:
        equal = tokens.pop() == "=="
        other = _term(tokens, context, functions)
        value = (value == other) is equal
    return value


def _term(tokens: list[str], context: Context, functions: Mapping[str, Any]) -> Any:
    token = tokens.pop()
    if token == "!":
        return not _term(tokens, context, functions)
    if token == "(":
        inner = _either(tokens, context, functions)
        assert tokens.pop() == ")"
        return inner
    return _value(token, tokens, context, functions)


def _value(token: str, tokens: list[str], context: Context, functions: Mapping[str, Any]) -> Any:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if tokens and tokens[-1] == "(":
        tokens.pop()
        arguments = []
        while tokens[-1] != ")":
            arguments.append(_either(tokens, context, functions))
            if tokens[-1] == ",":
                tokens.pop()
        tokens.pop()
        return functions[token](*arguments)
    value: Any = context
    for name in token.split("."):
        if name == "*":
            value = [*value.values()]
            continue
        if isinstance(value, list):
            value = [item[name] for item in value]
            continue
        # As on GitHub: what is not there is empty, but here only in what may be empty.
        value = value.get(name, "") if name in _OPTIONAL else value[name]
        if value == "":
            break
    return value


def filled(value: Any, context: Context, functions: Mapping[str, Any]) -> Any:
    """A value of YAML with its expressions evaluated."""
    if isinstance(value, dict):
        return {key: filled(one, context, functions) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, context, functions) for one in value]
    if not isinstance(value, str):
        return value
    whole = _EXPRESSION.fullmatch(value)
    if whole:
        return evaluate(whole[1], context, functions)
    return _EXPRESSION.sub(lambda one: str(evaluate(one[1], context, functions)), value)


@dataclass
class Machine:
    """A repository, and the runs of its jobs."""

    repository: Path
    scratch: Path
    event: Mapping[str, str]
    """``event_name`` and ``ref``."""

    temporary: Path
    """``RUNNER_TEMP``, in which the action keeps what it installs."""

    environment: Mapping[str, str] = field(default_factory=dict)
    docker: bool = False
    """Whether jobs with an image run in a container. Otherwise, they run on this machine."""

    artifacts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    ran: list[str] = field(default_factory=list)
    """The scripts that ran."""

    container: JobContainer | None = None
    """The container of the current job."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """The variables of the current job."""

    def job(self, job: Mapping[str, Any], context: Context) -> tuple[str, dict[str, str]]:
        """``success`` or ``failure`` of a job, and its outputs."""
        workspace = self.scratch / f"job-{len(list(self.scratch.iterdir()))}"
        workspace.mkdir()
        steps: dict[str, Any] = {}
        state = {"failed": False}
        functions = self._functions(workspace, state)
        around = {"github": dict(self.event), "steps": steps, "job": {}, **context}
        around["runner"] = {"temp": str(self.temporary)}
        self.variables = filled(job.get("env", {}), around, functions)
        container = filled(job.get("container", {}), around, functions)
        if self.docker and container.get("image"):
            self.container = JobContainer.start(
                container["image"],
                container["options"],
                workspace=workspace,
                temporary=self.temporary,
            )
            around["job"] = {"container": {"id": self.container.id}}
        try:
            for step in job["steps"]:
                if not _runs(step, around, functions, state):
                    continue
                outputs = self._step(step, around, functions, workspace)
                if outputs is None:
                    state["failed"] = True
                elif "id" in step:
                    steps[step["id"]] = {"outputs": outputs}
        finally:
            if self.container is not None:
                self.container.remove()
                self.container = None
        said = filled(job.get("outputs", {}), around, functions) if not state["failed"] else {}
        return "failure" if state["failed"] else "success", said

    def _step(
        self, step: Mapping[str, Any], context: Context, functions: Any, workspace: Path
    ) -> dict[str, str] | None:
        """The outputs of a step; None where it fails."""
        if "run" in step:
            env = filled(step.get("env", {}), context, functions)
            if "CACHE_KILOBYTES" in env and self.container is None:  # not the cache of this machine
                env |= {"HOME": str(self.scratch), "CACHE": str(self.scratch / "cache")}
            assert "${{" not in step["run"], "a shell line with an expression in it"
            return self._shell(step["run"], step["shell"], env, workspace)
        name, _, commit = step["uses"].partition("@")
        given = filled(step.get("with", {}), context, functions)
        if name.endswith("/.github/actions/polywheel"):
            return self._composite(ROOT / ".github" / "actions" / "polywheel", given, workspace)
        if name.startswith("$/"):
            return self._composite(self.repository / name[2:], given, workspace)
        assert re.fullmatch("[0-9a-f]{40}", commit)
        if name == "actions/setup-python":
            return {"python-path": sys.executable}
        return _COPIES[name](self, given, workspace)

    def _composite(
        self, folder: Path, given: Mapping[str, Any], workspace: Path
    ) -> dict[str, str] | None:
        """An action that consists of steps, in order."""
        action = load((folder / "action.yml").read_text(encoding="utf-8"))
        assert {*given} <= {*action["inputs"]}
        inputs = {
            name: str(given.get(name, one.get("default", "")))
            for name, one in action["inputs"].items()
        }
        steps: dict[str, Any] = {}
        job = {"container": {"id": self.container.id}} if self.container is not None else {}
        context = {"inputs": inputs, "steps": steps, "job": job}
        for step in action["runs"]["steps"]:
            if "if" in step and not evaluate(step["if"].strip("${} "), context, {}):
                continue
            outputs = self._step(step, context, {}, workspace)
            if outputs is None:
                return None
            if "id" in step:
                steps[step["id"]] = {"outputs": {"output": "", **outputs}}
        said: dict[str, str] = filled(
            {name: one["value"] for name, one in action.get("outputs", {}).items()}, context, {}
        )
        return said

    def _shell(
        self, script: str, shell: str, env: Mapping[str, str], workspace: Path
    ) -> dict[str, str] | None:
        self.ran.append(script)
        temporary = self.temporary
        files = {name: temporary / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in files.values():
            path.write_text("", encoding="utf-8")
        path = temporary / ("script.sh" if shell == "bash" else "script.py")
        path.write_text(script, encoding="utf-8")
        command = {
            "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"],
            "python": [sys.executable],
        }[shell]
        folders = {
            "RUNNER_TEMP": temporary,
            "GITHUB_WORKSPACE": workspace,
            "GITHUB_ACTION_PATH": ROOT / ".github" / "actions" / "polywheel",
            **files,
        }
        variables = {name: str(value) for name, value in {**self.variables, **env}.items()}
        if self.container is not None:
            inside = {name: self.container.inside(folder) for name, folder in folders.items()}
            command = [*command, self.container.inside(path)]
            code, printed = self.container.execute(command, {**inside, **variables})
        else:
            done = subprocess.run(
                [*command, str(path)],
                cwd=workspace,
                env={
                    **os.environ,
                    **self.environment,
                    **{name: str(folder) for name, folder in folders.items()},
                    **variables,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                check=False,
            )
            code, printed = done.returncode, done.stdout
        self.log += printed
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        if code != 0:
            return None
        return dict(outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8")))

    def _functions(self, workspace: Path, state: Mapping[str, bool]) -> dict[str, Any]:
        return {
            "startsWith": lambda text, start: text.startswith(start),
            "contains": lambda container, item: item in container,
            "fromJSON": json.loads,
            "format": lambda text, *values: text.format(*values),
            "toJSON": lambda value: json.dumps(value, indent=2),
            "hashFiles": lambda glob: "".join(sorted(map(str, workspace.glob(glob)))),
            "cancelled": lambda: False,
            "failure": lambda: state["failed"],
        }


def _runs(step: Mapping[str, Any], context: Context, functions: Any, state: Any) -> bool:
    """A step without a word on the state of the job runs where nothing has failed."""
    condition = str(step.get("if", ""))
    value = filled(condition, context, functions) if condition else True
    speaks = "cancelled()" in condition or "failure()" in condition
    return bool(value) and (speaks or not state["failed"])


def outputs(text: str) -> Iterator[tuple[str, str]]:
    """What a file ``GITHUB_OUTPUT`` says."""
    lines = iter(text.splitlines())
    for line in lines:
        name, _, end = line.partition("<<")
        value = []
        for inner in lines:
            if inner == end:
                break
            value.append(inner)
        yield name, "\n".join(value)


def _checkout(machine: Machine, _: Mapping[str, Any], workspace: Path) -> dict[str, str]:
    shutil.copytree(machine.repository, workspace, dirs_exist_ok=True)
    return {}


def _upload(machine: Machine, given: Mapping[str, Any], workspace: Path) -> dict[str, str] | None:
    """``path`` as in actions/upload-artifact: names are relative to the part of a pattern before its first ``*``.

    With several patterns, they are relative to the folder that these parts have in common.
    """
    found: list[Path] = []
    tops = []
    for pattern in given["path"].split():
        whole = workspace / pattern
        tops.append(Path(*itertools.takewhile(lambda part: "*" not in part, whole.parts)))
        for path in map(Path, sorted(glob.glob(str(whole)))):  # noqa: PTH207 - an absolute pattern
            found += [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    if not found:
        return None if given["if-no-files-found"] == "error" else {}
    top = Path(os.path.commonpath(tops))
    top = top.parent if top.is_file() else top
    assert not re.search(r'[":<>|*?\r\n\\/]', given["name"])
    machine.artifacts[given["name"]] = {
        path.relative_to(top).as_posix(): path.read_bytes() for path in found
    }
    return {}


def _download(machine: Machine, given: Mapping[str, Any], workspace: Path) -> dict[str, str]:
    for name, files in machine.artifacts.items():
        folder = workspace / given["path"]
        if "pattern" in given:
            if not any(fnmatch.fnmatchcase(name, one) for one in _braces(given["pattern"])):
                continue
            if not given.get("merge-multiple"):
                folder /= name
        elif name != given["name"]:
            continue
        for inner, content in files.items():
            (folder / inner).parent.mkdir(parents=True, exist_ok=True)
            (folder / inner).write_bytes(content)
    return {}


def _braces(pattern: str) -> Sequence[str]:
    found = re.fullmatch(r"([^{]*)\{(.*)\}(.*)", pattern)
    return [f"{found[1]}{one}{found[3]}" for one in found[2].split(",")] if found else [pattern]


_COPIES: Mapping[str, Callable[[Machine, Mapping[str, Any], Path], dict[str, str] | None]] = {
    "actions/checkout": _checkout,
    "actions/cache": lambda *_: {},
    "actions/upload-artifact": _upload,
    "actions/download-artifact": _download,
}
