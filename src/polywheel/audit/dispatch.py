"""Which functions use instructions without a check of the processor before.

Programs choose code for the processor at run time: a function with `cpuid` writes what it supports to variables, other
functions read these and call, or store, the function that fits. A function that checks the processor is a **guard**.
The functions that a program reaches from its entry points without passing a guard are **unchecked**.

What can't be followed is a choice that is kept in an object: a pointer in a table on the heap, or a flag in a context.
So in a file with guards, an unchecked function counts as chosen at run time if it looks like a kernel: only code
without the instructions, or another kernel, calls it, and it does not use the API of Python. A file that was compiled
with the wrong flags has the instructions everywhere, also in functions that no dispatch chooses.

Guards are recognized for each function as a whole, not for its paths: all that a guard refers to counts as checked.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from polywheel.audit.binaries import Binary
from polywheel.audit.code import Code, Function

_IMPORTED_CHECK = re.compile(
    r"__cpu_model|__cpu_features2?|__cpu_indicator_init|__get_cpuid|getauxval|elf_aux_info"
    r"|sysctlbyname|IsProcessorFeaturePresent|__intel_cpu|npy_cpu_(have|features|supports)"
    r"|cpuinfo_(initialize|isa|has_)|OPENSSL_ia32cap|cpu_?(id|has|flags|info|features|caps|support)|has_?cpu",
    re.IGNORECASE,
)
"""Imported functions and variables with which a program asks what the processor supports."""
_TABLES = {".got", ".got.plt", "__DATA_CONST,__got", "__DATA,__got"}
"""Sections with the addresses of functions and variables."""
_VARIABLE_BYTES = 64
"""A variable about the processor has at most this many bytes, if its size is unknown."""
_SMALL = 256
"""Bytes of a function that only answers what the processor supports. Its callers are guards."""
_STUB = 32
"""Bytes of an entry of the procedure linkage table."""
_DEPTH = 3
"""How many such functions may call each other."""
_SETUP = 4096
"""Bytes of a function that calls a detector and keeps its answer in variables."""
_NAME = re.compile(
    r"(?<![a-z])s?sse[234]|sse4|ssse3|avx|popcnt|bmi[12]|(?<![a-z])bmi|(?<![a-z])fma|f16c|lzcnt|movbe|aes_?ni|clmul"
    r"|sha_?(ni|ext)|vaes|gfni|vnni|(?<![a-z])amx|(?<![a-z])adx|ifma|vbmi|x86_?64_?v[234]|nehalem|sandybridge|haswell"
    r"|skylake|cooperlake|icelake|cascadelake|sapphirerapids|bulldozer|piledriver|steamroller|excavator|zen[1-5]?\b"
    r"|penryn|dunnington|barcelona|bobcat|core2|opteron|athlon|_nano\b|_atom\b|prescott|(?<![a-z])knl|mkl_\w*_mc3?_|simd_?levele[1-9]",
    re.IGNORECASE,
)
"""Names of extensions, and of processors, in names of functions and files."""
_PARTS = (
    *(
        "sse",
        "avx",
        "popcnt",
        "bmi",
        "fma",
        "f16c",
        "lzcnt",
        "movbe",
        "aes",
        "clmul",
        "sha",
        "gfni",
        "vnni",
    ),
    *(
        "amx",
        "adx",
        "ifma",
        "vbmi",
        "x86",
        "nehalem",
        "sandy",
        "well",
        "lake",
        "rapids",
        "dozer",
        "driver",
    ),
    *(
        "roller",
        "excavator",
        "zen",
        "penryn",
        "dunnington",
        "barcelona",
        "bobcat",
        "core2",
        "opteron",
    ),
    *("athlon", "nano", "atom", "prescott", "knl", "mkl", "simd"),
)
"""Every name that the pattern matches contains one of these. Names of C++ are long, and the pattern is slow."""
_PYTHON = re.compile(r"_?Py[A-Z_]")
"""Imported functions of Python."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Which functions of a file check the processor, or run after a check, by number."""

    has_guards: bool
    unchecked: frozenset[int]
    """Of the functions that were asked about, those that run without a check."""


