"""Long texts in parts: nothing lost, nothing too long, cut where a reader would pause."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.checks.text_quality import about_tokens
from pipeline.stages.documents import parts_of

TEXTS = st.text(st.sampled_from("ab é語.\n "), max_size=2000)


@settings(deadline=None)
@given(TEXTS, st.integers(10, 400))
def test_the_parts_are_the_text_and_none_is_too_long(text: str, most: int) -> None:
    parts = parts_of(text, most)

    assert "".join(parts) == text
    assert all(about_tokens(part) <= most for part in parts)
    assert all(parts) or parts == ("",)


@settings(deadline=None)
@given(st.integers(200, 20_000), st.integers(50, 400))
def test_there_are_hardly_more_parts_than_are_needed(words: int, most: int) -> None:
    text = "word " * words

    parts = parts_of(text, most)

    assert len(parts) <= about_tokens(text) / (0.8 * most) + 1


def test_a_text_that_is_short_enough_is_left_whole() -> None:
    assert parts_of("short", 100) == ("short",)
    assert parts_of("", 100) == ("",)


def test_it_is_cut_between_paragraphs_if_there_are_any() -> None:
    paragraph = "One sentence. Another one.\n\n"

    parts = parts_of(paragraph * 100, 400)

    assert all(part.endswith("\n\n") for part in parts)


def test_else_between_sentences_else_between_words_else_anywhere() -> None:
    assert all(part.endswith(". ") for part in parts_of("A short sentence. " * 100, 200))
    assert all(part.endswith(" ") for part in parts_of("word " * 500, 200))
    assert len(parts_of("x" * 2500, 400)) == 3


def test_the_parts_are_about_equally_long() -> None:
    lengths = [len(part) for part in parts_of("A short sentence. " * 1000, 2000)]

    assert max(lengths) < 1.5 * min(lengths)


def test_tokens_follow_the_bytes_of_a_text() -> None:
    assert about_tokens("a" * 250) == 100
    assert about_tokens("語" * 100) == 120
    assert about_tokens("\ud800") == 2
