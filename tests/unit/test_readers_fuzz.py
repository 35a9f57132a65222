"""Strangers' bytes, for a bounded time: only documented errors come out of the readers.

Other examples are tried in every run. What a run finds is kept by hypothesis and printed as bytes;
it belongs into the tests of the reader that let it through.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import wheels
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wheels import FIELDS, INFO, KINDS, LABELLED, Part, assembled, parts, with_record

from polywheel.cli import show
from polywheel.errors import WheelError
from polywheel.examined import Examined, examine
from polywheel.formats.metadata_reader import parse_metadata, read_variant_fields
from polywheel.formats.variant_json_reader import read_faulty_variant_json, read_variant_json
from polywheel.wheel.archive import open_archive
from polywheel.wheel.dist_info import find_dist_info, read_dist_info
from polywheel.wheel.record import parse_record

LIMIT = 1024 * 1024
MEMORY = 40 * 1024 * 1024
"""Bytes, for inputs of a few kilobytes."""

DOCUMENT = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
    "default-priorities": {"namespace": ["x86_64", "blas"], "feature": {"x86_64": ["level"]}},
    "providers": {
        "x86_64": {"requires": ["x86-provider >=1"], "plugin-api": "x86_provider:Plugin"},
        "blas": {"static-properties": {"library": ["mkl"], "more": ["a"]}, "optional": True},
    },
    "variants": {"v3": {"x86_64": {"level": ["v3"]}, "blas": {"library": ["mkl"]}}},
}
HEADERS = FIELDS + (
    b"Variant-Label: v3\nVariant-Hash: fa7c1393\nVariant-Property: x86_64 :: level :: v3\n"
    b"Variant-Requires: x86_64: x86-provider >=1; os_name == 'nt'\n"
    b"Variant-Plugin-API: x86_64: x86_provider:Plugin\n"
    b"Variant-Enable-If: x86_64: platform_machine == 'x86_64'\n"
    b"Variant-Default-Namespace-Priorities: x86_64, blas\n"
    b"Variant-Default-Feature-Priorities: x86_64 :: level\n"
    b"Variant-Default-Property-Priorities: x86_64 :: level :: v3, x86_64 :: level :: v2\n"
)
TAGS = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
STAMPED = with_record(
    {
        "demo/__init__.py": b"value = 1\n" * 20,
        f"{INFO}/METADATA": HEADERS + b"\nA description\n",
        f"{INFO}/WHEEL": TAGS,
        f"{INFO}/variant.json": json.dumps(DOCUMENT).encode(),
    }
)
ARCHIVES = {
    **KINDS,
    "stamped": wheels.zipped(STAMPED),
    "stamped, streamed": wheels.zipped(STAMPED, streamed=True),
    "stamped, stored": wheels.zipped(STAMPED, method=0),
}

bounded = settings(
    deadline=None,
    max_examples=250,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""A few seconds for each test; never the same examples in each run, as they are not derandomized."""

