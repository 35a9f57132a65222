"""Machine code for AArch64: the instruction set extensions of functions, and what functions refer to.

Every instruction has four bytes. Functions are decoded from their start to their end. Data between them decodes to
nonsense, see :mod:`polywheel.audit.certain_code`.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Container, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from polywheel.audit.aarch64_instructions import (
    ADD,
    ASKS_CPU,
    BIT_JUMP,
    CALL,
    CALL_REGISTER,
    EXTENSION,
    JUMP,
    LITERAL,
    MEMORY,
    MOVE,
    NEAR,
    NONSENSE,
    PAGE,
    PAIR,
    SHORT_JUMP,
    SKIP,
    VARIES,
    WRITES,
    Encodings,
    load_encodings,
)
from polywheel.audit.binaries import Binary, Format, Section
from polywheel.audit.certain_code import Flow, uses_in_certain_code
from polywheel.audit.code import Code, Function, Use, code_of

_HARDWARE_CAPABILITIES = frozenset({16, 26, 29, 30})
"""AT_HWCAP, AT_HWCAP2, AT_HWCAP3, AT_HWCAP4: include/uapi/linux/auxvec.h"""
_WINDOWS_FEATURES = frozenset(range(30, 90))
"""PF_ARM_V8_CRYPTO_INSTRUCTIONS_AVAILABLE and above, in winnt.h"""
_CHECK = re.compile(r"(__)?getauxval|elf_aux_info|IsProcessorFeaturePresent")
"""Imported functions, whose first argument is one of these numbers."""
_NAME = re.compile(
    rb"(?<![^\0])(hw\.optional\.|hw\.cpufamily|hw\.cpusubfamily|/proc/self/auxv\0|/proc/cpuinfo\0)"
)
"""Names for sysctlbyname, and files, with which programs ask what the processor supports."""
_ADDRESS = (1 << 64) - 1
_RET = 0xD65F03C0
_RETURNS = (
    (0xD65F0000, 0xFFFFFC1F),  # RET
    (0xD61F0000, 0xFFFFFC1F),  # BR
    (0xD61F0800, 0xFEFFF800),  # BRAA and the like
    (0xD65F0BFF, 0xFFFFFBFF),  # RETAA, RETAB
    (0xD4200000, 0xFFE0001F),  # BRK
    (0x14000000, 0xFC000000),  # B
)
"""Instructions after which control does not continue: value and mask."""
_NOP, _NOP_MASK = 0xD503201F, 0xFFFFF01F
_FEW = 8
"""If a function uses extensions in no more than this many instructions, it may be data."""
_EXCLUSIVES = ((0x08400000, 0x3FE00000), (0x88600000, 0xBFE00000))
"""LDXR, LDXP, and the like: value and mask."""
_STUB = 32
"""Bytes of an entry of the procedure linkage table."""
_HELPER = 96
"""Bytes of a function for atomic operations in libgcc, compiler-rt, or Rust's compiler_builtins."""


def decode(binary: Binary) -> Code:
    """Decode the code of a file."""
    sweeps = [_Sweep(binary, section) for section in binary.code]
    for sweep in sweeps:
        sweep.run()
    called = set().union(*(sweep.outside for sweep in sweeps))
    for sweep in sweeps:
        sweep.run(called)  # the procedure linkage table is a section of its own
    functions = [decoded for sweep in sweeps for decoded in sweep.functions()]
    return code_of(_checked(binary, functions))


def instruction_text(binary: Binary, address: int) -> str:
    """Return the instruction at an address as text: its word, if capstone is missing or too old for it."""
    for section in binary.code:
        at = address - section.address
        if 0 <= at <= len(section.content) - 4:
            content = bytes(section.content[at : at + 4])
            word = f".inst 0x{int.from_bytes(content, 'little'):08x}"
            return _disassembled(content, address) or word
    return ""


