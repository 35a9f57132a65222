"""One wheel, start to finish: selection, variant, real backend, stamp.

There is one such road. The build hooks are its PEP 517 and PEP 660 face.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.backend.hook_call import HookCall
from polywheel.config.selection import ConfigSettings, Selection
from polywheel.errors import BuildError, ConfigError
from polywheel.model.variant import Variant
from polywheel.system.temporary import temporary_folder

_LONGEST_NAME = 255
"""Bytes of a filename, which file systems agree on."""
_LONGEST = 200
"""Letters of a backend's answer that a message shows."""

if TYPE_CHECKING:
    from polywheel.backend.real_backend import RealBackend
    from polywheel.model.setup import Entry
    from polywheel.setup.delivery import Delivery
    from polywheel.setup.resolve import ResolvedSetup


def pass_through(build: HookCall, hook: str, *arguments: object) -> object:
    """A hook that has nothing to do with variants: the real backend answers it."""
    return build.real_backend().call(hook, *arguments, build.settings)


def get_requires(build: HookCall, hook: str) -> list[str]:
    """What building needs beside ``build-system.requires``.

    For a variant these are also the plugins of the namespaces that it uses, and what its setup
    requires.
    """
    if build.variant is None:
        return _requirements(pass_through(build, hook), hook)
    from polywheel.setup.resolve import build_requirements

    if hook == "get_requires_for_build_wheel":
        _refuse_label_under_pip(build.selection)
    asked = build.resolved_setup(ask_plugins=False)
    with temporary_folder() as scratch:
        editable = hook == "get_requires_for_build_editable"
        real, settings, _ = _told(build, asked, scratch, editable=editable, quiet=True)
        found = _requirements(real.call(hook, settings), hook)
    return [*found, *(text for text in build_requirements(asked) if text not in found)]


def build_sdist(build: HookCall, sdist_directory: str) -> str:
    """The name of the sdist that the real backend makes in a folder. Raises BuildError."""
    return _name(pass_through(build, "build_sdist", sdist_directory), "build_sdist")


def prepare_metadata(build: HookCall, hook: str, metadata_directory: str) -> str:
    """The dist-info folder that the wheel will have, with the same METADATA and variant.json."""
    if build.variant is None:
        return _name(pass_through(build, hook, metadata_directory), hook)
    from polywheel.wheel.dist_info import VARIANT_JSON
    from polywheel.wheel.stamp import make_stamp

    editable = hook == "prepare_metadata_for_build_editable"
    if not editable:
        _refuse_label_under_pip(build.selection)
    asked = build.resolved_setup()
    stamp = make_stamp(build.project, asked)
    with temporary_folder() as scratch:
        real, settings, _ = _told(build, asked, scratch, editable=editable, quiet=True)
        name = _name(real.call(hook, metadata_directory, settings), hook)
    folder = Path(metadata_directory, name)
    try:
        content = (folder / "METADATA").read_bytes()
    except FileNotFoundError:
        raise BuildError(
            f"the real backend {build.choice.build_backend!r} prepared no {name}/METADATA"
        ) from None
    (folder / "METADATA").write_bytes(stamp.metadata(content))
    (folder / VARIANT_JSON).write_bytes(stamp.variant_json)
    return name


def build_wheel(
    build: HookCall, hook: str, wheel_directory: str, metadata_directory: str | None
) -> str:
    """``build_wheel`` or ``build_editable``: the filename of the wheel in ``wheel_directory``.

    Without a variant the wheel is the real backend's own. With one, it is built beside, stamped,
    and appears under its final name whole or not at all; the prepared metadata that a frontend
    passes on is ours, stamped, and is kept from the real backend.
    """
    if build.variant is None:
        real = build.real_backend()
        return _name(real.call(hook, wheel_directory, build.settings, metadata_directory), hook)
    from polywheel.wheel.stamp import make_stamp, scratch_folder, stamp_into_folder

    editable = hook == "build_editable"
    if not editable:
        _refuse_label_under_pip(build.selection)
    asked = build.resolved_setup()
    stamp = make_stamp(build.project, asked)
    tell_notes(build, asked)
    with scratch_folder(Path(wheel_directory)) as scratch:
        built = built_wheel(build, asked, scratch, hook=hook)
        # Frontends refuse an editable wheel with a label in its name.
        labelled = not editable and _filename(build.selection) == "label"
        label = build.variant.label if labelled else None
        name = stamp_into_folder(
            built, Path(wheel_directory), stamp, label=label, notify=build.notify
        )
    build.notify(f"{name}: variant {build.variant.label} ({_described(build.variant)})")
    if not labelled and not editable and build.selection.filename is None:
        build.notify(
            "under cibuildwheel the label stays out of the filename, which its later steps "
            "could not read; 'polywheel finalize' puts it back"
        )
    return name


def built_wheel(
    build: HookCall,
    asked: ResolvedSetup | None,
    scratch: Path,
    *,
    hook: str = "build_wheel",
    labelled: bool = True,
    lasting: bool = False,
) -> Path:
    """The wheel that the real backend makes in the folder ``scratch``, not stamped.

    It is told what the variant asks of it; without one it runs as if polywheel were not there.
    ``labelled``: whether wheels of variants will be stamped from it. Raises BuildError for a wheel of
    another project or version, and for one that lacks the compiled code that its variants need. With
    ``lasting``, what the backend builds in is not gone when it fails.
    """
    from polywheel.backend.built_wheel import check_built_wheel

    settings, editable = build.settings, hook == "build_editable"
    directory = scratch / "build" if lasting else None
    flags: Sequence[Entry]
    if asked is None:
        real, settings = _untold(build, directory)
        flags = ()
    else:
        real, settings, flags = _told(build, asked, scratch, editable=editable, lasting=directory)
    plain = scratch / "wheel"
    plain.mkdir()
    built = plain / _name(real.call(hook, str(plain), settings, None), hook)
    if not built.is_file():
        raise BuildError(
            f"the real backend {build.choice.build_backend!r} names a wheel "
            f"that is not there: {built.name!r}"
        )
    check_built_wheel(
        built,
        build.project,
        build.choice,
        flags=flags,
        # That of an editable wheel may lie elsewhere.
        compiled=labelled and not editable,
    )
    return built


