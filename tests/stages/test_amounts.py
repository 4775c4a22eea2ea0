"""Amounts as models write them."""

from decimal import Decimal
from typing import Literal

import pytest
from babel import localedata
from babel.numbers import (
    format_compact_currency,
    format_compact_decimal,
    format_currency,
    format_decimal,
    get_currency_precision,
)
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.fields.amounts import CURRENCIES, format_amount, parse_amount, read_amount
from tests.stages.locale_data import LANGUAGES

STYLES: list[Literal["standard", "accounting", "name"]] = ["standard", "accounting", "name"]
SHORT_AND_LONG: list[Literal["short", "long"]] = ["short", "long"]


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
        ("１２", "12"),
        ("１，２３４．５０", "1234.50"),
        ("١٬٢٣٤٫٥٠", "1234.50"),
        ("۱٬۲۳۴٫۵", "1234.5"),
        ("0,125", "0.125"),
        ("0.125", "0.125"),
        ("1,18,000", "118000"),
        ("1,00,000.50", "100000.50"),
        ("Rs. 2,00,000/-", "200000"),
        ("100,-", "100"),
        ("100.--", "100"),
        ("\u25b3100", "-100"),
        ("US-$ 12.50", "12.50"),
        ("-$12.50", "-12.50"),
        ("100.00 CR", "-100.00"),
        ("CR 100.00", "-100.00"),
        ("100.00 DR", "100.00"),
        ("minus 3", "-3"),
        ("1.19 Mio", "1190000"),
        ("2,5 Mio. EUR", "2500000"),
        ("119k", "119000"),
        ("119 k€", "119000"),
        ("TEUR 119", "119000"),
        ("1,2 Mrd", "1200000000"),
        ("2 lakh", "200000"),
        ("1.5 crore", "15000000"),
        ("3 bn", "3000000000"),
        ("3万", "30000"),
        ("1.2億円", "120000000"),
        ("1,2 млн руб.", "1200000"),
        ("२ लाख", "200000"),
        ("12 m²", "12"),
        ("5 kg", "5"),
        ("100 kr", "100"),
        ("HK$0.95", "0.95"),
        ("NT$ 5", "5"),
        ("Rs.500", "500"),
        ("Rs.1,18,000.50", "118000.50"),
        ("SFr.1'250.50", "1250.50"),
        ("S/.500", "500"),
        ("$.50", "0.50"),
        ("5 US$", "5"),
        ("3 Mrd€", "3000000000"),
        ("3 Mio$", "3000000"),
        ("3 Mds €", "3000000000"),
        ("3 Md€", "3000000000"),
        ("3 tkr", "3000"),
        ("3,5 Mkr", "3500000"),
        ("3 mnkr", "3000000"),
        ("3 eFt", "3000"),
        ("12 MFt", "12000000"),
        ("3백만원", "3000000"),
        ("3천만 원", "30000000"),
        ("3百億円", "30000000000"),
        ("3 แสนบาท", "300000"),
        ("3 ล้านบาท", "3000000"),
        ("3 hundred", "300"),
        ("10 000:-", "10000"),
        ("10:– kr", "10"),
        ("<5.00>", "-5.00"),
        ("moins 3", "-3"),
        ("минус 3", "-3"),
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
        "x" * 65,
        " " * 30_000 + "1",
        "9" * 100_000,
        "1e999999",
        "12½",
        "12²",
        "1 2",
        "-(5)-",
        "10 %",
        "-10%",
        "٪١٠",
        "19 percent",
        "19 Prozent",
        "19 v. H.",
        "19 per cent",
        "19 pct.",
        "19 por ciento",
    ],
)
def test_what_is_no_amount_is_none(text: str) -> None:
    assert parse_amount(text) is None


@pytest.mark.parametrize(
    ("text", "currency", "values"),
    [
        ("119,500", "TND", ["119.500"]),
        ("119,500", "EUR", ["119500"]),
        ("119.500", "JPY", ["119500"]),
        ("119.500", "EUR", ["119.500", "119500"]),
        ("119,500", None, ["119500", "119.500"]),
        ("119,500", "IQD", ["119500", "119.500"]),
        ("1·234", None, ["1.234", "1234"]),
        ("1,234 Mio", "EUR", ["1234000000", "1234000"]),
        ("3 bn", None, ["3000000000", "3000000000000"]),
        ("1.5 Cr", "INR", ["-1.5", "15000000"]),
        ("1.5 CR", "EUR", ["-1.5"]),
        ("119k CR", "EUR", ["-119000"]),
        ("CR 1.19 Mio", "EUR", ["-1190000"]),
        ("2.5 lakh Cr", "INR", ["-250000", "2500000000000"]),
        ("1,234.5", "EUR", ["1234.5"]),
        ("12 t", "EUR", ["12000", "12000000000", "12000000000000", "12"]),
    ],
)
def test_all_that_an_amount_can_mean_is_read_the_most_likely_first(
    text: str, currency: str | None, values: list[str]
) -> None:
    assert read_amount(text, currency) == tuple(map(Decimal, values))