def _disassembled(content: bytes, address: int) -> str:
    try:
        import capstone
    except ModuleNotFoundError:
        return ""
    # Version 6 has another name for it.
    architecture = getattr(capstone, "CS_ARCH_AARCH64", None) or capstone.CS_ARCH_ARM64
    for _, _, name, operands in capstone.Cs(architecture, 0).disasm_lite(content, address):
        return f"{name} {operands}".strip()
    return ""


@dataclass(slots=True)
class _Decoded:
    """A function, and what it may ask the processor."""

    function: Function
    constants: set[int]
    """Values that it moves to the first register, where functions expect their first argument."""

    is_atomic_helper: bool
    """Whether it does one atomic operation, with LSE or, on other processors, with LDXR and STXR."""


class _Sweep:
    """The functions of one section."""

    def __init__(self, binary: Binary, section: Section) -> None:
        self._encodings = load_encodings()
        self._first, self._last = section.address, section.address + (len(section.content) & ~3)
        self._words = _words(section.content[: len(section.content) & ~3])
        for start, end in binary.data_in_code:
            first, last = (start - self._first) // 4, (end - self._first + 3) // 4
            for at in range(max(first, 0), min(last, len(self._words))):
                self._words[at] = _RET  # it is no code, and code that follows is a block of its own
        known = (*binary.starts, *binary.pointers.values())
        self._certain = {self._first, *(at for at in known if self._is_inside(at))}
        self._starts = self._certain | {at for at in binary.ends if self._is_inside(at)}
        self._targets: set[int] = set()
        self._functions: dict[tuple[int, int], _Decoded] = {}
        self.outside: set[int] = set()
        """Targets of calls and jumps to other sections."""

        self._has_all_starts = binary.format is not Format.PE

    def _is_inside(self, address: int) -> bool:
        return self._first <= address < self._last and not (address - self._first) & 3

    def run(self, called: AbstractSet[int] = frozenset()) -> None:
        """Decode all functions. Those that contain the target of a call are split there.

        ``called`` are targets in other sections.
        """
        inside = set(filter(self._is_inside, called))
        self._starts |= inside
        self._certain |= inside
        for _ in range(3):
            ordered = sorted(self._starts)
            ranges = zip(ordered, [*ordered[1:], self._last], strict=True)
            self._functions = {
                limits: self._functions.get(limits) or self._function(*limits) for limits in ranges
            }
            if self._targets <= self._starts:
                break
            self._starts |= self._targets

    def functions(self) -> Iterator[_Decoded]:
        """Return the functions.

        What only follows a function, or is only read, may be data: its instructions do not count.
        """
        for decoded in self._functions.values():
            if decoded.function.start not in self._certain:
                decoded.function = replace(decoded.function, uses=())
            yield decoded

    def _function(self, start: int, end: int) -> _Decoded:
        words = self._words[(start - self._first) // 4 : (end - self._first) // 4]
        scan = _scan(self._encodings, words, start)
        uses, references = scan.uses, scan.places | scan.targets
        self.outside.update(at for at in scan.targets if not self._first <= at < self._last)
        self._targets.update(filter(self._is_inside, references))
        # Functions without saved registers are not in the tables of PE files.
        # Data after a function seems to call and to continue, too.
        if start in self._certain or not scan.has_nonsense:
            self._certain.update(
                filter(self._is_inside, scan.targets if self._has_all_starts else references)
            )
        if words and _continues(words[-1]):
            references.add(end)
            if start in self._certain:
                self._certain.add(end)
        if uses and (scan.has_nonsense or sum(use[0] for use in uses.values()) <= _FEW):
            uses = _plausible(self._encodings, words, start)
        extensions = self._encodings.extensions
        function = Function(
            start,
            end,
            tuple(
                Use(extensions[kind - EXTENSION], count, offset)
                for kind, (count, offset) in uses.items()
            ),
            array("Q", references),
            scan.asks_cpu,
        )
        is_helper = (
            end - start <= _HELPER
            and {use.extensions for use in function.uses} == {("LSE",)}
            and any(word & mask == value for word in words for value, mask in _EXCLUSIVES)
        )
        return _Decoded(function, scan.constants, is_helper)


def _words(content: memoryview) -> array[int]:
    words = array("I" if array("I").itemsize == 4 else "L")
    words.frombytes(content)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _continues(word: int) -> bool:
    """Whether a function continues in the next one, after this instruction.

    A call at the end does not return, and instructions without effect are padding.
    """
    is_call = word & 0xFC000000 == 0x94000000 or word & 0xFFFFFC1F == 0xD63F0000
    is_padding = word & _NOP_MASK == _NOP or not word >> 16
    return not is_call and not is_padding and not _leaves(word)


def _leaves(word: int) -> bool:
    return any(word & mask == value for value, mask in _RETURNS)


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> bits - 1 else number


@dataclass(slots=True)
class _Scan:
    """A function, decoded from its start to its end."""

    uses: dict[int, list[int]] = field(default_factory=dict)
    """Count and first address of instructions with extensions, by kind."""

    targets: set[int] = field(default_factory=set)
    """Of calls and jumps to other functions."""

    places: set[int] = field(default_factory=set)
    """What else instructions refer to."""

    constants: set[int] = field(default_factory=set)
    asks_cpu: bool = False
    has_nonsense: bool = False


def _scan(encodings: Encodings, words: Sequence[int], start: int) -> _Scan:  # noqa: C901, PLR0912, PLR0915 -- runs for every instruction
    """Decode a function.

    An address comes from two instructions: ADRP has the page, and an addition, a load, or a store the rest. So the
    addresses in registers are followed in the order of the instructions, without regard to jumps.
    """
    kinds, masks, known_kinds = encodings.kinds, encodings.masks, encodings.known
    scan, end = _Scan(), start + 4 * len(words)
    refer, uses = scan.places.add, scan.uses
    registers = [0] * 32
    unknown = [0] * 19
    at = start - 4
    for word in words:
        at += 4
        kind = kinds[word >> 21]
        if kind == VARIES:
            kind = known_kinds.get(word & masks[word >> 21], VARIES)
            if kind == VARIES:
                kind = encodings.kind(word)
        if kind == WRITES:
            registers[word & 31] = 0
        elif kind == SKIP:
            continue
        elif kind == MEMORY:
            base = registers[word >> 5 & 31]
            is_vector = word >> 26 & 1
            if base:
                scale = 4 if is_vector and word >> 23 & 1 else word >> 30
                refer(base + ((word >> 10 & 0xFFF) << scale))
            if not is_vector and word & 0x00C00000:
                registers[word & 31] = 0
        elif kind == PAIR:
            if word >> 22 & 1:
                registers[word & 31] = registers[word >> 10 & 31] = 0
        elif kind == ADD:
            base = registers[word >> 5 & 31]
            if base:
                base += word >> 10 & 0xFFF
                refer(base)
            registers[word & 31] = base
        elif kind == PAGE:
            pages = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
            page = (at & ~0xFFF) + (_signed(pages, 21) << 12)
            registers[word & 31] = page & _ADDRESS
        elif kind == CALL:
            scan.targets.add(at + 4 * _signed(word & 0x3FFFFFF, 26) & _ADDRESS)
            registers[:19] = unknown
        elif kind == JUMP:
            target = at + 4 * _signed(word & 0x3FFFFFF, 26) & _ADDRESS
            if not start <= target < end:
                scan.targets.add(target)
        elif kind in {SHORT_JUMP, BIT_JUMP}:
            bits = 19 if kind == SHORT_JUMP else 14
            target = at + 4 * _signed(word >> 5 & (1 << bits) - 1, bits) & _ADDRESS
            if not start <= target < end:
                scan.targets.add(target)
        elif kind == MOVE:
            registers[word & 31] = 0
            if not word & 0x60001F:  # to the first register, without a shift
                scan.constants.add(word >> 5 & 0xFFFF)
        elif kind == CALL_REGISTER:
            registers[:19] = unknown
        elif kind in {NEAR, LITERAL}:
            place = _place(word, at)
            refer(place)
            registers[word & 31] = place if kind == NEAR else 0
        elif kind == ASKS_CPU:
            scan.asks_cpu = True
            registers[word & 31] = 0
        elif kind == NONSENSE:
            scan.has_nonsense = True
        elif kind in uses:
            uses[kind][0] += 1
        else:
            uses[kind] = [1, at]
    return scan


def _place(word: int, at: int) -> int:
    """The address in ADR, or that of LDR of a place near the instruction."""
    if word & 0x1F000000 == 0x10000000:
        return at + _signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21) & _ADDRESS
    return at + 4 * _signed(word >> 5 & 0x7FFFF, 19) & _ADDRESS


