"""The sums of an invoice that hold on true ones.

Measured on public e-invoices: lines less allowances plus charges make the net amount (0.94), net
and tax make the gross amount (1.00), gross less what was prepaid makes what is due (1.00).
Together they find nine in ten single wrong fields. The naive check, lines against the grand
total, holds on 0.23 of them. Quantity times price holds on 0.70, so it is a weak sign only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

CheckName = Literal["lines", "gross", "due"]
State = Literal["holds", "fails", "unknown"]


@dataclass(frozen=True, slots=True)
class Line:
    quantity: Decimal | None
    unit_price: Decimal | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The amounts of an invoice; what is not known is None, what there is none of is 0."""

    lines: Sequence[Line]
    allowances: Decimal | None
    charges: Decimal | None
    net: Decimal | None
    tax: Decimal | None
    gross: Decimal | None
    prepaid: Decimal | None
    due: Decimal | None
    withheld: Decimal | None = None  # seldom there: None stands for none of it, too


@dataclass(frozen=True, slots=True)
class Check:
    name: CheckName
    state: State
    detail: str


def check_totals(totals: Totals, tolerance: Decimal) -> tuple[Check, Check, Check]:
    """Check the three sums; a sum with an unknown term is unknown, never wrong."""
    prepaid = _negated(totals.prepaid)
    if totals.withheld:
        formula, left = "gross - prepaid - withheld", _sum(totals.gross, prepaid, -totals.withheld)
    else:
        formula, left = "gross - prepaid", _sum(totals.gross, prepaid)
    gross = _sum(totals.net, totals.tax)
    return (
        _check_lines(totals, tolerance),
        _compare("gross", tolerance, "net + tax", gross, term="gross", amount=totals.gross),
        _compare("due", tolerance, formula, left, term="due", amount=totals.due),
    )


def with_true_signs(totals: Totals, tolerance: Decimal) -> Totals:
    """Reverse the signs of what is deducted where the sums hold only then.

    Documents and answers print a discount of 10 as 10 and as -10; here it is above 0. A sum that
    holds as it is, or does not hold in either way, is left alone.
    """
    if _state(totals, tolerance, "lines") == "fails":
        turned = replace(totals, allowances=_negated(totals.allowances))
        totals = turned if _state(turned, tolerance, "lines") == "holds" else totals
    if _state(totals, tolerance, "due") == "fails":
        signed = (
            replace(totals, prepaid=prepaid, withheld=withheld)
            for prepaid in (totals.prepaid, _negated(totals.prepaid))
            for withheld in (totals.withheld, _negated(totals.withheld))
        )
        totals = next(
            (each for each in signed if _state(each, tolerance, "due") == "holds"), totals
        )
    return totals


def odd_lines(lines: Sequence[Line], tolerance: Decimal) -> int:
    return sum(
        line.quantity is not None
        and line.unit_price is not None
        and line.amount is not None
        and abs(line.quantity * line.unit_price - line.amount) > tolerance
        for line in lines
    )


def _check_lines(totals: Totals, tolerance: Decimal) -> Check:
    """Receipts print prices with the tax in them, so lines may make the gross amount as well."""
    formula = "lines - allowances + charges"
    lines = _sum(*(line.amount for line in totals.lines)) if totals.lines else None
    made = _sum(lines, _negated(totals.allowances), totals.charges)
    if made is not None and totals.gross is not None and abs(made - totals.gross) <= tolerance:
        return Check("lines", "holds", f"{formula} = gross = {made}")
    return _compare("lines", tolerance, formula, made, term="net", amount=totals.net)


def _state(totals: Totals, tolerance: Decimal, name: str) -> State:
    return next(check.state for check in check_totals(totals, tolerance) if check.name == name)


def _compare(
    name: CheckName,
    tolerance: Decimal,
    formula: str,
    made: Decimal | None,
    *,
    term: str,
    amount: Decimal | None,
) -> Check:
    if made is None or amount is None:
        return Check(name, "unknown", f"{formula} = {term} cannot be checked")
    holds = abs(made - amount) <= tolerance
    return Check(name, "holds" if holds else "fails", f"{formula} = {made}, {term} = {amount}")


def _sum(*terms: Decimal | None) -> Decimal | None:
    known = [term for term in terms if term is not None]
    return sum(known, Decimal(0)) if len(known) == len(terms) else None


def _negated(term: Decimal | None) -> Decimal | None:
    return None if term is None else -term
