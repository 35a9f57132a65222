"""Records the CPU that a Python process sees. Runs at the start of each Python of an emulated test.

Standard library only: it is copied into the environment of the test, whose Python imports it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

# Calls CPUID with the leaf and the subleaf in the first two arguments, and stores eax, ebx, ecx, and edx
# in the array that the third one points to (System V ABI).
_CPUID = bytes.fromhex("5389f889f14989d00fa24189004189580441894808418950" + "0c5bc3")
_BITS = {
    "sse3": (1, 2, 0),
    "ssse3": (1, 2, 9),
    "fma": (1, 2, 12),
    "cx16": (1, 2, 13),
    "sse4_1": (1, 2, 19),
    "sse4_2": (1, 2, 20),
    "movbe": (1, 2, 22),
    "popcnt": (1, 2, 23),
    "avx": (1, 2, 28),
    "f16c": (1, 2, 29),
    "bmi1": (7, 1, 3),
    "avx2": (7, 1, 5),
    "bmi2": (7, 1, 8),
    "avx512f": (7, 1, 16),
    "lzcnt": (0x80000001, 2, 5),
}
"""By name: the leaf of CPUID, the number of the register, and the bit."""


def cpu_features() -> list[str]:
    """The names of the features of this CPU, in the order of the alphabet."""
    if sys.platform == "win32":
        raise OSError("for Linux only")
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(_CPUID)
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(start)

    def registers(leaf: int) -> ctypes.Array[ctypes.c_uint32]:
        values = (ctypes.c_uint32 * 4)()
        call(leaf, 0, ctypes.addressof(values))
        return values

    most = {0: registers(0)[0], 0x80000000: registers(0x80000000)[0]}
    return sorted(
        name
        for name, (leaf, register, bit) in _BITS.items()
        if leaf <= most[leaf & 0x80000000] and registers(leaf)[register] >> bit & 1
    )


def record(path: str) -> None:
    """Append a line with the features of this CPU to a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (" ".join(["cpu", *cpu_features()]) + "\n").encode("ascii"))
    finally:
        os.close(descriptor)