numbers = st.sampled_from([0, 1, 2, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]) | st.integers(
    0, 2**32 - 1
)
noise = st.binary(min_size=1, max_size=12) | st.sampled_from(
    [
        *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"),
        *(b"\x00" * 8, b"\xff" * 8, b"\x01\x00\x08\x00", b"../", b"\n", b'"', b"\\", b":", b"\r"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """Bytes flipped, cut out, put in, or moved within what was right; one to three times."""
    content = original
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        end = at + draw(st.integers(0, 40))
        how = draw(st.sampled_from(["write", "cut", "insert", "copy", "end"]))
        if how == "write":
            new = draw(noise)
            content = content[:at] + new + content[at + len(new) :]
        elif how == "cut":
            content = content[:at] + content[end:]
        elif how == "insert":
            content = content[:at] + draw(noise) + content[at:]
        elif how == "copy":
            to = draw(st.integers(0, len(content)))
            content = content[:to] + content[at:end] + content[to:]
        else:
            content = content[:at]
    return content


@st.composite
def spliced(draw: st.DrawFn) -> bytes:
    """An archive with other numbers in the fields of its directory, its end or a local header."""
    content = bytearray(ARCHIVES[draw(st.sampled_from(sorted(ARCHIVES)))])
    for _ in range(draw(st.integers(1, 3))):
        magic, fields = draw(st.sampled_from(FIELDS_OF))
        found = [at for at in range(len(content)) if content.startswith(magic, at)]
        if not found:
            continue
        at = draw(st.sampled_from(found)) + draw(st.sampled_from(fields))
        width = draw(st.sampled_from(["<H", "<L"]))
        if at + 4 <= len(content):
            struct.pack_into(width, content, at, draw(numbers) & (0xFFFF if width == "<H" else -1))
    return bytes(content)


FIELDS_OF: list[tuple[bytes, range]] = [
    (b"PK\x01\x02", range(4, 46, 2)),
    (b"PK\x03\x04", range(4, 30, 2)),
    (b"PK\x05\x06", range(4, 22, 2)),
    (b"PK\x06\x06", range(4, 56, 4)),
    (b"PK\x06\x07", range(4, 20, 4)),
]

odd_names = st.text(max_size=12) | st.sampled_from(
    [
        *("../x", "/x", "a/../b", "demo//x", f"{INFO}/METADATA", f"{INFO}/RECORD", f"{INFO}/x"),
        *("other-1.0.dist-info/METADATA", "\x1b[2J", "a\\b", "e\u0301", "\u202e", "x" * 300, "C:x"),
    ]
)


@st.composite
def put_together(draw: st.DrawFn) -> bytes:
    """An archive whose members lie about their names, sizes, offsets, methods and data."""
    members = list(parts(STAMPED).values())
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(members) - 1))
        one = members[number]
        changes: dict[str, st.SearchStrategy[object]] = {
            "name": odd_names.filter(lambda name: not any("\ud800" <= x <= "\udfff" for x in name)),
            "raw_name": st.binary(max_size=20),
            "local_name": st.binary(max_size=20),
            "method": st.sampled_from([0, 8, 9, 99]),
            "flags": st.sampled_from([0, 1, 8, 0x800, 0x808, 0xFFFF]),
            "data": st.binary(max_size=40) | st.just(wheels.deflated(bytes(3_000_000))),
            "crc": numbers,
            "size": numbers,
            "compressed": numbers,
            "offset": numbers,
            "extra": st.binary(max_size=30) | st.just(struct.pack("<HHQ", 1, 8, 2**64 - 1)),
            "local_extra": st.binary(max_size=30),
            "behind": st.binary(max_size=30),
        }
        name = draw(st.sampled_from(sorted(changes)))
        # Names, numbers and bytes: each is of the type of its field.
        changed: Part = replace(one, **{name: draw(changes[name])})  # type: ignore[arg-type]
        if draw(st.booleans()):
            members[number] = changed
        else:
            members.insert(number, changed)
    return assembled(members, comment=draw(st.sampled_from([b"", b"about", b"PK\x05\x06"])))


anything: st.SearchStrategy[object] = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, "", "v3", "x86_64", "V", "a b", "a>=1", "a:b", []]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x86_64", "level", "v3", "null", "A", ""]), inner)
    ),
    max_leaves=8,
)


@st.composite
def misshapen(draw: st.DrawFn) -> object:
    """A right document in which one value, or two, are something else, or are gone."""
    document = json.loads(json.dumps(DOCUMENT))
    for _ in range(draw(st.integers(1, 2))):
        table = document
        for _ in range(draw(st.integers(0, 4))):
            inner = [value for value in table.values() if isinstance(value, dict) and value]
            if inner:
                table = draw(st.sampled_from(inner))
        if not table:
            continue
        key = draw(st.sampled_from(sorted(table)))
        if draw(st.booleans()):
            table[key] = draw(anything)
        else:
            table[draw(st.sampled_from(["requires", "builtin", "x", "v9", "null"]))] = table.pop(
                key
            )
    return document


@st.composite
def refilled(draw: st.DrawFn) -> bytes:
    """A right archive in which a file of dist-info says something else, listed in RECORD or not."""
    name = draw(st.sampled_from(["METADATA", "WHEEL", "variant.json", "RECORD"]))
    path = f"{INFO}/{name}"
    listed = {key: content for key, content in STAMPED.items() if not key.endswith("/RECORD")}
    made = dict(STAMPED)
    if name == "variant.json" and draw(st.booleans()):
        made[path] = json.dumps(draw(misshapen())).encode()
    else:
        made[path] = draw(mutated(STAMPED[path]))
    if name != "RECORD" and draw(st.booleans()):
        made = with_record({**listed, path: made[path]})
    return wheels.zipped(made, method=0)


