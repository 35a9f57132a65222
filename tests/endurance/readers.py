"""Every reader of what strangers write: an input for it, right or nearly so, and what must hold after.

An input is bytes, so that one that was found can be kept as a file and read again. ``read`` raises
PolywheelError, or returns; anything else is a finding.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import campaign
import tomli_w

from polywheel.ci.collect import merge_reports
from polywheel.config.project import read_project
from polywheel.config.selection import KEYS, parse_selection
from polywheel.errors import PolywheelError, WheelError
from polywheel.formats.metadata import parse_metadata, read_variant_fields
from polywheel.formats.variant_json import read_faulty_variant_json, read_variant_json
from polywheel.index.resolve import web
from polywheel.index.resolve.systems import read_system
from polywheel.index.wheel_file import parse_filename, read_together
from polywheel.index.write.releases import read_releases
from polywheel.matrix.expansion import expand_project
from polywheel.matrix.plan_json import plan_as_json, read_document, read_plan
from polywheel.matrix.selected_variant import resolve
from polywheel.matrix.shards import read_durations
from polywheel.model.plugin_answers import PluginQuery
from polywheel.model.variant import Variant, VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.providers.client import answer_of, read_answers, read_call, read_log
from polywheel.run.journal import open_journal
from polywheel.run.source.unpack import unpack_sdist
from polywheel.run.worker.protocol import BuildStep, read_response
from polywheel.run.worker.requests import TimeBudget, check_response
from polywheel.setup.profiles import choose_backend
from polywheel.setup.resolve import resolve_setup
from polywheel.system.processes import ChildResult
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.dist_info import find_dist_info, read_dist_info
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.record import parse_record
from polywheel.wheel.stamp import make_stamp, stamp_wheel, write_changed_wheel
from polywheel.wheel.unstamp import unstamp_change
from polywheel.wheel.variant_member import read_variant_member
from support import mutations, plans, wheels
from support.mutations import misshapen, mutated
from support.wheels import INFO, LABELLED, NAME, extents

LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader."""

    name: str
    make: Callable[[Random], bytes]
    read: Callable[[bytes, Path], object]
    """Of an input, and an empty folder of its own."""

    share: int = 10
    """Of all inputs, in proportion; small where one takes long."""


READERS: list[Reader] = []


def reader(name: str, make: Callable[[Random], bytes], share: int = 10) -> Callable[..., Any]:
    def add(read: Callable[[bytes, Path], object]) -> Callable[[bytes, Path], object]:
        READERS.append(Reader(name, make, read, share))
        return read

    return add


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def silent(_: str) -> None:
    pass


# --- pyproject.toml and config settings ----------------------------------------------------------

VARIANT = """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["cpu", "blas", "x86_64", "aot"]
feature = { cpu = ["level"] }
property = { cpu = { level = ["v3", "v2"] } }
[variant.providers.cpu]
requires = ["provider-cpu >=1; python_version >= '3.11'"]
plugin-api = "provider_cpu:Plugin"
enable-if = "platform_machine == 'x86_64'"
optional = true
[variant.providers.blas]
static-properties = { library = ["mkl", "openblas"], more = ["a"] }
feature-order = ["library", "more"]
[variant.providers.x86_64]
builtin = true
[variant.providers.aot]
build-requires = ["provider-aot"]
install-time = false
[variant.variants.v3]
cpu.level = ["v3"]
blas.library = ["mkl"]
[variant.static-properties.old]
feature = ["one"]
"""
EVERY = (campaign.ROOT / "tests" / "unit" / "data" / "every-setting.toml").read_text("utf-8")
MATRIX = plans.HEAD + plans.MATRIX
_WORDS = tuple(
    word.encode()
    for word in (
        *("[", "]", "[[", "]]", "{", "}", "=", "'", '"', '"""', "'''", "\n", "#", ".", ",", "\\"),
        *("[variant]", "[tool.polywheel]", "[[tool.polywheel.matrix.include]]", "::", " :: ", "*"),
        *("{value}", "{label}", "true", "inf", "nan", "1" * 30, "1979-05-27", "0x", "\\u202e", "é"),
        *("\\ud800", "\\n::error::", "\x00", "\x85", "\u2028", "\t", ";", ">=", "label:"),
    )
)


def toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: without_none(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_none(one) for one in value if one is not None]
    return value


_KNOWN_KEYS = (
    *("requires", "plugin-api", "optional", "static-properties", "builtin", "build-requires"),
    *("feature-order", "label", "python", "targets", "null", "plain", "rows", "exclude", "include"),
    *("when", "separator", "cflags", "env", "defines", "compiler", "backend", "presets", "strict"),
    *("query", "wheel-tag", "share-builds", "max-cells", "delivery", "via", "setup", "matrix"),
)


def bad_toml(*texts: str) -> Callable[[Random], bytes]:
    """One of these documents, wrong in its bytes or in its shape."""
    documents = [toml(text) for text in texts]

    def make(chance: Random) -> bytes:
        number = chance.randrange(len(texts))
        if chance.random() < 0.5:
            return mutated(chance, texts[number].encode(), _WORDS)
        shape = without_none(misshapen(chance, documents[number], _KNOWN_KEYS))
        return tomli_w.dumps(shape).encode("utf-8", "surrogatepass")

    return make


def read_tables(content: bytes, folder: Path) -> None:
    put(folder, "pyproject.toml", content)
    read_project(folder, variants=False)
    read_project(folder, variants=True)


reader("pyproject.toml", bad_toml(VARIANT, EVERY), 20)(read_tables)


@reader("matrix", bad_toml(MATRIX), 15)
def read_matrix(content: bytes, folder: Path) -> None:
    """Expanded, and its plan read back as it was."""
    put(folder, "pyproject.toml", content)
    plan = expand_project(read_project(folder, variants=True))
    text = json.dumps(plan_as_json(plan)).encode()
    assert plan_as_json(read_plan(put(folder, "plan.json", text))) == json.loads(text)


SETUP = (
    plans.HEAD
    + '[tool.polywheel]\npresets = ["x86_64"]\n'
    + EVERY[EVERY.index('[tool.polywheel.setup."cpu :: level"]') :]
    .partition("[tool.polywheel.backend]")[0]
    .replace('[tool.polywheel.setup."cpu :: level"]', "[tool.polywheel.setup.'cpu :: level']")
)
SETUP = SETUP.replace('[tool.polywheel.setup."cpu :: level"]\ncflags = ["-march={value}"]\n', "")
V3 = Variant.of([VariantProperty.parse("cpu :: level :: v3")], "v3")


@reader("setup rules", bad_toml(SETUP), 10)
def read_setup(content: bytes, folder: Path) -> None:
    put(folder, "pyproject.toml", content)
    project = read_project(folder, variants=True)
    resolve_setup(project, choose_backend(project), V3, python=None, notify=silent)


TARGETS = plans.HEAD + EVERY[EVERY.index("[tool.polywheel.targets") :].replace(
    '"cpu :: more :: on"', '"cpu :: level :: v4"'
)


@reader("targets", bad_toml(TARGETS), 10)
def read_targets(content: bytes, folder: Path) -> None:
    put(folder, "pyproject.toml", content)
    expand_project(read_project(folder, variants=True))


def bad_settings(chance: Random) -> bytes:
    values = (
        *(
            "x86_64::level::v3",
            "cpu :: level :: v3",
            "v3",
            "null",
            "",
            "true",
            "label",
            "unlabelled",
        ),
        *("cpu::level::v3,blas::library::mkl", "::", "a::b", "cpu::level::v9", "\u202e", "a" * 500),
    )
    found: dict[str, object] = {}
    for _ in range(chance.randint(0, 4)):
        key = chance.choice((*KEYS, "variant_label", "Variant", "builddir", "varient", ""))
        how = chance.random()
        one = chance.choice(values)
        if how < 0.6:
            found[key] = one
        elif how < 0.9:
            found[key] = [chance.choice(values) for _ in range(chance.randint(0, 3))]
        else:
            found[key] = mutations.anything(chance)
    return json.dumps(found).encode()


