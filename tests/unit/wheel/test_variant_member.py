"""The quick reader of ``index`` agrees with the full inspection, or falls back to it."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from io import FileIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import PolywheelError, WheelError
from polywheel.formats.variant_json import parse_single_variant, read_variant_json, variant_json
from polywheel.formats.variants_json import merge_metadata, variants_json
from polywheel.index.wheel_file import parse_filename, read_file, read_together
from polywheel.index.write.releases import read_releases
from polywheel.model.variant import VariantMetadata
from polywheel.model.wheelname import WheelName
from polywheel.wheel.variant_member import UnusualError, read_variant_member
from support.index_wheels import MKL, V1, V2, declared, variant
from support.wheels import INFO, VARIANT_JSON, assembled, crowd, parts, row, zipped

LABELLED, PLAIN = "demo-1.0-py3-none-any-one.whl", "demo-1.0-py3-none-any.whl"
DOCUMENT = variant_json(variant("one", V1), declared())
METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"


def files(document: bytes | None = DOCUMENT, *, info: str = INFO) -> dict[str, bytes]:
    """A wheel whose variant is in variant.json alone."""
    found = {"demo.py": b"value = 1\n", f"{info}/METADATA": METADATA, f"{info}/WHEEL": WHEEL}
    if document is not None:
        found[f"{info}/variant.json"] = document
    rows = [row(path, content) for path, content in found.items()]
    return {**found, f"{info}/RECORD": "".join([*rows, f"{info}/RECORD,,\n"]).encode()}


def recorded(found: dict[str, bytes]) -> dict[str, bytes]:
    """The same files and more, with a RECORD that has them."""
    del found[f"{INFO}/RECORD"]
    rows = [row(path, content) for path, content in found.items() if not path.endswith("/")]
    return {**found, f"{INFO}/RECORD": "".join([*rows, f"{INFO}/RECORD,,\n"]).encode()}


def changed(**change: Any) -> bytes:
    """A wheel put together by hand, whose variant.json is written otherwise."""
    members = parts(files())
    members[VARIANT_JSON] = replace(members[VARIANT_JSON], **change)
    return assembled(list(members.values()))


def glance(path: Path) -> bytes | None:
    with FileIO(path) as file:
        return read_variant_member(file, WheelName.parse(path.name))


def label_at_a_glance(path: Path) -> str | None:
    """The label that variant.json has, where that is plain to see."""
    try:
        found = glance(path)
    except UnusualError:
        return None
    one = parse_single_variant(found) if found is not None else None
    return one.label if one is not None else None


MANY = {f"demo/{'x' * 100}{number}.py": b"" for number in range(400)}
USUAL = {
    "deflated": zipped(files()),
    "stored": zipped(files(), method=zipfile.ZIP_STORED),
    "streamed": zipped(files(), streamed=True),
    "streamed, zip64": zipped(files(), streamed=True, zip64=True),
    "by hand": assembled(list(parts(files()).values())),
    "something in front": assembled(list(parts(files()).values()), front=b"#!/bin/sh\n" * 9),
    "a directory that is longer than the end": zipped(recorded({**files(), **MANY})),
    "dist-info first": zipped(recorded({**files(), "data.bin": os.urandom(40_000)})),
}


@pytest.mark.parametrize("kind", USUAL)
def test_a_glance_at_a_usual_wheel_finds_its_variant(kind: str, tmp_path: Path) -> None:
    path = tmp_path / LABELLED
    path.write_bytes(USUAL[kind])
    assert glance(path) == DOCUMENT


@pytest.mark.parametrize("found", [files(None), recorded({**files(None), **MANY})])
def test_a_glance_at_a_non_variant_wheel_finds_none(
    found: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / PLAIN
    path.write_bytes(zipped(found))
    assert glance(path) is None


BOTH = {**files(), "demo/_vendor/other-1.0.dist-info/variant.json": b"{}"}
LONG = DOCUMENT.replace(b"{", b"{" + b" " * 65_000, 1)
GOOD = "the wheel is good"
UNUSUAL: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a zip archive"),
    "short": (b"PK\x05\x06", "not a zip archive"),
    "cut short": (zipped(files())[:-30], "not a zip archive"),
    "more behind it": (zipped(files()) + b"\0", "not a zip archive"),
    "comment": (zipped(files(), comment=b"about it"), GOOD),
    "zip64 end": (assembled(list(parts(files()).values()), zip64_end=b""), GOOD),
    "zip64 sizes": (zipped(files(), zip64=True), GOOD),
    "directory elsewhere": (
        assembled(list(parts(files()).values()), directory_at=7),
        "directory is not at",
    ),
    "no members": (crowd(0), "no .dist-info folder"),
    "two of them": (zipped(recorded(BOTH)), GOOD),
    "none": (zipped(files(None)), "has the label 'one', neither METADATA nor variant.json"),
    "another spelling": (zipped(files(info="Demo-1.0.dist-info")), GOOD),
    "another version": (zipped(files(info="demo-1.0.0.dist-info")), GOOD),
    "another project": (zipped(files(info="other-1.0.dist-info")), "belongs to another"),
    "long": (zipped(files(LONG)), GOOD),
    "bomb": (changed(size=10**9), "over the limit of"),
    "encrypted": (changed(flags=0x801), "is encrypted"),
    "split": (changed(disk=3), "encrypted or split"),
    "method": (changed(method=12), "unknown method 12"),
    "extra fields": (changed(extra=b"\x99\x99\x02\x00ab"), GOOD),
    "local name": (changed(local_name=b"x" * len(VARIANT_JSON)), "another name in its local"),
    "local method": (changed(local_method=0), "another description in its local"),
    "local checksum": (changed(local_crc=7), "another description in its local"),
    "checksum": (changed(crc=7), "differs from its entry"),
    "content": (changed(data=b"\xff" * 99), "can't be inflated"),
    "too little": (changed(data=b"\x03"), "cut short"),
    "stored by half": (
        changed(method=0, data=DOCUMENT[:-9]),
        "stored, but has two different sizes",
    ),
    "too long": (changed(compressed=10_000), "reaches beyond the end|overlaps what follows"),
    "offset": (changed(offset=10_000), "reaches beyond the end|overlaps|no local header"),
    "in front": (changed(offset=1), "overlaps|no local header"),
    "not JSON": (zipped(files(b"{")), "is not JSON"),
    "not text": (zipped(files(b"\xff")), "is not JSON"),
    "another label": (zipped(files(DOCUMENT.replace(b'"one"', b'"two"'))), "has the label 'two'"),
    "two variants": (
        zipped(files(DOCUMENT.replace(b'"one":', b'"two": {"x86_64": {"level": ["v1"]}}, "one":'))),
        "describes 2 variants",
    ),
    "variants first": (
        zipped(files(json.dumps(dict(reversed(json.loads(DOCUMENT).items()))).encode())),
        GOOD,
    ),
    "a key twice": (
        zipped(files(DOCUMENT.replace(b'"variants"', b'"variants": {}, "variants"'))),
        "has the same key twice",
    ),
    "a comma too few": (
        zipped(files(DOCUMENT.replace(b'},\n    "variants', b'}\n "variants'))),
        "is not JSON",
    ),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_wheel_is_looked_at_from_all_sides(kind: str, tmp_path: Path) -> None:
    content, why = UNUSUAL[kind]
    path = tmp_path / LABELLED
    path.write_bytes(content)
    assert label_at_a_glance(path) != "one"
    name = parse_filename(LABELLED)
    assert name is not None
    read = read_file(tmp_path, name, is_file=True, hashed=False)
    if why == GOOD:
        assert read.problems == ()
        assert read.document is not None
        assert read_variant_json(read.document, at="").variants.keys() == {"one"}
    else:
        said = "\n".join(problem.render() for problem in read.problems)
        assert any(one in said for one in why.split("|")), said
        assert LABELLED in said


def test_a_wheel_without_label_that_has_a_variant_is_looked_at_from_all_sides(
    tmp_path: Path,
) -> None:
    path = tmp_path / PLAIN
    path.write_bytes(zipped(files()))
    with pytest.raises(UnusualError):
        glance(path)
    _, withheld = published(tmp_path)
    assert withheld == ["demo 1.0"]


def published(folder: Path) -> tuple[dict[str, VariantMetadata | None], list[str]]:
    """What a folder says without a look inside its wheels, which is what it says with one."""
    outcomes = []
    for hashed in (False, True):
        releases, strays, _ = read_releases(folder, hashed=hashed)
        assert not strays
        outcomes.append(
            (
                {str(one): one.metadata for one in releases if not one.problems},
                [str(one) for one in releases if one.problems],
            )
        )
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


ONE, TWO = variant("one", V1), variant("two", V2, MKL)
DOCUMENTS = [
    variant_json(ONE, declared()),
    variant_json(ONE, declared("x86_64")),
    variant_json(ONE, declared("blas", "x86_64")),
    variant_json(TWO, declared()),
    json.dumps(json.loads(variant_json(ONE, declared()))).encode(),
    variant_json(ONE, declared(providers={})),
    variants_json(declared(variants=[ONE, TWO])),
    variant_json(variant("one", V2), declared()),
    DOCUMENT.replace(b'"v1"', b'"V1"'),
    DOCUMENT.replace(b'"x86_64": {', b'"x86_64": {"optional": 1, ', 1),
    DOCUMENT.replace(b'"providers"', b'"provided"'),
    DOCUMENT.replace(b'"namespace"', b'"namespaces"'),
    DOCUMENT.replace(b'"x86_64",', b'"x86_64", "cuda",'),
    DOCUMENT[:-3],
    b"[]",
    b"",
    b"\x00\xff",
]


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A wheel whose variant, if it has one, is in its variant.json."""
    document = draw(st.none() | st.sampled_from(DOCUMENTS))
    info = draw(st.sampled_from([INFO] * 4 + ["Demo-1.0.dist-info", "demo-1.0.0.dist-info"]))
    found = list(files(document, info=info).items())
    if draw(st.booleans()):
        found = draw(st.permutations(found))
    if draw(st.booleans()):
        comment = draw(st.sampled_from([b"", b"", b"PK\x05\x06", b"about"]))
        return zipped(
            dict(found),
            method=draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])),
            streamed=draw(st.booleans()),
            zip64=draw(st.booleans()),
            comment=comment,
        )
    members = parts(dict(found))
    which = draw(st.sampled_from(sorted(members)))
    if which.endswith("variant.json"):
        change: dict[str, Any] = draw(
            st.sampled_from(
                [
                    {},
                    {"extra": b"\x99\x99\x00\x00"},
                    {"crc": 1},
                    {"size": 1},
                    {"flags": 0},
                    {"local_crc": 1},
                    {"local_extra": b"\x99\x99\x00\x00"},
                    {"compressed": 1},
                    {"method": 99},
                    {"local_name": b"x"},
                    {"offset": 40},
                    {"data": b"\x03\x00"},
                ]
            )
        )
        members[which] = replace(members[which], **change)
    return assembled(list(members.values()), front=draw(st.sampled_from([b"", b"", b"front"])))


