"""The amounts of a document, and which of them is the total, the tax, what is due."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pipeline.local.simulated.answering.layout import Layout
from pipeline.local.simulated.answering.lexicon import Cues
from pipeline.local.simulated.answering.numbers import Number, find_numbers, prints_commas

_CUES = Cues("amounts.txt")
_BREAKDOWN = re.compile(
    r"(?:gst|vat|tax) (?:summary|analysis|breakdown)|tax code|aufschlüsselung|"
    r"détail (?:de la )?tva|desglose|steuersatz.*steuerbetrag",
    re.IGNORECASE,
)
_CURRENCY_MARK = r"(?:[€$£¥₹]|\b(?:EUR|USD|GBP|CHF|MYR|RM|JPY|CAD|AUD|SEK|NOK|DKK|PLN|CZK)\b)"
_WHOLE_MONEY = re.compile(rf"{_CURRENCY_MARK}\s?\d|\d\s?{_CURRENCY_MARK}")
_ISO = re.compile(
    r"\b(EUR|USD|GBP|CHF|MYR|JPY|CAD|AUD|SEK|NOK|DKK|PLN|CZK|SGD|INR|CNY|HKD|NZD|BRL|MXN|ZAR|TRY)\b"
)
_SIGNS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"€|\beuros?\b", re.IGNORECASE), "EUR"),
    (re.compile(r"£|\bpounds?\b", re.IGNORECASE), "GBP"),
    (re.compile(r"\bRM\b|\(RM\)|\bringgit\b|\bRM(?=\d)"), "MYR"),
    (re.compile(r"US\$|(?<![A-Z])\$|\bdollars?\b", re.IGNORECASE), "USD"),
    (re.compile(r"\bFr\.(?=\s?\d)|\bSFr\b"), "CHF"),
    (re.compile(r"¥|\byen\b", re.IGNORECASE), "JPY"),
    (re.compile(r"₹"), "INR"),
    (re.compile(r"\bzł\b"), "PLN"),
)
_CENT = Decimal("0.02")
_LINES_UP = 2
_LEAST_SHARE = 0.2
"""Of a label's letters: a word in a long sentence labels nothing."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount and what it is.

    Args:
        role: A section of `data/amounts.txt`.
        number: The amount.
        line: Where it stands.
        exact: How well its label fits, 0 to 1.
        breakdown: Whether it stands in a table of taxes by rate.
    """

    role: str
    number: Number
    line: int
    exact: float
    breakdown: bool


def currency_of(text: str) -> tuple[str | None, float]:
    """The ISO 4217 code of a document's amounts, and how sure that is."""
    counts: Counter[str] = Counter(match[1] for match in _ISO.finditer(text))
    for pattern, code in _SIGNS:
        counts[code] += len(pattern.findall(text))
    ranked = [(code, count) for code, count in counts.most_common(2) if count]
    if not ranked:
        return None, 0.5
    rival = ranked[1][1] if len(ranked) > 1 else 0
    return ranked[0][0], 0.95 if ranked[0][1] > 2 * rival else 0.6


def labelled_amounts(layout: Layout, text: str) -> list[Amount]:
    """The amounts that a label stands beside, in order."""
    comma = prints_commas(text)
    found: list[Amount] = []
    breakdown_until = -1
    for line, content in enumerate(layout.texts):
        if _BREAKDOWN.search(content):
            breakdown_until = line + 6
        numbers = list(_amounts_in(content, comma))
        if not numbers:
            continue
        label = _label(layout, line, numbers[0].start)
        meaning = _meaning(label)
        if meaning is None:
            continue
        role, exact = meaning
        in_breakdown = line <= breakdown_until
        # Of several columns the last is the one the label means: base, rate, amount.
        found.append(Amount(role, numbers[-1], line, exact, in_breakdown))
    return found


