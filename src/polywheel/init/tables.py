"""The text that ``polywheel init`` writes: tables with comments, composed from templates."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polywheel.init.templates import StartAxis, StartTemplate, StartValue
from polywheel.model.matrix import MAX_CELLS
from polywheel.system.terminal import json_text

_WIDTH = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenTemplates:
    """The chosen templates, and what the tables say about the project."""

    templates: tuple[StartTemplate, ...]
    """Ordered by position, with the values that exist for the targets."""

    axes: Mapping[str, StartAxis]
    profile: str | None
    """The name of the backend's profile."""

    backend: str
    backend_path: tuple[str, ...] | None
    pythons: tuple[str, ...]
    targets: tuple[str, ...]
    without_options: tuple[str, ...]
    """Templates that need options which this Meson project does not have."""

    def values(self, axis: StartAxis) -> Iterator[StartValue]:
        """The values of an axis: the value without properties, and the values of the templates."""
        if axis.fallback and (axis.always or len(self.axes) > 1):
            yield StartValue(name=axis.fallback)
        for template in self.templates:
            yield from template.values if template.axis == axis.name else ()

    @property
    def cells(self) -> int:
        """The largest possible number of cells."""
        combinations = math.prod(len(list(self.values(axis))) for axis in self.axes.values())
        return (combinations + 2) * len(self.pythons) * len(self.targets)

    @property
    def null(self) -> bool:
        """Whether the matrix needs the null variant, because some machines support no other cell."""
        (first, *others) = self.axes.values()
        return not others and first.fallback is not None and not first.always


def tables(chosen: ChosenTemplates) -> str:
    """``[variant]`` and ``[tool.polywheel]``, with LF, without the header line."""
    return "".join(_paragraphs(chosen))


def toml_list(texts: Sequence[str]) -> str:
    """A list of strings in TOML."""
    return "[" + ", ".join(map(_string, texts)) + "]"


def _paragraphs(chosen: ChosenTemplates) -> Iterator[str]:
    yield _comment(
        "Change these tables as needed. `polywheel matrix` shows the resulting jobs. "
        "docs/reference.md of polywheel describes each key."
    )
    yield "\n"
    if len(chosen.templates) > 1:
        yield _comment(
            "If several wheels fit a machine, the first namespace decides, then the second, and so on."
        )
    namespaces = [template.namespace for template in chosen.templates]
    yield f"[variant.default-priorities]\nnamespace = {toml_list(namespaces)}\n"
    for template in chosen.templates:
        yield f"\n{template.provider.strip()}\n"
    yield from _settings(chosen)
    for template in chosen.templates:
        if template.build:
            yield f"\n{template.build.strip()}\n"
    for template in chosen.templates:
        for rule in template.rules:
            if rule.is_for(chosen.profile):
                yield f"\n{rule.text.strip()}\n"
    yield from _matrix(chosen)
    for axis in chosen.axes.values():
        yield f"\n{_comment(axis.comment)}[tool.polywheel.matrix.axes.{axis.name}]\n"
        for value in chosen.values(axis):
            yield f"{_key(value.name)} = {_value(value)}\n"


def _settings(chosen: ChosenTemplates) -> Iterator[str]:
    """``[tool.polywheel]``."""
    yield "\n[tool.polywheel]\n"
    yield _comment("The real backend, which polywheel calls for each build.")
    yield f"build-backend = {_string(chosen.backend)}\n"
    if chosen.backend_path is not None:
        yield f"backend-path = {toml_list(chosen.backend_path)}\n"
    usable = [
        template.setup_preset
        for template in chosen.templates
        if template.setup_preset and template.name not in chosen.without_options
    ]
    if usable:
        yield _comment(
            "Presets with the flags, variables, and options for the properties of these namespaces. "
            "Rules under [tool.polywheel.setup] override them."
        )
        yield f"presets = {toml_list(usable)}\n"
    for template in chosen.templates:
        if template.name in chosen.without_options:
            options = " and ".join(map(repr, template.meson_options))
            yield _comment(
                f'Add "{template.setup_preset}" to presets = […] when meson.options has the options '
                f"{options}. The preset sets them, and Meson fails for unknown options. Until then, the "
                "builds of these variants do not differ."
            )


def _matrix(chosen: ChosenTemplates) -> Iterator[str]:
    """``[tool.polywheel.matrix]``, without its axes."""
    yield "\n[tool.polywheel.matrix]\n"
    yield f"python = {toml_list(chosen.pythons)}\n"
    yield f"targets = {toml_list(chosen.targets)}\n"
    if chosen.null:
        yield _comment(
            "The null variant: for installers that support variants, on machines without a better one."
        )
        yield "null = true\n"
    yield _comment(
        "The non-variant wheel: for pip and other installers without support for variants."
    )
    yield "plain = true\n"
    if chosen.cells > MAX_CELLS:
        yield _comment("The maximum number of cells, including those that a `when` removes.")
        yield f"max-cells = {-(-chosen.cells // 1000) * 1000}\n"
    label = "_".join(f"{{{name}}}" for name in chosen.axes)
    yield f"label = {_string(label)}\n"


def _value(value: StartValue) -> str:
    properties = toml_list(value.properties)
    if value.when is None:
        return properties
    return f"{{ properties = {properties}, when = {_string(value.when)} }}"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else _string(name)


def _string(text: str) -> str:
    # What JSON escapes, TOML escapes in the same way.
    return json_text(text, exact=True, ascii_only=False)
