"""Machine code for x86-64: the instruction set extensions of functions, and what functions refer to.

iced decodes the instructions and knows the extensions of each. Functions are decoded from their start to their end.
Data between them (jump tables of MSVC, constants in assembly code) decodes to nonsense, see :func:`_plausible`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from polywheel.audit.binaries import Binary, Format, Section
from polywheel.audit.code import Code, Function, Use, code_of
from polywheel.audit.parts import map_parts, split
from polywheel.errors import ConfigError

if TYPE_CHECKING:
    from iced_x86 import Instruction

_BASELINE = {
    # x86-64-v1: x86-64 psABI, "Micro-Architecture Levels"
    *("INTEL8086", "INTEL186", "INTEL286", "INTEL386", "INTEL486", "IA64", "X64", "CPUID", "TSC"),
    *("FPU", "FPU287", "FPU387", "MMX", "SSE", "SSE2", "CMOV", "CX8", "FXSR", "SYSCALL", "SEP"),
    *("MSR", "MULTIBYTENOP", "PAUSE", "CLFSH", "RDPMC"),
    # Hints, which older processors ignore.
    *("CET_IBT", "CET_SS", "PREFETCHW", "PREFETCHWT1", "PREFETCHITI", "CLDEMOTE", "HLE", "MPX"),
}
"""Names of iced for what every processor executes."""
_NAMES = {
    "AVX_VNNI": "AVX-VNNI",
    "D3NOW": "3DNow!",
    "D3NOWEXT": "3DNow!",
    "HLE_OR_RTM": "RTM",
    "SSE4_1": "SSE4.1",
    "SSE4_2": "SSE4.2",
}
"""The usual names, where those of iced are others."""
_DATA = {
    *("INTEL8086_ONLY", "INTEL286_ONLY", "INTEL386_ONLY", "INTEL386_A0_ONLY", "INTEL486_A_ONLY"),
    *("UMOV", "OSS", "CYRIX_D3NOW", "CYRIX_FPU", "CYRIX_SMM", "CYRIX_SMINT", "CYRIX_SMINT_0F7E"),
    *("CYRIX_SHR", "CYRIX_DDI", "CYRIX_EMMI", "CYRIX_DMI", "CENTAUR_AIS", "SMM", "KNC", "TDX"),
    *("FPU287XL_ONLY", "FPU387SL_ONLY", "MOV_TR", "PCOMMIT", "UDBG", "VMX", "SVM", "SEV_ES"),
    *("SEV_SNP", "SKINIT", "SKINIT_OR_SVM", "SMX", "INVEPT", "INVVPID", "INVPCID", "SGX1", "SMAP"),
    *("PCONFIG", "MCOMMIT", "INVLPGB", "CL1INVMB", "FRED", "LKGS", "RMPQUERY", "MSRLIST", "TSE"),
    *("WRMSRNS", "WBNOINVD", "HRESET", "PADLOCK_UNDOC", "MONITOR", "LWP"),
}
"""Names of iced for what programs do not contain: where it occurs, the bytes are data."""
_RARE = (
    *("IN_", "OUT_", "INSB", "INSW", "INSD", "OUTS", "HLT", "CLI", "STI", "IRET", "RETF", "INT1"),
    *("ENTER", "XLAT", "LOOP", "CALLF", "JMPF", "CALL_M", "JMP_M16", "LDS", "LES", "ARPL", "LFS"),
)
"""As ``_DATA``, the beginnings of names of instructions."""

_PLAIN, _JUMP, _CALL, _MEMORY, _EXTENSION, _ASKS_CPU, _NONSENSE, _UNKNOWN = range(8)
"""Kinds of instructions. All but those of the first three may refer to memory."""
_FEW = 8
"""If a function uses extensions in no more than this many instructions, it may be data."""
_LONGEST = 15
"""Bytes of an instruction."""
_NEAR = 16
"""Instructions after a call in which its result is stored."""


class _Iced:
    """The library iced, and the kinds of the instructions that it has decoded."""

    def __init__(self) -> None:
        try:
            import iced_x86
        except ModuleNotFoundError:
            raise ConfigError(
                "the audit of code for x86-64 needs the package iced-x86",
                hint="pip install 'polywheel[audit]'; on other processors than x86-64, "
                "pip install iced-x86, which needs Rust",
            ) from None
        self.decoder = iced_x86.Decoder
        self.flows = iced_x86.FlowControl
        self.size = iced_x86.MemorySizeInfo
        self._op_code_info = iced_x86.OpCodeInfo
        self._formatter = iced_x86.Formatter(iced_x86.FormatterSyntax.INTEL)
        self._names = _names_by_number(iced_x86.Code)
        self._features = _names_by_number(iced_x86.CpuidFeature)
        operands = _names_by_number(iced_x86.OpCodeOperandKind)
        self._memory = {number for number, name in operands.items() if "MEM" in name}
        registers = iced_x86.Register
        self._results = {registers.AL, registers.AX, registers.EAX, registers.RAX}
        flows = iced_x86.FlowControl
        self.calls = {flows.CALL, flows.INDIRECT_CALL}
        self.leaving = {
            *(flows.UNCONDITIONAL_BRANCH, flows.INDIRECT_BRANCH, flows.RETURN, flows.EXCEPTION)
        }
        self.kinds = bytearray([_UNKNOWN]) * (max(self._names) + 1)
        self.extensions: dict[int, tuple[str, ...]] = {}
        """By the number of an instruction."""

    def classify(self, instruction: Instruction) -> int:
        """Return the kind of an instruction, and remember it and its extensions."""
        kind = self._kind(instruction)
        self.kinds[instruction.code] = kind
        return kind

    def _kind(self, instruction: Instruction) -> int:
        code, flow = instruction.code, instruction.flow_control
        name = self._names[code]
        features = {self._features[number] for number in instruction.cpuid_features()}
        if name in {"CPUID", "XGETBV"}:
            return _ASKS_CPU
        if (
            instruction.is_invalid
            or instruction.is_privileged
            or features & _DATA
            or name.startswith(_RARE)
        ):
            return _NONSENSE
        beyond = sorted({_NAMES.get(feature, feature) for feature in features - _BASELINE})
        # Compilers emit TZCNT for BSF: older processors ignore its prefix, and the result is the same.
        if beyond and not name.startswith("TZCNT"):
            self.extensions[code] = tuple(beyond)
            return _EXTENSION
        flows = self.flows
        if flow in {flows.UNCONDITIONAL_BRANCH, flows.CONDITIONAL_BRANCH, flows.CALL}:
            return _CALL if flow == flows.CALL else _JUMP
        refers = self._memory.intersection(self._op_code_info(code).op_kinds())
        return _MEMORY if refers else _PLAIN

    def kind_of(self, instruction: Instruction) -> int:
        kind = self.kinds[instruction.code]
        return self.classify(instruction) if kind == _UNKNOWN else kind

    def is_store_of_result(self, instruction: Instruction) -> bool:
        """Whether an instruction writes the result of a call, or a condition, to memory."""
        name = self._names[instruction.code]
        return name.startswith("SET") or (
            name.startswith("MOV_RM") and instruction.op1_register in self._results
        )

    def text(self, instruction: Instruction) -> str:
        return str(self._formatter.format(instruction))


def _names_by_number(constants: object) -> dict[int, str]:
    return {number: name for name, number in vars(constants).items() if isinstance(number, int)}


@cache
def _load_iced() -> _Iced:
    return _Iced()


def decode(binary: Binary, *, processes: int = 1, part_bytes: int = 4_000_000) -> Code:
    """Decode the code of a file. Raises ConfigError if iced-x86 is missing.

    ``processes`` decode parts of the code that have ``part_bytes``.
    """
    functions: list[Function] = []
    targets: set[int] = set()
    # Tables of procedure linkage are small sections, in which only the calls of others tell where entries start.
    for section in sorted(binary.code, key=lambda section: -len(section.content)):
        sweep = _Sweep(binary, section, targets, processes, part_bytes)
        functions += sweep.functions()
        targets |= sweep.outside
    return code_of(functions)


def instruction_text(binary: Binary, address: int) -> str:
    """Return the instruction at an address as text."""
    iced = _load_iced()
    for section in binary.code:
        at = address - section.address
        if 0 <= at < len(section.content):
            content = bytes(section.content[at : at + _LONGEST])
            return iced.text(iced.decoder(64, content, ip=address).decode())
    return ""


def stored_results(binary: Binary, function: Function, calls: Container[int]) -> set[int]:
    """Return the addresses of variables in which a function stores the results of calls.

    ``calls`` has the functions, entries of the procedure linkage table, and pointers that are called.
    """
    iced, stored = _load_iced(), set()
    waiting = 0  # instructions in which the result may still be stored
    for instruction in iced.decoder(64, _bytes_of(binary, function), ip=function.start):
        kind = iced.kind_of(instruction)
        refers = kind > _CALL and instruction.is_ip_rel_memory_operand
        if instruction.flow_control in iced.calls:
            target = (
                instruction.ip_rel_memory_address
                if instruction.is_ip_rel_memory_operand
                else instruction.near_branch_target
            )
            waiting = _NEAR if target in calls else 0
        elif waiting and refers and iced.is_store_of_result(instruction):
            stored.add(instruction.ip_rel_memory_address)
        waiting -= waiting > 0
    return stored


def access_sizes(binary: Binary, function: Function) -> dict[int, int]:
    """Return the most bytes that an instruction of a function reads or writes at once, by address."""
    iced, sizes = _load_iced(), dict[int, int]()
    for instruction in iced.decoder(64, _bytes_of(binary, function), ip=function.start):
        if iced.kind_of(instruction) > _CALL and instruction.is_ip_rel_memory_operand:
            at = instruction.ip_rel_memory_address
            sizes[at] = max(sizes.get(at, 0), iced.size(instruction.memory_size).size)
    return sizes


def used_before(
    binary: Binary, function: Function, is_check: Callable[[int], bool]
) -> frozenset[str]:
    """Return the extensions that a function uses on paths from its start without a check of the processor.

    A check is an instruction that asks the processor, or that refers to an address for which ``is_check`` is true.
    Paths through jump tables are not followed.
    """
    iced, content = _load_iced(), _bytes_of(binary, function)
    names: set[str] = set()
    waiting, seen = [function.start], set[int]()
    while waiting:
        at = waiting.pop()
        for instruction in iced.decoder(64, content[at - function.start :], ip=at):
            kind = iced.kind_of(instruction)
            if instruction.ip in seen or kind in {_ASKS_CPU, _NONSENSE}:
                break
            seen.add(instruction.ip)
            flow, target = instruction.flow_control, instruction.near_branch_target
            if instruction.is_ip_rel_memory_operand:
                if is_check(instruction.ip_rel_memory_address):
                    break
            elif kind in {_JUMP, _CALL} and is_check(target):
                break
            names.update(iced.extensions.get(instruction.code, ()))
            if kind == _JUMP and function.start <= target < function.end:
                waiting.append(target)
            if flow in iced.leaving:
                break
    return frozenset(names)


def _bytes_of(binary: Binary, function: Function) -> bytes:
    for section in binary.code:
        at = function.start - section.address
        if 0 <= at < len(section.content):
            return bytes(section.content[at : at + function.end - function.start])
    return b""


class _Sweep:
    """The functions of one section."""

    def __init__(
        self,
        binary: Binary,
        section: Section,
        targets: Iterable[int],
        processes: int,
        part_bytes: int,
    ) -> None:
        _load_iced()
        self._processes, self._part_bytes = processes, part_bytes
        self.outside: set[int] = set()
        """The targets of its calls and jumps in other sections."""

        self._content = section.content
        self._first, self._last = section.address, section.address + len(section.content)
        known = (*binary.starts, *binary.pointers.values(), *targets)
        self._certain = {self._first, *(at for at in known if self._is_inside(at))}
        self._starts = self._certain | {at for at in binary.ends if self._is_inside(at)}
        self._targets: set[int] = set()
        self._has_all_starts = binary.format is not Format.PE

    def _is_inside(self, address: int) -> bool:
        return self._first <= address < self._last

    def functions(self) -> Iterator[Function]:
        """Decode all functions. Those that contain the target of a call are split there.

        What only follows a function, or is only read, may be data: its instructions do not count.
        """
        functions: dict[int, Function] = {}
        for _ in range(3):
            ordered = sorted(self._starts)
            ends = [*ordered[1:], self._last]
            new = [
                (start, end)
                for start, end in zip(ordered, ends, strict=True)
                if start not in functions or functions[start].end != end
            ]
            for function in self._decode(new):
                functions[function.start] = function
            if self._targets <= self._starts:
                break
            self._starts |= self._targets
        for function in functions.values():
            is_certain = not function.uses or function.start in self._certain
            yield function if is_certain else replace(function, uses=())

    def _decode(self, limits: list[tuple[int, int]]) -> Iterator[Function]:
        """Decode functions, and remember where other functions start."""
        ranges = list(split(limits, lambda limit: limit[1] - limit[0], self._part_bytes))
        parts = (_Part(part, self._content_of(part)) for part in ranges)
        decoded = map_parts(_decode_part, parts, len(ranges), self._processes)
        for part, result in zip(ranges, decoded, strict=True):
            inside = set(filter(self._is_inside, result.references))
            self._targets |= inside
            self.outside.update(at for at in result.targets if not self._is_inside(at))
            # Functions without saved registers are not in the tables of PE files.
            self._certain |= inside.intersection(result.targets) if self._has_all_starts else inside
            at = 0
            for number, (start, end) in enumerate(part):
                size = result.sizes[number]
                yield Function(
                    start,
                    end,
                    result.uses.get(number, ()),
                    result.references[at : at + size] if size else _NOTHING,
                    number in result.asks_cpu,
                )
                at += size

    def _content_of(self, limits: list[tuple[int, int]]) -> bytes:
        first = self._first
        return b"".join([self._content[start - first : end - first] for start, end in limits])


_NOTHING = array("Q")
"""The references of all functions that have none."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some functions, for another process."""

    limits: list[tuple[int, int]]
    content: bytes
    """Their code, one after another."""


