"""The anchors of HTML pages, as a browser finds them, in bounded time."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.index.resolve import web
from polywheel.index.resolve.web import (
    JSON,
    Link,
    Page,
    TooLongError,
    read_project_page,
    start_tags,
)

ADDRESS = "https://example.org/simple/demo/"


def found(page: str) -> list[dict[str, str]]:
    return [
        dict(attributes) for name, attributes in start_tags(page, frozenset({"a"})) if name == "a"
    ]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<a href=x>", [{"href": "x"}]),
        ("<A HREF = 'x y' Title>", [{"href": "x y", "title": ""}]),
        ('<a href="a>b" data-yanked>', [{"href": "a>b", "data-yanked": ""}]),
        ("<a\nhref='x'\n/>", [{"href": "x"}]),
        ("<a href=x href=y>", [{"href": "x"}]),
        ("<a/href=x>", [{"href": "x"}]),
        ("<a =x>", [{"=x": ""}]),
        ("<abbr href=x><area href=y>", []),
        ("</a href=x>", []),
        ("< a href=x>", []),
        ("<a href=x", []),
        ("<a href='x>", []),
        ("<!-- <a href=x> --><a href=y>", [{"href": "y"}]),
        ("<!--><a href=y>", [{"href": "y"}]),
        ("<!---><a href=y>", [{"href": "y"}]),
        ("<!-- --!><a href=y>", [{"href": "y"}]),
        ("<!-- <a href=x>", []),
        ("<!DOCTYPE html><a href=y>", [{"href": "y"}]),
        ("<![if x]><a href=y><![endif]>", [{"href": "y"}]),
        ("<![<a href=x>", []),
        ("<?php <a href=x>", []),
        ("<script><a href=x></script ><a href=y>", [{"href": "y"}]),
        ("<STYLE><a href=x></style/><a href=y>", [{"href": "y"}]),
        ("<title><a href=x>", []),
        ("<b class='<a href=x>'><a href=y>", [{"href": "y"}]),
        ("a < b <a href=y>", [{"href": "y"}]),
    ],
)
def test_what_is_an_anchor(page: str, expected: list[dict[str, str]]) -> None:
    assert found(page) == expected


class Standard(HTMLParser):
    """What the standard library finds."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[dict[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append({name: value or "" for name, value in reversed(attrs)})


VALUES = st.text("abcAB/.-_=#%<>' ", max_size=12)
ANCHORS = st.dictionaries(st.sampled_from(["href", "data-yanked", "rel"]), VALUES, max_size=3)
PIECES = ANCHORS.map(
    lambda one: "<a " + " ".join(f'{k}="{v}"' for k, v in one.items()) + ">x</a>"
) | st.sampled_from(["<br/>", "<p class='a'>", "text", "<!-- <a href=x> -->", "<!DOCTYPE html>"])


@given(st.lists(PIECES, max_size=6).map("".join))
def test_whole_pages_have_the_anchors_that_the_standard_library_finds(page: str) -> None:
    assert found(page) == Standard(page).found


@given(st.text("<>!-/a =\"'?[]b\n&#;1x", max_size=60) | st.text(max_size=60))
def test_any_text_is_a_page(page: str) -> None:
    for attributes in found(page):
        assert set(map(type, attributes.values())) <= {str}
    links(page.encode("utf-8", errors="surrogatepass"))


def links(content: bytes, kind: str = "text/html") -> list[Link]:
    page = Page(url=ADDRESS, content_type=kind, content=content)
    with mock.patch.object(web, "fetch", return_value=page):
        return read_project_page(ADDRESS)


UNCLOSED = (
    "<!--",
    "<a ",
    "<a\n",
    "<a href='",
    '<a href="',
    "</a",
    "</",
    "<![",
    "<!",
    "<?",
    "<a a=",
)
OTHERS = ("<script>", "<a b='c' ", "<![CDATA[", "<!DOCTYPE ", "<a/", "&#", "<a b", "<!-- a --")


@pytest.mark.parametrize("unit", [*UNCLOSED, *OTHERS])
def test_a_page_takes_time_in_proportion_to_its_length(unit: str) -> None:
    """html.parser took hours for some of these, of a megabyte each."""
    started = time.process_time()
    assert links((unit * (1_000_000 // len(unit))).encode()) == []
    assert time.process_time() - started < 10


def test_an_address_or_a_character_that_is_none_costs_its_link_alone() -> None:
    good = "<a href=demo-1.0-py3-none-any.whl>"
    for bad in (
        "<a href='http://[x/demo-2.0-py3-none-any.whl'>",
        f"<a href='&#{'1' * 5000};'>",
        f"<a href='{'x' * 100_000}'>",
        f"<a href=demo-2.0-py3-none-any.whl data-requires-python='{'>=3,' * 1000}>=4'>",
        "<base href='http://[x/'>",
    ):
        (link,) = links((bad + good).encode())
        assert link.url == f"{ADDRESS}demo-1.0-py3-none-any.whl"
    document = b"""{"meta": {"api-version": "1.0"}, "files": [
        {"filename": "demo-2.0-py3-none-any.whl", "url": "http://[x/"},
        {"filename": "demo-1.0-py3-none-any.whl", "url": "demo-1.0-py3-none-any.whl"}]}"""
    (link,) = links(document, JSON)
    assert link.url == f"{ADDRESS}demo-1.0-py3-none-any.whl"


def test_references_are_resolved_once() -> None:
    (link,) = links(b"<base href='https://h/?a&amp;b/'><a href='x/&amp;amp;-1.whl?a&amp;b'>")
    assert link.url == "https://h/x/&amp;-1.whl?a&b"
    assert link.filename == "&amp;-1.whl"


def test_how_much_a_page_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_LINKS", 3)
    assert len(links(b"<a href=x>" * 3)) == 3
    with pytest.raises(WheelError, match="the page has more than 3 files"):
        links(b"<a href=x>" * 4)
    document = b'{"meta": {"api-version": "1.0"}, "files": [{}, {}, {}, {}]}'
    with pytest.raises(WheelError, match="the page has more than 3 files"):
        links(document, JSON)
    monkeypatch.setattr(web, "MAX_HTML_PARTS", 10)
    for page in (
        "<b>" * 11,
        "<a " + "b " * 11,
        "<b>" * 5 + "<i 'a' b c d e f>",
        "<b>" * 9 + "<i a='",
    ):
        with pytest.raises(TooLongError):
            found(page)
        with pytest.raises(WheelError, match="tags and attributes"):
            links(page.encode())
