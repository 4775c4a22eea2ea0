"""Text as a model is shown it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.checks.injection import hidden_message
from pipeline.stages.checks.text_quality import is_blank, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b\x1bc\x85d", "abcd"),
        ("a\r\nb\rc\u2028d\te", "a\nb\nc\nd\te"),
        ("x\u202ey\u202dz", "xyz"),
        ("\ufeffx", "x"),
        ("x" + "".join(chr(0xE0000 + ord(char)) for char in "evil"), "x"),
        ("\u05d0\u200f \u200d", "\u05d0\u200f \u200d"),
    ],
)
def test_what_nobody_sees_is_not_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_showing_twice_changes_nothing_more(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u200e", "\x00", "\U000e0041", "\u00a0"])
def test_blank_is_what_has_nothing_to_read(text: str) -> None:
    assert is_blank(text, None)
    assert not is_blank(text, "x")


def test_tag_characters_are_read_out() -> None:
    assert hidden_message("a" + "".join(chr(0xE0000 + ord(char)) for char in "hi")) == "hi"