@lru_cache
def demo_metadata() -> Any:
    with campaign.workplace(in_memory=True) as folder:
        put(folder, "pyproject.toml", VARIANT.partition("[variant.static")[0].encode())
        text = (folder / "pyproject.toml").read_text().replace("feature = { cpu", "# {")
        text = text.replace("builtin = true", 'static-properties.level = ["v3", "v2"]')
        text = text.replace("install-time = false\n", "").replace("property = {", "# {")
        text = text.replace("enable-if", "# ")
        (folder / "pyproject.toml").write_text(text)
        return read_project(folder, variants=True).metadata


@reader("config settings", bad_settings)
def read_settings(content: bytes, folder: Path) -> None:
    selection, _ = parse_selection(json.loads(content))
    if selection.asks_for_variant:
        resolve(selection, demo_metadata())


# --- what wheels hold ----------------------------------------------------------------------------


def bad_json(document: object, *words: str, keys: tuple[str, ...] = ()) -> Callable[..., bytes]:
    """A JSON document that is wrong in its bytes or in its shape."""
    texts = (json.dumps(document).encode(), json.dumps(document, indent=1).encode())
    extra = tuple(
        word.encode()
        for word in (
            *words,
            *(
                "{",
                "}",
                "[",
                "]",
                ",",
                '"',
                "null",
                "true",
                "NaN",
                "Infinity",
                "-Infinity",
                "1e999",
            ),
            *("\\ud800", "\\u0000", "\\u202e", "1" * 30, "-0", "0.5", '{"a":' * 30, "[" * 40),
        )
    )

    def make(chance: Random) -> bytes:
        if chance.random() < 0.5:
            return mutated(chance, chance.choice(texts), extra)
        changed = json.dumps(misshapen(chance, document, keys))
        return changed.encode("utf-8", "surrogatepass")

    return make


_DOCUMENT_KEYS = ("requires", "plugin-api", "static-properties", "optional", "property", "feature")


@reader("variant.json", bad_json(mutations.DOCUMENT, keys=_DOCUMENT_KEYS))
def read_document_of_wheel(content: bytes, folder: Path) -> None:
    metadata, problems = read_faulty_variant_json(content, at="demo")
    assert metadata is not None or problems
    read_variant_json(content, at="demo")


SEVERAL = {
    **mutations.DOCUMENT,
    "variants": {
        "null": {},
        "v2": {"x86_64": {"level": ["v2"]}},
        "v3": {"x86_64": {"level": ["v3"]}, "blas": {"library": ["mkl"]}},
    },
}


@reader("variants.json", bad_json(SEVERAL, keys=_DOCUMENT_KEYS))
def read_document_of_release(content: bytes, folder: Path) -> None:
    right = json.dumps(mutations.DOCUMENT).encode()
    with suppress(PolywheelError):
        read_together({"a.whl": right, "b.whl": content}, at="demo 1.0")
    read_variant_json(content, at="demo")


_LINES = mutations.HEADERS.splitlines(keepends=True)


def bad_metadata(chance: Random) -> bytes:
    if chance.random() < 0.7:
        return mutated(chance, mutations.HEADERS + b"\nText\n", (*_LINES, b"\n ", b": ", b"=?u?b?"))
    chosen = [chance.choice((*_LINES, b"\n", b" ", b": ", b"\xff", b"\r")) for _ in range(12)]
    return b"".join(chosen)


@reader("METADATA", bad_metadata)
def read_metadata(content: bytes, folder: Path) -> None:
    fields = read_variant_fields(parse_metadata(content, at="demo"), at="demo")
    assert fields is None or len(fields.metadata.variants) <= 1


@reader(
    "RECORD",
    lambda chance: mutated(
        chance, mutations.STAMPED[f"{INFO}/RECORD"], (b",", b"sha256=", b",,\n")
    ),
)
def read_record(content: bytes, folder: Path) -> None:
    record = parse_record(content, at="demo")
    assert len(set(record.paths)) == len(list(record))


