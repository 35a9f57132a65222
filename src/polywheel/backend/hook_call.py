"""One call of a build hook: the project, what was asked of it, and who really builds it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.backend.real_backend import RealBackend
from polywheel.config.project import Project, config_file, read_project
from polywheel.config.selection import ConfigSettings, Selection, parse_selection, resolve
from polywheel.errors import ConfigError
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import NULL_LABEL, Variant, VariantProperty
from polywheel.setup.profiles import choose_backend

if TYPE_CHECKING:
    from polywheel.setup.resolve import ResolvedSetup


Notify = Callable[[str], None]
MoreVariants = Callable[[Project, tuple[VariantProperty, ...]], Mapping[str, Variant]]
"""The variants of a project's matrix; where there is one with these properties, it is among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HookCall:
    """One call of a hook: the project, what was asked of it, and who really builds it."""

    project: Project
    choice: BackendChoice
    selection: Selection
    settings: ConfigSettings | None
    """The config settings that are the real backend's own; None where the frontend gave none."""

    variant: Variant | None
    """None where no variant was asked for."""

    notify: Notify
    keep_open: tuple[int, ...] = ()
    """File descriptors that the processes of the real backend inherit."""

    @classmethod
    def begin(
        cls,
        source: Path,
        config_settings: ConfigSettings | None,
        *,
        notify: Notify,
        more: MoreVariants,
        sdist: bool = False,
        keep_open: tuple[int, ...] = (),
    ) -> HookCall:
        """Read the project and the config settings. Raises ConfigError before anything runs.

        An ``sdist`` is of no variant, whatever the config settings ask of the wheel. ``more`` gives
        the variants of the project's matrix, where the declared ones do not decide which it is.
        """
        selection, settings = parse_selection(config_settings)
        asked = selection.asks_for_variant and not sdist
        project = read_project(source, variants=asked, config=config_file())
        return cls(
            project=project,
            choice=choose_backend(project),
            selection=selection,
            settings=settings,
            variant=_resolved(selection, project, more) if asked else None,
            notify=notify,
            keep_open=keep_open,
        )

    def real_backend(
        self, environment: Mapping[str, str] | None = None, *, source: Path | None = None
    ) -> RealBackend:
        """The real backend, with more environment variables, or for a copy of the source."""
        return RealBackend(
            source or self.project.source, self.choice, environment, keep_open=self.keep_open
        )

    def resolved_setup(self, *, ask_plugins: bool = True) -> ResolvedSetup:
        """The build setup of the variant.

        With ``ask_plugins``, the plugins that are installed beside this interpreter contribute.
        """
        from polywheel.setup.resolve import resolve_setup

        if self.variant is None:
            raise ValueError("no variant was asked for")
        return resolve_setup(
            self.project,
            self.choice,
            self.variant,
            python=sys.executable if ask_plugins else None,
            notify=self.notify,
        )


def _resolved(selection: Selection, project: Project, more: MoreVariants) -> Variant:
    """The variant that was asked for. The matrix is expanded only where its labels may count."""
    metadata, label = project.metadata, selection.label
    properties = tuple(sorted(set(selection.properties)))
    if properties:
        declared = [one for one in metadata.variants.values() if one.properties == properties]
        decided = any(label in {None, one.label} for one in declared)
    else:
        decided = selection.null or label == NULL_LABEL or label in metadata.variants
    if project.settings.has_matrix and not decided:
        metadata = replace(metadata, variants={**more(project, properties), **metadata.variants})
    return resolve(selection, metadata)


def optional_hooks(source: Path) -> frozenset[str]:
    """The optional hooks that the project's real backend has."""
    project = read_project(source, variants=False, config=config_file())
    return RealBackend(project.source, choose_backend(project)).hooks()


def needs_requirements(source: Path) -> bool:
    """Whether variants of a project have requirements of their own: plugins, or what rules require.

    Then ``get_requires_for_build_wheel`` has an answer whether the real backend has that hook or
    not; a frontend takes a missing one for an empty answer.
    """
    try:
        project = read_project(source, variants=True, config=config_file())
    except ConfigError:
        return False  # whoever asks for a variant is told; a plain build goes on
    plugins = [*(one.requires for one in project.settings.providers.values())]
    for provider in project.metadata.providers.values():
        plugins += [provider.requires, provider.build_requires]
    return any(plugins) or any(
        fields.requires for rule in project.settings.setup for fields in rule.all_fields
    )
