"""Which of its readings an invoice's amount has, where there are several.

What decides, in this order: what the text prints in a way that can be read in one way only; how
the document's other numbers use the separator; how many decimals the currency has. Where these
disagree, or say nothing, the sums decide if they hold with one reading only. Quantity and price
are decided by the amount that they make. What nothing decides is taken as most likely meant, and
named, so that it is doubted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice, product

from pipeline.stages.checks.arithmetic import Line, Totals, check_totals, with_true_signs
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.fields.amounts import Reading, readings_of

AMOUNTS = ("allowances", "charges", "net", "tax", "gross", "prepaid", "withheld", "due")
_MOST_TRIES = 64
_NEAR = 3
"""Readings lie a thousand apart, so the right one is known by the order of magnitude alone."""
_PER_MILLE = Decimal("0.005")
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class GivenLine:
    """A line's amounts as they were answered."""

    quantity: str
    unit_price: str
    amount: str


@dataclass(frozen=True, slots=True)
class ReadAmounts:
    """The amounts of an answer.

    Args:
        totals: As they are published.
        ambiguous: Names of those that may well mean something else.
    """

    totals: Totals
    ambiguous: tuple[str, ...] = ()


def read_amounts(
    given: Mapping[str, str],
    lines: Sequence[GivenLine],
    *,
    currency: str | None,
    tolerance: Decimal,
    index: TextIndex | None = None,
) -> ReadAmounts:
    """Read the amounts of an answer.

    Args:
        given: As answered, by the names of `AMOUNTS`.
        lines: As answered.
        currency: ISO 4217 code, if it is known.
        tolerance: Of sums.
        index: Of the document's text; None where it is a file.
    """
    texts = {**given, **{_name_of(at): line.amount for at, line in enumerate(lines, start=1)}}
    amounts = {
        name: _choice(readings_of(text), readings_of(text, currency), index)
        for name, text in texts.items()
    }

    def totals_of(values: Mapping[str, Decimal | None]) -> Totals:
        of_lines = [values[_name_of(at)] for at in range(1, len(lines) + 1)]
        totals = Totals(
            lines=tuple(Line(None, None, amount) for amount in of_lines),
            **{name: values[name] for name in AMOUNTS},
        )
        return with_true_signs(totals, tolerance)

    totals, ambiguous = _by_sums(amounts, totals_of, tolerance)
    of_lines = [
        _by_product(line, read.amount, tolerance, index)
        for line, read in zip(lines, totals.lines, strict=True)
    ]
    ambiguous += [
        f"quantity or price of {_name_of(at)}"
        for at, (_, is_sure) in enumerate(of_lines, start=1)
        if not is_sure
    ]
    read = replace(totals, lines=tuple(line for line, _ in of_lines))
    return ReadAmounts(read, tuple(ambiguous))


@dataclass(frozen=True, slots=True)
class _Choice:
    """The readings of an amount, in an order that is the same for the same way of writing.

    Args:
        readings: None where it is no amount.
        preferred: Which of them is meant, for all that is known but the sums.
        is_sure: Whether something speaks for that one and nothing for another.
        is_printed: Whether the text does, against which no sum counts.
    """

    readings: tuple[Reading, ...]
    preferred: int = 0
    is_sure: bool = True
    is_printed: bool = True

    @property
    def separator(self) -> str | None:
        """By what it can be changed; None where it cannot."""
        return None if self.is_printed else self.readings[0].separator

    def value(self, at: int | None = None) -> Decimal | None:
        """The value of one reading, or of the preferred one."""
        if not self.readings:
            return None
        return self.readings[self.preferred if at is None else at % len(self.readings)].value


def _choice(
    readings: tuple[Reading, ...], by_currency: tuple[Reading, ...], index: TextIndex | None
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
    amounts: Mapping[str, _Choice],
    totals_of: Callable[[Mapping[str, Decimal | None]], Totals],
    tolerance: Decimal,
) -> tuple[Totals, list[str]]:
    """The totals that add up, and the names of amounts that could mean something else."""
    preferred = totals_of({name: amount.value() for name, amount in amounts.items()})
    separators = sorted({amount.separator or "" for amount in amounts.values()} - {""})
    if not separators:
        return preferred, []
    unsure = [name for name, amount in amounts.items() if not amount.is_sure]
    holding = [preferred] if _adds_up(preferred, tolerance) else []
    if holding and not unsure:
        return preferred, []
    for roles in _assignments(amounts, separators):
        values = {
            name: amount.value(roles.get(amount.separator)) for name, amount in amounts.items()
        }
        totals = totals_of(values)
        if totals not in holding and _adds_up(totals, tolerance):
            holding.append(totals)
    if len(holding) == 1:
        return holding[0], []
    return preferred, unsure


def _assignments(
    amounts: Mapping[str, _Choice], separators: Sequence[str]
) -> Iterator[dict[str | None, int]]:
    """Ways to read the separators, each in the same way wherever it stands."""
    counts = [
        max(len(each.readings) for each in amounts.values() if each.separator == separator)
        for separator in separators
    ]
    for roles in islice(product(*map(range, counts)), _MOST_TRIES):
        yield dict(zip(separators, roles, strict=True))


def _adds_up(totals: Totals, tolerance: Decimal) -> bool:
    states = {check.state for check in check_totals(totals, tolerance)}
    return "holds" in states and "fails" not in states


def _by_product(
    line: GivenLine, amount: Decimal | None, tolerance: Decimal, index: TextIndex | None
) -> tuple[Line, bool]:
    """The line whose quantity and price make its amount, and whether it can be no other."""
    quantity, price = (
        _choice(readings, (), index)
        for readings in (readings_of(line.quantity, counts=True), readings_of(line.unit_price))
    )
    preferred = Line(quantity.value(), price.value(), amount)
    if quantity.is_sure and price.is_sure:
        return preferred, True
    tried = [
        Line(quantity.value(q), price.value(p), amount)
        for q, p in product(_tries(quantity), _tries(price))
    ]
    for is_right in (_makes, _nearly_makes):
        fitting = [each for each in tried if amount and is_right(each, amount, tolerance)]
        if len(fitting) == 1:
            return fitting[0], True
    return preferred, False


def _tries(choice: _Choice) -> range:
    return range(max(1, len(choice.readings)))


def _makes(line: Line, amount: Decimal, tolerance: Decimal) -> bool:
    return abs(_product(line) - abs(amount)) <= max(tolerance, abs(amount) * _PER_MILLE)


def _nearly_makes(line: Line, amount: Decimal, tolerance: Decimal) -> bool:  # noqa: ARG001
    return abs(amount) <= _product(line) * _NEAR and _product(line) <= abs(amount) * _NEAR


def _product(line: Line) -> Decimal:
    quantity = _ONE if line.quantity is None else line.quantity
    return abs(quantity * (_ONE if line.unit_price is None else line.unit_price))


def _name_of(at: int) -> str:
    return f"line {at}"
