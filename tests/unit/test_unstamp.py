"""Taking a stamp off: the wheel is what it was, byte for byte where zlib's default was in use."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wheels import (
    FIELDS,
    INFO,
    LABELLED,
    METADATA,
    NAME,
    RECORD,
    VARIANT_JSON,
    check_record,
    files_of,
    row,
    silent,
    stamped,
    wheel_files,
    zipped,
)

from polywheel.errors import WheelError
from polywheel.formats.metadata_fields import with_variant_fields
from polywheel.stamping import strip_variant_fields
from polywheel.wheel.stamp import stamp_wheel, unstamp_wheel
from polywheel.wheel.stamping_change import Stamp
from polywheel.wheel.undo import FIELD


def stamp(label: str = "v3") -> Stamp:
    return Stamp(
        metadata=lambda old: with_variant_fields(old, [("Variant-Label", label)]),
        variant_json=b"{}",
        strip=strip_variant_fields,
    )


def unstamped(folder: Path, content: bytes) -> bytes:
    source, target = folder / LABELLED, folder / f"plain-{NAME}"
    source.write_bytes(content)
    target = folder / "plain" / NAME
    target.parent.mkdir(exist_ok=True)
    unstamp_wheel(source, target, strip_variant_fields)
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
    what = Stamp(metadata=depends, variant_json=b"{}", strip=strip_variant_fields)
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
    assert "will not give back all" in said[-1]
    assert files_of(unstamped(tmp_path, (tmp_path / LABELLED).read_bytes())) == wheel_files()


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_malformed_undo_field_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    new = bytearray(stamped(folder, KINDS["streamed"], stamp()))
    start = new.index(FIELD.to_bytes(2, "little"), new.index(b"PK\x01\x02")) + 4
    length = int.from_bytes(new[start - 2 : start], "little")
    at = min(at, length - len(junk)) if len(junk) <= length else 0
    junk = junk[: length - at]
    new[start + at : start + at + len(junk)] = junk
    with contextlib.suppress(WheelError):  # and nothing else
        assert VARIANT_JSON not in files_of(unstamped(folder, bytes(new)))
