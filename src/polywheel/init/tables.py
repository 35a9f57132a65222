"""The text that init writes: tables with comments, put together from presets."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polywheel.init.presets import StartAxis, StartPreset, StartValue
from polywheel.model.matrix import MAX_CELLS
from polywheel.system.terminal import json_text

_WIDTH = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenPresets:
    """The presets of a start, with the values that exist on the project's targets."""

    presets: tuple[StartPreset, ...]
    axes: Mapping[str, StartAxis]
    profile: str | None
    """The name of the backend's profile."""

    backend: str
    backend_path: tuple[str, ...] | None
    pythons: tuple[str, ...]
    targets: tuple[str, ...]
    without_options: tuple[str, ...]
    """Presets whose options this Meson project has not got."""

    def values(self, axis: StartAxis) -> Iterator[StartValue]:
        """The values of an axis: that without properties, and those of the presets."""
        if axis.fallback and (axis.always or len(self.axes) > 1):
            yield StartValue(name=axis.fallback, properties=(), when=None)
        for preset in self.presets:
            yield from preset.values if preset.axis == axis.name else ()

    @property
    def cells(self) -> int:
        """How many cells the matrix may have at most."""
        combinations = math.prod(len(list(self.values(one))) for one in self.axes.values())
        return (combinations + 2) * len(self.pythons) * len(self.targets)

    @property
    def null(self) -> bool:
        """Whether some machine can take none of the cells: then the null variant is for it."""
        (first, *others) = self.axes.values()
        fits_all = first.always or not first.fallback
        return not others and not fits_all


def tables(chosen: ChosenPresets) -> str:
    """``[variant]`` and ``[tool.polywheel]``, with LF, without the line that makes them known again."""
    return "".join(_paragraphs(chosen))


def toml_list(texts: Sequence[str]) -> str:
    """A list of strings as TOML has it."""
    return "[" + ", ".join(map(_string, texts)) + "]"


def _paragraphs(chosen: ChosenPresets) -> Iterator[str]:
    presets = sorted(chosen.presets, key=lambda one: one.position)
    yield _comment(
        "A start, for you to change. `polywheel matrix` shows what comes of it; what each key means "
        "is in polywheel's docs/reference.md."
    )
    yield "\n"
    if len(presets) > 1:
        yield _comment(
            "Where several wheels fit a machine, the first namespace decides, and then the next."
        )
    namespaces = [one.namespace for one in presets]
    yield f"[variant.default-priorities]\nnamespace = {toml_list(namespaces)}\n"
    for one in presets:
        yield f"\n{_trimmed(one.provider)}"
    yield from _settings(chosen, presets)
    for one in presets:
        if one.build:
            yield f"\n{_trimmed(one.build)}"
    for one in presets:
        for rule in one.rules:
            if rule.is_for(chosen.profile):
                yield f"\n{_trimmed(rule.text)}"
    yield from _matrix(chosen)
    for axis in chosen.axes.values():
        yield from _axis(chosen, axis)


def _settings(chosen: ChosenPresets, presets: Sequence[StartPreset]) -> Iterator[str]:
    """``[tool.polywheel]``."""
    yield "\n[tool.polywheel]\n"
    yield _comment("The backend that builds; polywheel stands in front of it.")
    yield f"build-backend = {_string(chosen.backend)}\n"
    if chosen.backend_path is not None:
        yield f"backend-path = {toml_list(chosen.backend_path)}\n"
    usable = [
        one.setup_preset
        for one in presets
        if one.setup_preset and one.name not in chosen.without_options
    ]
    if usable:
        yield _comment(
            "What the properties of these namespaces ask of a build: flags, variables, options. "
            "Rules under [tool.polywheel.setup] come before them."
        )
        yield f"presets = {toml_list(usable)}\n"
    for one in presets:
        if one.name in chosen.without_options:
            options = " and ".join(repr(option) for option in one.meson_options)
            yield _comment(
                f'Add "{one.setup_preset}" to presets = […] when meson.options has the options '
                f"{options}: it sets them, and Meson stops at an option that it does not know. Until "
                "then these variants are built alike."
            )


def _matrix(chosen: ChosenPresets) -> Iterator[str]:
    """``[tool.polywheel.matrix]``, without its axes."""
    yield "\n[tool.polywheel.matrix]\n"
    yield f"python = {toml_list(chosen.pythons)}\n"
    yield f"targets = {toml_list(chosen.targets)}\n"
    if chosen.null:
        yield _comment(
            "The null variant: what installers that know variants take where nothing below fits."
        )
        yield "null = true\n"
    yield _comment("The non-variant wheel: for pip and others that do not know variants.")
    yield "plain = true\n"
    if chosen.cells > MAX_CELLS:
        yield _comment("The bound of cells, those that a `when` leaves out among them.")
        yield f"max-cells = {-(-chosen.cells // 1000) * 1000}\n"
    label = "_".join(f"{{{name}}}" for name in chosen.axes)
    yield f"label = {_string(label)}\n"


def _axis(chosen: ChosenPresets, axis: StartAxis) -> Iterator[str]:
    yield f"\n{_comment(axis.comment)}[tool.polywheel.matrix.axes.{axis.name}]\n"
    for value in chosen.values(axis):
        yield f"{_key(value.name)} = {_value(value)}\n"


def _value(value: StartValue) -> str:
    properties = toml_list(value.properties)
    if value.when is None:
        return properties
    return f"{{ properties = {properties}, when = {_string(value.when)} }}"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _trimmed(text: str) -> str:
    return f"{text.strip()}\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else _string(name)


def _string(text: str) -> str:
    # What JSON escapes, TOML escapes in the same way.
    return json_text(text, exact=True, ascii_only=False)
