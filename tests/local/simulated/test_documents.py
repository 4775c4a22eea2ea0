"""Business documents: which amount, date, name and number is which."""

from typing import Any

import pytest

from pipeline.local.simulated.stand_in.business import find_dates, find_numbers
from pipeline.local.simulated.stand_in.label_scores import HAIKU, SONNET
from tests.local.simulated.reading import read

STRING = {"type": "string"}
INVOICE = """\
Harbour Ropes Ltd
12 Quay Street
INVOICE

Invoice No: HR-2291                         Invoice date: 14 March 2025
Customer No: 88213                          Payment within 14 days

Bill to:
Northern Sailing School
3 Pier Road

Description                    Qty    Unit price      Amount
Mooring line, 12 mm              4         31.50      126.00
Splicing, hours                2.5         40.00      100.00

Subtotal                                              226.00
Discount                                               10.00
Delivery                                               15.00
Net total                                             231.00
VAT 20%                                                46.20
Total                                              GBP 277.20
Deposit paid                                          100.00
Balance due                                        GBP 177.20
"""
RECHNUNG = """\
Rechnung Nr. 4711

Verkäufer
Name:       Tauwerk GmbH
Anschrift:  Hafenstraße 1

Käufer
Name:       Segelschule Nord e.V.

Rechnungsdatum: 14.03.2025      Fällig am: 28.03.2025

Pos  Beschreibung           Menge   Einzelpreis   Betrag
1    Festmacher 12 mm           4         31,50   126,00
2    Spleißen                   1      1.100,00   1.100,00

Nettobetrag                                       1.226,00
zzgl. 19 % MwSt                                     232,94
Gesamtbetrag                                  EUR 1.458,94
"""
LINES = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "description": STRING,
            "quantity": STRING,
            "unit_price": {"type": ["number", "null"]},
            "amount": {"type": "number"},
        },
        "required": ["description", "quantity", "unit_price", "amount"],
    },
}


def test_an_english_invoice() -> None:
    amounts = ("allowances", "charges", "net", "tax", "gross", "prepaid", "due")
    asked: dict[str, Any] = {
        "invoice_number": STRING, "issue_date": STRING, "due_date": STRING, "vendor": STRING,
        "buyer": STRING, "currency": STRING, "customer_number": STRING, "line_items": LINES,
        **dict.fromkeys(amounts, STRING),
    }  # fmt: skip
    answer = read(INVOICE, asked)
    lines = answer.pop("line_items")
    assert answer == {
        "invoice_number": "HR-2291",
        "issue_date": "2025-03-14",
        "due_date": "",
        "vendor": "Harbour Ropes Ltd",
        "buyer": "Northern Sailing School",
        "currency": "GBP",
        "customer_number": "88213",
        "allowances": "10.00",
        "charges": "15.00",
        "net": "231.00",
        "tax": "46.20",
        "gross": "277.20",
        "prepaid": "100.00",
        "due": "177.20",
    }
    assert lines == [
        {
            "description": "Mooring line, 12 mm",
            "quantity": "4",
            "unit_price": 31.5,
            "amount": 126.0,
        },
        {"description": "Splicing, hours", "quantity": "2.5", "unit_price": 40.0, "amount": 100.0},
    ]


def test_a_german_invoice_in_numbers_and_dates() -> None:
    asked = {
        "number": STRING,
        "date": {"type": "string", "format": "date"},
        "faellig_am": STRING,
        "seller": STRING,
        "customer_name": STRING,
        "total_amount": {"type": "number", "description": "Total including tax."},
        "total": {"type": "number", "description": "Total before tax."},
        "lines": LINES,
    }
    answer = read(RECHNUNG, asked)
    assert answer["date"] == "2025-03-14"
    assert answer["seller"] == "Tauwerk GmbH"
    assert answer["customer_name"] == "Segelschule Nord e.V."
    assert answer["total_amount"] == 1458.94
    assert answer["total"] == 1226.0
    assert [line["amount"] for line in answer["lines"]] == [126.0, 1100.0]


def test_what_is_not_there_is_empty_null_or_zero_as_asked() -> None:
    asked = {
        "due": STRING,
        "iban": {"type": ["string", "null"]},
        "prepaid": {"type": "string", "description": "Paid before; 0 if nothing was."},
        "missing": {"type": "array", "items": {"enum": ["buyer", "prepaid"]}},
        "buyer": STRING,
    }
    answer = read("Kiosk\nTotal  3.50", asked)
    assert answer == {"due": "", "iban": None, "prepaid": "0", "missing": ["buyer"], "buyer": ""}


def test_only_sonnet_adds_taxes_at_several_rates() -> None:
    text = "Total excl. VAT  100.00\nVAT 7%  1.00\nVAT 19%  16.00\nTotal  117.00"
    asked = {"tax": STRING}
    assert read(text, asked, skill=HAIKU) == {"tax": "1.00"}
    assert read(text, asked, skill=SONNET) == {"tax": "17.00"}


def test_sums_that_do_not_hold_make_unsure() -> None:
    asked = {"net": STRING, "tax": STRING, "gross": STRING, "confidence": {"type": "number"}}
    right = read("Net  100.00\nVAT  20.00\nTotal  120.00", asked)
    wrong = read("Net  100.00\nVAT  20.00\nTotal  130.00", asked)
    assert right["confidence"] > 0.9
    assert wrong["confidence"] < 0.7
    assert wrong["gross"] == "130.00"


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("1,234.50", "1234.50"), ("1.234,50", "1234.50"), ("1 234,50", "1234.50"),
        ("1'234.50", "1234.50"), ("-12.00", "-12.00"), ("12.00-", "-12.00"), ("1,234", "1234"),
        ("0.5", "0.5"), ("5,5000", "5.5000"), ("EUR12.00", "12.00"), ("RM5", "5"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_printed(printed: str, value: str) -> None:
    assert [format(number.value, "f") for number in find_numbers(f"x {printed} y")] == [value]


@pytest.mark.parametrize("text", ["A12", "12/34", "1.2.3.4", "2025-03-14", "am 19.12.", "12:30"])
def test_other_things_with_digits_are_no_numbers(text: str) -> None:
    assert list(find_numbers(text)) == []


@pytest.mark.parametrize(
    ("printed", "day"),
    [
        ("2025-03-14", "2025-03-14"), ("14.03.2025", "2025-03-14"), ("14/3/25", "2025-03-14"),
        ("3/14/2025", "2025-03-14"), ("14 March 2025", "2025-03-14"),
        ("14. März 2025", "2025-03-14"),
        ("March 14th, 2025", "2025-03-14"), ("14 mars 2025", "2025-03-14"),
        ("14 de marzo de 2025", "2025-03-14"), ("04/03/2025", "2025-03-04"),
        ("14/03/202512:30", "2025-03-14"), ("14/03/2512:30:00", "2025-03-14"),
    ],
)  # fmt: skip
def test_dates_are_read_in_four_languages(printed: str, day: str) -> None:
    assert [found.isoformat() for found in find_dates(f"on {printed}.")] == [day]


@pytest.mark.parametrize("text", ["31.02.2025", "14.03.", "1.2.3.4.5", "99/99/9999"])
def test_days_that_are_none_are_no_dates(text: str) -> None:
    assert list(find_dates(text)) == []
