"""Functions, extensions, and references of AArch64 code.

The words are what the GNU assembler made of the instructions beside them.
"""

from __future__ import annotations

import struct
import sys
import tomllib
from collections.abc import Iterable, Mapping

import pytest

from polywheel.audit import aarch64, aarch64_instructions
from polywheel.audit.binaries import Binary, Format, Section, parse_binaries
from polywheel.audit.code import Code
from polywheel.audit.dispatch import find_unchecked
from polywheel.data import data_folder
from polywheel.setup.presets import load_preset
from support.binary_files import AARCH64, CODE_AT, elf_file

EXTENSIONS = """
b8e00041 LSE: ldaddal w0, w1, [x2]
48207c82 LSE: casp x0, x1, x2, x3, [x4]
b8208041 LSE: swp w0, w1, [x2]
9ac25c20 CRC32: crc32cx w0, w1, x2
6e828420 RDM: sqrdmlah v0.4s, v1.4s, v2.4s
88df7c20 LOR: ldlar w0, [x1]
d50b7c20 DPB: dc cvap, x0
1ee22820 FP16: fadd h0, h1, h2
4e420c20 FP16: fmla v0.8h, v1.8h, v2.8h
4e22ec20 FHM: fmlal v0.4s, v1.4h, v2.4h
4e829420 DotProd: sdot v0.4s, v1.16b, v2.16b
2fa2e020 DotProd: udot v0.2s, v1.8b, v2.4b[1]
6e82e420 FCMA: fcadd v0.4s, v1.4s, v2.4s, #90
6e42cc20 FCMA+FP16: fcmla v0.8h, v1.8h, v2.8h, #90
1e7e0020 JSCVT: fjcvtzs w0, d1
f8bfc020 LRCPC: ldapr x0, [x1]
d9408020 LRCPC2: ldapur x0, [x1, #8]
d65f0bff PAuth: retaa
dac10020 PAuth: pacia x0, x1
f8200420 PAuth: ldraa x0, [x1]
ba008402 FlagM: rmif x0, #1, #2
d500401f FlagM: cfinv
d503415f DIT: msr dit, #1
d53b42a0 DIT: mrs x0, dit
1e684020 FRINTTS: frint32z d0, d1
d500405f FlagM2: axflag
d50330ff SB: sb
d503413f SSBS: msr ssbs, #1
d50b7380 SPECRES: cfp rctx, x0
d50b7d20 DPB2: dc cvadp, x0
d53b2400 RNG: mrs x0, rndr
9adf1020 MTE: irg x0, x1
d9200820 MTE: stg x0, [x1]
6e42fc20 BF16: bfdot v0.4s, v1.8h, v2.8h
1e634020 BF16: bfcvt h0, s1
4e82a420 I8MM: smmla v0.4s, v1.16b, v2.16b
4e829c20 I8MM: usdot v0.4s, v1.16b, v2.16b
4e284820 AES: aese v0.16b, v1.16b
0ee2e020 AES: pmull v0.1q, v1.1d, v2.1d
5e280820 SHA2: sha1h s0, s1
5e024020 SHA2: sha256h q0, q1, v2.4s
ce628020 SHA3: sha512h q0, q1, v2.2d
ce020c20 SHA3: eor3 v0.16b, v1.16b, v2.16b, v3.16b
cec08420 SM4: sm4e v0.4s, v1.4s
04a20020 SVE: add z0.s, z1.s, z2.s
a540a000 SVE: ld1w z0.s, p0/z, [x0]
0420e3e0 SVE: cntb x0
44824020 SVE2: smlalb z0.s, z1.h, z2.h
4522e020 SVE_AES: aese z0.b, z0.b, z1.b
4502b420 SVE_BitPerm: bdep z0.b, z1.b, z2.b
45029820 I8MM+SVE: smmla z0.s, z1.b, z2.b
64628020 BF16+SVE: bfdot z0.s, z1.h, z2.h
64e2e420 F64MM+SVE: fmmla z0.d, z1.d, z2.d
d503477f SME: smstart
80812000 SME: fmopa za0.s, p0/m, p1/m, z0.s, z1.s
19010440 MOPS: cpyfp [x0]!, [x1]!, x2!
54000010 HBC: bc.eq .
d5031000 WFxT: wfet x0
f83fd1a0 LS64: ld64b x0, [x13]
d5233060 TME: tstart x0
"""
BASELINE = """
d503201f nop
d503203f yield
d503245f bti c
d503233f paciasp
d50323ff autibsp
d50320ff xpaclri
d503221f esb
d503229f csdb
d50320df dgh
8b020020 add x0, x1, x2
a8c17bfd ldp x29, x30, [sp], #16
885f7c20 ldxr w0, [x1]
c8208861 stlxp w0, x1, x2, [x3]
c8dffc20 ldar x0, [x1]
d5033bbf dmb ish
1f420c20 fmadd d0, d1, d2, d3
1e23c020 fcvt h0, s1
4e22cc20 fmla v0.4s, v1.4s, v2.4s
0e22e020 pmull v0.8h, v1.8b, v2.8b
6ea2b420 sqrdmulh v0.4s, v1.4s, v2.4s
4e020020 tbl v0.16b, {v1.16b}, v2.16b
d53bd040 mrs x0, tpidr_el0
d51b4400 msr fpcr, x0
d53be040 mrs x0, cntvct_el0
d50b7420 dc zva, x0
d50b7520 ic ivau, x0
f9800000 prfm pldl1keep, [x0]
d4000001 svc #0
d4200020 brk #1
"""
DATA = """
00000000 udf #0
ffffffff no instruction
00201000 AMX of Apple
d4000002 hvc #0
d69f03e0 eret
d5184100 msr sp_el0, x0
d508871f tlbi vmalle1
"""
RET, NOP, SDOT, LDADDAL = 0xD65F03C0, 0xD503201F, 0x4E829420, 0xB8E00041


