"""Unpacking sdists: every format of archives, and damaged archives."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import BuildError
from polywheel.run.source import unpack
from polywheel.run.source.tar import Kind, TarError
from polywheel.run.source.unpack import unpack_sdist
from polywheel.system.files import MAX_DEPTH
from support.tar_archives import extended, header, read, record

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
NAMES = ("a", "ä/漢字.c", "long/" * 18 + "name", "x" * 150, "long/" * 60 + "ö" * 90, "a b\n=1 c")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("kind", FORMATS)
def test_what_tarfile_writes(kind: str, name: str) -> None:
    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind]) as archive:
            for number, content in enumerate((b"", b"x" * 512, b"y" * 70_001)):
                info = tarfile.TarInfo(f"{name}{number}")
                info.size, info.mode, info.mtime = len(content), 0o755, 1_700_000_000 + number / 4
                archive.addfile(info, io.BytesIO(content))
            for one, target in ((tarfile.SYMTYPE, name), (tarfile.LNKTYPE, f"{name}0")):
                info = tarfile.TarInfo("link")
                info.type, info.linkname = one, target
                archive.addfile(info)
            info = tarfile.TarInfo("folder")
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    except ValueError:
        assert kind == "ustar", "which has no long names"
        return
    content = buffer.getvalue()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        expected = [(one.name, one.linkname, one.size, one.mtime) for one in archive]
    found = read(content)
    assert [(one[0].rstrip("/"), one[2], len(one[3]), one[5]) for one in found] == expected
    assert [one[1] for one in found] == [*[Kind.FILE] * 3, Kind.LINK, Kind.HARD_LINK, Kind.FOLDER]
    assert [one[4] for one in found][:3] == [True] * 3


def test_numbers_of_headers() -> None:
    big = header(size=0, mtime=b"\x80" + bytes(7) + b"\1" + bytes(3))
    old = header(name="old/", kind=b"\0", magic=bytes(8))
    gnu = header(magic=b"ustar  \0", prefix=b"13000000000")
    found = read(big + old + gnu)
    assert next(one[5] for one in found) == 1 << 24
    assert [one[:2] for one in found[1:]] == [("old/", Kind.FOLDER), ("demo-1.0/a", Kind.FILE)]


def test_records_of_pax_headers() -> None:
    content = extended(record(b"path", b"all") + record(b"mtime", b"7"), b"g")
    content += extended(record(b"path", "ä".encode()) + record(b"size", b"3") + record(b"x", b"y"))
    content += header("b", size=9) + b"abc" + bytes(509)
    content += extended(record(b"path", b"") + record(b"linkpath", b"there")) + header(
        "c", kind=b"2"
    )
    found = [(name, link, content, time) for name, _, link, content, _, time in read(content)]
    assert found == [("ä", "", b"abc", 7.0), ("c", "there", b"", 7.0)]


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(10_240),
    "cut header": header()[:500],
    "cut content": header(size=5) + b"abc",
    "cut after a header": extended(record(b"path", b"x")),
    "checksum": header(checksum=b"0000000\0"),
    "no number": header(mode=b"x" * 7),
    "negative size": header(size=-1),
    "pax with a negative size of its own": header("pax", kind=b"x", size=-1) + header(),
    "size of 12 bytes": header(size=1 << 90) + header(),
    "cut short behind whole members": header() + b"x",
    "pax without a length": extended(b"path=x\n") + header(),
    "pax with length 0": extended(b"0 path=x\n") + header(),
    "pax with a long length": extended(b"99 path=x\n") + header(),
    "pax with digits": extended(b"9" * 5000 + b" path=x\n") + header(),
    "pax without a line break": extended(b"8 path=xy") + header(),
    "pax without a value": extended(b"8 path\n\n") + header(),
    "pax with a size of 5000 digits": extended(record(b"size", b"9" * 5000)) + header(),
    "pax with a negative size": extended(record(b"size", b"-1")) + header(),
    "sparse": extended(record(b"GNU.sparse.major", b"1")) + header(),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_archives(name: str) -> None:
    with pytest.raises(TarError):
        read(MALFORMED[name])


@given(st.lists(st.one_of(st.binary(max_size=600), st.sampled_from(list(MALFORMED.values())))))
def test_anything_else_is_an_error(parts: list[bytes]) -> None:
    with contextlib.suppress(TarError):
        read(header() + b"".join(parts))


def zipped(*names: bytes, method: int = 0) -> bytes:
    """A zip archive of empty files, as no library writes it."""
    local, directory = b"", b""
    for name in names:
        at = len(local)
        fields = struct.pack("<HHHHHIIIHH", 20, 0x800, method, 0, 0x21, 0, 0, 0, len(name), 0)
        local += b"PK\3\4" + fields + name
        directory += b"PK\1\2\x14\0" + fields + bytes(10) + struct.pack("<I", at) + name
    number = struct.pack("<HH", len(names) & 0xFFFF, len(names) & 0xFFFF)
    end = b"PK\5\6" + bytes(4) + number + struct.pack("<IIH", len(directory), len(local), 0)
    return local + directory + end


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(b"demo-1.0/a", b""), "without a name"),
        (zipped(b"demo-1.0/a", b"\0x"), "without a name"),
        (zipped(b"demo-1.0/a", b"."), "leads out of it"),
        (zipped(b"demo-1.0/a", method=14), "another method than deflate"),
        (zipped(b"demo-1.0/a", method=12), "another method than deflate"),
        (zipped(b"demo-1.0/a", method=99), "another method than deflate"),
        (zipped(*(b"demo-1.0/%d" % number for number in range(20))), "more than 10 files"),
        (zipped(b"demo-1.0/" + b"a/" * 1200 + b"b"), "nested more than"),
        (b"x" + zipped(b"demo-1.0/a"), "can't be unpacked"),
    ],
)
def test_odd_zip_archives(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "MOST_FILES", 10)
    path, out = tmp_path / "demo-1.0.zip", tmp_path / "out"
    path.write_bytes(content)
    out.mkdir()
    with pytest.raises(BuildError, match=message):
        unpack_sdist(path, out)


def test_a_zip_without_times(tmp_path: Path) -> None:
    path, out = tmp_path / "demo-1.0.zip", tmp_path / "out"
    path.write_bytes(zipped(b"demo-1.0/a").replace(b"\x21\0\0\0\0\0", bytes(6)))
    out.mkdir()
    assert (unpack_sdist(path, out) / "a").stat().st_mtime == 0


def test_folders_that_lie_deep_in_one_another(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    for depth, fits in ((MAX_DEPTH - 1, True), (1200, False)):
        name = f"demo-1.0/{'a/' * (depth - 1)}b".encode()
        path.write_bytes(gzip.compress(extended(record(b"path", name)) + header()))
        out = tmp_path / str(depth)
        out.mkdir()
        if fits:
            assert unpack_sdist(path, out).name == "demo-1.0"
            continue
        with pytest.raises(BuildError, match="nested more than"):
            unpack_sdist(path, out)


def test_the_checksum_of_gzip_is_looked_at(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(header() + bytes(20_000)))
    content[-8] ^= 1
    path, out = tmp_path / "demo-1.0.tar.gz", tmp_path / "out"
    path.write_bytes(content)
    out.mkdir()
    with pytest.raises(BuildError, match="can't be unpacked: CRC check failed"):
        unpack_sdist(path, out)
