"""Unicode normalisation that takes time in proportion to the text, whatever the text is. Pure.

Two things make NFKC expensive. Combining marks in a row are sorted by insertion, which is
quadratic: 200,000 of them take a minute and a half. And some characters become up to 18 others.
So runs are cut to what UAX #15 calls stream-safe (30 marks; a person sees a smear long before
that), what is expanded has a limit, and a long text is normalised in pieces, between which other
threads get their turn.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

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
        end = _place_to_cut(text, at, at + size)
        yield text[at:end]
        at = end
    yield text[at:]


def _place_to_cut(text: str, begin: int, latest: int) -> int:
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
