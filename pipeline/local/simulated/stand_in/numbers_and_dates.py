"""Numbers and dates as documents print them."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from price_parser.parser import parse_number

from pipeline.local.simulated.stand_in.vocabulary import read_sections

_NUMBER = re.compile(
    r"(?:(?<![\w.,/-])(?<!\d:)|(?<=\bRM)|(?<=\b(?:EUR|USD|GBP|CHF|MYR)))(?P<sign>[-+−–]\s?)?"
    r"(?P<digits>\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+(?:[.,]\d{1,4})?|\d+(?:[.,]\d{1,4})?)"
    r"(?P<behind>-(?!\d))?(?![\w/]|[.,-]\d|:\d)"
)
_DAY_AND_MONTH = re.compile(r"[0-3]?\d\.[01]\d\.(?!\d)")
_MONTHS = {
    name: int(number)
    for number, names in read_sections("months.txt").items()
    for name in names.split()
}
_EITHER_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
PRINTED_DATE = re.compile(
    r"(?<![\d.,/-])(?:"
    r"(?P<iso>(?P<iy>\d{4})[-./](?P<im>\d{1,2})[-./](?P<id>\d{1,2}))"
    r"|(?P<num>(?P<n1>\d{1,2})\s?(?P<sep>[-./])\s?(?P<n2>\d{1,2})\s?(?P=sep)\s?(?P<ny>\d{4}|\d{2}))"
    r"|(?P<dmy>(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?(?P<dd>\d{1,2})"
    rf"(?:st|nd|rd|th|\.|er)?[\s.-]*(?:de\s)?(?P<dm>{_EITHER_MONTH})\.?[\s.,-]*(?:de\s)?"
    r"(?P<dy>\d{4}|\d{2}(?!\d|:)))"
    rf"|(?P<mdy>(?P<mm>{_EITHER_MONTH})\.?\s+(?P<md>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<my>\d{{4}}))"
    # Scans lose the blank between a date and the time behind it.
    r")(?!:\d\d)(?:(?=\d{1,2}:\d\d)|(?![\d/]|[.-]\d))",
    re.IGNORECASE,
)
_MIDDLE = 12


class Number(NamedTuple):
    """A number in a text: its value with the decimals that are printed, and where it stands."""

    value: Decimal
    start: int
    end: int

    @property
    def decimals(self) -> int:
        return -int(self.value.as_tuple().exponent)

    @property
    def is_money(self) -> bool:
        """Whether it is printed as amounts of money are: with cents."""
        return self.decimals == 2  # noqa: PLR2004


def find_numbers(text: str, *, comma: bool | None = None) -> Iterator[Number]:
    """The numbers of a text.

    Args:
        text: Where to look.
        comma: Whether the decimal sign is a comma, for 1,234 and 1.234; None: not known.
    """
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"['’\s]", "", match["digits"])
        thousands = re.fullmatch(r"\d+([.,])\d{3}", digits)
        decides = thousands is not None and comma is not None
        sign = None if not decides else "," if comma else "."
        value = parse_number(digits, decimal_separator=sign)
        if value is not None and not _DAY_AND_MONTH.match(text, match.start()):
            negative = (match["sign"] or "").strip() in {"-", "−", "–"} or match["behind"]
            yield Number(-value if negative else value, match.start(), match.end())


def prints_commas(text: str) -> bool | None:
    """Whether amounts in a text have a decimal comma; None where that cannot be said."""
    commas = len(re.findall(r"\d,\d{2}(?![\d.,])", text))
    points = len(re.findall(r"\d\.\d{2}(?![\d.,])", text))
    return None if commas == points else commas > points


def find_dates(text: str, *, month_first: bool = False) -> Iterator[date]:
    """The dates of a text that exist."""
    for match in PRINTED_DATE.finditer(text):
        if match["iso"]:
            year, month, day = int(match["iy"]), int(match["im"]), int(match["id"])
        elif match["num"]:
            day, month, year = int(match["n1"]), int(match["n2"]), int(match["ny"])
            if (month_first and day <= _MIDDLE) or month > _MIDDLE:
                day, month = month, day
        else:
            by_day = match["dmy"] is not None
            name = match["dm"] if by_day else match["mm"]
            day, year = (int(match[g]) for g in (("dd", "dy") if by_day else ("md", "my")))
            month = _MONTHS[name.lower()]
        try:
            yield date(year if year > 99 else 2000 + year, month, day)  # noqa: PLR2004
        except ValueError:
            continue


def puts_month_first(text: str, *, american: bool) -> bool:
    """Whether a text writes the month before the day; dates that leave no doubt decide."""
    pairs = [(int(m["n1"]), int(m["n2"])) for m in PRINTED_DATE.finditer(text) if m["num"]]
    if any(first > _MIDDLE for first, _ in pairs):
        return False
    return american or any(second > _MIDDLE for _, second in pairs)
