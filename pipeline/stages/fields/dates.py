"""Dates: as answers give them, and in the forms in which a text may name them."""

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import date

from pipeline.stages.fields.amounts import MONTHS, TERMS

EARLIEST_YEAR = 1990
LATEST_YEAR = 2100
"""Outside these years a date on a business document is a misreading."""
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_BETWEEN = r"\s{0,2}(?:[./,\-–—‐‑−'’]|年|月|년|월|\s)\s{0,2}"
_ERAS = ((2018, "令和|reiwa|r"), (1988, "平成|heisei|h"), (1925, "昭和|showa|s"))
"""The year before the first of each Japanese era, and what its name is written like."""
_BUDDHIST, _REPUBLIC = 543, -1911
_BESIDE = 4
"""Words that may stand between a day and its month, or these and their year: "5th day of"."""
_WINDOW = 48
_MOST_PLACES = 400
_PIECE = 20_000
_NET = frozenset({"net", "netto", "n", "nt", "nett"})
_WEEK = 7
_MONTHS = 12
_FOUR = 4


def parse_date(text: str) -> date | None:
    """Read an ISO 8601 date; None where the text is none, or the calendar has no such day."""
    if not _ISO.fullmatch(text.strip()):
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def is_plausible(day: date) -> bool:
    """Whether a business document may bear this date."""
    return EARLIEST_YEAR <= day.year <= LATEST_YEAR


