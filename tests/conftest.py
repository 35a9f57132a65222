"""What all tests share: where the checkout is, and what may be missing on a machine."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Each test starts processes that would compile all they import again: a third of the time of all.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Meson uses ccache if it is there, and tests would not compile.
os.environ["CCACHE_DISABLE"] = "1"
os.environ.pop("POLYWHEEL_COMPILER_CACHE", None)

# How long an example takes says more about the other work on a machine than about polywheel.
settings.register_profile("polywheel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("polywheel")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def action_script(root: Path) -> ModuleType:
    """The script of the composite action."""
    path = root / ".github" / "actions" / "polywheel" / "run.py"
    spec = importlib.util.spec_from_file_location("polywheel_action", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope="session")
def _environment() -> None:
    """Tools of the test environment first, downloads kept in the checkout, no flags from outside."""
    # Each build asks CMake for its version. In the folder of scripts, it is a script that takes longer.
    cmake = importlib.util.find_spec("cmake")
    folders = [Path(cmake.origin).parent / "data" / "bin"] if cmake and cmake.origin else []
    paths = [str(folder) for folder in (*folders, Path(sys.executable).parent)]
    os.environ["PATH"] = os.pathsep.join([*paths, os.environ["PATH"]])
    os.environ["PIP_CACHE_DIR"] = str(ROOT / ".cache" / "pip")
    os.environ["UV_CACHE_DIR"] = str(ROOT / ".cache" / "uv")
    for name in ("CFLAGS", "CXXFLAGS", "LDFLAGS", "SOURCE_DATE_EPOCH", "DIST_EXTRA_CONFIG"):
        os.environ.pop(name, None)
    for name in ("MAKEFLAGS", "MFLAGS"):  # from `make test PYTEST_ARGS=…`
        os.environ.pop(name, None)
    # Whoever starts the tests in the background, or under nohup, hands on signals that are ignored.
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            default = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, default)
