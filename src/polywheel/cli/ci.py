"""``polywheel ci``: write workflows for CI systems, and collect the wheels of a CI run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from polywheel.ci.generated_files import (
    Repository,
    diff_file,
    find_repository,
    generated_header,
    write,
)
from polywheel.ci.github import Workflow, container_credentials
from polywheel.ci.plan_formats import build_jobs, find_test_runners
from polywheel.ci.publication import (
    check_gitlab_publication,
    check_publication,
    check_sdist,
    is_for_pypi,
    is_pypi,
)
from polywheel.ci.rendering import parse_action
from polywheel.ci.time_limits import BuildJob, check_github_limits, too_long_jobs
from polywheel.cli import say
from polywheel.cli.ci_options import (
    command_line,
    parse,
    read_github_settings,
    read_gitlab_settings,
)
from polywheel.cli.plans import (
    ci_jobs,
    print_warnings,
    read_project_of,
)
from polywheel.config.project import PYPROJECT, Project, look_up
from polywheel.config.reader import Problems
from polywheel.matrix.expansion import expand_project
from polywheel.model.ci import GitHubSettings, GitLabSettings
from polywheel.model.plan import Plan
from polywheel.system.terminal import print_lines


def run(arguments: Sequence[str]) -> int:
    """Write, print, or compare a file, or collect the wheels of CI jobs.

    Returns 0, or 1 if the file differs or a wheel is missing, or 4 if a wheel is wrong.
    """
    options = parse(arguments)
    if options.kind == "collect":
        from polywheel.cli.ci_collect import collect

        return collect(options)
    project = read_project_of(options)
    plan = expand_project(project)
    print_warnings(plan)
    repository = find_repository(Path(options.source))
    text = _WRITERS[options.kind](options, project, plan, repository)
    if options.output == "-":
        print(text, end="")
        return 0
    path = _path(options, repository)
    if options.check:
        return _compare(path, text, options, repository)
    if write(path, text, force=options.force):
        say(f"wrote {path}; commit it")
    else:
        say(f"{path} is up to date: nothing to do")
    _print_next_steps(options, path, repository)
    return 0


def _path(options: argparse.Namespace, repository: Repository) -> Path:
    if options.output in {None, "-"}:
        return repository.root / str(options.file)
    return Path(options.output)


def _compare(path: Path, text: str, options: argparse.Namespace, repository: Repository) -> int:
    changes = diff_file(path, text)
    if changes is None:
        say(f"{path} is up to date")
        return 0
    print_lines(changes.splitlines())
    state = "is out of date" if path.exists() else "does not exist"
    say(f"{path} {state}; to write it, run in {repository.root}:")
    say(f"    polywheel {shlex.join(command_line(options, repository))}")
    return 1


def _print_next_steps(options: argparse.Namespace, path: Path, repository: Repository) -> None:
    inner = repository.path(path, at="-o").removeprefix(".")
    if options.kind == "gitlab":
        say(f"next: add to .gitlab-ci.yml: include: {{ local: {inner} }}")
        return
    if inner.rpartition("/")[0] != "/.github/workflows":
        say("note: GitHub reads workflows from .github/workflows only")


def _print_publication_steps(settings: GitHubSettings) -> None:
    trusted = "a trusted publisher for it on the index"
    secret = f"the secret {settings.password_secret} in it"
    say(
        f"note: publishing needs the environment {settings.environment!r} on GitHub, and "
        f"{secret if settings.password_secret else trusted}"
    )


def _github(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> str:
    from polywheel.ci.github import github_workflow

    workflow = _workflow(options, project, plan, repository)
    to_pypi = is_pypi(workflow.settings.repository_url)
    _check_jobs(plan, options, workflow.settings, to_pypi=to_pypi)
    config = _config(options, project, repository)
    return github_workflow(
        replace(
            workflow,
            config=config,
            credentials=container_credentials(plan),
            test_runners=find_test_runners(plan),
        )
    )


def _gitlab(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> str:
    from polywheel.ci.gitlab import (
        check_included_files,
        gitlab_include,
        unsupported_settings,
    )

    settings = read_gitlab_settings(options, project)
    check_included_files(settings, repository.root)
    _check_jobs(plan, options, settings, to_pypi=is_for_pypi(settings))
    for warning in unsupported_settings(plan):
        say(f"warning: {warning}")
    notes = check_gitlab_publication(settings, project, plan)
    for note in (*notes, *check_sdist(settings, project)):
        say(f"note: {note}")
    if settings.password_variable is not None and not options.check:
        say(
            f"next: add the CI/CD variable {settings.password_variable} on GitLab, masked and protected"
        )
    return gitlab_include(
        generated_header(command_line(options, repository)),
        settings,
        file=repository.path(_path(options, repository), at="-o"),
        source=repository.path(Path(options.source), at="SOURCE"),
        config=_config(options, project, repository),
        submodules=repository.has_submodules,
        compiler_cache=_compiler_cache(options, project, settings),
    )


def _cibuildwheel(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> str:
    from polywheel.ci.cibuildwheel import cibuildwheel_workflow, plan_entries

    workflow = _workflow(options, project, plan, repository)
    keys = look_up(project.tables, "tool.polywheel.ci.github")
    unused = [key for key in _OWN_BUILDS if isinstance(keys, dict) and key in keys]
    if unused:
        at = workflow.settings.at
        say(f"note: {', '.join(unused)} ({at}): no effect, because only cibuildwheel builds")
    entries = plan_entries(
        project,
        plan,
        source=workflow.source,
        max_jobs=workflow.settings.max_jobs,
        compiler_cache=workflow.compiler_cache,
        notify=say,
    )
    runs = sum(len(entry.runs) for entry in entries)
    say(f"{len(plan.jobs)} wheels, {runs} runs of cibuildwheel, {len(entries)} CI jobs")
    _print_too_long(entry.build_job for entry in entries)
    return cibuildwheel_workflow(workflow, entries)


def _workflow(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> Workflow:
    settings = read_github_settings(options, project)
    for note in (*check_publication(settings, project, plan), *check_sdist(settings, project)):
        say(f"note: {note}")
    check_github_limits(settings, plan)
    action = parse_action(options.action)
    places = {"--action": action.uses if action.local else None}
    if options.kind == "github":
        places[f"{settings.at}.setup-action"] = settings.setup_action
        places[f"{settings.at}.after-build-action"] = settings.after_build_action
    _check_actions(places, repository)
    if settings.publish:
        _print_publication_steps(settings)
    return Workflow(
        header=generated_header(command_line(options, repository)),
        source=repository.path(Path(options.source), at="SOURCE"),
        action=action,
        submodules=repository.has_submodules,
        compiler_cache=_compiler_cache(options, project, settings),
        settings=settings,
    )


def _compiler_cache(
    options: argparse.Namespace, project: Project, settings: GitHubSettings | GitLabSettings
) -> str:
    """Return the compiler cache of a project. Print a note if it has none, and a size for it is set."""
    kind = "gitlab" if options.kind == "gitlab" else "github"
    keys = look_up(project.tables, f"tool.polywheel.ci.{kind}")
    chosen = project.settings.compiler_cache
    if chosen == "off" and isinstance(keys, dict) and "compiler-cache-size" in keys:
        say(
            f"note: compiler-cache-size ({settings.at}): no effect, because the project has no compiler-cache"
        )
    return chosen


def _check_actions(places: Mapping[str, str | None], repository: Repository) -> None:
    """Raise ConfigError for actions that are not in the repository. ``places`` are their folders by setting."""
    problems = Problems()
    for at, path in places.items():
        if path is not None and not repository.has_action(path):
            problems.add(
                f"the repository has no {path}/action.yml",
                at=at,
                hint=f"paths start at the root of the repository, {repository.root}",
            )
    problems.raise_all()


_OWN_BUILDS = ("setup-action", "after-build-action", "cache", "cache-size", "pr-subset")
"""Settings for the steps of polywheel's own builds."""
_WRITERS = {"github": _github, "gitlab": _gitlab, "cibuildwheel": _cibuildwheel}


