"""Write ``matrix/aarch64-encodings.toml``: the A64 instructions, and the extensions that they need.

The source is the decoder table of LLVM in the sdist of capstone 6, which no wheel of capstone has in this form:

    pip download --no-deps --no-binary :all: capstone==6.0.0a11
    python tests/support/aarch64_encodings.py capstone-6.0.0a11.tar.gz
"""

from __future__ import annotations

import re
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "matrix" / "aarch64-encodings.toml"
TABLES = "AArch64GenDisassemblerTables.inc"
NAMES = {
    # features of LLVM: the names of Arm without FEAT_. An empty name is the baseline, armv8-a.
    **dict.fromkeys(("NEON", "FPARMv8", "All", "TRACEV8_4"), ""),
    "AltFPCmp": "FlagM2",
    "B16B16": "SVE_B16B16",
    "ComplxNum": "FCMA",
    "CRC": "CRC32",
    "FP16FML": "FHM",
    "FRInt3264": "FRINTTS",
    "FullFP16": "FP16",
    "JS": "JSCVT",
    "MatMulFP32": "F32MM",
    "MatMulFP64": "F64MM",
    "MatMulInt8": "I8MM",
    "PAuthLR": "PAuth_LR",
    "RCPC": "LRCPC",
    "RCPC_IMMO": "LRCPC2",
    "RCPC3": "LRCPC3",
    "SVE2AES": "SVE_AES",
    "SVE2BitPerm": "SVE_BitPerm",
    "SVE2SHA3": "SVE_SHA3",
    "SVE2SM4": "SVE_SM4",
}
NO_PROGRAM_HAS = {"MUL53", "AppleSys", "AMX", "EL3", "BRBE", "ITE", "D128"}
"""Instructions of operating systems, and undocumented ones of Apple: where they occur, the bytes are data."""
PRIVILEGED = {"ERET", "ERETAA", "ERETAB", "DRPS", "DCPS1", "DCPS2", "HVC", "HLT", "UDF", "SDSB"}
SYSTEM = {"MRS", "MSR", "SYSxt", "SYSLxt", "MSRpstateImm1", "MSRpstateImm4", "MSRpstatesvcrImm1"}
"""Instructions whose operand decides what they need: ``OPERANDS`` has those that programs use."""


def register(op1: int, crn: int, crm: int, op2: int) -> tuple[int, int]:
    """MRS and MSR of a register: value and mask."""
    return 0xD5180000 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5, 0xFFDFFFE0


def operation(crn: int, crm: int, op2: int) -> tuple[int, int]:
    """SYS with op1 = 3: cache operations, for example. Value and mask."""
    return 0xD5080000 | 3 << 16 | crn << 12 | crm << 8 | op2 << 5, 0xFFFFFFE0


def state(op1: int, op2: int) -> tuple[int, int]:
    """MSR of a field of the processor state. Value and mask."""
    return 0xD500401F | op1 << 16 | op2 << 5, 0xFFFFF0FF


OPERANDS: list[tuple[tuple[int, int], str]] = [
    # llvm/lib/Target/AArch64/AArch64SystemOperands.td
    (register(3, 2, 4, 0), "RNG"),
    (register(3, 2, 4, 1), "RNG"),
    (register(3, 2, 5, 1), "GCS"),
    (register(3, 4, 2, 2), "SME"),  # SVCR
    (register(3, 4, 2, 5), "DIT"),
    (register(3, 4, 2, 6), "SSBS"),
    (register(3, 4, 2, 7), "MTE"),  # TCO
    (register(3, 4, 4, 2), "FP8"),  # FPMR
    (register(3, 13, 0, 5), "SME"),  # TPIDR2_EL0
    ((0xD51B0000, 0xFFDF0000), ""),  # the other registers of EL0
    ((0xD5380000, 0xFFFFF000), ""),  # MIDR_EL1 and ID_*: the kernel emulates reading
    (operation(7, 3, 4), "SPECRES"),
    (operation(7, 3, 5), "SPECRES"),
    (operation(7, 3, 7), "SPECRES"),
    (operation(7, 12, 1), "DPB"),
    (operation(7, 13, 1), "DPB2"),
    *((operation(7, 4, op2), "MTE") for op2 in (3, 4)),
    *((operation(7, crm, op2), "MTE") for crm in (10, 12, 13, 14) for op2 in (3, 5)),
    *(
        (operation(7, crm, 1), "") for crm in (4, 5, 10, 11, 14)
    ),  # DC ZVA, CVAC, CVAU, CIVAC; IC IVAU
    (state(3, 1), "SSBS"),
    (state(3, 2), "DIT"),
    (state(3, 3), "SME"),  # SMSTART, SMSTOP
    (state(3, 4), "MTE"),
]


