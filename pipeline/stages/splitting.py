"""Long texts in parts that end where a reader would pause; how many tokens a text has. Pure."""

import math
import re

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
