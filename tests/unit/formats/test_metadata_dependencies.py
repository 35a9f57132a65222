"""``Requires-Dist`` of one variant: existing requirements are not repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.formats.metadata import new_dependencies

HEAD = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


def added(there: list[str], wanted: list[str], *, body: str = "") -> list[str]:
    lines = "".join(f"Requires-Dist: {text}\n" for text in there)
    content = f"{HEAD}{lines}\n{body}".encode()
    found = list(new_dependencies(content, wanted))
    assert {name for name, _ in found} <= {"Requires-Dist"}
    return [text for _, text in found]


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("mkl", "mkl"),
        ("mkl>=2024", "mkl>=2024"),
        ("mkl >= 2024", "mkl>=2024"),
        ("mkl (>=2024)", "mkl>=2024"),
        ("mkl>=2024,<2026", "mkl<2026,>=2024"),
        ("My_Lib.Name", "my-lib-name"),
        ("my-lib-name", "MY.LIB_NAME"),
        ("mkl[a,b]", "mkl[b,a]"),
        ("mkl[a,b]", "mkl[a]"),
        ("mkl[A_b]", "mkl[a-b]"),
        ("mkl[a]", "mkl"),
        ("mkl>=2024", "mkl"),
        ("mkl", "mkl; sys_platform == 'linux'"),
        ("mkl>=2024", "mkl; sys_platform == 'linux'"),
        ("mkl; sys_platform == 'linux'", "mkl; sys_platform=='linux'"),
        ('mkl; sys_platform == "linux"', "mkl ; sys_platform == 'linux'"),
        ("mkl @ https://example.org/mkl.whl", "mkl @ https://example.org/mkl.whl"),
        ("mkl @ https://example.org/mkl.whl", "mkl"),
    ],
)
def test_what_is_there_already_is_not_doubled(there: str, wanted: str) -> None:
    assert added([there], [wanted]) == []


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("numpy", "mkl"),
        ("mkl-devel", "mkl"),
        ("mkl", "mkl>=2024"),
        ("mkl>=2023", "mkl>=2024"),
        ("mkl>=2024", "mkl>=2024,<2026"),
        ("mkl", "mkl[a]"),
        ("mkl[a]", "mkl[a,b]"),
        ("mkl; sys_platform == 'linux'", "mkl"),
        ("mkl; sys_platform == 'linux'", "mkl; sys_platform == 'win32'"),
        ("mkl; extra == 'fast'", "mkl"),
        ("mkl", "mkl @ https://example.org/mkl.whl"),
        ("mkl @ https://example.org/a.whl", "mkl @ https://example.org/b.whl"),
    ],
)
def test_what_asks_for_more_is_added(there: str, wanted: str) -> None:
    assert added([there], [wanted]) == [wanted]


def test_they_come_in_their_order_as_they_are_written() -> None:
    assert added(["b"], ["C >= 1", "a[x] ; os_name=='nt'", "B"]) == [
        "C >= 1",
        "a[x] ; os_name=='nt'",
    ]


def test_new_ones_are_not_doubled_among_themselves() -> None:
    assert added([], ["mkl>=1", "MKL >=1", "mkl", "mkl>=2"]) == ["mkl>=1", "mkl>=2"]


def test_the_description_is_no_header() -> None:
    assert added([], ["mkl"], body="Requires-Dist: mkl\n") == ["mkl"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_continued_headers_are_read(newline: str) -> None:
    content = newline.join(["Name: demo", "requires-dist: mkl", "        >=2024", "", ""]).encode()
    assert list(new_dependencies(content, ["mkl>=2024"])) == []


@pytest.mark.parametrize(
    "legacy",
    [
        "mkl (2024.1)",
        "mkl 2024",
        "UNKNOWN !",
        "",
        "mkl>=2024.*",
        "mkl; sys.platform == 'linux'",
        "mkl ; platform_system is 'Linux'",
        "paquet-à-accents >= 1",
        "mkl[",
        "https://example.org/mkl.whl",
    ],
)
def test_what_older_tools_wrote_stands_for_nothing(legacy: str) -> None:
    assert added([legacy, "numpy"], ["mkl", "numpy"]) == ["mkl"]


def test_bytes_that_are_no_text_stand_for_nothing() -> None:
    content = HEAD.encode() + b"Requires-Dist: mkl\xff\xfe\nRequires-Dist: \xc3\n\n"
    assert list(new_dependencies(content, ["mkl"])) == [("Requires-Dist", "mkl")]


@given(st.binary(max_size=60))
def test_any_metadata_gets_its_dependency_or_has_it(content: bytes) -> None:
    content = b"Requires-Dist: " + content + b"\n\n"
    found = list(new_dependencies(content, ["mkl"]))
    assert found == [("Requires-Dist", "mkl")] or b"mkl" in content.lower()
