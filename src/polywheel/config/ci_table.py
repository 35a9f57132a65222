"""``[tool.polywheel.ci]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from packaging.utils import canonicalize_name

from polywheel.config.build_values import image
from polywheel.config.declaration import (
    MEMORY,
    SettingsTable,
    duration,
    integer,
    matching,
    pattern_schema,
    text,
    texts,
)
from polywheel.config.project import Project, look_up
from polywheel.config.reader import (
    Problems,
    Table,
    parse_requirement,
    parse_size,
    requirement,
    size,
)
from polywheel.errors import ConfigError
from polywheel.model.ci import CiSettings, GitHubSettings, GitLabSettings
from polywheel.model.matrix import LOWEST_PYTHON, can_build

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HIDDEN_JOB = re.compile(r"\.[A-Za-z0-9_.:-]+")
_URL = re.compile(r"https://[!-~]+")
_REF = re.compile(r"[A-Za-z0-9_.*?!+@\[\]/-]+")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
"""The fields of a time, with their lowest and highest values and the names of values, from the lowest."""
_CRON_PART = re.compile(
    r"(?:\*|([0-9]{1,2}|[A-Z]{3})(?:-([0-9]{1,2}|[A-Z]{3}))?)(?:/([1-9][0-9]?))?"
)
_UNITS = frozenset(
    [
        *[
            "s",
            "sec",
            "secs",
            "second",
            "seconds",
            "m",
            "min",
            "mins",
            "minute",
            "minutes",
            "h",
            "hr",
            "hrs",
            "hour",
            "hours",
            "d",
            "day",
            "days",
        ],
        *[
            "w",
            "wk",
            "wks",
            "week",
            "weeks",
            "mo",
            "mos",
            "month",
            "months",
            "y",
            "yr",
            "yrs",
            "year",
            "years",
        ],
    ]
)
"""The units of durations that GitLab reads (https://github.com/hpoydar/chronic_duration)."""
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)|[a-z]+|\S")
_LEAST_CACHE = 1 << 20
_ACTION = re.compile(r"\./[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_LONGEST_NAME = 255
_MOST_MINUTES = 5 * 24 * 60
"""The time limit of a job on a runner that is not GitHub's own."""
_MOST_JOBS = 10_000


def _long_line(value: str, *, at: str) -> str:
    if not value.strip():
        raise ConfigError("expected a text, found an empty one", at=at)
    if not value.isprintable():
        raise ConfigError(f"expected a text without line breaks, found {value!r}", at=at)
    return value


def _line(value: str, *, at: str) -> str:
    if len(value) > _LONGEST_NAME:
        what = f"expected at most {_LONGEST_NAME} characters, found {len(value)}"
        raise ConfigError(what, at=at)
    return _long_line(value, at=at)


def _image(value: str, *, at: str) -> str:
    return image(_line(value, at=at), at=at)


def _python(value: str, *, at: str) -> str:
    if not re.fullmatch(r"3\.[1-9][0-9]", value) or not can_build(value):
        raise ConfigError(f"expected Python {LOWEST_PYTHON} or newer, found {value!r}", at=at)
    return value


def _local_action(value: str, *, at: str) -> str:
    if not _ACTION.fullmatch(value) or "/../" in f"{value}/":
        raise ConfigError(
            f"{value!r} is not the folder of an action in the repository",
            at=at,
            hint="for example './.github/actions/setup'",
        )
    return value


def _pattern(value: str, *, at: str) -> str:
    if not _REF.fullmatch(value):
        raise ConfigError(f"malformed pattern {value!r}", at=at, hint="for example 'v*'")
    return value


def _cron(value: str, *, at: str) -> str:
    fields = value.split(" ")
    if len(fields) != len(_CRON_FIELDS):
        hint = "expected five fields, for example '0 3 * * 1'"
        raise ConfigError(f"malformed time {value!r}", at=at, hint=hint)
    for field, (noun, least, most, names) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_is_cron_part(part, least, most, names) for part in field.split(",")):
            also = f", or {names[0]} to {names[-1]}" if names else ""
            raise ConfigError(
                f"malformed {noun} {field!r} in the time {value!r}",
                at=at,
                hint=f"expected *, or numbers from {least} to {most}{also}, as in 1,3 or 1-3 or */2",
            )
    return value


