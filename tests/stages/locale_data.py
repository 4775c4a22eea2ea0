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

from pipeline.stages.checks.text_quality import fold
from pipeline.stages.fields.amounts import FILE, plain_word

LANGUAGES = """
    af ar az be bg bn bs ca cs cy da de el en es et eu fa fi fil fr ga gl gu he hi hr hu hy id is
    it ja ka kk km kn ko ky lo lt lv mk ml mn mr ms my nb ne nl pa pl pt ro ru si sk sl sq sr sv
    sw ta te th tr uk ur uz vi zh zh_Hant sr_Latn ar_DZ ar_LB ar_MA de_AT en_IN es_MX fr_CA pt_PT
""".split()  # noqa: SIM905
"""Whose words for months and terms are known; magnitudes and currencies are of all locales."""
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN
    BZD CAD CDF CHF CLF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP
    GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS
    KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR
    MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD
    TZS UAH UGX USD UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    ANG CUC HRK SLL ZWL
    """.split()  # noqa: SIM905 - a list of words is easier to check than a list of strings
)
"""ISO 4217 alphabetic codes of money that documents are made out in, and, in the last row, codes
withdrawn since 2021 that older documents bear."""
_SMALL_NUMERALS = {"十": 1, "百": 2, "千": 3, "仟": 3, "십": 1, "백": 2, "천": 3}
_LARGE_NUMERALS = {"万": 4, "萬": 4, "億": 8, "亿": 8, "兆": 12, "만": 4, "억": 8, "조": 12}
_MORE_MAGNITUDES = {
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

UNITS = ("day", "week", "month")
_COUNTS = (1, 2, 3, 5, 11)
_MOST_POWER = 13
_SHORT = 2


def build() -> dict[str, Any]:
    """Collect the data, in an order that depends on nothing but Babel's version."""
    return {
        "babel": babel.__version__,
        "currencies": sorted(CURRENCIES),
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
                        months[fold(word)].add(number)
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
    for word, power in _MORE_MAGNITUDES.items():
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
                        for each in fold(word).split():
                            words[each].add(unit)
    return {word: sorted(units) for word, units in words.items()}


def main() -> None:
    """Write the file."""
    FILE.write_text(written(build()), "utf-8")


if __name__ == "__main__":
    main()
