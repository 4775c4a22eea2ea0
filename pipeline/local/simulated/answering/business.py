"""Finds the fields of business documents: dates, parties, numbers, amounts, positions."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.document import Document
from pipeline.local.simulated.answering.labelled import identifier_after
from pipeline.local.simulated.answering.numbers import Number, find_numbers, prints_commas
from pipeline.local.simulated.answering.tables import Position
from pipeline.local.simulated.answering.words import bare

_Finder = Callable[[Ask, Document], Found]
_Roles = Sequence[tuple[str, str]]
_DATES: _Roles = (
    ("due_date", r" (?:due|payable|deadline|pay by|expiry|expires|faellig) "),
    ("delivery_date", r" (?:delivery|delivered|service|shipped|supply|period) "),
    ("issue_date", r" (?:date|day|issued|invoice|when|datum) "),
)
_PARTIES: _Roles = (
    ("vendor", r" (?:vendor|seller|supplier|merchant|issuer|store|shop|sender|payee|provider) "),
    ("buyer", r" (?:buyer|customer|client|recipient|bill to|purchaser|debtor|payer) "),
)
_IDENTIFIERS: _Roles = (
    ("tax_id", r" (?:vat|tax|gst|ust|iva|tva) "),
    ("order_number", r" (?:order|po|purchase) "),
    ("customer_number", r" (?:customer|client|account|member) "),
    ("invoice_number", r" (?:invoice|document|receipt|bill|doc|rechnung) "),
)
_AMOUNTS: _Roles = (
    ("prepaid", r" (?:prepaid|pre paid|advance|deposit|already paid|down payment|paid) "),
    ("allowances", r" (?:allowances?|discounts?|rebates?|deductions?) "),
    ("charges", r" (?:charges?|shipping|freight|fees?|surcharges?|handling|postage) "),
    ("line_total", r" (?:lines? total|sum of lines|items total) "),
    ("due", r" (?:due|payable|outstanding|balance|to pay|owed) "),
    ("net", r" (?:net|subtotal|sub total|before tax|excluding|excl|taxable|without tax) "),
    ("gross", r" (?:with tax|including|incl|gross|grand) "),
    ("tax", r" (?:tax|taxes|vat|gst) "),
    ("gross", r" (?:total|amount|sum|price|cost|value) "),
)
_IS_DATE = re.compile(r" (?:date|deadline|day|dated|issued on|due on) ")
_IS_IDENTIFIER = re.compile(r" (?:number|no|nr|id|reference|ref|num) ")
_IS_AMOUNT = re.compile(
    r" (?:amounts?|totals?|sum|price|cost|net|gross|tax|vat|due|prepaid|paid|subtotal|balance|"
    r"fees?|allowances?|charges?|discounts?|shipping|deposit) "
)
_ZERO_IF_NONE = re.compile(r"\b0 (?:if|where|when|for) (?:none|nothing|there|not)", re.IGNORECASE)
_SELDOM = frozenset({"prepaid", "allowances", "charges", "due_date", "due"})
_POSITION_PARTS: _Roles = (
    ("unit_price", r" (?:unit|each|per|single|price|rate) "),
    ("amount", r" (?:amount|total|sum|net|gross|cost|value|subtotal) "),
    ("quantity", r" (?:quantity|qty|count|units|hours|number|pieces|menge) "),
)


def find_in_document(ask: Ask, document: Document) -> Found | None:
    """The value of a property that business documents have; None where it is no such property."""
    if "in_document" not in ask.memo:
        ask.memo["in_document"] = _finder(ask)
    finder: _Finder | None = ask.memo["in_document"]
    return None if finder is None else finder(ask, document)


def _finder(ask: Ask) -> _Finder | None:
    if ask.kind != "string":
        return _amount if _IS_AMOUNT.search(ask.words) else None
    is_date = ask.schema.get("format") == "date" or "YYYY-MM-DD" in ask.description
    if is_date or _IS_DATE.search(ask.words):
        return _date
    if " currency " in ask.words:
        return _currency
    if _IS_IDENTIFIER.search(ask.words):
        return _identifier
    if _role(_PARTIES, ask.words) is not None:
        return _party
    return _amount if _IS_AMOUNT.search(ask.words) and _speaks_of_money(ask) else None


def _currency(ask: Ask, document: Document) -> Found:  # noqa: ARG001 - a finder takes both
    code, sure = document.currency
    return Found(code, sure)


def _party(ask: Ask, document: Document) -> Found:
    name, sure = document.party(_role(_PARTIES, ask.words) or "vendor")
    return Found(name, sure)


def seldom_printed(name: str) -> bool:
    """Whether a complete document may well lack this."""
    return name in _SELDOM


def is_position_part(ask: Ask) -> bool:
    """Whether a property is one of a position's numbers."""
    return _role(_POSITION_PARTS, ask.words) is not None


