"""Inspecting a wheel: its content, and every contradiction in it."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polywheel.cli import main
from polywheel.errors import WheelError
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel
from support import wheels
from support.wheels import (
    FIELDS,
    FILES,
    INFO,
    LABELLED,
    METADATA,
    NAME,
    RECORD,
    VARIANT_JSON,
    Part,
    assembled,
    deflated,
    parts,
    row,
    with_record,
    zipped,
)

WHEEL = f"{INFO}/WHEEL"
TAGS = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
V3 = "x86_64 :: level :: v3"
HASH = "fa7c1393"  # of V3, from the known labels
NOT_HASHED = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"  # SHA-256 of nothing
PLUGIN = {"requires": ["x86-provider"], "plugin-api": "x86_provider:Plugin"}
DOCUMENT: dict[str, Any] = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
    "default-priorities": {"namespace": ["x86_64", "blas"]},
    "providers": {"x86_64": PLUGIN, "blas": {"static-properties": {"library": ["mkl"]}}},
    "variants": {"v3": {"x86_64": {"level": ["v3"]}}},
}
STAMPED = [
    "Variant-Label: v3",
    f"Variant-Hash: {HASH}",
    f"Variant-Property: {V3}",
    "Variant-Requires: x86_64: x86-provider",
    "Variant-Plugin-API: x86_64: x86_provider:Plugin",
    "Variant-Default-Namespace-Priorities: x86_64, blas",
]


def document(**changes: object) -> bytes:
    """variant.json with other top-level keys; ``default_priorities`` stands for the hyphened one."""
    changed = {key.replace("_", "-"): value for key, value in changes.items()}
    return json.dumps({**DOCUMENT, **changed}).encode()


def fields(*drop: str, more: tuple[str, ...] = ()) -> bytes:
    """METADATA with the fields of a stamp, but for some that start like these, and with more."""
    lines = [line for line in STAMPED if not line.startswith(drop)] if drop else STAMPED
    return FIELDS + "".join(f"{line}\n" for line in (*lines, *more)).encode()


def files(
    *, metadata: bytes | None = None, variant_json: bytes | None = b"", wheel: bytes = TAGS
) -> dict[str, bytes]:
    """Everything but RECORD of a wheel stamped in both ways, unless other parts are given."""
    made = {**FILES, METADATA: fields() if metadata is None else metadata, WHEEL: wheel}
    if variant_json is not None:
        made[VARIANT_JSON] = variant_json or document()
    return made


def look(
    folder: Path, content: bytes, name: str = LABELLED, *, hashes: bool = False
) -> InspectedWheel:
    (folder / name).write_bytes(content)
    return inspect_wheel(folder / name, hashes=hashes)


def said(wheel: InspectedWheel) -> list[str]:
    return [problem.what for problem in wheel.disagreements]


def only(found: list[str], *expected: str) -> None:
    """Exactly these were found, each with all the words of one line."""
    assert len(found) == len(expected), found
    for text, words in zip(found, expected, strict=True):
        for word in words.split(" | "):
            assert word in text


def test_a_wheel_stamped_in_all_places(tmp_path: Path) -> None:
    wheel = look(tmp_path, zipped(with_record(files())), hashes=True)
    assert said(wheel) == []
    assert wheel.stamped_in == ("filename", "METADATA", "variant.json")
    assert wheel.variant is not None
    assert (wheel.variant.label, wheel.variant.hash) == ("v3", HASH)
    assert [str(prop) for prop in wheel.variant.properties] == [V3]
    assert wheel.tags == ("py3-none-any",)
    assert wheel.declared is wheel.document
    assert wheel.dist_info == INFO
    assert wheel.size == len((tmp_path / LABELLED).read_bytes())


def test_a_wheel_that_has_no_variant(tmp_path: Path) -> None:
    content = zipped(with_record(files(metadata=FIELDS, variant_json=None)))
    wheel = look(tmp_path, content, NAME, hashes=True)
    assert said(wheel) == []
    assert wheel.stamped_in == ()
    assert wheel.declared is None
    assert wheel.variant is None


@pytest.mark.parametrize("name", [LABELLED, f"demo-1.0-py3-none-any-{HASH}.whl"])
def test_a_wheel_of_early_2025_is_read_from_metadata(name: str, tmp_path: Path) -> None:
    # What variantlib 0.0.1.post1 writes: no label but the hash, names of fields in lower case.
    old = [
        f"Variant-hash: {HASH}",
        f"Variant-property: {V3}",
        "Variant-requires: x86_64: x86-provider >=1",
        "Variant-enable-if: x86_64: platform_machine == 'x86_64'",
        "Variant-plugin-api: x86_64: x86_provider:Plugin",
        "Variant-default-namespace-priorities: x86_64",
        "Variant-default-feature-priorities: x86_64 :: level",
        "Variant-default-property-priorities: x86_64 :: level :: v3, x86_64 :: level :: v2",
    ]
    metadata = FIELDS + "".join(f"{line}\n" for line in old).encode()
    wheel = look(tmp_path, zipped(with_record(files(metadata=metadata, variant_json=None))), name)
    assert wheel.stamped_in == ("filename", "METADATA")
    assert wheel.variant is not None
    assert wheel.variant.label == HASH
    assert wheel.declared is not None
    assert wheel.declared.providers["x86_64"].requires == ("x86-provider >=1",)
    assert wheel.declared.providers["x86_64"].enable_if == "platform_machine == 'x86_64'"
    only(said(wheel), *(["'v3' | METADATA | 'fa7c1393'"] if name == LABELLED else []))


def test_the_null_variant_of_every_generation(tmp_path: Path) -> None:
    null = document(variants={"null": {}})
    priorities = "Variant-Default-Namespace-Priorities: x86_64, blas\n"
    now = FIELDS + f"Variant-Label: null\n{priorities}".encode()
    old = FIELDS + f"Variant-Hash: 00000000\n{priorities}".encode()
    for metadata, variant_json, label in (
        (FIELDS, null, "null"),
        (now, None, "null"),
        (old, None, "00000000"),
    ):
        content = zipped(with_record(files(metadata=metadata, variant_json=variant_json)))
        wheel = look(tmp_path, content, f"demo-1.0-py3-none-any-{label}.whl")
        assert said(wheel) == []
        assert wheel.variant is not None
        assert wheel.variant.is_null


def test_a_wheel_with_variant_json_alone(tmp_path: Path) -> None:
    wheel = look(tmp_path, zipped(with_record(files(metadata=FIELDS))))
    assert said(wheel) == []
    assert wheel.stamped_in == ("filename", "variant.json")


OTHER = document(variants={"v2": {"x86_64": {"level": ["v2"]}}})
TWO = document(variants={**DOCUMENT["variants"], "null": {}})
UNGOVERNED = document(providers={}, default_priorities={"namespace": ["blas"]})
STATIC = {"static-properties": {"level": ["v1", "v2"]}}


@pytest.mark.parametrize(
    ("metadata", "variant_json", "expected"),
    [
        # labels
        (fields("Variant-Label", more=("Variant-Label: v4",)), None, ["filename | 'v3' | METADATA | 'v4'"]),
        (
            fields("Variant-Label", more=("Variant-Label: v4",)),
            document(),
            ["filename | 'v3' | METADATA | 'v4'", "METADATA | 'v4' | variant.json | 'v3'"],
        ),
        (FIELDS, OTHER, ["filename | 'v3' | variant.json | 'v2'"]),
        (FIELDS, None, ["filename | 'v3' | neither METADATA nor variant.json"]),
        (
            FIELDS + b"Variant-Default-Namespace-Priorities: x86_64\n",
            None,
            ["filename | 'v3' | METADATA has no label and no property"],
        ),
        (fields(more=("Variant-Label: v4",)), None, ["Variant-Label has several values: v3, v4"]),
        # hash
        (
            fields("Variant-Hash", more=("Variant-Hash: 12345678",)),
            None,
            ["Variant-Hash | '12345678' | properties | 'fa7c1393'"],
        ),
        (
            fields("Variant-Hash", more=("Variant-Hash: 12345678",)),
            document(),
            ["'12345678' | 'fa7c1393'", "METADATA | '12345678' | variant.json | 'fa7c1393'"],
        ),
        # properties
        (
            fields("Variant-Property", "Variant-Hash", more=("Variant-Property: x86_64 :: level :: v2",)),
            document(),
            ["METADATA has | 'x86_64 :: level :: v2' | variant.json", f"variant.json has | '{V3}' | METADATA"],
        ),
        (fields(more=("Variant-Property: X :: y",)), document(), ["malformed variant property 'X :: y'"]),
        (
            fields("Variant-Default-Namespace", more=("Variant-Property: c :: d :: e", "Variant-Hash: x")),
            None,
            ["Variant-Hash has several values", "Variant-Hash | 'fa7c1393' | '"],
        ),
        # namespaces
        (
            fields("Variant-Default", more=("Variant-Default-Namespace-Priorities: x86_64",)),
            document(),
            ["METADATA | namespaces x86_64, | variant.json x86_64, blas"],
        ),
        (
            fields("Variant-Default", more=("Variant-Default-Namespace-Priorities: blas",)),
            None,
            [
                "Variant-Property | 'x86_64' | Variant-Default-Namespace-Priorities: blas",
                "Variant-Requires | 'x86_64' | Variant-Default-Namespace-Priorities: blas",
            ],
        ),
        (FIELDS, UNGOVERNED, ["variant.json | 'x86_64' | 'v3' | default-priorities have blas"]),
        (
            FIELDS,
            document(default_priorities={"namespace": ["blas"]}),
            ["'x86_64' is missing from default-priorities", "variant.json | 'x86_64' | 'v3' | blas"],
        ),
        # priorities of features and properties
        (
            fields(more=("Variant-Default-Feature-Priorities: x86_64 :: level, x86_64",)),
            None,
            ["malformed variant feature 'x86_64'"],
        ),
        (
            fields(more=("Variant-Default-Feature-Priorities: c :: d",)),
            None,
            ["Variant-Default-Feature-Priorities | 'c' | x86_64, blas"],
        ),
        (
            fields(more=("Variant-Default-Property-Priorities: c :: d :: e, x86_64 :: level",)),
            None,
            ["malformed variant property 'x86_64 :: level'", "Property-Priorities | 'c' | x86_64, blas"],
        ),
        (
            fields(more=("Variant-Default-Feature-Priorities: x86_64 :: a, x86_64 :: b",)),
            document(
                default_priorities={
                    "namespace": ["x86_64", "blas"],
                    "feature": {"x86_64": ["b", "a"]},
                }
            ),
            ["METADATA | feature priorities x86_64 :: a, | variant.json x86_64 :: b,"],
        ),
        (
            fields(more=("Variant-Default-Property-Priorities: x86_64 :: a :: b",)),
            document(
                default_priorities={
                    "namespace": ["x86_64", "blas"],
                    "property": ["x86_64 :: a :: c"],
                }
            ),
            ["METADATA | property priorities x86_64 :: a :: b | variant.json x86_64 :: a :: c"],
        ),
        # providers
        (
            fields("Variant-Requires", more=("Variant-Requires: x86_64: other",)),
            document(),
            ["METADATA has 'other' | provider of 'x86_64' | variant.json 'x86-provider'"],
        ),
        (
            fields("Variant-Plugin", more=("Variant-Plugin-API: x86_64: other:Plugin",)),
            document(),
            ["METADATA | 'other:Plugin' | 'x86_64' | variant.json | 'x86_provider:Plugin'"],
        ),
        (
            fields("Variant-Requires", "Variant-Plugin"),
            document(),
            ["METADATA has nothing | 'x86_64' | variant.json 'x86-provider'"],
        ),
        (
            fields(more=("Variant-Requires: blas: some",)),
            document(),
            ["METADATA has 'some' | 'blas' | variant.json static properties"],
        ),
        (
            fields(more=("Variant-Plugin-API: x86_64: other:Plugin",)),
            None,
            ["Variant-Plugin-API of 'x86_64' has several values | x86_provider:Plugin | other:Plugin"],
        ),
        (
            fields(more=("Variant-Enable-If: x86_64: os_name == 'nt'",)),
            document(
                providers={
                    **DOCUMENT["providers"],
                    "x86_64": {**PLUGIN, "enable-if": "os_name == 'posix'"},
                }
            ),
            ["METADATA | os_name == 'nt' | variant.json | os_name == 'posix'"],
        ),
        (fields(more=("Variant-Requires: x86_64: !!",)), None, ["malformed requirement '!!'"]),
        (fields(more=("Variant-Requires: nothing",)), None, ["malformed Variant-Requires: 'nothing'"]),
        (fields(more=("Variant-Enable-If: x86_64: no",)), None, ["malformed marker 'no'"]),
        # the null variant
        (
            fields("Variant-Label", more=("Variant-Label: null",)),
            None,
            ["'null' is reserved", "filename | 'v3' | METADATA | 'null'"],
        ),
        (
            FIELDS,
            document(variants={"null": DOCUMENT["variants"]["v3"]}),
            ["'null' is reserved"],
        ),
        (FIELDS, document(variants={"v3": {}}), ["'v3' has no properties"]),
        (
            FIELDS + b"Variant-Label: null\nVariant-Hash: 12345678\n",
            document(variants={"null": {}}),
            [
                "Variant-Hash | '12345678' | no properties",
                "filename | 'v3' | METADATA | 'null'",
                "filename | 'v3' | variant.json | 'null'",
            ],
        ),
        # what only pyproject.toml may have
        (
            FIELDS,
            document(providers={**DOCUMENT["providers"], "blas": {"build-requires": ["some"]}}),
            ["variant.json has build-requires | 'blas'"],
        ),
        # $schema
        (
            FIELDS,
            json.dumps({key: DOCUMENT[key] for key in DOCUMENT if key != "$schema"}).encode(),
            ["$schema is missing"],
        ),
        (FIELDS, document(**{"$schema": None}), ["$schema is missing"]),
        (FIELDS, document(**{"$schema": 7}), ["expected a string, found 7"]),
        (FIELDS, document(**{"$schema": ""}), ["$schema is ''"]),
        (FIELDS, document(**{"$schema": "v0.2.0.json"}), ["$schema is 'v0.2.0.json'"]),
        (FIELDS, document(**{"$schema": "https://a/b.json"}), ["$schema is 'https://a/b.json'"]),
        (FIELDS, document(**{"$schema": "https://variants-schema.wheelnext.dev/"}), []),
        (FIELDS, document(**{"$schema": "https://variants-schema.wheelnext.dev/v0.0.3.json"}), []),
        # what a wheel's variant.json is not
        (FIELDS, TWO, ["variant.json describes 2 variants, 'v3', 'null'"]),
        (FIELDS, b"nonsense", ["not JSON"]),
        (FIELDS, b" " * 2**20 + document(), ["over the limit of 1048576"]),
        (FIELDS, b"[]", ["expected a table, found a list"]),
    ],
)  # fmt: skip
def test_parts_that_disagree(
    metadata: bytes, variant_json: bytes | None, expected: list[str], tmp_path: Path
) -> None:
    made = with_record(files(metadata=metadata, variant_json=variant_json))
    only(said(look(tmp_path, zipped(made))), *expected)


def test_a_stamp_without_a_label_in_the_filename(tmp_path: Path) -> None:
    for made, where in (
        (files(), "METADATA and variant.json"),
        (files(variant_json=None), "METADATA"),
        (files(metadata=FIELDS), "variant.json"),
    ):
        wheel = look(tmp_path, zipped(with_record(made)), NAME)
        only(said(wheel), f"the filename has no label, {where} the variant 'v3'")


def test_null_in_the_filename_and_properties_inside(tmp_path: Path) -> None:
    made = files(metadata=fields("Variant-Label", "Variant-Hash"), variant_json=None)
    wheel = look(tmp_path, zipped(with_record(made)), "demo-1.0-py3-none-any-null.whl")
    only(said(wheel), f"filename | 'null' | METADATA | '{HASH}'")


@pytest.mark.parametrize("label", ["..", "v4"])
def test_a_label_in_the_filename_and_properties_alone_in_metadata(
    label: str, tmp_path: Path
) -> None:
    """The label of properties that have none is their hash (PEP 825, "Variant label")."""
    metadata = FIELDS + f"Variant-Property: {V3}\n".encode()
    content = zipped(with_record(files(metadata=metadata, variant_json=None)))
    wheel = look(tmp_path, content, f"demo-1.0-py3-none-any-{label}.whl")
    only(said(wheel), f"filename | '{label}' | METADATA | '{HASH}'")
    assert said(look(tmp_path, content, f"demo-1.0-py3-none-any-{HASH}.whl")) == []


def test_variant_fields_behind_a_line_that_is_no_header(tmp_path: Path) -> None:
    """The email package takes that line for the description, other readers read on."""
    metadata = fields() + b"no header\nVariant-Property: x86_64 :: level :: v4\n\ntext\n"
    wheel = look(tmp_path, zipped(with_record(files(metadata=metadata))))
    only(said(wheel), "'Variant-Property: x86_64 :: level :: v4' | line that is not a header")
    harmless = fields() + b"no header\n\nVariant-Property: x86_64 :: level :: v4\n"
    assert said(look(tmp_path, zipped(with_record(files(metadata=harmless))))) == []


def test_what_a_faulty_variant_json_says_is_shown_and_not_relied_on(tmp_path: Path) -> None:
    faulty = document(providers={**DOCUMENT["providers"], "x86_64": {"requires": ["?"]}})
    wheel = look(tmp_path, zipped(with_record(files(metadata=FIELDS, variant_json=faulty))))
    assert wheel.document is None
    assert wheel.variant is None
    assert wheel.stamped_in == ("filename", "variant.json")
    assert wheel.shown_variant is not None
    assert wheel.shown_variant.hash == HASH


def test_a_value_that_its_provider_does_not_know_is_told_and_is_no_disagreement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index may hold the wheel; nobody ever gets it."""
    static = document(providers={**DOCUMENT["providers"], "x86_64": STATIC})
    plain = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    wheel = look(tmp_path, zipped(with_record(files(variant_json=static, metadata=plain))))
    assert not wheel.disagreements
    assert list(map(str, wheel.unsupported_properties)) == [V3]
    assert main(["show", str(wheel.path)]) == 4
    said = capsys.readouterr().out
    assert f"no machine supports '{V3}': the static properties of its provider lack it" in said


