"""Where in a text the values of an answer stand."""

import re
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ExtraField, InvoiceSettings, TicketSettings
from pipeline.model.records import LONGEST_QUOTE, Evidence
from pipeline.stages.checks.places import MOST_PLACES, Places, Span, copied_from, nearest
from pipeline.stages.fields.invoice_answer import InvoiceAnswer
from pipeline.stages.invoices import InvoiceEvent, Invoices
from pipeline.stages.tickets import TicketEvent, Tickets
from tests.stages.asking import single
from tests.stages.invoice_answers import INVOICE, RIGHT, TEXT


def quotes(text: str, spans: list[Span]) -> list[str]:
    return [text[span.start : span.end] for span in spans]


def said(evidence: list[Evidence]) -> dict[str, str | None]:
    return {each.field: each.quote for each in evidence}


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("Pay ACME Ltd now", "ACME Ltd", ["ACME Ltd"]),
        ("Pay acme  ltd. now", "ACME Ltd", ["acme  ltd"]),
        ("Pay ACMEX now", "ACME", []),
        ("order 4417-220", "4417 220", ["4417-220"]),
        ("order 4417220", "4417-220", ["4417220"]),
        ("order 44172205", "4417-220", []),
        ("tel 020 7946 0417", "020 7946 0417", ["020 7946 0417"]),
        ("请退款给我", "退款", ["退款"]),
        ("", "x", []),
        ("x", "", []),
        ("x", "...", []),
    ],
)
def test_a_copied_value_is_found_with_what_a_copy_changes(
    text: str, value: str, found: list[str]
) -> None:
    assert quotes(text, Places(text, "text").of_copy(value)) == found


@pytest.mark.parametrize(
    ("text", "number", "currency", "found"),
    [
        ("Total 1.234,50 EUR", "1234.5", "EUR", ["1.234,50"]),
        ("Total 1 234,50 EUR", "1234.5", "EUR", ["1 234,50"]),
        ("Total -145.00", "-145", None, ["145.00"]),
        ("Total 145.001", "145", None, []),
        ("Total 119,500", "119.5", "TND", ["119,500"]),
        ("Total 119,500", "119500", "TND", []),
        ("الإجمالي ١٤٥٫٠٠", "145", None, ["١٤٥٫٠٠"]),
        ("0.00 and 0", "0", None, []),
    ],
)
def test_a_number_is_found_in_the_writing_of_the_text(
    text: str, number: str, currency: str | None, found: list[str]
) -> None:
    assert quotes(text, Places(text, "text").of_number(Decimal(number), currency)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("on 2025-03-05.", ["2025-03-05"]),
        ("am 5. März 2025 bezahlt", ["5. März 2025"]),
        ("on March 5th, 2025", ["March 5th, 2025"]),
        ("am 05.03.25", ["05.03.25"]),
        ("on 6 March 2025", []),
        ("Straße 9, 5. März 2025", ["5. März 2025"]),
    ],
)
def test_a_day_is_found_in_the_writing_of_the_text(text: str, found: list[str]) -> None:
    assert quotes(text, Places(text, "text").of_date(date(2025, 3, 5))) == found


def test_of_several_places_the_one_nearest_to_its_label_counts() -> None:
    text = Places("Net 50.00\nDeposit 50.00", "text")
    spans = text.of_number(Decimal(50))
    assert [each.start for each in text.evidence("/prepaid", spans, *text.alike("deposit"))] == [18]


def test_of_several_places_that_nothing_singles_out_none_is_given() -> None:
    text = Places("50.00 and 50.00", "text")
    assert list(text.evidence("/net", text.of_number(Decimal(50)))) == []
    twice = Places("net 50.00 net 50.00", "text")
    assert list(twice.evidence("/net", twice.of_copy("50.00"), *twice.alike("net"))) == []


def test_what_stands_in_too_many_places_is_nowhere() -> None:
    text = Places("label " + "1 " * (MOST_PLACES + 1), "text")
    assert list(text.evidence("/quantity", text.of_copy("1"), *text.alike("label"))) == []


def test_a_label_far_away_singles_nothing_out() -> None:
    text = Places("net" + " " * 500 + "7 8 7", "text")
    assert list(text.evidence("/net", text.of_copy("7"), *text.alike("net"))) == []


def test_a_passage_too_long_to_be_published_is_not_evidence() -> None:
    passage = "word " * LONGEST_QUOTE
    assert Places(passage, "text").of_copy(passage) == []


def test_a_value_in_two_texts_of_an_event_is_given_for_neither() -> None:
    body, subject = Places("Refund my order", "body"), Places("Refund", "subject")
    assert list(copied_from([body, subject], "/intent", "Refund")) == []
    [found] = copied_from([body, subject], "/intent", "my order")
    assert (found.input, found.start, found.end) == ("body", 7, 15)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(WORDS, WORDS, WORDS)
