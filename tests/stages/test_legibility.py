"""Whether a text can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Thresholds
from pipeline.stages.checks.text_quality import damage_signals

COUNTS = Thresholds().illegible


def damage(*texts: str | None) -> float:
    found = damage_signals(*texts)
    assert [signal.code for signal in found] in ([], ["illegible"])
    return found[0].strength if found else 0.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words",
        "Grüße aus Łódź, Tromsø, 東京, القاهرة und नई दिल्ली 👩‍👩‍👧 – “quoted”",
        "\u200eשלום\u200f\n\ttabs and\r\nlines",
    ],
)
def test_what_people_write_in_any_script_is_no_damage(text: str) -> None:
    assert damage(text, None) == 0


def test_a_stray_character_that_was_lost_does_not_count() -> None:
    assert damage("The caf\ufffd on the corner charged my card twice last week") < COUNTS


@pytest.mark.parametrize(
    "text",
    [
        "M\ufffdller \ufffdu\ufffdert \ufffdber \ufffdrger",
        "GrÃ¼ÃŸe, die RÃ¼ckzahlung fÃ¼r MÃ¤rz fehlt fÃ¼r Ã¶fter",
        "\ue000\ue001\ue002 words",
    ],
)
def test_text_that_was_wrongly_decoded_counts(text: str) -> None:
    assert damage(text) >= COUNTS


@given(st.lists(st.text(), max_size=3))
def test_it_is_total(texts: list[str]) -> None:
    assert 0 <= damage(*texts) <= 1


def test_a_long_text_is_looked_at_in_part_and_weighed_by_that_part() -> None:
    assert damage("\ufffd" * 50_000) == 1
    assert damage("ä" * 50_000 + "\ufffd" * 50_000) == 0
