"""``write_index``: written files, removed files, and files that stay."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from polywheel.cli.index import run
from polywheel.errors import ConfigError, WheelError
from polywheel.index.write.index import IndexResult, write_index
from polywheel.index.write.output import MANIFEST, OutputFolder
from polywheel.model.variant import Provider
from support.index_wheels import MKL, PROVIDERS, V1, V2, declared, listing, variant, write_wheel
from support.wheels import assembled, files_of, parts, wheel_files, with_record, zipped

PAGES = [
    "simple/demo/index.html",
    "simple/demo/index.json",
    "simple/index.html",
    "simple/index.json",
]
VARIANTS = "demo-1.0-variants.json"
PLAIN = "demo-1.0-py3-none-any.whl"


class Page(HTMLParser):
    """The anchors of a page with their attributes, and the cells of its tables as text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.depth: list[str] = []
        self.feed(text)
        assert not self.depth

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"meta", "br"}:
            return
        self.depth.append(tag)
        if tag == "a":
            self.anchors.append(("", {name: value or "" for name, value in attrs}))
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag

    def handle_data(self, data: str) -> None:
        if "a" in self.depth:
            text, attributes = self.anchors.pop()
            self.anchors.append((text + data, attributes))
        if {"th", "td"} & set(self.depth):
            self.rows[-1][-1] += data


def page(out: Path, project: str = "demo") -> Page:
    return Page((out / "simple" / project / "index.html").read_text(encoding="utf-8"))


def project_json(out: Path, project: str = "demo") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "simple" / project / "index.json").read_bytes())
    return found


def index(folder: Path, out: Path | None = None, *, simple: bool = False) -> IndexResult:
    said: list[str] = []
    return write_index(folder, out or folder, simple=simple, notify=said.append)


def good(folder: Path, out: Path | None = None, *, simple: bool = False) -> IndexResult:
    done = index(folder, out, simple=simple)
    assert done.problems == ()
    assert done.withheld == ()
    return done


def told(done: IndexResult) -> str:
    return "\n".join(problem.render() for problem in done.problems)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    for tag in ("cp39-cp39-linux_x86_64", "cp310-cp310-linux_x86_64"):
        write_wheel(folder, variant("one", V1), tag=tag, headers="Requires-Python: >=3.9, <4\n")
        write_wheel(folder, variant("two", V2, MKL), tag=tag)
    write_wheel(folder, variant("null"))
    write_wheel(folder)
    (folder / "demo-1.0.tar.gz").write_bytes(b"an sdist")
    return folder


def test_without_simple_only_the_metadata_are_written(dist: Path) -> None:
    good(dist)
    assert listing(dist) == [VARIANTS, "demo-1.0.tar.gz"]
    assert list(json.loads((dist / VARIANTS).read_bytes())["variants"]) == ["null", "one", "two"]


def test_every_link_of_both_pages_leads_to_a_file_with_its_hash(dist: Path) -> None:
    good(dist, simple=True)
    metadata = [f"{path.name}.metadata" for path in dist.glob("*.whl")]
    assert listing(dist) == sorted([VARIANTS, "demo-1.0.tar.gz", *metadata, *PAGES])
    linked = {}
    for text, attributes in page(dist).anchors:
        url, fragment = urldefrag(urljoin("http://host/simple/demo/", attributes["href"]))
        path = dist / unquote(url.removeprefix("http://host/"))
        assert path.name == text
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert fragment == f"sha256={digest}"
        linked[text] = attributes
        if text.endswith(".whl"):
            core = path.with_name(f"{text}.metadata").read_bytes()
            with zipfile.ZipFile(path) as archive:
                assert archive.read("demo-1.0.dist-info/METADATA") == core
            expected = f"sha256={hashlib.sha256(core).hexdigest()}"
            assert attributes["data-core-metadata"] == expected
            assert attributes["data-dist-info-metadata"] == expected
    assert sorted(linked) == sorted(
        [VARIANTS, "demo-1.0.tar.gz", *(one.name for one in dist.glob("*.whl"))]
    )
    document = project_json(dist)
    assert document["meta"] == {"api-version": "1.1"}
    assert document["name"] == "demo"
    assert document["versions"] == ["1.0"]
    for file in document["files"]:
        attributes = linked.pop(file["filename"])
        assert file["url"] == urldefrag(attributes["href"])[0]
        assert file["size"] == (dist / file["filename"]).stat().st_size
        assert attributes["href"].endswith(f"#sha256={file['hashes']['sha256']}")
        assert file.get("requires-python") == attributes.get("data-requires-python")
        core = file.get("core-metadata", {}).get("sha256")
        assert attributes.get("data-core-metadata") == (core and f"sha256={core}")
    assert not linked
    assert project_json(dist, ".") == {
        "meta": {"api-version": "1.1"},
        "projects": [{"name": "demo"}],
    }
    root = Page((dist / "simple" / "index.html").read_text(encoding="utf-8"))
    assert root.anchors == [("demo", {"href": "demo/"})]