def _check_jobs(
    plan: Plan,
    options: argparse.Namespace,
    settings: GitHubSettings | GitLabSettings,
    *,
    to_pypi: bool,
) -> None:
    """Print the number of CI jobs, and what they will not do: run tests, or repair wheels.

    ``to_pypi``: wheels that are published go to PyPI.

    Raises ConfigError for a plan that would fail in CI.
    """
    at = f"{settings.at}.max-jobs" if options.max_jobs is None else "--max-jobs"
    minutes = settings.timeout_minutes if isinstance(settings, GitHubSettings) else 0
    packs, _ = ci_jobs(plan, options.kind, settings.max_jobs, {}, minutes=minutes, at=at)
    say(f"{len(plan.jobs)} wheels, {len(plan.builds)} builds, {len(packs)} CI jobs")
    if options.kind == "github":
        _print_too_long(build_jobs(packs))
    compiled = {build.target for build in plan.builds if not build.id.startswith("any-")}
    for name in sorted(compiled):
        system = plan.platform_of(name).partition("-")[0]
        repaired = [b.settings.repair_command for b in plan.builds if b.target == name]
        if not all(repaired) and system in {"linux", "musllinux"}:
            say(
                f"note: wheels for {name} will not be repaired, so they may need libraries of the machine that "
                f"builds{', and PyPI rejects their tag' if to_pypi else ''}. To repair them, add to [tool.polywheel.targets.{name}]: "
                'repair-command = "auditwheel repair -w {dest_dir} {wheel}"'
            )


def _print_too_long(jobs: Iterable[BuildJob]) -> None:
    """Print a warning for each CI job whose builds GitHub may end."""
    for warning in too_long_jobs(jobs):
        say(f"warning: {warning}")


def _config(options: argparse.Namespace, project: Project, repository: Repository) -> str | None:
    if options.config is None:
        if project.file != PYPROJECT:
            say(f"note: CI will not use {project.file}: add --config {project.file}")
        return None
    return repository.path(Path(options.config), at="--config")
