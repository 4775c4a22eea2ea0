"""NFKC within bounds: the same for every text that a person would write."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.checks.text_quality import LONGEST_RUN, nfkc, pieces_of, stream_safe

_JOINING = (
    "a\u0301\u0323\u0345\u0327\u1100\u1161\u11a8\uac00\uff9e\u304b\u3099\u09c7\u09be\u0f71\u0f73"
    "\u0344\ufb01\u00bd\u1e9b\uffa1\uffc2\u3131\u314f\u212b\u2126 \n<\u0338=é"
)
text = st.text(st.characters(exclude_categories=["Cs"])) | st.text(_JOINING)
ordinary = text.filter(
    lambda each: len(unicodedata.normalize("NFKC", each)) - len(each) <= len(each) / 4 + 100
)


@given(ordinary)
def test_it_is_nfkc(each: str) -> None:
    assert nfkc(each) == unicodedata.normalize("NFKC", each)


@given(text, st.integers(1, 8))
def test_normalising_the_pieces_is_normalising_the_whole(each: str, size: int) -> None:
    pieces = list(pieces_of(each, size))
    assert "".join(pieces) == each
    assert all(len(piece) <= size for piece in pieces)
    if any(cut_inside(each, place) for place in places_of(pieces)):
        return  # no place to cut was within reach
    assert "".join(map(nfkc, pieces)) == nfkc(each)


def places_of(pieces: list[str]) -> list[int]:
    """Where a text was cut."""
    ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces) - 1)]
    return [end for end in ends if end]


def cut_inside(each: str, place: int) -> bool:
    """Whether what begins there joins what stands before it."""
    first = unicodedata.normalize("NFKD", each[place])[0]
    is_mark = unicodedata.combining(first) or unicodedata.category(first)[0] == "M"
    return bool(is_mark) or 0x1160 <= ord(first) < 0x1200


@pytest.mark.parametrize("mark", ["\u0301", "\u0323\u0301", "\uff9e", "\u0f73", "\U0001d165"])
def test_of_a_run_of_marks_the_first_thirty_are_kept(mark: str) -> None:
    run = (mark * LONGEST_RUN)[:LONGEST_RUN]
    assert stream_safe(f"a{run}b{run}") == f"a{run}b{run}"
    assert stream_safe(f"a{run}{mark}b{run}{mark * 9}c") == f"a{run}b{run}c"


def test_every_character_that_stands_for_a_mark_counts() -> None:
    def is_mark(char: str) -> bool:
        return unicodedata.combining(unicodedata.normalize("NFKD", char)[0]) != 0

    every = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    marks = [char for char in every if is_mark(char)]
    assert len(marks) > 800
    missed = [char for char in marks if len(stream_safe(char * 50)) != LONGEST_RUN]
    assert not missed


def test_letters_beyond_the_basic_plane_are_no_marks() -> None:
    for char in "\U0001f468\U00010330\U00020000":
        assert stream_safe(char * 100) == char * 100


def test_a_text_grows_by_a_quarter_and_no_more() -> None:
    assert len(nfkc("\ufdfa" * 10_000)) < 10_000 * 1.25 + 100 + 18_000
    assert nfkc("\ufdfa") == unicodedata.normalize("NFKC", "\ufdfa")
