"""Chooses between labels by words in common, with an encoder also by nearness in meaning."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.local.simulated.served_models import Line
from pipeline.local.simulated.stand_in.schema import Entry, entries_of
from pipeline.local.simulated.stand_in.vocabulary import (
    STOP_WORDS,
    concepts,
    listed,
    spaced,
    stem,
    words,
)
from pipeline.stages.checks.scope import Encoded, Encoder

_CATCH_ALL = frozenset(listed("label")["rest"].split(", "))
_CATCH_ALL_DESCRIPTION = re.compile(r"(?i)\b(?:(?:every|any)thing else|none of (?:these|the))\b")
_BETWEEN_EXAMPLES = re.compile(r"""["“”„«»|;\n]+|(?<=[.!?])\s+|\bexamples?:""", re.IGNORECASE)
_NAME_WEIGHT, _CONCEPT_WEIGHT, _EXAMPLE_WEIGHT = 2.0, 0.75, 0.8
# Of the logistic that makes a confidence of margin and evidence; fitted on public utterances.
_MARGIN_WEIGHT, _EVIDENCE_WEIGHT = 1.05, 0.15
# More makes what no label is for seem sure, on public utterances.
_NEARNESS_WEIGHT = 2.0
_UNRELATED = 0.15  # the cosine of texts that have nothing to do with each other
_SHORT_TEXT, _ENOUGH_WORDS, _FOUND_SOMETHING = 20, 12, 0.2
# What a label such as `other` scores by itself: it wins where nothing else is found.
_CATCH_ALL_SCORE = 0.2


class Skill(NamedTuple):
    """What a model makes of the same content: the difference between Haiku and Sonnet."""

    thorough: bool  # reads the examples of labels, and sums taxes at several rates
    nerve: float  # how sure it is of a label at a given margin: the intercept of the logistic
    trust: float  # factor on the confidence in what was extracted


HAIKU = Skill(thorough=False, nerve=2.6, trust=0.95)
SONNET = Skill(thorough=True, nerve=2.7, trust=1.0)
SKILLS: Mapping[Line, Skill] = {"haiku": HAIKU, "sonnet": SONNET, "opus": SONNET}


class Choice(NamedTuple):
    """A chosen label; `rival` is the second-best's score as a share of the best's, 0 to 1."""

    label: str
    runner_up: str | None
    confidence: float
    evidence: frozenset[str]
    rival: float


class LabelSet:
    """Labels, ready to be compared with many contents."""

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
        per_label: list[dict[str, float]] = []
        # What the encoder compares: what is said of each label, and then its examples.
        described: list[str] = []
        examples: list[tuple[int, str]] = []
        for i, label in enumerate(labels):
            found = [entries_of(tuple(labels), text).get(label, Entry()) for text in texts]
            description = " ".join(entry.description for entry in found)
            example = "\n".join(entry.examples for entry in found) if skill.thorough else ""
            named = words(spaced(label))
            features: dict[str, float] = {}
            for text, weight in (
                (named, _NAME_WEIGHT),
                (words(description), 1.0),
                (words(example), _EXAMPLE_WEIGHT),
            ):
                for word in text:
                    if word not in STOP_WORDS and word not in _CATCH_ALL:
                        for feature, share in _features(word):
                            features[feature] = max(features.get(feature, 0.0), weight * share)
            per_label.append(features)
            is_rest = _CATCH_ALL & {*named} or _CATCH_ALL_DESCRIPTION.search(description)
            self._base.append(_CATCH_ALL_SCORE if is_rest else 0.0)
            described.append(f"{spaced(label)}: {description}")
            parts = _BETWEEN_EXAMPLES.split(example)
            examples += [(i, p) for p in parts if len(p.strip(" ,-")) > 3]  # noqa: PLR2004
        # Inverse document frequency over the labels, and length: a long description is no merit.
        frequency = Counter(feature for features in per_label for feature in features)
        self._weights: dict[str, list[tuple[int, float]]] = {}
        for i, features in enumerate(per_label):
            rare = {f: w * math.log(1 + len(labels) / frequency[f]) for f, w in features.items()}
            norm = math.sqrt(sum(weight * weight for weight in rare.values())) or 1.0
            for feature, weight in rare.items():
                self._weights.setdefault(feature, []).append((i, weight / norm))
        self._owners = [owner for owner, _ in examples]
        known = [*described, *(text for _, text in examples)]
        self._meanings = Encoded(encoder, known) if encoder else None

    def choose(self, text: str, *, title: str = "") -> Choice:
        """The label that fits best."""
        found = Counter(word for word in words(text)[:2000] if word not in STOP_WORDS)
        found.update(word for word in words(title) if word not in STOP_WORDS)
        scores = list(self._base)
        spoke: list[set[str]] = [set() for _ in self._labels]
        # Long texts repeat themselves: what they say counts less than in proportion.
        spread = max(1.0, math.sqrt(len(found) / _SHORT_TEXT))
        for word, count in found.items():
            strength = (1.0 + math.log(count)) / spread
            for feature, share in _features(word):
                for i, weight in self._weights.get(feature, ()):
                    scores[i] += strength * share * weight
                    spoke[i].add(word)
        if self._meanings is not None:
            for i, near in enumerate(self._nearness(self._meanings, f"{title} {text}")):
                if not self._base[i]:
                    scores[i] += _NEARNESS_WEIGHT * max(0.0, near - _UNRELATED)
        return self._decide(scores, spoke, len(found))

    def _nearness(self, meanings: Encoded, text: str) -> list[float]:
        """How near a text is to each label: to what is said of it, or to its two best examples."""
        cosines = meanings.to_known(text)
        near, of_examples = list(cosines[: len(self._labels)]), cosines[len(self._labels) :]
        for label in set(self._owners):
            own = sorted(c for o, c in zip(self._owners, of_examples, strict=True) if o == label)
            near[label] = max(near[label], sum(own[-2:]) / len(own[-2:]))
        return near

    def _decide(self, scores: list[float], spoke: list[set[str]], read: int) -> Choice:
        best, *others = sorted(range(len(scores)), key=lambda i: -scores[i])
        top, next_score = scores[best], scores[others[0]] if others else 0.0
        evidence = top - self._base[best]
        if self._base[best] and evidence <= 0:
            # Nothing speaks for any label: the more there was to read, the surer is the rest.
            much = 0.4 + 0.45 * min(1.0, read / _ENOUGH_WORDS)
            confidence = much * self._skill.trust * (1 - 0.4 * next_score / self._base[best])
        else:
            odds = (
                self._skill.nerve
                + _MARGIN_WEIGHT * math.log(top - next_score + 0.02)
                + _EVIDENCE_WEIGHT * math.log(evidence + 0.05)
            )
            confidence = 1 / (1 + math.exp(-odds))
        is_rival = others and next_score > self._base[others[0]] + _FOUND_SOMETHING
        return Choice(
            label=self._labels[best],
            runner_up=self._labels[others[0]] if others else None,
            confidence=round(confidence, 3),
            evidence=frozenset(spoke[best]),
            rival=next_score / top if is_rival and top else 0.0,
        )


def _features(word: str) -> list[tuple[str, float]]:
    return [(stem(word), 1.0), *((f"={concept}", _CONCEPT_WEIGHT) for concept in concepts(word))]
