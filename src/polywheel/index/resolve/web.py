"""Download the page of a project from an index, and read its links.

The page is requested as JSON (PEP 691), or as HTML if the index has no JSON (PEP 503, 592, 629).

HTML is parsed by hand in time that is linear in the length of the page. The standard library's
``html.parser`` searches the rest of the page for every comment or tag that is not closed, and
raises AssertionError for some declarations. Only anchors matter on a page of PEP 503. The end of
a tag is found by the HTML standard ("Tokenization").
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

MAX_HTML_PARTS = 4_000_000
"""Maximum number of tags, comments, and attributes of a page. The longest pages of PyPI have a
fifth of it.
"""
_MAX_VALUE = 16 * 1024
"""Maximum length of an attribute in characters. Longer attributes are ignored."""

_ATTRIBUTE = re.compile(
    r"""[ \t\n\f\r/]*+ (?:
        (?P<end>>) | (?P<name>=?[^ \t\n\f\r/>=]*+) (?:
            [ \t\n\f\r]*+ = [ \t\n\f\r]*+ (?:
                "(?P<double>[^"]*+)" | '(?P<single>[^']*+)' | (?P<unclosed>["'])
                | (?P<unquoted>[^ \t\n\f\r>]*+) ) )? )""",
    re.VERBOSE,
)
"""The next attribute of a tag, or the end of the tag."""
_TAG = re.compile(r"(/?)([a-zA-Z][^ \t\n\f\r/>]*)")
_SIMPLE_END = re.compile(r"[^\"'<>]*>")
"""The rest of a tag without quotes."""

_TEXT_ONLY = frozenset(
    {"iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"}
)
"""Elements that contain only text until their end tag."""
_COMMENT_END = re.compile(r"--!?>")

Attributes = Mapping[str, str]


class TooLongError(Exception):
    """The page has too many tags and attributes."""


def start_tags(page: str, names: frozenset[str]) -> Iterator[tuple[str, Attributes]]:
    """Yield the start tags with these names, in lower case, and their attributes.

    If an attribute is repeated, the first one counts. A tag that is not closed at the end of the
    page is ignored. Raises TooLongError.
    """
    position, left = 0, MAX_HTML_PARTS
    while position := page.find("<", position) + 1:
        left -= 1
        if left < 0:
            raise TooLongError
        tag = _TAG.match(page, position)
        if tag is None:
            position = _end_of_declaration(page, position)
            continue
        closing, name = tag[1], tag[2].lower()
        requested = not closing and name in names
        simple = None if requested else _SIMPLE_END.match(page, tag.end())
        if simple is not None:
            position = simple.end()
        else:
            attributes, position, left = _attributes(page, tag.end(), left)
            if requested and position:
                yield name, attributes
        if not closing and name in _TEXT_ONLY and position:
            position = _end_of_text(page, position, name)
        if not position:
            return


def _end_of_declaration(page: str, position: int) -> int:
    """Return the end of a comment, a declaration, or a single ``<``; the end of the page if not
    closed.
    """
    if page.startswith("!--", position):
        # <!--> and <!---> are whole comments.
        end = _COMMENT_END.search(page, position + 1)
        return end.end() if end else len(page)
    if page.startswith(("!", "?", "/"), position):
        end_at = page.find(">", position)
        return end_at + 1 if end_at >= 0 else len(page)
    return position


def _attributes(page: str, position: int, left: int) -> tuple[Attributes, int, int]:
    """Return the attributes of a tag, its end (0 if it is not closed), and the new value of
    ``left``.

    ``left`` is the number of parts that may still follow. Raises TooLongError.
    """
    attributes: dict[str, str] = {}
    while match := _ATTRIBUTE.match(page, position):
        position = match.end()
        if match["end"]:
            return attributes, position, left
        if not match["name"]:
            break
        left -= 1
        if left < 0:
            raise TooLongError
        if match["unclosed"]:
            break
        value = match["double"] or match["single"] or match["unquoted"] or ""
        if len(value) <= _MAX_VALUE:
            attributes.setdefault(match["name"][:_MAX_VALUE].lower(), value)
    return {}, 0, left


def _end_of_text(page: str, position: int, name: str) -> int:
    """Return the start of the end tag of a text element; 0 if there is none."""
    end = re.compile(rf"</{name}[ \t\n\f\r/>]", re.IGNORECASE).search(page, position)
    return end.start() if end else 0


MAX_PAGE = 32 * 1024 * 1024
"""Maximum size of a page in bytes. The longest pages of PyPI have two thirds of it."""
MAX_LINKS = 250_000
"""Maximum number of files on a page."""
TIMEOUT = 30.0
"""Seconds without a received byte before a request fails."""
DEADLINE = 300.0
"""Maximum seconds for one whole response."""
JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SCHEMES = ("http", "https")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_TEXT_LENGTH = 1000
"""Maximum length of a filename, a specifier, or a reason in characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A file that an index lists, or a file in a folder."""

    filename: str
    url: str
    """The absolute URL, or the path of a file in a folder."""

    sha256: str | None = None
    requires_python: str | None = None
    yanked: str | None = None
    """Why the file is yanked (PEP 592), which may be empty; None if it is not yanked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A response to a request."""

    url: str
    """The URL after redirects."""

    content_type: str
    content: bytes


def read_project_page(url: str) -> list[Link]:
    """Return the files that the page of a project lists.

    Raises ConfigError for a URL that can't be used or does not exist, and WheelError for a page
    that can't be read.
    """
    page = fetch(url, limit=MAX_PAGE, accept=ACCEPT)
    try:
        if page.content_type.endswith("json"):
            return list(_json_links(page))
        return list(_html_links(page))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise WheelError(
            "this is not a page of the simple API", at=url, hint="pass the URL of a project page"
        ) from None


def fetch(url: str, *, limit: int, accept: str = "*/*") -> Page:
    """Download an http or https URL, at most ``limit`` bytes. Raises ConfigError and WheelError."""
    _check_url(url)
    results: list[Page | BaseException] = []

    def run_request() -> None:
        try:
            results.append(_request(url, limit=limit, accept=accept))
        except BaseException as error:  # noqa: BLE001 -- it is raised below
            results.append(error)

    # A socket timeout limits only silence: a server could send a byte now and then forever. Python
    # does not wait for a daemon thread when it exits.
    thread = Thread(target=run_request, daemon=True)
    thread.start()
    deadline = monotonic() + DEADLINE
    while thread.is_alive() and monotonic() < deadline:
        thread.join(0.5)
    if not results:
        raise _request_failed(url, f"no complete response within {DEADLINE:.0f} seconds")
    (result,) = results
    if isinstance(result, BaseException):
        raise result from None
    return result


def _request(url: str, *, limit: int, accept: str) -> Page:
    """Like ``fetch``, without the deadline."""
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
        with opener.open(request, timeout=TIMEOUT) as response:
            content: bytes = response.read(limit + 1)
            content_type = response.headers.get_content_type()
            page = Page(url=response.geturl(), content_type=content_type, content=content)
    except HTTPError as error:
        error.close()
        raise _request_failed(url, f"{error.code} {error.reason}") from None
    except URLError as error:
        raise _request_failed(url, str(error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _request_failed(url, str(error) or type(error).__name__) from None
    if len(page.content) > limit:
        raise WheelError(f"the response has more than {limit} bytes", at=url)
    return page


def fetch_file(link: Link, *, limit: int) -> bytes:
    """Download a file and verify its SHA-256, if the link has one. Raises as above."""
    content = fetch(link.url, limit=limit).content
    if link.sha256 is not None and hashlib.sha256(content).hexdigest() != link.sha256:
        raise WheelError(
            f"the SHA-256 of {link.filename} is not the one that the index lists", at=link.url
        )
    return content


class _Redirects(HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 -- as urllib calls it
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
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
            r"//[^/]*@", "//…@", one_line(url, longest=_MAX_TEXT_LENGTH)
        )  # it may be a password
        raise ConfigError(
            f"can't request {shown}",
            hint="expected http:// or https:// and a host, without a user name",
        )


def _request_failed(url: str, why: str) -> PolywheelError:
    return ConfigError(
        f"request failed: {one_line(why, longest=_MAX_TEXT_LENGTH)}",
        at=url,
        hint="check the name of the project, or choose another index with --index-url URL",
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
            f"the page has more than {MAX_HTML_PARTS} tags and attributes", at=page.url
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
        except ValueError:  # installers can't follow an invalid URL either
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
        raise WheelError(f"the page has more than {MAX_LINKS} files", at=page.url)


def _join_url(base: str, url: str) -> str | None:
    """Return an absolute URL; None if it is invalid."""
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
    """Yield the link if an installer could follow it."""
    texts = (filename, url, requires_python or "", yanked or "", sha256 or "")
    if any(not isinstance(text, str) for text in texts):
        raise TypeError
    absolute = _join_url(base, url)
    if absolute is None or len(requires_python or "") > _MAX_TEXT_LENGTH:
        return
    if not filename or len(filename) > _MAX_TEXT_LENGTH or not filename.isprintable():
        return
    yield Link(
        filename=filename,
        url=absolute,
        sha256=sha256.lower() if sha256 and _SHA256.fullmatch(sha256.lower()) else None,
        requires_python=requires_python or None,
        yanked=None if yanked is None else one_line(yanked, longest=_MAX_TEXT_LENGTH),
    )
