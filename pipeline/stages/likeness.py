"""How alike texts are, told on this machine: by words and pieces of words, or by an encoder."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from pipeline.encoders.encoder import Encoder

if TYPE_CHECKING:
    from pipeline.encoders.encoder import Vectors

_WORD = re.compile(r"\w+")
_PIECES = (3, 4)
_LONGEST = 4000
"""Characters of a text that are looked at: what decides a matter is said before."""


class Likeness(Protocol):
    """Compares texts with known ones."""

    def to_known(self, text: str) -> Sequence[float]:
        """How like each known text this one is, in their order: 0 (not at all) to 1 (the same)."""
        ...


def likeness_by(encoder: Encoder | None) -> Callable[[Sequence[str]], Likeness]:
    """What compares texts: an encoder where there is one, else their words."""
    return WordPieces if encoder is None else partial(Encoded, encoder)


class Encoded:
    """Likeness by the vectors of texts; slow enough for a thread.

    Cosines; what is less like than a right angle is like nothing.

    Args:
        encoder: Makes the vectors.
        known: The texts to compare with; encoded when they are first needed.
    """

    def __init__(self, encoder: Encoder, known: Sequence[str]) -> None:
        self._encoder = encoder
        self._texts = list(known)
        self._place = {text: index for index, text in enumerate(known)}

    def to_known(self, text: str) -> Sequence[float]:
        """The cosine with each known text."""
        known = self._known
        place = self._place.get(text)
        vector = self._encoder.encode([text])[0] if place is None else known[place]
        cosines: list[float] = (known @ vector).clip(0, 1).tolist()
        return cosines

    @cached_property
    def _known(self) -> "Vectors":
        return self._encoder.encode(self._texts)


class WordPieces:
    """Likeness by the words and the pieces of words that texts share, rare ones weighing more.

    Cosines of TF-IDF vectors. What no known text contains is part of a text's length, so a text
    of nothing but new words is like none.

    Args:
        known: The texts to compare with.
    """

    def __init__(self, known: Sequence[str]) -> None:
        counted = [_features(text) for text in known]
        self._documents = Counter(feature for features in counted for feature in features)
        self._size = len(counted)
        self._where: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, features in enumerate(counted):
            for feature, weight in self._vector(features).items():
                self._where[feature].append((index, weight))

    def to_known(self, text: str) -> Sequence[float]:
        """The cosine with each known text."""
        found = [0.0] * self._size
        for feature, weight in self._vector(_features(text)).items():
            for index, other in self._where.get(feature, ()):
                found[index] += weight * other
        return [min(1.0, cosine) for cosine in found]

    def _vector(self, features: Counter[str]) -> dict[str, float]:
        weighted = {
            feature: (1 + math.log(count)) * self._rarity(feature)
            for feature, count in features.items()
        }
        length = math.sqrt(sum(weight * weight for weight in weighted.values())) or 1.0
        return {feature: weight / length for feature, weight in weighted.items()}

    def _rarity(self, feature: str) -> float:
        return 1 + math.log((1 + self._size) / (1 + self._documents[feature]))


def _features(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for word in _WORD.findall(text[:_LONGEST].casefold()):
        found[word] += 1
        padded = f" {word} "
        for size in _PIECES:
            found.update(padded[at : at + size] for at in range(len(padded) - size + 1))
    return found
