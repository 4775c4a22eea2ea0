"""Values of invoices and extractions that are not in the text, and such that only look so."""

from typing import Any

import pytest

from pipeline.stages.fields.invoice_answer import InvoiceAnswer
from pipeline.stages.invoices import InvoiceEvent
from tests.stages.test_invoice_amounts import HEAD, PLAIN, STAGE, answer, doubts, published

SMUDGED = (
    "INVOICE\nSample text, number and names are smudged\nWork 1 x 100.00 100.00\n"
    "Net 100.00 VAT 19.00\nTotal EUR 119.00"
)
INVENTED: dict[str, Any] = {
    "invoice_number": "R-9999",
    "issue_date": "2024-01-31",
    "due_date": "2024-03-01",
    "vendor": "Acme Holdings Inc",
    "buyer": "Nobody AG",
}


def not_found(text: str, given: InvoiceAnswer) -> set[str]:
    found = STAGE.signals(InvoiceEvent(id="I-1", text=text), given)
    return {
        signal.detail.partition(":")[0] for signal in found if signal.code == "evidence_not_found"
    }


def test_all_that_was_invented_is_named_and_nothing_of_it_quoted() -> None:
    given = answer(quote="Total EUR 119.00", **INVENTED)
    assert not_found(SMUDGED, given) == set(INVENTED)
    assert doubts(SMUDGED, given) == {"evidence_not_found"}


@pytest.mark.parametrize("field", INVENTED)
def test_one_invented_value_is_enough(field: str) -> None:
    given = answer(**{field: INVENTED[field]})
    assert field in not_found(PLAIN, given)
    assert "evidence_not_found" in doubts(PLAIN, given)


@pytest.mark.parametrize(
    "nothing",
    ["", " ", "-", "—", "N/A", "n.a.", "none", "Not specified", "unknown.", "k.A.", "k. A.",
     "nicht angegeben", "Keine Angabe", "(unbekannt)", "[not provided]", "non précisé", "不明",
     "記載なし", "н/д", "s/o", "desconocido", "null", "???", "___", "No due date", "XXXX",
     "Not found in the text", "Buyer not specified", "could not be determined", "none given",
     "Information not available", "not explicitly stated on the invoice", "Unknown vendor",
     "nicht ersichtlich", "no figura", "não há", "ไม่มีข้อมูล", "해당없음", "S/N", "отсутствует"],
)  # fmt: skip
def test_a_placeholder_is_null_and_no_invention(nothing: str) -> None:
    given = answer(invoice_number=nothing, buyer=nothing, due_date=nothing, currency=nothing)
    result = published(PLAIN, given)
    assert (result.invoice_number, result.buyer, result.due_date, result.currency) == (None,) * 4
    assert doubts(PLAIN, given) == {"missing_field"}


@pytest.mark.parametrize(
    "name", ["Notable Goods Ltd", "Northern Data AG", "No Name Company", "Unknown Pleasures", "XX"]
)
def test_a_name_that_only_looks_like_a_placeholder_is_published(name: str) -> None:
    assert published(PLAIN, answer(buyer=name)).buyer == name


@pytest.mark.parametrize(
    "written",
    ["05.03.2026", "3/5/26", "5/3/2026", "5 mars 2026", "令和8年3月5日", "2026-03-05",
     "5th of March", "5th of March 2026", "March 5", "March 5, 2026", "5. März 2026",
     "５／３／２０２６", "٥ مارس ٢٠٢٦", "2026년 3월 5일", "5 มีนาคม 2569", "05MAR2026",
     "20260305", "05-Mar-'26",
     "5 марта 2026 г.", "2026. március 5.", "民國115年3月5日", "Mar. 5th 2026",
     "5 de marzo de 2026"],
)  # fmt: skip
def test_a_date_is_found_in_any_usual_form(written: str) -> None:
    text = PLAIN.replace("2026-03-05", written)
    assert not_found(text, answer()) == set()


@pytest.mark.parametrize("written", ["06.03.2026", "5 mars 2025", "May 6, 2026", "3/2026", "5.3.1"])
def test_another_date_is_not_that_one(written: str) -> None:
    assert "issue_date" in not_found(PLAIN.replace("2026-03-05", written), answer())