def test_requires_python_is_escaped_and_nonsense_left_out(tmp_path: Path) -> None:
    write_wheel(tmp_path, headers="Requires-Python: >=3.9,<4\n")
    write_wheel(tmp_path, version="2.0", headers='Requires-Python: "><script>\n')
    good(tmp_path, simple=True)
    text = (tmp_path / "simple" / "demo" / "index.html").read_text(encoding="utf-8")
    assert 'data-requires-python="&gt;=3.9,&lt;4"' in text
    assert "<script" not in text
    asked = [attributes.get("data-requires-python") for _, attributes in page(tmp_path).anchors]
    assert asked == [None, ">=3.9,<4"]


def test_the_page_is_a_table_of_variants_by_python_and_platform(dist: Path) -> None:
    good(dist, simple=True)
    pythons, platforms, *rows = page(dist).rows
    assert pythons == ["Variant", "py3-none", "cp39-cp39", "cp310-cp310"]
    assert platforms == ["any", "linux_x86_64", "linux_x86_64"]
    heads = [row[0] for row in rows]
    assert heads == [f"one{V1}", f"two{MKL}{V2}", "null", "no variant"]
    assert rows[0][1] == "—"
    assert rows[0][2].startswith("demo-1.0-cp39-cp39-linux_x86_64-one.whl")
    assert rows[0][2].endswith(" kB")
    assert rows[3][1].startswith(PLAIN)


def test_releases_stand_newest_first_and_versions_in_order(tmp_path: Path) -> None:
    for version in ("1.9", "1.10", "1.10rc1"):
        write_wheel(tmp_path, version=version)
    good(tmp_path, simple=True)
    assert project_json(tmp_path)["versions"] == ["1.9", "1.10rc1", "1.10"]
    names = [text.split("-")[1] for text, _ in page(tmp_path).anchors]
    assert names == ["1.10", "1.10rc1", "1.9"]


def test_names_are_normalized_and_versions_that_are_equal_are_one_release(tmp_path: Path) -> None:
    write_wheel(tmp_path, variant("one", V1), name="My.Demo")
    write_wheel(tmp_path, variant("two", V2), name="my_demo", version="1.0.0")
    (release,) = good(tmp_path, simple=True).published
    assert str(release) == "my-demo 1.0"
    assert (tmp_path / "my_demo-1.0-variants.json").exists()
    assert len(page(tmp_path, "my-demo").anchors) == 3


def test_a_version_with_marks_of_urls_is_quoted(tmp_path: Path) -> None:
    write_wheel(tmp_path, variant("one", V1), version="1!2.0+cu12.8")
    good(tmp_path, simple=True)
    hrefs = [attributes["href"] for _, attributes in page(tmp_path).anchors]
    assert [urldefrag(href)[0] for href in hrefs] == [
        "../../demo-1%212.0%2Bcu12.8-py3-none-any-one.whl",
        "../../demo-1%212.0%2Bcu12.8-variants.json",
    ]


def test_a_second_run_writes_nothing(dist: Path) -> None:
    good(dist, simple=True)
    before = {path: path.stat().st_mtime_ns for path in dist.rglob("*") if path.is_file()}
    assert good(dist, simple=True).removed == ()
    assert {path: path.stat().st_mtime_ns for path in dist.rglob("*") if path.is_file()} == before


