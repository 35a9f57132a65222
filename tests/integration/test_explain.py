"""``polywheel explain``: the command, and indexes over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from polywheel.cli import main
from polywheel.errors import ConfigError, WheelError
from polywheel.index.resolve.web import fetch
from support.builds import levels_of_this_machine, run
from support.commands import polywheel
from support.uv_releases import BLAS, X86_64, level, write_release, write_wheel
from support.web_server import FileHandler, serve

V2 = 'name = "old"\n[supported.x86_64]\nlevel = ["v2", "v1"]\n'
UNKNOWN_TO_UV = {"requires": ["provider-variant-x86-64"]}
LEVELS = {**{one: level(one) for one in ("v1", "v2", "v3")}, "null": {}}


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    write_release(folder, LEVELS)
    return folder


@pytest.fixture
def old(tmp_path: Path) -> str:
    path = tmp_path / "old.toml"
    path.write_text(V2, encoding="utf-8")
    return str(path)


def explain(*arguments: str | Path, code: int = 0) -> str:
    """All that the command prints."""
    done = polywheel("explain", *arguments, cwd=Path.cwd(), check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> Any:
    assert main(["explain", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_answer_for_a_person(dist: Path, old: str) -> None:
    write_wheel(dist, "v2", tags="cp39-cp39-win32")
    lines = explain(dist, "--system", old).splitlines()
    assert lines[:7] == [
        "demo 1.0: old gets demo-1.0-py3-none-any-v2.whl",
        "  v2: x86_64 :: level :: v2",
        "",
        "demo 1.0, in order of preference:",
        "  1  demo-1.0-py3-none-any-v2.whl  (v2: x86_64 :: level :: v2)",
        "  2  demo-1.0-py3-none-any-v1.whl  (v1: x86_64 :: level :: v1)",
        "  3  demo-1.0-py3-none-any-null.whl  (null variant)",
    ]
    assert lines[7] == "  4  demo-1.0-py3-none-any.whl  (non-variant)"
    assert lines[8].startswith("demo-1.0-cp39-cp39-win32-v2.whl rejected: its platform win32")
    assert lines[9:] == ["Variant v3 rejected: x86_64 :: level :: v3 is not supported"]


def test_the_answer_for_a_program(dist: Path, old: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = as_json(capsys, dist, "--system", old)
    (release,) = answer.pop("releases")
    assert answer == {
        "shape": 1,
        "project": "demo",
        "system": "old",
        "version": "1.0",
        "chosen": "demo-1.0-py3-none-any-v2.whl",
        "label": "v2",
        "properties": ["x86_64 :: level :: v2"],
        "sdist": None,
    }
    assert [one["label"] for one in release["fitting"]] == ["v2", "v1", "null", None]
    assert release["rejected"] == [
        {
            "filename": "demo-1.0-py3-none-any-v3.whl",
            "label": "v3",
            "reasons": ["x86_64 :: level :: v3 is not supported"],
        }
    ]


def test_without_a_description_nothing_runs_unless_trusted(dist: Path) -> None:
    write_release(dist, LEVELS, providers={"x86_64": UNKNOWN_TO_UV})
    said = explain(dist)
    assert "this machine gets demo-1.0-py3-none-any-null.whl (no plugin asked)" in said
    assert "the plugin of x86_64 was not run (plugins run only with --trust)" in said
    assert "note: uv installs no variant that needs x86_64" in said
    assert 'requires = ["x86-64-variant-provider"]' in said
    assert "hint: use --trust" in said


def test_the_providers_that_uv_has_built_in_are_not_installed(
    dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index has them, and what somebody puts there under that name is not what uv has."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    write_release(dist, {**LEVELS, "v9": level("v9")})
    said = explain(dist)
    assert explain(dist, "--trust") == said
    best = [one for one in levels_of_this_machine() if one in LEVELS]
    chosen = f"demo-1.0-py3-none-any-{best[0] if best else 'null'}.whl"
    assert f"this machine gets {chosen}\n" in said
    assert "detected like uv's built-in provider" in said
    assert "note:" not in said
    assert "hint:" not in said


def test_a_trusted_plugin_is_asked_in_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A namespace that nobody uses is not asked about: its plugin could not even be installed."""
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    providers = {
        "x86_64": {
            "requires": ["provider-variant-x86-64==0.0.1.post2"],
            "plugin-api": "provider_variant_x86_64.plugin:X8664Plugin",
        },
        "unused": {"requires": ["polywheel-has-no-such-plugin"]},
        "blas": BLAS,
    }
    variants = {
        **{one: level(one) for one in ("v1", "v2", "v3", "v4")},
        "v9": level("v9"),
        "mkl": {"blas": {"library": ["mkl"]}},
    }
    dist = tmp_path / "dist"
    write_release(dist, variants, namespaces=("x86_64", "unused", "blas"), providers=providers)
    code = (
        "from provider_variant_x86_64.plugin import X8664Plugin as P\n"
        "print(*[v for c in P().get_supported_configs(None) if c.name == 'level' for v in c.values])"
    )
    levels = run([sys.executable, "-c", code], cwd=tmp_path).stdout.split()
    answer = as_json(capsys, dist, "--trust")
    assert [one["label"] for one in answer["releases"][0]["fitting"]] == [*levels, "mkl", None]
    assert list((tmp_path / "cache" / "providers").iterdir())


