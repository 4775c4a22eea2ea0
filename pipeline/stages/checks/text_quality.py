"""Text as it may be shown and compared, and signals about the text itself. Pure.

Two things make NFKC expensive: sorting combining marks in a row is quadratic (200,000 of them take
a minute and a half), and some characters become up to 18 others. So runs are cut to what UAX #15
calls stream-safe, what is expanded has a limit, and a long text is normalised in pieces, between
which other threads can run.
"""

import math
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pipeline.model.questions import Signal

WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
TAGS = "\U000e0000-\U000e007f"
_OVERRIDES = "\u202d\u202e"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_UNSEEN = re.compile(f"[{TAGS}{_OVERRIDES}{_CONTROLS}\ufeff]")
_LINE_BREAKS = ("\r\n", "\r", "\u2028", "\u2029")
_SLICE = 50_000
"""Characters that are searched in one go: other threads wait for it."""


def visible(text: str) -> str:
    """Drop control characters, tag characters (an invisible copy of ASCII) and direction overrides.

    Direction marks and joiners stay: Arabic, Hebrew, Persian, Indic text and emoji need them.
    """
    places = range(0, len(text), _SLICE)
    shown = "".join(_UNSEEN.sub("", text[at : at + _SLICE]) for at in places)
    for line_break in _LINE_BREAKS:
        shown = shown.replace(line_break, "\n")
    return shown


def is_blank(*texts: str | None) -> bool:
    """Whether there is nothing to read in any of the texts."""
    return all(unicodedata.category(char)[0] in "CZ" for text in texts for char in text or "")


NO_TEXT = Signal("unclear", 1.0, "There is no text to judge.")


def blank_signals(*texts: str | None) -> list[Signal]:
    """Notice an event without anything to read."""
    return [NO_TEXT] if is_blank(*texts) else []


PLACEHOLDERS = frozenset(WORDS["placeholders"])
"""What models write where they were asked to write nothing."""
_LONGEST_SENTENCE = 100
_STATED = (
    "given|provided|stated|specified|available|found|shown|present|listed|mentioned|determined"
    "|visible|legible|applicable|indicated|known|readable|printed|included|supplied|identified"
)
_NOTHING_STATED = re.compile(
    rf"(?:[a-z]+ ){{0,3}}(?:not|none|cannot be|could not be)(?: [a-z]+ly)? (?:{_STATED})"
    r"(?: (?:in|on|here|by|from|to|for)\b.{0,40})?"
    rf"|(?:no|missing|unknown) (?:[a-z]+ ){{0,2}}(?:number|date|name|value|information|data|vendor"
    rf"|supplier|seller|buyer|customer|recipient|currency)(?: (?:{_STATED}))?"
    r"|x{4,}"
)
"""The same as sentences, such as "due date not stated in the document"."""


def stated(text: str) -> str | None:
    """What a field of an answer says; None where it says nothing, in whatever words."""
    plain = " ".join(text.casefold().split()).strip(".-–—_*?/[](){}<>'\"“”„ ")
    if plain in PLACEHOLDERS or f"{plain}." in PLACEHOLDERS:
        return None
    if len(plain) <= _LONGEST_SENTENCE and _NOTHING_STATED.fullmatch(plain):
        return None
    return text.strip()


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
    """The text in NFKC, but for what no reader can see.

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


def pieces_of(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut a text where normalising both sides is normalising the whole.

    Where it is not stream-safe, what is cut may lie in a run of marks.
    """
    at = 0
    while len(text) - at > size:
        latest = at + size
        places = range(latest, max(at, latest - _LOOKED_BACK), -1)
        end = next((place for place in places if _joins_nothing(text[place])), latest)
        yield text[at:end]
        at = end
    yield text[at:]


def _joins_nothing(char: str) -> bool:
    """Whether a character stays apart from whatever may stand before it."""
    if char.isascii():
        return True
    first = unicodedata.normalize("NFKD", char)[0]
    is_mark = unicodedata.combining(first) or unicodedata.category(first).startswith("M")
    return not is_mark and ord(first) not in _JAMO


def stream_safe(text: str) -> str:
    def cut(found: re.Match[str]) -> str:
        kept, run = "", 0
        for char in found[0]:
            run = run + 1 if _is_mark(char) else 0
            kept += char if run <= LONGEST_RUN else ""
        return kept

    return text if text.isascii() else _long_run().sub(cut, text)


def _is_mark(char: str) -> bool:
    return bool(unicodedata.combining(char)) or char in _MARKS_UNDER_OTHER_NAMES


@cache
def _long_run() -> re.Pattern[str]:
    # Beyond the basic plane a class of single characters is slow, so all of those are looked at.
    every = map(chr, range(_FIRST_MARK, _BEYOND_BASIC))
    mark = f"[{''.join(filter(_is_mark, every))}\U00010000-\U0001ffff]"
    return re.compile(f"{mark}{{{LONGEST_RUN + 1},}}+")


_LETTERS_NFKD_LEAVES = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d",
                        "þ": "th", "ı": "i"}  # fmt: skip