@dataclass
class Entry:
    """Words that match: ``word & mask == value``. The first entry that matches a word decides."""

    mask: int
    value: int
    extensions: tuple[str, ...] | None
    """None for what no program has."""


class DecoderTable:
    """The decoder table of LLVM: a program of bytes."""

    def __init__(self, text: str) -> None:
        self.predicates = {
            int(number): predicate
            for number, predicate in re.findall(r"  case (\d+):\n    return (.*?);", text)
        }
        self.entries: list[Entry] = []
        for name in ("DecoderTable32", "DecoderTableFallback32"):
            self._read(text, name)
            self._walk(0, len(self.code), 0, 0, ())

    def _read(self, text: str, name: str) -> None:
        found = re.search(rf"static const uint8_t {name}\[\] = \{{(.*?)\n\}};", text, re.DOTALL)
        assert found is not None
        self.code: list[int | str] = []
        self.names: dict[int, str] = {}
        for line in found[1].splitlines():
            parts = re.match(r"/\* (\d+) \*/\s+(.*?),?\s*(?://\s*(.*))?$", line.strip())
            if parts is None:
                continue
            assert int(parts[1]) == len(self.code), line
            if opcode := re.match(r"Opcode: (\w+)", parts[3] or ""):
                self.names[len(self.code)] = opcode[1]
            numbers = re.sub(r"/\*.*?\*/", "", parts[2]).split(",")
            self.code += [
                text if text.startswith("MCD") else int(text)
                for text in map(str.strip, numbers)
                if text
            ]

    def _number(self, at: int) -> int:
        number = self.code[at]
        assert isinstance(number, int)
        return number

    def _leb128(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._number(at)
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value, at

    def _skip(self, at: int) -> tuple[int, int]:
        """Where the code continues if a check holds, and if it does not."""
        distance = self._number(at) | self._number(at + 1) << 8 | self._number(at + 2) << 16
        return at + 3, at + 3 + distance

    def _walk(  # noqa: C901 -- one branch for each step
        self, at: int, end: int, mask: int, value: int, checks: tuple[int, ...]
    ) -> None:
        first = width = 0
        while at < end:
            step = self.code[at]
            if step == "MCD_OPC_ExtractField":
                first, at = self._leb128(at + 1)
                width, at = self._number(at), at + 1
            elif step in {"MCD_OPC_FilterValue", "MCD_OPC_CheckField"}:
                at += 1
                if step == "MCD_OPC_CheckField":
                    start, at = self._leb128(at)
                    size, at = self._number(at), at + 1
                else:
                    start, size = first, width
                number, at = self._leb128(at)
                inside, after = self._skip(at)
                bits = ((1 << size) - 1) << start
                if not (value ^ number << start) & bits & mask:
                    last = min(after, end)
                    self._walk(inside, last, mask | bits, value | number << start, checks)
                at = after
            elif step == "MCD_OPC_CheckPredicate":
                number, at = self._leb128(at + 1)
                inside, after = self._skip(at)
                self._walk(inside, min(after, end), mask, value, (*checks, number))
                at = after
            elif step in {"MCD_OPC_Decode", "MCD_OPC_TryDecode"}:
                name = self.names.get(at, "")
                self.entries.append(Entry(mask, value, self._extensions(name, checks)))
                if step == "MCD_OPC_Decode":
                    return
                _, at = self._leb128(at + 1)
                _, at = self._leb128(at)
                at += 3
            elif step == "MCD_OPC_SoftFail":
                _, at = self._leb128(at + 1)
                _, at = self._leb128(at)
            elif step == "MCD_OPC_Fail":
                return
            else:
                raise ValueError(f"{at}: {step}")

    def _extensions(self, name: str, checks: tuple[int, ...]) -> tuple[str, ...] | None:
        if name in PRIVILEGED or name in SYSTEM:
            return None
        names = set()
        for number in checks:
            for part in self.predicates[number].split("&&"):
                features = re.findall(r"AArch64_Feature(\w+)", part)
                alternatives = [feature for feature in features if feature != "All"]
                # Outside of streaming mode, SVE is what the instructions of both need.
                own = [one for one in alternatives if not one.startswith(("SME", "SSVE"))]
                names.add((own or alternatives)[0])
        if names & NO_PROGRAM_HAS:
            return None
        renamed = {NAMES.get(one, re.sub(r"^SME(?=[FI]\d)", "SME_", one)) for one in names}
        return tuple(sorted(renamed - {""}))


@dataclass
class Diagram:
    """A reduced binary decision diagram of words, from bit 31 to bit 0."""

    nodes: list[tuple[int, object, object]] = field(default_factory=list)
    numbers: dict[tuple[int, object, object], int] = field(default_factory=dict)
    known: dict[object, object] = field(default_factory=dict)

    def build(self, bit: int, entries: list[Entry]) -> object:
        """The node for the lowest bits: a number, or the extensions."""
        rest = (2 << bit) - 1 if bit >= 0 else 0
        candidates = []
        for entry in entries:
            candidates.append(entry)
            if not entry.mask & rest:
                break
        if not candidates:
            return None
        if not candidates[0].mask & rest:
            return candidates[0].extensions
        key = (
            bit,
            *((one.mask & rest, one.value & one.mask & rest, one.extensions) for one in candidates),
        )
        if key not in self.known:
            low = [one for one in candidates if not one.mask >> bit & 1 or not one.value >> bit & 1]
            high = [one for one in candidates if not one.mask >> bit & 1 or one.value >> bit & 1]
            node = (bit, self.build(bit - 1, low), self.build(bit - 1, high))
            if node[1] == node[2]:
                self.known[key] = node[1]
            else:
                self.known[key] = self.numbers.setdefault(node, len(self.numbers))
                if self.known[key] == len(self.nodes):
                    self.nodes.append(node)
        return self.known[key]

    def patterns(self, node: object, mask: int = 0, value: int = 0) -> Iterator[Entry]:
        """The words for each leaf, without overlaps."""
        if isinstance(node, tuple):
            yield Entry(mask, value, node)
        elif isinstance(node, int):
            bit, low, high = self.nodes[node]
            yield from self.patterns(low, mask | 1 << bit, value)
            yield from self.patterns(high, mask | 1 << bit, value | 1 << bit)


def merged(patterns: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join patterns (value, mask) that differ in one bit."""
    changed = True
    while changed:
        changed = False
        for bit in (1 << number for number in range(32)):
            for value, mask in sorted(patterns):
                other = (value ^ bit, mask)
                if mask & bit and (value, mask) in patterns and other in patterns:
                    patterns -= {(value, mask), other}
                    patterns.add((value & ~bit, mask & ~bit))
                    changed = True
    return sorted(patterns)


def document(text: str, source: str) -> str:
    """The data file for a decoder table."""
    entries = [
        Entry(mask, value, (name,) if name else ()) for (value, mask), name in OPERANDS
    ] + DecoderTable(text).entries
    diagram = Diagram()
    by_extensions: dict[tuple[str, ...], set[tuple[int, int]]] = {}
    for pattern in diagram.patterns(diagram.build(31, entries)):
        assert pattern.extensions is not None
        by_extensions.setdefault(pattern.extensions, set()).add((pattern.value, pattern.mask))
    lines = [
        "# A64 instructions: the extensions that each needs, and what words it has, as value/mask in hexadecimal.",
        "# No two patterns match the same word. A word without a pattern is no instruction, or one that only",
        "# operating systems use. The instructions of armv8-a need no extension.",
        "#",
        f"# Written by tests/support/aarch64_encodings.py, from the decoder table of LLVM in {source}:",
        "# https://github.com/capstone-engine/capstone, https://github.com/llvm/llvm-project",
        "# (Apache License 2.0 with LLVM Exceptions). Names are those of Arm without FEAT_; AES is AES and PMULL,",
        "# SHA2 is SHA1 and SHA256, SHA3 is SHA512 and SHA3.",
        "",
        "[encodings]",
    ]
    for extensions in sorted(by_extensions):
        words = [f"{value:08x}/{mask:08x}" for value, mask in merged(by_extensions[extensions])]
        lines.append(f'"{" ".join(extensions)}" = """')
        lines += [" ".join(words[at : at + 6]) for at in range(0, len(words), 6)]
        lines.append('"""')
    return "\n".join(lines) + "\n"


def read_table(sdist: Path) -> str:
    """The file with the decoder table in an sdist of capstone."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            if member.name.endswith(f"/{TABLES}"):
                content = archive.extractfile(member)
                assert content is not None
                return content.read().decode()
    raise SystemExit(f"{sdist} has no {TABLES}")


if __name__ == "__main__":
    sdist = Path(sys.argv[1])
    text = document(read_table(sdist), sdist.name.removesuffix(".tar.gz").replace("-", " "))
    TARGET.write_text(text, encoding="utf-8")