@dataclass(frozen=True, slots=True)
class _DecodedPart:
    """The functions of a part, by number. Millions of them fit into memory, and are quick to pickle."""

    references: array[int] = field(default_factory=lambda: array("Q"))
    """Those of all functions, one after another."""

    sizes: array[int] = field(default_factory=lambda: array("L"))
    """The number of references of each function."""

    targets: set[int] = field(default_factory=set)
    """The references of all functions at which other functions start."""

    uses: dict[int, tuple[Use, ...]] = field(default_factory=dict)
    asks_cpu: set[int] = field(default_factory=set)


def _decode_part(part: _Part) -> _DecodedPart:
    iced, decoded, at = _load_iced(), _DecodedPart(), 0
    extensions = iced.extensions
    for number, (start, end) in enumerate(part.limits):
        content = part.content[at : at + end - start]
        at += end - start
        scan = _scan(iced, content, start)
        uses, targets = scan.uses, scan.targets
        if scan.last is not None and _continues(iced, scan.last):
            targets.add(end)
        references = scan.places | targets
        decoded.references.extend(references)
        decoded.sizes.append(len(references))
        decoded.targets.update(targets)
        if uses and (scan.has_nonsense or sum(use[0] for use in uses.values()) <= _FEW):
            uses = _plausible(iced, content, start)
        if uses:
            decoded.uses[number] = tuple(
                Use(extensions[code], count, offset) for code, (count, offset) in uses.items()
            )
        if scan.asks_cpu:
            decoded.asks_cpu.add(number)
    return decoded


