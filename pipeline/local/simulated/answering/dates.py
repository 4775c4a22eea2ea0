"""Dates as documents print them, and which of them is meant."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier janv enero ene jänner",
            "february feb februar février fevrier févr febrero",
            "march mar märz maerz mrz mars marzo",
            "april apr avril avr abril abr",
            "may mai mayo",
            "june jun juni juin junio",
            "july jul juli juillet juil julio",
            "august aug août aout agosto ago",
            "september sep sept septembre septiembre",
            "october oct oktober okt octobre octubre",
            "november nov novembre noviembre",
            "december dec dezember dez décembre decembre diciembre dic",
        ),
        start=1,
    )
    for name in names.split()
}
_NAME = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(
    r"(?<![\d.,/-])(?:"
    r"(?P<iso>(?P<iy>\d{4})[-./](?P<im>\d{1,2})[-./](?P<id>\d{1,2}))"
    r"|(?P<num>(?P<n1>\d{1,2})\s?(?P<sep>[-./])\s?(?P<n2>\d{1,2})\s?(?P=sep)\s?(?P<ny>\d{4}|\d{2}))"
    rf"|(?P<dmy>(?P<dd>\d{{1,2}})(?:st|nd|rd|th|\.|er)?[\s.-]*(?:de\s)?(?P<dm>{_NAME})\.?[\s.,-]*(?:de\s)?(?P<dy>\d{{4}}|\d{{2}}(?!\d|:)))"
    rf"|(?P<mdy>(?P<mm>{_NAME})\.?\s+(?P<md>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<my>\d{{4}}))"
    # Scans lose the blank between a date and the time behind it.
    r")(?!:\d\d)(?:(?=\d{1,2}:\d\d)|(?![\d/]|[.-]\d))",
    re.IGNORECASE,
)
_CENTURY = 100
_MIDDLE = 12


@dataclass(frozen=True, slots=True)
class PrintedDate:
    """A date in a text.

    Args:
        day: What it is.
        printed: As it stands there.
        start: Where it begins.
        end: Where it ends.
    """

    day: date
    printed: str
    start: int
    end: int


def find_dates(text: str, *, month_first: bool = False) -> Iterator[PrintedDate]:
    """The dates of a text.

    Args:
        text: Where to look.
        month_first: Whether 03/04/2025 is in March; a part above 12 decides against it.
    """
    for match in _DATE.finditer(text):
        day = _read(match, month_first=month_first)
        if day is not None:
            yield PrintedDate(day, match.group().strip(), match.start(), match.end())


def printed_dates(text: str) -> Iterator[re.Match[str]]:
    """The dates of a text as they stand there, also those that do not exist."""
    return _DATE.finditer(text)


def puts_month_first(text: str, *, american: bool) -> bool:
    """Whether a text writes the month before the day, told by dates that leave no doubt."""
    firsts = [(int(m["n1"]), int(m["n2"])) for m in _DATE.finditer(text) if m["num"]]
    if any(first > _MIDDLE for first, _ in firsts):
        return False
    return any(second > _MIDDLE for _, second in firsts) or american


def after_days(start: date, text: str) -> date | None:
    """The end of a term such as `30 days net` in a text."""
    match = _TERM.search(text)
    return None if match is None else start + timedelta(days=int(match[1] or match[2]))


_TERM = re.compile(
    r"(?:within|net|payable in|zahlbar (?:innerhalb|binnen|in)|innerhalb(?: von)?|sous|à|dentro de|"
    r"en un plazo de|terms:?)\s+(\d{1,3})\s*(?:days|tagen?|jours|días|d\b)"
    r"|\b(\d{1,3})\s*(?:days|tage|jours|días)\s*(?:net\b|netto|after|nach|à compter|desde)",
    re.IGNORECASE,
)


def distinct(dates: Sequence[PrintedDate]) -> list[date]:
    """The days, each once, in order."""
    return list(dict.fromkeys(each.day for each in dates))


def _read(match: re.Match[str], *, month_first: bool) -> date | None:
    if match["iso"]:
        year, month, day = int(match["iy"]), int(match["im"]), int(match["id"])
    elif match["num"]:
        first, second, year = int(match["n1"]), int(match["n2"]), int(match["ny"])
        swap = (month_first and first <= _MIDDLE) or second > _MIDDLE
        day, month = (second, first) if swap else (first, second)
    elif match["dmy"]:
        day, month, year = int(match["dd"]), _MONTHS[match["dm"].lower()], int(match["dy"])
    else:
        day, month, year = int(match["md"]), _MONTHS[match["mm"].lower()], int(match["my"])
    if year < _CENTURY:
        year += 2000
    try:
        return date(year, month, day)
    except ValueError:
        return None
