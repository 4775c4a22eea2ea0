"""In which script a text is written, and whether the language that an answer states uses it."""

import unicodedata
from collections import Counter
from collections.abc import Mapping

from pipeline.stages.normalizing import nfkc

_LOOKED_AT = 2_000
_LEAST_SHARE = 0.6
"""Of the letters: names and quoted words of another script make no text of it."""

_LATIN = "LATIN"
_LANGUAGES_OF: Mapping[str, str] = {
    _LATIN: """
        ca cs da de en es et eu fi fr ga gl hr hu id is it lt lv ms mt nb nl nn no pl pt ro sk sl
        sq sv tr vi
    """,
    "CYRILLIC": "be bg mk ru uk",
    "GREEK": "el",
    "HEBREW": "he yi",
    "ARABIC": "ar fa ps ur",
    "DEVANAGARI": "hi mr ne",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "CJK BOPOMOFO": "zh",
    "CJK HIRAGANA KATAKANA KATAKANA-HIRAGANA": "ja",
    "CJK HANGUL": "ko",
}
_USED: Mapping[str, frozenset[str]] = {
    language: frozenset(scripts.split())
    for scripts, languages in _LANGUAGES_OF.items()
    for language in languages.split()
}
"""Languages that are written in one way only; of the others nothing is said."""


def is_foreign(language: str, *texts: str | None) -> bool:
    """Whether texts are in a script that a language does not use.

    Latin letters are foreign to none: people write every language with them.

    Args:
        language: ISO 639-1 code.
        texts: Of the event, together.
    """
    used = _USED.get(language)
    text = "".join(nfkc(text[:_LOOKED_AT]) for text in texts if text)[: 2 * _LOOKED_AT]
    if used is None or text.isascii():
        return False
    scripts = Counter(_script_of(char) for char in text if char.isalpha())
    foreign = sum(count for script, count in scripts.items() if script not in {*used, _LATIN})
    return foreign > _LEAST_SHARE * scripts.total()


def _script_of(char: str) -> str:
    if char.isascii():
        return _LATIN
    # Names begin with the script: CYRILLIC SMALL LETTER A, CJK UNIFIED IDEOGRAPH-4E00.
    return unicodedata.name(char, "").partition(" ")[0]