@pytest.mark.parametrize(
    ("headers", "name", "expected"),
    [
        ("Name: Demo\nVersion: 1.0.0", "demo-1.0", []),
        ("Name: other\nVersion: 1.0", "demo-1.0", ["METADATA names 'other' | filename 'demo'"]),
        ("Name: demo\nVersion: 2", "demo-1.0", ["METADATA | '2' | filename '1.0'"]),
        ("Name: demo", "demo-1.0", ["METADATA | '' | filename '1.0'"]),
        ("Name: d\xe9mo\nVersion: 1.0", "demo-1.0", ["METADATA names 'd | filename 'demo'"]),
        (f"Name: demo\nVersion: {'1' * 5000}", "demo-1.0", ["METADATA | '111 | filename '1.0'"]),
        ("Name: demo\nVersion: 1.0+cpu", "demo-1.0+cpu", []),
        ("Name: demo\nVersion: 1.0+cpu", "demo-1.0_cpu", []),
        ("Name: demo\nVersion: 1.0+cu12.8-abi", "demo-1.0+cu12.8_abi", []),
        ("Name: demo\nVersion: 1.0-1", "demo-1.0_1", []),
        ("Name: demo\nVersion: 1.0.0+cpu", "demo-1.0_cpu", []),
        ("Name: demo\nVersion: 1.0.post1", "demo-1.0_1", []),
        ("Name: demo\nVersion: 1.0+cpu", "demo-1.0+cu12", ["'1.0+cpu' | '1.0+cu12'"]),
        ("Name: demo\nVersion: 2004d", "demo-2004d", []),
        ("Name: demo\nVersion: 1.0 beta-x", "demo-1.0_beta_x", []),
        ("Name: de.mo-x\nVersion: 1.0", "de_mo_x-1.0", []),
    ],
)
def test_name_and_version(headers: str, name: str, expected: list[str], tmp_path: Path) -> None:
    metadata = f"Metadata-Version: 2.1\n{headers}\n\nA description\n".encode()
    inside = {
        path.replace("demo-1.0", name): content
        for path, content in files(metadata=metadata, variant_json=None).items()
    }
    record = "".join(row(path, content) for path, content in inside.items())
    inside[f"{name}.dist-info/RECORD"] = record.encode()
    only(said(look(tmp_path, zipped(inside), f"{name}-py3-none-any.whl")), *expected)


