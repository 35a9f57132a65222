"""Call the hooks of the real backend, through pyproject-hooks, in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyproject_hooks import (
    BackendUnavailable,
    BuildBackendHookCaller,
    HookMissing,
    UnsupportedOperation,
)

from polywheel.errors import BuildError, ConfigError, UnsupportedError
from polywheel.model.setup import BackendChoice
from polywheel.system.files import MAX_ANSWER, read_regular
from polywheel.system.temporary import temporary_folder

OPTIONAL_HOOKS = (
    "get_requires_for_build_wheel",
    "get_requires_for_build_sdist",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "build_editable",
)
"""The optional hooks of PEP 517 and PEP 660."""

_GUARD = "_POLYWHEEL_BUILDING"
_DESCRIBE = Path(__file__).with_name("_describe_backend.py")


@dataclass(frozen=True, slots=True)
class RealBackend:
    """The hooks of the real backend of a project."""

    source: Path
    choice: BackendChoice
    environment: Mapping[str, str] = field(default_factory=dict)
    """More environment variables for its processes."""

    keep_open: Sequence[int] = ()
    """File descriptors that its processes inherit."""

    def hooks(self, names: Iterable[str]) -> frozenset[str]:
        """The hooks among ``names`` that the real backend has. Raises BuildError, ConfigError."""
        with temporary_folder() as folder:
            result_file = folder / "hooks.json"
            command = [sys.executable, str(_DESCRIBE), str(result_file), self.choice.build_backend]
            backend_path = json.dumps(self.choice.backend_path or [])
            try:
                variables = {"_POLYWHEEL_BACKEND_PATH": backend_path}
                self._run([*command, *names], extra_environ=variables)
            except subprocess.CalledProcessError as error:
                raise BuildError(
                    f"{self._name} fails when it is imported ({_describe_exit(error.returncode)})",
                    hint="see its output above",
                ) from None
            try:
                result = json.loads(read_regular(result_file, limit=MAX_ANSWER, follow_links=False))
                if "error" in result:
                    raise self._import_error(str(result["error"]))
                return frozenset(map(str, result["hooks"]))
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                raise BuildError(
                    f"{self._name} ended without a result when it was imported"
                ) from None

    def call(self, hook: str, *arguments: object) -> object:
        """Call a hook by name, with its positional arguments, and return its result.

        Its output goes to the output of this process. Raises BuildError if the backend can't be
        imported, lacks the hook, or fails, and UnsupportedError if it raises
        ``UnsupportedOperation``. Raises ConfigError for a wrong ``backend-path``.
        """
        try:
            caller = BuildBackendHookCaller(
                str(self.source),
                self.choice.build_backend,
                backend_path=self.choice.backend_path,
                runner=self._run,
                python_executable=sys.executable,
            )
        except ValueError as error:  # a backend-path that is absolute or outside of the project
            raise ConfigError(str(error), at=self.choice.backend_path_at) from None
        try:
            if hook.startswith("prepare_metadata"):
                return getattr(caller, hook)(*arguments, _allow_fallback=False)
            return getattr(caller, hook)(*arguments)
        except FileNotFoundError:  # its process ended with exit code 0, and without a result
            raise BuildError(f"{self._name} ended in {hook} without a result") from None
        except BackendUnavailable as error:
            raise self._import_error(error.traceback or str(error)) from None
        except HookMissing:
            raise BuildError(f"{self._name} has no hook {hook}") from None
        except UnsupportedOperation as error:
            last = str(error).strip().splitlines()
            raise UnsupportedError(
                f"{self._name} can't do {hook} here: {last[-1] if last else 'no reason given'}"
            ) from None
        except subprocess.CalledProcessError as error:
            raise BuildError(
                f"{self._name} failed in {hook} ({_describe_exit(error.returncode)})",
                hint="see its output above",
            ) from None

    @property
    def _name(self) -> str:
        return f"the real backend {self.choice.build_backend!r}"

    def _import_error(self, reason: str) -> BuildError:
        lines = reason.strip().splitlines()
        profile, folders = self.choice.profile, self.choice.backend_path
        hint = None
        if folders:
            hint = (
                f"it must be in a folder of backend-path ({', '.join(folders)}); remove backend-path if it is "
                "an installed package"
            )
        elif profile and profile.packages:
            hint = f"add {profile.packages[0]!r} to build-system.requires"
        return BuildError(
            f"{self._name} can't be imported: {lines[-1] if lines else 'no reason given'}",
            at=self.choice.at,
            hint=hint,
        )

    def _run(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        source = os.path.realpath(self.source)
        if os.environ.get(_GUARD) == source:
            raise ConfigError(
                f"{self._name} calls polywheel again for the same project, which would never end",
                at=self.choice.at,
                hint="set it to the backend that builds this project",
            )
        environment = {**os.environ, **self.environment, **(extra_environ or {}), _GUARD: source}
        sys.stdout.flush()
        subprocess.run(
            cmd, cwd=cwd or self.source, env=environment, pass_fds=tuple(self.keep_open), check=True
        )


def _describe_exit(returncode: int) -> str:
    return f"killed by signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
