"""The stage `invoices`."""

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline.config import InvoiceSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image, Pdf, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.fields.invoice_answer import InvoiceAnswer
from pipeline.stages.invoices import InvoiceEvent, InvoiceResult, Invoices
from tests.stages.invoice_answers import INVOICE, RIGHT, TEXT, line
from tests.stages.making import pdf, picture

STAGE = Invoices(InvoiceSettings())


def answer(**changes: object) -> InvoiceAnswer:
    return InvoiceAnswer.model_validate({**RIGHT, **changes})


def signals(event: InvoiceEvent = INVOICE, /, **changes: object) -> list[tuple[str, float, str]]:
    found = STAGE.signals(event, answer(**changes))
    return [(signal.code, signal.strength, signal.detail) for signal in found]


def counting(event: InvoiceEvent = INVOICE, /, **changes: object) -> set[str]:
    return {code for code, strength, _ in signals(event, **changes) if strength >= 0.5}


def bare(data: bytes, content_type: bytes) -> InvoiceEvent:
    return STAGE.parse(data, key=b"k", headers={"content-type": content_type})


def test_text_pdf_and_image_are_asked_about_as_what_they_are() -> None:
    assert STAGE.question(INVOICE).parts == (Text("invoice", TEXT),)
    assert STAGE.question(bare(pdf(), b"application/pdf")).parts == (Pdf(pdf()),)
    assert STAGE.question(bare(picture(), b"image/png")).parts == (Image("image/png", picture()),)


def test_an_invoice_has_exactly_one_content() -> None:
    both = json.dumps({"id": "1", "text": "x", "uri": "file:///x"}).encode()
    for value in (b'{"id": "1"}', both):
        with pytest.raises(InvalidEvent, match="exactly one of text, file, uri"):
            STAGE.parse(value, key=None, headers={})


def test_a_text_beyond_the_limit_is_a_dead_letter() -> None:
    value = json.dumps({"id": "1", "text": "x" * 200_001}).encode()
    with pytest.raises(InvalidEvent, match="text: has") as caught:
        STAGE.parse(value, key=None, headers={})
    assert caught.value.reason is DeadLetterReason.TOO_LARGE


def test_a_right_answer_is_not_doubted() -> None:
    assert counting() == set()


def test_a_right_answer_is_published_exactly() -> None:
    result = STAGE.result(INVOICE, answer())
    assert result.model_dump(mode="json") == {
        "invoice_number": "A-7",
        "issue_date": "2025-01-31",
        "due_date": "2025-02-14",
        "vendor": "ACME Tools Ltd",
        "buyer": "Baker & Sons",
        "currency": "GBP",
        "line_items": RIGHT["line_items"],
        "allowances": "10.00",
        "charges": "5.00",
        "net": "145.00",
        "tax": "29.00",
        "gross": "174.00",
        "prepaid": "74.00",
        "withheld": None,
        "due": "100.00",
        "legibility": "legible",
        "missing": [],
        "fields": {},
    }


def test_what_the_document_does_not_say_is_published_as_null() -> None:
    result = STAGE.result(
        INVOICE,
        answer(
            due_date="", buyer=" ", currency="n/a", prepaid="", line_items=[line("x", "", "", "")]
        ),
    )
    published = result.model_dump(mode="json")
    assert [published[name] for name in ("due_date", "buyer", "currency", "prepaid")] == [None] * 4
    assert published["line_items"] == [
        {"description": "x", "quantity": None, "unit_price": None, "amount": None}
    ]


def test_what_cannot_be_is_published_as_null_and_doubted() -> None:
    wrong = {"issue_date": "2025-02-30", "currency": "EURO", "gross": "17x4"}
    for name, value in wrong.items():
        result = STAGE.result(INVOICE, answer(**{name: value}))
        assert getattr(result, name) is None
        assert {"implausible", "missing_field"} & counting(**{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"gross": "1x4"},
        {"tax": "none of it 1.2.3"},
        {"issue_date": "31.01.2025"},
        {"due_date": "2024-12-31"},
        {"issue_date": "1901-01-01"},
        {"currency": "XXX"},
        {"line_items": [line("Hammer", "2", "50.00", "1.2.3")]},
        {"line_items": [line("Hammer", "2 or 3", "50.00", "100.00")]},
        {"line_items": [line("Hammer", "2", "50.0.0", "100.00")]},
    ],
)
def test_what_cannot_be_is_implausible(changes: dict[str, Any]) -> None:
    assert "implausible" in counting(**changes)


