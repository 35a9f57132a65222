"""The only step of the action: install polywheel from this checkout, and run a command.

All inputs come from environment variables: ``POLYWHEEL_ACTION_COMMAND``, ``…_ARGS`` (one
argument per line, empty lines are skipped), ``…_FOLDER`` (the working folder), and ``…_CAPTURE``
(``output``, ``summary``, or empty). Standard library only. The exit code is that of the command.
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
MAX_BYTES = 1024 * 1024
"""Limits of GitHub for a step: bytes of a summary, and bytes in UTF-16 of outputs."""


def main() -> int:
    """Run the command."""
    capture = os.environ.get("POLYWHEEL_ACTION_CAPTURE", "")
    if capture and capture not in CAPTURES:
        return fail(f"capture must be output or summary, got {capture!r}")
    command = [str(install()), "-X", "utf8", "-m", "polywheel"]
    command.append(os.environ["POLYWHEEL_ACTION_COMMAND"])
    command += arguments(os.environ.get("POLYWHEEL_ACTION_ARGS", ""))
    code, printed = run(command, Path(os.environ.get("POLYWHEEL_ACTION_FOLDER") or "."))
    if capture == "summary" or (capture and code == 0):
        if 2 * len(printed) > MAX_BYTES:
            return fail(f"the output has {len(printed)} characters, which is too much for a step")
        write_capture(capture, printed)
    return code


def arguments(text: str) -> list[str]:
    """Return the lines of a text, without empty lines."""
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def install() -> Path:
    """Install polywheel once per job. Return the Python of its environment."""
    key = f"{CHECKOUT} {sys.executable} {sys.version}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    folder = Path(os.environ["RUNNER_TEMP"]).resolve() / f"polywheel-{digest}"
    windows = sys.platform == "win32"
    python = folder / ("Scripts/python.exe" if windows else "bin/python")
    if not (folder / "ready").exists():
        print("::group::Install polywheel", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*pip, f"polywheel[cli] @ {CHECKOUT.as_uri()}"], check=True)
        (folder / "ready").touch()
        print("::endgroup::", flush=True)
    return python


def run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command. Return its exit code and stdout, which is also written to the log."""
    token = secrets.token_hex(16)
    # The runner must not interpret the output of builds as commands.
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
    """Let git trust the checkout, which belongs to another user in a container."""
    root = os.environ.get("GITHUB_WORKSPACE", "")
    settings = [("safe.directory", root), ("safe.directory", f"{root}/*")] if root else []
    count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(count + len(settings))}
    for number, (key, value) in enumerate(settings, count):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def write_capture(capture: str, printed: str) -> None:
    """Write the output or the summary of the step."""
    text = printed if capture == "summary" else f"{format_output('output', printed)}\n"
    with Path(os.environ[CAPTURES[capture]]).open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def format_output(name: str, text: str) -> str:
    """Format an output with a random delimiter, which the text can't contain."""
    end = f"end-{secrets.token_hex(16)}"
    return f"{name}<<{end}\n{text.rstrip()}\n{end}"


def fail(message: str) -> int:
    print(f"::error::polywheel: {message}", flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
