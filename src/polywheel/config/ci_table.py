"""``[tool.polywheel.ci]``."""

from __future__ import annotations

import re

from polywheel.config.declaration import MEMORY, SettingsTable, duration, matching
from polywheel.config.project import Project
from polywheel.config.reader import Problems, Table
from polywheel.model.ci import CiSettings, GitLabSettings

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HIDDEN_JOB = re.compile(r"\.[A-Za-z0-9_.:-]+")
_URL = re.compile(r"https://[!-~]+")


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
    if not settings.cache and "cache-size" in given:
        table.wrong("cache-size", "cache-size has no effect with cache = false", "remove it")
    for key, texts in {
        "image": (settings.image,),
        "requirement": (settings.requirement,),
        "expire-in": (settings.expire_in,),
        "environment": () if settings.environment is None else (settings.environment,),
        "tags": settings.tags,
        "include": settings.include,
        "rules": settings.rules,
        "changes": settings.changes,
        "publish-rules": settings.publish_rules,
    }.items():
        for text in texts:
            if not text.strip() or not text.isprintable():
                table.wrong(key, f"expected a text without line breaks, found {text!r}")


GITLAB = SettingsTable(
    "ci-gitlab",
    GitLabSettings,
    check=_check_gitlab,
    extends=matching(_HIDDEN_JOB, "{!r} is not the name of a hidden job", "for example '.wheels'"),
    cache_size=MEMORY,
    timeout=duration(),
    repository_url=matching(_URL, "malformed URL {!r}", "expected https://…"),
    password_variable=matching(_VARIABLE, "{!r} is not the name of a variable"),
)
CI = SettingsTable("ci", CiSettings, gitlab=GITLAB)


def read_ci(project: Project) -> CiSettings:
    """The CI settings of a project. Raises ConfigError."""
    problems = Problems()
    root = Table(project.tables, project.file, (), problems).table("tool").table("polywheel")
    settings = CI.read_table(root.table("ci"))
    problems.raise_all()
    return settings
