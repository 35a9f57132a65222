"""Plans as JSON: what ``polywheel matrix --json`` prints, and what other commands and CI read.

docs/plan.md describes the format. Plans are untrusted input: ids become names of folders, and labels become
parts of filenames. So sizes, names, and the relations of jobs and builds are checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from polywheel.config.build_values import container_options
from polywheel.config.matrix_table import ENVIRONMENT, NAME, PYTHON, TARGET, VALUE_NAME
from polywheel.config.reader import Problems, Table, size, type_name
from polywheel.config.setup_table import CONFIG_SETTINGS
from polywheel.config.wheel_tests import RUNNER, WHEEL_TESTS
from polywheel.errors import ConfigError, Problem, nearest, os_error_as
from polywheel.matrix.platforms import python_order
from polywheel.model.matrix import MERGED, BuildSettings, Credentials, Target, WheelTests
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan, Removal
from polywheel.model.variant import LABEL, NAMESPACE, NULL_LABEL, VariantProperty
from polywheel.system.files import refuse_constant, unique_keys

MAX_SIZE = 256 * 1024 * 1024
"""The maximum size in bytes. The plan of a hundred thousand cells is smaller."""
_MAX_PROBLEMS = 25
"""Reading ends after this number of problems: the file is probably not a plan."""


def read_document(
    path: Path, shape: int, *, what: str, hint: str, closed: bool, oldest: int | None = None
) -> Table:
    """The JSON object of a file. ``what`` is the kind of document, and ``hint`` tells how to create one.

    With ``closed``, unknown keys are problems. Raises ConfigError, also if the shape of the document is neither
    ``shape`` nor, with ``oldest``, an older one.
    """
    with os_error_as(ConfigError, f"{path} can't be read"):
        try:
            with path.open("rb") as file:
                content = file.read(MAX_SIZE + 1)
        except FileNotFoundError:
            raise ConfigError(f"the {what} {path} does not exist", hint=hint) from None
    return parse_document(
        content, shape, at=str(path), what=what, hint=hint, closed=closed, oldest=oldest
    )


def parse_document(
    content: bytes,
    shape: int,
    *,
    at: str,
    what: str,
    hint: str,
    closed: bool,
    oldest: int | None = None,
) -> Table:
    """Like :func:`read_document`, for the content of a file. ``at`` names it in messages."""
    if len(content) > MAX_SIZE:
        raise ConfigError(f"{what}s of more than {MAX_SIZE >> 20} MiB can't be read", at=at)
    try:
        document = json.loads(
            content.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=refuse_constant
        )
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: byte {error.start} can't be decoded", at=at) from None
    except json.JSONDecodeError as error:
        position = f"{at}: line {error.lineno}, column {error.colno}"
        raise ConfigError(f"invalid JSON: {error.msg}", at=position, hint=hint) from None
    except ValueError as error:  # from the hooks, or a number of more than 4300 digits
        raise ConfigError(f"invalid JSON: {error}", at=at) from None
    except RecursionError:
        raise ConfigError("invalid JSON: nested too deeply", at=at) from None
    if not isinstance(document, dict):
        raise ConfigError(f"expected a table, found {type_name(document)}", at=at, hint=hint)
    table = Table(document, at, (), Problems(closed=closed))
    if table.number("shape") not in range(oldest or shape, shape + 1):
        why = f"expected the shape {shape}" if "shape" in table else "shape is missing"
        raise ConfigError(f"this is not a {what}: {why}", at=table.at("shape"), hint=hint)
    return table


def raise_problems(problems: Problems, *, allowed: int = 0) -> None:
    """Raise one ConfigError with the first problems if there are more than ``allowed``."""
    rest = len(problems.found) - _MAX_PROBLEMS
    if rest > 0:
        problems.found[_MAX_PROBLEMS:] = [Problem(f"and {rest} more")]
    if len(problems.found) > allowed:
        problems.raise_all()


SHAPE = 2
"""The version of the format. It changes with every change except for new keys."""
_OLDEST_SHAPE = 1
"""In shape 1, the ``environment`` of a target has its marker variables, and its name is its platform."""

# The limit of the length bounds the time for matching an untrusted id.
_JOB_ID = re.compile(
    r"(?=.{1,1000}$)[A-Za-z0-9][A-Za-z0-9_.-]*-(cp3[0-9]{1,3}t?|py3|abi3)-([0-9a-z_.]+|non-variant)"
)
_REASONS = ("when", "exclude")
_HINT = "polywheel matrix --json writes one"
_Report = Callable[..., None]
"""Adds a problem: the key path, the text, and perhaps a hint."""
_TEXTS = (*("image", "container_options", "before_all", "before_build", "repair_command"),)


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The document of a plan."""
    setups = _setup_names(plan)
    return {
        "shape": SHAPE,
        "project": plan.project,
        "namespaces": list(plan.namespaces),
        "targets": {name: _target_as_json(target) for name, target in plan.targets.items()},
        "axes": {axis: list(values) for axis, values in plan.axes.items()},
        "builds": [
            {
                "id": build.id,
                "python": build.python,
                "target": build.target,
                "jobs": list(build.jobs),
                "settings": _differences(build.settings, plan.targets[build.target].settings),
                "set_by": dict(build.set_by),
                **({"setup": setups[id(build.setup)][0]} if build.setup is not None else {}),
            }
            for build in plan.builds
        ],
        "setups": {
            name: {key: list(values) for key, values in setup.items()}
            for name, setup in sorted(setups.values(), key=lambda item: item[0] or "")
            if name is not None
        },
        "jobs": [job_as_json(job) for job in plan.jobs],
        "removed": [
            {
                "label": removal.label,
                "axes": dict(removal.axes),
                "python": removal.python,
                "target": removal.target,
                "by": removal.by,
                "at": removal.at,
            }
            for removal in plan.removed
        ],
        **({"warnings": list(plan.warnings)} if plan.warnings else {}),
        **({"unshared": plan.unshared} if plan.unshared is not None else {}),
    }


