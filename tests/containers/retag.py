"""A repair tool as auditwheel is: it reads the name of a wheel, and writes one with another tag.

``python retag.py [-w DIR | --wheel-dir=DIR | DIR] WHEEL``; what it does wrong on demand is in RETAG:
fail, nothing, two, drop (variant.json), other (variant), stale (RECORD). Standard library and packaging.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path

from packaging.utils import parse_wheel_filename

TAG = "manylinux_2_17_x86_64"


def main() -> int:
    wrong = os.environ.get("RETAG", "")
    folder, wheel = (Path(one.removeprefix("--wheel-dir=")) for one in sys.argv[-2:])
    name, version, _, _ = parse_wheel_filename(wheel.name)  # as strict as auditwheel
    sys.stdout.write(f"retag: {wheel.name}\n")
    if wrong == "fail":
        return 7
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    del files[f"{info}/RECORD"]
    old = wheel.name.removesuffix(".whl").rpartition("-")[2].encode()
    files[f"{info}/WHEEL"] = files[f"{info}/WHEEL"].replace(old, TAG.encode())
    if wrong == "drop":
        del files[f"{info}/variant.json"]
    if wrong == "other":
        document = json.loads(files[f"{info}/variant.json"])
        document["variants"] = {"other": {"blas": {"library": ["openblas"]}}}
        files[f"{info}/variant.json"] = json.dumps(document).encode()
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(content)}\n"
    if wrong == "stale":
        files[f"{info}/METADATA"] += b"License: MIT\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    for number in range({"nothing": 0, "two": 2}.get(wrong, 1)):
        tag = TAG.replace("17", str(17 + number))
        with zipfile.ZipFile(folder / wheel.name.replace(old.decode(), tag), "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    (folder / "report.txt").write_text("retagged", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