def _continues(iced: _Iced, last: Instruction) -> bool:
    """Whether a function continues in the next one, after this instruction.

    A call at the end does not return, and instructions without effect are padding.
    """
    flows, flow = iced.flows, last.flow_control
    return flow == flows.CONDITIONAL_BRANCH or (
        flow == flows.NEXT and not last.is_invalid and not last.op_code().is_nop
    )


@dataclass(slots=True)
class _Scan:
    """A function, decoded from its start to its end."""

    uses: dict[int, list[int]]
    """Count and first address of instructions with extensions, by number."""

    targets: set[int]
    """Of calls and jumps to other functions."""

    places: set[int]
    """What else instructions refer to."""

    last: Instruction | None = None
    asks_cpu: bool = False
    has_nonsense: bool = False


def _scan(iced: _Iced, content: bytes, start: int) -> _Scan:  # noqa: C901, PLR0912 -- runs for every instruction
    """Decode a function."""
    kinds, end = iced.kinds, start + len(content)
    scan = _Scan({}, set(), set())
    refer, uses = scan.places.add, scan.uses
    instruction = None
    for instruction in iced.decoder(64, content, ip=start):
        code = instruction.code
        kind = kinds[code]
        if kind == _MEMORY:  # most instructions
            if instruction.is_ip_rel_memory_operand:
                refer(instruction.ip_rel_memory_address)
            continue
        if kind == _PLAIN:
            continue
        if kind == _UNKNOWN:
            kind = iced.classify(instruction)
        if kind <= _CALL:
            if kind == _PLAIN:
                continue
            target = instruction.near_branch_target
            if kind == _CALL or not start <= target < end:
                scan.targets.add(target)
            continue
        if instruction.is_ip_rel_memory_operand:
            refer(instruction.ip_rel_memory_address)
        if kind == _EXTENSION:
            if code in uses:
                uses[code][0] += 1
            else:
                uses[code] = [1, instruction.ip]
        elif kind == _ASKS_CPU:
            scan.asks_cpu = True
        elif kind == _NONSENSE:
            scan.has_nonsense = True
    scan.last = instruction
    return scan