def test_the_bytes_do_not_depend_on_the_order_of_the_folder(tmp_path: Path) -> None:
    made = [variant("one", V1), variant("two", V2, MKL), variant("null")]
    first, second = tmp_path / "first", tmp_path / "second"
    for what in made:
        write_wheel(first, what)
    for what in reversed(made):
        write_wheel(second, what)
    good(first)
    good(second)
    assert (first / VARIANTS).read_bytes() == (second / VARIANTS).read_bytes()


def test_what_is_stale_vanishes(dist: Path) -> None:
    write_wheel(dist, variant("one", V1), name="gone")
    good(dist, simple=True)
    (dist / "gone-1.0-py3-none-any-one.whl").unlink()
    assert good(dist, simple=True).removed == (
        "gone-1.0-py3-none-any-one.whl.metadata",
        "gone-1.0-variants.json",
        "simple/gone/index.html",
        "simple/gone/index.json",
    )
    assert not (dist / "simple" / "gone").exists()
    for path in dist.glob("*.whl"):
        path.unlink()
    (dist / "demo-1.0.tar.gz").unlink()
    good(dist, simple=True)
    assert listing(dist) == ["simple/index.html", "simple/index.json"]


def test_metadata_of_a_release_that_lost_its_variants_vanish(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, variant("one", V1))
    write_wheel(tmp_path)
    good(tmp_path)
    wheel.unlink()
    assert good(tmp_path).removed == (VARIANTS,)


def test_what_a_user_wrote_stays(dist: Path) -> None:
    write_wheel(dist, variant("one", V1), name="gone")
    good(dist, simple=True)
    (dist / "gone-1.0-py3-none-any-one.whl").unlink()
    mine = dist / "simple" / "gone" / "notes.txt"
    mine.write_text("mine", encoding="utf-8")
    (dist / "gone-1.0-variants.json").write_text("changed", encoding="utf-8")
    (dist / "other-1.0-variants.json").write_text("mine", encoding="utf-8")
    said: list[str] = []
    write_index(dist, dist, simple=True, notify=said.append)
    assert said == ["gone-1.0-variants.json is stale, but not removed, because it was changed"]
    assert mine.exists()
    assert (dist / "gone-1.0-variants.json").read_text(encoding="utf-8") == "changed"
    assert (dist / "other-1.0-variants.json").read_text(encoding="utf-8") == "mine"


def test_a_list_of_what_was_written_that_lies_removes_nothing_else(tmp_path: Path) -> None:
    """Whoever wrote it: nothing outside of the folder, no wheel in it, nothing of another kind."""
    dist = tmp_path / "dist"
    victims = [tmp_path / "outside-1.0-variants.json", dist / "notes.txt", dist / PLAIN]
    write_wheel(dist, variant("one", V1))
    write_wheel(dist)
    plain = (dist / PLAIN).read_bytes()
    for victim in victims:
        victim.write_bytes(plain)
    digest = hashlib.sha256(plain).hexdigest()
    names = ["../outside-1.0-variants.json", str(victims[0]), "notes.txt", PLAIN]
    files = dict.fromkeys(names, digest)
    (dist / MANIFEST).write_text(json.dumps({"shape": 1, "files": files}), encoding="utf-8")
    good(dist)
    (dist / PLAIN).rename(tmp_path / PLAIN)
    good(dist)
    assert all(victim.exists() for victim in victims[:2])
    assert sorted(json.loads((dist / MANIFEST).read_bytes())["files"]) == [VARIANTS]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"shape": 7}', b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "list", "other shape", "not text", "deep"],
)
def test_a_list_of_what_was_written_that_is_broken_is_a_problem(
    content: bytes, tmp_path: Path
) -> None:
    write_wheel(tmp_path, variant("one", V1))
    (tmp_path / MANIFEST).write_bytes(content)
    assert "the list of files of earlier runs can't be read" in told(index(tmp_path))
    assert (tmp_path / VARIANTS).exists()
    good(tmp_path)