@reader("archive", mutations.bad_archive, 15)
def read_archive(content: bytes, folder: Path) -> None:
    archive = open_archive(io.BytesIO(content), Path(NAME))
    with suppress(WheelError):
        extents(archive)
    for member in archive.members:
        with suppress(WheelError):
            assert len(archive.read(member, limit=LIMIT)) == member.size <= LIMIT
    with suppress(WheelError):
        read_dist_info(archive)
    list(find_dist_info(archive).disagreements())


@reader("wheel", mutations.bad_archive, 15)
def read_wheel(content: bytes, folder: Path) -> None:
    wheel = inspect_wheel(put(folder, LABELLED, content), hashes=True)
    if not wheel.disagreements:
        assert wheel.variant is not None
        assert wheel.variant.label == "v3"


@reader("wheel at a glance", mutations.bad_archive)
def read_at_a_glance(content: bytes, folder: Path) -> None:
    """As ``index`` reads it: alone, beside a right one, and straight from the archive."""
    put(folder, LABELLED, content)
    read_releases(folder, hashed=False)
    with (folder / LABELLED).open("rb", buffering=0) as file, suppress(WheelError):
        from polywheel.wheel.variant_member import UnusualError

        with suppress(UnusualError):
            read_variant_member(file, WheelName.parse(LABELLED))


# --- wheels that are changed ---------------------------------------------------------------------


@lru_cache
def demo_stamp() -> Any:
    """The stamp of the variant v3, with a dependency that stamping adds: there is something to undo."""
    with campaign.workplace(in_memory=True) as folder:
        text = plans.HEAD + 'dependencies = ["mkl"]\n'
        put(folder, "pyproject.toml", text.encode())
        project = read_project(folder, variants=True)
        found = resolve_setup(project, choose_backend(project), V3, python=None, notify=silent)
        return make_stamp(project, found)


def _stamped(files: dict[str, bytes], **options: Any) -> bytes:
    with campaign.workplace(in_memory=True) as folder:
        source = put(folder, NAME, wheels.zipped(files, **options))
        stamp_wheel(source, folder / LABELLED, demo_stamp(), notify=silent)
        return (folder / LABELLED).read_bytes()


_TAGS = b"Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _plain_files(**more: bytes) -> dict[str, bytes]:
    return wheels.with_record(
        {
            **wheels.FILES,
            f"{INFO}/METADATA": wheels.FIELDS + b"Requires-Dist: numpy\n\nText\n",
            f"{INFO}/WHEEL": _TAGS,
            **more,
        }
    )


@lru_cache
def stamped_wheels() -> tuple[bytes, ...]:
    """With undo data: dependencies that were added, a signature that was dropped, an odd RECORD."""
    plain = _plain_files()
    signed = {**plain, f"{INFO}/RECORD.jws": b"signature"}
    record = f"{INFO}/RECORD"
    odd = {**plain, record: plain[record].replace(b"\n", b"\r\n")}
    return (
        _stamped(plain),
        _stamped(plain, method=0),
        _stamped(signed),
        _stamped(odd),
        _stamped(plain, streamed=True),
    )