def choose_totals(amounts: Sequence[Amount], *, careful: bool) -> Mapping[str, Amount]:
    """The amount for each role.

    Args:
        amounts: Those with a label.
        careful: Whether net, tax and gross are checked against each other.
    """
    by_role: dict[str, list[Amount]] = {}
    for amount in amounts:
        by_role.setdefault(amount.role, []).append(amount)
    chosen = {role: _best(role, found) for role, found in by_role.items()}
    if careful:
        chosen |= _consistent(by_role)
    return chosen


def candidates(amounts: Sequence[Amount], role: str) -> list[Amount]:
    """All amounts with a role, the best first."""
    found = [amount for amount in amounts if amount.role == role]
    return sorted(found, key=lambda amount: _merit(role, amount), reverse=True)


def _amounts_in(content: str, comma: bool | None) -> Iterator[Number]:
    whole = _WHOLE_MONEY.search(content) is not None
    for number in find_numbers(content, comma=comma):
        behind = content[number.end : number.end + 2].lstrip()
        if behind.startswith("%"):
            continue
        if number.is_money or (whole and not number.decimals and number.value >= 1):
            yield number


def _label(layout: Layout, line: int, before: int) -> str:
    beside = layout.texts[line][:before]
    if re.search(r"[^\W\d_]{2}", re.sub(_CURRENCY_MARK, "", beside)):
        return beside
    for up in range(line - 1, max(-1, line - 1 - _LINES_UP), -1):
        above = layout.texts[up]
        if re.search(r"\d[.,]\d\d", above):
            break
        if re.search(r"[^\W\d_]{2}", above):
            return above
    return beside


def _meaning(label: str) -> tuple[str, float] | None:
    cells = [_words_of(cell) for cell in re.split(r"\s{2,}", label.strip())]
    for cell in reversed([cell for cell in cells if cell][-2:]):
        if exact := _CUES.exactly(cell):
            return exact, 1.0
    found = _CUES.find(label) or _CUES.find(_words_of(label))
    if found is None:
        return None
    role, match = found
    letters = sum(character.isalpha() for character in label) or 1
    share = min(1.0, sum(character.isalpha() for character in match.group()) / letters)
    return None if share < _LEAST_SHARE else (role, share)


def _words_of(label: str) -> str:
    return re.sub(rf"{_CURRENCY_MARK}|\d+(?:[.,]\d+)?\s*%?|[:()@*]", " ", label).strip()


def _merit(role: str, amount: Amount) -> tuple[float, ...]:
    # The last total of a document is the one after rounding and charges.
    later = amount.line if role in {"gross", "due"} else -amount.line
    fits = 2 if amount.exact > 0.7 else int(amount.exact > 0.4)  # noqa: PLR2004
    return (not amount.breakdown, fits, amount.number.value != 0, later)


def _best(role: str, found: Sequence[Amount]) -> Amount:
    return max(found, key=lambda amount: _merit(role, amount))


def _consistent(by_role: Mapping[str, Sequence[Amount]]) -> dict[str, Amount]:
    """Net, tax and gross that add up, the best of them first; nothing where none do."""
    ordered = {
        role: sorted(by_role.get(role, ()), key=lambda a: _merit(role, a), reverse=True)[:6]
        for role in ("net", "tax", "gross", "due")
    }
    taxes = [*ordered["tax"], *_summed(by_role.get("tax", ()))]
    for gross in ordered["gross"] or ordered["due"]:
        for net in ordered["net"]:
            for tax in taxes:
                if abs(net.number.value + tax.number.value - gross.number.value) <= _CENT:
                    return {"net": net, "tax": tax, "gross": gross}
    return {}


def _summed(taxes: Sequence[Amount]) -> list[Amount]:
    """Taxes at several rates, one below the other, as one."""
    if len(taxes) < 2 or taxes[-1].line - taxes[0].line > 2 * len(taxes):  # noqa: PLR2004
        return []
    total = sum((tax.number.value for tax in taxes), Decimal(0))
    return [replace(taxes[0], number=replace(taxes[0].number, value=total))]