def test_a_run_without_simple_leaves_the_tree_and_says_so(dist: Path) -> None:
    good(dist, simple=True)
    write_wheel(dist, version="2.0")
    said: list[str] = []
    done = write_index(dist, dist, simple=False, notify=said.append)
    assert done.removed == ()
    assert said == ["simple/ is from an earlier run; update it with --simple"]
    assert set(PAGES) < set(listing(dist))
    (dist / "demo-2.0-py3-none-any.whl").unlink()
    (dist / PLAIN).unlink()
    assert good(dist, simple=True).removed == (f"{PLAIN}.metadata",)


def test_another_folder_can_be_served_alone(dist: Path, tmp_path: Path) -> None:
    out = tmp_path / "public" / "packages"
    good(dist, out, simple=True)
    assert listing(dist) == ["demo-1.0.tar.gz"]
    for _, attributes in page(out).anchors:
        path = out / "simple" / "demo" / unquote(urldefrag(attributes["href"])[0])
        assert path.resolve().is_relative_to(out.resolve())
        assert path.is_file()
    assert (out / PLAIN).samefile(dist / PLAIN)
    (dist / PLAIN).unlink()
    assert good(dist, out, simple=True).removed == (PLAIN, f"{PLAIN}.metadata")
    assert not (out / PLAIN).exists()


def test_another_folder_gets_metadata_alone_without_simple(dist: Path, tmp_path: Path) -> None:
    good(dist, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name != MANIFEST] == [
        VARIANTS
    ]
    assert listing(dist) == ["demo-1.0.tar.gz"]


def test_where_nothing_can_be_linked_wheels_are_copied(
    dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    out = tmp_path / "out"
    good(dist, out, simple=True)
    assert (out / PLAIN).read_bytes() == (dist / PLAIN).read_bytes()
    assert not (out / PLAIN).samefile(dist / PLAIN)
    write_wheel(dist, headers="Summary: new\n")
    good(dist, out, simple=True)
    assert (out / PLAIN).read_bytes() == (dist / PLAIN).read_bytes()


@pytest.mark.parametrize("last", ["place_file", "finish"])
def test_what_a_run_that_was_killed_put_there_is_stale_later(
    last: str, dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    mine = write_wheel(out, variant("mine", V1), name="mine")
    with monkeypatch.context() as kills:
        original = getattr(OutputFolder, last)

        def killed(*arguments: Any, **options: Any) -> None:
            if last == "place_file":
                original(*arguments, **options)
            raise KeyboardInterrupt

        kills.setattr(OutputFolder, last, killed)
        with pytest.raises(KeyboardInterrupt):
            index(dist, out, simple=True)
    taken = {path.name for path in out.glob("*.whl")} - {mine.name}
    assert taken
    for name in taken:
        (dist / name).unlink()
    write_wheel(dist, None, name="other")
    assert taken <= set(good(dist, out, simple=True).removed)
    assert {path.name for path in out.glob("*.whl")} == {
        mine.name,
        *(path.name for path in dist.glob("*.whl")),
    }


def test_another_wheel_of_that_name_is_not_written_over(dist: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / PLAIN).write_bytes(b"mine")
    done = index(dist, out, simple=True)
    assert f"{PLAIN} already exists with other content" in told(done)
    assert (out / PLAIN).read_bytes() == b"mine"
    assert not (out / VARIANTS).exists()


def test_indexing_the_output_of_an_earlier_run_keeps_its_wheels(dist: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good(dist, out, simple=True)
    (dist / PLAIN).unlink()
    good(out, simple=True)
    assert (out / PLAIN).exists()
    assert PLAIN in {text for text, _ in page(out).anchors}


# Wheels that are not published.


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def bomb(path: Path) -> None:
    """METADATA of a gigabyte, in some bytes."""
    members = parts(wheel_files())
    name = "demo-1.0.dist-info/METADATA"
    members[name] = type(members[name])(name=name, content=b"\0" * 1_000_000, size=1_000_000_000)
    path.write_bytes(assembled(list(members.values())))


def unrecorded(path: Path) -> None:
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("demo/more.py", "")
    path.write_bytes(content.getvalue())


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, "not a zip archive, or it is cut short"),
    "empty": (lambda path: path.write_bytes(b""), "not a zip archive"),
    "other": (lambda path: path.write_bytes(zipped({"a": b""})), "no .dist-info folder"),
    "folder": (folder, "is not a file"),
    "link": (link_to_itself, "is not a file"),
}
BAD_INSIDE: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb": (bomb, "over the limit of"),
    "RECORD": (unrecorded, "RECORD does not list 'demo/more.py'"),
}
"""What metadata of variants are not about: found where a tree is written."""


