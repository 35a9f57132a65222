"""Label existing wheels as the build backend would have done, and restore the original wheels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from polywheel.config.project import BuildSystem, Project, Settings, read_project
from polywheel.config.reader import Problems, parse_requirement, type_name
from polywheel.config.selection import Selection, refuse_contradictions, resolve
from polywheel.errors import ConfigError, ProviderError, WheelError
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    NAMESPACE,
    Provider,
    Variant,
    VariantMetadata,
    VariantProperty,
    check_label,
)
from polywheel.model.wheelname import WheelName
from polywheel.providers.plugins import PluginEnvironments, plugin_requirements
from polywheel.setup.profiles import choose_backend
from polywheel.setup.resolve import ResolvedSetup, resolve_setup
from polywheel.system.temporary import remove_abandoned_once
from polywheel.wheel.archive.rewrite import Change
from polywheel.wheel.dist_info import DistInfo
from polywheel.wheel.in_place import change_in_place
from polywheel.wheel.inspect import inspect_wheel, read_variant, refuse_disagreements
from polywheel.wheel.stamp import (
    Stamp,
    make_stamp,
    stamp_change,
    stamp_wheel,
    strip_variant_fields,
    unstamp_change,
    unstamp_wheel,
)

OPTIONS = {"variant": "--property", "variant-label": "--label", "null-variant": "--null"}
"""How the command spells what config settings are called in a build."""
_OBJECT = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?")
_PROVIDER = "--provider"


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelLabel:
    """One variant, and the stamp that makes a wheel a wheel of it."""

    variant: Variant
    stamp: Stamp
    distribution: str | None
    """The normalized name of the project, where its pyproject.toml says it."""


def make_label(
    selection: Selection,
    project: Project,
    *,
    validate: bool,
    fresh: bool = False,
    notify: Callable[[str], None],
) -> WheelLabel:
    """The variant that was asked for, its properties held against their providers.

    With ``validate``, plugins are asked, in an environment of their own, which is created anew with
    ``fresh``. Raises ConfigError and ProviderError.
    """
    variant = resolve(selection, project.metadata, spelling=OPTIONS.__getitem__)
    choice = BackendChoice(build_backend="", backend_path=None, profile=None)
    if project.build_system.build_backend or project.settings.build_backend:
        choice = choose_backend(project)

    def asked(python: str | None) -> ResolvedSetup:
        return resolve_setup(project, choice, variant, python=python, notify=notify)

    found = asked(None)
    if validate:
        plugins = PluginEnvironments(fresh=fresh, notify=notify)
        try:
            found = asked(plugins.python(plugin_requirements(found.providers)))
        except ProviderError as error:
            hinted = (replace(one, hint=one.hint or _NOT_ASKED) for one in error.problems)
            raise ProviderError.collected(hinted) from None
    return WheelLabel(
        variant=variant, stamp=make_stamp(project, found), distribution=_name(project)
    )


def _name(project: Project) -> str | None:
    """The normalized name of a project, where its file says it. Raises ConfigError."""
    table = project.document.get("project", {})
    if not isinstance(table, dict):
        raise ConfigError(f"expected a table, found {type_name(table)}", at=project.at("project"))
    return project.name


_NOT_ASKED = "--no-validate labels without asking plugins"


def parse_selection(properties: Sequence[str], label: str | None, *, null: bool) -> Selection:
    """What the options ask for. Raises ConfigError with all that is malformed or contradictory."""
    problems = Problems()
    texts = [text for value in properties for text in value.split(",")]
    at = OPTIONS["variant"]
    parsed = [problems.attempt(VariantProperty.parse, text, at=at) for text in texts]
    if label is not None:
        problems.attempt(check_label, label, at=OPTIONS["variant-label"])
    found = Selection(
        properties=tuple(one for one in dict.fromkeys(parsed) if one is not None),
        label=label,
        null=null,
    )
    refuse_contradictions(found, problems, spelling=OPTIONS.__getitem__)
    if not problems.found and not found.asks_for_variant:
        problems.add(
            "no variant is asked for",
            hint="give its properties with -p, the label of a declared variant with --label, "
            "or --null",
        )
    problems.settle()
    return found


def read_label_project(
    file: Path | None, selection: Selection, providers: Sequence[str], *, metadata_fields: bool
) -> Project:
    """The project that says what variants mean: its file, or what options say in its place."""
    if file is not None:
        if providers:
            raise ConfigError(
                f"{_PROVIDER} and --pyproject exclude each other",
                hint="providers are what the [variant] tables of the file say",
            )
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
    """Namespaces in order of appearance, and their providers from ``ns=requirement[@plugin-api]``."""
    problems = Problems()
    read = [problems.attempt(_provider, text) for text in texts]
    providers = {one.namespace: one for one in read if one is not None}
    if len(providers) < len([one for one in read if one is not None]):
        problems.add("a namespace has two providers", at=_PROVIDER)
    used = [prop.namespace for prop in selection.properties if prop.namespace != ABI_DEPENDENCY]
    namespaces = tuple(dict.fromkeys((*used, *providers)))
    for namespace in namespaces:
        if namespace not in providers:
            problems.add(
                f"the namespace {namespace!r} has no provider",
                at=_PROVIDER,
                hint=f"give --provider {namespace}=REQUIREMENT, or --pyproject FILE",
            )
    if not namespaces:
        problems.add(
            "no namespace is known, and a variant wheel needs one",
            hint="give --pyproject FILE, or --provider NAMESPACE=REQUIREMENT",
        )
    problems.settle()
    return VariantMetadata(namespaces=namespaces, providers=MappingProxyType(providers))


def _provider(text: str) -> Provider:
    def malformed(what: str) -> ConfigError:
        return ConfigError(
            f"malformed provider {text!r}: {what}",
            at=_PROVIDER,
            hint="expected NAMESPACE=REQUIREMENT or NAMESPACE=REQUIREMENT@MODULE:OBJECT",
        )

    namespace, equals, rest = text.partition("=")
    if not equals or not NAMESPACE.fullmatch(namespace):
        raise malformed("the namespace may contain only a-z, 0-9 and _, and must not be empty")
    if namespace == ABI_DEPENDENCY:
        raise malformed("this namespace is reserved: it has no provider")
    # A requirement may hold an @ itself, in front of a URL.
    requirement, at, plugin_api = rest.rpartition("@")
    if not at or not _OBJECT.fullmatch(plugin_api.strip()):
        requirement, plugin_api = rest, ""
    try:
        parse_requirement(requirement)
    except InvalidRequirement as error:
        raise malformed(
            f"{requirement!r} is no requirement ({str(error).splitlines()[0]})"
        ) from None
    return Provider(
        namespace=namespace,
        requires=(requirement.strip(),),
        plugin_api=plugin_api.strip() or None,
    )


def labelled_name(wheel: Path, label: WheelLabel) -> str:
    """The name of a wheel with the label. Raises WheelError for a wheel of another project."""
    name = WheelName.parse(wheel.name)
    theirs = canonicalize_name(name.distribution)
    if label.distribution is not None and theirs != label.distribution:
        raise WheelError(
            f"{wheel.name} is a wheel of {theirs!r}, and the tables are those of "
            f"{label.distribution!r}"
        )
    return str(replace(name, label=label.variant.label))


def refuse_conflicting_wheels(target: Path, variant: Variant, *, besides: Path) -> None:
    """Raise WheelError where a wheel of the release, beside the target, contradicts its variant.

    One label means one set of properties, for every wheel of a version (PEP 825, "Variant label"),
    and one set of properties has one label.
    """
    ours = WheelName.parse(target.name).release
    read: set[str | None] = set()
    for path in sorted(target.parent.glob("*.whl")):
        if path in (target, besides):
            continue
        try:
            name = WheelName.parse(path.name)
            # Of another label, one wheel says it all.
            if name.label in {None, *(read - {variant.label})} or name.release != ours:
                continue
            other = read_variant(path)
        except WheelError:
            continue  # whatever it is, it is not known to be of this release
        if other is None:
            continue
        read.add(other.label)
        if other.label == variant.label and other.properties != variant.properties:
            raise WheelError(
                f"{path.name} has the label {variant.label!r} with other properties: "
                + (", ".join(map(str, other.properties)) or "none"),
                at=str(target.parent),
                hint="one label stands for one set of properties; choose another label",
            )
        if other.label != variant.label and other.properties == variant.properties:
            raise WheelError(
                f"{path.name} has the same properties under the label {other.label!r}",
                at=str(target.parent),
                hint="one set of properties has one label in a release; take that label, or take "
                "the other wheel away",
            )


def label_wheel(
    wheel: Path,
    folder: Path,
    label: WheelLabel,
    *,
    in_place: bool = False,
    overwrite: bool = False,
    notify: Callable[[str], None],
) -> Path:
    """Write a wheel, stamped with a variant, into a folder; the path of the new wheel.

    ``in_place`` changes and renames the wheel itself. Raises WheelError: among others for a wheel that is
    there already (unless ``overwrite``), and for one with the same label and other properties.
    """
    target = folder / labelled_name(wheel, label)
    if not overwrite:
        refuse_conflicting_wheels(target, label.variant, besides=wheel)
    check = partial(refuse_disagreements, source=wheel, notify=notify)
    if in_place:

        def change(dist_info: DistInfo) -> Change:
            return stamp_change(dist_info, label.stamp, name=target.name, notify=notify)

        change_in_place(wheel, target, change, overwrite=overwrite, check=check)
    else:
        stamp_wheel(wheel, target, label.stamp, notify=notify, overwrite=overwrite, check=check)
    return target


def unlabel_wheel(
    wheel: Path,
    folder: Path,
    *,
    in_place: bool = False,
    overwrite: bool = False,
    notify: Callable[[str], None],
) -> Path | None:
    """Write the original wheel of a variant wheel into a folder; its path.

    None if it is a non-variant wheel that lies there already. ``in_place`` changes and renames the wheel
    itself. Raises WheelError.
    """
    target = folder / str(replace(WheelName.parse(wheel.name), label=None))
    if target == wheel and not inspect_wheel(wheel).stamped_in:
        return None
    check = partial(refuse_disagreements, source=wheel, notify=notify)
    if in_place:
        change_in_place(
            wheel,
            target,
            lambda dist_info: unstamp_change(dist_info, strip_variant_fields),
            overwrite=overwrite,
            check=check,
        )
    else:
        unstamp_wheel(wheel, target, strip_variant_fields, overwrite=overwrite, check=check)
    return target


def output_folder(wheel: Path, output: Path | None) -> Path:
    """The folder for a new wheel, created if it does not exist: ``output``, or that of the wheel.

    Files that killed runs left there are removed. Raises WheelError if it can't be created.
    """
    folder = output if output is not None else wheel.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WheelError(
            f"the folder can't be created: {error.strerror or error}", at=str(folder)
        ) from None
    remove_abandoned_once(folder)
    return folder
