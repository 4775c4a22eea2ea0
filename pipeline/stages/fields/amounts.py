"""Amounts of money and quantities as documents and models write them.

`119,500` is 119.5 dinars and 119,500 euros, so an amount is read as all that it can mean. A
currency's number of decimals rules some of it out; the rest of the document decides among what is
left (`pipeline.stages.fields.invoice_answer`), or it is a doubt.

What the Unicode CLDR knows of currencies, months and magnitudes is in `locale_data.json`. It is
taken from Babel by `python -m tests.stages.locale_data`, and a test fails where it is not what
Babel has. Reading it takes about 2 ms; Babel itself would take 0.7 s and 80 MB in every process.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("locale_data.json")
USUAL_DECIMALS = 2
_DISPUTED = frozenset({"IQD"})
"""ISO 4217 gives the Iraqi dinar three decimals, the CLDR and most of Iraq none."""
_DATA: Mapping[str, Any] = json.loads(FILE.read_text("utf-8"))
CURRENCIES = frozenset[str](_DATA["currencies"])
"""ISO 4217 codes of money that documents are made out in, those withdrawn since 2021 among them."""
DECIMALS: Mapping[str, int] = _DATA["decimals"]
"""By ISO 4217 code, where a currency has not two."""


def _sets(name: str) -> Mapping[str, frozenset[Any]]:
    return {word: frozenset(found) for word, found in _DATA[name].items()}


SYMBOLS: Mapping[str, frozenset[str]] = _sets("symbols")
"""Signs and local abbreviations of currencies, and the codes they may stand for."""
MAGNITUDES: Mapping[str, frozenset[int]] = _sets("magnitudes")
"""Words such as "mio", and the powers of ten that they may stand for."""
MONTHS: Mapping[str, frozenset[int]] = _sets("months")
"""Folded names and abbreviations, and the numbers of the months they may name."""
TERMS: Mapping[str, frozenset[str]] = _sets("terms")
"""Folded words for "day", "week" or "month", and which of these they may mean."""


def currency_decimals(currency: str | None) -> int | None:
    if currency is None or currency in _DISPUTED:
        return None
    return DECIMALS.get(currency, USUAL_DECIMALS)


def plain_word(text: str) -> str:
    """A word or sign without case, marks of direction, full stops and other than single blanks."""
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(seen.casefold().replace(".", "").split())


MAX_DIGITS = 18
"""More is a bar code or a mistake, not an amount."""
MAX_LENGTH = 64
"""Characters; what is longer is no amount, and would only cost time."""
ARABIC_DECIMAL = "٫"
_SIGNS: Mapping[str, str] = {
    "'": "’ʼ′`´＇٬‘_",
    " ": "\t\u00a0\u2007\u2008\u2009\u202f\u3000",
    "-": "−‐‑‒–—－﹣⁻△▲▵",
    ".": "．·・",
    ",": "，،﹐",
    "(": "（",
    ")": "）",
    "": "\u00ad\u061c\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069",
}
"""What stands for the same sign in other scripts; Japanese books mark what is below zero by △."""


class _Plain(dict[int, str]):
    """A table for `str.translate`: signs as above, digits of all scripts as 0 to 9."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char.isdecimal():
            self[code] = char = str(unicodedata.decimal(char))
        return char