def test_the_version_of_the_folder(tmp_path: Path) -> None:
    metadata = FIELDS.replace(b"1.0", b"2.0")
    content = zipped(with_record(files(metadata=metadata, variant_json=None)))
    wheel = look(tmp_path, content, "demo-2.0-py3-none-any.whl")
    only(said(wheel), "folder 'demo-1.0.dist-info' | '1.0' | filename '2.0'")


@pytest.mark.parametrize(
    ("listed", "tags", "expected"),
    [
        (["py3-none-any"], "py3-none-any", []),
        ([], "py3-none-any", []),
        (["py2-none-any", "py3-none-any"], "py2.py3-none-any", []),
        (["cp311-cp311-Linux_x86_64"], "cp311-cp311-linux_x86_64", []),
        (
            ["cp311-abi3-manylinux2014_x86_64", "cp311-abi3-manylinux_2_17_x86_64"],
            "cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64",
            [],
        ),
        (["py3-none-any"], "py2.py3-none-any", ["WHEEL | py3-none-any, | filename py2-none-any, py3"]),
        (["py3-none-any", "py2-none-any"], "py3-none-any", ["WHEEL | py2-none-any | filename py3"]),
        (["py3-none-any", "Build: 2"], "1-py3-none-any", ["WHEEL has the build '2' | filename '1'"]),
        (["py3-none-any", "Build: 1"], "1-py3-none-any", []),
        (["py3-none-any"], "1_local-py3-none-any", []),
    ],
)  # fmt: skip
def test_tags(listed: list[str], tags: str, expected: list[str], tmp_path: Path) -> None:
    lines = [tag if ":" in tag else f"Tag: {tag}" for tag in listed]
    wheel = "\n".join(["Wheel-Version: 1.0", *lines, ""]).encode()
    content = zipped(with_record(files(metadata=FIELDS, variant_json=None, wheel=wheel)))
    only(said(look(tmp_path, content, f"demo-1.0-{tags}.whl")), *expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (row("demo/data.bin", FILES["demo/data.bin"]), "", ["RECORD does not list 'demo/data.bin'"]),
        ("", row("demo/more.py", b""), ["RECORD lists 'demo/more.py', which is not in the archive"]),
        (",256\n", ",257\n", ["RECORD | 'demo/data.bin' '257' bytes, the archive '256'"]),
        (f"{METADATA},sha256=", f"{METADATA},sha256=x", [f"'{METADATA}' | 'sha256=x | 'sha256="]),
        (f"{WHEEL},sha256=", f"{WHEEL},sha256=x", [f"'{WHEEL}' | 'sha256=x | 'sha256="]),
        (f"{VARIANT_JSON},sha256=", f"{VARIANT_JSON},sha256=x", [f"'{VARIANT_JSON}' | 'sha256=x"]),
        (f"{WHEEL},sha256=", f"{WHEEL},md5=", [f"'{WHEEL}' | 'md5= | not SHA-256 or better"]),
        (f"{WHEEL},sha256=", f"{WHEEL},shake_128=", ["not SHA-256 or better"]),
        (f"{RECORD},,", f"{RECORD}.jws,,", [f"RECORD lists '{RECORD}.jws', which is not in"]),
        ("demo/data.bin,sha256=", "demo/data.bin,sha256=x", []),  # the big ones are not read
    ],
)  # fmt: skip
def test_record(old: str, new: str, expected: list[str], tmp_path: Path) -> None:
    made = with_record(files())
    record = made[RECORD].decode()
    assert old in record
    made[RECORD] = record.replace(old, new, 1).encode()
    only(said(look(tmp_path, zipped(made))), *expected)


