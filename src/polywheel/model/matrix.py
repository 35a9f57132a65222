"""What a project declares of its matrix: ``[tool.polywheel.matrix]`` and ``…targets``.

The text under each field is what the reference and the JSON schema say of the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polywheel.model.variant import VariantProperty

MAX_CELLS = 10_000
"""Cells that a matrix may have where it does not say otherwise."""

PLACES = ("python", "target")
"""What a cell has besides its variant, in `exclude` and `include` too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisValue:
    """One value of an axis."""

    name: str
    properties: tuple[VariantProperty, ...] = ()
    """The properties that it stands for; none for the CPU-only value of a CUDA axis."""

    when: str | None = None
    """A marker about target and Python (PEP 508): where the value exists."""

    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """Values of axes, `python`, `target` and `label`: an exclude, a row, an include."""

    values: Mapping[str, str]
    at: str

    def matches(self, values: Mapping[str, str]) -> bool:
        """Whether these values are among those of a cell."""
        return all(values.get(key) == value for key, value in self.values.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Inclusion:
    """One `include`: properties for cells that there are, or a cell of its own."""

    pattern: Pattern
    properties: tuple[VariantProperty, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """`[tool.polywheel.matrix]`: which variants exist, for which Pythons and targets."""

    python: tuple[str, ...] = ()
    """Versions such as "3.12" or "3.13t"; the one that runs polywheel where none is given."""

    targets: tuple[str, ...] = ()
    """Names of targets; this machine's where none is given."""

    variants: tuple[str, ...] | None = None
    """Globs over the labels of `[variant.variants]`. Without axes all of them are taken, with axes
    none, where this is not given."""

    axes: Mapping[str, tuple[AxisValue, ...]] = field(default_factory=dict)
    """Axes by name, each with its values by name. A value is a list of properties, or a table with
    `properties` and `when`."""

    rows: tuple[Pattern, ...] = ()
    """Axes that move together: each row gives one value of each of them, and takes the place of
    their product."""

    exclude: tuple[Pattern, ...] = ()
    """Cells to leave out: those that have all the given values of axes, `python`, `target` or
    `label`."""

    include: tuple[Inclusion, ...] = ()
    """Tables of axis values, `python`, `target`, `label` and `properties`: properties for cells that
    there are, or cells of their own, as GitHub Actions understands them."""

    label: str | None = None
    """How a cell of the axes is labelled: "{axis}" stands for the name of its value. Without it,
    the label is that of a declared variant with the same properties, or the variant hash."""

    null: bool = False
    """Whether the null variant is built too."""

    plain: bool = False
    """Whether the non-variant wheel is built too."""

    max_cells: int = MAX_CELLS
    """How many cells there may be before anything is expanded."""

    wheel_tag: str | None = None
    """What the wheels are for: "py3-none-any", "py3-none" (any Python, one platform), "abi3", or
    "python" (one Python). Told from the backend's own settings where it is not given."""

    share_builds: bool | Literal["auto"] = "auto"
    """Whether variants that ask the same of the build are built once and stamped several times.
    "auto": unless a file of the source mentions POLYWHEEL_VARIANT_; such a build may read its variant.
    Files outside the source, such as an installed plugin, are not searched: say false for them."""

    at: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """`[tool.polywheel.targets.NAME]`: where and how the jobs of a target run."""

    name: str
    runner: str | None = None
    """The label of the machine that builds in CI."""

    image: str | None = None
    """The container image that builds; "" is none, in place of a known target's."""

    platform_tags: tuple[str, ...] = ()
    """Globs that the platform tags of its wheels match, such as "manylinux_*_x86_64"."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Marker variables (PEP 508) of the target: `sys_platform`, `platform_machine`… A target that
    polywheel does not know says those that a `when` is about."""

    repair_command: str | None = None
    """The command that repairs a wheel; {wheel} and {dest_dir} stand for its paths."""

    test_command: str | None = None
    """The command that tests an installed wheel; {project} stands for the source."""

    memory_per_job: str | None = None
    """The memory that a build may need, such as "2G": no more of them run at once than have it."""

    job_timeout: float | None = None
    """The seconds after which a build is ended, and has failed."""

    at: str = ""
