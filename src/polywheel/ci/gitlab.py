"""An include for GitLab CI: one file for both pipelines, the one that plans and its child that builds."""

from __future__ import annotations

from polywheel.ci.rendering import Rendered, rendered
from polywheel.errors import ConfigError

IMAGE = "python:3.13"
"""Where plan and collect run."""
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
    image: str = IMAGE,
    requirement: str = REQUIREMENT,
) -> str:
    """The include. ``file`` is where it will lie, which it says itself where it starts the child; it,
    ``source`` and ``config`` are paths from the root of the repository. Raises ConfigError.
    """
    for option, text in {"--image": image, "--requirement": requirement}.items():
        if not text.strip() or not text.isprintable():
            raise ConfigError(f"expected a text in one line, found {text!r}", at=option)
    # GitLab knows wildcards there, and no way to say that a name has such a letter.
    if any(letter in file for letter in "*?[]{}$\\"):
        raise ConfigError(f"GitLab can't include a file of the name {file!r}", at="-o")
    return rendered(
        "gitlab.yml.j2",
        header=Rendered(header),
        file=f"/{file.removeprefix('./')}",
        source=source,
        config=config or "",
        pr_subset="--pr-subset" if pr_subset else "",
        max_jobs=f"--max-jobs={max_jobs}" if max_jobs is not None else "",
        image=image,
        requirement=requirement,
    )
