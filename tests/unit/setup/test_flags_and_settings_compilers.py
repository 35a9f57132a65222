"""The compiler family, from the name of the compiler."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from polywheel.setup.flags_and_settings import compiler_family

PLATFORM = (
    "gnu"
    if sysconfig.get_platform().startswith("mingw")
    else {"win32": "msvc", "darwin": "clang"}.get(sys.platform, "gnu")
)
"""What the platform's own compiler is."""


@pytest.mark.parametrize(
    ("command", "family"),
    [
        ("gcc", "gnu"),
        ("g++", "gnu"),
        ("gfortran", "gnu"),
        ("gcc-14", "gnu"),
        ("g++-13.2", "gnu"),
        ("gcc12", "gnu"),
        ("gcc-mp-13", "gnu"),
        ("/usr/bin/gcc", "gnu"),
        ("./tools/gcc", "gnu"),
        ("x86_64-linux-gnu-gcc-12", "gnu"),
        ("aarch64-linux-gnu-g++", "gnu"),
        ("x86_64-w64-mingw32-gcc.exe", "gnu"),
        ("gcc -m32 -pthread", "gnu"),
        ("ccache gcc", "gnu"),
        ("/usr/bin/ccache /usr/lib/gcc", "gnu"),
        ("/usr/lib/ccache/gcc", "gnu"),
        ("env CCACHE_DIR=/tmp gcc", "gnu"),
        ("env -i gcc", "gnu"),
        ('"/opt/my tools/gcc"', "gnu"),
        (r"/opt/my\ tools/gcc", "gnu"),
        ("clang", "clang"),
        ("clang++", "clang"),
        ("clang-17", "clang"),
        ("clang++-17", "clang"),
        ("clang15", "clang"),
        ("clang-cpp", "clang"),
        ("arm64-apple-darwin20.0.0-clang", "clang"),
        ("ccache sccache distcc clang++-18", "clang"),
        ("/opt/rocm/bin/amdclang++", "clang"),
        ("icx", "clang"),
        ("icpx", "clang"),
        ("zig cc", "clang"),
        ("cl", "msvc"),
        ("cl.exe", "msvc"),
        ("CL.EXE", "msvc"),
        ("clang-cl", "msvc"),
        ("clang-cl-17", "msvc"),
        ("clang-cl.exe /nologo", "msvc"),
        (r"C:\VC\bin\cl.exe", "msvc"),
        (r"C:\VC\bin\cl.exe /nologo", "msvc"),
        (r'"C:\Program Files\Microsoft Visual Studio\VC\bin\cl.exe"', "msvc"),
        (r'"C:\Program Files\Microsoft Visual Studio\VC\bin\cl.exe" /nologo', "msvc"),
        (r"C:\Program Files\Microsoft Visual Studio\VC\bin\cl.exe", "msvc"),
        ("C:/Program Files/LLVM/bin/clang-cl.exe", "msvc"),
        ("C:/Program Files/LLVM/bin/clang.exe", "clang"),
        (r"C:\ccache\ccache.exe C:\LLVM\bin\clang.exe", "clang"),
        (r"ccache C:\LLVM\bin\clang-cl.exe", "msvc"),
        ("sccache.exe cl.exe", "msvc"),
    ],
)
@pytest.mark.parametrize("variable", ["CC", "CXX"])
def test_the_family_of_a_command(command: str, family: str, variable: str) -> None:
    assert compiler_family({variable: command}) == (family, None)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("tcc", "tcc"),
        ("nvc++", "nvc++"),
        (f"{sys.executable} -O2", Path(sys.executable).name.lower().removesuffix(".exe")),
        ("ccache mycompiler", "mycompiler"),
        ("xclang", "xclang"),
        ("oracle", "oracle"),
        ("ccache", "ccache"),
        ("'unbalanced gcc", "'unbalanced"),
    ],
)
def test_an_unknown_compiler_is_spelled_to_as_gcc_with_a_note(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: name)
    family, note = compiler_family({"CC": command})
    assert family == "gnu"
    assert note == f"the compiler {name!r} (CC) is unknown: flags for GCC are used"


@pytest.mark.parametrize("command", ["nogcc", "ccache nogcc -O2"])
def test_a_compiler_that_is_not_on_the_path_has_a_note(command: str, tmp_path: Path) -> None:
    family, note = compiler_family({"CC": command, "PATH": str(tmp_path)})
    assert family == "gnu"
    assert note == "the compiler 'nogcc' (CC) was not found: flags for GCC are used"


def test_a_compiler_that_does_not_exist_has_a_note_too(tmp_path: Path) -> None:
    path = str(tmp_path / "armcc")
    family, note = compiler_family({"CC": f'"{path}" -O2'})
    assert family == "gnu"
    assert note == f"the compiler {path!r} (CC) does not exist: flags for GCC are used"


def test_a_compiler_whose_path_no_system_takes() -> None:
    assert compiler_family({"CC": "/" + 300 * "x" + "/armcc"})[0] == "gnu"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"CC": ""},
        {"CC": "  ", "CXX": ""},
        {"CC": "cc"},
        {"CC": "cc", "CXX": "c++"},
        {"CC": "/usr/bin/cc -m64"},
        {"CC": "c99"},
        {"CC": "x86_64-conda-linux-gnu-cc", "CXX": "x86_64-conda-linux-gnu-c++"},
    ],
)
def test_without_a_name_that_says_more_it_is_the_platforms_own(environment: dict[str, str]) -> None:
    assert compiler_family(environment) == (PLATFORM, None)


@pytest.mark.parametrize(
    ("environment", "family"),
    [
        ({"CC": "clang", "CXX": "g++"}, "clang"),
        ({"CC": "gcc", "CXX": "clang++"}, "gnu"),
        ({"CC": "cc", "CXX": "clang++"}, "clang"),
        ({"CC": "", "CXX": "cl"}, "msvc"),
    ],
)
def test_cc_goes_before_cxx_where_it_says_something(
    environment: dict[str, str], family: str
) -> None:
    assert compiler_family(environment) == (family, None)
