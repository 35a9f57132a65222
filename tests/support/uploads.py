"""A package index that takes uploads, as PyPI's and GitLab's do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from support.web_server import serve


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One request."""

    path: str
    authorization: str
    file: str


@contextmanager
def package_index() -> Iterator[tuple[str, list[Upload]]]:
    """Its address, and its uploads in order. It takes all of them."""
    uploads: list[Upload] = []

    class Index(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (file,) = re.findall(rb'filename="([^"]+)"', body)
            authorization = self.headers["Authorization"]
            uploads.append(Upload(path=self.path, authorization=authorization, file=file.decode()))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serve(Index) as address:
        yield address, uploads
