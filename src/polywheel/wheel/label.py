"""Label existing wheels as the build backend would have done, and restore the original wheels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.config.project import PYPROJECT, BuildSystem, Project, Settings, read_project
from polywheel.config.reader import Problems, Table, type_name
from polywheel.config.selection import Selection, parse_selection
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError, ProviderError, WheelError
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    NAMESPACE,
    Variant,
    VariantMetadata,
)
from polywheel.model.wheelname import WheelName
from polywheel.providers.plugins import PluginEnvironments, plugin_requirements
from polywheel.setup.profiles import choose_backend
from polywheel.setup.resolve import ResolvedSetup, resolve_setup
from polywheel.wheel.archive.rewrite import Change
from polywheel.wheel.dist_info import DistInfo
from polywheel.wheel.in_place import change_in_place
from polywheel.wheel.inspect import inspect_wheel, refuse_disagreements, release_conflicts
from polywheel.wheel.stamp import (
    Stamp,
    make_stamp,
    output_folder,
    stamp_change,
    write_changed_wheel,
)
from polywheel.wheel.unstamp import unstamp_change

_OPTIONS = {"variant": "--property", "variant-label": "--label", "null-variant": "--null"}
"""The options of the command, by the config settings of a build that they correspond to."""
_PROVIDER = "--provider"
_EXPECTED_PROVIDER = "expected NAMESPACE=REQUIREMENT or NAMESPACE=REQUIREMENT@MODULE:OBJECT"
_NO_VALIDATE = "use --no-validate to label without running plugins"
_OBJECT = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?")


def label_option(key: str) -> str:
    """Return the option for a config setting."""
    return _OPTIONS.get(key, key)


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelLabel:
    """A variant, and the stamp that makes a wheel a variant wheel."""

    variant: Variant
    stamp: Stamp
    distribution: str | None
    """The normalized name of the project, if its pyproject.toml has it."""


def make_label(
    variant: Variant,
    project: Project,
    *,
    validate: bool,
    fresh: bool,
    notify: Callable[[str], None],
) -> WheelLabel:
    """Return the label for a variant of a project, after a check of its properties.

    With ``validate``, plugins check the properties too. They run in an environment of their own, which
    ``fresh`` creates again. Raises ConfigError and ProviderError.
    """
    choice = BackendChoice(build_backend="", backend_path=None, profile=None)
    if project.build_system.build_backend or project.settings.build_backend:
        choice = choose_backend(project)

    def resolve_with(python: str | None) -> ResolvedSetup:
        return resolve_setup(project, choice, variant, python=python, notify=notify)

    resolved = resolve_with(None)
    if validate:
        plugins = PluginEnvironments(fresh=fresh, notify=notify)
        try:
            resolved = resolve_with(plugins.python(plugin_requirements(resolved.providers)))
        except ProviderError as error:
            raise ProviderError.collected(
                replace(problem, hint=problem.hint or _NO_VALIDATE) for problem in error.problems
            ) from None
    table = project.document.get("project", {})
    if not isinstance(table, dict):
        raise ConfigError(f"expected a table, found {type_name(table)}", at=project.at("project"))
    stamp = make_stamp(project, resolved)
    return WheelLabel(variant=variant, stamp=stamp, distribution=project.name)


def parse_label_options(properties: Sequence[str], label: str | None, *, null: bool) -> Selection:
    """Parse the selection options. Raises ConfigError with all malformed or contradictory options."""
    settings: dict[str, str | Sequence[str]] = {"variant": properties}
    if label is not None:
        settings["variant-label"] = label
    if null:
        settings["null-variant"] = "true"
    selection, _ = parse_selection(settings, spelling=label_option)
    if not selection.asks_for_variant:
        raise ConfigError(
            "no variant is selected",
            hint="use -p for properties, --label for the label of a declared variant, or --null",
        )
    return selection


def read_label_project(
    file: Path | None, selection: Selection, providers: Sequence[str], *, metadata_fields: bool
) -> Project:
    """Return the project with the definitions of variants: from its file, or from the options.

    Raises ConfigError.
    """
    if file is not None:
        if providers:
            raise ConfigError(
                f"{_PROVIDER} can't be used with --pyproject",
                hint="providers come from the [variant] tables of the file",
            )
        if file.is_dir():
            file /= PYPROJECT
        project = read_project(file.parent, variants=True, name=file.name)
    else:
        project = Project(
            source=Path.cwd(),
            build_system=BuildSystem(),
            settings=Settings(),
            metadata=_from_options(selection, providers),
            document={},
            file="command line",
        )
    if metadata_fields:
        return project
    return replace(project, settings=replace(project.settings, metadata_fields=False))


def _from_options(selection: Selection, texts: Sequence[str]) -> VariantMetadata:
    """Return namespaces in order of appearance, and providers from ``ns=requirement[@plugin-api]``."""
    problems = Problems()
    providers: dict[str, dict[str, str | list[str]]] = {}
    for text in texts:
        namespace, equals, rest = text.partition("=")
        # A requirement may contain an @ itself, before a URL.
        requirement, at, plugin_api = rest.rpartition("@")
        has_plugin_api = at and _OBJECT.fullmatch(plugin_api.strip())
        if not equals or not NAMESPACE.fullmatch(namespace):
            what = f"malformed provider {text!r}"
            what += ": a namespace consists of a-z, 0-9, and _" if equals else ""
            problems.add(what, at=_PROVIDER, hint=_EXPECTED_PROVIDER)
        elif namespace in providers:
            problems.add(f"the namespace {namespace!r} has two providers", at=_PROVIDER)
        elif has_plugin_api:
            providers[namespace] = {
                "requires": [requirement.strip()],
                "plugin-api": plugin_api.strip(),
            }
        else:
            providers[namespace] = {"requires": [rest.strip()]}
    used = [prop.namespace for prop in selection.properties if prop.namespace != ABI_DEPENDENCY]
    for namespace in dict.fromkeys(used):
        if namespace not in providers:
            problems.add(
                f"the namespace {namespace!r} has no provider",
                at=_PROVIDER,
                hint=f"use --provider {namespace}=REQUIREMENT, or --pyproject FILE",
            )
    if not used and not providers:
        problems.add(
            "a variant wheel needs at least one namespace",
            hint="use --pyproject FILE, or --provider NAMESPACE=REQUIREMENT",
        )
    namespaces = [name for name in dict.fromkeys((*used, *providers)) if name in providers]
    document = {"default-priorities": {"namespace": namespaces}, "providers": providers}
    table = Table(document, _PROVIDER, (), Problems())
    metadata = read_variant_table(table)
    # The keys of this document are not on the command line.
    problems.found += [
        replace(problem, at=_PROVIDER, hint=problem.hint or _EXPECTED_PROVIDER)
        for problem in table.problems.found
    ]
    problems.raise_all()
    return metadata


def _labelled_name(wheel: Path, label: WheelLabel) -> str:
    """Return the name of a wheel with the label. Raises WheelError for a wheel of another project."""
    name = WheelName.parse(wheel.name)
    distribution = canonicalize_name(name.distribution)
    if label.distribution is not None and distribution != label.distribution:
        raise WheelError(
            f"{wheel.name} is a wheel of {distribution!r}; expected {label.distribution!r}, the "
            "project of the [variant] tables"
        )
    return name.with_label(label.variant.label)


def label_wheel(
    wheel: Path,
    output: Path | None,
    label: WheelLabel,
    *,
    in_place: bool = False,
    overwrite: bool,
    notify: Callable[[str], None],
) -> Path:
    """Write a wheel with a variant label and metadata. Return the path of the new wheel.

    It is written to the folder ``output``, by default the folder of the wheel. ``in_place`` changes and renames
    the wheel itself. Raises WheelError. Without ``overwrite``, that includes an existing wheel of that name, and
    a wheel of the release that contradicts the variant.
    """
    target = output_folder(wheel, output) / _labelled_name(wheel, label)
    if not overwrite:
        release = WheelName.parse(target.name).release
        for problem, paths in release_conflicts(
            {target: label.variant}, release, [target.parent], besides=[wheel]
        ):
            if str(target) in paths:
                raise WheelError.collected([problem])

    def change(dist_info: DistInfo) -> Change:
        return stamp_change(dist_info, label.stamp, name=target.name, notify=notify)

    write = change_in_place if in_place else write_changed_wheel
    check = partial(refuse_disagreements, source=wheel, notify=notify)
    write(wheel, target, change, overwrite=overwrite, check=check)
    return target


def unlabel_wheel(
    wheel: Path,
    output: Path | None,
    *,
    in_place: bool = False,
    overwrite: bool,
    notify: Callable[[str], None],
) -> Path | None:
    """Write the original wheel of a variant wheel. Return its path.

    It is written to the folder ``output``, by default the folder of the wheel. Returns None if the wheel is a
    non-variant wheel and in that folder already. ``in_place`` changes and renames the wheel itself. Raises
    WheelError.
    """
    target = output_folder(wheel, output) / WheelName.parse(wheel.name).with_label(None)
    if target == wheel and not inspect_wheel(wheel).stamped_in:
        return None
    write = change_in_place if in_place else write_changed_wheel
    check = partial(refuse_disagreements, source=wheel, notify=notify)
    write(wheel, target, unstamp_change, overwrite=overwrite, check=check)
    return target