@settings(max_examples=100, deadline=None)  # files are written
@given(
    st.lists(st.tuples(st.sampled_from(["-one", "-two", ""]), archives()), min_size=1, max_size=4)
)
def test_a_glance_and_a_look_from_all_sides_lead_to_the_same(
    wheels: list[tuple[str, bytes]],
) -> None:
    with TemporaryDirectory() as name:
        for number, (label, content) in enumerate(wheels):
            path = Path(name, f"demo-1.0-cp3{number}-none-any{label}.whl")
            path.write_bytes(content)
        published(Path(name))


# The documents of a release.


def joined_by_hand(documents: dict[str, bytes]) -> VariantMetadata | str:
    """What every document says, read by itself; or what is wrong."""
    try:
        read = {
            wheel: read_variant_json(content, at=f"{wheel}: variant.json")
            for wheel, content in documents.items()
        }
        return merge_metadata(read, at="demo 1.0")
    except PolywheelError as error:
        return str(error)


def together(documents: dict[str, bytes]) -> VariantMetadata | str:
    try:
        return read_together(documents, at="demo 1.0")
    except WheelError as error:
        return str(error)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A document, or what became of one that somebody else wrote, or changed."""
    text = draw(st.sampled_from(DOCUMENTS))
    if draw(st.integers(0, 3)):
        return text
    start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    return text[:start] + draw(st.sampled_from([b"", b",", b"}", b"{", b'"', b" "])) + text[end:]


@settings(max_examples=200, deadline=None)
@given(st.lists(texts(), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_documents_read_together_say_what_each_of_them_says(
    contents: list[bytes], random: Random
) -> None:
    documents = {f"w{number}": content for number, content in enumerate(contents)}
    found = together(documents)
    assert found == joined_by_hand(documents)
    shuffled = list(documents.items())
    random.shuffle(shuffled)
    again = together(dict(shuffled))
    assert again == found if isinstance(found, VariantMetadata) else isinstance(again, str)


def every_cut(text: bytes) -> list[bytes]:
    """The document without each of its letters in turn, and with each of them twice."""
    cuts = [text[:at] + text[at + 1 :] for at in range(len(text))]
    return cuts + [text[:at] + text[at : at + 1] + text[at:] for at in range(len(text))]


def test_what_one_letter_changes_is_seen() -> None:
    for text in every_cut(DOCUMENT):
        documents = {"a": DOCUMENT.replace(b'"one"', b'"two"'), "b": text}
        assert together(documents) == joined_by_hand(documents)


def test_a_release_of_many_variants_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def reading(content: bytes, **options: Any) -> VariantMetadata:
        read.append(content)
        return read_variant_json(content, **options)

    monkeypatch.setattr("polywheel.index.wheel_file.read_variant_json", reading)
    made = [variant(f"v{number}", f"x86_64 :: level :: {number}") for number in range(50)]
    documents = {one.label: variant_json(one, declared()) for one in made}
    documents["null"] = variant_json(variant("null"), declared("x86_64"))
    assert len(read_together(documents, at="").variants) == 51
    assert len(read) == 2


def test_a_document_that_ends_otherwise_is_still_read() -> None:
    turned = json.dumps(dict(reversed(json.loads(DOCUMENT).items()))).encode()
    assert parse_single_variant(turned) is None
    assert together({"a": turned}) == together({"a": DOCUMENT})
