"""Removing a stamp restores the original wheel, byte for byte if zlib's default was used."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.formats.metadata import strip_variant_fields, with_variant_fields
from polywheel.wheel.stamp import Stamp, stamp_wheel, write_changed_wheel
from polywheel.wheel.unstamp import UNDO_FIELD, only_removes_fields, unstamp_change
from support.wheels import (
    FIELDS,
    FILES,
    INFO,
    LABELLED,
    METADATA,
    NAME,
    RECORD,
    VARIANT_JSON,
    check_record,
    files_of,
    names,
    row,
    silent,
    stamped,
    wheel_files,
    zipped,
)


def stamp(label: str = "v3") -> Stamp:
    return Stamp(
        metadata=lambda old: with_variant_fields(old, [("Variant-Label", label)]),
        variant_json=b"{}",
    )


def unstamped(folder: Path, content: bytes) -> bytes:
    source, target = folder / LABELLED, folder / f"plain-{NAME}"
    source.write_bytes(content)
    target = folder / "plain" / NAME
    target.parent.mkdir(exist_ok=True)
    write_changed_wheel(source, target, unstamp_change)
    return target.read_bytes()


def with_rows(files: dict[str, bytes], change: str) -> dict[str, bytes]:
    """The same wheel with a RECORD of another spelling."""
    text = files[RECORD].decode()
    if change == "crlf":
        text = text.replace("\n", "\r\n")
    elif change == "no newline at the end":
        text = text.removesuffix("\n")
    elif change == "blank lines":
        text = text.replace("\n", "\n\n")
    elif change == "no hash of METADATA":
        text = text.replace(row(METADATA, files[METADATA]), f"{METADATA},,\n")
    elif change == "quoted":
        text = "".join(
            f'"{path}",{rest}'
            for path, _, rest in (line.partition(",") for line in text.splitlines(keepends=True))
        )
    elif change == "last row first":
        lines = text.splitlines(keepends=True)
        text = "".join([lines[-1], *lines[:-1]])
    return {**files, RECORD: text.encode()}


def signed(*names: str, at: int = 99) -> dict[str, bytes]:
    files = list(wheel_files().items())
    files[at:at] = [(f"{INFO}/{name}", b'{"signed": 1}' * 5) for name in names]
    return dict(files)


KINDS = {
    "as zipfile writes it": zipped(wheel_files()),
    "streamed": zipped(wheel_files(), streamed=True),
    "stored": zipped(wheel_files(), method=zipfile.ZIP_STORED),
    "zip64": zipped(wheel_files(), zip64=True),
    "comment": zipped(wheel_files(), comment=b"a comment"),
    "no newline behind the fields": zipped(wheel_files(metadata=FIELDS.removesuffix(b"\n"))),
    "fields in CRLF": zipped(wheel_files(metadata=FIELDS.replace(b"\n", b"\r\n") + b"\r\ntext")),
    "a description": zipped(wheel_files(metadata=FIELDS + b"\nVariant-Label: no field\n")),
    "a signature": zipped(signed("RECORD.jws")),
    "two signatures in the middle": zipped(signed("RECORD.p7s", "RECORD.jws", at=1)),
    **{
        f"RECORD: {change}": zipped(with_rows(wheel_files(), change))
        for change in (
            *("crlf", "no newline at the end", "blank lines", "no hash of METADATA", "quoted"),
            "last row first",
        )
    },
}
each_kind = pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)


def loud(message: str) -> None:
    assert "signed the old RECORD" in message


@each_kind
def test_the_wheel_is_the_same_byte_for_byte(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=loud)
    new = (tmp_path / LABELLED).read_bytes()
    assert VARIANT_JSON in files_of(new)
    assert unstamped(tmp_path, new) == content


@each_kind
def test_stamped_again_and_again_it_is_still_known(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=loud)
    for label in ("v4", "v2"):
        stamp_wheel(tmp_path / LABELLED, tmp_path / LABELLED, stamp(label=label), notify=silent)
    assert unstamped(tmp_path, (tmp_path / LABELLED).read_bytes()) == content


def test_dependencies_that_were_added_go_again(tmp_path: Path) -> None:
    def depends(old: bytes) -> bytes:
        return old + b"Requires-Dist: mkl\nVariant-Label: v3\n"

    content = KINDS["as zipfile writes it"]
    what = Stamp(metadata=depends, variant_json=b"{}")
    new = stamped(tmp_path, content, what)
    assert b"Requires-Dist: mkl" in files_of(new)[METADATA]
    assert unstamped(tmp_path, new) == content


def test_most_wheels_carry_nothing_for_it(tmp_path: Path) -> None:
    new = stamped(tmp_path, KINDS["as zipfile writes it"], stamp())
    with zipfile.ZipFile(io.BytesIO(new)) as archive:
        assert {info.extra for info in archive.infolist()} == {b""}


def test_what_is_carried_is_no_part_of_any_member(tmp_path: Path) -> None:
    new = stamped(tmp_path, KINDS["streamed"], stamp())
    with zipfile.ZipFile(io.BytesIO(new)) as archive:
        assert archive.testzip() is None
        extras = {info.filename for info in archive.infolist() if info.extra}
    assert extras == {VARIANT_JSON}
    check_record(new)


def test_a_wheel_repacked_since_is_derived(tmp_path: Path) -> None:
    """As auditwheel does: everything written anew, the extra field gone."""
    new = files_of(stamped(tmp_path, KINDS["streamed"], stamp()))
    plain = unstamped(tmp_path, zipped(new))
    assert files_of(plain) == wheel_files()
    check_record(plain)


def test_a_member_that_came_in_since_stays(tmp_path: Path) -> None:
    """Whatever is kept of the old RECORD does not bring back rows that would be wrong now."""
    new = files_of(stamped(tmp_path, KINDS["streamed"], stamp()))
    text = new[RECORD].decode()
    new["demo/later.py"] = b"later = True\n"
    new[RECORD] = (row("demo/later.py", new["demo/later.py"]) + text).encode()
    plain = unstamped(tmp_path, zipped(new))
    assert files_of(plain)["demo/later.py"] == b"later = True\n"
    assert VARIANT_JSON not in files_of(plain)
    check_record(plain)


def test_an_unstamped_wheel_is_copied(tmp_path: Path) -> None:
    content = KINDS["as zipfile writes it"]
    assert unstamped(tmp_path, content) == content


def test_a_wheel_with_fields_alone_loses_them(tmp_path: Path) -> None:
    fields = b"Variant-Label: v3\nVariant-Property: x86_64 :: level :: v3\n"
    plain = unstamped(tmp_path, zipped(wheel_files(metadata=FIELDS + fields)))
    assert files_of(plain) == wheel_files()


def test_a_signature_too_large_to_keep_is_told(tmp_path: Path) -> None:
    import random

    files = signed("RECORD.jws")
    files[f"{INFO}/RECORD.jws"] = random.Random(1).randbytes(100_000)
    (tmp_path / NAME).write_bytes(zipped(files))
    said: list[str] = []
    stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=said.append)
    assert "can't restore the original" in said[-1]
    assert files_of(unstamped(tmp_path, (tmp_path / LABELLED).read_bytes())) == wheel_files()


def with_undo_data(content: bytes, undo: bytes) -> bytes:
    """A stamped wheel with other undo data, as packed as it is given."""
    end = content.rindex(b"PK\x05\x06")
    length, start = struct.unpack_from("<2L", content, end + 12)
    entry = content.rindex(VARIANT_JSON.encode(), 0, start + length) - 46
    name, extra = struct.unpack_from("<2H", content, entry + 28)
    field = struct.pack("<2H", UNDO_FIELD, len(undo)) + undo
    at = entry + 46 + name
    changed = bytearray(content[:at] + field + content[at + extra :])
    struct.pack_into("<H", changed, entry + 30, len(field))
    struct.pack_into("<L", changed, end + len(field) - extra + 12, length + len(field) - extra)
    return bytes(changed)


def undo_data(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        extra = archive.getinfo(VARIANT_JSON).extra
    assert int.from_bytes(extra[:2], "little") == UNDO_FIELD
    return dict(json.loads(zlib.decompress(extra[4:])))


def packed(document: object) -> bytes:
    return zlib.compress(json.dumps(document).encode())


def base64_of(content: bytes | bytearray) -> str:
    return base64.b64encode(content).decode()


Undo = dict[str, Any]


def rewritten(undo: Undo, part: str, now: bytes, change: Callable[[bytes], bytes]) -> None:
    """Another former content of METADATA or RECORD, whole."""
    old = undo["parts"][part]
    between = base64.b64decode(old["between"])
    former = now[: old["front"]] + between + now[len(now) - old["back"] :]
    content = change(former)
    assert content != former
    old.update(front=0, back=0, between=base64_of(content))


def metadata_as(change: Callable[[bytes], bytes]) -> Callable[[Undo, dict[str, bytes]], None]:
    """METADATA that would come back another, with a RECORD that goes with it."""

    def changed(undo: Undo, files: dict[str, bytes]) -> None:
        rewritten(undo, "METADATA", files[METADATA], change)
        new = base64.b64decode(undo["parts"]["METADATA"]["between"])

        def listed(record: bytes) -> bytes:
            lines = record.decode().splitlines(keepends=True)
            return "".join(
                row(METADATA, new) if line.startswith(METADATA) else line for line in lines
            ).encode()

        rewritten(undo, "RECORD", files[RECORD], listed)

    return changed


def record_as(old: bytes, new: bytes) -> Callable[[Undo, dict[str, bytes]], None]:
    def changed(undo: Undo, files: dict[str, bytes]) -> None:
        rewritten(undo, "RECORD", files[RECORD], lambda record: record.replace(old, new))

    return changed


def headers_as(
    part: str, which: str, change: Callable[[bytearray], object]
) -> Callable[[Undo, dict[str, bytes]], None]:
    """Another directory entry, or another local header, of a member that comes back."""

    def changed(undo: Undo, _: dict[str, bytes]) -> None:
        of = undo["parts"][part]
        raw = bytearray(base64.b64decode(of["entry"] if which == "entry" else of["around"][0]))
        change(raw)
        if which == "entry":
            of["entry"] = base64_of(raw)
        else:
            of["around"][0] = base64_of(raw)

    return changed


def signature(
    *, mode: bytes | None = None, **changes: object
) -> Callable[[Undo, dict[str, bytes]], None]:
    def changed(undo: Undo, _: dict[str, bytes]) -> None:
        path = f"{INFO}/RECORD.jws"
        entry = bytearray(base64.b64decode(undo["parts"]["RECORD"]["entry"]))
        entry[28:30] = len(path).to_bytes(2, "little")
        entry[46:] = path.encode()
        entry[38:42] = mode or entry[38:42]
        made = {"path": path, "before": "", "of": 0, "front": 0, "back": 0, "between": "e30="}
        undo["signatures"] = [{**made, "entry": base64_of(entry), "around": None, **changes}]

    return changed


SYMLINK = (0o120777 << 16).to_bytes(4, "little")
EVIL = b"Requires-Dist: evil-package\n"
ATTACKS: dict[str, Callable[[Undo, dict[str, bytes]], None]] = {
    "another dependency": metadata_as(lambda old: old + EVIL),
    "another description": metadata_as(lambda old: old + b"\nbuy this\n"),
    "another name": metadata_as(lambda old: old.replace(b"demo", b"evil")),
    "no version": metadata_as(lambda old: old.replace(b"Version: 1.0\n", b"", 1)),
    "no METADATA at all": metadata_as(lambda _: b""),
    "fields in another order": metadata_as(lambda old: b"".join(old.splitlines(True)[::-1])),
    "a variant field that is left": metadata_as(lambda old: old + b"Variant-Label: v3\n"),
    "another hash": record_as(b"sha256=", b"sha256=A"),
    "another size": record_as(b",256\n", b",257\n"),
    "a file less": record_as(row("demo/data.bin", FILES["demo/data.bin"]).encode(), b""),
    "a file more": record_as(f"{RECORD},,".encode(), f"evil.py,,\n{RECORD},,".encode()),
    "variant.json is listed": record_as(f"{RECORD},,".encode(), f"{VARIANT_JSON},,\n{RECORD},,".encode()),
    "a RECORD that is none": record_as(b"\n", b",\n"),
    "a file of another name": headers_as("METADATA", "entry", lambda raw: raw.__setitem__(slice(46, 50), b"evil")),
    "a link": headers_as("METADATA", "entry", lambda raw: raw.__setitem__(slice(38, 42), SYMLINK)),
    "a folder": headers_as("METADATA", "entry", lambda raw: raw.__setitem__(38, raw[38] | 0x10)),
    "encrypted": headers_as("METADATA", "entry", lambda raw: raw.__setitem__(8, raw[8] | 1)),
    "another method": headers_as("METADATA", "entry", lambda raw: raw.__setitem__(10, 99)),
    "another content": headers_as("METADATA", "entry", lambda raw: raw.__setitem__(16, raw[16] ^ 1)),
    "something behind the entry": headers_as("METADATA", "entry", lambda raw: raw.extend(b"more")),
    "another name in front": headers_as("METADATA", "local", lambda raw: raw.__setitem__(slice(30, 34), b"evil")),
    "no local header": headers_as("METADATA", "local", lambda raw: raw.clear()),
    "more than a local header": headers_as("METADATA", "local", lambda raw: raw.extend(b"PK\x03\x04")),
    "a file that is no signature": signature(path=f"{INFO}/evil.py"),
    "a signature out of the wheel": signature(path="../RECORD.jws"),
    "a signature with the headers of RECORD": signature(entry=None),
    "a signature that is a link": signature(mode=SYMLINK),
    "a text for a number": lambda undo, _: undo["parts"]["METADATA"].update(front="0"),
    "an endless number": lambda undo, _: undo["parts"]["METADATA"].update(front=float("inf")),
    "a number that is none": lambda undo, _: undo["parts"]["METADATA"].update(back=float("nan")),
    "a fraction": lambda undo, _: undo["parts"]["METADATA"].update(front=1.5),
    "a boolean": lambda undo, _: undo["parts"]["METADATA"].update(front=True),
    "a negative number": lambda undo, _: undo["parts"]["METADATA"].update(front=-1),
    "nothing": lambda undo, _: undo.clear(),
    "another shape": lambda undo, _: undo.update(shape=2),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_undo_data_takes_a_stamp_off_and_does_nothing_else(
    attack: Callable[[Undo, dict[str, bytes]], None], tmp_path: Path
) -> None:
    """Anybody may have written it, and no hash of RECORD covers it."""
    new = stamped(tmp_path, KINDS["streamed"], stamp())
    undo = undo_data(new)
    assert unstamped(tmp_path, with_undo_data(new, packed(undo))) == KINDS["streamed"]
    attack(undo, files_of(new))
    crafted = with_undo_data(new, packed(undo))
    (tmp_path / "plain" / NAME).unlink()
    with pytest.raises(WheelError, match="undo data"):
        unstamped(tmp_path, crafted)
    with pytest.raises(WheelError, match="undo data"):
        stamp_wheel(tmp_path / LABELLED, tmp_path / LABELLED, stamp("v4"), notify=silent)
    assert (tmp_path / LABELLED).read_bytes() == crafted
    assert names(tmp_path / "plain") == []


@pytest.mark.parametrize(
    "text",
    [b"[" * 50_000, b'{"a": 1, "a": 2}', b"[]", b"null", b"{}", b"\xff", b'{"shape": 1}'],
)
def test_undo_data_that_is_not_ours_is_refused(text: bytes, tmp_path: Path) -> None:
    new = stamped(tmp_path, KINDS["streamed"], stamp())
    for undo in (
        zlib.compress(text),
        zlib.compress(text) + b"more",
        zlib.compress(text)[:-1],
        text,
    ):
        with pytest.raises(WheelError, match="its undo data is malformed"):
            unstamped(tmp_path, with_undo_data(new, undo))


HEADERS = st.lists(
    st.sampled_from(
        [
            *(b"Name: demo", b"Requires-Dist: a", b"License: MIT", b" goes on", b"no header"),
            *(b"Variant-Label: old", b"variant-x:", b":", b"\tVariant-Label: x", b""),
        ]
    ),
    max_size=8,
)


@given(
    HEADERS,
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"", b"\n", b"\r\n", b"\ntext\nVariant-Label: text\n"]),
    st.lists(st.sampled_from(["Requires-Dist", "Variant-Label"]), max_size=3),
)
def test_what_labelling_adds_to_metadata_is_known_to_be_ours(
    lines: list[bytes], newline: bytes, end: bytes, added: list[str]
) -> None:
    """Whatever METADATA looks like, unlabel is not refused because of it."""
    former = strip_variant_fields(newline.join(lines) + end)
    now = with_variant_fields(former, [(name, "a") for name in added])
    assert only_removes_fields(now, former)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_malformed_undo_field_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    new = bytearray(stamped(folder, KINDS["streamed"], stamp()))
    start = new.index(UNDO_FIELD.to_bytes(2, "little"), new.index(b"PK\x01\x02")) + 4
    length = int.from_bytes(new[start - 2 : start], "little")
    at = min(at, length - len(junk)) if len(junk) <= length else 0
    junk = junk[: length - at]
    new[start + at : start + at + len(junk)] = junk
    with contextlib.suppress(WheelError):  # and nothing else
        assert VARIANT_JSON not in files_of(unstamped(folder, bytes(new)))
