"""Amounts of invoices that can be read in two ways, and the signs of what is deducted."""

from decimal import Decimal
from typing import Any

import pytest

from pipeline.cascade.policy import Policy
from pipeline.config import InvoiceSettings, Settings
from pipeline.model.records import Tier
from pipeline.stages.fields.invoice_answer import InvoiceAnswer
from pipeline.stages.invoices import InvoiceEvent, InvoiceResult, Invoices
from tests.stages.invoice_answers import line

STAGE = Invoices(InvoiceSettings())
POLICY = Policy.from_settings(Settings())
HEAD = "INVOICE No R-1001\nExample GmbH\nDate 2026-03-05 due 2026-04-04\nSample Ltd\n"
PLAIN = HEAD + "Work 1 x 100.00 100.00\nNet 100.00 VAT 19.00\nTotal EUR 119.00"


def answer(**changes: object) -> InvoiceAnswer:
    """A right answer about `PLAIN`, with changes."""
    right: dict[str, Any] = {
        "quote": "INVOICE No R-1001", "invoice_number": "R-1001", "issue_date": "2026-03-05",
        "due_date": "2026-04-04", "vendor": "Example GmbH", "buyer": "Sample Ltd",
        "currency": "EUR", "line_items": [line("Work", "1", "100.00", "100.00")],
        "allowances": "0", "charges": "0", "net": "100.00", "tax": "19.00", "gross": "119.00",
        "prepaid": "0", "due": "119.00", "legibility": "legible", "missing": [],
        "confidence": 0.95, "unclear": False,
    }  # fmt: skip
    return InvoiceAnswer.model_validate({**right, **changes})


def published(text: str, given: InvoiceAnswer) -> InvoiceResult:
    return STAGE.result(InvoiceEvent(id="I-1", text=text), given)


def doubts(text: str, given: InvoiceAnswer, tier: Tier = Tier.HAIKU) -> set[str]:
    signals = STAGE.signals(InvoiceEvent(id="I-1", text=text), given)
    return {doubt.code for doubt in POLICY["invoices", tier].doubts(signals)}


def all_amounts(net: str, tax: str, gross: str, **changes: object) -> InvoiceAnswer:
    lines = [line("Work", "1", net, net)]
    return answer(net=net, tax=tax, gross=gross, due=gross, line_items=lines, **changes)


def test_a_plain_invoice_is_accepted() -> None:
    assert doubts(PLAIN, answer()) == set()


@pytest.mark.parametrize("currency", ["TND", "KWD", "BHD", "OMR", "JOD", "LYD"])
def test_of_three_decimals_what_follows_the_only_separator_are_decimals(currency: str) -> None:
    text = f"{HEAD}Work 1 x 100,420 = 100,420\nHT 100,420\nTVA 19,080\nTotal 119,500 {currency}"
    given = all_amounts("100,420", "19,080", "119,500", currency=currency)
    assert published(text, given).gross == Decimal("119.500")
    assert published(text, given).model_dump(mode="json")["net"] == "100.420"
    assert doubts(text, given) == set()


@pytest.mark.parametrize(("currency", "written"), [("EUR", "119,500"), ("JPY", "119.500")])
def test_of_two_or_no_decimals_they_are_thousands(currency: str, written: str) -> None:
    comma = written[3]
    text = f"{HEAD}Work 1 100{comma}420\nNet 100{comma}420 VAT 19{comma}080 Total {written}"
    given = all_amounts(f"100{comma}420", f"19{comma}080", written, currency=currency)
    assert published(text, given).gross == Decimal(119500)
    assert doubts(text, given) == set()


@pytest.mark.parametrize(
    ("currency", "separator"), [("", ","), ("", "."), ("IQD", ","), ("EUR", ".")]
)
def test_what_nothing_decides_is_doubted_by_both_tiers(currency: str, separator: str) -> None:
    net, tax, gross = (each.replace(",", separator) for each in ("100,420", "19,080", "119,500"))
    text = f"{HEAD}Work 1 {net}\nNet {net} VAT {tax} Total {gross}"
    given = all_amounts(net, tax, gross, currency=currency)
    for tier in Tier.HAIKU, Tier.SONNET:
        assert "ambiguous_amount" in doubts(text, given, tier)


@pytest.mark.parametrize(
    ("other", "gross"),
    [("Rebate already given 1,50", "119.500"), ("Ref. 1,234,567", "119500"), ("1.234,50", None)],
)
def test_other_numbers_of_the_document_decide_if_they_agree(other: str, gross: str | None) -> None:
    text = f"{HEAD}Work 1 100,420\nNet 100,420 VAT 19,080 Total 119,500 {other}"
    given = all_amounts("100,420", "19,080", "119,500", currency="")
    if gross is not None:
        assert published(text, given).gross == Decimal(gross)
        assert "ambiguous_amount" not in doubts(text, given)


def test_other_numbers_that_use_a_separator_in_both_ways_decide_nothing() -> None:
    text = f"{HEAD}Work 1 100,420 Net 100,420 VAT 19,080 Total 119,500 1,234,567 and 0,5"
    given = all_amounts("100,420", "19,080", "119,500", currency="")
    assert "ambiguous_amount" in doubts(text, given)


def test_the_currency_against_the_document_is_a_doubt() -> None:
    text = f"{HEAD}Work 1 100,420 Net 100,420 VAT 19,080 Total 119,500 EUR, 7,5 hours"
    given = all_amounts("100,420", "19,080", "119,500", currency="EUR")
    assert "ambiguous_amount" in doubts(text, given)