def position_value(ask: Ask, position: Position) -> Any:  # noqa: ANN401 - text or number
    """The value of a property of a position."""
    role = _role(_POSITION_PARTS, ask.words)
    if role is None:
        return position.description if ask.kind == "string" and position.description else None
    number: Number | None = getattr(position, role)
    if number is None:
        return None
    value = number.value
    if role == "quantity" or number.decimals > 4:  # noqa: PLR2004 - more is noise
        value = value.normalize()
    return as_value(ask, value)


def as_value(ask: Ask, value: Decimal) -> str | float | int:
    """A number in the type that is asked for."""
    if ask.kind == "integer":
        return int(value)
    return float(value) if ask.kind == "number" else format(value, "f")


def count_in(ask: Ask, document: Document) -> Found:
    """A number that stands beside the words of the property's name."""
    text = document.named([ask.words.strip()])
    if text is not None:
        for number in find_numbers(text, comma=prints_commas(document.text)):
            return Found(as_value(ask, number.value), 0.7)
    return Found(None, 0.4)


def _role(roles: _Roles, words: str) -> str | None:
    return next((role for role, pattern in roles if re.search(pattern, words)), None)


def _date(ask: Ask, document: Document) -> Found:
    role = _role(_DATES, ask.words) or "issue_date"
    printed, sure = document.date(role)
    if printed is None:
        return Found(None, None if seldom_printed(role) else sure)
    as_printed = "as printed" in ask.description or "as written" in ask.description
    value = printed.printed if as_printed else printed.day.isoformat()
    if ask.schema.get("format") == "date-time":
        value = f"{printed.day.isoformat()}T00:00:00Z"
    return Found(value, sure)


def _identifier(ask: Ask, document: Document) -> Found:
    role = _role(_IDENTIFIERS, ask.words)
    if role is None:
        named = document.named([ask.words.strip(), *_variants(ask.words)])
        named = named or _in_prose(ask, document)
        return Found(named, 0.7 if named else 0.4)
    value, sure = document.identifier(role)
    return Found(value, sure)


def _in_prose(ask: Ask, document: Document) -> str | None:
    noun = re.sub(_IS_IDENTIFIER, " ", ask.words).strip()
    return identifier_after([noun], document.text) if noun else None


def _variants(words: str) -> list[str]:
    noun = re.sub(_IS_IDENTIFIER, " ", words).strip()
    return [f"{noun} {end}" for end in ("number", "no", "nr", "id", "#")] if noun else []


def _amount(ask: Ask, document: Document) -> Found:
    role = _role(_AMOUNTS, ask.words)
    if role == "gross" and not re.search(r" (?:gross|grand) ", ask.words):
        # `total` alone says nothing; its description may.
        role = _role(_AMOUNTS[:-1], bare(ask.description)) or "gross"
    amount = document.amount(role or "gross")
    if amount is None:
        none = _ZERO_IF_NONE.search(ask.description) and document.amount("gross") is not None
        zero = as_value(ask, Decimal(0)) if none else None
        return Found(zero, None if role in _SELDOM else 0.4)
    value = amount.number.value
    if role in {"allowances", "prepaid", "charges"}:
        value = abs(value)
    return Found(as_value(ask, value), 0.9 if amount.exact > 0.4 else 0.6)  # noqa: PLR2004


def _speaks_of_money(ask: Ask) -> bool:
    """A text property named like an amount is one if its description does not say otherwise."""
    return not re.search(r"\bname\b|\bdate\b|\bsentence\b", ask.description.split(".")[0].lower())
