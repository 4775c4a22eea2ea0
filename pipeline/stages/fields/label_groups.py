"""Many labels in a few groups: the team's own, or formed by the words that labels share. Pure.

The same labels make the same groups in every process and in whatever order they are given, so
that the static part of a prompt stays the same.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline.config import Label

SMALLEST_LIMIT = 10
"""Labels a group may have, so that two groups make a question of 20 at most."""
MOST_GROUPS = 20
USUAL_SIZE = 6
"""Groups are joined until they have so many labels on average."""
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s")
_SHORTEST_STEM = 3
_NAME_WEIGHT, _DESCRIPTION_WEIGHT, _EXAMPLE_WEIGHT = 2.0, 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Group:
    """Labels that are asked together.

    Args:
        name: Of the group, unlike every other's in more than case.
        labels: In the order of the taxonomy.
    """

    name: str
    labels: tuple[Label, ...]


def groups_of(labels: Sequence[Label]) -> tuple[Group, ...]:
    """Put labels in groups: those they name, or else groups formed by what they share."""
    if all(label.group is not None for label in labels):
        names = dict.fromkeys(str(label.group) for label in labels)
        return tuple(
            Group(name, tuple(label for label in labels if label.group == name)) for name in names
        )
    formed = _formed(labels)
    return tuple(Group(name, members) for name, members in zip(_names(formed), formed, strict=True))


def _formed(labels: Sequence[Label]) -> list[tuple[Label, ...]]:
    """Join what is most alike, again and again, as long as a group stays small enough."""
    by_name = sorted(labels, key=lambda label: (label.name.casefold(), label.name))
    vectors = _vectors(by_name)
    likeness = {
        (i, j): _product(vectors[i], vectors[j]) for i, j in combinations(range(len(by_name)), 2)
    }
    clusters = [[i] for i in range(len(by_name))]
    # Two clusters that cannot be joined have more than the limit together, so there are fewer
    # than twice as many as there would be full ones.
    limit = max(SMALLEST_LIMIT, math.ceil(2 * len(by_name) / MOST_GROUPS))
    enough = min(MOST_GROUPS, math.ceil(len(by_name) / USUAL_SIZE))
    while len(clusters) > enough and (pair := _most_alike(clusters, likeness, limit)):
        first, second = pair
        clusters[first] = sorted(clusters[first] + clusters[second])
        del clusters[second]
    place = {label.name: i for i, label in enumerate(labels)}
    found = [
        tuple(sorted((by_name[i] for i in cluster), key=lambda label: place[label.name]))
        for cluster in clusters
    ]
    return sorted(found, key=lambda members: place[members[0].name])


def _most_alike(
    clusters: Sequence[Sequence[int]], likeness: Mapping[tuple[int, int], float], limit: int
) -> tuple[int, int] | None:
    best, found = -1.0, None
    for i, j in combinations(range(len(clusters)), 2):
        size = len(clusters[i]) * len(clusters[j])
        if len(clusters[i]) + len(clusters[j]) > limit:
            continue
        total = sum(likeness[min(a, b), max(a, b)] for a in clusters[i] for b in clusters[j])
        # Of those that are equally alike, or not at all, the smallest go together.
        score = round(total / size, 9) + 1e-6 / size
        if score > best:
            best, found = score, (i, j)
    return found


def _vectors(labels: Sequence[Label]) -> list[Mapping[str, float]]:
    counted = [_weighted_words(label) for label in labels]
    frequency = Counter(word for words in counted for word in words)
    vectors: list[Mapping[str, float]] = []
    for words in counted:
        rare = {
            word: weight * math.log(len(labels) / frequency[word])
            for word, weight in sorted(words.items())
        }
        norm = math.sqrt(sum(weight * weight for weight in rare.values())) or 1.0
        vectors.append({word: weight / norm for word, weight in rare.items()})
    return vectors


def _weighted_words(label: Label) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text, weight in (
        (label.name, _NAME_WEIGHT),
        (label.description, _DESCRIPTION_WEIGHT),
        (" ".join(label.examples), _EXAMPLE_WEIGHT),
    ):
        for word in _words(text):
            weights[word] = max(weight, weights.get(word, 0.0))
    return weights


def _product(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    return sum(weight * second[word] for word, weight in first.items() if word in second)


def _names(formed: Sequence[Sequence[Label]]) -> list[str]:
    """Name each group by the word that most of its labels' names share, or by its first label."""
    names: list[str] = []
    for members in formed:
        shared = Counter(word for label in members for word in set(_name_words(label)))
        word, count = min(shared.items(), key=lambda item: (-item[1], item[0]))
        name = word if count > 1 else members[0].name
        names.append(_unlike(name, names))
    return names


def _unlike(name: str, others: Iterable[str]) -> str:
    taken = {other.casefold() for other in others}
    numbered = (f"{name}_{i}" for i in range(2, len(taken) + 3))
    return name if name.casefold() not in taken else next(n for n in numbered if n not in taken)


def _name_words(label: Label) -> list[str]:
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", label.name))]


def _words(text: str) -> list[str]:
    found = _WORD.findall(_CAMEL.sub(" ", text))
    return [_stem(word.lower()) for word in found if len(word) > 1]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word