def _plausible(encodings: Encodings, words: Sequence[int], start: int) -> dict[int, list[int]]:
    """The uses of extensions in a function that are certainly code: count and first address, by kind."""
    end = start + 4 * len(words)

    def follow(at: int, flow: Flow, others: Container[int]) -> None:
        while at < end and at not in flow.reached:
            if at in others:
                flow.joins = True
                return
            word = words[(at - start) // 4]
            kind = flow.reached[at] = encodings.kind(word)
            if kind == NONSENSE:
                flow.has_nonsense = True
                return
            if kind in {NEAR, LITERAL}:
                flow.data.add(_place(word, at))
            if (target := _jump_target(word, at)) is not None and start <= target < end:
                flow.targets.append(target)
            at += 4
            if _leaves(word):
                flow.ends.add(at)
                return

    return uses_in_certain_code(start, follow, lambda kind: kind >= EXTENSION)


def _jump_target(word: int, at: int) -> int | None:
    """Where B, B.cond, BC.cond, CBZ, or TBZ jumps to."""
    if word & 0xFC000000 == 0x14000000:
        return at + 4 * _signed(word & 0x3FFFFFF, 26)
    if word & 0x7E000000 == 0x34000000 or word & 0xFF000000 == 0x54000000:
        return at + 4 * _signed(word >> 5 & 0x7FFFF, 19)
    if word & 0x7E000000 == 0x36000000:
        return at + 4 * _signed(word >> 5 & 0x3FFF, 14)
    return None


# Functions that ask the system what the processor supports


def _checked(binary: Binary, functions: Sequence[_Decoded]) -> Iterator[Function]:
    """Return the functions, with those marked that ask what the processor supports.

    libgcc, compiler-rt, and Rust add functions for atomic operations that use LSE if the processor has it, and one
    that asks for it. They say nothing about the rest of the file, so they lose their instructions and references.
    """
    imports = {at for at, name in binary.imports.items() if _CHECK.fullmatch(name)}
    stubs = {
        decoded.function.start
        for decoded in functions
        if decoded.function.end - decoded.function.start <= _STUB
        and not decoded.constants
        and not imports.isdisjoint(decoded.function.references)
    }
    helpers = {
        decoded.function.start: decoded.function.references
        for decoded in functions
        if decoded.is_atomic_helper
    }
    variables = set().union(*helpers.values())
    wanted = _WINDOWS_FEATURES if binary.format is Format.PE else _HARDWARE_CAPABILITIES
    names, checked = _names(binary), []
    still_called: set[int] = set()
    for decoded in functions:
        function = decoded.function
        references = set(function.references)
        checks = references & (imports | stubs)
        asks = bool(checks and decoded.constants & wanted) or not names.isdisjoint(references)
        if function.start in helpers or (checks and not variables.isdisjoint(references)):
            function = replace(function, uses=(), references=array("Q"), asks_cpu=False)
        elif asks:
            function = replace(function, asks_cpu=True)
        elif checks and binary.format is Format.PE:
            # The C library asks whether an instruction ends the process at once.
            function = replace(function, references=array("Q", references - checks))
        still_called.update(function.references)
        checked.append(function)
    for function in checked:
        is_needless = function.start in stubs and function.start not in still_called
        yield replace(function, references=array("Q")) if is_needless else function


def _names(binary: Binary) -> set[int]:
    """The addresses of names with which programs ask what the processor supports."""
    return {
        section.address + found.start()
        for section in binary.sections
        if section.name.startswith(("__TEXT,__cstring", ".rodata"))
        for found in _NAME.finditer(section.content)
    }