def _is_cron_part(text: str, least: int, most: int, names: Sequence[str]) -> bool:
    match = _CRON_PART.fullmatch(text.upper())
    if match is None:
        return False
    numbers = {name: number for number, name in enumerate(names, least)}
    values = [
        numbers.get(value, int(value) if value.isdigit() else -1)
        for value in match.group(1, 2)
        if value is not None
    ]
    return values == sorted(values) and all(least <= value <= most for value in values)


def _cache_size(value: str, *, at: str) -> str:
    if (parse_size(size(value, at=at)) or 0) < _LEAST_CACHE:
        hint = "cache = false keeps no cache"
        raise ConfigError(f"expected a size of at least 1M, found {value!r}", at=at, hint=hint)
    return value


def _gitlab_duration(value: str, *, at: str) -> str:
    parts = [*_DURATION_PART.finditer(_line(value, at=at).lower())]
    known = all(part[1] or part[0] in _UNITS or part[0] in {"and", ","} for part in parts)
    if value != "never" and not (known and parts[0][1]):
        hint = "for example '1 week', '2 hrs 20 min', or 'never'"
        raise ConfigError(f"malformed duration {value!r}", at=at, hint=hint)
    return value


def _polywheel(value: str, *, at: str) -> str:
    text = requirement(_long_line(value, at=at), at=at)
    if canonicalize_name(parse_requirement(text).name) != "polywheel":
        hint = "for example 'polywheel[cli]==1.2'"
        raise ConfigError(f"{value!r} is not a requirement of polywheel", at=at, hint=hint)
    return text


def _hidden_job(value: str, *, at: str) -> str:
    if not _HIDDEN_JOB.fullmatch(value):
        what = f"{value!r} is not the name of a hidden job"
        raise ConfigError(what, at=at, hint="for example '.wheels'")
    if value.startswith(".polywheel"):
        what = f"{value!r} is a name of the generated file"
        raise ConfigError(what, at=at, hint="give your job another name, for example '.wheels'")
    return value


def _check_gitlab(table: Table, settings: GitLabSettings) -> None:
    """Add problems for settings that have no effect or contradict each other."""
    given = table.data
    for key, other in (
        ("repository-url", "password-variable"),
        ("password-variable", "repository-url"),
        ("username", "repository-url"),
        ("extends", "include"),  # the child pipeline has nothing else of the project
    ):
        if key in given and other not in given:
            table.wrong(key, f"{key} needs {other}", f"add {other}, or remove {key}")
    for key in ("cache-size", "compiler-cache-size"):
        if not settings.cache and key in given:
            table.wrong(key, f"{key} has no effect with cache = false", "remove it")
    if not settings.sdist and "sdist-check" in given:
        table.wrong("sdist-check", "sdist-check has no effect without sdist", "remove it")


GITLAB = SettingsTable(
    "ci-gitlab",
    GitLabSettings,
    check=_check_gitlab,
    image=text(_image),
    tags=texts(_line),
    requirement=text(_polywheel),
    include=texts(_line),
    extends=text(_hidden_job, pattern_schema(_HIDDEN_JOB)),
    rules=texts(_long_line),
    changes=texts(_line),
    max_jobs=integer(1, _MOST_JOBS),
    cache_size=text(_cache_size, MEMORY.schema),
    compiler_cache_size=text(_cache_size, MEMORY.schema),
    timeout=duration(),
    expire_in=text(_gitlab_duration),
    publish_rules=texts(_long_line),
    environment=text(_line),
    repository_url=matching(_URL, "malformed URL {!r}", "expected https://…"),
    username=text(_line),
    password_variable=matching(_VARIABLE, "{!r} is not the name of a variable"),
)
GITHUB = SettingsTable(
    "ci-github",
    GitHubSettings,
    branches=texts(_pattern),
    tags=texts(_pattern),
    paths=texts(_line),
    schedule=texts(_cron),
    runner=text(_line),
    python=text(_python),
    max_jobs=integer(1, _MOST_JOBS),
    timeout_minutes=integer(20, _MOST_MINUTES),
    setup_action=text(_local_action),
    after_build_action=text(_local_action),
    cache_size=text(_cache_size, MEMORY.schema),
    compiler_cache_size=text(_cache_size, MEMORY.schema),
    artifact_prefix=matching(re.compile(r"[A-Za-z0-9_.-]{0,64}"), "malformed prefix {!r}"),
    environment=text(_line),
    repository_url=matching(_URL, "malformed URL {!r}", "expected https://…"),
    password_secret=matching(
        re.compile(r"(?!GITHUB_|github_)[A-Za-z_][A-Za-z0-9_]*"),
        "{!r} is not the name of a secret",
        "expected letters, digits, and _, as in INDEX_TOKEN",
    ),
    username=text(_line),
)
CI = SettingsTable("ci", CiSettings, github=GITHUB, gitlab=GITLAB)


