"""Build one wheel: selection, variant, build setup, real backend, stamp.

The build hooks and the workers of ``polywheel build`` use the same functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.backend.compiler_cache import launchers_of, stable_folder, uses_compiler_cache
from polywheel.backend.hook_call import HookCall
from polywheel.backend.requirements import (
    ask_again,
    ask_early,
    check_installed,
    with_hint_about_variants,
)
from polywheel.config.selection import ConfigSettings, Selection
from polywheel.errors import BuildError, ConfigError, UnsupportedError
from polywheel.model.variant import variant_variables
from polywheel.system.temporary import temporary_folder

_MAX_NAME = 255
"""Bytes of a filename that all file systems allow."""
_MAX_SHOWN = 200
"""Characters of a return value that a message shows."""

if TYPE_CHECKING:
    from polywheel.backend.real_backend import RealBackend
    from polywheel.model.setup import Entry
    from polywheel.setup.flags_and_settings import Delivery
    from polywheel.setup.resolve import ResolvedSetup


def get_requires(call: HookCall) -> list[str]:
    """Return the requirements of a build beside ``build-system.requires``. Raises BuildError.

    For a variant they include the plugins of its namespaces, and the requirements in its build setup.
    """
    if call.variant is None:
        try:
            answer = call.real_backend().call(call.hook, call.settings)
        except UnsupportedError:
            raise
        except BuildError as error:
            raise with_hint_about_variants(call, error) from None
        return _requirements(call, answer)
    from polywheel.setup.resolve import build_requirements

    _refuse_label_under_pip(call)
    resolved = call.resolved_setup(ask_plugins=False)
    requires = ask_early(call, lambda: _ask(call, resolved), resolved.setup.requires)
    return [*requires, *(text for text in build_requirements(resolved) if text not in requires)]


def _ask(call: HookCall, resolved: ResolvedSetup) -> list[str]:
    """The requirements of the real backend for a variant. Raises BuildError."""
    with temporary_folder() as scratch:
        real, settings, _ = _variant_backend(call, resolved, scratch)
        return _requirements(call, real.call(call.hook, settings))


def _ask_again(call: HookCall, resolved: ResolvedSetup) -> None:
    """Ask the real backend if it could not answer before. Raises BuildError."""
    if resolved.setup.requires:
        hook = f"get_requires_for_build_{'editable' if call.is_editable else 'wheel'}"
        ask_again(call, lambda: _ask(replace(call, hook=hook), resolved), resolved.setup.requires)


def build_sdist(call: HookCall, sdist_directory: str) -> str:
    """Make an sdist with the real backend, and return its filename. Raises BuildError."""
    return _filename(call, call.real_backend().call(call.hook, sdist_directory, call.settings))


def prepare_metadata(call: HookCall, metadata_directory: str) -> str:
    """Prepare the dist-info folder of the wheel, and return its name. Raises BuildError.

    METADATA and variant.json are the same as in the wheel.
    """
    if call.variant is None:
        name = call.real_backend().call(call.hook, metadata_directory, call.settings)
        return _filename(call, name)
    from polywheel.wheel.dist_info import VARIANT_JSON
    from polywheel.wheel.stamp import make_stamp

    _refuse_label_under_pip(call)
    resolved = call.resolved_setup()
    stamp = make_stamp(call.project, resolved)
    _ask_again(call, resolved)
    with temporary_folder() as scratch:
        real, settings, _ = _variant_backend(call, resolved, scratch)
        name = _filename(call, real.call(call.hook, metadata_directory, settings))
    folder = Path(metadata_directory, name)
    try:
        content = (folder / "METADATA").read_bytes()
    except FileNotFoundError:
        raise BuildError(
            f"the real backend {call.choice.build_backend!r} prepared no {name}/METADATA"
        ) from None
    (folder / "METADATA").write_bytes(stamp.metadata(content))
    (folder / VARIANT_JSON).write_bytes(stamp.variant_json)
    return name


def build_wheel(call: HookCall, wheel_directory: str, metadata_directory: str | None) -> str:
    """Build a wheel, maybe an editable one, in ``wheel_directory``, and return its filename.

    Without a variant, the wheel of the real backend is not changed. With a variant, it is built in
    a temporary folder, stamped, and appears complete under its final name, or not at all. The real
    backend does not get the prepared metadata then, because they are stamped. Raises
    PolywheelError.
    """
    if call.variant is None:
        with ExitStack() as opened:
            real, settings = call.real_backend(), call.settings
            if uses_compiler_cache() and not call.is_editable:
                stable = opened.enter_context(stable_folder(call))
                real, settings = _plain_backend(call, stable / "build")
            arguments = (wheel_directory, settings, metadata_directory)
            return _filename(call, real.call(call.hook, *arguments))
    from polywheel.wheel.stamp import make_stamp, scratch_folder, stamp_into_folder

    _refuse_label_under_pip(call)
    resolved = call.resolved_setup()
    stamp = make_stamp(call.project, resolved)
    report_notes(call, resolved)
    _ask_again(call, resolved)
    check_installed(call, resolved.setup.requires)
    with scratch_folder(Path(wheel_directory)) as scratch, ExitStack() as opened:
        cached = uses_compiler_cache() and not call.is_editable
        if cached:
            scratch = opened.enter_context(stable_folder(call))  # noqa: PLW2901
        built = build_unstamped_wheel(call, resolved, scratch, lasting=cached)
        # Frontends reject an editable wheel with a label in its filename.
        labelled = not call.is_editable and _filename_kind(call.selection) == "label"
        label = call.variant.label if labelled else None
        name = stamp_into_folder(
            built, Path(wheel_directory), stamp, label=label, notify=call.notify
        )
    properties = ", ".join(map(str, call.variant.properties)) or "no properties"
    call.notify(f"{name}: variant {call.variant.label} ({properties})")
    if not labelled and not call.is_editable and call.selection.filename is None:
        call.notify(
            "under cibuildwheel the filename has no label, because later steps can't read it; "
            "'polywheel finalize' adds it"
        )
    return name


def build_unstamped_wheel(
    call: HookCall,
    resolved: ResolvedSetup | None,
    scratch: Path,
    *,
    labelled: bool = True,
    lasting: bool = False,
) -> Path:
    """Build a wheel with the real backend in the folder ``scratch``, and return its path.

    The real backend gets the build setup of the variant. If ``resolved`` is None, it runs as if there
    were no polywheel. ``labelled``: whether wheels of variants will be stamped from the wheel. With
    ``lasting``, the build directory stays if the build fails.

    Raises BuildError if the real backend fails, if the wheel is of another project or version, and if
    it lacks the compiled code that its variants need.
    """
    from polywheel.backend.built_wheel import check_built_wheel

    directory = scratch / "build"
    flags: Sequence[Entry]
    if resolved is None:
        real, settings = _plain_backend(call, directory)
        flags = ()
    else:
        real, settings, delivery = _variant_backend(
            call, resolved, scratch, lasting=directory if lasting else None
        )
        for line in delivery.warnings:
            call.notify(f"warning: {line}")
        if delivery.passed:
            call.notify(f"passed to {call.choice.build_backend}: {'; '.join(delivery.passed)}")
        flags = delivery.compiler_flags
    plain = scratch / "wheel"
    plain.mkdir()
    built = plain / _filename(call, real.call(call.hook, str(plain), settings, None))
    if not built.is_file():
        raise BuildError(
            f"the real backend {call.choice.build_backend!r} names a wheel "
            f"that is not there: {built.name!r}"
        )
    check_built_wheel(
        built,
        call.project,
        call.choice,
        flags=flags,
        # The compiled code of an editable wheel may be outside of it.
        compiled=labelled and not call.is_editable,
    )
    return built


def resolve_delivery(call: HookCall, resolved: ResolvedSetup) -> Delivery:
    """Return how the real backend gets the build setup of a variant. Raises ConfigError."""
    from polywheel.setup.build_directory import declares_any
    from polywheel.setup.flags_and_settings import deliver

    profile = call.choice.profile
    return deliver(
        resolved.setup,
        profile,
        compiler=resolved.compiler,
        environment=os.environ,
        settings=call.settings or {},
        consumed_by_hooks=declares_any(call.project, profile.hooks if profile else ()),
        strict=call.project.settings.strict,
    )


def _plain_backend(call: HookCall, lasting: Path) -> tuple[RealBackend, ConfigSettings | None]:
    """The real backend without a build setup, and its config settings.

    ``lasting`` is a build directory that stays if the build fails.
    """
    from polywheel.setup.build_directory import lasting_build_directory

    directory = lasting_build_directory(
        call.choice.profile,
        call.project,
        call.settings or {},
        environment=os.environ,
        lasting=lasting,
    )
    settings = call.settings
    if directory.config_settings:
        settings = {**(settings or {}), **directory.config_settings}
    environment = {**directory.environment, **launchers_of(call, os.environ, lasting.parent)}
    return call.real_backend(environment), settings


def _variant_backend(
    call: HookCall, resolved: ResolvedSetup, scratch: Path, *, lasting: Path | None = None
) -> tuple[RealBackend, ConfigSettings | None, Delivery]:
    """The real backend with the environment of a variant, its config settings, and how it gets the
    build setup with them.
    """
    from polywheel.setup.build_directory import own_build_directory

    delivery = resolve_delivery(call, resolved)
    environment = {**os.environ, **delivery.environment}
    launchers = launchers_of(call, environment, scratch, resolved.compiler)
    environment |= launchers
    directory = own_build_directory(
        call.choice.profile,
        call.project,
        resolved.variant,
        delivery.config_settings,
        environment=environment,
        scratch=scratch,
        editable=call.is_editable,
        variables=delivery.environment,
        lasting=lasting,
    )
    settings = call.settings
    if delivery.config_settings or directory.config_settings:
        kept = {k: v for k, v in delivery.config_settings.items() if k not in directory.replaced}
        settings = {**kept, **directory.config_settings}
    variables = {
        **delivery.environment,
        **launchers,
        **directory.environment,
        **variant_variables(resolved.variant.label, resolved.variant.properties),
    }
    real = call.real_backend(variables, source=directory.source)
    return real, settings, delivery


def _filename_kind(selection: Selection) -> str:
    """``label`` or ``unlabelled``: the config setting, else a kind of filename that the frontend can read."""
    # cibuildwheel sets it to 1, on the machine and in its containers.
    default = "unlabelled" if os.environ.get("CIBUILDWHEEL") == "1" else "label"
    return selection.filename or default


def _refuse_label_under_pip(call: HookCall) -> None:
    """Raise ConfigError before a build whose wheel pip would reject."""
    if call.is_editable or call.selection.filename is not None:
        return
    if "PIP_BUILD_TRACKER" in os.environ and _filename_kind(call.selection) == "label":
        raise ConfigError(
            "pip rejects a wheel with a variant label in its filename",
            at="config setting variant-filename",
            hint="add -Cvariant-filename=unlabelled to get a stamped wheel without a label in its filename; "
            "or build with 'python -m build' or 'uv build'",
        )


def report_notes(call: HookCall, resolved: ResolvedSetup) -> None:
    """Report the notes about the wheel of a variant."""
    for line in resolved.setup.notes:
        call.notify(f"note: {line}")
    metadata = call.project.metadata
    left_out = [
        name
        for name, declared in (
            ("default-priorities.feature", metadata.feature_priorities),
            ("default-priorities.property", metadata.property_priorities),
            ("enable-if", any(provider.enable_if for provider in metadata.providers.values())),
        )
        if declared
    ]
    if left_out:
        where = "only in METADATA" if call.project.settings.metadata_fields else "nowhere"
        call.notify(
            f"note: {', '.join(left_out)}: variant.json no longer has a field for this; "
            f"it is written {where}"
        )


def _filename(call: HookCall, value: object) -> str:
    """Return the filename that a hook returned. Raises BuildError if it is a path or no string."""
    if (
        not isinstance(value, str)
        or not 0 < len(value.encode("utf-8", "surrogatepass")) <= _MAX_NAME
        or os.path.basename(value) != value
    ):
        raise _unexpected_result(call, value, "a name")
    return value


def _requirements(call: HookCall, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _unexpected_result(call, value, "requirements")
    return value


def _unexpected_result(call: HookCall, value: object, expected: str) -> BuildError:
    text = repr(value)
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return BuildError(f"the real backend's {call.hook} returned {shown}, not {expected}")