def rows(text: str) -> list[tuple[int, str]]:
    return [(int(line[:8], 16), line[9:]) for line in text.strip().splitlines()]


def binary(
    *words: int,
    functions: Mapping[str, tuple[int, int]] | None = None,
    data: tuple[tuple[int, int], ...] = (),
    imports: Mapping[int, str] | None = None,
    sections: Iterable[Section] = (),
    kind: Format = Format.ELF,
) -> Binary:
    """A file with words from CODE_AT, and functions with offset and size in words."""
    content = memoryview(struct.pack(f"<{len(words)}I", *words))
    limits = [(CODE_AT + 4 * at, 4 * size) for at, size in (functions or {}).values()]
    return Binary(
        file="a.so",
        format=kind,
        machine="aarch64",
        sections=(Section(".text", CODE_AT, content, executable=True), *sections),
        starts=tuple(at for at, _ in limits),
        ends=tuple(at + size for at, size in limits),
        data_in_code=data,
        imports=imports or {},
    )


def uses(code: Code) -> dict[int, list[tuple[str, ...]]]:
    """The extensions by offset of the function, in words, without other functions."""
    return {
        (function.start - CODE_AT) // 4: [use.extensions for use in function.uses]
        for function in code.functions
        if function.uses
    }


def references(*words: int) -> set[int]:
    """What a function refers to outside of itself."""
    (function,) = aarch64.decode(binary(*words, RET)).functions
    return set(function.references)


def branch(first: int, distance: int, bits: int, shift: int = 0) -> int:
    """A jump over a number of words."""
    return first | (distance & (1 << bits) - 1) << shift


@pytest.mark.parametrize(("word", "line"), rows(EXTENSIONS))
def test_the_extensions_of_instructions(word: int, line: str) -> None:
    names = line.partition(":")[0].split("+")
    (function,) = aarch64.decode(binary(word, NOP, word, RET)).functions
    if word == 0xD65F0BFF:  # the function returns there
        assert [use.extensions for use in function.uses] == [("PAuth",)]
        return
    (use,) = function.uses
    assert (list(use.extensions), use.count, use.offset) == (names, 2, CODE_AT)


@pytest.mark.parametrize(("word", "line"), rows(BASELINE))
def test_instructions_of_every_processor(word: int, line: str) -> None:
    code = aarch64.decode(binary(SDOT, word, SDOT, RET))
    assert uses(code) == {0: [("DotProd",)]}, line
    assert code.functions[0].uses[0].count == 2, line


@pytest.mark.parametrize(("word", "line"), rows(DATA))
def test_data_is_no_code(word: int, line: str) -> None:
    assert aarch64_instructions.load_encodings().kind(word) == aarch64_instructions.NONSENSE, line
    code = aarch64.decode(binary(RET, SDOT, word, SDOT, RET))
    assert uses(code) == {}, line


