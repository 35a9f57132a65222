"""The modules that polywheel imports when it starts."""

from __future__ import annotations

import subprocess
import sys


def modules_after(code: str) -> set[str]:
    """The modules that this code imports in a new interpreter."""
    code = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_the_backend_starts_with_the_standard_library_and_two_packages() -> None:
    """It is installed into every isolated build, and must not need other packages there."""
    names = {name.partition(".")[0] for name in modules_after("import polywheel.backend")}
    others = {name for name in names if not name.startswith("_sysconfigdata")}
    assert others - sys.stdlib_module_names == {"packaging", "pyproject_hooks", "polywheel"}


def test_the_backend_does_without_the_generators_of_schema_and_reference() -> None:
    import polywheel.config.reference
    import polywheel.config.schema

    generators = {polywheel.config.reference.__name__, polywheel.config.schema.__name__}
    loaded = modules_after("import polywheel.backend, polywheel.cli")
    assert "polywheel.config.project" in loaded
    assert not generators & loaded


def test_only_windows_needs_ctypes() -> None:
    """A Python may lack ctypes, and build environments use the Python of the user."""
    code = (
        "sys.modules['ctypes'] = None\n"
        "import polywheel.run.worker.steps, polywheel.run.orchestrator, polywheel.providers.client\n"
        "import polywheel.backend.pipeline, polywheel.setup.resolve"
    )
    assert sys.platform == "win32" or modules_after(code)