def _with_other_undo(chance: Random, content: bytes) -> bytes:
    """The document inside the extra field of variant.json, changed, and packed again as it was."""
    import struct
    import zlib

    at = content.rfind(b"PK\x05\x06")
    field = struct.pack("<H", 0x7770)
    where = content.rfind(field, content.index(b"PK\x01\x02"), at)
    if where < 0:
        return mutated(chance, content)
    length = struct.unpack_from("<H", content, where + 2)[0]
    packed = content[where + 4 : where + 4 + length]
    try:
        text = zlib.decompress(packed, -15)
    except zlib.error:
        try:
            text = zlib.decompress(packed)
        except zlib.error:
            return mutated(chance, content)
    with suppress(ValueError):
        document = json.loads(text)
        if chance.random() < 0.5:
            text = json.dumps(misshapen(chance, document, tuple(document))).encode()
        else:
            text = mutated(chance, text, (b"Infinity", b"[" * 300, b'"', b"Requires-Dist: evil\\n"))
    again = wheels.deflated(text) if not packed.startswith(b"\x78") else zlib.compress(text, 9)
    if len(again) > 60_000:
        return content
    # The entry of variant.json and the end record count the bytes of the field.
    entry = content.rfind(b"PK\x01\x02", 0, where)
    changed = bytearray(content[: where + 2] + struct.pack("<H", len(again)) + again)
    changed += content[where + 4 + length :]
    more = len(again) - length
    extra = struct.unpack_from("<H", content, entry + 30)[0]
    struct.pack_into("<H", changed, entry + 30, extra + more)
    end = changed.rfind(b"PK\x05\x06")
    size = struct.unpack_from("<L", changed, end + 12)[0]
    struct.pack_into("<L", changed, end + 12, size + more)
    return bytes(changed)


def bad_stamped(chance: Random) -> bytes:
    content = chance.choice(stamped_wheels())
    return _with_other_undo(chance, content) if chance.random() < 0.7 else mutated(chance, content)


def _dependencies(metadata: bytes) -> set[bytes]:
    lines = metadata.partition(b"\n\n")[0].splitlines()
    return {
        line for line in lines if line.lower().startswith((b"requires-dist", b"provides-extra"))
    }


@reader("undo data", bad_stamped, 15)
def take_stamp_off(content: bytes, folder: Path) -> None:
    """What comes out of a wheel that ``show --hashes`` passes is right, and says nothing new."""
    source, target = put(folder, LABELLED, content), folder / NAME
    try:
        write_changed_wheel(source, target, unstamp_change)
    except WheelError:
        assert sorted(path.name for path in folder.iterdir()) == [LABELLED]
        raise
    before = inspect_wheel(source, hashes=True)
    if before.disagreements:
        return
    after = inspect_wheel(target, hashes=True)
    assert not after.disagreements, [one.what for one in after.disagreements]
    assert not after.stamped_in
    new = _dependencies(after.metadata) - _dependencies(before.metadata)
    assert not new, f"dependencies that the wheel did not have: {new!r}"


@lru_cache
def plain_wheels() -> tuple[bytes, ...]:
    return (wheels.zipped(_plain_files()), wheels.zipped(_plain_files(), streamed=True))


def bad_plain(chance: Random) -> bytes:
    if chance.random() < 0.5:
        return mutated(chance, chance.choice(plain_wheels()))
    files = _plain_files()
    name = chance.choice(("METADATA", "WHEEL", "RECORD"))
    extra = (b"Variant-Property: a :: b :: c\n", b"no colon\n", b" folded\n", b"\n\n", b"\r")
    files[f"{INFO}/{name}"] = mutated(chance, files[f"{INFO}/{name}"], extra)
    if name != "RECORD" and chance.random() < 0.8:
        del files[f"{INFO}/RECORD"]
        files = wheels.with_record(files)
    return wheels.zipped(files)


@reader("label", bad_plain, 12)
def put_stamp_on(content: bytes, folder: Path) -> None:
    """What comes out of a wheel that ``show --hashes`` passes is passed as well."""
    source, target = put(folder, NAME, content), folder / LABELLED
    try:
        stamp_wheel(source, target, demo_stamp(), notify=silent)
    except WheelError:
        assert sorted(path.name for path in folder.iterdir()) == [NAME]
        raise
    if inspect_wheel(source, hashes=True).disagreements:
        return
    after = inspect_wheel(target, hashes=True)
    assert not after.disagreements, [one.what for one in after.disagreements]
    assert after.variant is not None
    assert after.variant.properties == V3.properties


_NAMES = (LABELLED, NAME, "demo-1.0-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")


