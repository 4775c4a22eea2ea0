"""What a summary claims and its source does not say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.checks.claims import claim_signals

SOURCE = """\
Greg called Ann in Oslo on 12 November 2026. The Norwegian team replied: "we ship on 3/12/2026".
"""


def strengths(written: str, source: str = SOURCE, language: str | None = "en") -> list[float]:
    return [each.strength for each in claim_signals(written, source, language=language)]


@pytest.mark.parametrize(
    "written",
    [
        "Greg called Ann on November 12.",
        "On 12.11.2026 Greg called.",
        "The team in Norway said \"we ship on 3/12/2026\".",
        "They ship on 3 December, or on 12 March.",
        "In Oslo's office nothing happened.",
        "",
    ],
)  # fmt: skip
def test_what_the_source_says_in_other_forms_is_no_signal(written: str) -> None:
    assert strengths(written) == []


@pytest.mark.parametrize(
    ("written", "strength"),
    [
        ("Greg called on 13 November.", 0.8),
        ("Greg called on 12 October.", 0.8),
        ("On 2026-11-13 Greg called.", 0.8),
        ("Greg called Bob.", 0.6),
        ("They said \"we never ship\".", 0.9),
    ],
)  # fmt: skip
def test_another_date_name_or_quotation_is_a_signal(written: str, strength: float) -> None:
    assert strengths(written) == [strength]


@pytest.mark.parametrize("language", ["de", "zh", None])
def test_names_are_left_alone_where_capitals_do_not_tell_them(language: str | None) -> None:
    assert strengths("Greg called Bob.", language=language) == []


@given(st.text(max_size=200))
def test_a_text_claims_nothing_beyond_itself(text: str) -> None:
    assert strengths(text, text) == []


def test_a_number_of_thousands_of_digits_beside_a_month_is_no_day() -> None:
    assert strengths(f"In May {'9' * 5_000} things.", "") == []
