"""Whether a text is like the examples of the labels, and of the label that it was given.

A label is chosen for every text, also for one that none of the labels is for. Where labels have
examples, the text is compared with them. How far is too far is told by the examples themselves:
each is compared with the others, as if it had come in again.

How alike texts are, told on this machine: by words and pieces of words, or by an encoder.
"""

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipeline.config import Label
from pipeline.model.questions import Signal
from pipeline.stages.checks.encoders import Encoder
from pipeline.stages.checks.text_quality import is_blank

if TYPE_CHECKING:
    from pipeline.stages.checks.encoders import Vectors

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


LEAST_EXAMPLES = 3
"""Of a label, for texts to be compared with them."""
_NEAREST = 2
"""Examples of a label whose mean likeness counts: one may be like a text by accident."""
_SENTENCES = 8
"""The first ones: comparing takes about a millisecond each where there are 600 examples."""
_MANY_EXAMPLES = 100
"""From here on comparing takes milliseconds, and comparing the examples themselves far more."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class _Closeness(NamedTuple):
    """How close a text is to the nearest label, and to the one that it was given."""

    to_nearest: float
    to_given: float


class _Known(NamedTuple):
    """How close the examples are, each sorted."""

    to_nearest: Sequence[float]
    to_given: Sequence[float]


class Scope:
    """Weighs how far a text is from the examples of the labels.

    Args:
        labels: Of a team; one with fewer than `LEAST_EXAMPLES` examples is left out.
        likeness: Makes what compares texts with the given ones.
    """

    def __init__(
        self, labels: Sequence[Label], likeness: Callable[[Sequence[str]], Likeness] = WordPieces
    ) -> None:
        examples = [
            (label.name, example)
            for label in labels
            if len(label.examples) >= LEAST_EXAMPLES
            for example in label.examples
        ]
        of_label: dict[str, list[int]] = defaultdict(list)
        for index, (name, _) in enumerate(examples):
            of_label[name].append(index)
        self._of_label: Mapping[str, Sequence[int]] = dict(of_label)
        self._covers_all = len(self._of_label) == len(labels)
        self._examples = examples
        self._likeness = likeness([text for _, text in examples])

    @property
    def is_slow(self) -> bool:
        """Whether there is so much to compare with that it is done outside the event loop."""
        return len(self._examples) > _MANY_EXAMPLES

    def signals(self, label: str, *texts: str | None) -> list[Signal]:
        """Compare the texts of an event, taken together, with the examples.

        The strength is the share of the examples that are closer to the others than the text is:
        0.95 is what about one text in twenty has that belongs there. With n examples in all it
        is at most n / (n + 1).

        Args:
            label: That the text was given; nothing is said about one without enough examples.
            texts: Of the event.

        Returns:
            `out_of_scope` signals: far from the given label, and far from every label. The
            latter only where every label has enough examples.
        """
        if label not in self._of_label or is_blank(*texts):
            return []
        found = [self._closeness(piece, label) for piece in _pieces(*texts)]
        known = self._known
        to_given = max(each.to_given for each in found)
        signals = [_signal(to_given, known.to_given, f"the examples of {label}")]
        if self._covers_all:
            to_nearest = max(each.to_nearest for each in found)
            signals.append(_signal(to_nearest, known.to_nearest, "the examples of any label"))
        return signals

    @cached_property
    def _known(self) -> "_Known":
        """How close the examples are; worked out when it is first needed, not by each command."""
        found = [
            self._closeness(text, name, new=at) for at, (name, text) in enumerate(self._examples)
        ]
        return _Known(
            sorted(each.to_nearest for each in found), sorted(each.to_given for each in found)
        )

    def _closeness(self, text: str, given: str, *, new: int | None = None) -> _Closeness:
        """How close a text is; `new` is the example that it is itself, which is left out."""
        likeness = self._likeness.to_known(text)
        means = {
            label: _mean_of_nearest(likeness[index] for index in indices if index != new)
            for label, indices in self._of_label.items()
        }
        return _Closeness(max(means.values()), means[given])


def _signal(closeness: float, known: Sequence[float], what: str) -> Signal:
    farther = bisect_left(known, closeness)
    strength = 1 - (1 + farther) / (1 + len(known))
    return Signal("out_of_scope", round(strength, 6), f"The text is little like {what}.")


def _mean_of_nearest(likeness: Iterator[float]) -> float:
    nearest = sorted(likeness)[-_NEAREST:]  # of a few: faster than a heap
    return sum(nearest) / len(nearest)


def _pieces(*texts: str | None) -> Iterator[str]:
    """All of it, and each sentence: of a long text one sentence may say what it is about."""
    given = [text for text in texts if text]
    yield "\n".join(given)
    sentences = [each for text in given for each in _SENTENCE_END.split(text) if each.strip()]
    if len(sentences) > 1:
        yield from sentences[:_SENTENCES]
