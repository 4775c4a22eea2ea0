"""What is asked of an invoice, and what the answer's strings mean.

The answer has no nullable fields, because the API takes 16 unions a request: an empty string stands
for what the document does not say. Amounts are strings, so that no digit is lost to a float.

Which reading of an amount is meant, the text decides first, then how the document's other numbers
use the separator, then the decimals of the currency. Where these disagree or say nothing, the sums
decide if they hold with one reading only; of quantity and price, the amount that they make. What
nothing decides is taken as most likely meant, and named, so that it is doubted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import islice, product
from typing import get_args

from pydantic import Field

from pipeline.config import InvoiceField
from pipeline.stages.checks.arithmetic import Line, Totals, check_totals, with_true_signs
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import Legibility, stated
from pipeline.stages.fields.amounts import CURRENCIES, AmountReading, readings_of
from pipeline.stages.fields.asking import Answer, Strict
from pipeline.stages.fields.dates import parse_date

FIELDS: tuple[InvoiceField, ...] = get_args(InvoiceField)
HEAD = ("invoice_number", "issue_date", "due_date", "vendor", "buyer", "currency")
AMOUNTS = ("allowances", "charges", "net", "tax", "gross", "prepaid", "withheld", "due")
_MOST_TRIES = 64
_NEAR = 3
"""Readings lie a thousand apart, so the right one is known by the order of magnitude alone."""
_PER_MILLE = Decimal("0.005")
_ONE = Decimal(1)


class AnsweredLine(Strict):
    """A position as the model read it; empty where the document does not say."""

    description: str = Field(description="What was delivered or done, as printed.")
    quantity: str = Field(description="Plain digits, or empty.")
    unit_price: str = Field(description="Price of one unit: plain digits with a point, or empty.")
    amount: str = Field(description="Amount of the line: plain digits with a point, or empty.")


class InvoiceAnswer(Answer):
    """What is asked of an invoice; an empty string where the document does not say."""

    quote: str = Field(description="Words and figures, copied exactly, that state the total.")
    invoice_number: str = Field(description="Number of this document, or empty.")
    issue_date: str = Field(description="YYYY-MM-DD, or empty.")
    due_date: str = Field(description="Date by which it is to be paid, YYYY-MM-DD, or empty.")
    vendor: str = Field(description="Name of the seller, or empty.")
    buyer: str = Field(description="Name of the customer, or empty.")
    currency: str = Field(description="ISO 4217 code, or empty.")
    line_items: list[AnsweredLine] = Field(description="All positions, in order.")
    allowances: str = Field(description="Discounts on the whole document; 0 if none; or empty.")
    charges: str = Field(description="Freight and fees on the whole document; 0 if none; or empty.")
    net: str = Field(description="Total before tax, or empty.")
    tax: str = Field(description="All taxes, or empty.")
    gross: str = Field(description="Total with tax, or empty.")
    prepaid: str = Field(description="Paid in advance; 0 if nothing was; or empty.")
    withheld: str = Field("", description="Tax that the buyer keeps back; 0 if none; or empty.")
    due: str = Field(description="Amount left to pay, or empty.")
    legibility: Legibility = Field(description="Whether what matters can be read.")
    missing: list[InvoiceField] = Field(description="Fields that should be there and are not.")


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says, in types; None where it says nothing, or nothing that can be."""

    invoice_number: str | None
    issue_date: date | None
    due_date: date | None
    vendor: str | None
    buyer: str | None
    currency: str | None
    totals: Totals
    ambiguous: tuple[str, ...]
    stated_missing: frozenset[InvoiceField]

    def lacks(self, field: InvoiceField) -> bool:
        if field == "line_items":
            return not self.totals.lines
        return getattr(self.totals if field in AMOUNTS else self, field) is None

    @property
    def missing(self) -> tuple[InvoiceField, ...]:
        """Fields that the model says should be there, and that it gave nothing for."""
        return tuple(name for name in FIELDS if name in self.stated_missing and self.lacks(name))


def read_answer(
    answer: InvoiceAnswer, *, tolerance: Decimal, index: TextIndex | None = None
) -> Reading:
    """Read an answer; `tolerance` is of the sums, `index` of the text, None where it is a file."""
    code = answer.currency.strip().upper()
    currency = code if code in CURRENCIES else None
    texts = {name: getattr(answer, name) for name in AMOUNTS}
    texts |= {f"line {at}": line.amount for at, line in enumerate(answer.line_items, start=1)}
    choices = {
        name: _choice(readings_of(text), readings_of(text, currency), index)
        for name, text in texts.items()
    }
    totals, ambiguous = _by_sums(choices, len(answer.line_items), tolerance)
    lines = []
    for at, (line, read) in enumerate(zip(answer.line_items, totals.lines, strict=True), start=1):
        fitting, is_sure = _by_product(line, read.amount, tolerance, index)
        lines.append(fitting)
        if not is_sure:
            ambiguous.append(f"quantity or price of line {at}")
    return Reading(
        invoice_number=stated(answer.invoice_number),
        issue_date=parse_date(answer.issue_date),
        due_date=parse_date(answer.due_date),
        vendor=stated(answer.vendor),
        buyer=stated(answer.buyer),
        currency=currency,
        totals=replace(totals, lines=tuple(lines)),
        ambiguous=tuple(ambiguous),
        stated_missing=frozenset(answer.missing),
    )


