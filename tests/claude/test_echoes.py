import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.failures import Blocked, Reject, Retry
from pipeline.claude.redaction import (
    foreign_words,
    unechoed,
    without_echoes,
    without_words,
    words_of,
)
from pipeline.model.questions import Image, Text

TICKET = (Text("body", "I am Ada Lovelace, ada@example.org; my card 4111 1111 was charged twice"),)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Overloaded", "Overloaded"),
        ("The credit balance is too low.", "The credit balance is too low."),
        ("invalid: 'I am Ada Lovelace, ada@example.org'", "invalid: [...]"),
        ("text of <ada@example.org> is blocked", "text of [...] is blocked"),
        ("not for Lovelace here", "not for [...] here"),
        ("no card was accepted", "no card was accepted"),
        ("it was charged twice by us", "it [...] by us"),
        ("number 4111 is unknown", "number [...] is unknown"),
        ("bad (input_value='4111')", "bad (input_value= [...]"),
    ],
)
def test_what_the_content_says_is_left_out_and_the_rest_stays(said: str, shown: str) -> None:
    assert without_echoes(said, TICKET) == shown


def test_without_text_there_is_nothing_to_leave_out() -> None:
    assert without_echoes("a  b", (Image("image/png", b"png"),)) == "a  b"


@pytest.mark.parametrize(
    "failure",
    [
        Retry("overloaded", "busy with Ada Lovelace", after=3),
        Blocked("not for Ada Lovelace", "model"),
        Reject("bad: Ada Lovelace"),
    ],
)
def test_every_kind_of_failure_is_cleaned(failure: Retry | Blocked | Reject) -> None:
    cleaned = unechoed(failure, TICKET)
    assert type(cleaned) is type(failure)
    assert "[...]" in str(cleaned)
    assert "Ada" not in str(cleaned)


def test_of_a_long_text_no_half_word_is_shown() -> None:
    said = "x " * 495 + "Lovelace-Byron-King"
    content = (Text("body", "Lovelace-Byron-King"),)
    assert "Love" not in without_echoes(said, content)
    assert "Love" not in without_words(said, {"Lovelace-Byron-King"})


words = st.lists(st.from_regex(r"[A-Za-z0-9@.,]{1,12}", fullmatch=True), min_size=2, max_size=30)


@given(words)
def test_no_content_comes_through_whole(content: list[str]) -> None:
    text = " ".join(content)
    shown = without_echoes(f"API says: {text}", (Text("body", text),))
    assert len(text) < 20 or text not in shown


@given(words, st.lists(words, max_size=3))
def test_of_many_contents_no_word_comes_through_but_those_of_errors(
    echoed: list[str], others: list[list[str]]
) -> None:
    contents = [(Text("body", " ".join(each)),) for each in [*others, echoed]]
    said = f"cannot take {' '.join(echoed)} of it"
    hidden = {word for each in contents for word in words_of(each)} & foreign_words(said)
    shown = without_words(said, hidden)
    assert foreign_words(shown.replace("[...]", " ")).isdisjoint(words_of(contents[-1]))
    assert shown.startswith("cannot take")