@pytest.mark.parametrize("currency", ["", "EUR", "TND"])
def test_the_sums_decide_if_one_reading_alone_adds_up(currency: str) -> None:
    text = f"{HEAD}Work 1 1,000 Net 1,000 VAT 190.00 Total 1190.00"
    given = all_amounts("1,000", "190.00", "1190.00", currency=currency)
    assert published(text, given).net == Decimal(1000)
    assert "ambiguous_amount" not in doubts(text, given)


def test_an_answer_in_other_signs_than_the_text_is_read_as_the_text() -> None:
    text = f"{HEAD}Work 1 1.234,00 Netto 1.234,00 MwSt. 234,46 Gesamt EUR 1.468,46"
    given = all_amounts("1.234", "234.46", "1468.46")
    assert published(text, given).net == Decimal(1234)
    assert doubts(text, given) == set()


@pytest.mark.parametrize(
    ("quantity", "price", "amount", "expected"),
    [
        ("0,125", "800.00", "100.00", "0.125"),
        ("0.125", "800.00", "100.00", "0.125"),
        ("1,250", "80.00", "100.00", "1.250"),
        ("1.250", "0.08", "100.00", "1250"),
        ("1,000", "100.00", "100.00", "1.000"),
        ("2,500 kg", "40.00", "100.00", "2.500"),
        ("10.000", "10.000", "100.00", "10.000"),
    ],
)
def test_quantity_and_price_are_those_that_make_the_amount(
    quantity: str, price: str, amount: str, expected: str
) -> None:
    given = answer(line_items=[line("Work", quantity, price, amount)])
    (read,) = published(PLAIN, given).line_items
    assert read.quantity == Decimal(expected)
    assert "ambiguous_amount" not in doubts(PLAIN, given)


def test_a_quantity_that_nothing_decides_is_doubted() -> None:
    given = answer(line_items=[line("Work", "1,250", "", "100.00")])
    assert "ambiguous_amount" in doubts(HEAD + "Work 1,250 100.00 19.00 119.00 EUR", given)


def test_a_price_may_have_more_decimals_than_the_currency() -> None:
    given = answer(line_items=[line("Diesel", "38.61", "2.590", "100.00")])
    (read,) = published(PLAIN, given).line_items
    assert read.unit_price == Decimal("2.590")


@pytest.mark.parametrize("allowances", ["10.00", "-10.00", "(10.00)", "10.00-", "\u221210.00"])
def test_a_discount_counts_with_the_sign_that_adds_up(allowances: str) -> None:
    text = f"{HEAD}Work 1 x 100.00 100.00\nDiscount -10.00 Net 90.00 VAT 17.10 Total EUR 107.10"
    given = answer(allowances=allowances, net="90.00", tax="17.10", gross="107.10", due="107.10")
    assert published(text, given).allowances == Decimal("10.00")
    assert doubts(text, given) == set()


def test_a_discount_that_adds_up_in_neither_way_is_left_and_doubted() -> None:
    given = answer(allowances="-10.00", net="95.00", tax="17.10", gross="112.10", due="112.10")
    assert published(PLAIN, given).allowances == Decimal("-10.00")
    assert "arithmetic" in doubts(PLAIN, given)


def test_the_signs_of_a_credit_note_stay() -> None:
    text = f"{HEAD}Work -100.00 Discount -10.00 Net -90.00 VAT -17.10 Total EUR -107.10"
    given = answer(
        line_items=[line("Work", "-1", "100.00", "-100.00")],
        allowances="-10.00", net="-90.00", tax="-17.10", gross="-107.10", due="-107.10",
    )  # fmt: skip
    assert published(text, given).allowances == Decimal("-10.00")
    assert doubts(text, given) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"withheld": "15.00"},
        {"withheld": "-15.00"},
        {"prepaid": "-15.00"},
        {"prepaid": "15.00", "withheld": "0"},
    ],
)
def test_tax_that_is_withheld_reduces_what_is_due(changes: dict[str, str]) -> None:
    text = f"{PLAIN}\nRetention 15 % -15.00\nTo pay 104.00"
    given = answer(due="104.00", **changes)
    assert doubts(text, given) == set()
    assert abs(published(text, given).withheld or Decimal("15.00")) == Decimal("15.00")


def test_an_answer_without_withheld_tax_is_still_one() -> None:
    assert published(PLAIN, answer()).withheld is None


@pytest.mark.parametrize(
    ("net", "tax", "gross"),
    [
        ("100000", "18000", "118000"),
        ("1,00,000", "18,000", "1,18,000"),
        ("1 lakh", "18k", "1,18,000"),
    ],
)
def test_lakhs_are_grouped_as_they_are(net: str, tax: str, gross: str) -> None:
    text = HEAD + "INR Work 1 1,00,000 Net 1,00,000 GST 18,000 Grand Total 1,18,000"
    given = all_amounts(net, tax, gross, currency="INR")
    assert published(text, given).gross == Decimal(118000)
    assert doubts(text, given) == set()


def test_magnitudes_are_published_in_full() -> None:
    text = HEAD + "Work 1,00 Mio EUR, MwSt. 190k, Summe 1,19 Mio EUR"
    given = all_amounts("1000000", "190 k", "1.19 Mio")
    assert published(text, given).model_dump(mode="json")["gross"] == "1190000"
    assert doubts(text, given) == set()


@pytest.mark.parametrize("hostile", ["9" * 100_000, "1e999999", "NaN", "1.2.3.4" * 9, "(" * 60])
def test_what_is_no_amount_is_null_and_a_doubt(hostile: str) -> None:
    given = answer(gross=hostile)
    assert published(PLAIN, given).gross is None
    assert doubts(PLAIN, given) & {"implausible", "missing_field"}
