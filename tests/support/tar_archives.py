"""Blocks of tar archives, made by hand, and the members that polywheel reads."""

from __future__ import annotations

import io
import tarfile

from polywheel.run.source.tar import Kind, TarReader


def read(content: bytes) -> list[tuple[str, Kind, str, bytes, bool, float]]:
    reader = TarReader(io.BytesIO(content), most_bytes=1 << 30, most_headers=10_000)
    found = []
    for one in reader:
        parts = iter(lambda: reader.read(1000), b"")
        found.append((one.name, one.kind, one.link, b"".join(parts), one.executable, one.time))
    return found


def header(
    name: str = "demo-1.0/a", *, kind: bytes = b"0", size: int = 0, link: str = "", **fields: bytes
) -> bytes:
    """A header block as tarfile writes it; ``fields`` stand in place of some of it."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[-512:])
    if 0 <= size < 8**11:
        block[124:136] = b"%011o\0" % size
    else:  # in base 256, as GNU tar has it
        block[124:136] = size.to_bytes(12, "big", signed=True)
        block[124] |= 0x80
    places = {"mode": 100, "size": 124, "mtime": 136, "checksum": 148, "magic": 257, "prefix": 345}
    for field, text in fields.items():
        block[places[field] : places[field] + len(text)] = text
    if "checksum" not in fields:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(content: bytes, kind: bytes = b"x") -> bytes:
    """A header that extends the next one."""
    return header("pax", kind=kind, size=len(content)) + content + bytes(-len(content) % 512)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(b"%d %s=%s\n" % (length, key, value)) != length:
        length += 1
    return b"%d %s=%s\n" % (length, key, value)