def test_no_word_has_two_patterns() -> None:
    path = data_folder("matrix") / "aarch64-encodings.toml"
    by_byte: dict[int, list[tuple[int, int]]] = {}
    for text in tomllib.loads(path.read_text())["encodings"].values():
        for pattern in text.split():
            value, mask = (int(part, 16) for part in pattern.split("/"))
            assert not value & ~mask, pattern
            for byte in range(256):
                if not (byte ^ value >> 24) & mask >> 24:
                    by_byte.setdefault(byte, []).append((value, mask))
    for patterns in by_byte.values():
        for number, (value, mask) in enumerate(patterns):
            for other, other_mask in patterns[:number]:
                assert (value ^ other) & mask & other_mask, f"{value:08x} and {other:08x}"


def test_the_preset_names_extensions_that_instructions_have() -> None:
    known = {name for names in aarch64_instructions.load_encodings().extensions for name in names}
    preset = load_preset("aarch64", at="test")
    assert preset.oldest_mac is not None
    lists = [names for values in preset.extensions.values() for names in values.values()]
    for names in (*lists, preset.oldest_mac.extensions):
        assert {name for name in names if "::" not in name} <= known


def test_a_function_that_is_not_called_may_be_data() -> None:
    functions = {"first": (0, 1)}
    assert uses(aarch64.decode(binary(RET, SDOT, RET, functions=functions))) == {}
    call = branch(0x94000000, 2, 26)  # bl to the third word
    called = binary(call, RET, SDOT, RET, functions={"first": (0, 2)})
    assert uses(aarch64.decode(called)) == {2: [("DotProd",)]}
    falls = binary(0x8B020020, SDOT, RET, functions={"first": (0, 1)})
    assert uses(aarch64.decode(falls)) == {1: [("DotProd",)]}


def test_data_that_looks_like_calls_is_no_code() -> None:
    data = (branch(0x94000000, 2, 26), 0xFFFFFFFF)  # it seems to call the words after it
    words = (RET, *data, SDOT, RET)
    assert uses(aarch64.decode(binary(*words, functions={"first": (0, 1)}))) == {}


def test_literals_are_data() -> None:
    literal = branch(0x1C000000, 2, 19, 5)  # ldr s0, of the place after ret
    assert uses(aarch64.decode(binary(literal, RET, SDOT, RET))) == {}
    behind = branch(0x14000000, 3, 26)
    code = aarch64.decode(binary(behind, SDOT, 0, SDOT, RET))
    assert uses(code) == {0: [("DotProd",)]}
    assert code.functions[0].uses[0].offset == CODE_AT + 12


def test_data_that_the_file_marks() -> None:
    jump = 0xD61F0200  # br x16
    data = ((CODE_AT + 4, CODE_AT + 12),)
    words = (jump, SDOT, SDOT, SDOT, RET)
    assert aarch64.decode(binary(*words)).functions[0].uses[0].count == 3
    code = aarch64.decode(binary(*words, data=data))
    assert [(use.offset, use.count) for use in code.functions[0].uses] == [(CODE_AT + 12, 1)]


def test_references() -> None:
    add, page = 0x91008400, 0x90000100  # add x0, x0, #33; adrp x0, 0x20000 away
    at = (CODE_AT & ~0xFFF) + 0x20000
    assert references(page, add) == {at + 33}
    assert references(page, 0xF9400801) == {at + 16}  # ldr x1, [x0, #16]
    assert references(page, 0x3D800801) == {at + 32}  # str q1, [x0, #32]
    assert references(page, 0x39400401) == {at + 1}  # ldrb w1, [x0, #1]
    assert references(page, 0xAA0103E0, 0xF9400801) == set()  # mov x0, x1
    assert references(page, 0x94000400, 0xF9400801) == {CODE_AT + 0x1004}  # a call changes x0
    assert references(0x10000400) == {CODE_AT + 0x80}  # adr x0
    assert references(0x58000400) == {CODE_AT + 0x80}  # ldr x0
    assert references(0x14000400) == {CODE_AT + 0x1000}  # b
    assert references(0x54000400) == {CODE_AT + 0x80}  # b.eq
    assert references(0xB4000400) == {CODE_AT + 0x80}  # cbz x0
    assert references(0x36000400) == {CODE_AT + 0x80}  # tbz w0, #0
    assert references(0x54000020) == set()  # b.eq to the next instruction
    assert references(0x17000000) == {CODE_AT - 0x4000000 + (1 << 64)}  # b to nowhere


