"""Whether an archive holds compiled code, by the first bytes of its members."""

from __future__ import annotations

from polywheel.wheel.archive import Archive
from polywheel.wheel.layout import DEFLATED, STORED

_MAGIC = (
    b"\x7fELF",  # also GPU code of CUDA and ROCm
    # Mach-O, for 32 and 64 bit, in either byte order.
    *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    b"MZ",  # Windows
    *(b"!<arch>\n", b"!<thin>\n"),  # static libraries
    b"BC\xc0\xde",  # LLVM bitcode
    b"\0asm",  # WebAssembly
    *(b"\x50\xed\x55\xba", b"\x03\x02\x23\x07", b"MTLB"),  # CUDA fatbin, SPIR-V, Metal
)
_UNIVERSAL = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
_OLDEST_JAVA = 45
"""The version of the class files of Java 1.0, which stands where a universal binary of macOS has the
number of its architectures: both begin with the same four bytes."""
_LIKELY = (".so", ".pyd", ".dll", ".dylib", ".exe", ".a", ".lib", ".o", ".obj", ".node")
_TEXT = (".py", ".pyi", ".pyx", ".pxd", ".txt", ".md", ".rst", ".json", ".toml", ".h", "/")
_LENGTH = 8


def compiled_member(archive: Archive) -> str | None:
    """The name of a member that is compiled code; None where there is none.

    Compiled code is a program or library for some machine, an object file in one of their formats, or
    code for a GPU. Raises WheelError for an archive that is broken.
    """
    names = archive.table.names
    candidates = [number for number, name in enumerate(names) if not name.endswith(_TEXT)]
    for number in sorted(candidates, key=lambda one: not names[one].endswith(_LIKELY)):
        member = archive.table.member(number)
        if member.method not in (STORED, DEFLATED):
            return member.name  # nobody can say what it is
        if member.size and _is_compiled(archive.start(member, _LENGTH)):
            return member.name
    return None


def _is_compiled(start: bytes) -> bool:
    if start.startswith(_UNIVERSAL):
        return int.from_bytes(start[4:8], "big") < _OLDEST_JAVA
    return start.startswith(_MAGIC)
