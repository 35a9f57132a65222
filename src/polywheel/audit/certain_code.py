"""Find the instructions of a function that are certainly code, and not data that decodes to instructions."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field


@dataclass(slots=True)
class Flow:
    """Instructions that control reaches from some address."""

    reached: dict[int, int] = field(default_factory=dict)
    """The number of each instruction, by address."""

    ends: set[int] = field(default_factory=set)
    """The addresses after jumps and returns."""

    targets: list[int] = field(default_factory=list)
    """The targets of jumps inside of the function that were not followed yet."""

    data: set[int] = field(default_factory=set)
    """Addresses that instructions read."""

    joins: bool = False
    """Whether it goes on with instructions of another flow."""

    has_nonsense: bool = False
    """Whether it ends with what is no instruction of a program."""


Follow = Callable[[int, Flow, Container[int]], None]
"""Decodes from an address to the next jump or return, or to an instruction in a container of addresses, and adds what
it finds to the flow."""


def uses_in_certain_code(
    start: int, follow: Follow, is_extension: Callable[[int], bool]
) -> dict[int, list[int]]:
    """Return the uses of extensions in a function that are certainly code: count and first address, by number.

    Code is what control reaches from the start of the function, and what follows it directly up to the end of a
    block without nonsense: the landing pads of exceptions, and the targets of jump tables. A place that the
    function reads as data is none of these.
    """
    flow = Flow(targets=[start])
    while flow.targets:
        follow(flow.targets.pop(), flow, ())
    blocks = sorted(flow.ends)
    while blocks:
        at = blocks.pop(0)
        if at in flow.reached:
            continue
        block = Flow()
        follow(at, block, flow.reached)
        is_whole = (block.joins or bool(block.ends)) and not block.has_nonsense
        if is_whole and block.reached.keys().isdisjoint(flow.data):
            flow.reached |= block.reached
            blocks += sorted(block.ends - flow.ends)
            flow.ends |= block.ends
    uses: dict[int, list[int]] = {}
    for at in sorted(flow.reached):
        number = flow.reached[at]
        if is_extension(number):
            uses.setdefault(number, [0, at])[0] += 1
    return uses
