"""Writes what `pipeline.stages.fields.amounts` reads: `python -m tests.stages.locale_data`.

Taken from Babel, which carries the Unicode CLDR. Babel itself is not a dependency of the running
pipeline: the month names of its languages alone take 0.7 s and 80 MB to load, all that is needed
of them is 60 KB.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import babel
from babel import Locale, localedata
from babel.core import get_global
from babel.numbers import get_currency_symbol
from babel.units import format_unit

from pipeline.stages.fields.amounts import CURRENCIES, FILE, plain_word

LANGUAGES = """
    af ar az be bg bn bs ca cs cy da de el en es et eu fa fi fil fr ga gl gu he hi hr hu hy id is
    it ja ka kk km kn ko ky lo lt lv mk ml mn mr ms my nb ne nl pa pl pt ro ru si sk sl sq sr sv
    sw ta te th tr uk ur uz vi zh zh_Hant sr_Latn ar_DZ ar_LB ar_MA de_AT en_IN es_MX fr_CA pt_PT
""".split()  # noqa: SIM905
"""Whose words for months and terms are known; magnitudes and currencies are of all locales."""

UNITS = ("day", "week", "month")
_COUNTS = (1, 2, 3, 5, 11)
_MOST_POWER = 13
_SHORT = 2


def build() -> dict[str, Any]:
    """Collect the data, in an order that depends on nothing but Babel's version."""
    return {
        "babel": babel.__version__,
        "decimals": _decimals(),
        "symbols": _symbols(),
        "months": _months(),
        "magnitudes": _magnitudes(),
        "terms": _terms(),
    }


def written(data: Mapping[str, Any]) -> str:
    """The file's text: a line an entry, so that a change can be read."""
    return json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _decimals() -> dict[str, int]:
    fractions = get_global("currency_fractions")
    usual = fractions["DEFAULT"][0]
    found = {code: fractions.get(code, (usual,))[0] for code in CURRENCIES}
    return {code: digits for code, digits in found.items() if digits != usual}


def _symbols() -> dict[str, list[str]]:
    """Signs and local abbreviations; codes are not among them."""
    symbols: defaultdict[str, set[str]] = defaultdict(set)
    for identifier in localedata.locale_identifiers():
        own: Mapping[str, str] = Locale.parse(identifier).currency_symbols
        for code in CURRENCIES & own.keys():
            symbol = plain_word(get_currency_symbol(code, identifier))
            if symbol and symbol.upper() not in CURRENCIES:
                symbols[symbol].add(code)
                for sign in filter(_is_sign, symbol):
                    symbols[sign].add(code)
    return {symbol: sorted(codes) for symbol, codes in symbols.items()}


def _is_sign(char: str) -> bool:
    return unicodedata.category(char) == "Sc"


def _months() -> dict[str, list[int]]:
    months: defaultdict[str, set[int]] = defaultdict(set)
    for language in LANGUAGES:
        names = Locale.parse(language).months
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in names[context][width].items():
                    word = plain_word(str(name))
                    if not any(char.isdigit() for char in word):
                        months[word].add(number)
    return {name: sorted(numbers) for name, numbers in months.items()}


def _magnitudes() -> dict[str, list[int]]:
    """Powers of ten by word; a word that languages use for several has several."""
    powers: defaultdict[str, set[int]] = defaultdict(set)
    for language in localedata.locale_identifiers():
        formats = Locale.parse(language).compact_decimal_formats
        for word, power in _compact_words(formats):
            # A letter or two of languages that hardly any document is in would only be mistaken.
            is_telling = len(word) > _SHORT or not word.isascii() or language in LANGUAGES
            if word and power <= _MOST_POWER and is_telling:
                powers[word].add(power)
    return {word: sorted(found) for word, found in powers.items()}


def _compact_words(formats: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    for width in ("short", "long"):
        for magnitudes in formats[width].values():
            for magnitude, pattern in magnitudes.items():
                positive = pattern.pattern.partition(";")[0]
                zeros = positive.count("0")
                if zeros:
                    word = plain_word(positive.replace("0", "").replace("'", ""))
                    yield word, len(str(magnitude)) - zeros


def _terms() -> dict[str, list[str]]:
    """Words for days, weeks and months, as they stand beside a number."""
    words: defaultdict[str, set[str]] = defaultdict(set)
    for language in LANGUAGES:
        for unit in UNITS:
            for length in ("long", "short"):
                for count in _COUNTS:
                    text = format_unit(Decimal(count), f"duration-{unit}", length, locale=language)
                    word = plain_word("".join(char for char in text if not char.isdecimal()))
                    if len(word) > 1 or not word.isascii():
                        words[word].add(unit)
    return {word: sorted(units) for word, units in words.items() if word}


def main() -> None:
    """Write the file."""
    FILE.write_text(written(build()), "utf-8")


if __name__ == "__main__":
    main()
