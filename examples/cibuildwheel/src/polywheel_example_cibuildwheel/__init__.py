"""How many bits are set, counted by an instruction where the processor has one."""

from polywheel_example_cibuildwheel._bits import count

__all__ = ["count"]
