"""What tidying a text up must leave as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SonnetThresholds, Thresholds
from pipeline.stages.checks.edits import edit_signals

TIDY = [
    (
        "hi theer,, can u pls move my apointment from 12/11/2026 ??? thx\n-- sent from my phone 6",
        "Hi there, can you please move my appointment from 12/11/2026? Thanks.",
    ),
    (
        "buenas, q el pedido 4417 no a llegado!! escribirme a ocana@example.com x favor",
        "Buenas, que el pedido 4417 no ha llegado. Escribirme a ocana@example.com por favor.",
    ),
    ("no dates,no numbers in  here", "No dates, no numbers in here."),
    ("i dont want it", "I don't want it."),
    ("请退款给我,谢谢", "请退款给我，谢谢。"),
]  # fmt: skip


def strengths(cleaned: str, source: str) -> list[float]:
    return [each.strength for each in edit_signals(cleaned, source)]


@pytest.mark.parametrize(("source", "cleaned"), TIDY)
def test_correcting_the_form_is_no_doubt(source: str, cleaned: str) -> None:
    assert max(strengths(cleaned, source), default=0) < Thresholds().changed_text


@pytest.mark.parametrize(
    ("source", "cleaned", "strength"),
    [
        ("order 4417 is late", "Order is late.", 0.7),
        ("write to ann@example.com now please", "Write to an@example.com now please.", 0.8),
        ("see https://example.com/a and call", "See and call.", 0.8),
        ("i did not order the red chair", "I did order the red chair.", 0.9),
        ("ich habe das nicht bestellt", "Ich habe das bestellt.", 0.9),
    ],
)
def test_what_must_stay_and_does_not_is_a_doubt_of_both_tiers(
    source: str, cleaned: str, strength: float
) -> None:
    assert strength in strengths(cleaned, source)
    assert strength >= SonnetThresholds().changed_text


def test_words_of_ones_own_and_words_left_out_count_by_their_letters() -> None:
    [added, *_] = edit_signals("Red chair, delightful and comfortable.", "red chair")
    assert added.code == "changed_text"
    assert added.strength > 0.5
    [lost, *_] = edit_signals("Red.", "red chair of oak with armrests")
    assert lost.strength > 0.5


@given(st.text(max_size=200))
def test_a_text_that_stayed_as_it_is_has_no_signal(text: str) -> None:
    assert strengths(text, text) == []


def test_words_without_end_are_compared_in_no_time() -> None:
    [changed, *_] = edit_signals("ab" * 10_000, "ba" * 9_000 + " x")
    assert changed.strength == 1
    assert strengths(" ".join(f"{n}ab" for n in range(3_000)), "cd " * 3_000)[0] == 1
