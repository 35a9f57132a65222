"""The page of a project on an index: fetched, and its links read.

The simple API as JSON (PEP 691) where the index has it, else as HTML (PEP 503, 592, 629).
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
from polywheel.index.anchors import MAX_PARTS, TooLongError, tags
from polywheel.terminal import one_line

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
    _check(url)
    answers: list[Page | BaseException] = []

    def ask() -> None:
        try:
            answers.append(_answer(url, limit=limit, accept=accept))
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
        raise _unreachable(url, f"there was no whole answer in {DEADLINE:.0f} seconds")
    (answer,) = answers
    if isinstance(answer, BaseException):
        raise answer from None
    return answer


def _answer(url: str, *, limit: int, accept: str) -> Page:
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
        raise _unreachable(url, f"{error.code} {error.reason}") from None
    except URLError as error:
        raise _unreachable(url, str(error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _unreachable(url, str(error) or type(error).__name__) from None
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
        _check(newurl)
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise ConfigError(f"redirected from https to {newurl}", at=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check(url: str) -> None:
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


def _unreachable(url: str, why: str) -> PolywheelError:
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
        for name, attributes in tags(text, frozenset({"a", "base"})):
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
    address = _joined(page.url, base) or page.url
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


def _joined(base: str, url: str) -> str | None:
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
    absolute = _joined(base, url)
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
