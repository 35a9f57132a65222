"""Functions, extensions, and references of x86-64 code."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from polywheel.audit import x86_64, x86_64_instructions
from polywheel.audit.binaries import parse_binaries
from polywheel.audit.code import Code
from polywheel.errors import ConfigError
from support.binary_files import CODE_AT, IMAGE_BASE, elf_file, pe_file

RET = b"\xc3"
VPADDD = b"\xc5\xf5\xfe\xc2"  # vpaddd ymm0, ymm1, ymm2
POPCNT = b"\xf3\x48\x0f\xb8\xc7"  # popcnt rax, rdi
TZCNT = b"\xf3\x48\x0f\xbc\xc7"
LZCNT = b"\xf3\x48\x0f\xbd\xc7"
CPUID = b"\x0f\xa2"


def decoded(code: bytes, functions: Mapping[str, tuple[int, int]]) -> Code:
    (binary,) = parse_binaries(elf_file(code, functions=functions), "a.so")
    return x86_64.decode(binary)


def uses(code: bytes, functions: Mapping[str, tuple[int, int]]) -> dict[int, dict[str, int]]:
    """The number of instructions by extension and offset of the function, without other functions."""
    return {
        function.start - CODE_AT: {
            name: use.count for use in function.uses for name in use.extensions
        }
        for function in decoded(code, functions).functions
        if function.uses
    }


def test_the_extensions_of_functions() -> None:
    first = VPADDD + POPCNT + VPADDD + RET
    second = LZCNT + CPUID + RET
    code = decoded(first + second, {"first": (0, len(first)), "second": (len(first), len(second))})
    add, count = code.functions
    assert [(use.extensions, use.count, use.offset) for use in add.uses] == [
        (("AVX2",), 2, CODE_AT),
        (("POPCNT",), 1, CODE_AT + 4),
    ]
    assert not add.asks_cpu
    assert [use.extensions for use in count.uses] == [("LZCNT",)]
    assert count.asks_cpu
    assert code.function_at(CODE_AT + 5) == 0
    assert code.function_at(count.start) == 1
    assert code.function_at(CODE_AT - 1) is None
    assert code.function_at(count.end) is None


@pytest.mark.parametrize(
    "instruction",
    [
        pytest.param(TZCNT, id="tzcnt: older processors execute bsf"),
        pytest.param(b"\xf3\x90", id="pause"),
        pytest.param(b"\xf3\x0f\x1e\xfa", id="endbr64"),
        pytest.param(b"\x66\x0f\x1f\x44\x00\x00", id="nop"),
        pytest.param(b"\xf0\x48\x0f\xb1\x17", id="lock cmpxchg"),
        pytest.param(b"\x0f\x01\xd0", id="xgetbv: after cpuid"),
        pytest.param(b"\x0f\x0d\x0f", id="prefetchw: a hint"),
        pytest.param(b"\x0f\x44\xc7", id="cmove"),
        pytest.param(b"\x66\x0f\xfe\xc1", id="paddd"),
    ],
)
def test_the_baseline_has_no_extensions(instruction: bytes) -> None:
    assert uses(instruction + RET, {"f": (0, len(instruction) + 1)}) == {}


def test_references_are_calls_and_addresses_outside_of_the_function() -> None:
    call = b"\xe8\x0b\x00\x00\x00"  # to offset 16
    load = b"\x48\x8b\x05\x00\x10\x00\x00"
    first = call + load + b"\xeb\xfe" + RET  # the jump is to itself
    code = decoded(first.ljust(16, b"\x90") + RET, {"first": (0, 16), "second": (16, 1)})
    assert sorted(code.functions[0].references) == [CODE_AT + 16, CODE_AT + 12 + 0x1000]


def test_a_function_that_goes_on_in_the_next_one_refers_to_it() -> None:
    through, after, padded = POPCNT, RET, b"\x90"
    code = decoded(
        through + after + padded + RET, {"a": (0, 5), "b": (5, 1), "c": (6, 1), "d": (7, 1)}
    )
    assert [[*function.references] for function in code.functions] == [[CODE_AT + 5], [], [], []]


def test_the_target_of_a_call_is_a_function() -> None:
    call = b"\xe8\x0b\x00\x00\x00" + RET
    code = call.ljust(16, b"\x90") + VPADDD + RET
    assert uses(code, {"all": (0, len(code))}) == {16: {"AVX2": 1}}


NONSENSE = b"\x06\x0e\xff\xff"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(RET + VPADDD + NONSENSE, {}, id="after a return, before nonsense"),
        pytest.param(RET + VPADDD, {}, id="after a return, without an end"),
        pytest.param(VPADDD + RET + NONSENSE, {0: {"AVX2": 1}}, id="before a return"),
        pytest.param(b"\x74\x01" + RET + VPADDD + RET, {0: {"AVX2": 1}}, id="the target of a jump"),
        pytest.param(
            b"\xff\xe0" + VPADDD + RET, {0: {"AVX2": 1}}, id="after an indirect jump: a block"
        ),
        pytest.param(
            b"\xeb\x04" + VPADDD + RET,
            {0: {"AVX2": 1}},
            id="before an instruction that a jump reaches",
        ),
        pytest.param(RET + NONSENSE + VPADDD + RET, {}, id="after nonsense"),
        pytest.param(
            b"\x48\x8b\x05\x01\x00\x00\x00" + RET + VPADDD + b"\xff\x00\x00\xc3",
            {},
            id="what the function reads",
        ),
    ],
)
def test_data_in_functions(code: bytes, expected: dict[int, dict[str, int]]) -> None:
    assert uses(code, {"f": (0, len(code))}) == expected


def test_what_follows_a_function_is_data() -> None:
    assert uses(RET + VPADDD + RET, {"f": (0, 1)}) == {}


def test_functions_of_windows_files_have_no_size() -> None:
    (binary,) = parse_binaries(pe_file(VPADDD + RET), "a.pyd")
    (function,) = x86_64.decode(binary).functions
    assert function.start == IMAGE_BASE + CODE_AT
    assert [use.extensions for use in function.uses] == [("AVX2",)]


def test_the_text_of_an_instruction() -> None:
    (binary,) = parse_binaries(elf_file(VPADDD + RET), "a.so")
    assert x86_64.instruction_text(binary, CODE_AT) == "vpaddd ymm0,ymm1,ymm2"
    assert x86_64.instruction_text(binary, 0) == ""


def test_the_message_without_iced(monkeypatch: pytest.MonkeyPatch) -> None:
    x86_64_instructions.load_iced.cache_clear()
    monkeypatch.setitem(sys.modules, "iced_x86", None)
    (binary,) = parse_binaries(elf_file(), "a.so")
    with pytest.raises(ConfigError, match=r"needs the package iced-x86\n.*polywheel\[audit\]"):
        x86_64.decode(binary)


@pytest.mark.parametrize("part_bytes", [1, 8, 20])
def test_parts_of_a_file_have_the_functions_of_the_whole_file(part_bytes: int) -> None:
    call = b"\xe8\x0b\x00\x00\x00"  # to offset 16
    codes = (call.ljust(16, b"\x90"), VPADDD + RET + POPCNT, CPUID, LZCNT + b"\x74\xf0", RET)
    functions: dict[str, tuple[int, int]] = {}
    for number, code in enumerate(codes):
        functions[f"f{number}"] = (sum(map(len, codes[:number])), len(code))
    functions["f1"] = (16, len(VPADDD))  # then, its end is the start of what may be data
    (binary,) = parse_binaries(elf_file(b"".join(codes), functions=functions), "a.so")
    whole = x86_64.decode(binary)
    assert x86_64.decode(binary, part_bytes=part_bytes) == whole
    assert any(function.references for function in whole.functions)
    assert any(function.uses for function in whole.functions)
    assert any(function.asks_cpu for function in whole.functions)
