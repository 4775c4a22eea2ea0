"""What the Unicode CLDR knows of currencies, months and magnitudes, as far as documents need it.

`locale_data.json` is taken from Babel by `python -m tests.stages.locale_data`, and a test fails
where it is not what Babel has. It is read once, at its first use, in about 2 ms; loading the same
words through Babel at run time would take 0.7 s and 80 MB in every process.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("locale_data.json")
USUAL_DECIMALS = 2
_DISPUTED = frozenset({"IQD"})
"""ISO 4217 gives the Iraqi dinar three decimals, the CLDR and most of Iraq none."""
_SMALL_NUMERALS = {"十": 1, "百": 2, "千": 3, "仟": 3, "십": 1, "백": 2, "천": 3}
_LARGE_NUMERALS = {"万": 4, "萬": 4, "億": 8, "亿": 8, "兆": 12, "만": 4, "억": 8, "조": 12}
_MORE_MAGNITUDES: Mapping[str, int] = {
    "lac": 5, "lacs": 5, "lakhs": 5, "lakh": 5, "crore": 7, "crores": 7,
    "bn": 9, "mn": 6, "tn": 12, "mm": 6, "mds": 9, "tsd": 3, "thsd": 3, "grand": 3, "hundred": 2,
    **_SMALL_NUMERALS,
    **_LARGE_NUMERALS,
    **{
        small + large: power + more
        for small, power in _SMALL_NUMERALS.items()
        for large, more in _LARGE_NUMERALS.items()
    },
}  # fmt: skip
"""Those that the CLDR's patterns of abbreviation lack."""


@dataclass(frozen=True, slots=True)
class LocaleData:
    """Words in the form of `plain_word`.

    Args:
        decimals: By ISO 4217 code, where a currency has not two.
        symbols: Signs and local abbreviations of currencies, and the codes they may stand for.
        months: Names and abbreviations, and the numbers of the months they may name.
        magnitudes: Words such as "mio", and the powers of ten that they may stand for.
        terms: Words for "day", "week" or "month", and which of these they may mean.
    """

    decimals: Mapping[str, int]
    symbols: Mapping[str, frozenset[str]]
    months: Mapping[str, frozenset[int]]
    magnitudes: Mapping[str, frozenset[int]]
    terms: Mapping[str, frozenset[str]]


@cache
def locale_data() -> LocaleData:
    """Read the data."""
    raw = json.loads(FILE.read_text("utf-8"))
    magnitudes = {word: frozenset(powers) for word, powers in raw["magnitudes"].items()}
    for word, power in _MORE_MAGNITUDES.items():
        magnitudes[word] = magnitudes.get(word, frozenset()) | {power}
    return LocaleData(
        decimals=raw["decimals"],
        symbols={word: frozenset(codes) for word, codes in raw["symbols"].items()},
        months={word: frozenset(numbers) for word, numbers in raw["months"].items()},
        magnitudes=magnitudes,
        terms={word: frozenset(units) for word, units in raw["terms"].items()},
    )


def currency_decimals(currency: str | None) -> int | None:
    """How many decimals amounts of a currency have; None where that is not known."""
    if currency is None or currency in _DISPUTED:
        return None
    return locale_data().decimals.get(currency, USUAL_DECIMALS)


def plain_word(text: str) -> str:
    """A word or sign without case, marks of direction, full stops and other than single blanks."""
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(seen.casefold().replace(".", "").split())