def _setup_names(plan: Plan) -> dict[int, tuple[str | None, Mapping[str, tuple[str, ...]]]]:
    """The name of each build setup, and the setup, by its identity: builds share setups.

    The name is a digest, so that it does not depend on other setups. An empty setup has the name None.
    """
    setups = {id(build.setup): build.setup for build in plan.builds if build.setup is not None}
    names = {}
    for key, setup in setups.items():
        content = json.dumps(setup, sort_keys=True).encode()
        names[key] = (hashlib.sha256(content).hexdigest()[:12] if setup else None, setup)
    return names


def job_as_json(job: Job) -> dict[str, Any]:
    tests = {} if job.tests is None else {"tests": _tests_as_json(job.tests)}
    return {
        "id": job.id,
        "label": job.label,
        "properties": [str(prop) for prop in job.properties],
        "axes": dict(job.axes),
        "pythons": list(job.pythons),
        "targets": list(job.targets),
        "build": job.build,
        **tests,
        "at": job.at,
    }


def _target_as_json(target: Target) -> dict[str, Any]:
    return {
        "platform": target.platform,
        **_settings_as_json(target.settings),
        "platform_tags": list(target.platform_tags),
        "markers": dict(target.markers),
        "at": target.at,
    }


def _settings_as_json(settings: BuildSettings) -> dict[str, Any]:
    runner, credentials = settings.runner, settings.container_credentials
    return {
        "runner": runner[0] if runner and len(runner) == 1 else runner and list(runner),
        **{key: getattr(settings, key) for key in _TEXTS},
        "container_credentials": credentials
        and {"username": credentials.username, "password_secret": credentials.password_secret},
        "environment": dict(settings.environment),
        "config_settings": {
            key: value if isinstance(value, str) else list(value)
            for key, value in settings.config_settings.items()
        },
        "memory_per_job": settings.memory_per_job,
        "job_timeout": settings.job_timeout,
        "test_command": settings.test_command,
        **_tests_as_json(settings),
    }


def _tests_as_json(tests: WheelTests) -> dict[str, Any]:
    """The settings of tests that are set."""
    values = {field.name: getattr(tests, field.name) for field in fields(WheelTests)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None and value != {}
    }


def _differences(settings: BuildSettings, base: BuildSettings) -> dict[str, Any]:
    """The settings of a build that differ from those of its target, complete values each."""
    if settings is base:
        return {}
    before = _settings_as_json(base)
    return {k: value for k, value in _settings_as_json(settings).items() if value != before.get(k)}


def read_plan(path: Path) -> Plan:
    """Read a plan from a file. Raises ConfigError with its problems."""
    return _plan(
        read_document(path, SHAPE, what="plan", hint=_HINT, closed=True, oldest=_OLDEST_SHAPE)
    )