def find_unchecked(binary: Binary, code: Code, numbers: Iterable[int]) -> Dispatch:
    """Return which of the functions, which use extensions, run without a check of the processor."""
    asked = frozenset(numbers)
    if not asked:
        return Dispatch(has_guards=False, unchecked=asked)
    if is_named(binary.file.rpartition("/")[2]):
        return Dispatch(has_guards=True, unchecked=frozenset())
    graph = _Graph(binary, code)
    guards = graph.guards()
    if not guards:
        return Dispatch(has_guards=False, unchecked=asked)
    return Dispatch(has_guards=True, unchecked=graph.flagged(guards, asked))


def is_named(name: str) -> bool:
    """Whether the name of a function or file has the name of an extension or processor."""
    lower = name.lower()
    return any(part in lower for part in _PARTS) and _NAME.search(lower) is not None


class _Graph:
    """The functions of a file, and what they refer to."""

    def __init__(self, binary: Binary, code: Code) -> None:
        self._binary, self._code = binary, code
        self._slots = array("Q", sorted(binary.pointers))
        self._imported = array(
            "Q", sorted(at for at, name in binary.imports.items() if _IMPORTED_CHECK.search(name))
        )
        self._objects = {symbol.address: symbol.size for symbol in binary.objects}
        places = set(binary.pointers.values()) | set(self._objects)
        for function in code.functions:
            places.update(function.references)
        self._places = array("Q", sorted(places))
        self._constant = [
            (section.address, section.address + len(section.content))
            for section in binary.sections
            if not section.writable and section.address
        ]

        self._tables = [
            (section.address, section.address + len(section.content))
            for section in binary.sections
            if section.name in _TABLES
        ]

    def flagged(self, guards: frozenset[int], asked: frozenset[int]) -> frozenset[int]:
        """Of the functions with extensions, those that run without a check and are no kernels."""
        functions = self._code.functions
        roots = set(self._roots())
        unchecked = self._unchecked(roots, guards)
        suspects = asked & unchecked
        suspects -= self._named(suspects)
        waiting = [
            number for number in suspects if number in roots or self._uses_python(functions[number])
        ]
        flagged: set[int] = set()
        while waiting:
            number = waiting.pop()
            if number in flagged:
                continue
            flagged.add(number)
            targets = map(self._code.function_at, functions[number].references)
            waiting += [target for target in targets if target in suspects]
        return frozenset(flagged)

    def _unchecked(self, roots: set[int], guards: frozenset[int]) -> frozenset[int]:
        """The numbers of the functions that are reached without passing a guard."""
        seen: set[int] = set()
        waiting = list(roots - guards)
        visited: set[int] = set()  # addresses
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            targets = self._targets(self._code.functions[number].references, visited)
            waiting += [target for target in targets if target not in seen and target not in guards]
        return frozenset(seen)

    def _named(self, numbers: frozenset[int]) -> frozenset[int]:
        """Those of the functions whose names say which extension or processor they are for."""
        named: set[int] = set()
        for symbol in self._binary.symbols:
            number = self._code.function_at(symbol.address)
            if number in numbers and number not in named and is_named(symbol.name):
                named.add(number)
        return frozenset(named)

    def _uses_python(self, function: Function) -> bool:
        """Whether a function calls Python, directly or through an entry of the procedure linkage table."""
        for address in function.references:
            if self._is_python(address):
                return True
            number = self._code.function_at(address)
            if number is not None:
                target = self._code.functions[number]
                if target.end - target.start <= _STUB and any(
                    map(self._is_python, target.references)
                ):
                    return True
        return False

    def _is_python(self, address: int) -> bool:
        return _PYTHON.match(self._binary.imports.get(address, "")) is not None

    def _roots(self) -> Iterator[int]:
        """The functions that others call: exports and initializers. Python calls only PyInit_* of a module."""
        exports = [symbol for symbol in self._binary.symbols if symbol.is_exported]
        modules = [symbol for symbol in exports if symbol.name.startswith("PyInit_")]
        addresses = list(self._binary.entry_points)
        addresses += [
            symbol.address
            for symbol in modules or exports
            if not symbol.is_ifunc and not is_named(symbol.name)
        ]
        for symbol in () if modules else self._binary.objects:
            if symbol.is_exported and not is_named(symbol.name):
                first = bisect_left(self._slots, symbol.address)
                last = bisect_left(self._slots, symbol.address + symbol.size)
                addresses += [self._binary.pointers[at] for at in self._slots[first:last]]
        numbers = map(self._code.function_at, addresses)
        yield from (number for number in numbers if number is not None)

    def _targets(self, references: Iterable[int], visited: set[int]) -> Iterator[int]:
        """The functions that references lead to, directly or through pointers in the data.

        What ``visited`` has is left out, and all addresses are added to it.
        """
        waiting = [address for address in references if address not in visited]
        while waiting:
            address = waiting.pop()
            if address in visited:
                continue
            visited.add(address)
            number = self._code.function_at(address)
            if number is None:
                waiting += self._pointers_of(address)
            else:
                yield number

    def _pointers_of(self, address: int) -> Iterator[int]:
        """The pointers in the variable at an address."""
        first = bisect_left(self._slots, address)
        last = bisect_left(self._slots, self._end_of(address), first)
        for at in self._slots[first:last]:
            yield self._binary.pointers[at]

    def _end_of(self, address: int) -> int:
        """The end of the variable at an address: that of its symbol, or the next place with a reference."""
        after = bisect_right(self._places, address)
        next_place = self._places[after] if after < len(self._places) else address + 1
        return max(next_place, address + self._objects.get(address, 0))

    # Guards

    def guards(self) -> frozenset[int]:
        """The numbers of the functions that check the processor."""
        functions = self._code.functions
        detectors = {number for number, function in enumerate(functions) if function.asks_cpu}
        variables = _Ranges(self._variables(detectors))
        # Every place is asked about once: there are more references than places.
        checks = {address for address in self._places if self._is_check(address, variables)}
        guards = detectors | self._referring(checks)
        answers = {number for number in guards if self._is_small(functions[number])}
        for _ in range(_DEPTH):
            callers = self._callers(answers) - guards
            guards |= callers
            answers = {number for number in callers if self._is_small(functions[number])}
            if not answers:
                break
        return frozenset(guards | self._resolvers())

    def _is_check(self, address: int, variables: _Ranges) -> bool:
        if self._variable_at(address) in variables:
            return True
        at = bisect_left(self._imported, address)
        return at < len(self._imported) and self._imported[at] == address

    def _is_small(self, function: Function) -> bool:
        return function.end - function.start <= _SMALL

    def _callers(self, numbers: set[int]) -> set[int]:
        return self._referring({self._code.functions[number].start for number in numbers})

    def _referring(self, places: set[int]) -> set[int]:
        """The functions that refer to one of the places."""
        if not places:
            return set()
        return {
            number
            for number, function in enumerate(self._code.functions)
            if not places.isdisjoint(function.references)
        }

    def _resolvers(self) -> set[int]:
        resolvers = (
            self._code.function_at(symbol.address)
            for symbol in self._binary.symbols
            if symbol.is_ifunc or symbol.name.endswith(".resolver")
        )
        return {number for number in resolvers if number is not None}

    def _variables(self, detectors: set[int]) -> Iterator[tuple[int, int]]:
        """The variables that detectors write, as ranges of addresses.

        These are the places in writable data to which detectors and their direct callers refer, if the
        latter are small.
        """
        functions = self._code.functions
        writers = detectors | {
            number
            for number in self._callers(detectors)
            if functions[number].end - functions[number].start <= _SETUP
        }
        for number in writers:
            for address in map(self._variable_at, functions[number].references):
                is_known = address in self._binary.imports or address in self._binary.pointers
                if not is_known and not self._is_constant(address):
                    size = self._objects.get(address)
                    yield address, address + (size or self._default_size(address))

    def _variable_at(self, address: int) -> int:
        """The variable that an address names, which may be an entry of the global offset table."""
        is_entry = any(first <= address < last for first, last in self._tables)
        return self._binary.pointers.get(address, address) if is_entry else address

    def _default_size(self, address: int) -> int:
        return min(_VARIABLE_BYTES, max(8, self._end_of(address) - address))

    def _is_constant(self, address: int) -> bool:
        return any(first <= address < last for first, last in self._constant)


class _Ranges:
    """Ranges of addresses."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        merged: list[list[int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self._firsts = array("Q", (first for first, _ in merged))
        self._lasts = array("Q", (last for _, last in merged))

    def __contains__(self, address: int) -> bool:
        at = bisect_right(self._firsts, address) - 1
        return at >= 0 and address < self._lasts[at]
