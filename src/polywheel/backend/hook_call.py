"""A call of a build hook: the project, the selected variant, and the real backend."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.backend.real_backend import RealBackend
from polywheel.config.project import Project, config_file, read_project
from polywheel.config.selection import ConfigSettings, Selection, parse_selection
from polywheel.errors import ConfigError
from polywheel.matrix.selected_variant import resolve_variant
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import Variant
from polywheel.setup.profiles import choose_backend

if TYPE_CHECKING:
    from polywheel.setup.resolve import ResolvedSetup


@dataclass(frozen=True, kw_only=True, slots=True)
class HookCall:
    """A call of a build hook: the project, the selected variant, and the real backend."""

    project: Project
    choice: BackendChoice
    selection: Selection
    settings: ConfigSettings | None
    """The config settings for the real backend; None if the frontend passed none."""

    variant: Variant | None
    """None if no variant is selected."""

    notify: Callable[[str], None]
    hook: str = "build_wheel"
    keep_open: tuple[int, ...] = ()
    """File descriptors that the processes of the real backend inherit."""

    @classmethod
    def read(
        cls,
        source: Path,
        config_settings: ConfigSettings | None,
        *,
        notify: Callable[[str], None],
        hook: str = "build_wheel",
        expand_matrix: bool = True,
        keep_open: tuple[int, ...] = (),
    ) -> HookCall:
        """Read the project and the config settings. Raises ConfigError before anything runs.

        A hook for sdists has no variant, even if the config settings select one: frontends pass
        them the settings of the wheel too. With ``expand_matrix``, the variants of the matrix can
        be selected, not only the declared ones.
        """
        selection, settings = parse_selection(config_settings)
        has_variant = selection.asks_for_variant and not hook.endswith("sdist")
        project = read_project(source, variants=has_variant, config=config_file())
        return cls(
            project=project,
            choice=choose_backend(project),
            selection=selection,
            settings=settings,
            variant=resolve_variant(selection, project, expand_matrix=expand_matrix)
            if has_variant
            else None,
            notify=notify,
            hook=hook,
            keep_open=keep_open,
        )

    @property
    def is_editable(self) -> bool:
        return self.hook.endswith("editable")

    def real_backend(
        self, environment: Mapping[str, str] | None = None, *, source: Path | None = None
    ) -> RealBackend:
        """The real backend, with more environment variables, or for a copy of the source."""
        return RealBackend(
            source or self.project.source, self.choice, environment or {}, self.keep_open
        )

    def resolved_setup(self, *, ask_plugins: bool = True) -> ResolvedSetup:
        """The build setup of the variant.

        With ``ask_plugins``, the plugins that are installed beside this interpreter contribute.
        """
        from polywheel.setup.resolve import resolve_setup

        if self.variant is None:
            raise ValueError("no variant is selected")
        return resolve_setup(
            self.project,
            self.choice,
            self.variant,
            python=sys.executable if ask_plugins else None,
            notify=self.notify,
        )


def needs_requirements(source: Path) -> bool:
    """Whether variants of a project have requirements: plugins, or the ``requires`` of setup rules.

    Then polywheel has the hooks for requirements of wheels even if the real backend lacks them: to a frontend, a
    missing hook means no requirements.
    """
    from polywheel.setup.resolve import has_requirements

    try:
        project = read_project(source, variants=True, config=config_file())
        if has_requirements(project):
            return True
    except ConfigError:
        return False  # an error for the build of a variant only, which reads the project again
    plugins = [provider.requires for provider in project.settings.providers.values()]
    for provider in project.metadata.providers.values():
        plugins += [provider.requires, provider.build_requires]
    return any(plugins)
