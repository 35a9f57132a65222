"""Check the wheel that the real backend built: its project and version, and its compiled code.

Compiled code is recognised by the first bytes of the members of the archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.config.project import Project
from polywheel.errors import BuildError, Problem
from polywheel.formats.metadata import parse_metadata
from polywheel.model.setup import BackendChoice, Entry, SetupRule
from polywheel.model.wheelname import WheelName, is_build_of
from polywheel.setup.build_directory import declares_any
from polywheel.setup.flags_and_settings import FLAG_VARIABLES
from polywheel.setup.presets import project_presets
from polywheel.wheel.archive.central_directory import DEFLATED, STORED
from polywheel.wheel.archive.reader import Archive, open_archive
from polywheel.wheel.disagreements import name_disagreements
from polywheel.wheel.dist_info import read_dist_info

_MAGIC = (
    b"\x7fELF",  # also GPU code of CUDA and ROCm
    # Mach-O, for 32 and 64 bit, in either byte order.
    *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    b"MZ",  # Windows
    *(b"!<arch>\n", b"!<thin>\n"),  # static libraries
    b"BC\xc0\xde",  # LLVM bitcode
    b"\0asm",  # WebAssembly
    *(b"\x50\xed\x55\xba", b"\x03\x02\x23\x07", b"MTLB"),  # CUDA fatbin, SPIR-V, Metal
)
_UNIVERSAL = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
_OLDEST_JAVA = 45
"""The version of class files of Java 1.0. Class files and universal binaries of macOS begin with the
same four bytes; the next four are the version, or the number of architectures."""
_LIKELY = (".so", ".pyd", ".dll", ".dylib", ".exe", ".a", ".lib", ".o", ".obj", ".node")
_TEXT = (".py", ".pyi", ".pyx", ".pxd", ".txt", ".md", ".rst", ".json", ".toml", ".h", "/")
_LENGTH = 8


def find_compiled_member(archive: Archive) -> str | None:
    """Return the name of a member with compiled code; None if there is none.

    Compiled code is a program, a library, or an object file for some machine, or code for a GPU.
    Raises WheelError for a broken archive.
    """
    names = archive.table.names
    candidates = [number for number, name in enumerate(names) if not name.endswith(_TEXT)]
    for number in sorted(candidates, key=lambda number: not names[number].endswith(_LIKELY)):
        member = archive.table.member(number)
        if member.method not in (STORED, DEFLATED):
            return member.name  # compressed in an unknown way: it may be compiled code
        if member.size and _is_compiled(archive.start(member, _LENGTH)):
            return member.name
    return None


def _is_compiled(start: bytes) -> bool:
    if start.startswith(_UNIVERSAL):
        return int.from_bytes(start[4:8], "big") < _OLDEST_JAVA
    return start.startswith(_MAGIC)


_ALWAYS_COMPILES = frozenset({"meson-python", "scikit-build-core", "maturin"})
"""Profiles of backends for projects with compiled code."""
_WITHOUT_SETUP_PY = frozenset({"flit-core", "hatchling", "pdm-backend", "poetry-core", "uv-build"})
"""Profiles of backends that do not read setup.py. All others may, also without a profile."""
_EXTENSIONS = re.compile(
    r"\b(ext_modules|Extension|build_ext|cythonize|mypycify|cffi_modules|rust_extensions|skbuild)\b"
)
"""Names in a setup.py with extension modules."""
_MAX_SCRIPT = 1024 * 1024
_DECLARED = (
    "name and version in [project] are fixed; list them in dynamic if the backend computes them"
)


def check_built_wheel(
    wheel: Path, project: Project, choice: BackendChoice, *, flags: Sequence[Entry], compiled: bool
) -> None:
    """Raise BuildError for a wheel of another project or version.

    With ``compiled``, also raise it for a wheel without compiled code if its tags, the compiler
    ``flags`` of the build, or declarations of the project make it expected. Raises WheelError for a
    wheel that can't be read.
    """
    name = WheelName.parse(wheel.name)
    with wheel.open("rb") as file:
        archive = open_archive(file, wheel)
        dist_info = read_dist_info(archive)
        headers = parse_metadata(dist_info.metadata, at=f"{wheel.name}: METADATA")
        expected = _expects_compiled_code(name, project, choice, flags) if compiled else None
        lacking = expected if expected and find_compiled_member(archive) is None else None
    problems = [
        Problem(what, wheel.name) for what in name_disagreements(headers, name, dist_info.folder)
    ]
    if other := release_mismatch(name, project=project.name, version=project.version):
        problems.append(Problem(f"the real backend built {other}", wheel.name, _DECLARED))
    if lacking is not None:
        problems.append(
            Problem(
                f"{wheel.name} has no compiled file, but {lacking}",
                at=f"the real backend {choice.build_backend!r}",
                hint="look for a failed compiler in the output above; if the project has no compiled "
                "code, set [tool.polywheel] compiled = false",
            )
        )
    if problems:
        raise BuildError.collected(problems)


def release_mismatch(name: WheelName, *, project: str | None, version: str | None) -> str | None:
    """Describe a wheel that is not of this project and version; None if it is.

    ``project`` is the normalized name in pyproject.toml, ``version`` the version there; None is not
    compared. A backend may add a pre, post, dev, or local part to the version.
    """
    if project is not None and canonicalize_name(name.distribution) != project:
        return f"a wheel of {name.distribution!r}, the project is {project!r}"
    if version is not None and not is_build_of(name.version, version):
        return f"version {name.version!r}, pyproject.toml has {version!r}"
    return None


def _expects_compiled_code(
    name: WheelName, project: Project, choice: BackendChoice, flags: Sequence[Entry]
) -> str | None:
    """Why a wheel of a variant must have compiled code; None if it need not."""
    compiled = project.settings.compiled
    if compiled is not None:
        return f"{project.at('tool.polywheel.compiled')} is true" if compiled else None
    return next(_signs_of_compiled_code(name, project, choice, flags), None)


def _signs_of_compiled_code(
    name: WheelName, project: Project, choice: BackendChoice, flags: Sequence[Entry]
) -> Iterator[str]:
    if name.platform != "any":
        yield f"it is for the platform {name.platform}"
    if flags:
        yield f"its variant asks for the compiler flag {flags[0].value!r} (from {flags[0].origin})"
    profile = choice.profile_name
    if profile in _ALWAYS_COMPILES:
        yield f"{profile} is for projects with something to compile"
    if profile not in _WITHOUT_SETUP_PY and (declared := _extension_modules(project)):
        yield f"the project has extension modules ({declared})"
    hooks = choice.profile.hooks if choice.profile is not None else ()
    if declares_any(project, hooks) and (rule := _rule_with_flags(project, profile)):
        yield f"the project has a build hook, and {rule} asks for compiler flags"


def _rule_with_flags(project: Project, profile: str | None) -> str | None:
    """The location of a rule with compiler flags, in the project or in one of its presets.

    A build hook that compiles for one variant compiles for all variants, also for the null variant,
    which has no flags.
    """
    presets = project_presets(project)
    rules = (*project.settings.setup, *(rule for preset in presets for rule in preset.rules))
    return next((rule.at for rule in rules if _has_flags(rule, profile)), None)


def _has_flags(rule: SetupRule, profile: str | None) -> bool:
    for_backend = [fields for name, fields in rule.by_backend.items() if name == profile]
    every = (rule.fields, *rule.by_compiler.values(), *for_backend)
    return any(
        any(fields.flags.values()) or not FLAG_VARIABLES.isdisjoint(fields.env) for fields in every
    )


def _extension_modules(project: Project) -> str | None:
    """Where a project declares extension modules for setuptools; None if it does not."""
    tool = project.document.get("tool")
    tables = tool if isinstance(tool, dict) else {}
    setuptools = tables.get("setuptools")
    if isinstance(setuptools, dict) and setuptools.get("ext-modules"):
        return "tool.setuptools.ext-modules"
    if tables.get("setuptools-rust"):
        return "tool.setuptools-rust"
    try:
        with (project.source / "setup.py").open(encoding="utf-8", errors="replace") as file:
            return "setup.py" if _EXTENSIONS.search(file.read(_MAX_SCRIPT)) else None
    except OSError:
        return None
