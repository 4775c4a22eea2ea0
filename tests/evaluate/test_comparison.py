"""Values are the same however they are written, and different where they mean something else."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from pipeline.evaluate.comparison import Kind, kind_of, letters, read_date, same
from pipeline.stages.code import CodeResult
from pipeline.stages.images import ImageResult
from pipeline.stages.invoices import InvoiceResult


@pytest.mark.parametrize(
    ("kind", "truth", "found"),
    [
        (Kind.NAME, "MY HAPPY PHARMACY PLT", "My Happy Pharmacy P.L.T."),
        (Kind.NAME, "billing", "BILLING"),
        (Kind.NAME, None, ""),
        (Kind.AMOUNT, "RM41.45", "41.45"),
        (Kind.AMOUNT, "1,007.50", "1007.5"),
        (Kind.AMOUNT, 177.49, "177.49"),
        (Kind.AMOUNT, None, "0"),
        (Kind.DATE, "26/06/18", "2018-06-26"),
        (Kind.DATE, "12/28/2017", "2017-12-28"),
        (Kind.DATE, "25032018", "2018-03-25"),
        (Kind.DATE, "19 APR 2018", "2018-04-19"),
        (Kind.DATE, "2018-04-19", "2018-04-19"),
        (Kind.DATE, None, None),
        (Kind.LIST, ["a@example.com", "b@example.org"], ["B@example.org", "a@example.com"]),
        (Kind.LIST, ["path", "follow"], [{"name": "follow"}, {"name": "path"}]),
        (Kind.LIST, [{"amount": 10.0}, {"amount": "5.50"}], [{"amount": "5.5"}, {"amount": "10"}]),
        (Kind.FLAG, True, True),
    ],
)
def test_the_same(kind: Kind, truth: JsonValue, found: JsonValue) -> None:
    assert same(kind, truth, found)


@pytest.mark.parametrize(
    ("kind", "truth", "found"),
    [
        (Kind.NAME, "billing", "sales"),
        (Kind.NAME, "billing", None),
        (Kind.NAME, "?", "!"),
        (Kind.AMOUNT, "41.45", "41.54"),
        (Kind.AMOUNT, "41.45", None),
        (Kind.DATE, "03/04/2018", "2018-03-04"),
        (Kind.DATE, "2018-04-19", None),
        (Kind.LIST, ["a"], ["a", "a"]),
        (Kind.LIST, [{"amount": "1"}], []),
        (Kind.FLAG, True, False),
        (Kind.FLAG, False, None),
    ],
)
def test_not_the_same(kind: Kind, truth: JsonValue, found: JsonValue) -> None:
    assert not same(kind, truth, found)


def test_a_yes_or_no_about_one_value_asks_for_that_value() -> None:
    assert same(Kind.NAME, True, "legible", key="legible")
    assert same(Kind.NAME, False, "partly", key="legible")
    assert not same(Kind.NAME, True, "illegible", key="legible")


def test_kinds_follow_from_the_types_of_results() -> None:
    fields = InvoiceResult.model_fields
    assert kind_of(fields["gross"]) is Kind.AMOUNT
    assert kind_of(fields["issue_date"]) is Kind.DATE
    assert kind_of(fields["vendor"]) is Kind.NAME
    assert kind_of(fields["line_items"]) is Kind.LIST
    assert kind_of(ImageResult.model_fields["needs_moderation"]) is Kind.FLAG
    assert kind_of(CodeResult.model_fields["parameters"]) is Kind.LIST


@given(st.dates(date(1990, 1, 1), date(2099, 12, 31)))
def test_dates_are_read_in_the_ways_they_are_printed(day: date) -> None:
    for printed in (
        day.isoformat(),
        day.strftime("%d/%m/%Y"),
        day.strftime("%d.%m.%Y"),
        day.strftime("%d %b %Y").upper(),
        day.strftime("%d%m%Y"),
    ):
        assert read_date(printed) == day


@given(st.text(max_size=40))
def test_anything_can_be_compared_and_is_the_same_as_itself(text: str) -> None:
    for kind in (Kind.NAME, Kind.AMOUNT, Kind.DATE):
        assert same(kind, text, text)
    assert letters(letters(text)) == letters(text)
