"""Requirements that the quick check accepts are valid for the parser."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement

from polywheel.config.reader import _NAME, _VERSIONED, requirement
from polywheel.errors import ConfigError

NAMES = st.from_regex(_NAME, fullmatch=True)
PLAIN = NAMES | st.from_regex(_VERSIONED, fullmatch=True)


@settings(max_examples=50)  # they take long to draw
@given(PLAIN)
def test_what_is_plain_is_a_requirement(text: str) -> None:
    parsed = Requirement(text)
    assert parsed.name == re.match(_NAME, text)[0]  # type: ignore[index]
    assert not parsed.extras
    assert parsed.marker is None
    assert parsed.url is None


@settings(max_examples=50)
@given(PLAIN, st.text("abc10.-_ <>=!~;,@[]()'\n", max_size=4))
def test_the_verdict_is_that_of_the_parser(text: str, more: str) -> None:
    for changed in (text + more, more + text, text[:2] + more + text[2:]):
        try:
            Requirement(changed)
            right = True
        except InvalidRequirement:
            right = False
        try:
            accepted = requirement(changed, at="here") == changed.strip()
        except ConfigError:
            accepted = False
        assert accepted == (right and changed.isprintable())