@dataclass(frozen=True, slots=True)
class _Choice:
    """The readings of an amount, in an order that is the same for the same way of writing."""

    readings: tuple[AmountReading, ...]  # none where it is no amount
    preferred: int = 0  # which of them is meant, for all that is known but the sums
    is_sure: bool = True  # whether something speaks for that one and nothing for another
    is_printed: bool = True  # whether the text does, against which no sum counts

    @property
    def separator(self) -> str:
        """By what it can be changed; empty where it cannot."""
        return "" if self.is_printed else self.readings[0].separator

    def value(self, at: int | None = None) -> Decimal | None:
        if not self.readings:
            return None
        return self.readings[self.preferred if at is None else at % len(self.readings)].value


def _choice(
    readings: tuple[AmountReading, ...],
    by_currency: tuple[AmountReading, ...],
    index: TextIndex | None,
) -> _Choice:
    if len(readings) <= 1:
        return _Choice(readings)
    values = [reading.value for reading in readings]
    printed = {value for value in values if index is not None and index.supports(value)}
    votes = printed | {each.value for each in by_currency if len(by_currency) == 1}
    if len(votes) == 1:
        preferred = values.index(next(iter(votes)))
        return _Choice(readings, preferred, is_printed=bool(printed))
    return _Choice(readings, is_sure=False, is_printed=False)


def _by_sums(
    choices: Mapping[str, _Choice], lines: int, tolerance: Decimal
) -> tuple[Totals, list[str]]:
    """The totals that add up, and the names of amounts that could mean something else."""

    def totals_of(values: Mapping[str, Decimal | None]) -> Totals:
        amounts = (values[f"line {at}"] for at in range(1, lines + 1))
        totals = Totals(
            lines=tuple(Line(None, None, amount) for amount in amounts),
            **{name: values[name] for name in AMOUNTS},
        )
        return with_true_signs(totals, tolerance)

    preferred = totals_of({name: choice.value() for name, choice in choices.items()})
    separators = sorted({choice.separator for choice in choices.values()} - {""})
    if not separators:
        return preferred, []
    unsure = [name for name, choice in choices.items() if not choice.is_sure]
    holding = [preferred] if _adds_up(preferred, tolerance) else []
    if holding and not unsure:
        return preferred, []
    # Each separator is read in the same way wherever it stands.
    counts = [
        range(max(len(each.readings) for each in choices.values() if each.separator == separator))
        for separator in separators
    ]
    for chosen in islice(product(*counts), _MOST_TRIES):
        at = dict(zip(separators, chosen, strict=True))
        values = {name: each.value(at.get(each.separator)) for name, each in choices.items()}
        totals = totals_of(values)
        if totals not in holding and _adds_up(totals, tolerance):
            holding.append(totals)
    return (holding[0], []) if len(holding) == 1 else (preferred, unsure)


def _adds_up(totals: Totals, tolerance: Decimal) -> bool:
    states = {check.state for check in check_totals(totals, tolerance)}
    return "holds" in states and "fails" not in states


def _by_product(
    line: AnsweredLine, amount: Decimal | None, tolerance: Decimal, index: TextIndex | None
) -> tuple[Line, bool]:
    """The line whose quantity and price make its amount, and whether it can be no other."""
    quantity = _choice(readings_of(line.quantity, counts=True), (), index)
    price = _choice(readings_of(line.unit_price), (), index)
    preferred = Line(quantity.value(), price.value(), amount)
    if quantity.is_sure and price.is_sure:
        return preferred, True
    if not amount:
        return preferred, False
    due, made = abs(amount), []
    for q, p in product(range(len(quantity.readings) or 1), range(len(price.readings) or 1)):
        tried = Line(quantity.value(q), price.value(p), amount)
        count = _ONE if tried.quantity is None else tried.quantity
        made.append((tried, abs(count * (_ONE if tried.unit_price is None else tried.unit_price))))
    exact = [each for each, sum_ in made if abs(sum_ - due) <= max(tolerance, due * _PER_MILLE)]
    near = [each for each, sum_ in made if due <= sum_ * _NEAR and sum_ <= due * _NEAR]
    for fitting in (exact, near):
        if len(fitting) == 1:
            return fitting[0], True
    return preferred, False