@reader(
    "filenames",
    lambda chance: mutated(
        chance, chance.choice((*_NAMES, "demo-1.0.tar.gz", "demo-1.0-variants.json")).encode()
    ),
)
def read_names(content: bytes, folder: Path) -> None:
    name = content.decode("utf-8", "replace")
    with suppress(PolywheelError):
        parse_filename(name)
    parsed = WheelName.parse(name)
    assert WheelName.parse(str(parsed)) == parsed


# --- JSON of our own -----------------------------------------------------------------------------


def plan_document() -> dict[str, Any]:
    with campaign.workplace(in_memory=True) as folder:
        return plan_as_json(plans.expanded(folder))


@reader(
    "plan",
    bad_json(plan_document(), "3.13t", "py3", "linux-x86_64"),
    15,
)
def read_plans(content: bytes, folder: Path) -> None:
    plan = read_plan(put(folder, "plan.json", content))
    assert len({job.id for job in plan.jobs}) == len(plan.jobs)


def _report() -> dict[str, Any]:
    build = {
        "id": "linux-x86_64-cp312-v3",
        "python": "3.12",
        "target": "linux-x86_64",
        "jobs": ["linux-x86_64-cp312-v3"],
        "state": "built",
        "seconds": 4.0,
        "hook-seconds": 3.5,
        "error": None,
        "log": "/src/demo/dist/logs/linux-x86_64-cp312-v3.log",
    }
    job = {
        "id": "linux-x86_64-cp312-v3",
        "label": "v3",
        "properties": ["x86_64 :: level :: v3"],
        "pythons": ["3.12"],
        "targets": ["linux-x86_64"],
        "build": "linux-x86_64-cp312-v3",
        "state": "built",
        "file": LABELLED,
        "size": 5230,
        "sha256": "d39cab6600746ca390c3887d73360ea9bf9a68a24776b43de4ffa6a5dd35336d",
        "seconds": 3.75,
    }
    other = {**job, "id": "linux-x86_64-cp312-v2", "label": "v2", "state": "failed", "file": None}
    return {
        "shape": 1,
        "project": "demo",
        "out": "/src/demo/dist",
        "seconds": 8.125,
        "interrupted": False,
        "exit-code": 1,
        "builds": [build],
        "jobs": [job, other],
    }


@reader("report", bad_json(_report(), "built", "failed"))
def read_reports(content: bytes, folder: Path) -> None:
    path = put(folder, "report.json", content)
    with suppress(PolywheelError):
        read_durations(path)
    table = read_document(path, 1, what="report", hint="", closed=False)
    json.dumps(merge_reports([table]).document(folder))


_LINE = {
    "shape": 1,
    "job": "linux-x86_64-cp311-v3",
    "key": "k" * 64,
    "file": LABELLED,
    "setup": "ab" * 32,
    "sha256": "0" * 64,
    "seconds": 1.5,
}


_bad_line = bad_json(_LINE, "x" * 300, "../", ".whl", "\n")


def bad_journal(chance: Random) -> bytes:
    right = (json.dumps(_LINE, sort_keys=True) + "\n").encode()
    lines = [right, *(_bad_line(chance) + b"\n" for _ in range(chance.randint(1, 3)))]
    chance.shuffle(lines)
    return b"".join(lines)


@reader("journal", bad_journal)
def read_journal(content: bytes, folder: Path) -> None:
    """Never an error: a line that is damaged does not count."""
    put(folder, ".polywheel-journal.jsonl", content)
    with open_journal(folder) as journal:
        entry = journal.entry("linux-x86_64-cp311-v3")
        if entry is not None:
            journal.finished(entry.job, entry.key)
            journal.origin(entry.file, entry.sha256)


# --- machines and indexes ------------------------------------------------------------------------

SYSTEM = """
name = "a laptop"
python = "3.12.4"
platform = "manylinux_2_28_x86_64"
enabled = ["nvidia"]
[supported.x86_64]
level = ["v3", "v2", "v1"]
avx = ["on"]
feature-order = ["avx", "level"]
[packages]
torch = "2.9.1"
numpy = "2.0"
"""


@reader("system file", bad_toml(SYSTEM), 6)
def read_systems(content: bytes, folder: Path) -> None:
    read_system(put(folder, "system.toml", content))


