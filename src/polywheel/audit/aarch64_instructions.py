"""The instructions of AArch64: their kinds, and the extensions that they need.

``matrix/aarch64-encodings.toml`` says which extensions each needs: the packages that decode A64 know no extensions, or
have no release, and take ten times as long.
"""

from __future__ import annotations

import tomllib
from functools import cache

from polywheel.data import data_folder

SKIP, WRITES, MOVE, MEMORY, ADD, PAGE, CALL, JUMP, SHORT_JUMP, BIT_JUMP = range(10)
NEAR, LITERAL, CALL_REGISTER, PAIR, ASKS_CPU, NONSENSE, VARIES = range(10, 17)
EXTENSION = 17
"""Kinds of instructions. ``EXTENSION`` and all above are instructions with extensions."""

_ROLES = (
    # value and mask of words, from the section "A64 instruction set encoding" of the Arm ARM
    (0x10000000, 0x9F000000, NEAR),  # ADR
    (0x90000000, 0x9F000000, PAGE),  # ADRP
    (0x91000000, 0xFFC00000, ADD),  # ADD of 64 bits with an immediate
    (0x52800000, 0x7F800000, MOVE),  # MOVZ
    (0x14000000, 0xFC000000, JUMP),  # B
    (0x94000000, 0xFC000000, CALL),  # BL
    (0xD63F0000, 0xFFFFFC1F, CALL_REGISTER),  # BLR
    (0x54000000, 0xFF000010, SHORT_JUMP),  # B.cond
    (0x34000000, 0x7E000000, SHORT_JUMP),  # CBZ, CBNZ
    (0x36000000, 0x7E000000, BIT_JUMP),  # TBZ, TBNZ
    (0xD5380000, 0xFFFFF000, ASKS_CPU),  # MRS of MIDR_EL1 and ID_*
    (0x14000000, 0x1C000000, SKIP),  # other branches, and system instructions
    (0x18000000, 0x3B000000, LITERAL),  # LDR of a place near the instruction
    (0x39000000, 0x3B000000, MEMORY),  # loads and stores with an unsigned offset
    (0x28000000, 0x3E000000, PAIR),  # LDP, STP
    (0x0C000000, 0x0E000000, SKIP),  # loads and stores of vectors
    (0x0E000000, 0x0E000000, SKIP),  # floating point and vectors
    (0x00000000, 0x00000000, WRITES),  # the rest: register 0-4 is written
)


class Encodings:
    """The kinds of instructions, by their words. They are computed when a word is seen for the first time."""

    def __init__(self) -> None:
        path = data_folder("matrix") / "aarch64-encodings.toml"
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        self._by_byte: list[list[tuple[int, int, int]]] = [[] for _ in range(256)]
        self.extensions: list[tuple[str, ...]] = []
        """By the kind of an instruction, less ``EXTENSION``."""

        for names, text in document["encodings"].items():
            number = -1
            if names:
                number = EXTENSION + len(self.extensions)
                self.extensions.append(tuple(names.split()))
            for pattern in text.split():
                value, mask = (int(part, 16) for part in pattern.split("/"))
                for byte in range(256):
                    if not (byte ^ value >> 24) & mask >> 24:
                        self._by_byte[byte].append((value, mask, number))
        self.kinds = [VARIES] * 2048
        """By the upper 11 bits; ``VARIES`` if they do not determine the kind, or were not seen yet."""

        self.masks = [0xFFFFFFFF] * 2048
        """By the upper 11 bits: the bits that determine the kind."""

        self.known: dict[int, int] = {}
        """Kinds by words, of which only the bits of the mask are set."""

    def kind(self, word: int) -> int:
        """Return the kind of an instruction, and remember it."""
        upper = word >> 21
        if self.kinds[upper] != VARIES:
            return self.kinds[upper]
        if self.masks[upper] == 0xFFFFFFFF:
            self._prepare(upper)
        kind = self._computed(word)
        if self.masks[upper] == 0xFFE00000:
            self.kinds[upper] = kind
        self.known[word & self.masks[upper]] = kind
        return kind

    def _prepare(self, upper: int) -> None:
        """Find the bits on which the kind of words with these upper bits depends."""
        first = upper << 21
        patterns = [(value, mask) for value, mask, _ in self._by_byte[upper >> 3]]
        patterns += [(value, mask) for value, mask, _ in _ROLES]
        relevant = 0xFFE00000
        for value, mask in patterns:
            if not (first ^ value) & mask & 0xFFE00000:
                relevant |= mask
        self.masks[upper] = relevant

    def _computed(self, word: int) -> int:
        for value, mask, number in self._by_byte[word >> 24]:
            if word & mask == value:
                if number >= 0:
                    return number
                return next(kind for value, mask, kind in _ROLES if word & mask == value)
        return NONSENSE


@cache
def load_encodings() -> Encodings:
    return Encodings()
