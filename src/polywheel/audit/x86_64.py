"""Machine code for x86-64: the instruction set extensions of functions, and what functions refer to.

iced decodes the instructions and knows the extensions of each. Functions are decoded from their start to their end.
Data between them (jump tables of MSVC, constants in assembly code) decodes to nonsense, see
:mod:`polywheel.audit.certain_code`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from polywheel.audit.binaries import Binary, Format, Section
from polywheel.audit.certain_code import Flow, uses_in_certain_code
from polywheel.audit.code import Code, Function, Use, code_of
from polywheel.audit.parts import map_parts, split
from polywheel.audit.x86_64_instructions import (
    ASKS_CPU,
    CALL,
    EXTENSION,
    JUMP,
    MEMORY,
    NONSENSE,
    PLAIN,
    UNKNOWN,
    Iced,
    load_iced,
)

if TYPE_CHECKING:
    from iced_x86 import Instruction

_FEW = 8
"""If a function uses extensions in no more than this many instructions, it may be data."""
_LONGEST = 15
"""Bytes of an instruction."""
_NEAR = 16
"""Instructions after a call in which its result is stored."""


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
    iced = load_iced()
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
    iced, stored = load_iced(), set()
    waiting = 0  # instructions in which the result may still be stored
    for instruction in iced.decoder(64, _bytes_of(binary, function), ip=function.start):
        kind = iced.kind_of(instruction)
        refers = kind > CALL and instruction.is_ip_rel_memory_operand
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
    iced, sizes = load_iced(), dict[int, int]()
    for instruction in iced.decoder(64, _bytes_of(binary, function), ip=function.start):
        if iced.kind_of(instruction) > CALL and instruction.is_ip_rel_memory_operand:
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
    iced, content = load_iced(), _bytes_of(binary, function)
    names: set[str] = set()
    waiting, seen = [function.start], set[int]()
    while waiting:
        at = waiting.pop()
        for instruction in iced.decoder(64, content[at - function.start :], ip=at):
            kind = iced.kind_of(instruction)
            if instruction.ip in seen or kind in {ASKS_CPU, NONSENSE}:
                break
            seen.add(instruction.ip)
            flow, target = instruction.flow_control, instruction.near_branch_target
            if instruction.is_ip_rel_memory_operand:
                if is_check(instruction.ip_rel_memory_address):
                    break
            elif kind in {JUMP, CALL} and is_check(target):
                break
            names.update(iced.extensions.get(instruction.code, ()))
            if kind == JUMP and function.start <= target < function.end:
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
        load_iced()
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
    iced, decoded, at = load_iced(), _DecodedPart(), 0
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


def _continues(iced: Iced, last: Instruction) -> bool:
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


def _scan(iced: Iced, content: bytes, start: int) -> _Scan:  # noqa: C901, PLR0912 -- runs for every instruction
    """Decode a function."""
    kinds, end = iced.kinds, start + len(content)
    scan = _Scan({}, set(), set())
    refer, uses = scan.places.add, scan.uses
    instruction = None
    for instruction in iced.decoder(64, content, ip=start):
        code = instruction.code
        kind = kinds[code]
        if kind == MEMORY:  # most instructions
            if instruction.is_ip_rel_memory_operand:
                refer(instruction.ip_rel_memory_address)
            continue
        if kind == PLAIN:
            continue
        if kind == UNKNOWN:
            kind = iced.classify(instruction)
        if kind <= CALL:
            if kind == PLAIN:
                continue
            target = instruction.near_branch_target
            if kind == CALL or not start <= target < end:
                scan.targets.add(target)
            continue
        if instruction.is_ip_rel_memory_operand:
            refer(instruction.ip_rel_memory_address)
        if kind == EXTENSION:
            if code in uses:
                uses[code][0] += 1
            else:
                uses[code] = [1, instruction.ip]
        elif kind == ASKS_CPU:
            scan.asks_cpu = True
        elif kind == NONSENSE:
            scan.has_nonsense = True
    scan.last = instruction
    return scan


def _plausible(iced: Iced, content: bytes, start: int) -> dict[int, list[int]]:
    """The uses of extensions in a function that are certainly code: count and first address, by number."""
    flows, end = iced.flows, start + len(content)

    def follow(at: int, flow: Flow, others: Container[int]) -> None:
        for instruction in iced.decoder(64, content[at - start :], ip=at):
            if instruction.ip in flow.reached:
                return
            if instruction.ip in others:
                flow.joins = True
                return
            kind = iced.kind_of(instruction)
            flow.reached[instruction.ip] = instruction.code
            if kind == NONSENSE:
                flow.has_nonsense = True
                return
            if kind > CALL and instruction.is_ip_rel_memory_operand:
                flow.data.add(instruction.ip_rel_memory_address)
            kind_of_flow = instruction.flow_control
            if kind_of_flow in {flows.CONDITIONAL_BRANCH, flows.UNCONDITIONAL_BRANCH}:
                target = instruction.near_branch_target
                if start <= target < end:
                    flow.targets.append(target)
            if kind_of_flow in iced.leaving:
                flow.ends.add(instruction.next_ip)
                return

    return uses_in_certain_code(start, follow, lambda code: iced.kinds[code] == EXTENSION)
