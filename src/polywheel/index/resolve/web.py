"""Fetch the page of a project on an index, and read its links.

The simple API as JSON (PEP 691) if the index has it, else as HTML (PEP 503, 592, 629).

HTML pages are read in time that is linear in their length. The standard library's ``html.parser`` searches
the rest of the page for every comment or tag that is not closed, and raises AssertionError for some
declarations. Only anchors matter in a page of PEP 503, and where a tag ends, which follows the HTML
standard ("Tokenization").
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from threading import Thread
from time import monotonic
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from polywheel.errors import ConfigError, PolywheelError, WheelError
from polywheel.system.terminal import one_line

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


def start_tags(page: str, names: frozenset[str]) -> Iterator[tuple[str, Attributes]]:
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
            position = _end_of_declaration(page, position)
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
            position = _end_of_text(page, position, name)
        if not position:
            return


def _end_of_declaration(page: str, position: int) -> int:
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


def _end_of_text(page: str, position: int, name: str) -> int:
    """Where the end tag of an element that holds text alone begins; 0 where there is none."""
    end = re.compile(rf"</{name}[ \t\n\f\r/>]", re.IGNORECASE).search(page, position)
    return end.start() if end else 0


MAX_PAGE = 32 * 1024 * 1024
"""Bytes: the longest pages of PyPI have two thirds of it."""
MAX_LINKS = 250_000
"""Files of one page."""
TIMEOUT = 30.0
"""Seconds without a byte."""
DEADLINE = 300.0
"""Seconds for one answer, however slowly it comes."""
JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SCHEMES = ("http", "https")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_TEXT = 1000
"""Letters of a filename, a specifier, a reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One file as an index lists it, or as it lies in a folder."""

    filename: str
    url: str
    """Absolute; in a folder, the path."""

    sha256: str | None = None
    requires_python: str | None = None
    yanked: str | None = None
    """Why it is (PEP 592), perhaps empty; None where it is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What came of an address."""

    url: str
    """After redirects."""

    content_type: str
    content: bytes


def read_project_page(url: str) -> list[Link]:
    """The files that a project's page lists.

    Raises ConfigError for an address that can't be used or where nothing is, WheelError for an
    answer that can't be read.
    """
    page = fetch(url, limit=MAX_PAGE, accept=ACCEPT)
    try:
        if page.content_type.endswith("json"):
            return list(_json_links(page))
        return list(_html_links(page))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise WheelError(
            "this is no page of the simple API", at=url, hint="give the address of a project's page"
        ) from None


def fetch(url: str, *, limit: int, accept: str = "*/*") -> Page:
    """What lies at an http or https address, at most ``limit`` bytes. Raises as above."""
    _check_url(url)
    answers: list[Page | BaseException] = []

    def ask() -> None:
        try:
            answers.append(_request(url, limit=limit, accept=accept))
        except BaseException as error:  # noqa: BLE001 -- it is raised below
            answers.append(error)

    # A timeout of sockets is one of silence: a server may send a byte now and then for ever. Python
    # does not wait for such a thread when it ends.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    until = monotonic() + DEADLINE
    while asking.is_alive() and monotonic() < until:
        asking.join(0.5)
    if not answers:
        raise _request_failed(url, f"there was no whole answer in {DEADLINE:.0f} seconds")
    (answer,) = answers
    if isinstance(answer, BaseException):
        raise answer from None
    return answer


def _request(url: str, *, limit: int, accept: str) -> Page:
    """As ``fetch``, without a limit of time."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    request = Request(url, headers={"Accept": accept, "User-Agent": "polywheel"})  # noqa: S310 -- checked
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(limit + 1)
            kind = answer.headers.get_content_type()
            found = Page(url=answer.geturl(), content_type=kind, content=content)
    except HTTPError as error:
        error.close()
        raise _request_failed(url, f"{error.code} {error.reason}") from None
    except URLError as error:
        raise _request_failed(url, str(error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _request_failed(url, str(error) or type(error).__name__) from None
    if len(found.content) > limit:
        raise WheelError(f"an answer of more than {limit} bytes", at=url)
    return found


def fetch_file(link: Link, *, limit: int) -> bytes:
    """A linked file, its hash checked where the link has one. Raises as above."""
    content = fetch(link.url, limit=limit).content
    if link.sha256 is not None and hashlib.sha256(content).hexdigest() != link.sha256:
        raise WheelError(
            f"{link.filename} is not the file that the index lists: its SHA-256 is another",
            at=link.url,
        )
    return content


class _Redirects(HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 -- as urllib calls it
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> Request | None:
        _check_url(newurl)
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise ConfigError(f"redirected from https to {newurl}", at=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.username is None
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        shown = re.sub(
            r"//[^/]*@", "//…@", one_line(url, longest=_MAX_TEXT)
        )  # it may be a password
        raise ConfigError(
            f"{shown} can't be fetched",
            hint="expected http:// or https:// and a host, without a user name",
        )


def _request_failed(url: str, why: str) -> PolywheelError:
    return ConfigError(
        f"nothing can be had from there: {one_line(why, longest=_MAX_TEXT)}",
        at=url,
        hint="is the name of the project spelled right? another index: --index-url URL",
    )


def _json_links(page: Page) -> Iterator[Link]:
    document = json.loads(page.content)
    if str(document["meta"]["api-version"]).partition(".")[0] != "1":
        raise ValueError
    _check_count(document["files"], page)
    for entry in document["files"]:
        yanked = entry.get("yanked") or None
        yield from _link(
            page.url,
            entry["url"],
            filename=entry["filename"],
            sha256=entry.get("hashes", {}).get("sha256"),
            requires_python=entry.get("requires-python"),
            yanked="" if yanked is True else yanked,
        )


def _html_links(page: Page) -> Iterator[Link]:
    base = ""
    anchors: list[Mapping[str, str]] = []
    try:
        text = page.content.decode("utf-8", errors="replace")
        for name, attributes in start_tags(text, frozenset({"a", "base"})):
            if name == "a" and "href" in attributes:
                anchors.append(attributes)
                _check_count(anchors, page)
            elif name == "base":
                base = base or attributes.get("href", "")
    except TooLongError:
        raise WheelError(
            f"a page of more than {MAX_PARTS} tags and attributes", at=page.url
        ) from None
    with suppress(ValueError):
        base = html.unescape(base)
    address = _join_url(page.url, base) or page.url
    for anchor in anchors:
        try:
            href, required, yanked = (
                None if (value := anchor.get(key)) is None else html.unescape(value)
                for key in ("href", "data-requires-python", "data-yanked")
            )
            url, _, fragment = (href or "").partition("#")
            filename = unquote(urlsplit(url).path.rpartition("/")[2])
        except ValueError:  # no address, or no character: an installer can't follow it either
            continue
        algorithm, _, digest = fragment.partition("=")
        yield from _link(
            address,
            url,
            filename=filename,
            sha256=digest if algorithm == "sha256" else None,
            requires_python=required,
            yanked=yanked,
        )


def _check_count(entries: Sized, page: Page) -> None:
    if len(entries) > MAX_LINKS:
        raise WheelError(f"a page of more than {MAX_LINKS} files", at=page.url)


def _join_url(base: str, url: str) -> str | None:
    """An absolute address; None for what is none."""
    try:
        return urljoin(base, url)
    except ValueError:
        return None


def _link(
    base: str,
    url: str,
    *,
    filename: str,
    sha256: str | None,
    requires_python: str | None,
    yanked: str | None,
) -> Iterator[Link]:
    """The link, if it is one that an installer could follow."""
    texts = (filename, url, requires_python or "", yanked or "", sha256 or "")
    if any(not isinstance(text, str) for text in texts):
        raise TypeError
    absolute = _join_url(base, url)
    if absolute is None or len(requires_python or "") > _MAX_TEXT:
        return
    if not filename or len(filename) > _MAX_TEXT or not filename.isprintable():
        return
    yield Link(
        filename=filename,
        url=absolute,
        sha256=sha256.lower() if sha256 and _SHA256.fullmatch(sha256.lower()) else None,
        requires_python=requires_python or None,
        yanked=None if yanked is None else one_line(yanked, longest=_MAX_TEXT),
    )