class _Folding(dict[int, str]):
    """A table for `str.translate`, which fills itself: at most the 65,536 most usual characters."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char.isdecimal():
            folded = str(unicodedata.decimal(char))
        else:
            parts = unicodedata.normalize("NFKD", char.casefold())
            kept = "".join(part for part in parts if unicodedata.category(part) not in {"Mn", "Cf"})
            plain = "".join(_LETTERS_NFKD_LEAVES.get(part, part) for part in kept.casefold())
            # What is one character again, such as a syllable of Hangul, is compared as one.
            folded = unicodedata.normalize("NFC", plain)
        if code < _BEYOND_BASIC:
            self[code] = folded
        return folded


_FOLDING = _Folding()


def fold(text: str) -> str:
    """A text without case, diacritics and width, its digits as 0 to 9, in linear time."""
    return text.lower() if text.isascii() else text.translate(_FOLDING)


class _FoldingInPlace(dict[int, str]):
    """The same for each character that becomes one; the others stay in lower case, or as is."""

    def __missing__(self, code: int) -> str:
        options = (_FOLDING[code], chr(code).lower(), chr(code))
        folded = next(each for each in options if len(each) == 1)
        if code < _BEYOND_BASIC:
            self[code] = folded
        return folded


_FOLDING_IN_PLACE = _FoldingInPlace()


def fold_in_place(text: str) -> str:
    """A text folded so that each of its characters stays in its place."""
    return text.lower() if text.isascii() else text.translate(_FOLDING_IN_PLACE)


_DAMAGE_WEIGHT = 5
"""A text of which a tenth is damaged has lost words: strength 0.5. A fifth of it leaves little."""
_LEAST_STRENGTH = 0.1
_DAMAGE_LOOKED_AT = 20_000
_WRONGLY_DECODED = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac.|\u00ef\u00bf\u00bd")
"""UTF-8 that was read as Latin-1 or Windows-1252."""
_NO_CHARACTERS = frozenset({"Cc", "Cn", "Co", "Cs"})
Legibility = Literal["legible", "partly", "illegible"]
_LANGUAGE = ("language",)


def legibility_signals(legibility: Legibility) -> list[Signal]:
    if legibility == "legible":
        return []
    if legibility == "partly":
        return [Signal("illegible", 0.4, "The file can be read in part only.")]
    return [Signal("illegible", 1.0, "The file cannot be read.")]


def damage_signals(*texts: str | None) -> list[Signal]:
    """Weigh the share of characters that carry nothing: lost, unassigned, or wrongly decoded."""
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
_SCRIPTS: Mapping[str, frozenset[str]] = {
    language: frozenset(scripts.split())
    for scripts, languages in WORDS["languages_of"].items()
    for language in languages.split()
}
"""Languages that are written in one way only; of the others nothing is said."""
LANGUAGES = frozenset(WORDS["languages"].split())
"""ISO 639-1 codes."""


def known_language(text: str) -> str | None:
    code = text.strip().lower()
    return code if code in LANGUAGES else None


def language_signals(language: str, expected: Collection[str], *texts: str | None) -> list[Signal]:
    """Check that the language of an event was recognised, and that it is one that is expected.

    `expected` holds ISO 639-1 codes, and is empty where any language will do. The script of the
    texts must be one of the language's; Latin letters are foreign to none: people write every
    language with them.
    """
    code = known_language(language)
    if code is None:
        return [Signal("unknown_language", 0.6, "language: not a code of ISO 639-1.", _LANGUAGE)]
    if expected and code not in expected:
        return [
            Signal("unknown_language", 1.0, f"language: {code} is not expected here.", _LANGUAGE)
        ]
    text = "".join(text[:_SCRIPT_LOOKED_AT] for text in texts if text)
    if text.isascii() or code not in _SCRIPTS:
        return []
    text = "".join(nfkc(text[:_SCRIPT_LOOKED_AT]) for text in texts if text)
    letters = (char for char in text[: 2 * _SCRIPT_LOOKED_AT] if char.isalpha())
    # Names begin with the script: CYRILLIC SMALL LETTER A, CJK UNIFIED IDEOGRAPH-4E00.
    scripts = Counter(
        _LATIN if char.isascii() else unicodedata.name(char, "").partition(" ")[0]
        for char in letters
    )
    own = sum(scripts[script] for script in {*_SCRIPTS[code], _LATIN})
    if scripts.total() - own <= _LEAST_SHARE * scripts.total():
        return []
    return [
        Signal("unknown_language", 0.8, f"language: {code} is not written like this.", _LANGUAGE)
    ]


TOKENS_PER_BYTE = 0.4
"""Of the models' tokenizer, about: 2.5 characters of English a token, most others fewer."""
_LONGEST_TOKENS = 100_000
"""Where the signal has its full strength, and Haiku's prompts begin to cost five times as much."""


def weighted_bytes(text: str) -> int:
    """Bytes of a text of which each character beyond ASCII counts three."""
    return 3 * len(text) - 2 * len(text.encode("ascii", "ignore"))


def about_tokens(text: str) -> int:
    """About how many tokens a text has; what is not ASCII counts three bytes a character."""
    size = len(text) if text.isascii() else weighted_bytes(text)
    return math.ceil(size * TOKENS_PER_BYTE)


def length_signals(*texts: str | None) -> list[Signal]:
    """Weigh the length of the input: what is long needs the larger model."""
    tokens = sum(about_tokens(text) for text in texts if text)
    strength = min(1.0, tokens / _LONGEST_TOKENS)
    return [Signal("long_input", strength, f"The text has about {tokens:,} tokens.")]