HTML = b"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.1">
<base href="https://example.org/simple/demo/"></head><body><h1>Links for demo</h1>
<a href="../../files/demo-1.0-py3-none-any.whl#sha256=d39cab6600746ca390c3887d73360ea9bf9a68a24776b4"
 data-requires-python="&gt;=3.8" data-yanked="bad &amp; old">demo-1.0-py3-none-any.whl</a><br/>
<a href="demo-1.0-py3-none-any-v3.whl">demo-1.0-py3-none-any-v3.whl</a>
<!-- a comment --><![CDATA[x]]><?php x ?><script>"</a>"</script></body></html>
"""
_TAGS_OF_HTML = (
    *(b"<a href=", b"<!", b"<![", b"<!--", b"-->", b"&#", b"&#x110000;", b"</a", b"<base href='"),
    *(b"<![if ", b"<!doctype [", b"http://[", b"//[::1", b"<a " * 8, b"<script>", b"?>", b"<?"),
)
PAGE = {
    "meta": {"api-version": "1.1"},
    "name": "demo",
    "files": [
        {
            "filename": LABELLED,
            "url": f"https://example.org/{LABELLED}",
            "hashes": {"sha256": "0" * 64},
            "requires-python": ">=3.8",
            "yanked": "bad",
            "size": 5,
        },
        {"filename": NAME, "url": f"../{NAME}", "hashes": {}, "yanked": False},
    ],
}


def _read_page(content: bytes, kind: str) -> None:
    page = web.Page(url="https://example.org/simple/demo/", content_type=kind, content=content)
    with mock.patch.object(web, "fetch", return_value=page):
        web.read_project_page("https://example.org/simple/demo/")


@reader("HTML page", lambda chance: mutated(chance, HTML, _TAGS_OF_HTML))
def read_html(content: bytes, folder: Path) -> None:
    _read_page(content, "text/html")


@reader("JSON page", bad_json(PAGE, "http://[", "//", "yanked"))
def read_json_page(content: bytes, folder: Path) -> None:
    _read_page(content, web.JSON)


# --- what other processes answer -----------------------------------------------------------------

QUERY = PluginQuery(
    namespace="cpu",
    reference="provider_cpu:Plugin",
    requires=("provider-cpu",),
    at="pyproject.toml: variant.providers.cpu",
    properties=V3.properties,
    setup=V3.properties,
    supported=True,
)
ANSWER = {
    "answers": [
        {
            "namespace": "cpu",
            "generation": "2025-06",
            "version": "1.0",
            "all": [["level", ["v3", "v2"], False]],
            "valid": [True],
            "supported": [["level", ["v2"], False], ["more", ["on"], True]],
            "compatible": False,
            "setup": {"cflags": ["-O3"]},
            "setup_each": [{"cflags": ["-O3"]}],
        }
    ]
}


@reader("provider answer", bad_json(ANSWER))
def read_answer(content: bytes, folder: Path) -> None:
    put(folder, "answer.json", content)
    put(folder, "call-0", content[:200])
    put(folder, "log-0", content)
    call, log = read_call(folder, 1), read_log(folder / "log-0")
    assert all(text.isprintable() for text in [call or "", *log])
    for one in read_answers(folder, 1) or []:
        answer_of(QUERY, one)


WORKER = {
    "requires": ["a"],
    "wheels": [{"job": "x", "file": NAME, "setup_digest": "ab" * 32}],
    "seconds": 1.5,
}
RESPONSE = {
    "result": WORKER,
    "problems": [],
    "permanent": False,
    "messages": [{"text": "note: a", "jobs": ["x"]}],
}


@reader("worker answer", bad_json(RESPONSE), 6)
def read_worker(content: bytes, folder: Path) -> None:
    step = BuildStep(jobs=(), out="out")
    response = read_response(put(folder, "response.json", content), step)
    check_response(response, ChildResult(code=0, stopped=False, late=False), TimeBudget(None))


# --- sdists --------------------------------------------------------------------------------------

SDIST = {
    "demo-1.0/pyproject.toml": plans.HEAD.encode(),
    "demo-1.0/PKG-INFO": wheels.FIELDS,
    "demo-1.0/demo/__init__.py": b"value = 1\n",
}


@lru_cache
def tarred() -> tuple[bytes, ...]:
    """In each of the formats: pax headers, long names of GNU, ustar; with a link."""
    found = []
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
            for name, content in SDIST.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                if kind == tarfile.PAX_FORMAT:
                    info.pax_headers = {"mtime": "1700000000.5", "comment": "x" * 20}
                archive.addfile(info, io.BytesIO(content))
            if kind != tarfile.USTAR_FORMAT:
                long = tarfile.TarInfo("demo-1.0/" + "long/" * 30 + "name")
                archive.addfile(long)
            link = tarfile.TarInfo("demo-1.0/link")
            link.type, link.linkname = tarfile.SYMTYPE, "demo/__init__.py"
            archive.addfile(link)
        found.append(buffer.getvalue())
    return tuple(found)


_TAR_WORDS = (
    *(b"\x00" * 12, b"00000000644\x00", b"7" * 11, b"x", b"g", b"L", b"K", b"S", b"1", b"2", b"5"),
    *(b"../", b"/etc/x", b"\x80" + b"\xff" * 7, b"ustar\x0000", b"ustar  \x00", b"12 path=../x\n"),
    *(b"20 size=99999999999\n", b"30 GNU.sparse.size=9999999999\n", b"-1 ", b"0 x=\n"),
)


def _corrected(chance: Random, content: bytes) -> bytes:
    """Header blocks of a tar archive with the sum that they need to be read at all."""
    changed = bytearray(content)
    for at in range(0, len(changed) - 511, 512):
        block = changed[at : at + 512]
        if block[257:262] == b"ustar" and chance.random() < 0.95:
            total = sum(block[:148]) + sum(block[156:]) + 8 * 32
            changed[at + 148 : at + 156] = b"%06o\x00 " % total
    return bytes(changed)


def bad_tar(chance: Random) -> bytes:
    content = chance.choice(tarred())
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(content) - 20)
        if chance.random() < 0.7:  # within a header
            at = at - at % 512 + chance.choice((0, 20, 100, 108, 124, 136, 156, 157, 257, 345, 386))
        new = mutations.noise(chance, _TAR_WORDS)
        content = content[:at] + new + content[at + len(new) :]
    content = _corrected(chance, content)
    packed = gzip.compress(content, 1)
    return mutated(chance, packed) if chance.random() < 0.2 else packed


def _unpack(content: bytes, folder: Path, name: str) -> None:
    inner = folder / "inner" / "out"
    inner.mkdir(parents=True)
    try:
        unpack_sdist(put(folder, name, content), inner)
    finally:
        assert sorted(path.name for path in folder.iterdir()) == sorted(("inner", name))
        assert [path.name for path in (folder / "inner").iterdir()] == ["out"]


@reader("sdist, tar", bad_tar, 12)
def read_tar(content: bytes, folder: Path) -> None:
    _unpack(content, folder, "demo-1.0.tar.gz")


@lru_cache
def zipped_sdist() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in SDIST.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 2, 29, 12, 30, 0)), content)
        link = zipfile.ZipInfo("demo-1.0/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "demo/__init__.py")
    return buffer.getvalue()


def bad_zip(chance: Random) -> bytes:
    if chance.random() < 0.5:
        return mutated(chance, zipped_sdist(), (b"demo-1.0/", b"../", b"/", b"\xff\xa1"))
    members = list(wheels.parts(SDIST).values())
    for _ in range(chance.randint(1, 2)):
        members[chance.randrange(len(members))] = mutations.changed_part(
            chance, chance.choice(members)
        )
    return wheels.assembled(members)


@reader("sdist, zip", bad_zip, 12)
def read_zip(content: bytes, folder: Path) -> None:
    _unpack(content, folder, "demo-1.0.zip")
