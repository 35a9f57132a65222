"""Which languages a project compiles, as its build files say. Nothing of the project is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

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
"""As Meson calls them, and as people do."""

_CMAKE = {
    "C": "c",
    "CXX": "cpp",
    "OBJC": "objc",
    "OBJCXX": "objc",
    "Fortran": "fortran",
    "CUDA": "cuda",
    "HIP": "hip",
}
_CMAKE_OPTIONS = {"VERSION", "COMPAT_VERSION", "DESCRIPTION", "HOMEPAGE_URL", "SPDX_LICENSE"}
_MESON = {**{name: name for name in LANGUAGES}, "objcpp": "objc"}
_SUFFIXES = {
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".m": "objc",
    ".mm": "objc",
    ".cu": "cuda",
    ".hip": "hip",
    ".rs": "rust",
    ".pyx": "cython",
    ".f": "fortran",
    ".for": "fortran",
    ".f90": "fortran",
    ".f95": "fortran",
}
_TELLING = frozenset({".pyx", ".cu", ".hip"})
"""Suffixes of files that are compiled wherever they lie; a lone .c may be a test's data."""

_EXTENSIONS = re.compile(r"(\w*Extension|cythonize|mypycify)")
_EXTENSION_KEYS = {"ext_modules": "c", "rust_extensions": "rust", "cffi_modules": "c"}
_SKIPPED = {"build", "dist", "node_modules", "__pycache__", "site-packages", "target"}
_NOT_COMPILED = frozenset({"test", "tests", "testing", "doc", "docs", "examples", "benchmarks"})
"""Folders whose source files a build script seldom compiles."""

_COMPILING_HOOK = {"cython", "mypyc", "cmake", "meson", "rust", "cffi", "scikit-build"}
"""Plugins of hatchling that compile (hatch-cython, hatch-mypyc, ...), by the name of their table."""

_MAX_TEXT = 1_000_000
"""Bytes of a build file that are looked at."""

_MAX_ENTRIES = 50_000
"""Files of a source tree that are looked at."""


def languages(source: Path, document: Mapping[str, Any]) -> dict[str, str]:
    """The languages of a project, each with the file that tells of it, relative to the project.

    ``document`` is its pyproject.toml.
    """
    found: dict[str, str] = {}
    for language, where in (
        *_meson(source),
        *_cmake(source, document),
        *_cargo(source, document),
        *_setuptools(source, document),
        *_files(source),
        *_build_scripts(source, document),
    ):
        found.setdefault(language, where)
    return {name: found[name] for name in LANGUAGES if name in found}


def meson_options(source: Path) -> set[str]:
    """The names of the options that a Meson project has of its own."""
    found: set[str] = set()
    for name in ("meson.options", "meson_options.txt"):
        text = _without_comments(_text(source / name) or "", "'", keep=True)
        found.update(re.findall(r"\boption\s*\(\s*'([^']*)'", text))
    return found


def _text(path: Path) -> str | None:
    """What a build file says, up to a bound; None where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT).decode("utf-8", errors="replace")
    except OSError:
        return None


def _without_comments(text: str, quote: str, *, keep: bool = False) -> str:
    """A text without its comments, and with nothing in its strings unless they are to be kept."""
    pattern = rf"({quote}(?:\\.|[^{quote}\\])*{quote})|#[^\n]*"
    return re.sub(
        pattern, lambda one: (one[1] if keep else f"{quote}{quote}") if one[1] else "", text
    )


def _meson(source: Path) -> Iterator[tuple[str, str]]:
    text = _without_comments(_text(source / "meson.build") or "", "'", keep=True)
    for call, arguments in re.findall(r"\b(project|add_languages)\s*\(([^)]*)", text):
        # Names come first, keywords after them; a project's own name comes before its languages.
        positional = re.split(r"\b\w+\s*:(?!//)", arguments, maxsplit=1)[0]
        names = re.findall(r"'([^']*)'", positional)
        for name in names[1:] if call == "project" else names:
            if name in _MESON:
                yield _MESON[name], "meson.build"


def _cmake(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    folder = _string(document, "tool", "scikit-build", "cmake", "source-dir") or "."
    where = PurePosixPath(folder, "CMakeLists.txt").as_posix()
    text = _without_comments((_text(source / where) if _inside(where) else None) or "", '"')
    for call, arguments in re.findall(r"(?i)\b(project|enable_language)\s*\(([^)]*)\)", text):
        words = arguments.split()
        names = words if call.lower() == "enable_language" else _project_languages(words)
        for name in names:
            if name in _CMAKE:
                yield _CMAKE[name], where


def _project_languages(words: list[str]) -> list[str]:
    """The languages of ``project(…)``: C and CXX where it names none (CMake manual, "project")."""
    rest = iter(words[1:])
    named = []
    for word in rest:
        if word in _CMAKE_OPTIONS:
            next(rest, None)
        elif word != "LANGUAGES":
            named.append(word)
    return named or ["C", "CXX"]


def _cargo(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (_string(document, "tool", "maturin", "manifest-path"), "Cargo.toml"):
        if name and _inside(name) and (source / name).is_file():
            yield "rust", name
    if _string(document, "build-system", "build-backend") == "maturin":
        yield "rust", "pyproject.toml"


def _setuptools(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, name in (("setuptools", "c"), ("setuptools-rust", "rust")):
        modules = _at(document, "tool", kind, "ext-modules")
        for module in modules if isinstance(modules, list) else ():
            sources = module.get("sources") if isinstance(module, dict) else None
            listed = [one for one in sources if isinstance(one, str)] if sources else []
            for language in _by_suffix(listed) or {name}:
                yield language, "pyproject.toml"
    text = _text(source / "setup.py")
    for language in _setup_script(text) if text else ():
        yield language, "setup.py"


def _build_scripts(source: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The languages that a build script compiles: a hook of the backend, or an in-tree backend.

    A script that lists no sources may compile any: then the source files of the project count.
    """
    scripts = [name for name in _script_names(document) if (source / name).is_file()]
    for name in scripts:
        for language in _setup_script(_text(source / name) or ""):
            yield language, name
    plugins = (
        _at(document, "tool", "hatch", "build", "hooks"),
        _at(document, "tool", "hatch", "build", "targets", "wheel", "hooks"),
    )
    compiling = any(_COMPILING_HOOK & set(hooks) for hooks in plugins if isinstance(hooks, Mapping))
    if scripts or compiling:
        yield from _files(source, suffixes=frozenset(_SUFFIXES), skipped=_NOT_COMPILED)


