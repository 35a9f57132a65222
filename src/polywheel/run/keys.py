"""What a wheel depends on, as one digest: equal digests, equal wheels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from polywheel.model.plan import Job
from polywheel.run.environments import Environment
from polywheel.run.interpreters import Interpreter

_SHAPE = 1
_COMPILERS = {"CC": "cc", "CXX": "c++", "FC": "gfortran", "CUDACXX": "nvcc", "RUSTC": "rustc"}
_TOOLS = ("cmake", "ninja")
"""What backends take from PATH where an environment has none of its own."""
_VARIABLES = (
    *("CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "FFLAGS", "FCFLAGS", "CUDAFLAGS", "RUSTFLAGS"),
    *(
        "CPATH",
        "C_INCLUDE_PATH",
        "CPLUS_INCLUDE_PATH",
        "LIBRARY_PATH",
        "INCLUDE",
        "LIB",
        "CL",
        "LINK",
    ),
    *("PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "ARCHFLAGS", "MACOSX_DEPLOYMENT_TARGET", "SDKROOT"),
    *("_PYTHON_HOST_PLATFORM", "LDSHARED", "AR", "LD", "CUDA_HOME", "CUDA_PATH", "CUDAHOSTCXX"),
    *_COMPILERS,
)
"""Variables that compilers go by."""
_PREFIXES = (
    *("CMAKE_", "SKBUILD_", "MESON_", "SETUPTOOLS_", "DIST_EXTRA_CONFIG", "DISTUTILS_", "HATCH_"),
    *("PDM_BUILD_", "VCS_VERSIONING_", "CARGO_", "MATURIN_", "PYO3_"),
)
"""How variables begin that backends and version tools go by."""
_WITHOUT_EFFECT = ("CMAKE_BUILD_PARALLEL_LEVEL", "CARGO_BUILD_JOBS")


def digest_of(what: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON document, hexadecimal."""
    text = json.dumps({"shape": _SHAPE, **what}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def job_key(
    job: Job,
    *,
    source: str,
    polywheel: str,
    interpreter: Interpreter,
    environment: Environment,
    settings: Mapping[str, str | Sequence[str]],
    epoch: int,
    repair: str | None = None,
) -> str:
    """The key of a job: source, requirements as resolved, setup, interpreter, and tools.

    The setup follows from the source, the variant and the polywheel that reads them.
    """
    return digest_of(
        {
            "label": job.label,
            "properties": [str(one) for one in job.properties],
            "source": source,
            "polywheel": polywheel,
            "interpreter": interpreter.identity,
            "resolved": environment.resolved,
            "settings": dict(settings),
            "epoch": epoch,
            "repair": repair,
            "variables": _variables(),
            "tools": tools(),
        }
    )


def _variables() -> dict[str, str]:
    return {
        name: text
        for name, text in os.environ.items()
        if (name in _VARIABLES or name.startswith(_PREFIXES)) and name not in _WITHOUT_EFFECT
    }


@cache
def tools() -> tuple[str, ...]:
    """What the compilers here, and the build tools on PATH, say they are."""
    said = {name: os.environ.get(name) or usual for name, usual in _COMPILERS.items()}
    said |= {name: name for name in _TOOLS}
    with ThreadPoolExecutor(max_workers=len(said)) as pool:
        versions = pool.map(_version, said.values())
        return tuple(f"{name} {text}" for name, text in zip(said, versions, strict=True) if text)


def _version(command: str) -> str | None:
    """Where a command is, and what it says it is; None where it is not there.

    A compiler may have a launcher or options with it: ``ccache gcc -m32``.
    """
    words = command.split()
    path = shutil.which(words[0]) if words else None
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *words[1:], "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return f"{path}: {done.stdout.partition('Copyright')[0].strip()}"