def parse_plan(text: str | bytes) -> Plan:
    """Read a plan from a JSON text. Raises ConfigError."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _plan(
        parse_document(
            content, SHAPE, at="plan", what="plan", hint=_HINT, closed=True, oldest=_OLDEST_SHAPE
        )
    )


def _plan(table: Table) -> Plan:
    axes = table.table("axes")
    targets = _targets(table.table("targets"), shape=int(table.data["shape"]))
    setups = _setups(table.table("setups"))
    plan = Plan(
        project=table.string("project"),
        namespaces=table.names("namespaces", NAMESPACE),
        targets=targets,
        axes={name: axes.names(name, VALUE_NAME) for name in axes.names_of_tables(NAME)},
        jobs=tuple(map(_job, table.tables("jobs"))),
        builds=tuple(_build(build, targets, setups) for build in table.tables("builds")),
        removed=tuple(map(_removal, table.tables("removed"))),
        warnings=table.strings("warnings", free=True) or (),
        unshared=table.free_text("unshared"),
    )
    for key in ("project", "namespaces", "targets", "axes", "jobs", "builds", "removed"):
        if key not in table:  # the project may be null
            table.wrong(key, f"{key} is missing")
    table.finish()
    raise_problems(table.problems)

    def report(key: str, what: str, hint: str | None = None) -> None:
        table.problems.add(what, at=f"{table.file}: {key}", hint=hint)
        raise_problems(table.problems, allowed=_MAX_PROBLEMS)

    for number, job in enumerate(plan.jobs):
        _check_job(job, plan, report, f"jobs[{number}]")
    _check_builds(plan, report)
    raise_problems(table.problems)
    return plan


def _targets(table: Table, *, shape: int) -> dict[str, Target]:
    targets = {}
    for name in table.names_of_tables(TARGET):
        target = table.table(name)
        markers = _texts(target, "markers" if shape > 1 else "environment")
        targets[name] = Target(
            name=name,
            platform=target.string("platform") if shape > 1 else name,
            settings=_settings(target, BuildSettings(), environment=shape > 1),
            platform_tags=target.strings("platform_tags") or (),
            markers=markers,
            at=target.free_text("at") or "",
        )
        target.finish()
    return targets


def _texts(table: Table, key: str) -> dict[str, str]:
    inner = table.table(key)
    texts = {name: inner.free_text(name) for name in inner.every_key()}
    return {name: text for name, text in texts.items() if text is not None}


def _settings(table: Table, base: BuildSettings, *, environment: bool = True) -> BuildSettings:
    """The settings in a table; those of ``base`` for the keys that it does not have."""
    readers: dict[str, Callable[[Table, str], Any]] = {
        "runner": RUNNER.read,
        **dict.fromkeys(_TEXTS, Table.string),
        "container_options": partial(Table.parsed, parse=container_options),
        "container_credentials": _credentials,
        **({"environment": ENVIRONMENT.read} if environment else {}),
        "config_settings": CONFIG_SETTINGS.read,
        "memory_per_job": partial(Table.parsed, parse=size),
        "job_timeout": Table.seconds,
        **{setting.field.name: setting.type.read for setting in WHEEL_TESTS.settings},
    }
    changed: dict[str, Any] = {}
    for key, read in readers.items():
        if key not in table:
            continue
        if table.data[key] is not None:
            changed[key] = read(table, key)
        else:
            table.string(key)  # marks the key as read
            if key not in MERGED:
                changed[key] = None
    return replace(base, **changed)


def _tests(table: Table) -> WheelTests | None:
    """The settings of the tests of a job; None if it has none of its own."""
    if "tests" not in table:
        return None
    tests = table.table("tests")
    values = {
        setting.field.name: setting.type.read(tests, setting.field.name)
        for setting in WHEEL_TESTS.settings
        if setting.field.name in tests
    }
    tests.finish()
    return WheelTests(**{name: value for name, value in values.items() if value is not None})


def _credentials(table: Table, key: str) -> Credentials | None:
    inner = table.table(key)
    username, secret = inner.string("username"), inner.string("password_secret")
    inner.finish()
    if username is None or secret is None:
        _require(inner, "username", "password_secret")
        return None
    return Credentials(username=username, password_secret=secret)


def _job(table: Table) -> Job:
    properties = []
    for index, text in enumerate(table.strings("properties") or ()):
        at = f"{table.at('properties')}[{index}]"
        prop = table.problems.attempt(VariantProperty.parse, text, at=at)
        if prop is not None:
            properties.append(prop)
    job = Job(
        id=_word(table, "id", _JOB_ID),
        label=_label(table),
        properties=tuple(sorted(set(properties))),
        axes=_axis_values(table),
        pythons=tuple(sorted(table.names("pythons", PYTHON, empty=False), key=python_order)),
        targets=table.names("targets", TARGET, empty=False),
        build=_word(table, "build", _JOB_ID),
        tests=_tests(table),
        at=table.free_text("at") or "",
    )
    _require(table, "properties", "axes", "pythons", "targets", "at")
    table.finish()
    return job


def _label(table: Table) -> str | None:
    if "label" in table and table.data["label"] is None:
        table.string("label")  # marks the key as read
        return None
    return _word(table, "label", LABEL)


def _axis_values(table: Table) -> dict[str, str]:
    axes = table.table("axes")
    return {name: _word(axes, name, VALUE_NAME) for name in axes.names_of_tables(NAME)}


_Setups = Mapping[str, Mapping[str, tuple[str, ...]]]


def _setups(table: Table) -> _Setups:
    """The build setups by name."""
    setups = {}
    for name in table.every_key():
        setup = table.table(name)
        setups[name] = {key: setup.strings(key) or () for key in setup.every_key()}
    return setups


def _setup(table: Table, setups: _Setups) -> Mapping[str, tuple[str, ...]] | None:
    """The build setup of a build; None if the plan does not have it."""
    if "setup" not in table:
        return None
    if table.data["setup"] is None:
        table.string("setup")  # marks the key as read
        return {}
    name = table.string("setup")
    if name is None or name in setups:
        return setups.get(name or "")
    table.wrong("setup", f"the plan has no setup {name[:80]!r}", nearest(name, setups))
    return None


def _build(table: Table, targets: Mapping[str, Target], setups: _Setups) -> Build:
    target = _word(table, "target", TARGET)
    base = targets[target].settings if target in targets else BuildSettings()
    settings = table.table("settings")
    build = Build(
        id=_word(table, "id", _JOB_ID),
        python=_word(table, "python", PYTHON),
        target=target,
        jobs=table.names("jobs", _JOB_ID, empty=False),
        settings=_settings(settings, base),
        set_by=_texts(table, "set_by"),
        setup=_setup(table, setups),
    )
    settings.finish()
    _require(table, "jobs")
    table.finish()
    return build


def _removal(table: Table) -> Removal:
    removal = Removal(
        label=_label(table),
        axes=_axis_values(table),
        python=_word(table, "python", PYTHON),
        target=_word(table, "target", TARGET),
        by=_word(table, "by", re.compile("|".join(_REASONS))),
        at=table.free_text("at") or "",
    )
    _require(table, "axes", "at")
    table.finish()
    return removal


def _require(table: Table, *keys: str) -> None:
    for key in keys:
        if table.data.get(key) is None:
            table.wrong(key, f"{key} is missing")


def _word(table: Table, key: str, pattern: re.Pattern[str]) -> str:
    """A required string that must match a pattern."""
    value = table.string(key)
    if value is None:
        _require(table, key)
    elif not pattern.fullmatch(value):
        table.wrong(key, f"malformed {key} {value[:80]!r}", f"it must match ^{pattern.pattern}$")
    return value or ""


def _check_job(job: Job, plan: Plan, report: _Report, key: str) -> None:
    """Check a job against the targets and axes of its plan."""
    if not job.id.endswith(f"-{job.label or NON_VARIANT}"):
        report(f"{key}.id", f"the id {job.id!r} does not end in its label")
    if bool(job.properties) == (job.label in {None, NULL_LABEL}):
        what = "has no properties" if not job.properties else "has properties"
        report(f"{key}.properties", f"the variant {job.label or NON_VARIANT!r} {what}")
    for name in job.targets:
        if name not in plan.targets:
            what = f"the plan has no target {name!r}"
            report(f"{key}.targets", what, nearest(name, plan.targets))
    for axis, value in job.axes.items():
        if value not in plan.axes.get(axis, ()):
            report(f"{key}.axes.{axis}", f"the plan has no axis {axis!r} with {value!r}")


def _check_builds(plan: Plan, report: _Report) -> None:
    """Check that each job exists once, and that the build that it names lists it."""
    jobs: dict[str, Job] = {}
    for number, job in enumerate(plan.jobs):
        if jobs.setdefault(job.id, job) is not job:
            report(f"jobs[{number}].id", f"{job.id!r} is listed twice")
    listed = set[str]()
    for number, build in enumerate(plan.builds):
        _check_build(build, jobs, report, f"builds[{number}]")
        for name in build.jobs:
            if name in listed:
                report(f"builds[{number}].jobs", f"{name!r} is in two builds")
            listed.add(name)
    for number, job in enumerate(plan.jobs):
        if job.id not in listed:
            report(f"jobs[{number}].build", f"no build lists the job {job.id!r}")


def _check_build(build: Build, jobs: Mapping[str, Job], report: _Report, key: str) -> None:
    """Check a build against the jobs that it lists."""
    if build.id != build.jobs[0]:
        report(f"{key}.id", f"the id of a build is that of its first job, {build.jobs[0]!r}")
    for name in build.jobs:
        if name not in jobs:
            report(f"{key}.jobs", f"the plan has no job {name!r}", nearest(name, jobs))
        elif jobs[name].build != build.id:
            report(f"{key}.jobs", f"{name!r} is stamped from {jobs[name].build!r}")
        elif build.python not in jobs[name].pythons:
            report(f"{key}.python", f"{name!r} is not for Python {build.python}")
        elif build.target not in jobs[name].targets:
            report(f"{key}.target", f"{name!r} is not for the target {build.target!r}")