@pytest.mark.parametrize(
    ("kind", "simple"),
    [
        *((kind, simple) for kind in BAD for simple in (False, True)),
        *((kind, True) for kind in BAD_INSIDE),
    ],
)
def test_a_wheel_that_cannot_be_read_withholds_its_release_alone(
    kind: str, simple: bool, tmp_path: Path
) -> None:
    change, why = (BAD | BAD_INSIDE)[kind]
    write_wheel(tmp_path, variant("one", V1))
    change(write_wheel(tmp_path))
    write_wheel(tmp_path, variant("one", V1), version="2.0")
    write_wheel(tmp_path, variant("one", V1), name="other")
    done = index(tmp_path, simple=simple)
    assert why in told(done)
    assert PLAIN in told(done)
    assert [str(one) for one in done.withheld] == ["demo 1.0"]
    assert [str(one) for one in done.published] == ["demo 2.0", "other 1.0"]
    names = {name for name in listing(tmp_path) if name.endswith("-variants.json")}
    assert names == {"demo-2.0-variants.json", "other-1.0-variants.json"}
    if simple:
        assert project_json(tmp_path)["versions"] == ["2.0"]


WHEEL_FILE, RECORD_FILE = "demo-1.0.dist-info/WHEEL", "demo-1.0.dist-info/RECORD"
ALIKE: dict[str, tuple[str, tuple[bytes, bytes], str]] = {
    "tags": (WHEEL_FILE, (b"cp311-cp311", b"cp312-cp312"), "WHEEL lists the tags"),
    "more tags": (WHEEL_FILE, (b"\nTag", b"\nTag: a-b-c\nTag"), "WHEEL lists the tags a-b-c"),
    "header": (WHEEL_FILE, (b"\nTag", b"\ntag: a-b-c\nTag"), "WHEEL lists the tags a-b-c"),
    "body": (WHEEL_FILE, (b"\nTag", b"\nTag: a-b-c\n\nTag"), "WHEEL lists the tags a-b-c"),
    "hash of WHEEL": (RECORD_FILE, (b"WHEEL,sha256=", b"WHEEL,sha256=A"), "RECORD gives"),
    "kind of hash": (RECORD_FILE, (b"WHEEL,sha256=", b"WHEEL,md5="), "RECORD gives"),
    "size": (RECORD_FILE, (b"demo.py,sha256=", b"demo.py,,7\nother.py,"), "RECORD gives"),
    "row": (RECORD_FILE, (b"demo.py,", b"other.py,"), "RECORD does not list 'demo.py'"),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_a_tree_has_no_wheel_whose_parts_disagree(kind: str, tmp_path: Path) -> None:
    """METADATA and variant.json are those of a good wheel; what is wrong is elsewhere."""
    name, (old, new), why = ALIKE[kind]
    write_wheel(tmp_path, variant("one", V1), tag="cp310-cp310-any")
    good(tmp_path, simple=True)
    path = write_wheel(tmp_path, variant("one", V1), tag="cp311-cp311-any")
    good(tmp_path, simple=True)
    files = files_of(path.read_bytes())
    assert old in files[name]
    files[name] = files[name].replace(old, new)
    if name == WHEEL_FILE:
        del files[RECORD_FILE]
        files = with_record(files)
    path.write_bytes(zipped(files))
    said = told(index(tmp_path, simple=True))
    assert why in said
    assert str(path) in said


DOCUMENTS = {
    "not JSON": (b"variants = 1", "variant metadata is not JSON"),
    "not text": (b"\xff\xfe", "variant metadata is not JSON"),
    "huge": (b'{"a": "' + b" " * (17 * 1024 * 1024) + b'"}', "over the limit of"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "a list": (b"[]", "expected a table, found a list"),
    "no variants": (
        b'{"default-priorities": {"namespace": ["a"]}}',
        "expected a table of variants",
    ),
    "escape": (
        b'{"default-priorities": {"namespace": ["../a"]}, "variants": {"one": {}}}',
        "malformed name '../a'",
    ),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_variant_json_that_cannot_be_read_is_told(kind: str, tmp_path: Path) -> None:
    document, why = DOCUMENTS[kind]
    path = write_wheel(tmp_path, variant("one", V1), document=document)
    write_wheel(tmp_path, variant("two", V2))
    done = index(tmp_path)
    assert why in told(done)
    assert path.name in told(done)
    assert listing(tmp_path) == []


def test_a_label_that_is_not_the_stamped_one_is_told(tmp_path: Path) -> None:
    write_wheel(tmp_path, variant("one", V1), filename="demo-1.0-py3-none-any-two.whl")
    write_wheel(tmp_path, variant("one", V1), version="2.0", filename="demo-2.0-py3-none-any.whl")
    write_wheel(tmp_path, version="3.0", filename="demo-3.0-py3-none-any-one.whl")
    said = told(index(tmp_path, simple=True))
    assert "the filename has the label 'two', variant.json has the label 'one'" in said
    assert "the filename has no label, METADATA and variant.json the variant 'one'" in said
    assert "the filename has the label 'one', neither METADATA nor variant.json has" in said
    assert not (tmp_path / "simple" / "demo").exists()


def test_wheels_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    first = write_wheel(tmp_path, variant("one", V1), tag="cp311-cp311-any")
    second = write_wheel(tmp_path, variant("one", V2), tag="cp312-cp312-any")
    other = declared(
        providers=PROVIDERS | {"x86_64": Provider(namespace="x86_64", requires=("a",))}
    )
    third = write_wheel(tmp_path, variant("two", V2), metadata=other)
    done = index(tmp_path)
    assert "the label 'one' stands for different properties" in told(done)
    assert "the providers of 'x86_64' are not equal" in told(done)
    assert all(path.name in told(done) for path in (first, second, third))
    assert listing(tmp_path) == []


def test_what_an_earlier_run_wrote_of_a_release_stays(dist: Path) -> None:
    good(dist, simple=True)
    before = {name: (dist / name).read_bytes() for name in listing(dist)}
    write_wheel(dist, variant("one", V2), tag="cp311-cp311-linux_x86_64")
    done = index(dist, simple=True)
    assert [str(one) for one in done.withheld] == ["demo 1.0"]
    assert {name: (dist / name).read_bytes() for name in listing(dist)} == before
    write_wheel(dist, variant("one", V1), version="2.0")
    index(dist, simple=True)
    assert project_json(dist)["versions"] == ["1.0", "2.0"]
    assert (dist / VARIANTS).read_bytes() == before[VARIANTS]
    rows = [row[0] for row in page(dist).rows]
    assert f"two{MKL}{V2}" in rows  # the properties are still told
    (dist / "demo-1.0-cp311-cp311-linux_x86_64-one.whl").unlink()
    good(dist, simple=True)


NAMES = {
    "demo.whl": "too few or too many components",
    "a..-1.0-py3-none-any.whl": "'a..' is not a valid project name",
    "demo-..-py3-none-any.whl": "'..' is not a version",
    "demo-1.0-py3-none-a;b.whl": "'a;b' is not a valid tag",
    "dem\N{LATIN SMALL LETTER SHARP S}-1.0-py3-none-any.whl": "is not a valid project name",
    "demo-1.0-py3-none-any-UPPER.whl": "the variant label 'UPPER'",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_index_can_have_is_told_and_the_rest_written(
    name: str, tmp_path: Path
) -> None:
    dist = tmp_path / "dist"
    write_wheel(dist, variant("one", V1))
    write_wheel(dist, filename=name)
    done = index(dist, simple=True)
    assert NAMES[name] in told(done)
    assert (dist / VARIANTS).exists()
    assert project_json(dist, ".")["projects"] == [{"name": "demo"}]
    assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_archives_that_are_no_sdists_are_no_business_of_an_index(tmp_path: Path) -> None:
    write_wheel(tmp_path)
    for name in ("backup.zip", "a b-1.0.tar.gz", "demo-latest.tar.gz", ".hidden-1.0.tar.gz"):
        (tmp_path / name).write_bytes(b"")
    good(tmp_path, simple=True)
    assert [text for text, _ in page(tmp_path).anchors] == [PLAIN]


def test_wheels_of_early_2025_have_their_data_in_metadata_alone(tmp_path: Path) -> None:
    known = declared("x86_64")
    write_wheel(tmp_path, variant("one", V1), metadata=known, document=b"")
    write_wheel(tmp_path, variant("two", V2), metadata=known, fields=False)
    # The older form names the plugin even where it is the one that follows from the requirement.
    assert "the providers of 'x86_64' are not equal" in told(index(tmp_path))
    (tmp_path / "demo-1.0-py3-none-any-two.whl").unlink()
    good(tmp_path)
    assert list(json.loads((tmp_path / VARIANTS).read_bytes())["variants"]) == ["one"]


def test_of_many_wheels_the_bad_one_is_told(tmp_path: Path) -> None:
    for number in range(120):
        for label, prop in (("one", V1), ("two", V2)):
            write_wheel(tmp_path, variant(label, prop), name=f"demo{number}")
    truncated(tmp_path / "demo7-1.0-py3-none-any-one.whl")
    done = index(tmp_path, simple=True)
    assert "demo7-1.0-py3-none-any-one.whl" in told(done)
    assert [str(one) for one in done.withheld] == ["demo7 1.0"]
    assert len(done.published) == 119
    assert all(len(page(tmp_path, f"demo{number}").anchors) == 3 for number in (0, 119))


@pytest.mark.parametrize("simple", [False, True])
def test_a_folder_that_cannot_be_written_is_one_error(simple: bool, dist: Path) -> None:
    out = dist.parent / "file"
    out.write_text("", encoding="utf-8")
    with pytest.raises(WheelError, match="can't be written"):
        index(dist, out, simple=simple)
    with pytest.raises(WheelError, match="can't be written"):
        index(dist, out / "below", simple=simple)


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing_half(dist: Path) -> None:
    (dist / "simple").write_text("a file of this name", encoding="utf-8")
    with pytest.raises(WheelError, match=r"simple/demo/index.json can't be written"):
        index(dist, simple=True)
    assert not list(dist.glob(".polywheel-*.part"))


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_wheels_is_a_mistake(there: bool, tmp_path: Path) -> None:
    nowhere = tmp_path / "dist"
    if there:
        nowhere.mkdir()
    with pytest.raises(ConfigError):
        index(nowhere, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_files_have_the_mode_of_the_umask(dist: Path) -> None:
    """Those of tempfile are for their owner alone: a file server could not read them."""
    before = os.umask(0o022)
    try:
        good(dist, simple=True)
    finally:
        os.umask(before)
    assert (dist / VARIANTS).stat().st_mode & 0o777 == 0o644
    assert (dist / PAGES[0]).stat().st_mode & 0o777 == 0o644


# The command.


def test_the_command_says_what_became_of_each_release(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(dist)]) == 0
    said = capsys.readouterr()
    assert said.out == (
        "demo 1.0: 3 variants in 5 wheels, 1 non-variant wheel, 1 sdist → demo-1.0-variants.json\n"
    )
    truncated(write_wheel(dist, version="2.0"))
    (dist / "demo.whl").write_bytes(b"")
    assert run([str(dist), "--json"]) == 4
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert [(one["version"], one["published"]) for one in document["releases"]] == [
        ("1.0", True),
        ("2.0", False),
    ]
    assert document["releases"][0]["variants"] == ["null", "one", "two"]
    assert len(document["problems"]) == 2
    assert said.err.count("error: ") == 2
    assert "demo 2.0 was not written; the files of an earlier run stay unchanged" in said.err
