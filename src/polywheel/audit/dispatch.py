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
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

from polywheel.audit.binaries import Binary
from polywheel.audit.code import Code, Function
from polywheel.audit.x86_64 import access_sizes, stored_results, used_before

_IMPORTED_CHECK = re.compile(
    r"__cpu_model|__cpu_features2?|__cpu_indicator_init|__get_cpuid|getauxval|elf_aux_info"
    r"|sysctlbyname|IsProcessorFeaturePresent|__intel_cpu|npy_cpu_(have|features|supports)"
    r"|cpuinfo_(initialize|isa|has_)|OPENSSL_(ia32|arm)cap|cpu_?(id|has|flags|info|features|caps|support)|has_?cpu",
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
    r"(?<![a-z])s?sse[234]|sse4|ssse3|avx|popcnt|bmi[12]|(?<![a-z])bmi|(?<![a-z])fma(?![a-df-z])"
    r"|(?<![a-z0-9])f16c(?![a-z0-9])|lzcnt|movbe|aes_?ni|clmul|sha_?(ni|ext)|vaes|gfni|vnni|(?<![a-z])amx"
    r"|(?<![a-z])adx|ifma|vbmi|x86_?64_?v[234]|nehalem|westmere|sandybridge|ivybridge|haswell|broadwell"
    r"|skylake|cooperlake|icelake|cascadelake|sapphirerapids|bulldozer|piledriver|steamroller|excavator"
    r"|(?<![a-z])zen[1-5]?\b|znver[1-5]|penryn|dunnington|barcelona|bobcat|(?<![a-z])core2|opteron|athlon"
    r"|prescott|(?<![a-z])knl|mkl_\w*_mc3?_|simd_?levele[1-9]",
)
"""Names of extensions, and of processors, in names of functions and files, in small letters."""
_NAME_OF_CORE = re.compile(r"_(NANO|ATOM)\b")
"""Names of processors that are words: they count in capital letters."""
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
        "westmere",
        "bridge",
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
        "znver",
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
_ARM_NAME = re.compile(
    r"dotprod|asimd_?(dp|hp|ddp|fhm)|i8mm|(?<![a-z])([us]dot|lse|pmull\w*|rdma?)(?![a-z])|(?<![a-z])sve"
    r"|(?<![a-z])sme(?![a-z])|arm_?crc|acle|rndr|vpsm4|hwsm[34]|eor3|armv[89]|_v8(?![a-z\d])|_(ce|hw|arm64|aarch64)(?![a-z])"
    r"|neoverse|cortexa\d|thunderx|tsv110|emag8180|a64fx|falkor|simd_?levele[1-9]",
    re.IGNORECASE,
)
"""As ``_NAME``, for AArch64."""
_PYTHON = re.compile(r"_?Py[A-Z_]")
"""Imported functions of Python."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Which functions of a file check the processor, or run after a check, by number."""

    has_guards: bool
    unchecked: frozenset[int]
    """Of the functions that were asked about, those that run without a check."""


def find_unchecked(
    binary: Binary,
    code: Code,
    numbers: Iterable[int],
    admitted: frozenset[str] = frozenset(),
    names_used: Callable[[], Container[str] | None] = lambda: None,
) -> Dispatch:
    """Return which of the functions, which use extensions, run without a check of the processor.

    ``admitted`` has the extensions that need no check. ``names_used`` returns the exports that other files use, or
    None: all may be used.
    """
    asked = frozenset(numbers)
    if not asked:
        return Dispatch(has_guards=False, unchecked=asked)
    if is_named(binary.file.rpartition("/")[2], binary.machine):
        return Dispatch(has_guards=True, unchecked=frozenset())
    graph = _Graph(binary, code)
    guards = graph.guards()
    if not guards:
        return Dispatch(has_guards=False, unchecked=asked)
    unchecked = graph.flagged(guards, asked, admitted)
    if unchecked:
        names = names_used()
        if names is not None:
            unchecked = graph.flagged(guards, asked, admitted, names)
    return Dispatch(has_guards=True, unchecked=unchecked)