archives = (
    st.sampled_from(sorted(ARCHIVES)).flatmap(lambda kind: mutated(ARCHIVES[kind]))
    | spliced()
    | put_together()
    | refilled()
)


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """What happens within takes no more than MEMORY."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY


def documented(read: Callable[[], object]) -> None:
    """``read`` returns, or raises a WheelError whose message can be printed and names the wheel."""
    with little_memory():
        try:
            read()
        except WheelError as error:
            assert error.exit_code == 4  # noqa: PT017
            assert "demo" in str(error)  # noqa: PT017


@bounded
@given(archives)
def test_archives(content: bytes) -> None:
    """Every member of whatever was opened, and dist-info with its RECORD."""
    path = Path("demo-1.0-py3-none-any.whl")

    def read() -> None:
        archive = open_archive(io.BytesIO(content), path)
        with contextlib.suppress(WheelError):
            list(archive.extents())
        for member in archive.members:
            with contextlib.suppress(WheelError):
                assert len(archive.read(member, limit=LIMIT)) == member.size <= LIMIT
        with contextlib.suppress(WheelError):
            read_dist_info(archive)
        list(find_dist_info(archive).disagreements())

    documented(read)


@pytest.mark.parametrize("content", [b"p", b"p" * 10, b"p" * 3000, b"polywheel" * 9])
def test_what_ends_like_the_mark_of_an_interrupted_change(content: bytes) -> None:
    documented(lambda: open_archive(io.BytesIO(content), Path("demo-1.0-py3-none-any.whl")))


@bounded
@given(archives)
def test_wheels(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Looked at from all sides, hashes included; what is right is read as it was written."""
    path = tmp_path_factory.getbasetemp() / LABELLED
    path.write_bytes(content)
    seen: list[Examined] = []
    documented(lambda: seen.append(examine(path, hashes=True)))
    for wheel in seen:
        assert wheel.name.label == "v3"
        if not wheel.disagreements:  # stamped as it was, or the null variant is all that is left
            assert wheel.variant is not None
            assert wheel.variant.label == "v3"


@bounded
@given(content=archives)
def test_the_command(
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
) -> None:
    """0 or 4, one line and its details, and nothing that a terminal would act on."""
    path = tmp_path_factory.getbasetemp() / LABELLED
    path.write_bytes(content)
    code = show.run([str(path)])
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith(f"{LABELLED}: ")
    assert all(line.startswith("  ") for line in lines[1:])
    assert said.err == ""
    assert said.out.replace("\n", "").isprintable()
    assert show.run([str(path), "--json"]) == code
    (wheel,) = json.loads(capsys.readouterr().out)["wheels"]
    assert code == (4 if wheel["disagreements"] or wheel["errors"] else 0)


@bounded
@given(
    mutated(STAMPED[f"{INFO}/METADATA"])
    | st.lists(
        st.sampled_from([*HEADERS.splitlines(keepends=True), b"\n", b" ", b": ", b"\xff", b"\r"])
        | st.binary(max_size=10)
    ).map(b"".join)
)
@example(b"Variant-Requires: a: b\r" + b"Variant-Enable-If: a: " + b"(" * 3000)
@example(FIELDS.replace(b"1.0", b"1" * 5000) + b"Variant-Label: v3\n")
@example(b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" * 3000)
@example(b"Variant-Property: " + b"a::" * 100_000)
def test_metadata(content: bytes) -> None:
    def read() -> None:
        fields = read_variant_fields(parse_metadata(content, at="demo"), at="demo")
        if fields is not None:
            assert len(fields.metadata.variants) <= 1
            for provider in fields.metadata.providers.values():
                assert provider.object_reference != ""

    documented(read)


@bounded
@given(
    mutated(json.dumps(DOCUMENT).encode())
    | mutated(json.dumps(DOCUMENT, indent=1).encode())
    | st.binary(max_size=60)
)
@example(b'{"a":' * 200_000)
@example(b'{"variants": {"' + b"a" * 900 + b'": {"b": {"c": [' + b'"d",' * 9000 + b'""]}}}}')
@example(b'{"variants": {"v": {"b": {"c": [' + b"1" * 5000 + b"]}}}}")
@example(b'{"variants": {"\\ud800": {"\\u001b": ["\\u202e"]}}, "default-priorities": 1e999}')
def test_variant_json(content: bytes) -> None:
    documented(lambda: read_variant_json(content, at="demo"))
    metadata, problems = read_faulty_variant_json(content, at="demo")
    assert metadata is not None or problems


@bounded
@given(misshapen())
def test_variant_json_of_other_shapes(document: object) -> None:
    documented(lambda: read_variant_json(json.dumps(document).encode(), at="demo"))


@bounded
@given(
    mutated(STAMPED[f"{INFO}/RECORD"])
    | st.text('ab,"\n\r=\0\x85\u2028').map(str.encode)
    | st.binary(max_size=40)
)
def test_record(content: bytes) -> None:
    def read() -> None:
        record = parse_record(content, at="demo")
        assert len(set(record.paths)) == len(list(record))

    documented(read)


@bounded
@given(
    st.one_of(st.text(max_size=40), mutated(LABELLED.encode()).map(lambda b: b.decode("latin-1")))
)
def test_names_of_files(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A name is refused, or there is no such file."""
    folder = tmp_path_factory.getbasetemp() / "demo-nowhere"
    name = name.translate({ord("/"): "-", 0: "-"})
    with pytest.raises(WheelError):
        examine(folder / f"{name}.whl")