@pytest.mark.parametrize(
    ("term", "due"),
    [
        ("net 30 days", "2026-04-04"),
        ("Zahlbar innerhalb von 30 Tagen", "2026-04-04"),
        ("Net 30", "2026-04-04"),
        ("30 jours", "2026-04-04"),
        ("payment within 2 weeks", "2026-03-19"),
        ("14 Kalendertage", "2026-03-19"),
        ("due in 1 month", "2026-04-05"),
        ("支払期限 30日", "2026-04-04"),
    ],
)
def test_a_due_date_may_follow_from_a_term(term: str, due: str) -> None:
    text = PLAIN.replace("due 2026-04-04", term)
    assert not_found(text, answer(due_date=due)) == set()
    assert "due_date" in not_found(text, answer(due_date="2026-04-10"))


@pytest.mark.parametrize(
    ("printed", "answered"),
    [
        ("EXAMPLE GMBH", "Example GmbH"),
        ("Example", "Example GmbH & Co. KG"),
        ("Exam-\nple GmbH", "Example GmbH"),
        ("Müller und Söhne GmbH", "Muller und Sohne"),
        ("Łódź Spółka z o.o.", "Lodz Spolka z o. o."),
        ("株式会社サンプル", "サンプル"),
        ("Exarnple Services GmbH", "Example Services GmbH"),
        ("Example   Services,\n  Holding (UK) Ltd", "Example Services Holding UK Limited"),
        ("\uff25\uff58\uff41\uff4d\uff50\uff4c\uff45", "Example"),
        ("3M Company", "3M"),
        ("H&M", "H & M"),
        ("東芝の請求書", "東芝"),
    ],
)
def test_a_name_is_found_as_it_is_printed(printed: str, answered: str) -> None:
    text = PLAIN.replace("Example GmbH", printed)
    assert not_found(text, answer(vendor=answered)) == set()


@pytest.mark.parametrize(
    "answered",
    ["Exempel AB", "Other GmbH", "Example Holding Europe GmbH", "Ltd", "e", "N.C.", "eG"],
)
def test_another_name_is_not_found(answered: str) -> None:
    text = PLAIN.replace("Sample Ltd", "")
    assert "vendor" in not_found(text, answer(vendor=answered, buyer=""))


@pytest.mark.parametrize(
    ("printed", "answered", "is_there"),
    [
        ("R-1001", "R1001", True),
        ("R 1001", "R-1001", True),
        ("R-10012", "R-1001", True),
        ("2026/0012", "12", False),
        ("Nr. 12", "12", True),
        ("No 7", "7", True),
        ("R-1001", "R-1007", False),
    ],
)
def test_a_number_of_a_document_is_found_with_other_separators(
    printed: str, answered: str, *, is_there: bool
) -> None:
    text = f"Invoice {printed}\n" + PLAIN.partition("\n")[2]
    given = answer(invoice_number=answered, quote="Total EUR 119.00")
    assert ("invoice_number" not in not_found(text, given)) is is_there


@pytest.mark.parametrize(
    ("total", "currency", "is_there"),
    [
        ("EUR 119.00", "EUR", True),
        ("€119.00", "EUR", True),
        ("119.00", "EUR", True),
        ("119.00 $", "CAD", True),
        ("119.00 zł", "PLN", True),
        ("¥119.00", "JPY", True),
        ("EUR 119.00", "USD", False),
        ("€ 119.00", "GBP", False),
        ("₹119.00", "EUR", False),
    ],
)
def test_a_currency_is_doubted_where_only_others_are_printed(
    total: str, currency: str, *, is_there: bool
) -> None:
    text = PLAIN.replace("EUR 119.00", total)
    given = answer(currency=currency)
    assert ("currency" not in not_found(text, given)) is is_there


def test_the_description_of_a_line_is_looked_for() -> None:
    lines = [{"description": "Consulting in Rome", "quantity": "1", "unit_price": "100.00",
              "amount": "100.00"}]  # fmt: skip
    assert "description of line 1" in not_found(PLAIN, answer(line_items=lines))
    text = HEAD + "Rome,\nconsult-\ning in May 1 x 100.00 100.00 100.00 19.00 119.00 EUR"
    assert not_found(text, answer(line_items=lines)) == set()
