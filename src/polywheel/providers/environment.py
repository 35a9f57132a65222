"""Isolated environments for plugins, for when nothing is being built."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from packaging.requirements import InvalidRequirement

from polywheel.errors import BuildError, ProviderError


class PluginEnvironments:
    """Environments with plugins, for the Python that runs this; created once and kept in the cache.

    With ``fresh`` each is created anew, once in the life of this object. An environment may be used
    for as long as this object lives: until then no other process replaces it.
    """

    def __init__(self, *, fresh: bool = False, notify: Callable[[str], None]) -> None:
        # Most commands only might install plugins.
        from polywheel.environments.store import Environments, this_interpreter

        self._environments = Environments("providers", fresh=fresh, notify=notify)
        self._interpreter = this_interpreter()

    def python(self, requirements: Sequence[str]) -> str:
        """The interpreter of the environment with these requirements; this one if there are none.

        Raises ProviderError, and ConfigError where the settings for installers can't be followed.
        """
        if not requirements:
            return sys.executable
        try:
            return self._environments.get(self._interpreter, requirements).python
        except InvalidRequirement as error:
            raise ProviderError(
                f"the provider plugins can't be installed: {str(error).splitlines()[0]}"
            ) from None
        except BuildError as error:
            (problem,) = error.problems
            raise ProviderError(
                f"the provider plugins can't be installed: {problem.what}",
                at=problem.at,
                hint=problem.hint or without_plugin("NAMESPACE"),
                output=problem.output,
            ) from None


def without_plugin(namespace: str) -> str:
    """A hint for a plugin that can't be installed: installers may carry the provider themselves."""
    return (
        f'if no index has the plugin: [tool.polywheel.providers.{namespace}] query = "preset" checks '
        "properties against the preset and installs nothing"
    )