class DateForms:
    """The dates and terms of a text, which is folded by `text_quality.fold`.

    Knows numbers in any order, month names, years of two digits, of Japanese eras, of the Buddhist
    calendar and of the Republic of China. Does not know calendars with other months.
    """

    def __init__(self, folded: str) -> None:
        self._text = folded

    def has(self, day: date) -> bool:
        """Whether the text names a day; whether day or month comes first does not matter."""
        return next(self.places(day), None) is not None

    def places(self, day: date) -> Iterator[tuple[int, int]]:
        """Where in the text the day is named, start and end; some may be within others."""
        yield from self._found(_in_numbers(day))
        eras = {str(day.year - first) for first, _ in _ERAS if day.year > first}
        years = eras | {str(day.year), f"{day.year % 100:02}", str(day.year + _BUDDHIST)}
        for found, at in self._around(day.day):
            tokens = [each[0] for each in found]
            for step in (1, -1):
                month = _month_beside(tokens, at, step, day.month)
                if month is None:
                    continue
                first, last = min(at, month), max(at, month)
                if _is_year(tokens, first, last, years):
                    first, last = _with_year(tokens, first, last, years)
                    yield found[first].start(), found[last].end()

    def has_without_year(self, day: date) -> bool:
        """The same, and whether it has the day and month in numbers alone, as in 5.3."""
        number, month = f"0?{day.day}", f"0?{day.month}"
        pair = rf"(?<![\d./-])(?:{number}{_BETWEEN}{month}|{month}{_BETWEEN}{number})"
        return self.has(day) or self._matches(re.compile(rf"{pair}(?:日|일)?(?![\d./-])"))

    def has_term(self, start: date, end: date) -> bool:
        """Whether the text names the time from one day to another, in days, weeks or months."""
        days = (end - start).days
        terms = [("day", days)]
        if days and days % _WEEK == 0:
            terms.append(("week", days // _WEEK))
        months = (end.year - start.year) * _MONTHS + end.month - start.month
        if months > 0 and end.day == min(start.day, monthrange(end.year, end.month)[1]):
            terms.append(("month", months))
        return days >= 0 and any(
            _is_term(unit, [each[0] for each in found], at)
            for unit, count in terms
            for found, at in self._around(count)
        )

    def _matches(self, pattern: re.Pattern[str]) -> bool:
        return next(self._found(pattern), None) is not None

    def _found(self, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """Search piece by piece: a search holds up all threads for as long as it takes."""
        for at in range(0, len(self._text) + 1, _PIECE):
            for match in pattern.finditer(self._text, at, at + _PIECE + _WINDOW):
                yield match.span()

    def _around(self, number: int) -> Iterator[tuple[list[re.Match[str]], int]]:
        """The words around each place of a number, and which of them the number is."""
        found = re.finditer(rf"(?<!\d)0?{number}(?!\d)", self._text)
        for match, _ in zip(found, range(_MOST_PLACES), strict=False):
            begin, end = match.span()
            before = list(_TOKEN.finditer(self._text, max(0, begin - _WINDOW), begin))
            after = _TOKEN.finditer(self._text, begin, end + _WINDOW)
            yield [*before, *after], len(before)


def _month_beside(tokens: list[str], at: int, step: int, month: int) -> int | None:
    for place in range(at + step, at + step * (_BESIDE + 1), step):
        if not 0 <= place < len(tokens) or tokens[place].isdecimal():
            return None
        named = MONTHS.get(tokens[place])
        if named:
            return place if month in named else None
    return None


def _is_year(tokens: list[str], start: int, end: int, years: set[str]) -> bool:
    """Whether the number next to a day and its month is their year, or there is no such number."""
    after = [token for token in tokens[end + 1 : end + 1 + _BESIDE] if token.isdecimal()]
    before = [token for token in tokens[max(0, start - _BESIDE) : start] if token.isdecimal()]
    if (after and after[0] in years) or (before and before[-1] in years):
        return True
    beside = tokens[end + 1 : end + 2] + [each for each in before[-1:] if len(each) == _FOUR]
    return not any(each.isdecimal() and len(each) in {2, _FOUR} for each in beside)


def _with_year(tokens: list[str], start: int, end: int, years: set[str]) -> tuple[int, int]:
    """From the first to the last token of a date: its day, its month and, if it has one, a year."""
    after = range(end + 1, min(len(tokens), end + 1 + _BESIDE))
    before = range(start - 1, max(-1, start - 1 - _BESIDE), -1)
    for places in (after, before):
        number = next((at for at in places if tokens[at].isdecimal()), None)
        if number is not None and tokens[number] in years:
            return min(start, number), max(end, number)
    return start, end


def _is_term(unit: str, tokens: list[str], at: int) -> bool:
    beside = tokens[max(0, at - 2) : at] + tokens[at + 1 : at + 1 + _BESIDE]
    if unit == "day" and _NET & set(beside):
        return True
    for word in beside:
        # Less what declension adds, and what a compound such as "Kalendertage" ends in.
        ends = (word[-length:] for length in (4, 5, 6) if len(word) > length + 2)
        if any(unit in TERMS.get(each, ()) for each in (word, word[:-1], *ends)):
            return True
    return False


def _in_numbers(day: date) -> re.Pattern[str]:
    year, short = f"{day.year:04}", f"{day.year % 100:02}"
    month, number = f"{day.month:02}", f"{day.day:02}"
    eras = [
        rf"(?:{names})\.?\s?0?{'(?:元|1)' if day.year - first == 1 else day.year - first}"
        for first, names in _ERAS
        if day.year > first
    ]
    years = "|".join(
        [year, rf"['’]?{short}", str(day.year + _BUDDHIST), f"{day.year + _REPUBLIC}", *eras]
    )
    loose_year, loose_month, loose_day = rf"(?:{years})", f"0?{day.month}", f"0?{day.day}"
    orders = (
        (loose_day, loose_month, loose_year),
        (loose_month, loose_day, loose_year),
        (loose_year, loose_month, loose_day),
        (loose_year, loose_day, loose_month),
    )
    tight = [
        year + month + number, number + month + year, month + number + year,
        short + month + number, number + month + short,
    ]  # fmt: skip
    forms = [_BETWEEN.join(order) for order in orders] + tight
    return re.compile(rf"(?<!\d)(?:{'|'.join(forms)})(?!\d)")
