"""The direction of dependencies: backend and cli on top, errors and the text of messages at the bottom, nobody sideways."""

from __future__ import annotations

import subprocess
import sys


def test_the_backend_starts_with_the_standard_library_and_two_packages() -> None:
    """It is installed into every isolated build: what it needs there, it must not need."""
    code = (
        "import sys; before = set(sys.modules); import polywheel.backend; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tops = {name for name in answer.split() if not name.startswith("_sysconfigdata")}
    assert tops - sys.stdlib_module_names == {"packaging", "pyproject_hooks", "polywheel"}