def test_a_file_that_record_lists_twice(tmp_path: Path) -> None:
    made = with_record(files())
    made[RECORD] += row("demo/data.bin", b"").encode()
    with pytest.raises(WheelError, match=r"RECORD lists 'demo/data.bin' twice"):
        look(tmp_path, zipped(made))


def test_every_hash_is_checked_when_asked_for(tmp_path: Path) -> None:
    made = with_record({**files(), "demo/empty": b"", "demo/folder/": b""})
    assert said(look(tmp_path, zipped(made), hashes=True)) == []
    record = made[RECORD].decode()
    for old, new, expected in (
        ("demo/data.bin,sha256=", "demo/data.bin,sha256=x", "'demo/data.bin' | 'sha256=x | 'sha256="),
        ("demo/empty,sha256=", "demo/empty,sha1=", "'demo/empty' | not SHA-256 or better"),
        (row("demo/empty", b""), "demo/empty,,0\n", "RECORD gives 'demo/empty' no hash"),
        (f"demo/empty,sha256={NOT_HASHED}", f"demo/empty,sha256={NOT_HASHED[::-1]}", NOT_HASHED),
    ):  # fmt: skip
        assert old in record
        made[RECORD] = record.replace(old, new, 1).encode()
        assert said(look(tmp_path, zipped(made))) == []
        only(said(look(tmp_path, zipped(made), hashes=True)), expected)


