"""A text to look for values in: what is found, and that no text makes it slow."""

import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.questions import Signal
from pipeline.stages.checks.text_index import TextIndex, value_signals

DAY, DUE = date(2026, 3, 5), date(2026, 4, 4)
SIZE = 80_000


@pytest.mark.parametrize(
    ("text", "number", "is_there"),
    [
        ("1,18,000", "118000", True),
        ("1,00,000.50", "100000.5", True),
        ("1.19 Mio EUR", "1190000", True),
        ("3万円", "30000", True),
        ("١٬٢٣٤٫٥٠", "1234.5", True),
        ("1 234,56", "1234.56", True),
        ("1,234", "1.234", True),
        ("(7.90)", "-7.9", True),
        ("1,18,000", "118", False),
        ("112.50", "12.5", False),
        ("9" * 100_000, "9", False),
    ],
)
def test_a_number_is_found_however_it_is_written(text: str, number: str, *, is_there: bool) -> None:
    assert TextIndex(f"Total {text}, thank you").has_number(Decimal(number)) is is_there


@pytest.mark.parametrize(
    ("text", "currency", "number", "is_there"),
    [
        ("119,500 DT", "TND", "119.5", True),
        ("119,500 DT", "TND", "119500", False),
        ("BD 119.500", "BHD", "119500", False),
        ("KD 1,119.500", "KWD", "1119.5", True),
        ("KD 119,500.000", "KWD", "119500", True),
        ("1,234 million KD", "KWD", "1234000000", True),
        ("119,500", "IQD", "119500", True),
        ("EUR 119,500", "EUR", "119500", True),
        ("EUR 1,234", "EUR", "1.234", True),
    ],
)
def test_of_a_currency_with_three_decimals_those_are_no_thousands(
    text: str, currency: str, number: str, *, is_there: bool
) -> None:
    assert TextIndex(f"Total {text} only").has_number(Decimal(number), currency) is is_there


@pytest.mark.parametrize(
    ("text", "number", "is_supported"),
    [
        ("119,500", "119500", False),
        ("119,500 and 1,5", "119.5", True),
        ("119,500 and 1,234,567", "119500", True),
        ("119,500 and 1,234,567 and 1,5", "119500", False),
        ("119.500,00", "119500", True),
        ("1 piece", "1.000", False),
    ],
)
def test_a_reading_is_supported_by_what_leaves_no_choice(
    text: str, number: str, *, is_supported: bool
) -> None:
    assert TextIndex(text).supports(Decimal(number)) is is_supported


def test_only_what_was_given_and_is_not_there_is_named() -> None:
    index = TextIndex("Order A-77 of Ann Lee, 5 March 2026, 12.50 EUR")
    found = value_signals(
        index,
        names={"who": "LEE, Ann", "buyer": "Bob Ray", "seller": None},
        identifiers={"order": "A77", "other": "A-78"},
        dates={"day": DAY, "due": DUE},
        numbers={"price": Decimal("12.5"), "none": Decimal(0), "fee": Decimal(3)},
    )
    assert [signal.detail.partition(":")[0] for signal in found] == ["buyer", "other", "due", "fee"]
    assert found[0] == Signal("evidence_not_found", 0.9, "buyer: not in the text.", ("buyer",))


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=40))
def test_a_name_is_found_where_it_stands(before: str, name: str, after: str) -> None:
    assert TextIndex(f"{before} {name} {after}").has_name(name)


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.sampled_from(
    ["%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d-%b-%y", "%Y%m%d",
     "%Y年%m月%d日"]
))  # fmt: skip
def test_a_date_is_found_where_it_stands(day: date, form: str) -> None:
    assert TextIndex(f"Invoice of {day.strftime(form)}.").has_date(day)


def look(text: str) -> None:
    index = TextIndex(text)
    index.has_number(Decimal("119.00"))
    index.supports(Decimal("1.000"))
    index.has_identifier("R-1001 77")
    index.has_name("Exampled Services Holding Limited Company")
    index.has_day_without_year(DAY)
    index.has_term(DAY, DUE)
    index.says_otherwise("EUR")


@pytest.mark.parametrize(
    "unit",
    ["1.", "1 ", "9", "5 mar 26 ", "1 11 ", "a\u0301\u0323", "\u0301", "a", "exampl ", " ", "5-",
     "EUR 1.", "令和8年3月5日万円", "٥ مارس ", "1a ", "111,", "5  年  ", "가나다 3월 ", "0.1",
     "$1"],
)  # fmt: skip
def test_no_text_takes_longer_than_its_length_explains(unit: str) -> None:
    def seconds(work: Callable[[str], None], text: str) -> float:
        start = time.thread_time()
        work(text)
        return time.thread_time() - start

    # Linear work takes some 0.1 s; what is quadratic takes far longer.
    assert seconds(look, unit * (SIZE // len(unit))) < 2


@pytest.mark.parametrize("printed", ["1.19 Mio", "2,5 lakh", "3 crore", "4 Millionen"])
def test_an_amount_that_is_printed_with_a_word_of_magnitude_is_not_found_without_it(
    printed: str,
) -> None:
    amount = Decimal(printed.split(maxsplit=1)[0].replace(",", "."))
    assert not TextIndex(f"Total EUR {printed}").has_number(amount)
    assert TextIndex(f"Total EUR {printed}, of it {amount} paid").has_number(amount)
