"""Chooses between labels by how much their names and descriptions share with the content.

With a sentence encoder also by how near they are to it in meaning.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pipeline.local.simulated.answering.glossary import look_up
from pipeline.local.simulated.answering.nearness import Nearness
from pipeline.local.simulated.answering.skill import Skill
from pipeline.local.simulated.answering.words import (
    concepts,
    is_stop_word,
    spaced,
    stem,
    words,
)
from pipeline.stages.checks.scope import Encoder

_CATCH_ALL = frozenset({
    "other", "others", "general", "misc", "miscellaneous", "none", "unknown", "unclear", "else",
    "default", "sonstiges", "autre", "otro", "inquiry",
})  # fmt: skip
_CATCH_ALL_DESCRIPTION = re.compile(
    r"\b(everything else|anything else|none of (these|the)|alles andere|tout le reste)\b",
    re.IGNORECASE,
)
_NAME_WEIGHT = 2.0
_CONCEPT_WEIGHT = 0.75
_EXAMPLE_WEIGHT = 0.8
_MARGIN_WEIGHT, _EVIDENCE_WEIGHT = 1.05, 0.15
"""Of the logistic that makes a confidence of margin and evidence; fitted on public utterances."""
_NEARNESS_WEIGHT = 2.0
"""More makes what no label is for seem sure, on public utterances."""
_STRANGERS = 0.15
"""The cosine of texts that have nothing to do with each other."""
_SHORT_TEXT = 20
_FOUND_SOMETHING = 0.2
_ENOUGH_WORDS = 12
_CATCH_ALL_SCORE = 0.2
"""What a label such as `other` scores by itself: it wins where nothing else is found."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen label.

    Args:
        label: The best.
        runner_up: The second best, if there is more than one.
        confidence: 0 to 1, from the margin and from how much was found at all.
        evidence: The words of the content that spoke for it.
        rival: The second-best's score as a share of the best's, where both were found.
    """

    label: str
    runner_up: str | None
    confidence: float
    evidence: frozenset[str]
    rival: float


class LabelSet:
    """Labels, ready to be compared with many contents.

    Args:
        labels: Their names.
        texts: What is said of each: the prompt, the property's description.
        skill: How well to read.
        encoder: Compares meanings, too, where there is one.
    """

    def __init__(
        self,
        labels: Sequence[str],
        texts: Sequence[str],
        skill: Skill,
        encoder: Encoder | None = None,
    ) -> None:
        self._labels = list(labels)
        self._skill = skill
        self._base: list[float] = []
        per_label: list[Counter[str]] = []
        entries = [look_up(label, self._labels, texts) for label in self._labels]
        for label, entry in zip(self._labels, entries, strict=True):
            features = _features(_name_words(label), _NAME_WEIGHT)
            features.update(_features(words(entry.description), 1.0))
            if skill.reads_examples:
                features.update(_features(words(entry.examples), _EXAMPLE_WEIGHT))
            per_label.append(features)
            catches_all = _is_catch_all(label, entry.description)
            self._base.append(_CATCH_ALL_SCORE if catches_all else 0.0)
        self._weights = _weigh(per_label)
        self._nearness = (
            None
            if encoder is None
            else Nearness(encoder, self._labels, entries, with_examples=skill.reads_examples)
        )

    @property
    def weighs_requests(self) -> bool:
        """Whether `requests` makes a difference to `choose`."""
        return self._skill.weighs_requests

    def choose(self, text: str, *, first: str = "", requests: str = "") -> Choice:
        """The label that fits best.

        Args:
            text: The content.
            first: A part of it that counts double: a subject, a title.
            requests: Sentences of it that ask for something.
        """
        found = Counter(word for word in words(text)[:2000] if not is_stop_word(word))
        overlooked = frozenset(self._skill.overlooked(found))
        for word in overlooked:
            del found[word]
        for word in words(f"{first} {requests}"):
            if not is_stop_word(word):
                found[word] += 1
        scores = list(self._base)
        spoke: list[set[str]] = [set() for _ in self._labels]
        # Long texts repeat themselves: what they say counts less than in proportion.
        spread = max(1.0, math.sqrt(len(found) / _SHORT_TEXT))
        for word, count in found.items():
            strength = (1.0 + math.log(count)) / spread
            for feature, share in _word_features(word):
                for i, weight in self._weights.get(feature, ()):
                    scores[i] += strength * share * weight
                    spoke[i].add(word)
        for i, near in enumerate(self._near(text, first, requests, overlooked)):
            scores[i] += near
        return self._decide(scores, spoke, len(found))

    def _near(
        self, text: str, first: str, requests: str, overlooked: AbstractSet[str]
    ) -> Sequence[float]:
        """What meaning adds to the scores: how much nearer a label is than strangers are."""
        if self._nearness is None:
            return ()
        seen = f"{first} {requests} {text}"
        if overlooked:
            # What is not seen as a word is not read as part of a sentence either.
            kept = (word for word in seen.split() if not overlooked & set(words(word)))
            seen = " ".join(kept)
        return [
            0.0 if base else _NEARNESS_WEIGHT * max(0.0, near - _STRANGERS)
            for near, base in zip(self._nearness.of(seen), self._base, strict=True)
        ]

    def _found(self, scores: Sequence[float], label: int) -> float:
        return scores[label] if scores[label] > self._base[label] + _FOUND_SOMETHING else 0.0

    def _by_absence(self, scores: Sequence[float], best: int, words: int) -> float:
        """How sure a label for the rest is, where nothing speaks for any label at all.

        The more there was to read, the more it says that no label was found in it.
        """
        others = max((score for i, score in enumerate(scores) if i != best), default=0.0)
        read = min(1.0, words / _ENOUGH_WORDS)
        return (0.4 + 0.45 * read) * self._skill.trust * (1 - 0.4 * others / self._base[best])

    def _decide(self, scores: list[float], spoke: list[set[str]], words: int) -> Choice:
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        best = order[0]
        second = order[1] if len(order) > 1 else None
        top = scores[best]
        margin = top - (0.0 if second is None else scores[second])
        evidence = top - self._base[best]
        if self._base[best] and evidence <= 0:
            confidence = self._by_absence(scores, best, words)
        else:
            odds = (
                self._skill.nerve
                + _MARGIN_WEIGHT * math.log(margin + 0.02)
                + _EVIDENCE_WEIGHT * math.log(evidence + 0.05)
            )
            confidence = 1 / (1 + math.exp(-odds))
        return Choice(
            label=self._labels[best],
            runner_up=None if second is None else self._labels[second],
            confidence=round(confidence, 3),
            evidence=frozenset(spoke[best]),
            rival=0.0 if second is None or not top else self._found(scores, second) / top,
        )


def _name_words(label: str) -> list[str]:
    return words(spaced(label))


def _is_catch_all(label: str, description: str) -> bool:
    return bool(_CATCH_ALL & set(_name_words(label))) or bool(
        _CATCH_ALL_DESCRIPTION.search(description)
    )


def _features(found: Sequence[str], weight: float) -> Counter[str]:
    features: Counter[str] = Counter()
    for word in found:
        if not is_stop_word(word) and word not in _CATCH_ALL:
            for feature, share in _word_features(word):
                features[feature] = max(features[feature], weight * share)  # type: ignore[assignment]
    return features


def _word_features(word: str) -> list[tuple[str, float]]:
    return [(stem(word), 1.0), *((f"={concept}", _CONCEPT_WEIGHT) for concept in concepts(word))]


def _weigh(per_label: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[int, float]]]:
    """Inverse document frequency over the labels, and length: a long description is no merit."""
    frequency = Counter(feature for features in per_label for feature in features)
    weights: dict[str, list[tuple[int, float]]] = {}
    for i, features in enumerate(per_label):
        rare = {
            feature: weight * math.log(1 + len(per_label) / frequency[feature])
            for feature, weight in features.items()
        }
        norm = math.sqrt(sum(weight * weight for weight in rare.values())) or 1.0
        for feature, weight in rare.items():
            weights.setdefault(feature, []).append((i, weight / norm))
    return weights
