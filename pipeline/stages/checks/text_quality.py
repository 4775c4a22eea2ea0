"""Text as it may be shown to a model: without what a person could not see.

Unicode normalisation that takes time in proportion to the text, whatever the text is. Pure.

Two things make NFKC expensive. Combining marks in a row are sorted by insertion, which is
quadratic: 200,000 of them take a minute and a half. And some characters become up to 18 others.
So runs are cut to what UAX #15 calls stream-safe (30 marks; a person sees a smear long before
that), what is expanded has a limit, and a long text is normalised in pieces, between which other
threads get their turn.

How well the text of a file can be read, and whether a text is one at all.

In which script a text is written, and whether the language that an answer states uses it.

Long texts in parts that end where a reader would pause; how many tokens a text has. Pure.

Lists of codes that answers must take theirs from: currencies and languages.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Literal

from pipeline.model.questions import Signal
from pipeline.stages.checks.normal_forms import is_placeholder

_TAGS = "\U000e0000-\U000e007f"
_OVERRIDES = "\u202d\u202e"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_UNSEEN = re.compile(f"[{_TAGS}{_OVERRIDES}{_CONTROLS}\ufeff]")
_LINE_BREAKS = ("\r\n", "\r", "\u2028", "\u2029")
_SLICE = 50_000
"""Characters that are searched in one go: other threads wait for it."""
_TAG_CHARACTERS = re.compile(f"[{_TAGS}]")
_TAG_SHIFT = 0xE0000


def visible(text: str) -> str:
    """Drop what is invisible and carries meaning to a model only; keep all that a person reads.

    Control characters, tag characters (an invisible copy of ASCII) and the two direction
    overrides go. Direction marks and joiners stay: Arabic, Hebrew, Persian, Indic text and emoji
    need them.
    """
    places = range(0, len(text), _SLICE)
    shown = "".join(_UNSEEN.sub("", text[at : at + _SLICE]) for at in places)
    for line_break in _LINE_BREAKS:
        shown = shown.replace(line_break, "\n")
    return shown


def is_blank(*texts: str | None) -> bool:
    """Whether there is nothing to read in any of the texts."""
    return not any(
        unicodedata.category(char)[0] not in "CZ" for text in texts for char in text or ""
    )


def stated(text: str) -> str | None:
    """What a field of an answer says; None where it says nothing, in whatever words."""
    return None if is_placeholder(text) else text.strip()


def hidden_message(text: str) -> str:
    """Read what tag characters spell; a flag emoji spells at most six letters."""
    found = _TAG_CHARACTERS.findall(text)
    return "".join(chr(ord(char) - _TAG_SHIFT) for char in found).strip("\x00\x01\x7f")


LONGEST_RUN = 30
"""Of combining marks: https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format."""
PIECE = 1_000
"""Characters that are normalised in one go."""
_GROWTH = 0.25
_LEAST_ROOM = 100
"""Characters. Ordinary text grows by a few percent, or by a few ligatures where it is short."""
_LOOKED_BACK = 64
_FIRST_MARK, _BEYOND_BASIC = 0x300, 0x10000
_MARKS_UNDER_OTHER_NAMES = "\u0f73\u0f75\u0f81\uff9e\uff9f"
"""Characters of combining class 0 that stand for marks."""
_JAMO = range(0x1160, 0x1200)
"""Vowels and finals of Hangul, which join what stands before them."""


def nfkc(text: str) -> str:
    """The text in NFKC, but for what no reader could tell.

    Of a run of more than `LONGEST_RUN` marks the rest is dropped. Once a text has grown by
    more than a quarter, the rest of it is brought to NFC only.
    """
    return text if text.isascii() else "".join(nfkc_pieces(text))


def nfkc_pieces(text: str) -> Iterator[str]:
    """The same, piece by piece; what joins on to something else is in the same piece."""
    room = len(text) * _GROWTH + _LEAST_ROOM
    for piece in pieces_of(text):
        normal = unicodedata.normalize("NFKC" if room > 0 else "NFC", stream_safe(piece))
        room -= len(normal) - len(piece)
        yield normal


def stream_safe(text: str) -> str:
    """The text with at most `LONGEST_RUN` combining marks in a row."""
    return text if text.isascii() else _long_run().sub(_cut_run, text)


def pieces_of(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut a text where normalising both sides is normalising the whole.

    Args:
        text: If it is not stream-safe, what is cut may lie in a run of marks.
        size: Characters of a piece, at most.
    """
    at = 0
    while len(text) - at > size:
        end = _stable_place_to_cut(text, at, at + size)
        yield text[at:end]
        at = end
    yield text[at:]


def _stable_place_to_cut(text: str, begin: int, latest: int) -> int:
    places = range(latest, max(begin, latest - _LOOKED_BACK), -1)
    return next((place for place in places if _joins_nothing(text[place])), latest)


def _joins_nothing(char: str) -> bool:
    """Whether a character stays apart from whatever may stand before it."""
    if char.isascii():
        return True
    first = unicodedata.normalize("NFKD", char)[0]
    is_mark = unicodedata.combining(first) or unicodedata.category(first).startswith("M")
    return not is_mark and ord(first) not in _JAMO


def _cut_run(found: re.Match[str]) -> str:
    kept, run = [], 0
    for char in found[0]:
        run = run + 1 if _is_mark(char) else 0
        if run <= LONGEST_RUN:
            kept.append(char)
    return "".join(kept)


