"""The ``CIBW_*`` variables of a run of cibuildwheel.

They add to the project's own ``[tool.cibuildwheel]``, which stays in force (CIBW_INHERIT, since
cibuildwheel 4.3).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from string import Template
from typing import Any

from polywheel.backend.compiler_cache import VARIABLE as CACHE_VARIABLE
from polywheel.config.build_values import variable_in_image
from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError, Problem
from polywheel.matrix.cibuildwheel_platforms import (
    BuildPlatform,
    build_platform,
    check_image,
    check_jobs,
    read_pinned,
    require_platform,
    skips_test,
)
from polywheel.model.matrix import NO_SETTINGS, BuildSettings
from polywheel.model.plan import Build, Job, Plan
from polywheel.model.setup import with_source_path
from polywheel.model.variant import NULL_LABEL
from polywheel.run.compiler_cache import PASSED_TO_CONTAINERS
from polywheel.run.executors.cibuildwheel_installation import ENGINE, selected_engine
from polywheel.setup.profiles import OURS, requires_polywheel

_BACKEND = "polywheel.backend"
_PROCESS = re.compile(r"[<>]\(")
"""The start of a process substitution of bash."""
PROJECT = "/project"
"""The folder of the source in a container of cibuildwheel."""


def check_backend(project: Project) -> None:
    """Raise ConfigError if a project has another build backend than polywheel."""
    backend = project.build_system.build_backend
    if backend != _BACKEND:
        raise ConfigError(
            f"cibuildwheel needs the build backend {_BACKEND}, found {backend or 'none'}",
            at=f"{PYPROJECT}: build-system.build-backend",
            hint=f'set build-backend = "{_BACKEND}"; polywheel init prints both lines',
        )
    if not requires_polywheel(project):
        raise ConfigError(
            "cibuildwheel builds in an isolated environment, and the project does not require polywheel",
            at=f"{PYPROJECT}: build-system.requires",
            hint=f'add "{OURS}"',
        )


def by_variant(plan: Plan) -> Plan:
    """Return the plan with one build, a run of cibuildwheel, for each variant, target, and settings."""
    groups: dict[tuple[object, ...], tuple[Build, list[Job]]] = {}
    for build in plan.builds:
        for job in map(plan.job, build.jobs):
            if job is not None:
                key = (build.target, job.label, repr(build.settings))
                groups.setdefault(key, (build, []))[1].append(job)
    builds = [
        replace(build, id=jobs[0].id, python=jobs[0].python, jobs=tuple(job.id for job in jobs))
        for build, jobs in groups.values()
    ]
    build_of = {job: build.id for build in builds for job in build.jobs}
    jobs = tuple(replace(job, build=build_of[job.id]) for job in plan.jobs)
    return replace(plan, jobs=jobs, builds=tuple(builds))


def cibuildwheel_tables(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``[tool.cibuildwheel]`` of a pyproject.toml."""
    tool = document.get("tool")
    tables = tool.get("cibuildwheel") if isinstance(tool, dict) else None
    return tables if isinstance(tables, dict) else {}


