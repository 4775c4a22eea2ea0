"""A right answer about an invoice, to be made wrong in tests."""

from decimal import Decimal
from typing import Any

from pipeline.stages.invoices import InvoiceEvent

TEXT = """\
ACME Tools Ltd, 1 Mill Lane, Leeds
Invoice No. A-7           Date: 31 January 2025      Due: 14 February 2025
To: Baker & Sons
Hammer   2 x 50.00    100.00
Nails    1 x 50.00     50.00
Discount               10.00
Freight                 5.00
Net                   145.00
VAT 20%                29.00
Total GBP             174.00
Deposit                74.00
Amount due            100.00
"""
INVOICE = InvoiceEvent(id="I-1", text=TEXT)


def line(description: str, quantity: str, price: str, amount: str) -> dict[str, str]:
    return {
        "description": description,
        "quantity": quantity,
        "unit_price": price,
        "amount": amount,
    }


RIGHT: dict[str, Any] = {
    "quote": "Amount due 100.00",
    "invoice_number": "A-7",
    "issue_date": "2025-01-31",
    "due_date": "2025-02-14",
    "vendor": "ACME Tools Ltd",
    "buyer": "Baker & Sons",
    "currency": "GBP",
    "line_items": [line("Hammer", "2", "50.00", "100.00"), line("Nails", "1", "50.00", "50.00")],
    "allowances": "10.00",
    "charges": "5.00",
    "net": "145.00",
    "tax": "29.00",
    "gross": "174.00",
    "prepaid": "74.00",
    "due": "100.00",
    "legibility": "legible",
    "missing": [],
    "confidence": 0.95,
    "unclear": False,
}


def plain(amount: float | None) -> str:
    """An amount as an answer gives it: two decimals unless it has more."""
    if amount is None:
        return ""
    exact = Decimal(str(amount))
    cents = exact.quantize(Decimal("0.01"))
    return format(cents if cents == exact else exact, "f")
