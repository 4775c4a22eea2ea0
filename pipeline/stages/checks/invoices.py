"""What speaks against the reading of an invoice: its sums, its form, and the text it came from."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from pipeline.config import InvoiceField
from pipeline.model.questions import Signal
from pipeline.stages.checks.arithmetic import check_totals, odd_lines
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import stated
from pipeline.stages.checks.values import ambiguous, not_found, value_signals
from pipeline.stages.fields.dates import is_plausible
from pipeline.stages.fields.invoice_amounts import AMOUNTS
from pipeline.stages.fields.invoice_answer import InvoiceAnswer, Reading

_NAMED = 5
_DESCRIBED = 0.5
"""Of the letters of a description: less than that was not read, but made up."""
_ODD_LINES = 0.3
"""Quantity times price holds on 0.7 of true invoices, so it does not count by default."""


def sum_signals(reading: Reading, tolerance: Decimal) -> list[Signal]:
    """Check the three sums, and the lines for what it is worth."""
    found = [
        Signal("arithmetic", 1.0, f"The sum does not hold: {check.detail}.")
        for check in check_totals(reading.totals, tolerance)
        if check.state == "fails"
    ]
    if odd := odd_lines(reading.totals.lines, tolerance):
        found.append(
            Signal("arithmetic", _ODD_LINES, f"Quantity x price is not the amount of {odd} lines.")
        )
    return found


def date_signals(reading: Reading) -> Iterable[Signal]:
    """Check that the dates can be those of one document."""
    for name in ("issue_date", "due_date"):
        day = getattr(reading, name)
        if day is not None and not is_plausible(day):
            yield Signal("implausible", 1.0, f"{name}: no document bears the year {day.year}.")
    if reading.issue_date and reading.due_date and reading.due_date < reading.issue_date:
        yield Signal("implausible", 0.8, "due_date: before the issue date.")


def form_signals(answer: InvoiceAnswer, reading: Reading) -> Iterable[Signal]:
    """Notice what was answered and is no date, currency or amount."""
    for name in ("issue_date", "due_date", "currency"):
        if stated(getattr(answer, name)) and getattr(reading, name) is None:
            yield Signal("implausible", 1.0, f"{name}: there is no such thing.")
    for name in AMOUNTS:
        if stated(getattr(answer, name)) and getattr(reading.totals, name) is None:
            yield Signal("implausible", 1.0, f"{name}: not an amount.")
    for number, (line, read) in enumerate(
        zip(answer.line_items, reading.totals.lines, strict=True), start=1
    ):
        if stated(line.amount) and read.amount is None:
            yield Signal("implausible", 1.0, f"line_items: line {number} has no readable amount.")
        # "Lump sum" is no quantity, and null is right; but figures that cannot be read are lost.
        for name in ("quantity", "unit_price"):
            if getattr(read, name) is None and any(map(str.isdigit, getattr(line, name))):
                what = f"line_items: line {number} has no readable {name}."
                yield Signal("implausible", 1.0, what)


def missing_signals(reading: Reading, required: Sequence[InvoiceField]) -> Iterable[Signal]:
    """Notice fields that a document must have here, and that nothing was read for."""
    for name in required:
        if reading.lacks(name):
            yield Signal("missing_field", 1.0, f"{name}: not found.")


def ambiguity_signals(reading: Reading) -> Iterable[Signal]:
    """Notice amounts that may well mean something else."""
    return map(ambiguous, reading.ambiguous[:_NAMED])


def invented_signals(answer: InvoiceAnswer, reading: Reading, index: TextIndex) -> list[Signal]:
    """Notice what was answered and is not in the text, in whatever usual form."""
    return [
        *_amount_signals(reading, index),
        *value_signals(
            index,
            names={"vendor": reading.vendor, "buyer": reading.buyer},
            identifiers={"invoice_number": reading.invoice_number},
            dates={"issue_date": reading.issue_date},
        ),
        *_due_date_signals(reading, index),
        *_currency_signals(reading, index),
        *_line_signals(answer, index),
    ]


def _amount_signals(reading: Reading, index: TextIndex) -> list[Signal]:
    """One signal for all amounts: where one is wrong, sums are, too. 0 need not be printed."""
    totals = reading.totals
    named = [(name, getattr(totals, name)) for name in AMOUNTS]
    named += [(f"line {at}", line.amount) for at, line in enumerate(totals.lines, start=1)]
    currency = reading.currency
    absent = [name for name, amount in named if amount and not index.has_number(amount, currency)]
    if not absent:
        return []
    detail = f"Not in the text: {', '.join(absent[:_NAMED])}{' ...' if absent[_NAMED:] else ''}."
    return [Signal("evidence_not_found", 0.8, detail)]


def _due_date_signals(reading: Reading, index: TextIndex) -> Iterable[Signal]:
    """A due date may be worked out from the date of issue and a term that is printed."""
    due, issued = reading.due_date, reading.issue_date
    if due is None or index.has_date(due):
        return
    if issued is None or not index.has_term(issued, due):
        yield not_found("due_date")


def _currency_signals(reading: Reading, index: TextIndex) -> Iterable[Signal]:
    """A currency need not be printed, but then no other one is either."""
    if reading.currency is not None and index.says_otherwise(reading.currency):
        yield not_found("currency")


def _line_signals(answer: InvoiceAnswer, index: TextIndex) -> Iterable[Signal]:
    strange = [
        str(at)
        for at, line in enumerate(answer.line_items, start=1)
        if index.share_of(index.words(line.description)) < _DESCRIBED
    ]
    if strange:
        yield not_found(f"description of line {', '.join(strange[:_NAMED])}")