def cibuildwheel_variables(
    jobs: Sequence[Job],
    settings: BuildSettings,
    platform: BuildPlatform,
    *,
    config_settings: Mapping[str, str | Sequence[str]],
    environment: Mapping[str, str],
    epoch: int | None = None,
    project: str,
    folder: str = ".",
    links: str | None = None,
    tables: Mapping[str, Any],
    engine: str = "docker",
    compiler_cache: str = "off",
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the ``CIBW_*`` variables of a run for the jobs of one variant.

    ``settings`` are those of their build. ``config_settings`` are the user's. ``environment`` has
    more variables for builds, repairs, and tests; they override those of ``settings``, which override the
    SOURCE_DATE_EPOCH ``epoch``. ``project`` is the path of the project where the
    build runs, and may contain ``$NAME``. ``folder`` is its path relative to the folder in which
    cibuildwheel runs. ``links`` is the URL of a folder with wheels for
    them, ``tables`` is the project's ``[tool.cibuildwheel]``, ``engine`` is the container
    engine unless the user selects one, and ``compiler_cache`` that of the builds, whose variables a container gets. Settings and environment variables are appended to those of
    ``environ`` and the tables. The commands and the image of ``settings`` override those of the
    tables, but not those of ``environ``.
    """
    pythons = dict.fromkeys(python for job in jobs for python in job.building_pythons)
    variables = {"CIBW_BUILD": " ".join(map(platform.identifier, pythons))}
    assignments = [
        *([] if epoch is None else [f"SOURCE_DATE_EPOCH={epoch}"]),
        *(
            f"{name}={expanded(with_source_path(text, project))}"
            for name, text in settings.environment.items()
        ),
        *(f"{name}={quoted(text)}" for name, text in environment.items()),
    ]
    if compiler_cache != "off":
        assignments.append(f"{CACHE_VARIABLE}={quoted(compiler_cache)}")
    if links is not None:  # appended to pip's own list, which is separated by blanks
        assignments.append(f'PIP_FIND_LINKS="$PIP_FIND_LINKS {links}"')
    if links is not None and "UV_FIND_LINKS" not in f"{tables}{environ.get('CIBW_ENVIRONMENT')}":
        assignments.append(f"UV_FIND_LINKS={quoted(links)}")
    selection: dict[str, str | Sequence[str]] = {}
    if (label := jobs[0].label) is not None:
        selection = {"null-variant": "true"} if label == NULL_LABEL else {"variant-label": label}
    config = [
        shlex.quote(f"{key}={text}")
        for key, value in {**selection, **settings.config_settings, **config_settings}.items()
        for text in ([value] if isinstance(value, str) else value)
    ]
    passed = PASSED_TO_CONTAINERS if compiler_cache != "off" and platform.in_container else ()
    for option, texts in (
        ("config-settings", config),
        ("environment", assignments),
        ("environment-pass", passed),
    ):
        _append_option(variables, option, " ".join(texts), platform, environ)
    own = {
        "before-all": _in_folder(settings.before_all, folder, platform),
        "before-build": _in_folder(settings.before_build, folder, platform),
        "repair-wheel-command": _in_folder(settings.repair_command, folder, platform),
        **_test_options(jobs, settings, platform),
    }
    if platform.in_container and settings.image != platform.default_image:
        own[platform.image_option] = settings.image or None
    for option, value in own.items():
        name = _variable(option)
        if value is not None and name not in environ:
            variables[name] = with_source_path(value, "{package}")
    if platform.in_container and settings.container_options:
        arguments = shlex.join(shlex.split(settings.container_options))
        selected = selected_engine(tables, environ) or engine
        key = "create-args" if "create-args" in selected else "create_args"
        variables[ENGINE] = f"{selected}; {key}: {arguments}"
    return variables


def _test_options(
    jobs: Sequence[Job], settings: BuildSettings, platform: BuildPlatform
) -> dict[str, str | None]:
    """The options for tests. They start in an empty folder, ``before-test`` in the source."""

    def joined(separator: str, texts: Sequence[str] | None) -> str | None:
        return None if texts is None else separator.join(texts)

    skipped = [
        platform.identifier(python)
        for job in jobs
        for python in job.building_pythons
        if skips_test(settings, job, platform.identifier(python))
    ]
    variables = (f"{name}={expanded(text)}" for name, text in settings.test_environment.items())
    return {
        "test-command": settings.test_command,
        "before-test": settings.before_test,
        "test-requires": joined(" ", settings.test_requires),
        "test-extras": joined(",", settings.test_extras),
        "test-groups": joined(" ", settings.test_groups),
        "test-sources": joined(" ", settings.test_sources),
        "test-environment": " ".join(variables) or None,
        "test-skip": " ".join(skipped) or None,
    }


def _in_folder(command: str | None, folder: str, platform: BuildPlatform) -> str | None:
    """Return a command that runs in a folder below the one in which cibuildwheel starts it."""
    if not command or folder == ".":
        return command
    if platform.platform == "windows":
        quoted_folder = '"{}"'.format(folder.replace("/", "\\"))
    else:
        quoted_folder = shlex.quote(folder)
    return f"cd {quoted_folder} && {command}"


def quoted(text: str) -> str:
    """Return a text in quotes for ``CIBW_ENVIRONMENT``. Raises ConfigError if cibuildwheel can't read it.

    cibuildwheel reads the variable with bashlex, which knows less about quotes than a shell: it does
    not join quoted parts, and finds process substitutions in quotes.
    """
    return _in_quotes(text).replace("$", r"\$")


def expanded(text: str) -> str:
    """Like :func:`quoted`, for a text with ``$NAME`` and ``$$`` (`polywheel.run.worker.requests`)."""

    def variable(match: re.Match[str]) -> str:
        name = match["named"] or match["braced"]
        return f"${{{name}}}" if name else r"\$"

    return Template.pattern.sub(variable, _in_quotes(text))


def _in_quotes(text: str) -> str:
    if _PROCESS.search(text):
        raise ConfigError(f"cibuildwheel can't read a variable with '<(' or '>(': {text!r}")
    return '"' + re.sub(r'([\\"`])', r"\\\1", text) + '"'


def check_settings(
    plan: Plan, build: Build, platform: BuildPlatform, *, version: str | None = None
) -> Iterator[Problem]:
    """Yield the problems of the settings of a build.

    ``version`` is that of cibuildwheel; None means the pinned one, whose images are known.
    """
    settings, image_at = build.settings, plan.setting_at(build, "image")
    if version in {None, read_pinned().version}:
        yield from check_image(settings.image, platform, at=image_at)
    if platform.in_container and (problem := variable_in_image(settings.image, at=image_at)):
        yield problem
    for name, text in settings.environment.items():
        try:
            expanded(text)
        except ConfigError as error:
            hint = "set the variable in before-build, or in a script of the project"
            yield Problem(
                error.problems[0].what, at=plan.setting_at(build, f"environment.{name}"), hint=hint
            )


def unused_settings(plan: Plan, builds: Iterable[Build]) -> Iterator[str]:
    """Yield a note for each setting that has no effect on cibuildwheel."""
    notes: dict[str, None] = {}
    for build in builds:
        settings = build.settings
        platform = build_platform(plan.platform_of(build.target))
        if platform is None:
            continue
        for key, value in (
            ("image", settings.image),
            ("container-options", settings.container_options),
            ("container-credentials", settings.container_credentials),
        ):
            at = plan.setting_at(build, key)
            if not platform.in_container and value:
                notes[
                    f"note: {key} ({at}): no effect, because cibuildwheel uses containers only for Linux"
                ] = None
            elif platform.in_container and value == "" and key == "image":
                notes[
                    f'note: image = "" ({at}): no effect, because cibuildwheel builds wheels for Linux only in '
                    "containers; to build on the machine, use polywheel build or polywheel ci github"
                ] = None
        for job in plan.jobs_of(build):
            tests = plan.settings_of(job).tests
            unused = {
                "emulate": tests.emulate,
                "test-timeout": tests.test_timeout,
                "test-runner": tests.test_runner,
            }
            keys = ", ".join(key for key, value in unused.items() if value)
            if keys and tests.test_command:
                notes[f"note: {keys}: no effect, because cibuildwheel runs the tests"] = None
    yield from notes


def job_environment(job: Job) -> dict[str, str]:
    """Return the ``CIBW_*`` variables that build one job.

    Raises ConfigError if cibuildwheel can't build it.
    """
    platform = require_platform(
        job.target,
        at=job.at,
        hint="a job does not know the platform of a target with a name of its own; use polywheel build "
        "--frontend cibuildwheel, or polywheel ci cibuildwheel",
    )
    if problems := [*check_jobs([job], platform)]:
        raise ConfigError.collected(problems)
    variables = cibuildwheel_variables(
        [job],
        NO_SETTINGS,
        platform,
        config_settings={},
        environment={},
        project="",
        tables={},
        environ={},
    )
    return {**platform_variables(platform), **variables}


def platform_variables(platform: BuildPlatform) -> dict[str, str]:
    """Return the variables that select a platform."""
    return {"CIBW_PLATFORM": platform.platform, "CIBW_ARCHS": platform.arch}


def _variable(option: str) -> str:
    return f"CIBW_{option.upper().replace('-', '_')}"


def _append_option(
    variables: dict[str, str],
    option: str,
    text: str,
    platform: BuildPlatform,
    environ: Mapping[str, str],
) -> None:
    """Append a text, unless it is empty, to an option that the project's tables or ``environ`` may set."""
    if not text:
        return
    name = _variable(option)
    for candidate in (f"{name}_{platform.platform.upper()}", name):
        if environ.get(candidate):
            variables[candidate] = f"{environ[candidate]} {text}"
            return
    variables[name] = text
    rules = variables.get("CIBW_INHERIT") or environ.get("CIBW_INHERIT", "")
    variables["CIBW_INHERIT"] = "; ".join(filter(None, (rules, f"{option}: append")))
