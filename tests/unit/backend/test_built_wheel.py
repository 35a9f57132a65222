"""Checks of the wheel that the real backend built: its project, its version, and its compiled code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from polywheel.backend.built_wheel import check_built_wheel, find_compiled_member
from polywheel.config.project import read_project
from polywheel.errors import BuildError, Problem
from polywheel.model.setup import BackendChoice, Entry
from polywheel.setup.profiles import shipped_profiles
from polywheel.wheel.archive.reader import open_archive
from support.wheels import FIELDS, FILES, INFO, row, zipped

ANY, LINUX = "py3-none-any", "cp312-cp312-linux_x86_64"
FLAG = Entry("-march=x86-64-v3", "pyproject.toml: tool.polywheel.setup.cpu")
ELF = b"\x7fELF\2\1\1" + bytes(57)
PROJECT = '[project]\nname = "Demo"\nversion = "1.0"\n'


def wheel(
    folder: Path,
    tag: str = ANY,
    *,
    name: str = "demo-1.0",
    info: str = INFO,
    fields: bytes = FIELDS,
    files: Mapping[str, bytes] = FILES,
) -> Path:
    content = {**files, f"{info}/METADATA": fields, f"{info}/WHEEL": b"Wheel-Version: 1.0\n"}
    path = folder / f"{name}-{tag}.whl"
    record = "".join(row(name, text) for name, text in content.items()) + f"{info}/RECORD,,\n"
    path.write_bytes(zipped({**content, f"{info}/RECORD": record.encode()}))
    return path


def problems(
    path: Path,
    pyproject: str = PROJECT,
    *,
    backend: str | None = None,
    flags: tuple[Entry, ...] = (),
    compiled: bool = True,
) -> tuple[Problem, ...]:
    (path.parent / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    project = read_project(path.parent, variants=False)
    profile = next((one for one in shipped_profiles() if one.name == backend), None)
    choice = BackendChoice(build_backend="backend", backend_path=None, profile=profile)
    try:
        check_built_wheel(path, project, choice, flags=flags, compiled=compiled)
    except BuildError as error:
        return error.problems
    return ()


# Whose wheel it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "info", "fields"),
    [
        ("demo-1.0", INFO, FIELDS),
        ("Demo-1.0.0", "DEMO-1.0.dist-info", FIELDS.replace(b"demo", b"dEmO")),
        ("demo-1.0", INFO, FIELDS.replace(b"1.0\n", b"v1.0.0\n")),
    ],
)
def test_a_wheel_of_the_project(name: str, info: str, fields: bytes, tmp_path: Path) -> None:
    assert problems(wheel(tmp_path, name=name, info=info, fields=fields)) == ()


@pytest.mark.parametrize(
    ("name", "info", "fields", "said"),
    [
        (
            "other-1.0",
            "other-1.0.dist-info",
            FIELDS.replace(b"demo", b"other"),
            "built a wheel of 'other', the project is 'demo'",
        ),
        (
            "demo-1.1",
            "demo-1.1.dist-info",
            FIELDS.replace(b"1.0\n", b"1.1\n"),
            "built version '1.1', pyproject.toml has '1.0'",
        ),
        ("demo-1.0", INFO, FIELDS.replace(b"demo", b"other"), "METADATA names 'other'"),
        ("demo-1.0", INFO, FIELDS.replace(b"1.0\n", b"2.0\n"), "METADATA has the version '2.0'"),
        ("demo-1.0", INFO, b"Metadata-Version: 2.1\n", "METADATA names ''"),
        ("demo-1.0", "demo-2.0.dist-info", FIELDS, "'demo-2.0.dist-info' has the version '2.0'"),
    ],
)
def test_a_wheel_of_something_else(
    name: str, info: str, fields: bytes, said: str, tmp_path: Path
) -> None:
    found = problems(wheel(tmp_path, name=name, info=info, fields=fields), compiled=False)
    assert said in " ".join(one.what for one in found)


@pytest.mark.parametrize("pyproject", ["", '[project]\ndynamic = ["version"]\n'])
def test_what_the_project_does_not_say_is_not_held_against_a_wheel(
    pyproject: str, tmp_path: Path
) -> None:
    fields = FIELDS.replace(b"1.0\n", b"7.0\n")
    path = wheel(tmp_path, name="demo-7.0", info="demo-7.0.dist-info", fields=fields)
    assert problems(path, pyproject) == ()


@pytest.mark.parametrize(
    ("built", "declared", "fits"),
    [
        *((version, "1.0", True) for version in ("1.0+cu126", "1.0.0.dev7", "1.0rc1", "1.0.post3")),
        ("1.0rc1.dev3+g1", "1.0rc1", True),
        ("1.0_cu126", "1.0", True),  # as older tools spell it
        ("1.0", "1.0rc1", False),
        ("1.0rc2", "1.0rc1", False),
        ("1.0+cu126", "1.0+cu118", False),
        ("1.1+cu126", "1.0", False),
        ("1!1.0", "1.0", False),
    ],
)
def test_parts_that_a_backend_adds_to_the_version(
    built: str, declared: str, fits: bool, tmp_path: Path
) -> None:
    fields = FIELDS.replace(b"1.0\n", f"{built}\n".encode())
    path = wheel(tmp_path, name=f"demo-{built}", info=f"demo-{built}.dist-info", fields=fields)
    said = f"the real backend built version {built!r}, pyproject.toml has {declared!r}"
    found = problems(path, PROJECT.replace("1.0", declared))
    assert [one.what for one in found] == [said] * (not fits)


# Compiled code ----------------------------------------------------------------------------------


def has_compiled_code(folder: Path, content: bytes, *, name: str, method: int) -> bool:
    path = folder / "a.zip"
    path.write_bytes(zipped({"demo/__init__.py": ELF, "a/": b"", name: content}, method=method))
    with path.open("rb") as file:
        return find_compiled_member(open_archive(file, path)) == name


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["demo/_demo.cpython-312-x86_64-linux-gnu.so", "demo/program"])
@pytest.mark.parametrize(
    ("start", "compiled"),
    [
        (b"\x7fELF\2\1\1\0", True),
        (b"\xcf\xfa\xed\xfe\x0c\0\0\1", True),
        (b"\xca\xfe\xba\xbe\0\0\0\2", True),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", False),  # a class file of Java
        (b"MZ\x90\0\3\0\0\0", True),
        (b"!<arch>\n", True),
        (b"\0asm\1\0\0\0", True),
        (b"#!/bin/sh", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"PK\3\4", False),
        (b"", False),
    ],
)
def test_what_is_compiled_code(
    start: bytes, compiled: bool, name: str, method: int, tmp_path: Path
) -> None:
    content = start + bytes(range(256)) * 40 if start else b""
    assert has_compiled_code(tmp_path, content, name=name, method=method) == compiled


def test_a_large_member_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MB of zeros, 64 kB as they lie in the archive."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"demo/data": bytes(64 << 20)}))
    read: list[int] = []
    with path.open("rb") as file:
        archive = open_archive(file, path)
        monkeypatch.setattr(
            type(archive), "read", lambda *_, **__: pytest.fail("a member was read whole")
        )
        (member,) = archive.members
        read.append(len(archive.start(member, 8)))
        assert find_compiled_member(archive) is None
    assert read == [8]


@pytest.mark.parametrize(
    ("tag", "backend", "flags", "more"),
    [
        (LINUX, None, (), ""),
        (LINUX, "flit-core", (), ""),
        (ANY, None, (FLAG,), ""),
        (ANY, "setuptools", (FLAG,), ""),
        (ANY, "meson-python", (), ""),
        (ANY, "setuptools", (), "[[tool.setuptools.ext-modules]]\nname = 'a'\n"),
        (ANY, "flit-core", (), "[tool.polywheel]\ncompiled = true\n"),
    ],
)
def test_a_wheel_without_compiled_code(
    tag: str, backend: str | None, flags: tuple[Entry, ...], more: str, tmp_path: Path
) -> None:
    said = (
        "it is for the platform linux_x86_64"
        if tag == LINUX
        else "its variant asks for the compiler flag '-march=x86-64-v3' (from pyproject.toml: tool"
        if flags
        else "compiled is true"
        if "compiled" in more
        else "the project has extension modules (tool.setuptools.ext-modules)"
        if more
        else "meson-python is for projects with something to compile"
    )
    path = wheel(tmp_path, tag)
    (problem,) = problems(path, PROJECT + more, backend=backend, flags=flags)
    assert problem.what.startswith(f"demo-1.0-{tag}.whl has no compiled file, but ")
    assert said in problem.what
    assert problem.hint
    assert "[tool.polywheel] compiled = false" in problem.hint
    pure = "[tool.polywheel]\ncompiled = false\n"
    assert problems(path, PROJECT + pure, backend=backend, flags=flags) == ()
    assert problems(path, PROJECT + more, backend=backend, flags=flags, compiled=False) == ()
    path = wheel(tmp_path, tag, files={**FILES, "demo/_demo.so": ELF})
    assert problems(path, PROJECT + more, backend=backend, flags=flags) == ()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("from setuptools import setup\nsetup()\n", False),
        ("from setuptools import Extension, setup\nsetup(ext_modules=[…])\n", True),
        ("setup(cffi_modules=['build.py:ffi'])\n", True),
    ],
)
@pytest.mark.parametrize("backend", ["setuptools", None])
def test_extension_modules_in_setup_py(
    backend: str | None, script: str, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / "setup.py").write_text(script, encoding="utf-8")
    found = problems(wheel(tmp_path), backend=backend)
    assert [one.what for one in found] == [
        f"demo-1.0-{ANY}.whl has no compiled file, but the project has extension modules (setup.py)"
    ] * expected


HOOK = "[tool.hatch.build.targets.wheel.hooks.custom]\n"


@pytest.mark.parametrize(
    ("hook", "asks", "rule"),
    [
        (HOOK, '[tool.polywheel.setup.cpu]\ncflags = ["-O3"]\n', "tool.polywheel.setup.cpu"),
        (
            HOOK,
            "[tool.polywheel.setup.cpu.compiler.gnu]\nldflags = ['-s']\n",
            "tool.polywheel.setup.cpu",
        ),
        (HOOK, "[tool.polywheel.setup.cpu.env]\nCXXFLAGS = '-O3'\n", "tool.polywheel.setup.cpu"),
        (HOOK, "[tool.polywheel]\npresets = ['x86_64']\n", "preset x86_64"),
        (HOOK, "[tool.polywheel.setup.cpu]\ncflags = []\n", None),
        (HOOK, "[tool.polywheel.setup.cpu.backend.meson-python]\ncflags = ['-s']\n", None),
        (HOOK, "[tool.polywheel.setup.cpu]\ndependencies = ['mkl']\n", None),
        (HOOK, "", None),
        ("", '[tool.polywheel.setup.cpu]\ncflags = ["-O3"]\n', None),
    ],
)
def test_a_null_wheel_of_a_project_whose_hook_compiles(
    hook: str, asks: str, rule: str | None, tmp_path: Path
) -> None:
    """The null variant asks for no flags itself; a hook may swallow the error of the compiler."""
    found = problems(wheel(tmp_path), PROJECT + hook + asks, backend="hatchling")
    assert len(found) == (rule is not None)
    if rule is not None:
        assert "no compiled file, but the project has a build hook, and " in found[0].what
        assert rule in found[0].what
    pure = "[tool.polywheel]\ncompiled = false\n" + asks.replace("[tool.polywheel]\n", "")
    assert problems(wheel(tmp_path), PROJECT + hook + pure, backend="hatchling") == ()
    compiled = wheel(tmp_path, files={**FILES, "demo/_demo.so": ELF})
    assert problems(compiled, PROJECT + hook + asks, backend="hatchling") == ()


@pytest.mark.parametrize("backend", ["flit-core", "hatchling", "poetry-core", "setuptools", None])
def test_a_pure_project_needs_no_setting(backend: str | None, tmp_path: Path) -> None:
    hook = "[tool.hatch.build.targets.wheel.hooks.custom]\n"
    assert problems(wheel(tmp_path), PROJECT + hook, backend=backend) == ()
