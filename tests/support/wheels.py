"""Small wheels: as zipfile writes them, and put together by hand where zipfile would not do it.

The hand-made ones share no code with polywheel: their layout is spelled out here once more.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.wheel.archive.central_directory import Member
from polywheel.wheel.archive.reader import Archive
from polywheel.wheel.stamp import Notify, Stamp, stamp_wheel

NAME = "demo-1.0-py3-none-any.whl"
LABELLED = "demo-1.0-py3-none-any-v3.whl"
INFO = "demo-1.0.dist-info"
METADATA, RECORD, VARIANT_JSON = f"{INFO}/METADATA", f"{INFO}/RECORD", f"{INFO}/variant.json"
FIELDS = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
FILES: Mapping[str, bytes] = {
    "demo/__init__.py": b"value = 1\n" * 20,
    "demo/data.bin": bytes(range(256)),
}
NEW_JSON = b'{"variants": {"v3": {}}}\n'


class _Unseekable(io.RawIOBase):
    """A pipe, as it were: zipfile writes data descriptors to it."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]  # any buffer
        self.written += chunk
        return len(chunk)


def row(path: str, content: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    quoted = f'"{path}"' if "," in path else path
    return f"{quoted},sha256={encoded},{len(content)}\n"


def with_record(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """These files and, last, the RECORD that lists them; folders have no row."""
    rows = [row(path, content) for path, content in files.items() if not path.endswith("/")]
    return {**files, RECORD: "".join([*rows, f"{RECORD},,\n"]).encode()}


def wheel_files(files: Mapping[str, bytes] = FILES, metadata: bytes = FIELDS) -> dict[str, bytes]:
    """Everything that a wheel of these files holds, in the order of the archive."""
    return with_record({**files, METADATA: metadata, f"{INFO}/WHEEL": b"Wheel-Version: 1.0\n"})


def zipped(
    files: Mapping[str, bytes],
    *,
    method: int = zipfile.ZIP_DEFLATED,
    streamed: bool = False,
    zip64: bool = False,
    comment: bytes = b"",
) -> bytes:
    """An archive of these files as zipfile writes it; ``streamed`` with data descriptors."""
    target: io.BytesIO | _Unseekable = _Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for number, (name, content) in enumerate(files.items()):
            info = zipfile.ZipInfo(name, (2024, 2, 29, 12, 30, 2 * (number % 30)))
            info.compress_type = method
            info.external_attr = (0o100755 if number % 2 else 0o100644) << 16
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(content)
    return bytes(target.written) if isinstance(target, _Unseekable) else target.getvalue()


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A member made by hand. What is None is what it should be; the rest is written as it is."""

    name: str
    content: bytes = b""
    raw_name: bytes | None = None
    local_name: bytes | None = None
    method: int = 8
    local_method: int | None = None
    flags: int = 0x800
    data: bytes | None = None
    """What lies in the file in place of the content, compressed."""
    crc: int | None = None
    local_crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    offset: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    disk: int = 0
    behind: bytes = b""
    """Bytes between this member and the next."""


def installable(version: str) -> bytes:
    """A wheel of ``demo`` in some version, as installers take it."""
    metadata = f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n".encode()
    files = {
        name.replace("1.0", version): content.replace(b"1.0", version.encode())
        for name, content in wheel_files(FILES, metadata).items()
        if not name.endswith("RECORD")
    }
    info = f"demo-{version}.dist-info"
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    rows = "".join(row(name, content) for name, content in files.items())
    return zipped({**files, f"{info}/RECORD": f"{rows}{info}/RECORD,,\n".encode()})


def big_wheel(folder: Path, megabytes: int) -> Path:
    """A wheel around one stored member, whose hash RECORD leaves out: quickly made."""
    content = random.Random(7).randbytes(1 << 20) * megabytes
    files = {"demo/big.bin": content, METADATA: FIELDS}
    files[RECORD] = f"demo/big.bin,,\n{row(METADATA, FIELDS)}{RECORD},,\n".encode()
    path = folder / NAME
    path.write_bytes(zipped(files, method=zipfile.ZIP_STORED))
    return path


def deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(content) + deflater.flush()


def parts(files: Mapping[str, bytes]) -> dict[str, Part]:
    return {name: Part(name=name, content=content) for name, content in files.items()}


def assembled(
    members: Sequence[Part],
    *,
    front: bytes = b"",
    comment: bytes = b"",
    zip64_end: bytes | None = None,
    count: int | None = None,
    directory_size: int | None = None,
    directory_at: int | None = None,
) -> bytes:
    """An archive of these members; ``zip64_end`` stands between the directory and the end record.

    Where it is empty, a right zip64 end record and its locator are made.
    """
    out, directory = bytearray(front), b""
    for part in members:
        data = part.data
        if data is None:
            data = deflated(part.content) if part.method == 8 else part.content
        name = part.name.encode() if part.raw_name is None else part.raw_name
        local_name = name if part.local_name is None else part.local_name
        crc = zlib.crc32(part.content) if part.crc is None else part.crc
        size = len(part.content) if part.size is None else part.size
        compressed = len(data) if part.compressed is None else part.compressed
        offset = len(out) if part.offset is None else part.offset
        local_method = part.method if part.local_method is None else part.local_method
        local_crc = crc if part.local_crc is None else part.local_crc
        out += struct.pack(
            *("<4s5H3L2H", b"PK\x03\x04", 20, part.flags, local_method, 0, 0x5821, local_crc),
            *(compressed, size, len(local_name), len(part.local_extra)),
        )
        out += local_name + part.local_extra + data + part.behind
        directory += struct.pack(
            *("<4s6H3L5H2L", b"PK\x01\x02", 0x031E, 20, part.flags, part.method, 0, 0x5821, crc),
            *(compressed, size, len(name), len(part.extra), 0, part.disk, 0),
            *(0o100644 << 16, offset),
        )
        directory += name + part.extra
    at = len(out) if directory_at is None else directory_at
    length = len(directory) if directory_size is None else directory_size
    number = len(members) if count is None else count
    out += directory
    if zip64_end is not None:
        out += zip64_end or zip64_tail(number, length, at, where=len(out))
    out += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, length, at, len(comment))
    return bytes(out) + comment


def zip64_tail(count: int, length: int, offset: int, *, where: int) -> bytes:
    """A zip64 end record that lies at ``where``, and its locator."""
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
    return end + struct.pack("<4sLQL", b"PK\x06\x07", 0, where, 1)


def crowd(count: int) -> bytes:
    """An archive of so many empty members named by number; zipfile would take seconds for it."""
    members, directory = bytearray(), bytearray()
    for number in range(count):
        name = b"%08d" % number
        local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 8, 0)
        directory += struct.pack(
            *("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 8, 0, 0, 0, 0, 0),
            len(members),
        )
        directory += name
        members += local + name
    at, length = len(members), len(directory)
    tail = zip64_tail(count, length, at, where=at + length) if count >= 0xFFFF else b""
    short = min(count, 0xFFFF)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, short, short, length, at, 0)
    return bytes(members + directory + tail + end)


def stamp(*, label: str = "v3", variant_json: bytes = NEW_JSON, epoch: int | None = None) -> Stamp:
    """A stamp that marks METADATA with a line at its end."""
    line = f"Variant-Label: {label}\n".encode()
    return Stamp(
        metadata=lambda old: old + line,
        variant_json=variant_json,
        epoch=epoch,
    )


def silent(message: str) -> None:
    raise AssertionError(f"nothing was to be said, but: {message}")


def stamped(
    folder: Path, content: bytes, what: Stamp | None = None, *, notify: Notify = silent
) -> bytes:
    """The wheel of these bytes, stamped: written to ``folder``, read back from it."""
    source, target = folder / NAME, folder / LABELLED
    source.write_bytes(content)
    stamp_wheel(source, target, what or stamp(), notify=notify)
    return target.read_bytes()


def directory_of(content: bytes) -> bytes:
    """What follows the members: the directory, and the end record of 22 bytes."""
    return content[content.index(b"PK\x01\x02") :]


def extents(archive: Archive) -> list[tuple[Member, int]]:
    """The members of an archive in the order of the file, each with its end, after a check of all local headers."""
    table = archive.table
    members = [table.member(number) for number in table.order]
    for member in members:
        archive.data_offset(member)
    return [(member, table.end_of(member)) for member in members]


def files_of(content: bytes) -> dict[str, bytes]:
    """Every file of a wheel."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check_record(content: bytes) -> None:
    """Check that RECORD lists exactly the files of the wheel, with their hashes and sizes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    text = files[RECORD].decode()
    assert text.endswith("\n")
    listed = list(csv.reader(text.splitlines(), strict=True))
    assert sorted(path for path, _, _ in listed) == sorted(files)
    for path, hashed, size in listed:
        if path == RECORD:
            assert (hashed, size) == ("", "")
            continue
        algorithm, value = hashed.split("=", 1)
        assert algorithm == "sha256"
        assert base64.urlsafe_b64decode(value + "=") == hashlib.sha256(files[path]).digest()
        assert size == str(len(files[path]))


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


# The same wheel, more or less, each time written in another way.
KINDS = {
    "deflated": zipped(wheel_files()),
    "stored": zipped(wheel_files(), method=zipfile.ZIP_STORED),
    "streamed": zipped(wheel_files(), streamed=True),
    "zip64": zipped(wheel_files(), zip64=True),
    "comment": zipped(wheel_files(), comment=b"about this wheel"),
    "folders": zipped(wheel_files({"demo/": b"", **FILES, f"{INFO}/": b""})),
    "by hand": assembled(list(parts(wheel_files()).values())),
    "zip64 end": assembled(list(parts(wheel_files()).values()), zip64_end=b""),
    "odd names": zipped(wheel_files({"demo/a, b.txt": b"1", "demo/ünï.py": b"2", "demo/ c": b""})),
}