def _script_names(document: Mapping[str, Any]) -> Iterator[str]:
    """Relative paths of the build scripts that a project names, or that its backend looks for."""
    named = (
        _string(document, "tool", "poetry", "build"),
        _string(document, "tool", "poetry", "build", "script"),
        _string(document, "tool", "pdm", "build", "custom-hook"),
        *(
            _string(document, "tool", "hatch", "build", *where, "hooks", "custom", "path")
            or "hatch_build.py"
            for where in ((), ("targets", "wheel"))
            if _at(document, "tool", "hatch", "build", *where, "hooks", "custom") is not None
        ),
    )
    yield from (name for name in named if name and _inside(name))
    backend = _string(document, "build-system", "build-backend") or ""
    if backend.startswith("pdm."):
        yield "pdm_build.py"
    folders = _at(document, "build-system", "backend-path")
    module = PurePosixPath(*backend.partition(":")[0].split("."))
    for folder in folders if isinstance(folders, list) else ():
        if isinstance(folder, str) and _inside(folder):
            yield PurePosixPath(folder, module).with_suffix(".py").as_posix()
            yield PurePosixPath(folder, module, "__init__.py").as_posix()


def _setup_script(text: str) -> set[str]:
    """The languages of the extension modules that a setup.py makes. It is parsed, not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Of Python 2, perhaps: that it speaks of extension modules has to do.
        return {"c"} if "ext_modules" in text else set()
    asked: set[str] = set()
    sources: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            asked |= {
                _EXTENSION_KEYS[one.arg] for one in node.keywords if one.arg in _EXTENSION_KEYS
            }
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name and _EXTENSIONS.fullmatch(name):
                asked.add("cuda" if name.startswith("CUDA") else "c")
                sources += [
                    one.value
                    for one in ast.walk(node)
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
    return (_by_suffix(sources) | (asked - {"c"})) or asked


def _by_suffix(names: list[str]) -> set[str]:
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    return {_SUFFIXES[one] for one in suffixes if one in _SUFFIXES}


def _files(
    source: Path,
    *,
    suffixes: frozenset[str] = _TELLING,
    skipped: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, str]]:
    """Source files with these suffixes; hidden folders and results of builds left out."""
    seen = 0
    for folder, folders, names in walk(source, strict=False):
        folders[:] = sorted(
            one
            for one in folders
            if not one.startswith(".")
            and one not in _SKIPPED
            and one not in skipped
            and not Path(folder, one, "pyvenv.cfg").exists()
        )
        seen += len(folders) + len(names)
        if seen > _MAX_ENTRIES:
            return
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if suffix in suffixes:
                yield _SUFFIXES[suffix], Path(folder, name).relative_to(source).as_posix()


def _inside(name: str) -> bool:
    """Whether a relative path that a file names stays in the project, as far as its words go."""
    path = PureWindowsPath(name)  # reads both kinds of separators
    return not path.anchor and ".." not in path.parts


def _string(document: Mapping[str, Any], *keys: str) -> str | None:
    value = _at(document, *keys)
    return value if isinstance(value, str) else None


def _at(document: Mapping[str, Any], *keys: str) -> Any:  # noqa: ANN401  # whatever TOML holds
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
