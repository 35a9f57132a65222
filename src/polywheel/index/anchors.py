"""The anchors of an HTML page, read in time that grows with its length and no faster.

The standard library's ``html.parser`` looks through the rest of the page at every comment or tag that is
not closed, and raises AssertionError for some declarations. A page of PEP 503 is anchors; nothing else of
HTML matters here than where a tag ends, which is as the HTML standard has it ("Tokenization").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

MAX_PARTS = 4_000_000
"""Tags, comments, and attributes of one page: the longest pages of PyPI have a fifth of it."""
_MAX_VALUE = 16 * 1024
"""Characters of an attribute; one that is longer is as good as absent."""

_SPACES = re.compile(r"[ \t\n\f\r/]*")
_NAME = re.compile(r"=?[^ \t\n\f\r/>=]*")
_EQUALS = re.compile(r"[ \t\n\f\r]*=[ \t\n\f\r]*")
_UNQUOTED = re.compile(r"[^ \t\n\f\r>]*")
_TAG = re.compile(r"(/?)([a-zA-Z][^ \t\n\f\r/>]*)")
_SIMPLE_END = re.compile(r"[^\"'<>]*>")
"""The rest of a tag in which nothing is quoted."""

_TEXT_ONLY = frozenset(
    {"iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"}
)
"""Elements in which no tag begins but the one that closes them."""
_COMMENT_END = re.compile(r"--!?>")

Attributes = Mapping[str, str]


class TooLongError(Exception):
    """The page has more tags and attributes than one that is meant for installers."""


def tags(page: str, names: frozenset[str]) -> Iterator[tuple[str, Attributes]]:
    """The start tags with these names, in lower case, and their attributes.

    Of an attribute that is given twice the first counts. What is not closed at the end of the page
    is no tag. Raises TooLongError.
    """
    position, left = 0, MAX_PARTS
    while position := page.find("<", position) + 1:
        left -= 1
        if left < 0:
            raise TooLongError
        tag = _TAG.match(page, position)
        if tag is None:
            position = _after_other(page, position)
            continue
        closing, name = tag[1], tag[2].lower()
        wanted = not closing and name in names
        simple = None if wanted else _SIMPLE_END.match(page, tag.end())
        if simple is not None:
            position = simple.end()
        else:
            attributes, position, left = _attributes(page, tag.end(), left)
            if wanted and position:
                yield name, attributes
        if not closing and name in _TEXT_ONLY and position:
            position = _after_text(page, position, name)
        if not position:
            return


def _after_other(page: str, position: int) -> int:
    """Where a comment, a declaration, or a single ``<`` ends; the end of the page where it doesn't."""
    if page.startswith("!--", position):
        # <!--> and <!---> are whole comments.
        end = _COMMENT_END.search(page, position + 1)
        return end.end() if end else len(page)
    if page.startswith(("!", "?", "/"), position):
        end_at = page.find(">", position)
        return end_at + 1 if end_at >= 0 else len(page)
    return position


def _attributes(page: str, position: int, left: int) -> tuple[Attributes, int, int]:
    """The attributes of a tag; where it ends, 0 where the page ends before; and what is left.

    ``left`` is how many there may be. Raises TooLongError.
    """
    found: dict[str, str] = {}
    size = len(page)
    while True:
        position = _end(_SPACES, page, position)
        if position >= size:
            return {}, 0, left
        if page[position] == ">":
            return found, position + 1, left
        left -= 1
        if left < 0:
            raise TooLongError
        after = _end(_NAME, page, position)
        name = page[position : min(after, position + _MAX_VALUE)].lower()
        position, value = after, ""
        equals = _EQUALS.match(page, position)
        if equals is not None:
            position = equals.end()
            quote = page[position : position + 1]
            if quote in {'"', "'"}:
                after = page.find(quote, position + 1)
                if after < 0:
                    return {}, 0, left
                value, position = page[position + 1 : after], after + 1
            else:
                after = _end(_UNQUOTED, page, position)
                value, position = page[position:after], after
        if len(value) <= _MAX_VALUE:
            found.setdefault(name, value)


def _end(pattern: re.Pattern[str], page: str, position: int) -> int:
    match = pattern.match(page, position)
    return match.end() if match else position


def _after_text(page: str, position: int, name: str) -> int:
    """Where the end tag of an element that holds text alone begins; 0 where there is none."""
    end = re.compile(rf"</{name}[ \t\n\f\r/>]", re.IGNORECASE).search(page, position)
    return end.start() if end else 0
