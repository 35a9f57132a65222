"""What is decided otherwise on Windows and macOS: the decisions, since neither runs here."""

from __future__ import annotations

import subprocess
import sys


def test_only_windows_needs_ctypes() -> None:
    """A Python may lack it: build environments have the user's own."""
    code = (
        "import sys; sys.modules['ctypes'] = None\n"
        "import polywheel.run.worker.steps, polywheel.run.orchestrator, polywheel.providers.client\n"
        "import polywheel.backend.pipeline, polywheel.setup.resolve"
    )
    assert sys.platform == "win32" or subprocess.run([sys.executable, "-c", code], check=True)
