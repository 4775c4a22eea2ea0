"""Positions: the rows of a table, each with what it costs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pipeline.local.simulated.answering.layout import Layout
from pipeline.local.simulated.answering.lexicon import Cues, read_cues
from pipeline.local.simulated.answering.numbers import Number, find_numbers, prints_commas

_AMOUNT_LABELS = Cues("amounts.txt")
_HEADER = read_cues("tables.txt")["columns"]
_HEADER_WORDS = 2
_UNIT = re.compile(
    r"^\s*(?:x|×|@|pcs?|pc|stk\.?|stück|st\.?|units?|unit\(s\)|ea|each|hours?|hrs?|h|std\.?|kg|g|l|m²?|"
    r"liter\(s\)|litres?|boxes|box|set|nos|days?|tage?|monate?|months?|heures?|pièces?|pce|uds?|"
    r"horas?|meses)\b\.?",
    re.IGNORECASE,
)
_TAX_RATE = re.compile(r"\d+(?:[.,]\d+)?\s*%")
_CODE = re.compile(r"^(?:\d{5,}|[A-Z]{0,4}\d[\w-]*\d)\s+", re.IGNORECASE)
_CENT = Decimal("0.011")
_MONEY = re.compile(r"\d[.,]\d\d(?!\d)")
_TOTALS = frozenset({"gross", "net", "line_total", "due"})
_NO_POSITION = frozenset({"tax", "tendered", "rounding", "allowances", "prepaid", "charges"})
_SURE = 0.9
_FURTHEST = 60


@dataclass(frozen=True, slots=True)
class Position:
    """A row of a table.

    Args:
        description: What it is for.
        quantity: How many.
        unit_price: What one costs.
        amount: What it costs.
        sure: 0 to 1.
    """

    description: str
    quantity: Number | None
    unit_price: Number | None
    amount: Number | None
    sure: float


def find_positions(layout: Layout, text: str) -> list[Position]:
    """The positions of a document, in order.

    A position is a line between the table's head and the totals that ends in an amount, and whose
    label is not that of a tax, a discount or a payment.
    """
    comma = prints_commas(text)
    end = _end_line(layout)
    positions: list[Position] = []
    words = ""
    for content in layout.texts[_header_line(layout, end) : end]:
        row = _row(content, comma)
        if row is None:
            words = _heading(content) or words
            continue
        if not row.description and positions and _repeats(row, positions[-1]):
            continue
        positions.append(row if row.description else replace(row, description=_clean(words)))
        words = ""
    return positions


def _header_line(layout: Layout, end: int) -> int:
    for number, content in enumerate(layout.texts[: min(end, _FURTHEST)]):
        if _is_header(content) and not _MONEY.search(content):
            return number + 1
    return min(len(layout.texts), 3)


def _end_line(layout: Layout) -> int:
    """Where the totals begin: the first amount that is called a total."""
    for number, content in enumerate(layout.texts):
        if _MONEY.search(content):
            beside = _MONEY.split(content)[0]
            last = re.split(r"\s{2,}", beside.rstrip("€$£ -0123456789"))[-1]
            if (
                _meaning(beside) in _TOTALS
                or _AMOUNT_LABELS.exactly(last) in _TOTALS
                or (
                    not re.search(r"[^\W\d_]{2}", beside)
                    and number
                    and not _MONEY.search(layout.texts[number - 1])
                    and not _is_header(layout.texts[number - 1])
                    and _meaning(layout.texts[number - 1]) in _TOTALS
                )
            ):
                return number
    return len(layout.texts)


def _meaning(label: str) -> str | None:
    """What the beginning of a line says about its amount."""
    worded = re.sub(r"[\d.,:%()€$£|=-]|\b(?:RM|EUR|USD|GBP)\b", " ", label).strip()
    if not worded:
        return None
    if exact := _AMOUNT_LABELS.exactly(worded):
        return exact
    found = _AMOUNT_LABELS.find(worded)
    begins = found is not None and found[1].start() == 0
    return found[0] if found is not None and begins else None


def _repeats(row: Position, before: Position) -> bool:
    """An amount alone that the row before already has."""
    return row.amount is not None and (
        before.amount is not None and row.amount.value == before.amount.value
    )


def _row(content: str, comma: bool | None) -> Position | None:
    plain = _TAX_RATE.sub(lambda match: " " * len(match.group()), content)
    numbers = [n for n in find_numbers(plain, comma=comma) if abs(n.value) < 10_000_000]  # noqa: PLR2004
    money = [number for number in numbers if number.decimals >= 2]  # noqa: PLR2004
    if not money or not money[-1].is_money:
        return None
    quantity, price, amount, sure = _split(numbers, money, plain)
    label = content[: numbers[0].start] if re.match(r"\s*\D", content) else content
    if _meaning(label) in _NO_POSITION:
        return None
    if sure < _SURE and re.search(r":\s*[€$£]?\s*$", content[: amount.start]):
        return None
    first = min((n.start for n in (quantity, price, amount) if n is not None), default=0)
    description = content[:first]
    if not re.search(r"[^\W\d_]{2}", description):
        description = _between(content, [quantity, price, amount])
    return Position(_clean(description), quantity, price, amount, sure)


def _split(
    numbers: Sequence[Number], money: Sequence[Number], content: str
) -> tuple[Number | None, Number | None, Number, float]:
    """Which number is the quantity, which the price: those whose product is the amount."""
    for amount in reversed(money):
        before = [number for number in numbers if number.start < amount.start]
        for price in reversed(before):
            for quantity in before:
                if quantity is price or (quantity.value <= 0 and amount.value >= 0):
                    continue
                product = quantity.value * price.value
                if abs(product - amount.value) <= max(_CENT, abs(amount.value) * Decimal("0.001")):
                    if price.decimals < quantity.decimals:
                        quantity, price = price, quantity  # noqa: PLW2901
                    return quantity, price, amount, 0.95
    amount = money[-1]
    earlier = [number for number in numbers if number.start < amount.start]
    counts = [n for n in earlier if not n.decimals and _UNIT.match(content[n.end :])]
    prices = [number for number in earlier if number.decimals >= 2]  # noqa: PLR2004
    return (counts[-1] if counts else None), (prices[-1] if prices else None), amount, 0.6


def _between(content: str, numbers: Sequence[Number | None]) -> str:
    taken = sorted((n.start, n.end) for n in numbers if n is not None)
    pieces: list[str] = []
    at = 0
    for start, end in taken:
        pieces.append(content[at:start])
        at = end
    worded = [piece for piece in pieces if re.search(r"[^\W\d_]{3}", piece)]
    return max(worded, key=len) if worded else ""


def _clean(description: str) -> str:
    text = _UNIT.sub("", description.strip()) if _UNIT.match(description.strip()) else description
    text = re.sub(r"^\s*\d{1,3}[.)]?\s+(?=\S*[^\W\d_])", "", text)
    text = re.sub(r"[€$£]|\b(?:RM|EUR|USD)\s*$", "", text)
    cells = [cell for cell in re.split(r"\s{2,}", text.strip()) if re.search(r"[^\W\d_]{2}", cell)]
    text = max(cells, key=len) if cells else ""
    text = _CODE.sub("", text) if len(text.split()) > 1 else text
    return text.strip(" -–:*|@x×").strip()


def _heading(content: str) -> str:
    """Words that stand alone: the description of the row to come, if that has none."""
    text = content.strip()
    return text if re.search(r"[^\W\d_]{2}", text) and not _is_header(text) else ""


def _is_header(text: str) -> bool:
    return len({match.group() for match in _HEADER.finditer(text.lower())}) >= _HEADER_WORDS


def positions_total(positions: Sequence[Position]) -> Decimal:
    """The sum of the amounts."""
    return sum((p.amount.value for p in positions if p.amount is not None), Decimal(0))