def test_every_span_of_a_copy_cuts_out_what_was_copied(before: str, value: str, after: str) -> None:
    text = f"{before} {value} {after}"
    for span in Places(text, "text").of_copy(value):
        cut = text[span.start : span.end]
        assert letters(cut) == letters(value)


@given(st.text(), WORDS)
def test_evidence_quotes_its_span_to_the_letter(text: str, value: str) -> None:
    places = Places(text, "text")
    for each in places.evidence("/x", places.of_copy(value)):
        assert each.start is not None
        assert each.quote == text[each.start : each.end]


@given(st.dates(date(1995, 1, 1), date(2090, 1, 1)), WORDS, st.sampled_from(["ß", "é", "İ", ""]))
def test_a_date_is_cut_out_behind_characters_that_folding_makes_longer(
    day: date, before: str, letter: str
) -> None:
    if any(map(str.isdigit, before)):
        return
    text = f"{before}{letter}; {day.isoformat()}"
    assert quotes(text, Places(text, "text").of_date(day)) == [day.isoformat()]


@given(st.decimals(min_value=1, max_value=10**6, places=2), WORDS)
def test_a_number_is_cut_out_as_it_is_written(number: Decimal, before: str) -> None:
    if any(map(str.isnumeric, before)):
        return
    text = f"{before}; {number}"
    assert quotes(text, Places(text, "text").of_number(number)) == [str(number)]


@given(st.lists(st.integers(0, 400), max_size=5), st.lists(st.integers(0, 400), max_size=3))
def test_the_nearest_place_is_no_farther_than_the_others(
    starts: list[int], labels: list[int]
) -> None:
    spans = [Span(at, at + 1) for at in sorted(set(starts))]
    beside = [Span(at, at + 1) for at in labels]
    found = nearest(spans, beside)
    if len(spans) > 1 and found is not None:
        distance = min(map(found.distance_to, beside))
        others = [each for each in spans if each != found]
        assert all(distance <= min(map(each.distance_to, beside)) for each in others)


def letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def invoice_places(**changes: str) -> list[Evidence]:
    answer = InvoiceAnswer.model_validate({**RIGHT, **changes})
    return list(Invoices(InvoiceSettings()).evidence(INVOICE, answer))


def test_the_values_of_an_invoice_are_found_each_in_its_own_place() -> None:
    found = invoice_places()
    assert said(found)["/issue_date"] == "31 January 2025"
    assert said(found)["/buyer"] == "Baker & Sons"
    for each in found:
        assert each.start is not None
        assert TEXT[each.start : each.end] == each.quote
    assert len({each.start for each in found}) == len(found)
    lines = {each.field: TEXT[: each.start].count("\n") for each in found}
    assert {lines[f"/line_items/0/{name}"] for name in ("description", "amount")} == {3}
    assert {lines[f"/line_items/1/{name}"] for name in ("unit_price", "amount")} == {4}
    assert (lines["/gross"], lines["/due"]) == (9, 11)


def test_a_value_that_the_text_does_not_have_gets_no_place() -> None:
    found = said(invoice_places(vendor="Somebody else", gross="999.99"))
    assert not {"/vendor", "/gross"} & set(found)


def test_further_fields_of_a_ticket_are_found_by_type() -> None:
    fields = [
        ExtraField(name="order", description="Order."),
        ExtraField(name="paid", type="number", description="Amount."),
        ExtraField(name="day", type="date", description="Day."),
        ExtraField(name="names", type="list", description="Names."),
        ExtraField(name="is_new", type="boolean", description="New."),
    ]
    stage = Tickets(TicketSettings(fields=fields))
    event = TicketEvent(id="1", body="Ann and Bo paid 1.250,00 for A-77 on 5 May 2026. Yes.")
    answer = single(stage.question(event)).answer_model.model_validate({
        "quote": "paid 1.250,00", "intent": "billing", "runner_up": None, "priority": "low",
        "several_matters": False, "language": "en", "summary": "x", "confidence": 1,
        "unclear": False, "fields": {
            "order": "A-77", "paid": "1250", "day": "2026-05-05", "names": ["Ann", "Bo"],
            "is_new": "yes",
        },
    })  # fmt: skip
    assert said(list(stage.evidence(event, answer))) == {
        "/intent": "paid 1.250,00",
        "/fields/order": "A-77",
        "/fields/paid": "1.250,00",
        "/fields/day": "5 May 2026",
        "/fields/names/0": "Ann",
        "/fields/names/1": "Bo",
    }


def test_an_invoice_that_is_a_file_has_no_spans() -> None:
    event = InvoiceEvent(id="1", uri="file:///in/a.pdf")
    assert (
        list(Invoices(InvoiceSettings()).evidence(event, InvoiceAnswer.model_validate(RIGHT))) == []
    )
    assert INVOICE.text == TEXT