def test_a_plugin_that_cannot_be_installed(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(dist.parent / "cache"))
    providers = {"x86_64": {"requires": ["polywheel-has-no-such-plugin"]}}
    write_release(dist, LEVELS, providers=providers)
    assert "error: the provider plugins can't be installed" in explain(dist, "--trust", code=3)


def test_nothing_for_this_machine(tmp_path: Path, old: str) -> None:
    dist = tmp_path / "dist"
    write_release(dist, {"v3": level("v3")}, plain=False)
    assert "demo 1.0: old gets nothing" in explain(dist, "--system", old, code=1)
    (dist / "demo-1.0.tar.gz").touch()
    said = explain(dist, "--system", old, code=1)
    assert "old gets no wheel; an installer builds demo-1.0.tar.gz" in said


def test_an_older_release_and_a_version_of_choice(
    dist: Path, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_release(dist, {"v3": level("v3")}, plain=False, version="2.0")
    answer = as_json(capsys, dist, "--system", old)
    assert (answer["version"], answer["label"]) == ("1.0", "v2")
    assert [one["version"] for one in answer["releases"]] == ["2.0", "1.0"]
    assert as_json(capsys, dist, "--system", old, "--version", "2", code=1)["chosen"] is None
    assert "no version matches ==3" in explain(dist, "--version", "3", code=2)
    assert "is not a version" in explain(dist, "--version", "three", code=2)


def test_an_optional_provider_can_be_enabled(
    dist: Path, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_release(dist, LEVELS, providers={"x86_64": {**X86_64, "optional": True}})
    assert as_json(capsys, dist, "--system", old)["label"] == "null"
    assert as_json(capsys, dist, "--system", old, "--enable", "x86_64")["label"] == "v2"


def test_many_systems_at_once(
    dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systems = tmp_path / "systems"
    systems.mkdir()
    texts = {
        "a": V2,
        "b": V2.replace("old", "new").replace('["', '["v3", "'),
        "c": 'name = "bare\x7f"'.replace("\x7f", "\\u007f"),
    }
    for name, text in texts.items():
        (systems / f"{name}.toml").write_text(text, encoding="utf-8")
    assert explain(dist, "--all-systems", systems).splitlines() == [
        "old       demo-1.0-py3-none-any-v2.whl",
        "new       demo-1.0-py3-none-any-v3.whl",
        r"bare\x7f  demo-1.0-py3-none-any-null.whl",
        "demo 1.0: no machine gets v1",
    ]
    answer = as_json(capsys, dist, "--all-systems", systems)
    assert [(one["system"], one["label"]) for one in answer["systems"]] == [
        ("old", "v2"),
        ("new", "v3"),
        ("bare\x7f", "null"),
    ]
    assert answer["never_chosen"] == [{"version": "1.0", "label": "v1"}]


def test_another_platform(dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wheel(dist, None, tags="cp313-cp313-win_amd64")
    text = 'python = "3.13"\nplatform = "win_amd64"\n'
    (tmp_path / "windows.toml").write_text(text, encoding="utf-8")
    answer = as_json(capsys, dist, "--system", tmp_path / "windows.toml")
    fitting = [one["filename"] for one in answer["releases"][0]["fitting"]]
    assert fitting[1] == "demo-1.0-cp313-cp313-win_amd64.whl"


def test_a_folder_without_variants_json(
    dist: Path, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (dist / "demo-1.0-variants.json").unlink()
    answer = as_json(capsys, dist, "--system", old)
    assert answer["label"] == "v2"
    (note,) = answer["releases"][0]["notes"]
    assert note.startswith(
        "demo-1.0-variants.json is missing, so the variant.json of each wheel was read"
    )


def test_requires_python_of_the_wheel_itself(
    dist: Path, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Uv and pip look into the wheel that they have chosen, and then take no other of the release."""
    document = json.loads((dist / "demo-1.0-variants.json").read_text(encoding="utf-8"))
    own = {**document, "variants": {"v2": LEVELS["v2"]}}
    write_wheel(dist, "v2", document=own, headers="Requires-Python: >=3.99\n")
    answer = as_json(capsys, dist, "--system", old, code=1)
    assert answer["chosen"] is None
    reasons = {one["label"]: one["reasons"] for one in answer["releases"][0]["rejected"]}
    assert reasons["v2"][0].startswith("it requires Python >=3.99, and this is 3.")
    assert reasons["v1"][0].startswith("it comes after demo-1.0-py3-none-any-v2.whl")
    write_release(dist, LEVELS, version="0.9")
    assert as_json(capsys, dist, "--system", old)["chosen"] == "demo-0.9-py3-none-any-v2.whl"


# Indexes


@contextlib.contextmanager
def pages(answers: Mapping[str, tuple[str, bytes] | str]) -> Iterator[str]:
    """A server with these pages, by path: type and content, or where it redirects to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            if answer is None:
                self.send_error(404)
                return
            if isinstance(answer, str):
                self.send_response(302)
                self.send_header("Location", answer)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", answer[0])
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name
            pass

    with serve(Handler) as url:
        yield url


def test_what_polywheel_index_writes_served_as_files(
    dist: Path, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(dist), "--simple"]) == 0
    capsys.readouterr()
    with serve(partial(FileHandler, directory=str(dist))) as url:
        for what in (
            [f"{url}/simple/demo/"],
            [f"{url}/simple/demo"],
            [f"{url}/simple/demo/index.json"],
            ["Demo==1.0", "--index-url", f"{url}/simple"],
        ):
            assert as_json(capsys, *what, "--system", old)["label"] == "v2"
        answer = as_json(capsys, f"{url}/simple/demo/", "--system", old)
        (dist / "demo-1.0-variants.json").write_bytes(b"{}")
        spoilt = as_json(capsys, f"{url}/simple/demo/", "--system", old)
        assert "request failed: 404" in explain(f"{url}/simple/dmeo/", code=2)
    assert [one["label"] for one in answer["releases"][0]["fitting"]] == ["v2", "v1", "null", None]
    assert spoilt["label"] is None
    (note,) = spoilt["releases"][0]["notes"]
    assert "the SHA-256 of demo-1.0-variants.json is not the one" in note


DOCUMENT = json.dumps(
    {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": ["x86_64"]},
        "providers": {"x86_64": X86_64},
        "variants": {"v2": level("v2")},
    }
).encode()
FILE = "/files/demo-1.0-variants.json"


def test_html_as_old_indexes_have_it(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    digest = hashlib.sha256(DOCUMENT).hexdigest()
    page = f"""<!DOCTYPE html><html><head><base href="/files/"></head><body>
        <a href="demo-1.0-variants.json#sha256={digest}">demo</a> <a name="no-link">x</a>
        <A HREF='demo-1.0-py3-none-any-v2.whl#sha256={"0" * 64}' data-requires-python='&gt;=3'>a</A>
        <a href="demo-1.0-py3-none-any.whl">b</a>
        <a href="demo-1.1-py3-none-any.whl" data-yanked="by mistake">c</a>
        <a href="demo-1.2-py3-none-any.whl" data-requires-python="&gt;=3.99">d</a>
        <a href="https://host/other.exe">e</a> <a href="demo-1.3-py3-none%2Fany.whl">f</a>
        <a href="demo-1.4%2Bcu128-py3-none-win32.whl">g</a>"""
    answers = {"/simple/demo/": ("text/html", page.encode()), FILE: ("text/plain", DOCUMENT)}
    with pages(answers) as url:
        answer = as_json(capsys, f"{url}/simple/demo/", "--system", old)
    assert answer["label"] == "v2"
    assert [one["version"] for one in answer["releases"]] == ["1.4+cu128", "1.2", "1.1", "1.0"]
    reasons = [one["reasons"] for found in answer["releases"] for one in found["rejected"]]
    assert reasons[1][0].startswith("it requires Python >=3.99")
    assert reasons[2] == ["it is yanked: by mistake"]


def test_an_index_without_variants_json_says_so(
    old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = b'<a href="demo-1.0-py3-none-any-v2.whl">a</a><a href="demo-1.0-py3-none-any.whl">b</a>'
    with pages({"/simple/demo/": ("text/html", page)}) as url:
        answer = as_json(capsys, f"{url}/simple/demo/", "--system", old)
    assert answer["label"] is None
    (rejected,) = answer["releases"][0]["rejected"]
    assert rejected["reasons"] == ["the index has no demo-1.0-variants.json"]


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("application/vnd.pypi.simple.v1+json", b"{", "not a page of the simple API"),
        ("application/vnd.pypi.simple.v1+json", b"[]", "not a page of the simple API"),
        (
            "application/vnd.pypi.simple.v1+json",
            b'{"meta": {"api-version": "2.0"}, "files": []}',
            "not a page of the simple API",
        ),
        (
            "application/json",
            b'{"meta": {"api-version": "1.0"}, "files": [{"filename": 1, "url": 2}]}',
            "not a page of the simple API",
        ),
        (
            "text/html",
            b"\xff\x00<a href='http://[x/demo-1.0-py3-none-any.whl'>",
            "contains no wheels",
        ),
        ("text/html", b"<![<a href=demo-1.0-py3-none-any.whl>", "contains no wheels"),
        ("text/html", b"nothing here", "contains no wheels"),
    ],
)
def test_pages_that_cannot_be_used(kind: str, content: bytes, why: str) -> None:
    with pages({"/simple/demo/": (kind, content)}) as url:
        said = explain(f"{url}/simple/demo/", code=2 if "contains" in why else 4)
    assert why in said


def test_only_the_web_is_fetched_from(tmp_path: Path, old: str) -> None:
    secret = tmp_path / "demo-1.0-variants.json"
    secret.write_bytes(DOCUMENT)
    assert "can't request" in explain(f"file://{tmp_path}/", code=2)
    assert "can't request" in explain("ftp://host/simple/demo/", code=2)
    said = explain("https://user:secret@host/demo/", code=2)
    assert "can't request https://****@host/demo/" in said
    page = f'<a href="{secret.as_uri()}">x</a><a href="demo-1.0-py3-none-any-v2.whl">a</a>'
    with pages({"/to-file": secret.as_uri(), "/page": ("text/html", page.encode())}) as url:
        assert "302 Found - Redirection to url 'file:" in explain(f"{url}/to-file", code=2)
        said = explain(f"{url}/page", "--system", old, code=1)
    assert "demo-1.0-variants.json can't be used: can't request file://" in said


def test_a_redirect_is_followed(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = b'<a href="../files/demo-1.0-variants.json">x</a><a href="demo-1.0-py3-none-any-v2.whl">'
    moved: Mapping[str, tuple[str, bytes] | str] = {
        "/demo": "/moved/",
        "/moved/": ("text/html", page),
        FILE: ("text/plain", DOCUMENT),
    }
    with pages(moved) as url:
        assert as_json(capsys, f"{url}/demo", "--system", old)["label"] == "v2"
    with pages({"/demo": "/demo"}) as url:
        assert "request failed" in explain(f"{url}/demo", code=2)
    assert "request failed" in explain(f"{url}/demo", code=2)


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no silence: only the time of the whole answer ends it."""
    monkeypatch.setattr("polywheel.index.resolve.web.DEADLINE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(b"X: y\r\n")
                    time.sleep(0.2)

        Thread(target=drip, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(ConfigError, match="no complete response within 1 seconds"):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/", limit=1000)
    assert time.monotonic() - started < 60


def test_no_more_is_read_than_there_may_be() -> None:
    with pages({"/page": ("text/html", b"x" * 1001)}) as url:
        assert len(fetch(f"{url}/page", limit=1001).content) == 1001
        with pytest.raises(WheelError, match="the response has more than 1000 bytes"):
            fetch(f"{url}/page", limit=1000)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere/dist"], 2, "the folder nowhere/dist does not exist"),
        (["a b"], 2, "is not a folder, a URL, or a project name"),
        (["{dist}", "--system", "nowhere.toml"], 2, "nowhere.toml can't be read"),
        (["{dist}", "--all-systems", "{dist}"], 2, "contains no *.toml"),
        (["{dist}", "--system", "x", "--all-systems", "y"], 2, "not allowed with argument"),
        (["{dist}", "--name", "dmeo"], 2, "did you mean 'demo'?"),
        (["--help"], 0, "example: polywheel explain"),
    ],
)
def test_mistakes(arguments: list[str], code: int, said: str, dist: Path) -> None:
    assert said in explain(*(one.format(dist=dist) for one in arguments), code=code)
