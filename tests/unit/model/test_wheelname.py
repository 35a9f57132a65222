"""The parts of wheel filenames, and names that are not those of wheels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.model.wheelname import WheelName

FIVE = WheelName(distribution="demo", version="1.0", python="py3", abi="none", platform="any")


def test_five_parts_are_a_wheel_without_build_tag_and_label() -> None:
    assert WheelName.parse("demo-1.0-py3-none-any.whl") == FIVE


def test_the_third_of_six_parts_is_a_build_tag_where_it_starts_with_a_digit() -> None:
    name = WheelName.parse("demo-1.0-2local-py3-none-any.whl")
    assert (name.build, name.label) == ("2local", None)


def test_the_last_of_six_parts_is_a_label_otherwise() -> None:
    name = WheelName.parse("demo-1.0-py3-none-any-x86_64_v3.whl")
    assert (name.build, name.label) == (None, "x86_64_v3")


def test_a_label_of_digits_alone_is_no_build_tag() -> None:
    assert WheelName.parse("demo-1.0-py3-none-any-00000000.whl").label == "00000000"


def test_seven_parts_have_both() -> None:
    name = WheelName.parse("demo-1.0-7-cp312-cp312-linux_x86_64-null.whl")
    assert (name.build, name.python, name.label) == ("7", "cp312", "null")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Demo_X-1.0", "demo.x-1.0.0", True),
        ("demo-1.0rc1", "demo-1.0.RC1", True),
        ("demo-1.0+Local.1", "demo-1.0_local.1", True),
        ("demo-not.a.version", "Demo-Not.A.Version", True),
        ("demo-1.0", "demo-1.1", False),
        ("demo-1.0", "demox-1.0", False),
        ("demo-1.0", "demo-1.0+local", False),
        (f"demo-{'1' * 5000}", f"demo-{'1' * 5001}", False),
    ],
)
def test_a_release_is_the_same_however_it_is_spelled(one: str, other: str, same: bool) -> None:
    first, second = (WheelName.parse(f"{text}-py3-none-any.whl") for text in (one, other))
    assert (first.release == second.release) is same


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("demo-1.0-py3-none-any", "end with .whl"),
        ("demo-1.0-py3-none-any.WHL", "end with .whl"),
        ("demo-1.0-py3-none-any.zip", "end with .whl"),
        (".whl", "components"),
        ("demo.whl", "components"),
        ("demo-1.0-none-any.whl", "components"),
        ("demo-1.0-py3-py3-none-any-v3.whl", "components"),
        ("demo-1.0-1-py3-none-any-v3-v4.whl", "components"),
        ("demo-1.0-1-2-3-4-5-6-7-8.whl", "components"),
        ("-1.0-py3-none-any.whl", "can't be a component"),
        ("demo--py3-none-any.whl", "can't be a component"),
        ("demo-1.0-py3--any.whl", "can't be a component"),
        ("demo-1.0-py3-none-.whl", "can't be a component"),
        ("de mo-1.0-py3-none-any.whl", "can't be a component"),
        ("../demo-1.0-py3-none-any.whl", "can't be a component"),
        ("a\\demo-1.0-py3-none-any.whl", "can't be a component"),
        ("C:demo-1.0-py3-none-any.whl", "can't be a component"),
        ("demo-1.0-py3-none-any\n.whl", "can't be a component"),
        ("demo-1.0-py3-none-any\x00.whl", "can't be a component"),
        ("demo-1.0-py3-none-\x1b[31many.whl", "can't be a component"),
        ("demo-1.0-py3-none-\x9b31many.whl", "can't be a component"),
        ("demo-1.0-py3-none-any\udc80.whl", "can't be a component"),
        ("demo-1.0-1 2-py3-none-any.whl", "can't be a component"),
        ("demo-1.0-3py-none-any.whl", "starts with a digit"),
        ("demo-1.0-py3-none-any-V3.whl", "variant label"),
        ("demo-1.0-py3-none-any-.whl", "variant label"),
        ("demo-1.0-py3-none-any-v3\n.whl", "variant label"),
        ("demo-1.0-1-py3-none-any-é.whl", "variant label"),
    ],
)
def test_what_is_malformed_is_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(WheelError, match=why) as raised:
        WheelName.parse(name)
    assert repr(name) in str(raised.value)


WORD = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.+!]*", fullmatch=True)
NAMES = st.builds(
    WheelName,
    distribution=WORD,
    version=st.from_regex(r"[0-9][A-Za-z0-9_.+!]*", fullmatch=True),
    build=st.none() | st.from_regex(r"[0-9][a-z0-9_.]*", fullmatch=True),
    python=WORD,
    abi=WORD,
    platform=WORD,
    label=st.none() | st.from_regex(r"[0-9a-z_.]+", fullmatch=True),
)


@given(NAMES)
def test_what_is_written_is_read_back(name: WheelName) -> None:
    assert WheelName.parse(str(name)) == name


@given(
    st.lists(st.text(st.characters() | st.sampled_from("0v_.-\n\x00é/"), max_size=4), max_size=9)
)
def test_any_text_is_either_read_as_it_stands_or_refused(pieces: list[str]) -> None:
    text = "-".join(pieces) + ".whl"
    try:
        name = WheelName.parse(text)
    except WheelError:
        return
    assert str(name) == text
