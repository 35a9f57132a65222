"""A fake build backend. Tests write this file into their projects, and append what they need.

It needs no environment worth speaking of: it imports only the standard library. What a build does is what the
variable ``DEMO_DOES`` says, which the setup rules of a variant set: ``fail``, ``wait`` or ``wait …`` (for minutes,
with a child), ``another tag``, ``fill`` (a disk), ``wheel NAME-VERSION/DIST-INFO/METADATA`` (a wheel with these
names and versions); anything else is only recorded. Builds are recorded in the folder ``DEMO_FOLDER``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import pathlib
import sys
import tarfile
import time
import zipfile
from collections.abc import Mapping

NAME, VERSION = "demo", "1.0"

Files = Mapping[str, "str | bytes"]


def wheel_content(
    files: Files,
    *,
    project: str = "",
    info: str = "",
    metadata: str = "",
    tag: str = "py3-none-any",
) -> bytes:
    """A wheel with these files. ``info`` and ``metadata``: other names and versions in dist-info."""
    name, _, version = (metadata or project or f"{NAME}-{VERSION}").partition("-")
    info = f"{info or project or f'{NAME}-{VERSION}'}.dist-info"
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in members.items():
            content = text.encode() if isinstance(text, str) else text
            archive.writestr(zipfile.ZipInfo(path), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record += f"{path},sha256={digest},{len(content)}\n"
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), f"{record}{info}/RECORD,,\n")
    return buffer.getvalue()


def write_wheel(
    folder: str, files: Files, *, project: str = "", tag: str = "py3-none-any", **names: str
) -> str:
    """Write a wheel; return its filename, as ``build_wheel`` does."""
    filename = f"{project or f'{NAME}-{VERSION}'}-{tag}.whl"
    content = wheel_content(files, project=project, tag=tag, **names)
    pathlib.Path(folder, filename).write_bytes(content)
    return filename


def write_sdist(folder: str, files: Files) -> str:
    """Write an sdist; return its filename, as ``build_sdist`` does."""
    top = f"{NAME}-{VERSION}"
    with tarfile.open(pathlib.Path(folder, f"{top}.tar.gz"), "w:gz") as archive:
        for path, text in sorted(files.items()):
            content = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return f"{top}.tar.gz"


def note(name: str, line: str) -> None:
    """Append a line to a file in DEMO_FOLDER, if there is such a folder."""
    if "DEMO_FOLDER" in os.environ:
        with pathlib.Path(os.environ["DEMO_FOLDER"], name).open("a") as file:
            file.write(line + "\n")


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    does = os.environ.get("DEMO_DOES", "nothing special")
    print("demo: this one does", does, flush=True)
    note("begun", does)
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
        pathlib.Path("big").write_bytes(b"x" * (64 << 20))
    time.sleep(float(os.environ.get("DEMO_SECONDS", "0")))
    files = {f"{NAME}/__init__.py": f"does = {does!r}\n"}
    if os.environ.get("DEMO_RANDOM"):
        files[f"{NAME}/random.txt"] = os.urandom(16).hex()
    if does == "another tag":
        files[f"{NAME}/_{NAME}.pyd"] = "MZ: a program for Windows begins so"
        return write_wheel(wheel_directory, files, tag="cp311-cp311-win_amd64")
    if does.startswith("wheel "):
        project, info, metadata = does.removeprefix("wheel ").split("/")
        return write_wheel(wheel_directory, files, project=project, info=info, metadata=metadata)
    return write_wheel(wheel_directory, files)
