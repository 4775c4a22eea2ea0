"""An encoder that needs no weights."""

import math
import re
from collections import Counter
from collections.abc import Sequence


class WordVectors(list[dict[str, float]]):
    """Texts as the shares that words have in them."""

    def __matmul__(self, row: dict[str, float]) -> list[float]:
        return [sum(share * row.get(word, 0.0) for word, share in own.items()) for own in self]


class WordEncoder:
    """Texts that share words are alike, and so are words with the same meaning.

    Args:
        meanings: Words to what they mean, for likeness where no word is shared.
    """

    def __init__(self, **meanings: str) -> None:
        self._meanings = meanings
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> WordVectors:
        self.encoded += texts
        return WordVectors(self._vector(text) for text in texts)

    def _vector(self, text: str) -> dict[str, float]:
        words = re.findall(r"\w+", text.casefold())
        counts = Counter(self._meanings.get(word, word) for word in words)
        length = math.hypot(*counts.values()) or 1.0
        return {word: count / length for word, count in counts.items()}
