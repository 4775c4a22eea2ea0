"""A business document: dates, parties, numbers, amounts and positions, and which is which."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import product
from typing import NamedTuple

from price_parser.parser import parse_number

from pipeline.local.simulated.stand_in.label_scores import Skill
from pipeline.local.simulated.stand_in.vocabulary import Phrases, listed, pattern_of, read_sections

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
    r"(?:(?P<iy>\d{4})[-./](?P<im>\d{1,2})[-./](?P<id>\d{1,2}))"
    r"|(?:(?P<n1>\d{1,2})\s?(?P<sep>[-./])\s?(?P<n2>\d{1,2})\s?(?P=sep)\s?(?P<ny>\d{4}|\d{2}))"
    r"|(?:(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?(?P<dd>\d{1,2})"
    rf"(?:st|nd|rd|th|\.|er)?[\s.-]*(?:de\s)?(?P<dm>{_EITHER_MONTH})\.?[\s.,-]*(?:de\s)?"
    r"(?P<dy>\d{4}|\d{2}(?!\d|:)))"
    rf"|(?:(?P<mm>{_EITHER_MONTH})\.?\s+(?P<md>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<my>\d{{4}}))"
    # Scans lose the blank between a date and the time behind it.
    r")(?!:\d\d)(?:(?=\d{1,2}:\d\d)|(?![\d/]|[.-]\d))",
    re.IGNORECASE,
)
_CODES = r"\b(?:EUR|USD|GBP|CHF|MYR|JPY|CAD|AUD|SEK|NOK|DKK|PLN|CZK|SGD|INR|CNY|NZD|BRL|MXN|ZAR)\b"
_SIGNS = {
    "EUR": r"€|\beuros?\b", "GBP": r"£|\bpounds?\b", "MYR": r"\bRM(?=\b|\d)", "JPY": "¥",
    "USD": r"US\$|(?<![A-Z])\$|\bdollars?\b", "CHF": r"\bS?Fr\.?(?=\s?\d)", "INR": "₹", "PLN": "zł",
}  # fmt: skip
CURRENCY_MARK = rf"(?:[€$£¥₹]|\bRM\b|{_CODES})"
_REFERENCE = re.compile(r"(?<!\w)#?\s?([A-Z]{0,6}[\s-]?[A-Z0-9][\w./-]*\d[\w./-]*)", re.IGNORECASE)


_SECTIONS = read_sections("document.txt")
_LEGAL_FORM, _NO_NAME, _STREET, _UNIT = (
    pattern_of(_SECTIONS[name].split(",")) for name in ("legal_form", "no_name", "street", "unit")
)
_LABELS, _AMOUNT_LABELS = (Phrases(listed(group, _SECTIONS)) for group in ("label", "amount"))
_NOUNS = {role: text.strip().replace(", ", "|") for role, text in listed("noun", _SECTIONS).items()}
_CELL = re.compile(r"[^\s|](?:[^\n\t|]*?[^\s|])?(?=\s{2,}|\s*\t|\s*\||\s*$)")
_NEAR, _LINES_BELOW, _MOST_LINES, _TOP_LINES = 14, 6, 2000, 12
_AFTER_LABEL = re.compile(r"^\s*(?:\.|no\.?|nr\.?|n°|nº|number|#)?\s*[:#.=]*\s*", re.IGNORECASE)
_NUMBER_WORD = r"(?:no|nr|number|nummer|num|numéro|número|n°|nº|#|id)"
_MONEY = re.compile(r"\d[.,]\d\d(?!\d)")
_WORDED = re.compile(r"[^\W\d_]{2}")
_RATE = re.compile(r"\d+(?:[.,]\d+)?\s*%")
_CENT = Decimal("0.02")
_TOTALS = frozenset({"gross", "net", "line_total", "due"})


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
    """The numbers of a text; `comma` says whether the decimal sign is one, for 1,234 and 1.234."""
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"['’\s]", "", match["digits"])
        decides = comma is not None and re.fullmatch(r"\d+[.,]\d{3}", digits)
        sign = None if not decides else "," if comma else "."
        value = parse_number(digits, decimal_separator=sign)
        if value is not None and not _DAY_AND_MONTH.match(text, match.start()):
            negative = (match["sign"] or "").strip() in {"-", "−", "–"} or match["behind"]
            yield Number(-value if negative else value, match.start(), match.end())


def find_dates(text: str) -> Iterator[date]:
    """The dates of a text that exist."""
    for match in PRINTED_DATE.finditer(text):
        year = int(match["iy"] or match["ny"] or match["dy"] or match["my"])
        name = match["im"] or match["n2"] or match["dm"] or match["mm"]
        month = _MONTHS.get(name.lower()) or int(name)
        day = int(match["id"] or match["n1"] or match["dd"] or match["md"])
        if match["n2"] and month > 12:  # noqa: PLR2004
            day, month = month, day
        try:
            yield date(year if year > 99 else 2000 + year, month, day)  # noqa: PLR2004
        except ValueError:
            continue


class Cell(NamedTuple):
    """A piece of a line, apart from the next by two blanks, a tab or a bar."""

    text: str
    line: int
    start: int
    column: int


class Amount(NamedTuple):
    """An amount with its role: a section of `data/document.txt`; `fit` of its label is 0 to 1."""

    role: str
    number: Number
    line: int
    text: str
    fit: float


class Position(NamedTuple):
    description: str
    quantity: Number | None
    unit_price: Number | None
    amount: Number


class Document:
    """What a text says as an invoice, a receipt or a letter would."""

    def __init__(self, text: str, skill: Skill) -> None:
        lines = [line.expandtabs(4) for line in text.splitlines() if line.strip()]
        self._lines = lines[:_MOST_LINES]
        self.text = "\n".join(self._lines)
        self._skill = skill

    @cached_property
    def _rows(self) -> Sequence[Sequence[Cell]]:
        return [
            [Cell(m.group(), n, m.start(), i) for i, m in enumerate(_CELL.finditer(line))]
            for n, line in enumerate(self._lines)
        ]

    @cached_property
    def comma(self) -> bool | None:
        """Whether amounts have a decimal comma; None where that cannot be said."""
        commas = len(re.findall(r"\d,\d{2}(?![\d.,])", self.text))
        points = len(re.findall(r"\d\.\d{2}(?![\d.,])", self.text))
        return None if commas == points else commas > points

    def _values(self, cell: Cell, end: int) -> Iterator[str]:
        """What stands behind the first `end` characters of a cell, right of it, or below it."""
        rest = cell.text[end:]
        colon = re.match(r"[^:]{0,20}:", rest)
        rest = rest[colon.end() :].strip() if colon else _AFTER_LABEL.sub("", rest)
        if rest:
            yield rest
            return
        right = self._rows[cell.line][cell.column + 1 :]
        yield from (value for other in right[:2] if (value := other.text.lstrip(": ")))
        for row in self._rows[cell.line + 1 : cell.line + 1 + _LINES_BELOW]:
            for other in row:
                overlaps = cell.start - len(other.text) < other.start < cell.start + len(cell.text)
                beyond = not right and other.start >= cell.start
                if overlaps or beyond or abs(other.start - cell.start) <= _NEAR:
                    yield from (next_to.text for next_to in row[other.column : other.column + 2])
                    break

    @cached_property
    def _labelled(self) -> Sequence[tuple[str, Sequence[str]]]:
        """What labels mean, and what may be their values; the longest phrase decides."""
        found = []
        for cell in (cell for row in self._rows for cell in row):
            label = _LABELS.find(cell.text.partition(":")[0][:60])
            # Most of what stands before a colon has to be the label.
            if label is None or len(label[1].group()) * 2 < label[1].end():
                continue
            end = label[1].end()
            # `Invoice no 123` is a label and its value, `Customer care` is neither.
            apart = cell.text[end : end + 1] in {":", ".", "#", ""}
            if apart or (re.search(r"number|date|id$", label[0]) and end > 5):  # noqa: PLR2004
                found.append((label[0], list(self._values(cell, end))))
        return found

    def _labelled_values(self, role: str) -> Iterator[str]:
        return (value for meaning, values in self._labelled if meaning == role for value in values)

    def named(self, names: Sequence[str]) -> str | None:
        pattern = pattern_of(names)
        for cell in (cell for row in self._rows for cell in row):
            if match := pattern.match(cell.text):
                return next(self._values(cell, match.end()), None)
        return None

    def date(self, role: str) -> tuple[date | None, float]:
        for text in self._labelled_values(role):
            for day in find_dates(text):
                return day, 0.95
        dates = list(find_dates(self.text))
        if role == "issue_date" and dates:
            return dates[0], 0.8 if len({*dates}) == 1 else 0.7
        return None, 0.5

    def identifier(self, role: str) -> tuple[str | None, float]:
        if labelled := next(filter(None, map(find_reference, self._labelled_values(role))), None):
            return labelled, 0.9
        found = self.identifier_after(_NOUNS[role])
        return found, 0.8 if found else 0.4

    def identifier_after(self, nouns: str) -> str | None:
        numbered = rf"(?:{nouns})\w*[^\n]{{0,12}}?\b{_NUMBER_WORD}(?!\w)[\s.:#]*([^\n]{{1,40}})"
        found = re.finditer(numbered, self.text, re.IGNORECASE)
        return next(filter(None, (find_reference(match[1]) for match in found)), None)

    def party(self, role: str) -> tuple[str | None, float]:
        names, sure = [_name_in(value) for value in self._labelled_values(role)][:6], 0.9
        if not any(names) and role == "vendor":
            top = [cell.text.rpartition(": ")[2] for row in self._rows[:_TOP_LINES] for cell in row]
            names, sure = [_name_in(text) for text in top], 0.8
        known = [name for name in names if name]
        company = next((name for name in known if _LEGAL_FORM.search(name)), None)
        return (company or known[0], sure) if known else (None, 0.5)

    @cached_property
    def currency(self) -> tuple[str | None, float]:
        """The ISO 4217 code of its amounts, and how sure that is."""
        counts = Counter(re.findall(_CODES, self.text))
        for code, pattern in _SIGNS.items():
            counts[code] += len(re.findall(pattern, self.text))
        (first, most), (_, rival) = counts.most_common(2)
        return (first, 0.95 if most > 2 * rival else 0.6) if most else (None, 0.5)

    @cached_property
    def totals(self) -> Mapping[str, Amount]:
        """The amount for each role; net, tax and gross are some that add up, if there are such."""
        by_role: dict[str, list[Amount]] = {}
        for amount in sorted(self._amounts(), key=_merit, reverse=True):
            by_role.setdefault(amount.role, []).append(amount)
        gross, net, due, taxes = (by_role.get(r, [])[:6] for r in ("gross", "net", "due", "tax"))
        if self._skill.thorough and len(taxes) > 1:
            # Taxes at several rates as one.
            total = sum((tax.number.value for tax in taxes), Decimal(0))
            taxes.append(taxes[0]._replace(number=taxes[0].number._replace(value=total)))
        chosen = {role: found[0] for role, found in by_role.items()}
        for found in product(gross or due, net, taxes):
            total, *parts = (amount.number.value for amount in found)
            if abs(sum(parts) - total) <= _CENT:
                return chosen | dict(zip(("gross", "net", "tax"), found, strict=True))
        return chosen

    def _amounts(self) -> Iterator[Amount]:
        """The amounts that a label stands beside, in order."""
        for line, text in enumerate(self._lines):
            whole = re.search(rf"{CURRENCY_MARK}\s?\d|\d\s?{CURRENCY_MARK}", text)
            numbers = [
                n
                for n in find_numbers(text, comma=self.comma)
                if (n.is_money or (whole and not n.decimals and n.value >= 1))
                and not text[n.end :].lstrip().startswith("%")
            ]
            row = _position(text, self.comma) if numbers else None
            if not numbers or (row is not None and row.unit_price is not None):
                continue
            label = text[: numbers[0].start]
            if line and not _WORDED.search(re.sub(CURRENCY_MARK, "", label)):
                above = self._lines[line - 1]
                label = label if _MONEY.search(above) else above
            meaning = _meaning(label)
            if meaning is not None:
                # Of several columns the last is the one the label means: base, rate, amount.
                yield Amount(meaning[0], numbers[-1], line, text.strip(), meaning[1])

    def amount(self, role: str) -> Amount | None:
        roles = ("gross", "due", "net") if role == "gross" else (role,)
        return next((self.totals[name] for name in roles if name in self.totals), None)

    def adds_up(self) -> bool | None:
        """Whether net and tax are the gross; None where one of them is not there."""
        if not {"net", "tax", "gross"} <= self.totals.keys():
            return None
        net, tax, gross = (self.totals[role].number.value for role in ("net", "tax", "gross"))
        return abs(net + tax - gross) <= _CENT

    @cached_property
    def positions(self) -> Sequence[Position]:
        """The rows of its table: lines before the totals that end in an amount."""
        totals = (a.line for a in self._amounts() if a.role in _TOTALS and a.fit > 0.4)  # noqa: PLR2004
        end = next(totals, None)
        found: list[Position] = []
        for row in (_position(text, self.comma) for text in self._lines[3:end]):
            # A discount or a sum repeats the amount without a description.
            if row and (row.description or not found or row.amount.value != found[-1].amount.value):
                found.append(row)
        return found


def _merit(amount: Amount) -> tuple[float, ...]:
    """Orders amounts of one role, the best last."""
    # The last total of a document is the one after rounding and charges.
    later = amount.line if amount.role in {"gross", "due"} else -amount.line
    return ((amount.fit > 0.4) + (amount.fit > 0.7), amount.number.value != 0, later)  # noqa: PLR2004


def _meaning(label: str) -> tuple[str, float] | None:
    """What words say about the amount behind them, and how well they fit."""
    cells = [cell for cell in re.split(r"\s{2,}", label.strip()) if _bare(cell)]
    # The words next to the amount, if they say it; otherwise all before it.
    for text in (*reversed(cells[-2:]), label):
        found = _AMOUNT_LABELS.find(_bare(text))
        letters = sum(map(str.isalpha, text)) or 1
        share = sum(map(str.isalpha, found[1].group())) / letters if found else 0.0
        if found and share > (0.2 if text is label else 0.99):
            return found[0], min(1.0, share)
    return None


def _bare(label: str) -> str:
    return re.sub(
        rf"{CURRENCY_MARK}|{_RATE.pattern}|\d+(?:[.,]\d+)?|[:()@*|=-]", " ", label
    ).strip()


def _position(text: str, comma: bool | None) -> Position | None:
    """A row: the numbers whose product is the amount, or else the last amount alone."""
    plain = _RATE.sub(lambda match: " " * len(match.group()), text)
    numbers = [n for n in find_numbers(plain, comma=comma) if abs(n.value) < 10**7]
    money = [number for number in numbers if number.is_money]
    if not money or numbers[-1].decimals > 4:  # noqa: PLR2004 - more is noise
        return None
    products = (
        (count, price, amount)
        for amount in reversed(money)
        for price in reversed(numbers)
        for count in numbers
        if count.start < amount.start > price.start
        and count is not price
        and count.value > 0
        and abs(count.value * price.value - amount.value)
        <= max(_CENT / 2, abs(amount.value) / 1000)
    )
    quantity, price, amount = next(products, (None, None, money[-1]))
    if quantity is None or price is None:
        found = _AMOUNT_LABELS.find(_bare(text[: numbers[0].start]))
        of_no_goods = found is not None and found[1].start() == 0 and found[0] not in _TOTALS
        if of_no_goods or re.search(r":\s*[€$£]?\s*$", text[: amount.start]):
            return None
    taken = sorted((n.start, n.end) for n in (quantity, price, amount) if n is not None)
    starts, ends = [0, *(end for _, end in taken)], [*(start for start, _ in taken), len(text)]
    pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return Position(max(map(_clean, pieces), key=len), quantity, price, amount)


def _clean(description: str) -> str:
    text = re.sub(r"^\s*\d{1,3}[.)]?\s+(?=\S*[^\W\d_])|[€$£]|\bRM\s*$", "", description).strip()
    unit = _UNIT.match(text)
    cells = re.split(r"\s{2,}", text[unit.end() if unit else 0 :].strip())
    return max(filter(_WORDED.search, cells), key=len, default="").strip(" -–:*|@x×")


def _name_in(text: str) -> str | None:
    """A name of a company, without registration numbers and what follows a comma or a dash."""
    name = re.sub(r"\s*\([^)]*\d[^)]*\)?|\s+\d{4,}[-\w]*$|\s[-–·|•]\s.*", "", text)
    name = re.sub(r"^(?:name|company|firma|nom|nombre)\s*[:.]\s*", "", name, flags=re.IGNORECASE)
    name = re.sub(r"\s+", " ", name.split(", ")[0]).strip(" ,;:-*")
    is_address = _STREET.search(name) or re.search(r"^\d{4,6} \w|\b\d{5}\b|@", name)
    label = _LABELS.find(name)
    is_label = (label and label[1].group() == name) or _NO_NAME.match(name)
    is_worded = sum(map(str.isalpha, name)) > max(2, len(name.replace(" ", "")) / 2)
    return name if is_worded and not is_address and not is_label else None


def find_reference(text: str) -> str | None:
    """A number of a document in a text: it has a digit, and is no date and no amount."""
    for match in _REFERENCE.finditer(text):
        token = match[1].strip().strip(".,;")
        other = re.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d+[.,]\d{2}", token)
        if not other and re.search(r"[1-9]", token):
            head, _, tail = token.rpartition(" ")
            return tail if head and not re.fullmatch(r"[A-Z]{1,4}", head) else token
    return None


_OF_SEVERAL = re.compile(r"(?i)\b(?:page|seite|p\.|blatt)\s*(\d{1,3})\s*(?:of|von|/)\s*\d")


def first_pages(pages: Mapping[int, str], skill: Skill) -> dict[int, float]:
    """Which pages begin a document, each with how sure that is.

    The first does, and where page number or document number say so.
    """
    found: dict[int, float] = {}
    number: str | None = None
    for page, text in sorted(pages.items()):
        counted = _OF_SEVERAL.search(text)
        own, _ = Document(text, skill).identifier("invoice_number")
        begins = counted[1] == "1" if counted else own is not None and own != number
        if begins or not found:
            found[page] = 0.95 if begins else 0.6
        number = own or number
    return found