@pytest.mark.parametrize("kind", sorted(wheels.KINDS))
def test_hashes_are_checked_however_the_archive_was_written(kind: str, tmp_path: Path) -> None:
    assert said(look(tmp_path, wheels.KINDS[kind], NAME, hashes=True)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": b"\xff\xff"}, "can't be inflated"),
        ({"data": deflated(FILES["demo/data.bin"])[:-1]}, "cut short"),
        ({"data": deflated(FILES["demo/data.bin"]) + b"x"}, "ends before its data"),
        ({"data": deflated(bytes(256))}, "differs from its entry"),
        ({"data": deflated(bytes(50_000_000))}, "differs from its entry"),
        ({"method": 99}, "unknown method 99"),
        ({"local_name": b"x" * 13}, "another name in its local header"),
        ({"local_extra": bytes(100)}, ""),
    ],
)
def test_members_that_lie_are_told_of_and_the_others_read(
    change: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    made = with_record(files())
    made[RECORD] = made[RECORD].replace(b"__init__.py,sha256=", b"__init__.py,sha256=x")
    by_name: dict[str, Part] = parts(made)
    by_name["demo/data.bin"] = replace(by_name["demo/data.bin"], **change)
    wheel = look(tmp_path, assembled(list(by_name.values())), hashes=True)
    only(
        said(wheel),
        "'demo/__init__.py' | 'sha256=x",
        *([f"demo/data.bin | {expected}"] if expected else []),
    )


def test_data_that_lie_over_the_next_member_are_told_of(tmp_path: Path) -> None:
    """By its sizes it would fit, but not behind the extra bytes that its local header claims."""
    content = bytearray(assembled(list(parts(with_record(files())).values())))
    content[28] = 20
    wheel = look(tmp_path, bytes(content), hashes=True)
    only(said(wheel), "demo/__init__.py overlaps what follows it")


def test_large_members_are_read_in_little_memory(tmp_path: Path) -> None:
    # One that is what it says, and one that would not end.
    large = {**files(), "demo/large": bytes(60_000_000)}
    by_name = parts(with_record(large))
    bomb = Part(name="demo/bomb", data=deflated(bytes(60_000_000)), size=10, crc=0)
    content = assembled([*by_name.values(), bomb])
    del large, by_name
    tracemalloc.start()
    found = said(look(tmp_path, content, hashes=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    only(found, "does not list 'demo/bomb'", "demo/bomb differs from its entry")
    assert peak < 12_000_000


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    for headers in (b"a:\n" * 200_000, b"a:\r" * 200_000, b"a: " + bytes(3_000_000)):
        content = zipped(with_record(files(metadata=FIELDS + headers)))
        with pytest.raises(WheelError, match="over the limit of"):
            look(tmp_path, content)
    # A description may be as long as it likes.
    content = zipped(with_record(files(metadata=fields(more=("", "text\n" * 500_000)))))
    assert said(look(tmp_path, content)) == []


def test_what_can_not_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="No such file"):
        inspect_wheel(tmp_path / NAME)
    (tmp_path / NAME).mkdir()
    with pytest.raises(WheelError, match="can't be read"):
        inspect_wheel(tmp_path / NAME)
    with pytest.raises(WheelError, match="not the name of a wheel"):
        inspect_wheel(tmp_path / "demo.zip")
    made = files()
    del made[WHEEL]
    with pytest.raises(WheelError, match=r"demo-1\.0\.dist-info/WHEEL is missing"):
        look(tmp_path, zipped(with_record(made)), LABELLED)
