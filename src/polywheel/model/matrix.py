"""The matrix of a project: ``[tool.polywheel.matrix]`` and ``[tool.polywheel.targets]``.

The text under each field is the description of the key in the reference and the JSON schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal

from polywheel.model.variant import VariantProperty

MAX_CELLS = 10_000
"""The default of ``max-cells``."""

PLATFORM_KEYS = ("python", "target")
"""The keys of the platform of a cell, also in `exclude` and `include`."""

PLATFORM_PLACEHOLDERS = ("python", "python_tag", "target", "platform", "label")
"""The placeholders of settings besides the names of axes."""

COMMAND_PLACEHOLDERS = ("wheel", "dest_dir", "project", "package", "model")
"""The placeholders that are replaced when a command runs."""

LOWEST_PYTHON = "3.11"
"""The lowest Python with which polywheel builds: ``requires-python`` of polywheel."""


def minor_version(python: str) -> int:
    """The minor version of a Python: 13 for 3.13 and 3.13t."""
    return int(python.partition(".")[2].removesuffix("t"))


@cache
def can_build(python: str) -> bool:
    """Whether polywheel and its backend run with a Python."""
    return minor_version(python) >= minor_version(LOWEST_PYTHON)


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisValue:
    """One value of an axis."""

    name: str
    properties: tuple[VariantProperty, ...] = ()
    """The properties of the value. The list may be empty, as for the CPU-only value of a CUDA axis."""

    when: str | None = None
    """A marker (PEP 508) about target and Python. The value exists only if the marker is true."""

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
    """One `include`: properties for existing cells, or a new cell."""

    pattern: Pattern
    properties: tuple[VariantProperty, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """`[tool.polywheel.matrix]`: which variants exist, for which Pythons and targets."""

    python: tuple[str, ...] = ()
    """Versions such as "3.12" or "3.13t". The default is the version that runs polywheel. Each must be in
    `requires-python` of the project (`python_requires` in setup.cfg), and a build needs Python 3.11 or newer."""

    targets: tuple[str, ...] = ()
    """Names of targets. The default is the target of this machine."""

    variants: tuple[str, ...] | None = None
    """Globs that select labels of `[variant.variants]`. The default is all of them without axes, and
    none with axes."""

    axes: Mapping[str, tuple[AxisValue, ...]] = field(default_factory=dict)
    """Axes by name. Each axis is a table of values by name. A value is a list of properties, or a
    table with `properties` and `when`."""

    rows: tuple[Pattern, ...] = ()
    """Axes that change together. Each row has one value for each of these axes. The rows replace
    the product of these axes."""

    exclude: tuple[Pattern, ...] = ()
    """Cells to leave out. An exclude removes the cells with all its values of axes, `python`,
    `target`, and `label`. The label of the non-variant wheel is `non-variant`."""

    include: tuple[Inclusion, ...] = ()
    """Tables of axis values, `python`, `target`, `label`, and `properties`. An include adds properties
    to existing cells, or adds a cell, as in GitHub Actions."""

    label: str | None = None
    """The template for labels of cells. "{axis}" is replaced by the name of the value of the axis.
    By default, the label is that of a declared variant with the same properties, or the variant hash."""

    null: bool = False
    """Whether to build the null variant too."""

    plain: bool = False
    """Whether to build the non-variant wheel too."""

    max_cells: int = MAX_CELLS
    """The largest number of cells, counted before excludes and `when` remove cells."""

    wheel_tag: str | None = None
    """What the wheels are for: "py3-none-any", "py3-none" (any Python, one platform), "abi3", or
    "python" (one Python). The default follows from the settings of the backend."""

    share_builds: bool | Literal["auto"] = "auto"
    """Whether variants with the same build setup are built once and stamped several times. "auto":
    yes, unless a file of the source mentions POLYWHEEL_VARIANT_, because such a build may read its
    variant. Files outside the source, such as an installed plugin of the backend, are not searched; set
    false if one reads these variables."""

    at: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """The login for the registry of `image`: `username`, and `password-secret`, the name of the secret of the CI
    system that has the password.
    """

    username: str
    """The user name."""

    password_secret: str
    """The name of the secret of the CI system that has the password."""

    @property
    def is_job_token(self) -> bool:
        """Whether the password is the token of each job on GitHub, which is no secret of the repository."""
        return self.password_secret.upper() == "GITHUB_TOKEN"


MERGED = ("environment", "config_settings", "test_environment")
"""Settings that are tables with free keys. An override sets some of the keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelTests:
    """How finished wheels are tested: the settings of a project, a target, an override, or one job.

    The names and meanings are those of cibuildwheel as far as it has them. None means that a setting is
    not set.
    """

    test_command: str | None = None
    """The shell command that tests an installed wheel. It runs outside of the source. {project} and
    {package} are the path of a copy of the source, {wheel} that of the wheel. The commands of a list run
    one after the other, until one fails. "" removes the command."""

    before_test: str | None = None
    """A shell command that runs in a copy of the source before each test, in the environment of the test."""

    test_requires: tuple[str, ...] | None = None
    """Requirements that are installed for the test: a list, or a string with spaces."""

    test_extras: tuple[str, ...] | None = None
    """Extras of the wheel that are installed for the test: a list, or a string with commas."""

    test_groups: tuple[str, ...] | None = None
    """Groups of `[dependency-groups]` that are installed for the test: a list, or a string with spaces."""

    test_sources: tuple[str, ...] | None = None
    """Files and folders of the source that are copied into the folder in which the test runs."""

    test_environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of tests, in addition to those of `environment`."""

    test_skip: tuple[str, ...] | None = None
    """Globs of the wheels that are not tested: labels, ids of jobs, and cibuildwheel's identifiers, such
    as "cp312-macosx_arm64"."""

    test_timeout: float | None = None
    """The time limit of a test in seconds. The default is an hour."""

    test_runner: tuple[str, ...] | None = None
    """The label of a CI machine that tests the wheels after all builds, or a list of labels."""

    emulate: bool | None = None
    """Whether tests run on the oldest CPU that the label admits, which `emulator` emulates (Linux)."""

    emulator: tuple[str, ...] | None = None
    """The command of the emulator, before the path of Python. {model} is the name of a CPU model, and
    {python} the path by which Python finds its environment."""


NO_TESTS = WheelTests()


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSettings(WheelTests):
    """Where and how builds run: the settings of a target, of an override, or of one build.

    None means that a setting is not set.
    """

    runner: tuple[str, ...] | None = None
    """The label of the CI machine that builds, or a list of labels that it must all have."""

    image: str | None = None
    """The container image for builds. "" removes the image of a known target."""

    container_options: str | None = None
    """The options of `docker create` for the container of a CI job, such as "--gpus all"."""

    container_credentials: Credentials | None = None
    """The login for the registry of `image`: `username`, and `password-secret`, the name of a CI secret."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of builds. "$NAME" is replaced by the value that a variable had before."""

    config_settings: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Config settings for the backend: a string, or a list of strings. `polywheel build -C` replaces them."""

    before_all: str | None = None
    """A shell command that runs once before all builds with the same command and `environment`, in a copy of
    the source."""

    before_build: str | None = None
    """A shell command that runs before each build, in its copy of the source and its environment."""

    repair_command: str | None = None
    """The command that repairs a wheel. {wheel} and {dest_dir} are replaced by paths."""

    memory_per_job: str | None = None
    """The memory that a build needs, such as "2G". It limits the number of builds at a time."""

    job_timeout: float | None = None
    """The time limit of a build in seconds. A build that takes longer fails. `before-all` has the same limit of
    its own; the installation of packages has none."""

    @property
    def tests(self) -> WheelTests:
        """The settings of the tests alone."""
        return WheelTests(**{item.name: getattr(self, item.name) for item in fields(WheelTests)})

    def with_tests(self, tests: WheelTests) -> BuildSettings:
        """Return these settings with other tests."""
        return replace(
            self, **{item.name: getattr(tests, item.name) for item in fields(WheelTests)}
        )

    def updated(self, other: WheelTests) -> BuildSettings:
        """Return these settings with those that ``other`` sets. Tables with free keys are merged."""
        changed: dict[str, Any] = {}
        for item in fields(other):
            value = getattr(other, item.name)
            if item.name in MERGED:
                changed[item.name] = {**getattr(self, item.name), **value}
            elif value is not None:
                changed[item.name] = value
        return replace(self, **changed)


NO_SETTINGS = BuildSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """`[tool.polywheel.targets.NAME]`: where and how the jobs of a target run. Values may contain
    {python}, {python_tag}, {label}, {target}, {platform}, and the names of axes as placeholders.
    """

    name: str
    platform: str | None = None
    """Where the target can be built: a known target, such as "linux-x86_64", whose settings it
    inherits. A target that polywheel does not know needs it. A known target is its own platform."""

    platform_tags: tuple[str, ...] = ()
    """Globs for the platform tags of its wheels, such as "manylinux_*_x86_64"."""

    markers: Mapping[str, str] = field(default_factory=dict)
    """Marker variables (PEP 508) of the target that differ from those of its platform, such as
    `platform_release`. They are also read from `environment`."""

    settings: BuildSettings = NO_SETTINGS
    at: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """The jobs of an override."""

    globs: tuple[str, ...] = ()
    """Globs for labels and ids of jobs; empty if the jobs are selected by values."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values by axis, and of `python`, `target`, and `label`. A job needs one of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """`[[tool.polywheel.overrides]]`: settings for some of the jobs. A later override wins over an
    earlier one, and over the target.
    """

    select: Selector
    """The jobs: a glob for labels and ids of jobs, a list of globs, or a table of axis values,
    `python`, `target`, and `label`, each with a value or a list of values."""

    settings: BuildSettings = NO_SETTINGS
    at: str = ""
