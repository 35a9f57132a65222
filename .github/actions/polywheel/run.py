"""The only step of the action: install polywheel from this checkout, and run a command.

All inputs come from environment variables: ``POLYWHEEL_ACTION_COMMAND``, ``…_ARGS`` (one
argument per line, empty lines are skipped), ``…_FOLDER`` (the working folder), and ``…_CAPTURE``
(``output``, ``summary``, or empty). Standard library only. The exit code is that of the command.

With ``…_IMAGE``, the script starts itself in a container of this image, with ``docker run``. GitHub's own
containers need an image in which its JavaScript actions run. This container needs only sh and Python.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PREFIX = "POLYWHEEL_ACTION_"
PASSED = re.compile(r"CI|SOURCE_DATE_EPOCH|(GITHUB|RUNNER|POLYWHEEL|PIP|UV|GIT_CONFIG|S?CCACHE)_.*")
"""The variables that a container gets."""
CACHE = "POLYWHEEL_CACHE_DIR"
CONTAINER_CACHE = "/polywheel-cache"
CAPTURES = {"output": "GITHUB_OUTPUT", "summary": "GITHUB_STEP_SUMMARY"}
OUTPUT_FILE = "polywheel-output.txt"
MAX_BYTES = 1024 * 1024
"""Limits of GitHub for a step: bytes of a summary, and bytes in UTF-16 of outputs."""


def main() -> int:
    """Run the command, in a container if there is an image."""
    image = os.environ.get(f"{PREFIX}IMAGE")
    if image:
        options = shlex.split(os.environ.get(f"{PREFIX}IMAGE_OPTIONS", ""))
        with subprocess.Popen(container_command(image, options)) as child, forward_signals(child):
            return child.wait()
    owner = os.environ.get(f"{PREFIX}CONTAINER") and Path(os.environ["GITHUB_WORKSPACE"]).stat()
    if not owner or os.geteuid() != 0:
        return run_command()
    # polywheel refuses a cache of another user. The next steps, outside of the container, need all files.
    change_owner([CONTAINER_CACHE], 0, 0)
    try:
        return run_command()
    finally:
        folders = [os.environ[name] for name in ("GITHUB_WORKSPACE", "RUNNER_TEMP")]
        change_owner([*folders, CONTAINER_CACHE], owner.st_uid, owner.st_gid)


def container_command(image: str, options: list[str]) -> list[str]:
    """Return the command that runs this script in a container, with the same paths."""
    cache = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "polywheel").absolute()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    folders = [os.environ["GITHUB_WORKSPACE"], os.environ["RUNNER_TEMP"], str(CHECKOUT)]
    own = {f"{PREFIX}{name}" for name in ("IMAGE", "IMAGE_OPTIONS")} | {CACHE}
    return [
        *("docker", "run", "--rm", f"--workdir={Path.cwd()}", "--entrypoint=sh"),
        *(f"--volume={folder}:{folder}" for folder in dict.fromkeys(folders)),
        *(f"--volume={cache}:{CONTAINER_CACHE}", f"--env={CACHE}={CONTAINER_CACHE}"),
        *(f"--env={name}" for name in sorted({*os.environ} - own) if PASSED.fullmatch(name)),
        *(f"--env={PREFIX}CONTAINER=true", "--env=PYTHON_VERSION"),
        *(*options, image, str(Path(__file__).with_name("start.sh"))),
    ]


def change_owner(folders: list[str], user: int, group: int) -> None:
    """Give everything in folders to a user, links themselves and not what they lead to."""
    for folder in folders:
        for place, names, files in os.walk(folder):
            for name in (".", *names, *files):
                os.chown(Path(place, name), user, group, follow_symlinks=False)


@contextmanager
def forward_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let the child end by itself, and write its report, if the runner interrupts this script."""
    if sys.platform == "win32":  # the runner interrupts all processes of a step
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda received, _: child.send_signal(received)) for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def run_command() -> int:
    """Install polywheel and run the command."""
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
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        # Some versions of pip would install a wheel of an older checkout from their cache.
        build = [*pip, "wheel", "--no-cache-dir", "--no-deps", "--wheel-dir", str(folder)]
        subprocess.run([*build, str(CHECKOUT)], check=True)
        (wheel,) = folder.glob("polywheel-*.whl")
        subprocess.run([*pip, "install", f"polywheel[cli] @ {wheel.as_uri()}"], check=True)
        (folder / "ready").touch()
        print("::endgroup::", flush=True)
    return python


def run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command. Return its exit code and stdout, which is also written to the log."""
    token = secrets.token_hex(16)
    # The runner must not interpret the output of builds as commands.
    print(f"::stop-commands::{token}", flush=True)
    printed = []
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as child,
        forward_signals(child),
    ):
        for line in child.stdout or ():
            printed.append(line)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        child.wait()
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
    """Write the output or the summary of the step. An output is in a file, too."""
    text = printed
    if capture == "output":
        path = Path(os.environ["RUNNER_TEMP"], OUTPUT_FILE)
        path.write_text(printed, encoding="utf-8", newline="\n")
        outputs = {"output": printed, "path": str(path)}
        text = "".join(f"{format_output(name, value)}\n" for name, value in outputs.items())
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
