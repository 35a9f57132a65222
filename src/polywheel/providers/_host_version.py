"""The version of a distribution that is installed where a plugin is asked; standard library only."""

from __future__ import annotations

import os
import re
import sys


def version(distribution):
    """The version of what is installed, by the METADATA that Python would take; None without one."""
    if distribution is None:
        return None
    try:
        # importlib.metadata takes longer to import than all the rest of a query.
        return version_in_path(distribution) or other_version(distribution)
    except Exception:
        return None


def version_in_path(distribution):
    wanted = _normalized(distribution)
    for folder in filter(os.path.isdir, sys.path):
        for name in os.listdir(folder):
            stem, dot_info, rest = name.partition(".dist-info")
            if dot_info and not rest and _normalized(stem.partition("-")[0]) == wanted:
                with open(os.path.join(folder, name, "METADATA"), encoding="utf-8") as file:
                    for line in iter(file.readline, "\n"):
                        if not line:
                            break
                        if line.lower().startswith("version:"):
                            return line.partition(":")[2].strip()
    return None


def other_version(distribution):
    """Of an egg, say."""
    from importlib.metadata import version as installed

    return str(installed(distribution))


def _normalized(name):
    """As names are compared (PEP 503)."""
    return re.sub("[-_.]+", "-", name).lower()