def delivered(build: HookCall, asked: ResolvedSetup) -> Delivery:
    """What the real backend is told for a variant. Raises ConfigError."""
    from polywheel.setup.build_directory import declares_any
    from polywheel.setup.delivery import deliver

    profile = build.choice.profile
    return deliver(
        asked.setup,
        profile,
        compiler=asked.compiler,
        environment=os.environ,
        settings=build.settings or {},
        consumed_by_hooks=declares_any(build.project, profile.hooks if profile else ()),
        strict=build.project.settings.strict,
    )


def _untold(build: HookCall, lasting: Path | None) -> tuple[RealBackend, ConfigSettings | None]:
    """The real backend as it is, and its config settings; its build directory may be ``lasting``."""
    if lasting is None:
        return build.real_backend(), build.settings
    from polywheel.setup.build_directory import lasting_build_directory

    own = lasting_build_directory(
        build.choice.profile,
        build.project,
        build.settings or {},
        environment=os.environ,
        lasting=lasting,
    )
    settings = build.settings
    if own.config_settings:
        settings = {**(settings or {}), **own.config_settings}
    return build.real_backend(own.environment), settings


def _told(
    build: HookCall,
    asked: ResolvedSetup,
    scratch: Path,
    *,
    editable: bool,
    quiet: bool = False,
    lasting: Path | None = None,
) -> tuple[RealBackend, ConfigSettings | None, Sequence[Entry]]:
    """The real backend with the environment of this variant, its config settings, and the flags among
    them that are for a compiler.
    """
    from polywheel.setup.build_directory import own_build_directory

    delivery = delivered(build, asked)
    if not quiet:
        for line in delivery.warnings:
            build.notify(f"warning: {line}")
        if delivery.told:
            build.notify(f"told {build.choice.build_backend}: {'; '.join(delivery.told)}")
    environment = {**os.environ, **delivery.environment}
    own = own_build_directory(
        build.choice.profile,
        build.project,
        asked.variant,
        delivery.config_settings,
        environment=environment,
        scratch=scratch,
        editable=editable,
        told=delivery.environment,
        lasting=lasting,
    )
    settings = build.settings
    if delivery.config_settings or own.config_settings:
        theirs = {k: v for k, v in delivery.config_settings.items() if k not in own.replaced}
        settings = {**theirs, **own.config_settings}
    told = {
        **delivery.environment,
        **own.environment,
        "POLYWHEEL_VARIANT_LABEL": asked.variant.label,
        "POLYWHEEL_VARIANT_PROPERTIES": "\n".join(map(str, asked.variant.properties)),
    }
    real = build.real_backend(told, source=own.source)
    return real, settings, delivery.compiler_flags


def _filename(selection: Selection) -> str:
    """``label`` or ``plain``: what was asked for, else what the tool around the build can read."""
    # cibuildwheel sets it to 1, on the machine and in its containers.
    default = "plain" if os.environ.get("CIBUILDWHEEL") == "1" else "label"
    return selection.filename or default


def _refuse_label_under_pip(selection: Selection) -> None:
    """Say before the build what pip says after it."""
    asked_for = selection.filename is not None
    if "PIP_BUILD_TRACKER" in os.environ and not asked_for and _filename(selection) == "label":
        raise ConfigError(
            "pip takes no wheel whose filename has a variant label",
            at="config setting variant-filename",
            hint="add -Cvariant-filename=plain: the wheel is stamped, the label stays out of its "
            "name; or build with 'python -m build' or 'uv build'",
        )


def tell_notes(build: HookCall, asked: ResolvedSetup) -> None:
    """What a person should know of the wheel of one variant, once it is built."""
    for line in asked.setup.notes:
        build.notify(f"note: {line}")
    metadata = build.project.metadata
    left_out = [
        name
        for name, there in (
            ("default-priorities.feature", metadata.feature_priorities),
            ("default-priorities.property", metadata.property_priorities),
            ("enable-if", any(one.enable_if for one in metadata.providers.values())),
        )
        if there
    ]
    if left_out:
        where = "only in METADATA" if build.project.settings.metadata_fields else "nowhere"
        build.notify(
            f"note: {', '.join(left_out)}: variant.json has no place for this any more, "
            f"it is written {where}"
        )


def _described(variant: Variant) -> str:
    return ", ".join(map(str, variant.properties)) or "no properties"


def _name(answer: object, hook: str) -> str:
    """The name of a file or folder that a hook returns; a path would lead elsewhere."""
    if (
        not isinstance(answer, str)
        or not 0 < len(answer.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME
        or os.path.basename(answer) != answer
    ):
        raise BuildError(f"the real backend's {hook} returned {_brief(answer)}, not a name")
    return answer


def _requirements(answer: object, hook: str) -> list[str]:
    if not isinstance(answer, list) or not all(isinstance(item, str) for item in answer):
        raise BuildError(f"the real backend's {hook} returned {_brief(answer)}, not requirements")
    return answer


def _brief(answer: object) -> str:
    """An answer in a message, however long it is."""
    text = repr(answer)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