_PLAIN = _Plain({ord(char): sign for sign, chars in _SIGNS.items() for char in chars})
_IN_PLACE = _Plain({code: sign or chr(code) for code, sign in _PLAIN.items()})
# The point of "Rs.500" shortens a word.
_AMOUNT = re.compile(
    rf"(\D*?)((?:(?<![^\W\d_])(?<!/)[.,{ARABIC_DECIMAL}])?\d(?:[\d.,'{ARABIC_DECIMAL} ]*\d)?)(\D*)"
)
_IN_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:([.,' ])\d{3})(?:\1\d{3})*")
_IN_LAKHS = re.compile(r"[1-9]\d?(?:([,.' ])\d{2})(?:\1\d{2})*\1\d{3}")
_NO_CENTS = re.compile(r"\s*(?:[.,:;]\s*(?:-+|=)|/[-=])")
_PER_CENT = re.compile(
    r"[%٪﹪％‰]|\b(?:per ?cent|pct|pro[cz]ent|v\. ?H|por ?ciento|pour ?cent|процент)", re.IGNORECASE
)
_CREDIT = re.compile(r"\b(?:CR|Cr|cr)\b\.?")
_MINUS = re.compile(r"\b(?:minus|moins|menos|meno|минус|мінус|eksi|negative)\b", re.IGNORECASE)
_LETTER = r"[^\W\d_\u0300-\u036f]"
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u109f\u1780-\u17ff"
_WORDS = re.compile(rf"(?:{_LETTER}[{_MARKS}]*+)++(?![$€£¥₹])")
_SHORTENED = re.compile(
    r"(?<![^\W\d_])(?:([kKmM])[$£¥₹]|([kKmMtT])(?:€|kr\b|Ft\b|([A-Z]{3})\b)|([eE])Ft\b)"
)
_CODE = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(sorted(CURRENCIES))})(?![A-Za-z])")
_POWERS = {"k": 3, "t": 3, "e": 3, "m": 6}
_IDEOGRAPHS = re.compile("[\u3000-\u9fff가-힣]")
_UNSPACED = re.compile("[\u3000-\u9fff가-힣\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Scripts that write words without blanks between them, those of Southeast Asia among them."""
_SHORTEST_UNSPACED = 3
_LONGEST_GLUED = 16
_UNIT_LETTERS = 3
_MOST_WORDS = 3
_IN_CRORES = frozenset({"INR", "PKR", "BDT", "NPR", "LKR"})
_CRORE = 7


@dataclass(frozen=True, slots=True)
class AmountReading:
    """One of the values that an amount may have, and how a sign with two readings is read."""

    value: Decimal
    separator: str = ""  # the sign; empty where there is no such sign
    is_grouped: bool = False  # whether it is read as one between thousands


def readings_of(
    text: str, currency: str | None = None, *, counts: bool = False
) -> tuple[AmountReading, ...]:
    """Read an amount in every way that it can be meant, the most likely first; never raises.

    Takes grouped digits (thousands or lakhs), digits of any script, signs, brackets, CR and DR,
    words of magnitude in the languages of the CLDR, and currency signs, codes and units.

    Args:
        text: At most `MAX_LENGTH` characters and `MAX_DIGITS` digits, or there is no reading.
        currency: Its ISO 4217 code. Three decimals make `1,234` a decimal; two or none make it
            thousands. `1.234` stays both with two: answers are asked to use a point for decimals.
        counts: Whether it is a quantity: `12 m` are then metres sooner than millions, and `10 %` is
            one, which is no amount of money.
    """
    if len(text) > MAX_LENGTH:
        return ()
    found = _AMOUNT.fullmatch(normal_digits(text).strip())
    if found is None:
        return ()
    before, digits, after = found.groups()
    if _has_fraction_sign(before) or _has_fraction_sign(after):
        return ()
    if not counts and _PER_CENT.search(before + after):
        return ()
    meanings = _meanings(before, after, currency, counts=counts)
    is_scaled = any(power for power, _ in meanings)
    word = (after.strip() or before.strip()) if len(meanings) > 1 else ""
    readings = []
    for power, is_negative in meanings:
        for reading in digits_read(digits, None if counts or is_scaled else currency):
            value = reading.value.scaleb(power) if power else reading.value
            value = -value if is_negative else value
            readings.append(AmountReading(value, reading.separator or word, reading.is_grouped))
    return tuple(readings)


def read_amount(
    text: str, currency: str | None = None, *, counts: bool = False
) -> tuple[Decimal, ...]:
    """All values that an amount can have, the most likely first: see `readings_of`."""
    return tuple(reading.value for reading in readings_of(text, currency, counts=counts))


def parse_amount(text: str, currency: str | None = None) -> Decimal | None:
    """Read an amount as it is most likely meant; None where the text is none.

    Without a currency `1.234` is one and a bit, and `1,234` a thousand and more.
    """
    values = read_amount(text, currency)
    return values[0] if values else None


def format_amount(amount: Decimal) -> str:
    """Write an amount as it is published: plain digits, never an exponent."""
    return format(amount, "f")


def digits_read(digits: str, currency: str | None = None) -> tuple[AmountReading, ...]:
    """Read digits with separators, without sign and words: see `readings_of`."""
    if not 1 <= sum(map(str.isdecimal, digits)) <= MAX_DIGITS:
        return ()
    decimal, grouped = _with_decimals(digits), _as_groups(digits)
    if decimal is None or grouped is None:
        return tuple(AmountReading(value) for value in (decimal, grouped) if value is not None)
    separator = next(char for char in digits if not char.isdecimal())
    decimals = currency_decimals(currency)
    if decimals == 3:  # noqa: PLR2004 - as `119,500` is of dinars
        return (AmountReading(decimal),)
    if decimals == 0 or (decimals == USUAL_DECIMALS and separator == ","):
        return (AmountReading(grouped),)
    both = (AmountReading(decimal, separator), AmountReading(grouped, separator, is_grouped=True))
    return both[::-1] if separator == "," else both


def normal_digits(text: str) -> str:
    """The text with the digits and separators of all scripts as `0` to `9`, `.`, `,` and `'`."""
    return text.translate(_PLAIN)


def digits_in_place(text: str) -> str:
    """The same, each character in its place: what has no width stays as it is."""
    return text if text.isascii() else text.translate(_IN_PLACE)


def magnitudes_after(word: str) -> frozenset[int]:
    """Which powers of ten the word that follows digits may stand for; none for other words."""
    plain = word.casefold().rstrip(".")
    if plain not in MAGNITUDES and not (plain.isascii() and plain.isalnum()):
        plain = _magnitude_in(word)
    return MAGNITUDES.get(plain, frozenset())


def _with_decimals(digits: str) -> Decimal | None:
    at = max(map(digits.rfind, f".,{ARABIC_DECIMAL}"))
    if at < 0:
        return Decimal(digits) if digits.isdecimal() else None
    whole, fraction = digits[:at], digits[at + 1 :]
    if not fraction.isdecimal() or digits[at] in whole:
        return None
    if whole and not whole.isdecimal():
        grouped = _as_groups(whole)
        return None if grouped is None else Decimal(f"{grouped}.{fraction}")
    return Decimal(f"{whole}.{fraction}")


def _as_groups(digits: str) -> Decimal | None:
    if _IN_THOUSANDS.fullmatch(digits) or _IN_LAKHS.fullmatch(digits):
        return Decimal("".join(filter(str.isdecimal, digits)))
    return None


def _has_fraction_sign(around: str) -> bool:
    """Whether it has a sign such as a half, or a raised digit that is not a unit's, as in m²."""
    return any(
        unicodedata.category(char) == "No" and not previous.isalpha()
        for previous, char in zip(f" {around}", around, strict=False)
    )


def _meanings(
    before: str, after: str, currency: str | None, *, counts: bool
) -> tuple[tuple[int, bool], ...]:
    """Powers of ten, and whether below zero, by what is around; nothing where signs conflict."""
    credit = _CREDIT.search(before) or _CREDIT.search(after)
    trailing = _NO_CENTS.sub("", after, count=1).strip()
    signs = sum(
        [
            # "US-$ 5" is not below zero: a hyphen between letters and a sign is no minus.
            re.search(r"(?:^|\W)-|-\s*$", before) is not None,
            ("(" in before and ")" in after) or ("<" in before and ">" in after),
            trailing.startswith("-") or re.match(r"[^\w\s]{1,3}\s?-", trailing) is not None,
            _MINUS.search(before) is not None,
        ]
    )
    if signs + (credit is not None) > 1:
        return ()
    before, after = _CREDIT.sub(" ", before), _CREDIT.sub(" ", after)
    powers = _powers(before, after, currency, counts=counts)
    if credit is None:
        return tuple((power, signs == 1) for power in powers)
    credited = tuple((power, True) for power in powers)
    if currency not in _IN_CRORES and (currency is not None or credit[0] == "CR"):
        return credited
    return (*credited, *((power + _CRORE, False) for power in powers))


def _powers(before: str, after: str, currency: str | None, *, counts: bool) -> tuple[int, ...]:
    # The most likely first.
    short = _SHORTENED.search(before) or _SHORTENED.match(after.strip())
    if short is not None and (short[3] is None or short[3] in CURRENCIES):
        return (_POWERS[(short[1] or short[2] or short[4]).lower()],)
    # "LAK 5" is five kip, not five lakhs.
    before, after = _CODE.sub(" ", before), _CODE.sub(" ", after)
    leading = next(iter(_WORDS.findall(before)), "")
    if len(leading) <= _UNIT_LETTERS and leading.isascii():
        leading = ""
    around = plain_word(f"{before} {after}")
    word = around if around in MAGNITUDES else _magnitude_in(after) or plain_word(leading)
    known = sorted(MAGNITUDES.get(word, ()))
    money = SYMBOLS.get(word, frozenset())
    letter = word if len(word) == 1 and word.isascii() else ""
    if not known or (counts and letter not in {"", "k"}):
        return (0,)
    if letter != "k" and (currency in money or (money and currency is None)):
        return (0, *known)
    if counts and word.isascii() and len(word) <= _UNIT_LETTERS and letter != "k":
        return (0, *known)
    return (*known, 0) if letter not in {"", "k"} else tuple(known)


def _magnitude_in(after: str) -> str:
    """The longest words that begin what follows the digits and are a magnitude."""
    words = _WORDS.findall(after.replace(".", ""))[:_MOST_WORDS]
    phrases = (plain_word(" ".join(words[:count])) for count in range(len(words), 0, -1))
    glued = _before_money(after.replace(".", "").lstrip())
    return next((phrase for phrase in (*phrases, *glued) if phrase in MAGNITUDES), "")


def _before_money(after: str) -> Iterator[str]:
    """What the name of the money may follow without a blank, the longest first: Mrd€, 3百万円."""
    first = plain_word(after.partition(" ")[0][:_LONGEST_GLUED])
    if first in SYMBOLS:
        return
    # In scripts without blanks it may be any word.
    shortest = 1 if _IDEOGRAPHS.match(first) else _SHORTEST_UNSPACED
    for length in range(len(first), 0, -1):
        word, money = first[:length], first[length:]
        is_money = money in SYMBOLS and (not money.isalpha() or min(length, len(money)) > 1)
        if is_money or (length >= shortest and _UNSPACED.match(first)):
            yield word
