"""Releases of tiny variant wheels, and the choice of uv among them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Properties = Mapping[str, Mapping[str, list[str]]]

# The providers that uv 0.13.8 answers for itself: by exactly these requirements and entry points.
X86_64 = {"requires": ["x86-64-variant-provider"]}
NVIDIA = {
    "requires": ["nvidia-variant-provider"],
    "plugin-api": "nvidia_variant_provider.plugin:NvidiaVariantPlugin",
}
BLAS = {"static-properties": {"library": ["openblas", "mkl"]}}
PROVIDERS = {"nvidia": NVIDIA, "x86_64": X86_64, "blas": BLAS}
ANY = "py3-none-any"


def level(value: str) -> Properties:
    return {"x86_64": {"level": [value]}}


def write_wheel(
    folder: Path,
    label: str | None,
    *,
    document: Mapping[str, Any] | None = None,
    tags: str = ANY,
    version: str = "1.0",
    build: str | None = None,
    headers: str = "",
) -> Path:
    """A wheel whose one module holds its filename."""
    name = "-".join(part for part in ("demo", version, build, tags, label) if part) + ".whl"
    info = f"demo-{version}.dist-info"
    files = {
        "demo.py": f"filename = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n{headers}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n",
    }
    if document is not None:
        files[f"{info}/variant.json"] = json.dumps(document)
    rows = [f"{path},{_hash(text)},{len(text)}\n" for path, text in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return folder / name


def _hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def write_release(
    folder: Path,
    variants: Mapping[str, Properties],
    *,
    namespaces: Iterable[str] = ("x86_64",),
    providers: Mapping[str, Any] = PROVIDERS,
    plain: bool = True,
    version: str = "1.0",
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A wheel for each variant, variants.json, and the non-variant wheel; returns variants.json."""
    folder.mkdir(exist_ok=True, parents=True)
    names = list(namespaces)
    document = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": names},
        "providers": {name: providers[name] for name in names},
        "variants": dict(variants),
    }
    (folder / f"demo-{version}-variants.json").write_text(json.dumps(document), encoding="utf-8")
    for label, properties in variants.items():
        own = {**document, "variants": {label: properties}}
        chosen = (tags or {}).get(label, ANY)
        write_wheel(folder, label, document=own, version=version, tags=chosen)
    if plain:
        write_wheel(folder, None, version=version)
    return document


def uv_takes(folder: Path, scratch: Path, *, env: Mapping[str, str] | None = None) -> str | None:
    """The filename of the wheel that a real uv installs out of a folder; None where it refuses."""
    target = scratch / "target"
    command = [
        *("uv", "pip", "install", "--quiet", "--preview-features", "wheel-variants"),
        *("--offline", "--no-cache", "--no-index", "--find-links", str(folder)),
        *("--python", sys.executable, "--target", str(target), "demo"),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        assert "No solution found" in done.stderr, done.stderr
        return None
    text = (target / "demo.py").read_text(encoding="utf-8")
    filename: str = text.partition("'")[2].partition("'")[0]
    return filename
