"""polywheel: a meta build backend and build-matrix orchestrator for Python wheel variants.

The functions and types below are the public API (docs/api.md). Everything else is private and may
change.

>>> import polywheel
>>> plan = polywheel.expand(".")                     # the wheels of a project, and their builds
>>> report = polywheel.build(".", plan=plan.select("*v3*"))
>>> polywheel.inspect(report.out / "demo-1.0-py3-none-any-v3.whl").variant

All functions raise :class:`PolywheelError` for errors that a user can fix. Its ``problems`` say what
is wrong, where, and what to do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from polywheel.errors import (
        BuildError,
        ConfigError,
        PolywheelError,
        Problem,
        ProviderError,
        UnsupportedError,
        WheelError,
    )
    from polywheel.model.plan import Build, Job, Plan
    from polywheel.model.variant import Variant, VariantProperty
    from polywheel.run.options import RunObserver, RunOptions
    from polywheel.run.outcome import Outcome, State
    from polywheel.run.report import Report
    from polywheel.wheel.finalize import Finalization, FinalizedWheel
    from polywheel.wheel.inspected_wheel import InspectedWheel

__version__ = "0.1.0"
__all__ = [
    "Build",
    "BuildError",
    "ConfigError",
    "Finalization",
    "FinalizedWheel",
    "InspectedWheel",
    "Job",
    "Outcome",
    "Plan",
    "PolywheelError",
    "Problem",
    "ProviderError",
    "Report",
    "RunObserver",
    "RunOptions",
    "State",
    "UnsupportedError",
    "Variant",
    "VariantProperty",
    "WheelError",
    "__version__",
    "build",
    "expand",
    "finalize",
    "inspect",
    "label",
    "unlabel",
]

# Every build imports this package, so everything else is imported when it is used.
_MODULES = {
    "polywheel.errors": (
        *("BuildError", "ConfigError", "PolywheelError", "Problem", "ProviderError"),
        *("UnsupportedError", "WheelError"),
    ),
    "polywheel.model.plan": ("Build", "Job", "Plan"),
    "polywheel.model.variant": ("Variant", "VariantProperty"),
    "polywheel.run.outcome": ("Outcome", "State"),
    "polywheel.run.options": ("RunObserver", "RunOptions"),
    "polywheel.run.report": ("Report",),
    "polywheel.wheel.finalize": ("Finalization", "FinalizedWheel"),
    "polywheel.wheel.inspected_wheel": ("InspectedWheel",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def expand(source: str | Path, *, config: str | Path | None = None) -> Plan:
    """Expand the matrix of a project to a plan: its jobs (wheels), and its builds.

    ``source`` is the folder of the project. ``config`` is a file whose ``[variant]`` and
    ``[tool.polywheel]`` tables replace those of pyproject.toml; by default the one that
    ``POLYWHEEL_CONFIG`` names, if any. Nothing is built, and no plugin is asked. Raises ConfigError
    with everything that is wrong.
    """
    from polywheel.config.project import config_file
    from polywheel.matrix import expansion

    return expansion.expand(source, config=config or config_file())


def build(
    source: str | Path,
    *,
    plan: Plan | None = None,
    options: RunOptions | None = None,
    observer: RunObserver | None = None,
) -> Report:
    """Build the wheels of a plan that this machine can build, as ``polywheel build`` does.

    ``source`` is the folder of the project, or an sdist. ``plan`` is the plan of :func:`expand`, or
    a selection of it; by default it is the whole plan. By default, wheels are written to the folder
    ``dist`` in the current folder. ``observer`` is told about progress; nothing is printed.

    A failed build is an outcome in the report, not an exception: ``report.exit_code`` is 0 if all
    wheels are there. Raises PolywheelError if no build can start.
    """
    from dataclasses import replace
    from pathlib import Path

    from polywheel.config.project import config_file
    from polywheel.run.context import prepare_run
    from polywheel.run.options import RunObserver, RunOptions
    from polywheel.run.orchestrator import run_plan

    options = options or RunOptions(out=Path("dist"))
    if options.config is None:
        options = replace(options, config=config_file())
    with prepare_run(
        Path(source), config=options.config, plan=plan, fresh=options.fresh
    ) as prepared:
        report = run_plan(prepared, prepared.plan, options, observer or RunObserver())
    if options.report is not None:
        report.write(options.report)
    if options.html is not None:
        from polywheel.report.page import write_page
        from polywheel.report.read import report_of

        write_page(report_of(report.document(), path="polywheel.build"), options.html)
    return report


def label(
    wheel: str | Path,
    properties: str | Iterable[str] = (),
    *,
    label: str | None = None,
    null: bool = False,
    pyproject: str | Path | None = None,
    providers: str | Iterable[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
    validate: bool = True,
    notify: Callable[[str], None] = lambda _: None,
) -> Path:
    """Add a variant label and variant metadata to an existing wheel; the path of the new wheel.

    ``properties`` are texts such as ``"x86_64 :: level :: v3"``, or one of them. ``pyproject`` is
    the file that declares the providers and the labels of variants; otherwise ``providers`` names one for
    each namespace, as ``"NAMESPACE=REQUIREMENT@MODULE:OBJECT"``. ``null`` makes the null variant.

    The new wheel is written into the folder ``output``, by default beside the old one, which stays.
    ``validate`` asks the plugins of the providers whether they know the properties. ``notify`` is
    called with warnings. Raises ConfigError, ProviderError, and WheelError.
    """
    from pathlib import Path

    from polywheel.matrix.selected_variant import resolve_variant
    from polywheel.wheel import label as labels

    wheel, file = Path(wheel), None if pyproject is None else Path(pyproject)
    selection = labels.parse_label_options(_texts(properties), label, null=null)
    project = labels.read_label_project(
        file,
        selection,
        _texts(providers),
        metadata_fields=True,
    )
    variant = resolve_variant(selection, project, spelling=labels.label_option)
    stamp = labels.make_label(variant, project, validate=validate, fresh=False, notify=notify)
    out = None if output is None else Path(output)
    return labels.label_wheel(wheel, out, stamp, overwrite=overwrite, notify=notify)


def unlabel(
    wheel: str | Path,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    notify: Callable[[str], None] = lambda _: None,
) -> Path:
    """Restore the original wheel of a variant wheel; its path.

    It is written into the folder ``output``, by default beside the variant wheel, which stays. A
    non-variant wheel that lies there already is left as it is. Raises WheelError.
    """
    from pathlib import Path

    from polywheel.wheel.label import unlabel_wheel

    wheel = Path(wheel)
    out = None if output is None else Path(output)
    return unlabel_wheel(wheel, out, overwrite=overwrite, notify=notify) or wheel


def finalize(
    wheels: str | Path | Iterable[str | Path],
    *,
    output: str | Path | None = None,
    plain: bool = False,
    hashes: bool = False,
    overwrite: bool = False,
) -> Finalization:
    """Add labels back to the filenames of stamped wheels, after cibuildwheel or auditwheel.

    The wheels are renamed, or copied into the folder ``output``. ``plain`` accepts non-variant
    wheels, ``hashes`` compares every file with its hash in RECORD. The result names the wheels that
    are done, and the errors of the others.
    """
    from pathlib import Path

    from polywheel.wheel import finalize as finalizing

    folder = None if output is None else Path(output)
    wheels = [wheels] if isinstance(wheels, (str, Path)) else wheels
    paths = [Path(wheel) for wheel in wheels]
    return finalizing.finalize(paths, folder, plain=plain, hashes=hashes, force=overwrite)


def inspect(wheel: str | Path, *, hashes: bool = False) -> InspectedWheel:
    """Read all parts of a wheel and compare them: filename, METADATA, variant.json, WHEEL, RECORD.

    ``hashes`` compares every file with its hash in RECORD as well. ``disagreements`` of the result
    says what is wrong. Raises WheelError if the file can't be read as a wheel at all.
    """
    from pathlib import Path

    from polywheel.wheel.inspect import inspect_wheel

    return inspect_wheel(Path(wheel), hashes=hashes)


def _texts(value: str | Iterable[str]) -> tuple[str, ...]:
    """One text, or several, as a tuple: iterating over a text would give its letters."""
    return (value,) if isinstance(value, str) else tuple(value)
