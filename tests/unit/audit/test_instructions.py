"""Findings about the instructions of a file."""

from __future__ import annotations

import pytest

from polywheel.audit.binaries import Binary, parse_binaries
from polywheel.audit.extensions import admitted_extensions
from polywheel.audit.findings import Check, Finding, Severity
from polywheel.audit.instructions import AllowedUse, check_instructions
from polywheel.model.variant import VariantProperty
from support.binary_files import CODE_AT, elf_file

V1 = admitted_extensions("x86_64", ())
V2 = admitted_extensions("x86_64", [VariantProperty("x86_64", "level", "v2")])
V3 = admitted_extensions("x86_64", [VariantProperty("x86_64", "level", "v3")])
POPCNT = b"\xf3\x48\x0f\xb8\xc7\xc3"
VPADDD = b"\xc5\xf5\xfe\xc2\xc5\xf5\xfe\xc2\xc3"
AESENC = b"\x66\x0f\x38\xdc\xc1\xc3"


def binary(*codes: bytes, names: tuple[str, ...] = ("add", "count", "other")) -> Binary:
    """A file with functions, one after another."""
    functions: dict[str, tuple[int, int]] = {}
    for name, code in zip(names, codes, strict=False):
        functions[name] = (sum(size for _, size in functions.values()), len(code))
    (parsed,) = parse_binaries(elf_file(b"".join(codes), functions=functions), "demo/_core.so")
    return parsed


def test_one_finding_for_each_function() -> None:
    check = check_instructions(binary(VPADDD, POPCNT), V1)
    assert check.findings == (
        Finding(
            severity=Severity.ERROR,
            check=Check.INSTRUCTIONS,
            what="AVX2 (level v3): beyond x86-64-v1",
            file="demo/_core.so",
            symbol="add",
            offset=CODE_AT,
            instruction="vpaddd ymm0,ymm1,ymm2",
            count=2,
        ),
        Finding(
            severity=Severity.ERROR,
            check=Check.INSTRUCTIONS,
            what="POPCNT (level v2): beyond x86-64-v1",
            file="demo/_core.so",
            symbol="count",
            offset=CODE_AT + len(VPADDD),
            instruction="popcnt rax,rdi",
        ),
    )
    assert check.extensions == {"AVX2", "POPCNT"}
    assert check.code_bytes == len(VPADDD + POPCNT)


def test_labels_admit_their_extensions() -> None:
    (finding,) = check_instructions(binary(VPADDD, POPCNT), V2).findings
    assert finding.what == "AVX2 (level v3): beyond x86_64 :: level :: v2"
    check = check_instructions(binary(VPADDD, POPCNT), V3)
    assert check.findings == ()
    assert check.extensions == {"AVX2", "POPCNT"}
    (aes,) = check_instructions(binary(AESENC), V3).findings
    assert aes.what == "AES: beyond x86_64 :: level :: v3"


@pytest.mark.parametrize(
    ("pattern", "remaining"),
    [
        ("demo/*", []),
        ("demo/_core.so:*", []),
        ("demo/_core.so:add", ["count"]),
        ("*.so:c*", ["add"]),
        ("other.so", ["add", "count"]),
        ("demo/_core.so:Add", ["add", "count"]),
    ],
)
def test_patterns_allow_functions(pattern: str, remaining: list[str]) -> None:
    check = check_instructions(binary(VPADDD, POPCNT), V1, [pattern])
    assert [finding.symbol for finding in check.findings] == remaining
    assert check.patterns == ({pattern} if len(remaining) < 2 else set())
    assert AllowedUse.parse(pattern).file == pattern.partition(":")[0]


def test_a_function_without_a_name() -> None:
    (parsed,) = parse_binaries(elf_file(VPADDD), "a.so")
    (finding,) = check_instructions(parsed, V1).findings
    assert finding.symbol == f"(no symbol) at {CODE_AT:#x}"


def test_many_functions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polywheel.audit.instructions._MOST", 1)
    first, rest = check_instructions(binary(VPADDD, POPCNT, VPADDD), V1).findings
    assert first.symbol == "add"
    assert rest.what == "AVX2, POPCNT (level v3) in 2 more functions: beyond x86-64-v1"
    assert (rest.symbol, rest.count) == (None, 3)


def test_code_behind_a_check_is_a_note() -> None:
    guard = b"\x0f\xa2\xe8\x01\x00\x00\x00\xc3"  # cpuid, and a call of the next function
    (note,) = check_instructions(binary(guard, VPADDD, names=("PyInit_demo", "add")), V1).findings
    assert note.severity is Severity.NOTE
    assert note.what == "1 function with AVX2, chosen at run time"