HELPER = (
    # __aarch64_ldadd4_acq_rel of libgcc
    *(0xD503245F, 0x90000110, 0x39408610, 0x34000070, 0xB8E00020, RET),
    *(0x2A0003F0, 0x885FFC20, 0x0B100011, 0x880FFC31, 0x35FFFFAF, RET),
)
STUB = (0x90000110, 0xF9400E11, 0x91006210, 0xD61F0220)
IMPORTS = {0x21018: "__getauxval"}


def constructor(size: int, capability: int = 16, variable: int = 0x39008420) -> tuple[int, ...]:
    """init_have_lse_atomics of libgcc, which calls the function after it and ``size`` words."""
    call = branch(0x94000000, size + 6, 26)
    move = 0xD2800000 | capability << 5
    return 0xA9BF7BFD, move, 0x910003FD, call, 0x53082000, 0x90000101, 0xA8C17BFD, variable, RET


def test_helpers_for_atomic_operations_are_no_checks() -> None:
    kernel = (SDOT,) * 9 + (RET,)
    words = (*constructor(len(HELPER)), *HELPER, *STUB, *kernel)
    functions = {"init": (0, 9), "helper": (9, 12), "stub": (21, 4), "kernel": (25, 10)}
    file = binary(*words, functions=functions, imports=IMPORTS)
    code = aarch64.decode(file)
    assert uses(code) == {25: [("DotProd",)]}
    assert not any(function.asks_cpu for function in code.functions)
    assert not any(function.references for function in code.functions[:3])
    dispatch = find_unchecked(file, code, [3])
    assert not dispatch.has_guards
    assert dispatch.unchecked == {3}
    alone = binary(LDADDAL, RET)
    assert uses(aarch64.decode(alone)) == {0: [("LSE",)]}


def test_functions_that_ask_for_hardware_capabilities() -> None:
    other_variable = 0x39009420  # strb w0, [x1, #37]
    for capability, asks in ((16, True), (26, True), (6, False)):
        words = (*constructor(len(HELPER), capability, other_variable), *HELPER, *STUB)
        functions = {"init": (0, 9), "helper": (9, 12), "stub": (21, 4)}
        code = aarch64.decode(binary(*words, functions=functions, imports=IMPORTS))
        assert [function.asks_cpu for function in code.functions] == [asks, False, False]
        assert 0x21025 in code.functions[0].references


def test_functions_that_read_what_the_processor_is() -> None:
    (function,) = aarch64.decode(binary(0xD5380600, RET)).functions  # mrs x0, id_aa64isar0_el1
    assert function.asks_cpu


@pytest.mark.parametrize(
    ("section", "text", "asks"),
    [
        ("__TEXT,__cstring", b"hw.optional.arm.FEAT_DotProd", True),
        ("__TEXT,__cstring", b"hw.ncpu", False),
        (".rodata", b"/proc/self/auxv", True),
        (".rodata.str1.8", b"/proc/cpuinfo", True),
        (".rodata", b"/proc/self/maps", False),
    ],
)
def test_names_for_the_system(section: str, text: bytes, asks: bool) -> None:
    content = memoryview(b"\0" * 0x21 + text + b"\0")
    words = (0x90000100, 0x91008400, RET)  # adrp x0; add x0, x0, #0x21
    file = binary(*words, sections=[Section(section, 0x21000, content)])
    assert aarch64.decode(file).functions[0].asks_cpu == asks


def test_windows_asks_for_features_by_number() -> None:
    imports = {0x21018: "IsProcessorFeaturePresent"}
    for feature, asks in ((43, True), (23, False)):
        move = 0x52800000 | feature << 5
        words = (move, 0x90000108, 0xF9400D08, 0xD63F0100, RET)  # adrp x8; ldr x8; blr x8
        file = binary(*words, imports=imports, kind=Format.PE)
        (function,) = aarch64.decode(file).functions
        assert function.asks_cpu == asks
        assert set(function.references) == ({0x21018} if asks else set())


def test_the_text_of_an_instruction() -> None:
    content = struct.pack("<III", SDOT, 0x0E809400, RET)
    (file,) = parse_binaries(elf_file(content, machine=AARCH64), "a.so")
    pytest.importorskip("capstone")
    assert aarch64.instruction_text(file, CODE_AT) == "sdot v0.4s, v1.16b, v2.16b"
    assert aarch64.instruction_text(file, CODE_AT + 8) == "ret"
    assert aarch64.instruction_text(file, 0) == ""


def test_the_text_without_capstone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    assert aarch64.instruction_text(binary(SDOT, RET), CODE_AT) == ".inst 0x4e829420"
