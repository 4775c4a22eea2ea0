"""Amounts as models write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.amounts import format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1234.50", "1234.50"),
        ("0", "0"),
        ("-5.00", "-5.00"),
        ("5.00-", "-5.00"),
        ("(5.00)", "-5.00"),
        ("€ 12.00", "12.00"),
        ("12.00 EUR", "12.00"),
        ("1,234.56", "1234.56"),
        ("1.234,56", "1234.56"),
        ("1'234.50", "1234.50"),
        ("1 234,56", "1234.56"),
        ("1,234", "1234"),
        ("1.234", "1.234"),
        ("1.234.567", "1234567"),
        ("3,3333", "3.3333"),
        ("+7", "7"),
        ("\u22125.00", "-5.00"),
        ("12.50 ", "12.50"),
        ("USD 1\u00a0234.50", "1234.50"),
        (".5", "0.5"),
    ],
)
def test_an_amount_is_read(text: str, amount: str) -> None:
    assert parse_amount(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "n/a",
        "EUR",
        "1.2.3",
        "1,2,3",
        "12..5",
        "1" * 19,
        "NaN",
        "Infinity",
        "1,23.4,5",
        "5-3",
        "1x4",
        "12 EUR 13",
        "x" * 41,
        " " * 30_000 + "1",
        "１２",
    ],
)
def test_what_is_no_amount_is_none(text: str) -> None:
    assert parse_amount(text) is None


def test_an_amount_is_published_in_plain_digits() -> None:
    assert format_amount(Decimal("1E+3")) == "1000"
    assert format_amount(Decimal("0.00")) == "0.00"


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_what_is_published_is_read_back_unchanged(amount: Decimal) -> None:
    assert parse_amount(format_amount(amount)) == amount


@given(st.text())
def test_any_text_is_an_amount_or_none(text: str) -> None:
    amount = parse_amount(text)
    assert amount is None or amount.is_finite()