def test_a_lump_sum_instead_of_a_quantity_is_published_as_null_and_not_doubted() -> None:
    lump_sum = [line("Hammer", "lump sum", "", "100.00"), RIGHT["line_items"][1]]
    (published, _) = STAGE.result(INVOICE, answer(line_items=lump_sum)).line_items
    assert (published.quantity, published.unit_price) == (None, None)
    assert "implausible" not in counting(line_items=lump_sum)


@pytest.mark.parametrize(
    "field", ["allowances", "charges", "net", "tax", "gross", "prepaid", "due"]
)
def test_one_wrong_amount_does_not_add_up_and_is_not_in_the_text(field: str) -> None:
    changed = str(float(RIGHT[field]) + 3)
    assert counting(**{field: changed}) == {"arithmetic", "evidence_not_found"}


def test_a_dropped_line_does_not_add_up() -> None:
    assert counting(line_items=RIGHT["line_items"][:1]) == {"arithmetic"}


def test_an_unknown_term_is_no_wrong_sum() -> None:
    assert counting(prepaid="", allowances="", tax="") == set()


def test_a_zero_need_not_be_in_the_text() -> None:
    text = TEXT.partition("Discount")[0] + "Total GBP 150.00"
    event = InvoiceEvent(id="1", text=text)
    right = {"allowances": "0", "charges": "0", "net": "150.00", "tax": "0", "gross": "150.00"}
    more = {"prepaid": "0", "due": "150.00", "quote": "Total GBP 150.00"}
    assert counting(event, **right, **more) == set()


def test_odd_lines_are_a_weak_sign_only() -> None:
    odd = [line("Hammer", "3", "50.00", "100.00"), RIGHT["line_items"][1]]
    assert ("arithmetic", 0.3) in {
        (code, strength) for code, strength, _ in signals(line_items=odd)
    }
    assert counting(line_items=odd) == set()


def test_required_fields_are_the_settings() -> None:
    receipt = {"invoice_number": "", "missing": ["invoice_number"]}
    assert counting(**receipt) == {"missing_field"}
    lenient = Invoices(InvoiceSettings(required_fields=["gross"]))
    codes = {signal.code for signal in lenient.signals(INVOICE, answer(**receipt))}
    assert "missing_field" not in codes
    assert lenient.result(INVOICE, answer(**receipt)).missing == ["invoice_number"]


def test_lines_can_be_required() -> None:
    strict = Invoices(InvoiceSettings(required_fields=["line_items"]))
    found = strict.signals(INVOICE, answer(line_items=[]))
    assert "missing_field" in {signal.code for signal in found}


def test_a_field_that_was_given_is_not_missing() -> None:
    assert STAGE.result(INVOICE, answer(missing=["vendor", "gross"])).missing == []


def test_the_tolerance_is_the_settings() -> None:
    event, off = INVOICE, answer(due="100.05")
    exact = Invoices(InvoiceSettings(amount_tolerance=Decimal("0.10")))
    assert "arithmetic" not in {s.code for s in exact.signals(event, off) if s.strength == 1}
    assert "arithmetic" in {s.code for s in STAGE.signals(event, off) if s.strength == 1}


def test_of_a_file_no_quote_can_be_checked_but_sums_and_legibility_are() -> None:
    event = bare(picture(), b"image/png")
    assert counting(event, quote="anything") == set()
    assert counting(event, due="7.00", legibility="illegible") == {"arithmetic", "illegible"}


def test_an_empty_text_is_unclear() -> None:
    assert "unclear" in counting(InvoiceEvent(id="1", text=" \n"))


def test_a_result_is_read_back_as_it_was_published() -> None:
    result = STAGE.result(INVOICE, answer())
    assert InvoiceResult.model_validate(result.model_dump(mode="json")) == result


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"vendor": "Somebody Else Entirely"}, {"vendor"}),
        ({"issue_date": "1066-10-14"}, {"issue_date"}),
        ({"quote": "words that nobody wrote"}, {"gross", "due"}),
    ],
)
def test_what_is_doubted_is_said_to_be_about_its_own_fields(
    changes: dict[str, object], fields: set[str]
) -> None:
    found = STAGE.signals(INVOICE, answer(**changes))
    assert {name for signal in found if signal.strength >= 0.5 for name in signal.fields} == fields