def test_of_a_quantity_a_letter_is_its_unit() -> None:
    assert read_amount("12 m", counts=True) == (Decimal(12),)
    assert read_amount("12 t", counts=True) == (Decimal(12),)
    assert read_amount("12k", counts=True) == (Decimal(12000),)
    assert read_amount("30 min", counts=True)[0] == Decimal(30)
    assert read_amount("19 %", counts=True) == (Decimal(19),)


def test_an_amount_is_published_in_plain_digits() -> None:
    assert format_amount(Decimal("1E+3")) == "1000"
    assert format_amount(Decimal("0.00")) == "0.00"


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_what_is_published_is_read_back_unchanged(amount: Decimal) -> None:
    assert parse_amount(format_amount(amount)) == amount


@given(st.text(), st.sampled_from([None, "EUR", "TND", "JPY", "INR"]))
def test_any_text_is_an_amount_or_none(text: str, currency: str | None) -> None:
    assert all(amount.is_finite() for amount in read_amount(text, currency))


@given(st.text("0123456789.,'-() ٣٫kMCR€万", max_size=30))
def test_so_is_what_looks_like_one(text: str) -> None:
    assert all(amount.is_finite() for amount in read_amount(text))


def is_silently_wrong(text: str, amount: Decimal, currency: str | None) -> bool:
    """Whether it is read as another amount, and as that one alone."""
    return read_amount(text, currency) not in {(), (amount,)} and not (
        amount in (found := read_amount(text, currency)) and len(found) > 1
    )


LOCALES = st.sampled_from(localedata.locale_identifiers())
DIGITS = st.integers(min_value=-(10**12), max_value=10**12)


@given(LOCALES, st.sampled_from(sorted(CURRENCIES)), DIGITS, st.sampled_from(STYLES))
def test_money_written_as_anywhere_is_never_read_as_another_amount(
    locale: str, currency: str, digits: int, style: Literal["standard", "accounting", "name"]
) -> None:
    amount = Decimal(digits).scaleb(-get_currency_precision(currency))
    text = format_currency(amount, currency, locale=locale, format_type=style)
    assert not is_silently_wrong(text, amount, currency)
    assert not is_silently_wrong(text, amount, None)


@given(LOCALES, DIGITS, st.integers(min_value=0, max_value=3))
def test_nor_is_a_number_without_a_currency(locale: str, digits: int, decimals: int) -> None:
    number = Decimal(digits).scaleb(-decimals)
    text = format_decimal(number, locale=locale)
    assert not is_silently_wrong(text, number, None)


# Of Swahili, whose words come first, Babel writes ten times the number.
@given(
    st.sampled_from([language for language in LANGUAGES if language != "sw"]),
    st.integers(min_value=1, max_value=999),
    st.integers(3, 12),
)
def test_nor_is_one_with_a_word_of_magnitude(language: str, digits: int, power: int) -> None:
    number = Decimal(digits).scaleb(power)
    for width in SHORT_AND_LONG:
        text = format_compact_decimal(number, format_type=width, locale=language, fraction_digits=9)
        assert not is_silently_wrong(text, number, None)


# Nor are these: Hebrew shortens by an apostrophe, Burmese writes a magnitude on either side,
# Sinhala before the digits, Bengali two of them, Persian a Latin K; Cr is what is credited, too.
UNUSUAL = {"sw", "he", "my", "si", "bn", "fa", "en_IN"}


@given(
    st.sampled_from([language for language in LANGUAGES if language not in UNUSUAL]),
    st.sampled_from(sorted(CURRENCIES)),
    st.integers(min_value=1, max_value=999),
    st.integers(3, 12),
)
def test_nor_is_money_with_one(language: str, currency: str, digits: int, power: int) -> None:
    amount = Decimal(digits).scaleb(power)
    text = format_compact_currency(amount, currency, locale=language, fraction_digits=9)
    assert not is_silently_wrong(text, amount, currency)
    assert not is_silently_wrong(text, amount, None)
