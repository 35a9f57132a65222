"""``polywheel ci``: files for CI systems, and the end of a CI run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from polywheel.ci.generated import difference, header, write
from polywheel.ci.repository import Repository, repository_of
from polywheel.cli import say
from polywheel.cli.ci_options import command_line, frame_of, parse
from polywheel.cli.plans import project_of, tell_warnings
from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError
from polywheel.matrix import ci_formats
from polywheel.matrix.expansion import expand_project
from polywheel.matrix.sharing_out import pack
from polywheel.model.plan import Plan
from polywheel.terminal import put


def run(arguments: Sequence[str]) -> int:
    """Write, print or compare a file, or collect what jobs made; 0, 1 where something differs or lacks."""
    options = parse(arguments)
    if options.kind == "collect":
        from polywheel.cli.ci_collect import collect

        return collect(options)
    project = project_of(options)
    plan = expand_project(project)
    tell_warnings(plan)
    repository = repository_of(Path(options.source))
    text = _WRITERS[options.kind](options, project, plan, repository)
    if options.output == "-":
        print(text, end="")
        return 0
    path = _path(options, repository)
    if options.check:
        return _compare(path, text, options, repository)
    if write(path, text, force=options.force):
        say(f"wrote {path}: commit it")
    else:
        say(f"{path} is what it should be: nothing to do")
    _tell(options, path, repository)
    return 0


def _path(options: argparse.Namespace, repository: Repository) -> Path:
    if options.output in {None, "-"}:
        return repository.root / str(options.file)
    return Path(options.output)


def _compare(path: Path, text: str, options: argparse.Namespace, repository: Repository) -> int:
    changes = difference(path, text)
    if changes is None:
        say(f"{path} is what it should be")
        return 0
    put(changes.splitlines())
    state = "is not what it should be" if path.exists() else "is missing"
    say(f"{path} {state}; to write it, run in {repository.root}:")
    say(f"    polywheel {shlex.join(command_line(options, repository))}")
    return 1


def _tell(options: argparse.Namespace, path: Path, repository: Repository) -> None:
    inner = repository.path(path, at="-o").removeprefix(".")
    if options.kind == "gitlab":
        say(f"next: include: {{ local: {inner} }} in .gitlab-ci.yml")
        return
    if inner.rpartition("/")[0] != "/.github/workflows":
        say("note: GitHub looks for workflows in .github/workflows")
    if options.publish:
        where = f"the environment {options.environment!r}"
        say(f"next: {where} on GitHub, and a trusted publisher for it on the index")


def _github(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> str:
    from polywheel.ci.github import github_workflow

    most = options.max_jobs or ci_formats.GITHUB_MOST
    if most > ci_formats.GITHUB_MOST:
        raise ConfigError(
            f"GitHub makes at most {ci_formats.GITHUB_MOST} jobs of a matrix, not {most}",
            at="--max-jobs",
        )
    packs = pack(plan, most, {})
    ci_formats.github(plan, packs)  # what is wrong for it is better known now than in CI
    say(f"{len(plan.jobs)} wheels, {len(plan.builds)} builds, {len(packs)} jobs of CI")
    _tell_of_repairs(plan)
    return github_workflow(
        frame_of(options, repository, command_line(options, repository)),
        config=_config(options, project, repository),
        pr_subset=options.pr_subset,
        max_jobs=options.max_jobs,
    )


def _gitlab(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> str:
    from polywheel.ci.gitlab import gitlab_include

    packs = pack(plan, options.max_jobs or len(plan.builds), {})
    ci_formats.gitlab(plan, packs)
    say(f"{len(plan.jobs)} wheels, {len(plan.builds)} builds, {len(packs)} jobs of CI")
    _tell_of_repairs(plan)
    return gitlab_include(
        header(command_line(options, repository)),
        file=repository.path(_path(options, repository), at="-o"),
        source=repository.path(Path(options.source), at="SOURCE"),
        config=_config(options, project, repository),
        pr_subset=options.pr_subset,
        max_jobs=options.max_jobs,
        image=options.image,
        requirement=options.requirement,
    )


def _tell_of_repairs(plan: Plan) -> None:
    """Say it where wheels will have a platform tag that no index takes."""
    compiled = {build.target for build in plan.builds if not build.id.startswith("any-")}
    for name in sorted(compiled):
        target = plan.targets[name]
        if target.repair_command is None and name.startswith(("linux", "musllinux")):
            say(
                f"note: wheels for {name} will not be repaired: [tool.polywheel.targets.{name}] "
                'repair-command = "auditwheel repair -w {dest_dir} {wheel}"'
            )


def _config(options: argparse.Namespace, project: Project, repository: Repository) -> str | None:
    if options.config is None:
        if project.file != PYPROJECT:
            say(f"note: {project.file} is not told to CI: name it with --config")
        return None
    return repository.path(Path(options.config), at="--config")


def _cibuildwheel(
    options: argparse.Namespace, project: Project, plan: Plan, repository: Repository
) -> str:
    from polywheel.ci.cibuildwheel import cibuildwheel_workflow
    from polywheel.cli.ci_cibuildwheel import runs_of

    runs = runs_of(project, plan)
    say(f"{len(plan.jobs)} wheels, {len(runs)} runs of cibuildwheel")
    return cibuildwheel_workflow(
        frame_of(options, repository, command_line(options, repository)),
        runs,
        plain=any(run.label is None for run in runs),
    )


_WRITERS = {"github": _github, "gitlab": _gitlab, "cibuildwheel": _cibuildwheel}
