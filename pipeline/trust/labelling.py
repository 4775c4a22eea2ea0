"""Which drawn answers people are asked about, with which chance, and what verdicts are worth. Pure.

An answer that was drawn is given to people with a chance that grows with how doubtful it is, as the
root of its risk: then few labels say most about the share of errors (Neyman allocation, where the
risk is the chance that the answer is wrong). The chance is never 0, goes along with the label, and
follows from the answer alone, by a keyed hash: so whoever asks is given the same answers. They come
in an order by lot, so that whoever stops early leaves out a random rest.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.trust.certificates import Verdict
from pipeline.trust.records import AnswerLabel, LabelledAnswer, SampledAnswer
from pipeline.trust.sampling import uniform

LEAST_CHANCE = 0.05
"""Of an answer that nothing speaks against: some of the surest are wrong, too."""
CONFIRMED_CHANCE = 0.25
"""Of an answer of Haiku's that was doubted and that Sonnet gave again."""
LABELLED_TWICE = 0.1
"""Of those given to people: by two of them, so that their agreement is known."""
_PAIR = 2


def chance_to_label(answer: SampledAnswer, *, is_contradicted: bool | None) -> float:
    """The chance that a drawn answer is given to people, its key aside.

    Args:
        answer: What was drawn.
        is_contradicted: Whether Sonnet differed from Haiku; None where there are no two answers, or
            they cannot be compared.
    """
    if answer.decided_by is Tier.SONNET and is_contradicted is not None:
        return 1.0 if is_contradicted else CONFIRMED_CHANCE
    stated = 0.0 if answer.confidence is None else 1 - answer.confidence
    risk = max((stated, *(each.strength for each in answer.signals)))
    return min(1.0, max(LEAST_CHANCE, math.sqrt(risk)))


@dataclass(slots=True)
class KeyCap:
    """Makes the chance of answers smaller where there are many of one key on one day (UTC).

    The first `most` keep theirs; the `n`-th, in the order of publication, has `most / n` of it. So
    of many answers of a key about `most` times a logarithm of their number are left, and the chance
    of each is known as soon as it is published, whatever comes later.
    """

    most: int
    _published: dict[tuple[str, int], "array[float]"] = field(default_factory=dict)
    _is_sorted: bool = True

    def take(self, answer: SampledAnswer) -> None:
        """Count an answer; all have to be, before the first is asked for."""
        moment = answer.published_at.timestamp()
        self._published.setdefault(_group(answer), array("d")).append(moment)
        self._is_sorted = False

    def factor(self, answer: SampledAnswer) -> float:
        """What the chance of an answer is multiplied with."""
        if not self._is_sorted:
            groups = self._published.items()
            self._published = {name: array("d", sorted(found)) for name, found in groups}
            self._is_sorted = True
        moments = self._published.get(_group(answer), ())
        before = bisect_left(moments, answer.published_at.timestamp())
        return min(1.0, self.most / (before + 1))


def _group(answer: SampledAnswer) -> tuple[str, int]:
    return answer.whose, answer.published_at.toordinal()


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a drawn answer is for people, and for whom.

    Args:
        key: Of the lottery.
        chance: That it was given to people.
    """

    key: bytes
    answer: SampledAnswer
    chance: float

    def is_for(self, person: str, labels: Sequence[AnswerLabel]) -> bool:
        """Whether this person is to label it, given the verdicts that are there."""
        if self._lot("label") >= self.chance:
            return False
        people = {each.person for each in labels if each.origin == "sample"}
        wanted = _PAIR if self._lot("twice") < LABELLED_TWICE else 1
        return person not in people and len(people) < wanted

    @property
    def order(self) -> float:
        """Where it stands among others, by lot."""
        return self._lot("order")

    def _lot(self, purpose: str) -> float:
        answer = self.answer
        at = answer.published_at.isoformat(timespec="milliseconds")
        return uniform(self.key, purpose, f"{answer.stage}\0{at}\0{answer.event_id}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people agree on the same answers, beyond what chance alone would bring.

    `kappa` is Cohen's (1960), 1 where they always agree and 0 where as often as by chance; None
    where there are no pairs, or all verdicts are the same, of which it says nothing.
    """

    pairs: int
    agreed: int
    kappa: float | None


def agreement(answers: Iterable[LabelledAnswer]) -> Agreement:
    """Of the first two people who were given each answer."""
    pairs = []
    for each in answers:
        given = [label.right for label in each.labels if label.origin == "sample"][:_PAIR]
        if len(given) == _PAIR:
            pairs.append((given[0], given[1]))
    if not pairs:
        return Agreement(0, 0, None)
    count, agreed = len(pairs), sum(one == other for one, other in pairs)
    first, second = (sum(verdicts) / count for verdicts in zip(*pairs, strict=True))
    by_chance = first * second + (1 - first) * (1 - second)
    kappa = None if by_chance == 1 else (agreed / count - by_chance) / (1 - by_chance)
    return Agreement(count, agreed, kappa)


def last_words(labels: Iterable[AnswerLabel]) -> list[AnswerLabel]:
    """The last label of each person, of those that say with which chance they were given.

    Labels come the earliest first. Without a chance nobody drew them: they stand for no share.
    """
    return list({label.person: label for label in labels if label.chance is not None}.values())


def verdict_on(answer: SampledAnswer, labels: Iterable[AnswerLabel]) -> Verdict | None:
    """What labels come to, the earliest first: wrong where anybody's last word says so.

    So whoever doubts is never outvoted, and the share of errors is never taken for less than it is.
    The chance is that of being drawn and labelled. None where no label says with which chance it
    was given: no share can be estimated from it.
    """
    last = last_words(labels)
    if not last:
        return None
    is_wrong = not all(label.right for label in last)
    drawn = max(label.chance or 0.0 for label in last)
    return Verdict(answer.whose, is_wrong, answer.chance * drawn)


def weighed(
    answers: Iterable[LabelledAnswer], origins: Collection[str] | None = None
) -> list[Verdict]:
    """The verdict on each answer, by the labels of these origins; of all if None.

    Raises:
        UsageError: A label has no chance: nobody drew it, so it stands for no known share.
    """
    verdicts, undrawn = list[Verdict](), 0
    for each in answers:
        labels = [label for label in each.labels if origins is None or label.origin in origins]
        undrawn += any(label.chance is None for label in labels)
        if (verdict := verdict_on(each.answer, labels)) is not None:
            verdicts.append(verdict)
    if undrawn:
        raise UsageError(
            f"{undrawn:,} answers have labels that nobody drew by lot, such as corrections that "
            "came back: they stand for no known share of all answers, so nothing can be estimated "
            "with them. Leave them out with --origin sample."
        )
    return verdicts
