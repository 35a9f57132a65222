"""Find the languages that a project compiles in its build files, without running any of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from polywheel.config.project import look_up
from polywheel.system.files import walk

LANGUAGES = {
    "c": "C",
    "cpp": "C++",
    "objc": "Objective-C",
    "fortran": "Fortran",
    "cuda": "CUDA",
    "hip": "HIP",
    "rust": "Rust",
    "cython": "Cython",
    "d": "D",
}
"""Names for users, by the names of Meson."""

_CMAKE = {name.upper(): name for name in ("c", "objc", "cuda", "hip")}
_CMAKE |= {"CXX": "cpp", "OBJCXX": "objc", "Fortran": "fortran"}
_CMAKE_OPTIONS = {"VERSION", "COMPAT_VERSION", "DESCRIPTION", "HOMEPAGE_URL", "SPDX_LICENSE"}
_MESON = {**{name: name for name in LANGUAGES}, "objcpp": "objc"}
_SUFFIXES = {".c": "c", ".cu": "cuda", ".hip": "hip", ".rs": "rust", ".pyx": "cython"}
_SUFFIXES |= dict.fromkeys((".cc", ".cpp", ".cxx"), "cpp")
_SUFFIXES |= dict.fromkeys((".m", ".mm"), "objc")
_SUFFIXES |= dict.fromkeys((".f", ".for", ".f90", ".f95"), "fortran")
_ALWAYS_COMPILED = frozenset({".pyx", ".cu", ".hip"})
"""Suffixes of files that are always compiled. A .c file may be the data of a package."""

_EXTENSIONS = re.compile(r"(\w*Extension|cythonize|mypycify)")
_EXTENSION_KEYS = {"ext_modules": "c", "rust_extensions": "rust", "cffi_modules": "c"}
_SKIPPED = {"build", "dist", "node_modules", "__pycache__", "site-packages", "target"}
_NOT_COMPILED = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks"}
)
"""Folders whose source files are seldom compiled into the wheel."""

_COMPILING_HOOK = {"cython", "mypyc", "cmake", "meson", "rust", "cffi", "scikit-build"}
"""Hooks of hatchling that compile (hatch-cython, hatch-mypyc, …)."""

_MAX_TEXT = 1_000_000
"""Bytes of a build file that are read."""

_MAX_ENTRIES = 50_000
"""Files and folders of a source tree that are examined."""


def languages(source: Path, document: Mapping[str, Any]) -> dict[str, str]:
    """The languages of a project, each with the file that shows it, relative to the project.

    ``document`` is its pyproject.toml.
    """
    files: dict[str, str] = {}
    for language, file in (
        *_meson(source),
        *_cmake(source, document),
        *_cargo(source, document),
        *_setuptools(source, document),
        *_files(source),
        *_build_scripts(source, document),
    ):
        files.setdefault(language, file)
    return {name: files[name] for name in LANGUAGES if name in files}


def meson_options(source: Path) -> set[str]:
    """The names of the options that a Meson project declares."""
    options: set[str] = set()
    for name in ("meson.options", "meson_options.txt"):
        text = _without_comments(_text(source / name), "'", keep_strings=True)
        options.update(re.findall(r"\boption\s*\(\s*'([^']*)'", text))
    return options


def _text(path: Path) -> str:
    """The beginning of a build file; empty if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _without_comments(text: str, quote: str, *, keep_strings: bool = False) -> str:
    """Remove comments, and the content of strings unless ``keep_strings`` is set."""
    pattern = rf"({quote}(?:\\.|[^{quote}\\])*{quote})|#[^\n]*"

    def replacement(match: re.Match[str]) -> str:
        string: str | None = match[1]
        return "" if string is None else string if keep_strings else quote * 2

    return re.sub(pattern, replacement, text)


def _meson(source: Path) -> Iterator[tuple[str, str]]:
    text = _without_comments(_text(source / "meson.build"), "'", keep_strings=True)
    for call, arguments in re.findall(r"\b(project|add_languages)\s*\(([^)]*)", text):
        # Keywords follow the names. In project(), the first name is that of the project.
        positional = re.split(r"\b\w+\s*:(?!//)", arguments, maxsplit=1)[0]
        names = re.findall(r"'([^']*)'", positional)
        for name in names[1:] if call == "project" else names:
            if name in _MESON:
                yield _MESON[name], "meson.build"