def _is_mark(char: str) -> bool:
    return bool(unicodedata.combining(char)) or char in _MARKS_UNDER_OTHER_NAMES


@cache
def _long_run() -> re.Pattern[str]:
    """Finds runs of what may be marks.

    Beyond the basic plane a class of single characters is slow, so all of those are looked at.
    """
    every = map(chr, range(_FIRST_MARK, _BEYOND_BASIC))
    mark = f"[{''.join(filter(_is_mark, every))}\U00010000-\U0001ffff]"
    return re.compile(f"{mark}{{{LONGEST_RUN + 1},}}+")


_DAMAGE_WEIGHT = 5
"""A text of which a tenth is damaged has lost words: strength 0.5. A fifth of it leaves little."""
_LEAST_STRENGTH = 0.1
_DAMAGE_LOOKED_AT = 20_000
_WRONGLY_DECODED = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac.|\u00ef\u00bf\u00bd")
"""UTF-8 that somebody read as Latin-1 or Windows-1252."""
_NO_CHARACTERS = frozenset({"Cc", "Cn", "Co", "Cs"})
Legibility = Literal["legible", "partly", "illegible"]


def legibility_signals(legibility: Legibility) -> list[Signal]:
    """Weigh how well a file could be read."""
    match legibility:
        case "illegible":
            return [Signal("illegible", 1.0, "The file cannot be read.")]
        case "partly":
            return [Signal("illegible", 0.4, "The file can be read in part only.")]
        case "legible":
            return []


def damage_signals(*texts: str | None) -> list[Signal]:
    """Weigh the share of characters that are none: lost, unassigned, or wrongly decoded."""
    text = "".join(text[:_DAMAGE_LOOKED_AT] for text in texts if text and not text.isascii())
    if not text:
        return []
    length = sum(len(text) for text in texts if text)
    wrong = sum(len(found) for found in _WRONGLY_DECODED.findall(text))
    lost = sum(
        char == "\ufffd" or (unicodedata.category(char) in _NO_CHARACTERS and not char.isspace())
        for char in text
    )
    share = (wrong + lost) / min(length, _DAMAGE_LOOKED_AT * len(texts))
    strength = round(min(1.0, _DAMAGE_WEIGHT * share), 6)
    if strength < _LEAST_STRENGTH:
        return []
    return [Signal("illegible", strength, f"{wrong + lost} characters of the text are damaged.")]


_SCRIPT_LOOKED_AT = 2_000
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
    text = "".join(nfkc(text[:_SCRIPT_LOOKED_AT]) for text in texts if text)[
        : 2 * _SCRIPT_LOOKED_AT
    ]
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


TOKENS_PER_BYTE = 0.4
"""Of the models' tokenizer, about: 2.5 characters of English a token, most others fewer."""
_NOT_ASCII_BYTES = 3
_SEARCHED = 0.2
"""Share of a part, at its end, in which a good place to cut is looked for."""
_PAUSES = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|[。！？]\s*|\n"),
    re.compile(r"\s+"),
)
"""Where to cut, best first: between paragraphs, between sentences, between words."""


def about_tokens(text: str) -> int:
    """About how many tokens a text has; what is not ASCII counts three bytes a character."""
    return math.ceil(_bytes(text) * TOKENS_PER_BYTE)


def parts_of(text: str, most_tokens: int) -> tuple[str, ...]:
    """Cut a text into parts of about the same length, none longer than `most_tokens`.

    Together they are the text, character by character.

    Args:
        text: Of any length.
        most_tokens: About how many tokens a part may have; 10 at least.
    """
    parts = []
    size, begin = _bytes(text), 0
    while (tokens := math.ceil(size * TOKENS_PER_BYTE)) > most_tokens:
        # Room for a cut that comes early, so that it does not make one more part of the rest.
        remaining = math.ceil(tokens / (most_tokens * (1 - _SEARCHED / 2)))
        at_most = min(most_tokens, tokens / remaining * (1 + _SEARCHED / 2))
        # No character has less than a byte, so the rest of the text need not be looked at.
        part = text[begin : begin + math.ceil(at_most / TOKENS_PER_BYTE) + 1]
        part = part[: _place_to_cut(part, at_most)]
        parts.append(part)
        begin += len(part)
        size -= _bytes(part)
    return (*parts, text[begin:])


def _bytes(text: str) -> int:
    ascii_only = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return ascii_only + _NOT_ASCII_BYTES * (len(text) - ascii_only)


def _place_to_cut(text: str, most_tokens: float) -> int:
    latest = max(1, _characters(text, most_tokens))
    earliest = math.ceil(latest * (1 - _SEARCHED))
    for pause in _PAUSES:
        ends = [found.end() for found in pause.finditer(text, earliest, latest)]
        if ends:
            return ends[-1]
    return latest


def _characters(text: str, most_tokens: float) -> int:
    """How many characters from the beginning have no more tokens than that."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if about_tokens(text[:middle]) <= most_tokens:
            low = middle
        else:
            high = middle - 1
    return low


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
LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
    de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
    ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
    lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
    pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th
    ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()  # noqa: SIM905
)
"""ISO 639-1 codes."""


def known_currency(text: str) -> str | None:
    """Read a currency code; None where the text is none."""
    code = text.strip().upper()
    return code if code in CURRENCIES else None


def known_language(text: str) -> str | None:
    """Read a language code; None where the text is none."""
    code = text.strip().lower()
    return code if code in LANGUAGES else None
