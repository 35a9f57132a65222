"""The action's one step: polywheel installed from this checkout, and run.

Takes everything from the environment, as the action's inputs come: ``POLYWHEEL_ACTION_COMMAND``,
``…_ARGS`` (one argument a line, empty lines left out), ``…_FOLDER`` (where to run) and ``…_CAPTURE``
(``output``, ``summary`` or nothing). Standard library only. The exit code is that of the command.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
CAPTURES = {"output": "GITHUB_OUTPUT", "summary": "GITHUB_STEP_SUMMARY"}
MOST = 1024 * 1024
"""What GitHub takes of a step: bytes of a summary, bytes in UTF-16 of outputs."""


def main() -> int:
    """Run the command."""
    capture = os.environ.get("POLYWHEEL_ACTION_CAPTURE", "")
    if capture and capture not in CAPTURES:
        return wrong(f"capture is output or summary, not {capture!r}")
    command = [str(installed()), "-X", "utf8", "-m", "polywheel"]
    command.append(os.environ["POLYWHEEL_ACTION_COMMAND"])
    command += arguments(os.environ.get("POLYWHEEL_ACTION_ARGS", ""))
    code, printed = run(command, Path(os.environ.get("POLYWHEEL_ACTION_FOLDER") or "."))
    if capture == "summary" or (capture and code == 0):
        if 2 * len(printed) > MOST:
            return wrong(f"{len(printed)} letters are more than a step may hand on")
        hand_on(capture, printed)
    return code


def arguments(text: str) -> list[str]:
    """The arguments: the lines of a text, each as it stands."""
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def installed() -> Path:
    """The interpreter of an environment with polywheel, made once in a job."""
    about = f"{CHECKOUT} {sys.executable} {sys.version}"
    digest = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    place = Path(os.environ["RUNNER_TEMP"]).resolve() / f"polywheel-{digest}"
    windows = sys.platform == "win32"
    python = place / ("Scripts/python.exe" if windows else "bin/python")
    if not (place / "ready").exists():
        print("::group::Install polywheel", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*pip, f"polywheel[cli] @ {CHECKOUT.as_uri()}"], check=True)
        (place / "ready").touch()
        print("::endgroup::", flush=True)
    return python


def run(command: list[str], folder: Path) -> tuple[int, str]:
    """The exit code of a command, and what it printed, which is in the log as well."""
    token = secrets.token_hex(16)
    # Nothing that builds print is to be taken for a command to the runner.
    print(f"::stop-commands::{token}", flush=True)
    printed = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as child:
        for line in child.stdout or ():
            printed.append(line)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    print(f"\n::{token}::", flush=True)
    return child.returncode, b"".join(printed).decode("utf-8", errors="replace")


def environment() -> dict[str, str]:
    """In a container the checkout is another user's, and git says no unless it is told to trust it."""
    root = os.environ.get("GITHUB_WORKSPACE", "")
    said = [("safe.directory", root), ("safe.directory", f"{root}/*")] if root else []
    before = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    found = {"GIT_CONFIG_COUNT": str(before + len(said))}
    for number, (key, value) in enumerate(said, before):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def hand_on(capture: str, printed: str) -> None:
    """Make an output or a summary of what was printed."""
    text = printed if capture == "summary" else f"{delimited('output', printed)}\n"
    with Path(os.environ[CAPTURES[capture]]).open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def delimited(name: str, text: str) -> str:
    """An output of any text: nobody knows its delimiter before."""
    end = f"end-{secrets.token_hex(16)}"
    return f"{name}<<{end}\n{text.rstrip()}\n{end}"


def wrong(what: str) -> int:
    print(f"::error::polywheel: {what}", flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