def _cmake(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    folder = _string(document, "tool.scikit-build.cmake.source-dir") or "."
    file = PurePosixPath(folder, "CMakeLists.txt").as_posix()
    text = _without_comments(_text(source / file) if _is_inside(file) else "", '"')
    for call, arguments in re.findall(r"(?i)\b(project|enable_language)\s*\(([^)]*)\)", text):
        words = arguments.split()
        names = words if call.lower() == "enable_language" else _project_languages(words)
        yield from ((_CMAKE[name], file) for name in names if name in _CMAKE)


def _project_languages(words: list[str]) -> list[str]:
    """The languages of ``project(…)``: by default, C and CXX (CMake manual, "project")."""
    rest = iter(words[1:])
    named = []
    for word in rest:
        if word in _CMAKE_OPTIONS:
            next(rest, None)
        elif word != "LANGUAGES":
            named.append(word)
    return named or ["C", "CXX"]


def _cargo(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (_string(document, "tool.maturin.manifest-path"), "Cargo.toml"):
        if name and _is_inside(name) and (source / name).is_file():
            yield "rust", name
    if _string(document, "build-system.build-backend") == "maturin":
        yield "rust", "pyproject.toml"


def _setuptools(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for tool, default in (("setuptools", "c"), ("setuptools-rust", "rust")):
        modules = look_up(document, f"tool.{tool}.ext-modules")
        for module in modules if isinstance(modules, list) else ():
            sources = module.get("sources") if isinstance(module, dict) else None
            names = [name for name in sources if isinstance(name, str)] if sources else []
            for language in _by_suffix(names) or {default}:
                yield language, "pyproject.toml"
    for language in _setup_script(_text(source / "setup.py")):
        yield language, "setup.py"


def _build_scripts(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The languages that a build script compiles: a hook of the backend, or an in-tree backend.

    A script without a list of sources may compile any source file of the project.
    """
    scripts = [name for name in _script_names(document) if (source / name).is_file()]
    for name in scripts:
        yield from ((language, name) for language in _setup_script(_text(source / name)))
    hooks = [look_up(document, f"tool.hatch.build{part}.hooks") for part in ("", ".targets.wheel")]
    compiling = any(_COMPILING_HOOK & set(names) for names in hooks if isinstance(names, Mapping))
    if scripts or compiling:
        yield from _files(source, suffixes=frozenset(_SUFFIXES), skipped=_NOT_COMPILED)


def _script_names(document: Mapping[str, Any]) -> Iterator[str]:
    """Relative paths of build scripts that a project names, or that its backend looks for."""
    paths = ("tool.poetry.build", "tool.poetry.build.script", "tool.pdm.build.custom-hook")
    names = [_string(document, path) for path in paths]
    for part in ("", ".targets.wheel"):
        hook = f"tool.hatch.build{part}.hooks.custom"
        if look_up(document, hook) is not None:
            names.append(_string(document, f"{hook}.path") or "hatch_build.py")
    yield from (name for name in names if name and _is_inside(name))
    backend = _string(document, "build-system.build-backend") or ""
    if backend.startswith("pdm."):
        yield "pdm_build.py"
    folders = look_up(document, "build-system.backend-path")
    module = PurePosixPath(*backend.partition(":")[0].split("."))
    for folder in folders if isinstance(folders, list) else ():
        if isinstance(folder, str) and _is_inside(folder):
            yield PurePosixPath(folder, module).with_suffix(".py").as_posix()
            yield PurePosixPath(folder, module, "__init__.py").as_posix()


def _setup_script(text: str) -> set[str]:
    """The languages of the extension modules in a setup.py. The file is parsed, not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It may be for Python 2. The mention of extension modules has to suffice.
        return {"c"} if "ext_modules" in text else set()
    called: set[str] = set()
    sources: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called |= {_EXTENSION_KEYS[key.arg] for key in node.keywords if key.arg in _EXTENSION_KEYS}
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = node.func.id if isinstance(node.func, ast.Name) else name
        if name and _EXTENSIONS.fullmatch(name):
            called.add("cuda" if name.startswith("CUDA") else "c")
            constants = (part for part in ast.walk(node) if isinstance(part, ast.Constant))
            sources += [part.value for part in constants if isinstance(part.value, str)]
    return (_by_suffix(sources) | (called - {"c"})) or called


def _by_suffix(names: Iterable[str]) -> set[str]:
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    return {_SUFFIXES[suffix] for suffix in suffixes if suffix in _SUFFIXES}


def _files(
    source: Path,
    *,
    suffixes: frozenset[str] = _ALWAYS_COMPILED,
    skipped: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, str]]:
    """Source files with these suffixes, without hidden folders and results of builds.

    ``skipped`` are more names of folders to leave out. The top folder has no source files in examples and tests.
    """
    seen = 0
    for folder, folders, names in walk(source, strict=False):
        is_top = Path(folder) == source
        ignored = _SKIPPED | (_NOT_COMPILED if is_top else skipped)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in ignored
            and not Path(folder, name, "pyvenv.cfg").exists()
        )
        seen += len(folders) + len(names)
        if seen > _MAX_ENTRIES:
            return
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if suffix in suffixes:
                yield _SUFFIXES[suffix], Path(folder, name).relative_to(source).as_posix()


def _is_inside(name: str) -> bool:
    """Whether the text of a relative path stays in the project. Links are not considered."""
    path = PureWindowsPath(name)  # reads both kinds of separators
    return not path.anchor and ".." not in path.parts


def _string(document: Mapping[str, Any], path: str) -> str | None:
    value = look_up(document, path)
    return value if isinstance(value, str) else None