def is_named(name: str, machine: str = "x86_64") -> bool:
    """Whether the name of a function or file has the name of an extension or processor."""
    lower = name.lower()
    if machine == "aarch64":
        return _ARM_NAME.search(lower) is not None
    if not any(part in lower for part in _PARTS):
        return False
    return _NAME.search(lower) is not None or _NAME_OF_CORE.search(name) is not None


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
        self._table_entries = {
            slot: binary.pointers[slot]
            for first, last in self._tables
            for slot in self._slots[
                bisect_left(self._slots, first) : bisect_left(self._slots, last)
            ]
        }
        self._variables = _Ranges(())
        self._checks: set[int] = set()
        """The places of functions that answer what the processor supports."""

    def flagged(
        self,
        guards: frozenset[int],
        asked: frozenset[int],
        admitted: frozenset[str],
        used: Container[str] | None = None,
    ) -> frozenset[int]:
        """Of the functions with extensions, those that run without a check and are no kernels.

        ``used`` has the names of the exports that other files use; None stands for all.
        """
        entries = set(self._entry_points())
        exports = set(self._exports(used))
        # Many libraries export by accident what only they call, after a check. An extension that the file uses
        # without a check anyway is none that it checks.
        doubtful = (exports & asked) - entries
        roots = entries | (exports - doubtful)
        if not doubtful:
            return self._flagged(roots, guards, asked, admitted)[0]
        flagged, reached = self._flagged(roots, guards, asked, admitted)
        after, _ = self._reached(self._referred(guards), frozenset())
        roots |= (doubtful & reached) | (doubtful - after)
        flagged, _ = self._flagged(roots, guards, asked, admitted)
        unchecked = self._extensions_of(flagged) | admitted
        roots |= {number for number in doubtful if self._extensions_of({number}) <= unchecked}
        return self._flagged(roots, guards, asked, admitted)[0]

    def _extensions_of(self, numbers: Iterable[int]) -> set[str]:
        return {
            name
            for number in numbers
            for use in self._code.functions[number].uses
            for name in use.extensions
        }

    def _flagged(
        self,
        roots: set[int],
        guards: frozenset[int],
        asked: frozenset[int],
        admitted: frozenset[str],
    ) -> tuple[frozenset[int], frozenset[int]]:
        """The functions as for :meth:`flagged`, and all that are reached without passing a guard, or are the first."""
        functions = self._code.functions
        reached, stopped = self._reached(roots, guards)
        early = {number for number in stopped & asked if self._uses_before_check(number) - admitted}
        suspects = (asked & reached) | early
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
        return frozenset(flagged), reached | stopped

    def _reached(
        self, starts: set[int], guards: frozenset[int]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """The numbers of the functions that are reached without passing a guard, and of the first guards."""
        seen: set[int] = set()
        waiting = list(starts)
        visited: set[int] = set()  # addresses
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            if number not in guards:
                targets = self._targets(self._code.functions[number].references, visited)
                waiting += [target for target in targets if target not in seen]
        return frozenset(seen - guards), frozenset(seen & guards)

    def _referred(self, numbers: frozenset[int]) -> set[int]:
        """The functions to which functions refer, directly or through pointers."""
        visited: set[int] = set()
        return {
            target
            for number in numbers
            for target in self._targets(self._code.functions[number].references, visited)
        }

    def _uses_before_check(self, number: int) -> frozenset[str]:
        """The extensions that a guard uses before it checks the processor."""
        if self._binary.machine != "x86_64":
            return frozenset()
        return used_before(self._binary, self._code.functions[number], self._is_check)

    def _named(self, numbers: frozenset[int]) -> frozenset[int]:
        """Those of the functions whose names say which extension or processor they are for."""
        named: set[int] = set()
        for symbol in self._binary.symbols:
            number = self._code.function_at(symbol.address)
            if (
                number in numbers
                and number not in named
                and is_named(symbol.name, self._binary.machine)
            ):
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

    def _entry_points(self) -> Iterator[int]:
        """The functions that the loader calls."""
        numbers = map(self._code.function_at, self._binary.entry_points)
        yield from (number for number in numbers if number is not None)

    def _exports(self, used: Container[str] | None) -> Iterator[int]:
        """The functions that other files call. Python calls only PyInit_* of a module."""
        exports = [
            symbol
            for symbol in self._binary.symbols
            if symbol.is_exported and (used is None or symbol.name in used)
        ]
        modules = [symbol for symbol in exports if symbol.name.startswith("PyInit_")]
        addresses = [
            symbol.address
            for symbol in modules or exports
            if not symbol.is_ifunc and not is_named(symbol.name, self._binary.machine)
        ]
        for symbol in () if modules else self._binary.objects:
            is_used = used is None or symbol.name in used
            if symbol.is_exported and is_used and not is_named(symbol.name, self._binary.machine):
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
        self._variables = _Ranges(self._written(detectors))
        guards = detectors | self._readers()
        answers = {number for number in guards if self._is_small(functions[number])}
        asking = guards | self._callers(self._places_of(detectors))
        self._checks = self._places_of(detectors) | set(self._imported)
        for _ in range(_DEPTH):
            calls = self._places_of(answers)
            self._checks |= calls
            callers = self._callers(calls)
            found = callers | self._readers_of_stored(asking | callers)
            answers = {number for number in found - guards if self._is_small(functions[number])}
            guards |= found
            asking = set()
            if not answers:
                break
        return frozenset(guards | self._resolvers())

    def _readers(self) -> set[int]:
        """The functions that refer to a variable about the processor, or to an imported check."""
        # Every place is asked about once: there are more references than places.
        return self._referring({place for place in self._places if self._is_variable(place)})

    def _readers_of_stored(self, numbers: set[int]) -> set[int]:
        """The functions that refer to variables in which these functions store the answers of checks."""
        if self._binary.machine != "x86_64":
            return set()
        functions = self._code.functions
        places = {
            place
            for number in numbers
            for place in stored_results(self._binary, functions[number], self._checks)
            if place not in self._variables and not self._is_constant(place)
        }
        if not places:
            return set()
        self._variables = self._variables.with_ranges((place, place + 1) for place in places)
        return self._readers()

    def _is_variable(self, address: int) -> bool:
        if self._variable_at(address) in self._variables:
            return True
        at = bisect_left(self._imported, address)
        return at < len(self._imported) and self._imported[at] == address

    def _is_check(self, address: int) -> bool:
        return address in self._checks or self._is_variable(address)

    def _is_small(self, function: Function) -> bool:
        return function.end - function.start <= _SMALL

    def _callers(self, places: set[int]) -> set[int]:
        """The functions that refer to one of these places, except for entries of the linkage table."""
        functions = self._code.functions
        return {n for n in self._referring(places) if functions[n].start not in places}

    def _referring(self, places: set[int]) -> set[int]:
        """The functions that refer to one of the places."""
        if not places:
            return set()
        return {
            number
            for number, function in enumerate(self._code.functions)
            if not places.isdisjoint(function.references)
        }

    def _places_of(self, numbers: set[int]) -> set[int]:
        """Where these functions are called: their starts, and entries of tables that lead there."""
        places = {self._code.functions[number].start for number in numbers}
        slots = {slot for slot, target in self._table_entries.items() if target in places}
        if slots:
            places |= slots
            places.update(
                function.start
                for function in self._code.functions
                if function.end - function.start <= _STUB
                and not slots.isdisjoint(function.references)
            )
        return places

    def _resolvers(self) -> set[int]:
        resolvers = (
            self._code.function_at(symbol.address)
            for symbol in self._binary.symbols
            if symbol.is_ifunc or symbol.name.endswith(".resolver")
        )
        return {number for number in resolvers if number is not None}

    def _written(self, detectors: set[int]) -> Iterator[tuple[int, int]]:
        """The variables that detectors write, as ranges of addresses.

        These are the places in writable data to which detectors and their direct callers refer, if the
        latter are small.
        """
        functions = self._code.functions
        writers = detectors | {
            number
            for number in self._callers(self._places_of(detectors))
            if functions[number].end - functions[number].start <= _SETUP
        }
        for number in writers:
            sizes = self._access_sizes(functions[number])
            for place in functions[number].references:
                address = self._variable_at(place)
                is_known = address in self._binary.imports or address in self._binary.pointers
                if not is_known and not self._is_constant(address):
                    size = self._objects.get(address) or self._default_size(address)
                    # One instruction may write several fields.
                    yield address, address + max(size, sizes.get(address, 0))

    def _access_sizes(self, function: Function) -> dict[int, int]:
        return access_sizes(self._binary, function) if self._binary.machine == "x86_64" else {}

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

    def with_ranges(self, ranges: Iterable[tuple[int, int]]) -> _Ranges:
        return _Ranges((*zip(self._firsts, self._lasts, strict=True), *ranges))

    def __contains__(self, address: int) -> bool:
        at = bisect_right(self._firsts, address) - 1
        return at >= 0 and address < self._lasts[at]
