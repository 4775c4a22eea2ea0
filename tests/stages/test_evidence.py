"""Evidence: what counts as found."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.checks.evidence import numbers_in, numbers_missing, quote_found

LETTER = "Dear team,\n\nmy card was charged  twice – “please” refund\u00a0me.\nCafé №5, ﬁnal."


@pytest.mark.parametrize(
    "quote",
    [
        "my card was charged twice",
        "MY CARD WAS CHARGED TWICE",
        "charged twice - 'please' refund me",
        "team, my card",
        "cafe\u0301 №5",
        "final",
        "my card ... refund me",
        "my card […] twice",
        "Dear team… refund",
        "",
    ],
)
def test_a_faithful_copy_is_found(quote: str) -> None:
    assert quote_found(quote, LETTER)


@pytest.mark.parametrize(
    "quote",
    ["my card was charged three times", "refund ... my card", "card charged", "Cafe 6"],
)
def test_other_words_or_another_order_are_not(quote: str) -> None:
    assert not quote_found(quote, LETTER)


@given(st.text(), st.text(), st.text())
def test_a_slice_of_a_text_is_found_in_it(before: str, quote: str, after: str) -> None:
    assert quote_found(quote, f"{before} {quote} {after}")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Total: 1.234,56 EUR", "1234.56"),
        ("Total: $1,234.56", "1234.56"),
        ("Total 1 234,56", "1234.56"),
        ("Total 1\u202f234,56", "1234.56"),
        ("CHF 1'234.50", "1234.5"),
        ("RM 20.50", "20.50"),
        ("1,234", "1234"),
        ("1,234", "1.234"),
        ("12,00\n5,00", "5"),
        ("12.00 5.00", "12"),
        ("-7,90", "7.9"),
        ("١٢٫٥٠", "12.5"),
        ("１２．５０", "12.5"),
        ("Menge: 3 m² zu 3,3333", "3.3333"),
        ("1,00,000.00", "100000"),
    ],
)
def test_a_number_is_found_however_it_is_written(text: str, number: str) -> None:
    assert Decimal(number) in numbers_in(text)


def test_a_superscript_is_no_digit() -> None:
    assert numbers_in("3 m²") == {Decimal(3)}


def test_signs_do_not_matter_and_the_missing_are_reported() -> None:
    found = numbers_missing([Decimal("-7.90"), Decimal("8.79")], "total 7,90")
    assert found == (Decimal("8.79"),)


@given(
    st.decimals(min_value=0, max_value=10**9, places=2), st.sampled_from(["en", "de", "ch", "fr"])
)
def test_an_amount_is_found_in_every_country(amount: Decimal, country: str) -> None:
    english = f"{amount:,.2f}"
    swaps = {"en": ",.", "de": ".,", "ch": "'.", "fr": "\u00a0,"}[country]
    written = english.translate({ord(","): swaps[0], ord("."): swaps[1]})
    assert not numbers_missing([amount], f"Pay {written} now")


@given(st.text(max_size=200))
def test_any_text_has_numbers_or_none(text: str) -> None:
    assert all(number >= 0 for number in numbers_in(text))
