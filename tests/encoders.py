"""An encoder that needs no weights."""

import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from pipeline.stages.checks.scope import Vectors

_SIZE = 256


class WordEncoder:
    """Texts that share words are alike, and so are words that were said to mean the same.

    Args:
        meanings: Words to what they mean, for likeness where no word is shared.
    """

    def __init__(self, **meanings: str) -> None:
        self._meanings = meanings
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> "Vectors":
        self.encoded += texts
        found = numpy.zeros((len(texts), _SIZE), dtype=numpy.float32)
        for row, text in zip(found, texts, strict=True):
            for word in re.findall(r"\w+", text.casefold()):
                row[zlib.crc32(self._meanings.get(word, word).encode()) % _SIZE] += 1
        lengths = numpy.sqrt((found * found).sum(axis=1, keepdims=True))
        found /= numpy.maximum(lengths, numpy.float32(1e-9))
        return found