def read_ci(project: Project) -> CiSettings:
    """The CI settings of a project. Raises ConfigError."""
    problems = Problems()
    root = Table(project.tables, project.file, (), problems).table("tool").table("polywheel")
    settings = CI.read_table(root.table("ci"))
    problems.raise_all()
    return settings


class _Options(Table):
    """Options of a command, by the key of the setting that each replaces."""

    def at(self, *keys: str) -> str:
        return f"--{_OPTION_NAMES.get(keys[0], keys[0])}" if keys else ""


_OPTION_NAMES = {"branches": "branch", "tags": "tag"}
"""Options whose name differs from that of their setting."""


_S = TypeVar("_S", GitHubSettings, GitLabSettings)


def _replaced(table: SettingsTable[_S], settings: _S, options: Mapping[str, object]) -> _S:
    """The settings of a project with the values of ``options`` in their place. Raises ConfigError."""
    problems = Problems()
    given = table.read_keys(_Options(options, "", (), problems))
    # An option that is repeated is a list, but a person knows only the option.
    problems.found = [replace(one, at=(one.at or "").partition("[")[0]) for one in problems.found]
    problems.raise_all()
    names = {setting.key: setting.field.name for setting in table.settings}
    return replace(settings, **{names[key]: getattr(given, names[key]) for key in options})


def read_gitlab(project: Project, options: Mapping[str, object]) -> GitLabSettings:
    """The settings for GitLab, with the values of ``options`` in place of those of the project.

    Raises ConfigError.
    """
    return _replaced(GITLAB, read_ci(project).gitlab, options)


def read_github(project: Project, options: Mapping[str, object]) -> GitHubSettings:
    """The settings for GitHub, with the values of ``options`` in place of those of the project.

    Raises ConfigError for settings that have no effect or contradict each other, too.
    """
    settings = _replaced(GITHUB, read_ci(project).github, options)
    keys = look_up(project.tables, "tool.polywheel.ci.github")
    places = {key: f"{settings.at}.{key}" for key in (keys if isinstance(keys, Mapping) else ())}
    problems = Problems()
    places |= {key: _Options(options, "", (), problems).at(key) for key in options}
    _check_github(settings, places, problems)
    problems.raise_all()
    return settings


def _check_github(settings: GitHubSettings, places: Mapping[str, str], problems: Problems) -> None:
    """Add problems for settings without effect. ``places`` are those of the settings that are set."""
    missing = {
        "publish": not settings.publish,
        "password-secret": settings.password_secret is None,
        "sdist": not settings.sdist,
        "cache": not settings.cache,
    }
    for key, other in (
        *((key, "publish") for key in ("environment", "repository-url", "password-secret")),
        *(("username", "password-secret"), ("sdist-check", "sdist"), ("cache-size", "cache")),
        ("compiler-cache-size", "cache"),
    ):
        if key in places and missing[other]:
            problems.add(f"{key} has no effect without {other}", at=places[key])
    if not settings.reusable:
        return
    for key in ("branches", "tags", "paths", "schedule"):
        if key in places:
            what = f"{key} has no effect on a reusable workflow, which only other workflows start"
            problems.add(what, at=places[key], hint="remove it, or remove reusable")
    if settings.publish and settings.password_secret is None:
        problems.add(
            "indexes do not support trusted publishing from a reusable workflow",
            at=places["publish"],
            hint="set password-secret, or publish in the calling workflow",
        )
