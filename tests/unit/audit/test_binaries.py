"""ELF, Mach-O, and PE files of wheels, whole and damaged."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.audit.binaries import (
    BinaryMember,
    Format,
    Symbol,
    binary_members,
    is_binary,
    parse_binaries,
    read_member,
)
from polywheel.audit.extensions import admitted_extensions
from polywheel.audit.instructions import check_instructions
from polywheel.errors import ConfigError, WheelError
from support.binary_files import (
    AARCH64,
    CODE_AT,
    IMAGE_BASE,
    elf_file,
    mach_o_file,
    pe_file,
    universal_file,
)
from support.wheels import zipped

JAVA_CLASS = b"\xca\xfe\xba\xbe\x00\x00\x00\x3d"


def test_members_with_machine_code_are_found_by_their_first_bytes(tmp_path: Path) -> None:
    wheel = tmp_path / "demo-1.0-cp311-cp311-linux_x86_64.whl"
    code = elf_file()
    files = {
        "demo/__init__.py": b"ELF = 1\n",
        "demo/_core.so": code,
        "demo/data.bin": pe_file(),
        "demo/Main.class": JAVA_CLASS,
        "demo/fat": universal_file(mach_o_file()),
        "demo/empty.so": b"",
    }
    wheel.write_bytes(zipped(files))
    assert binary_members(wheel) == tuple(
        BinaryMember(name, len(files[name]))
        for name in ("demo/_core.so", "demo/data.bin", "demo/fat")
    )
    assert read_member(wheel, "demo/_core.so") == code
    with pytest.raises(WheelError, match="missing"):
        read_member(wheel, "no_such.so")


def test_a_missing_wheel_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=r"demo\.whl can't be read"):
        binary_members(tmp_path / "demo.whl")


@pytest.mark.parametrize(
    "start", [b"\x7fELF\2\1\1\0", b"MZ\x90\0\0\0\0\0", b"\xcf\xfa\xed\xfe0000"]
)
def test_magic_numbers(start: bytes) -> None:
    assert is_binary(start)
    assert not is_binary(start[1:])


def test_an_elf_file() -> None:
    content = elf_file(
        b"\xc3\x90\xc3\xc3",
        functions={"add": (0, 1), "pick": (2, 1), "also_add": (0, 1)},
        resolvers=["pick"],
        libraries=["libopenblas.so.0", "libm.so.6"],
        sections={".nv_fatbin": b"device code"},
    )
    (binary,) = parse_binaries(content, "demo/_core.so")
    assert (binary.file, binary.format, binary.machine) == ("demo/_core.so", Format.ELF, "x86_64")
    assert [(part.name, part.address, bytes(part.content)) for part in binary.code] == [
        (".text", CODE_AT, b"\xc3\x90\xc3\xc3")
    ]
    assert binary.symbols == (
        Symbol("add", CODE_AT, 1, is_exported=True),
        Symbol("also_add", CODE_AT, 1, is_exported=True),
        Symbol("pick", CODE_AT + 2, 1, is_ifunc=True, is_exported=True),
    )
    assert binary.starts == (CODE_AT, CODE_AT + 2)
    assert binary.libraries == ("libopenblas.so.0", "libm.so.6")
    section = binary.section(".nv_fatbin")
    assert section is not None
    assert bytes(section.content) == b"device code"
    assert not section.executable
    assert binary.section(".hip_fatbin") is None


def test_a_windows_dll() -> None:
    (binary,) = parse_binaries(pe_file(b"\xc3\xcc"), "demo/_core.pyd")
    assert (binary.format, binary.machine) == (Format.PE, "x86_64")
    assert [(part.name, part.address, bytes(part.content)) for part in binary.code] == [
        (".text", IMAGE_BASE + CODE_AT, b"\xc3\xcc")
    ]
    (arm,) = parse_binaries(pe_file(machine=0xAA64), "demo/_core.pyd")
    assert arm.machine == "aarch64"


def test_a_mach_o_file_does_not_need_itself() -> None:
    needed = ["@rpath/libomp.dylib", "/usr/lib/libSystem.B.dylib"]
    content = mach_o_file(libraries=needed, own_name="@rpath/libblas.dylib")
    (binary,) = parse_binaries(content, "libblas.dylib")
    assert [*binary.libraries] == needed


def test_mach_o_files() -> None:
    content = mach_o_file(b"\xc3\x90\xc3", functions={"add": 0, "sub": 2})
    (binary,) = parse_binaries(content, "demo/_core.so")
    assert (binary.file, binary.format, binary.machine) == (
        "demo/_core.so",
        Format.MACH_O,
        "x86_64",
    )
    assert [(part.name, bytes(part.content)) for part in binary.code] == [
        ("__TEXT,__text", b"\xc3\x90\xc3")
    ]
    assert binary.symbols == (Symbol("add", CODE_AT), Symbol("sub", CODE_AT + 2))
    both = parse_binaries(universal_file(content, mach_o_file(b"\0" * 8, arm=True)), "_core.so")
    assert [(part.file, part.machine) for part in both] == [
        ("_core.so (x86_64)", "x86_64"),
        ("_core.so (aarch64)", "aarch64"),
    ]
    assert bytes(both[0].code[0].content) == b"\xc3\x90\xc3"
    assert bytes(both[1].code[0].content) == b"\0" * 8


def test_the_end_of_what_exceptions_unwind_is_no_function() -> None:
    code = b"\x90\x90\xc3\x90\xc3"
    (binary,) = parse_binaries(mach_o_file(code, unwound=(2, 4)), "a.so")
    assert binary.starts == (CODE_AT + 2,)


def test_other_processors_have_their_names() -> None:
    (arm,) = parse_binaries(elf_file(machine=AARCH64), "a.so")
    (power,) = parse_binaries(elf_file(machine=21), "a.so")
    assert (arm.machine, power.machine) == ("aarch64", "ppc64")


WHOLE = {
    "elf": elf_file(functions={"add": (0, 1)}, libraries=["libm.so.6"]),
    "pe": pe_file(),
    "mach_o": mach_o_file(functions={"add": 0}),
    "universal": universal_file(mach_o_file(), mach_o_file(arm=True)),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_files_that_are_cut_anywhere_are_errors_that_name_the_file(kind: str) -> None:
    content = WHOLE[kind]
    code = content.rindex(b"\xc3")
    for length in (*range(8, min(code, 600), 5), *range(600, code, 97), code):
        with pytest.raises(WheelError, match=r"^error: a\.so can't be examined: "):
            parse_binaries(content[:length], "a.so")


@given(at=st.integers(4, 4200), damage=st.binary(min_size=1, max_size=8))
@pytest.mark.parametrize("kind", WHOLE)
def test_damaged_files_give_a_description_or_an_error(kind: str, at: int, damage: bytes) -> None:
    content = bytearray(WHOLE[kind])
    content[at : at + len(damage)] = damage
    with suppress(WheelError):
        for binary in parse_binaries(bytes(content), "a.so"):
            if binary.machine == "x86_64":
                check_instructions(binary, admitted_extensions("x86_64", ()))


@pytest.mark.parametrize("kind", WHOLE)
def test_files_with_wrong_bytes_give_a_description_or_an_error(kind: str) -> None:
    content = WHOLE[kind]
    for at in range(4, 512, 3):
        damaged = bytearray(content)
        damaged[at : at + 2] = b"\xff\xff"
        with suppress(WheelError):
            assert parse_binaries(bytes(damaged), "a.so")


def test_a_file_of_another_kind_is_an_error() -> None:
    with pytest.raises(WheelError, match="it is no ELF, Mach-O, or PE file"):
        parse_binaries(b"\0" * 100, "a.so")


def test_the_message_without_lief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lief", None)
    with pytest.raises(ConfigError, match=r"needs the package lief\n.*polywheel\[audit\]"):
        parse_binaries(WHOLE["elf"], "a.so")
