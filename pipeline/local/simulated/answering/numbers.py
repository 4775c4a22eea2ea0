"""Numbers as documents print them: 1,234.50 and 1.234,50 and 1 234,50."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_NUMBER = re.compile(
    r"(?:(?<![\w.,/-])(?<!\d:)|(?<=\bRM)|(?<=\b(?:EUR|USD|GBP|CHF|MYR)))(?P<sign>[-+−–]\s?)?"
    r"(?P<digits>\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+(?:[.,]\d{1,4})?|\d+(?:[.,]\d{1,4})?)"
    r"(?P<behind>-(?!\d))?(?![\w/]|[.,-]\d|:\d)"
)
_DAY_AND_MONTH = re.compile(r"[0-3]?\d\.[01]\d\.(?!\d)")
_THOUSANDS = 3


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text.

    Args:
        value: What it is.
        start: Where it begins.
        end: Where it ends.
        decimals: Digits behind the decimal sign.
    """

    value: Decimal
    start: int
    end: int
    decimals: int

    @property
    def plain(self) -> str:
        """Digits with a point, as many decimals as printed."""
        return format(self.value, "f")

    @property
    def is_money(self) -> bool:
        """Whether it is printed as amounts of money are."""
        return self.decimals == 2  # noqa: PLR2004 - cents


def find_numbers(text: str, *, comma: bool | None = None) -> Iterator[Number]:
    """The numbers of a text.

    Args:
        text: Where to look.
        comma: Whether the decimal sign is a comma; decides what 1.234 is. None: not known.
    """
    for match in _NUMBER.finditer(text):
        read = read_number(match["digits"], comma=comma)
        if read is not None and not _DAY_AND_MONTH.match(text, match.start()):
            value, decimals = read
            negative = (match["sign"] or "").strip() in {"-", "−", "–"} or match["behind"]
            yield Number(-value if negative else value, match.start(), match.end(), decimals)


def read_number(digits: str, *, comma: bool | None = None) -> tuple[Decimal, int] | None:
    """The value and the decimals of a number without sign; None where it is none."""
    cleaned = re.sub(r"['’\s]", "", digits)
    separators = [character for character in cleaned if character in ".,"]
    decimal_sign = ""
    if separators:
        last = separators[-1]
        behind = len(cleaned) - cleaned.rindex(last) - 1
        if len(set(separators)) > 1 or (
            len(separators) == 1 and (behind != _THOUSANDS or (last == ",") is comma)
        ):
            decimal_sign = last
    for sign in ".,":
        if sign != decimal_sign:
            cleaned = cleaned.replace(sign, "")
    if decimal_sign:
        cleaned = cleaned.replace(decimal_sign, ".")
    try:
        return Decimal(cleaned), len(cleaned.partition(".")[2])
    except InvalidOperation:
        return None


def prints_commas(text: str) -> bool | None:
    """Whether amounts in a text have a decimal comma; None where that cannot be told."""
    commas = len(re.findall(r"\d,\d{2}(?![\d.,])", text))
    points = len(re.findall(r"\d\.\d{2}(?![\d.,])", text))
    return None if commas == points else commas > points
