"""The include file for GitLab CI.

It does not contain the matrix: every pipeline creates the plan, in a child pipeline.
"""

from __future__ import annotations

from polywheel.ci.rendering import SafeYaml, render_template
from polywheel.errors import ConfigError

IMAGE = "python:3.13"
"""The image of the jobs ``polywheel:plan`` and ``polywheel:collect``."""
REQUIREMENT = "polywheel[cli]"
FILE = ".gitlab/polywheel.yml"


def gitlab_include(
    header: str,
    *,
    file: str,
    source: str,
    config: str | None,
    pr_subset: bool,
    max_jobs: int | None,
    image: str,
    requirement: str,
) -> str:
    """Return the include file. Raises ConfigError.

    ``file`` is the path of the include file itself, which the child pipeline includes as well.
    ``file``, ``source``, and ``config`` are relative to the root of the repository.
    """
    for option, text in {"--image": image, "--requirement": requirement}.items():
        if not text.strip() or not text.isprintable():
            raise ConfigError(f"expected a text without line breaks, got {text!r}", at=option)
    # GitLab treats these characters as wildcards and has no way to escape them.
    if any(letter in file for letter in "*?[]{}$\\"):
        raise ConfigError(f"GitLab can't include a file named {file!r}", at="-o")
    return render_template(
        "gitlab.yml.j2",
        header=SafeYaml(header),
        file=f"/{file.removeprefix('./')}",
        source=source,
        config=config or "",
        pr_subset="--pr-subset" if pr_subset else "",
        max_jobs=f"--max-jobs={max_jobs}" if max_jobs is not None else "",
        image=image,
        requirement=requirement,
    )
