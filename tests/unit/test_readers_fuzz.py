"""Strangers' bytes, for a bounded time: only documented errors come out of the readers.

Other examples are tried in every run. What a run finds is kept by hypothesis and printed as bytes;
it belongs into the tests of the reader that let it through.
"""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polywheel.cli import show
from polywheel.errors import WheelError
from polywheel.formats.metadata import parse_metadata, read_variant_fields
from polywheel.formats.variant_json import read_faulty_variant_json, read_variant_json
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.dist_info import find_dist_info, read_dist_info
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel
from polywheel.wheel.record import parse_record
from support.mutations import DOCUMENT, HEADERS, STAMPED, bad_archive, misshapen, mutated
from support.wheels import FIELDS, INFO, LABELLED, extents

LIMIT = 1024 * 1024
MEMORY = 40 * 1024 * 1024
"""Bytes, for inputs of a few kilobytes."""

bounded = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""A few seconds for each test; never the same examples in each run, as they are not derandomized."""

chances = st.randoms(use_true_random=False)
archives = chances.map(bad_archive)


def mutations(original: bytes) -> st.SearchStrategy[bytes]:
    return chances.map(lambda chance: mutated(chance, original))


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
            extents(archive)
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
    seen: list[InspectedWheel] = []
    documented(lambda: seen.append(inspect_wheel(path, hashes=True)))
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
    mutations(STAMPED[f"{INFO}/METADATA"])
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
    mutations(json.dumps(DOCUMENT).encode())
    | mutations(json.dumps(DOCUMENT, indent=1).encode())
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
@given(chances.map(misshapen))
def test_variant_json_of_other_shapes(document: object) -> None:
    documented(lambda: read_variant_json(json.dumps(document).encode(), at="demo"))


@bounded
@given(
    mutations(STAMPED[f"{INFO}/RECORD"])
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
    st.one_of(st.text(max_size=40), mutations(LABELLED.encode()).map(lambda b: b.decode("latin-1")))
)
def test_names_of_files(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A name is refused, or there is no such file."""
    folder = tmp_path_factory.getbasetemp() / "demo-nowhere"
    name = name.translate({ord("/"): "-", 0: "-"})
    with pytest.raises(WheelError):
        inspect_wheel(folder / f"{name}.whl")