@dataclass(slots=True)
class _Flow:
    """Instructions that control reaches from some address."""

    reached: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number and kind, by address."""

    ends: set[int] = field(default_factory=set)
    """The addresses after jumps and returns."""

    targets: list[int] = field(default_factory=list)
    """The targets of jumps inside of the function that were not followed yet."""

    data: set[int] = field(default_factory=set)
    """Addresses that instructions read."""

    joins: bool = False
    """Whether it goes on with instructions of another flow."""


def _plausible(iced: _Iced, content: bytes, start: int) -> dict[int, list[int]]:
    """The uses of extensions in a function that are certainly code: count and first address, by number.

    Code is what control reaches from the start of the function, and what follows it directly up to the end of a
    block without nonsense: the landing pads of exceptions, and the targets of jump tables. A place that the
    function reads as data is none of these.
    """
    flow = _Flow(targets=[start])
    while flow.targets:
        _follow(iced, content, start, flow.targets.pop(), flow)
    blocks = sorted(flow.ends)
    while blocks:
        at = blocks.pop(0)
        if at in flow.reached:
            continue
        block = _Flow()
        _follow(iced, content, start, at, block, others=flow.reached)
        has_end = block.joins or bool(block.ends)
        is_whole = has_end and all(kind != _NONSENSE for _, kind in block.reached.values())
        if is_whole and block.reached.keys().isdisjoint(flow.data):
            flow.reached |= block.reached
            blocks += sorted(block.ends - flow.ends)
            flow.ends |= block.ends
    uses: dict[int, list[int]] = {}
    for at in sorted(flow.reached):
        code, kind = flow.reached[at]
        if kind == _EXTENSION:
            uses.setdefault(code, [0, at])[0] += 1
    return uses


def _follow(
    iced: _Iced,
    content: bytes,
    start: int,
    at: int,
    flow: _Flow,
    *,
    others: Container[int] = (),
) -> None:
    """Decode from an address to the next jump or return, or to an instruction of another flow."""
    flows, end = iced.flows, start + len(content)
    for instruction in iced.decoder(64, content[at - start :], ip=at):
        if instruction.ip in flow.reached:
            return
        if instruction.ip in others:
            flow.joins = True
            return
        kind = iced.kinds[instruction.code]
        if kind == _UNKNOWN:
            kind = iced.classify(instruction)
        flow.reached[instruction.ip] = (instruction.code, kind)
        if kind == _NONSENSE:
            return
        if kind > _CALL and instruction.is_ip_rel_memory_operand:
            flow.data.add(instruction.ip_rel_memory_address)
        kind_of_flow = instruction.flow_control
        if kind_of_flow in {flows.CONDITIONAL_BRANCH, flows.UNCONDITIONAL_BRANCH}:
            target = instruction.near_branch_target
            if start <= target < end:
                flow.targets.append(target)
        if kind_of_flow in iced.leaving:
            flow.ends.add(instruction.next_ip)
            return
