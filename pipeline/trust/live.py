"""What labels that keep coming say of a certificate: bounds, distance, and an alarm. Pure.

A label counts where its answer was published after the certificate was issued, or after the last
alarm was acknowledged, and only the first of a key and UTC day: answers of one key are alike, and
several are worth little more than one. That keys are independent from one day to the next is an
assumption. The alarm of a stage is raised when any of its scopes is over the certified risk; its
scopes share the run length, so that a stage takes at least that many labels until a false alarm, on
average.
"""

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import date, datetime
from typing import Any, Literal, TypeVar

from pydantic import Field

from pipeline.model.records import Count, Record, Timestamp
from pipeline.trust.certificate_file import Scope, StageCertificate
from pipeline.trust.certificates import Bet
from pipeline.trust.distance import WINDOW, Tally, distances
from pipeline.trust.drift import RUN_LENGTH, Detector
from pipeline.trust.records import AnswerLabel, SampledAnswer, answer_key

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
ALPHA = 0.05
"""How often a bound, from the first label to the last, is ever below the true share."""
_LOWEST, _HIGHEST, _RISKS = 0.004, 0.6, 22
MOST_ANSWERS = 50_000
"""Answers that are kept until their label comes, of a stage; the oldest go first."""
MOST_LABELS = 10_000
"""Labels that wait for their answer: partitions of a topic are read in any order."""
MOST_KEYS = 200_000
"""Keys of a day that are remembered."""
MOST_CHOSEN = 50
"""Chosen labels of a stage that have a bound of their own; of others there is none."""
ALL = "all"


class Alarm(Record):
    """A record of the topic `trust` under `alarm/STAGE`: what was certified no longer holds.

    It is in force until an `Acknowledged` of its number or a higher one is there, in whatever order
    they are read.
    """

    schema_: Literal["trust.alarm/1"] = Field("trust.alarm/1", alias="schema")
    stage: str
    number: int = Field(ge=1, description="Counts the alarms of the stage.")
    scope: Scope
    risk: float = Field(ge=0, le=1, description="The share of errors that was certified.")
    labels: Count = Field(description="That were counted since the certificate or the last alarm.")
    errors: Count
    run_length: float = Field(ge=1, description="Labels until a false alarm, on average, or more.")
    certificate: str
    at: Timestamp


class Acknowledged(Record):
    """A record under `acknowledged/STAGE`: a person has dealt with alarms up to a number."""

    schema_: Literal["trust.acknowledged/1"] = Field("trust.acknowledged/1", alias="schema")
    stage: str
    number: int = Field(ge=0)
    person: str
    at: Timestamp


def alarm_key(stage: str) -> bytes:
    return f"alarm/{stage}".encode()


def acknowledged_key(stage: str) -> bytes:
    return f"acknowledged/{stage}".encode()


class Bound:
    """Upper bound of a share of errors that holds at every label (a confidence sequence).

    For each of some risks a bet that the share is below it; the bound is the lowest risk whose bet
    is won, 1 before any is. So it is as coarse as those risks, and never too low for that.
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        ratio = (_HIGHEST / _LOWEST) ** (1 / (_RISKS - 1))
        self._needed = 1 / alpha
        self._bets = {(risk := _LOWEST * ratio**step): Bet(risk) for step in range(_RISKS)}
        self.upper = 1.0
        self.labels = 0
        self.errors = 0

    def add(self, is_wrong: bool, stake: float) -> None:
        """Take a label; `stake` is what it weighs, of the largest weight that any has."""
        self.labels += 1
        self.errors += is_wrong
        for risk, bet in self._bets.items():
            if risk >= self.upper:
                break
            bet.add([(stake, is_wrong)])
            if bet.capital >= self._needed:
                self.upper = risk
                break


@dataclass(frozen=True, slots=True)
class Shown:
    """What labels say of a scope, or of those answers in it that chose a label (`all` otherwise).

    `level` is what an alarm has of what it takes; None where none watches that.
    """

    scope: Scope
    label: str
    labels: int
    errors: int
    upper: float
    level: float | None


@dataclass(eq=False)
class StageWatch:
    """Follows the answers and labels of one stage; in any order until `settle` is called."""

    stage: str
    certificate: StageCertificate
    _: KW_ONLY
    run_length: float = RUN_LENGTH
    since: datetime = field(init=False)
    distances: Mapping[str, float] = field(default_factory=dict, init=False)
    """Of the last whole window, by what is compared, as a share of the limit."""
    unweighable: int = field(default=0, init=False)
    """Labels that do not say with which chance they were given."""
    _answers: dict[bytes, SampledAnswer] = field(default_factory=dict, init=False)
    _waiting: dict[bytes, AnswerLabel] = field(default_factory=dict, init=False)
    _due: list[tuple[AnswerLabel, SampledAnswer]] = field(default_factory=list, init=False)
    _keys: dict[tuple[date, str], None] = field(default_factory=dict, init=False)
    _counted: dict[bytes, None] = field(default_factory=dict, init=False)
    _tally: Tally = field(default_factory=Tally, init=False)

    def __post_init__(self) -> None:
        self.since = self.certificate.issued_at
        self._begin()

    def _begin(self) -> None:
        risk, held = round(1 - self.certificate.target, 12), self.certificate.held
        scopes: tuple[Scope, ...] = ("haiku", "sonnet", "stream")
        self._bounds: dict[tuple[Scope, str], Bound] = {(scope, ALL): Bound() for scope in scopes}
        self._detectors = {
            scope: Detector(risk, self.run_length * len(held)) for scope in scopes if scope in held
        }
        self._keys.clear()
        self._due.clear()

    def answer(self, answer: SampledAnswer) -> None:
        """Take a drawn answer, of what was published since the certificate was issued."""
        key = answer_key(answer.stage, answer.event_id, answer.part)
        if answer.published_at > self.certificate.issued_at and key not in self._answers:
            self._tally.add(answer)
            if self._tally.answers >= WINDOW:
                self.distances = distances(self.certificate.reference, self._tally)
                self._tally = Tally()
        _put(self._answers, key, answer.model_copy(update=_NOT_NEEDED), MOST_ANSWERS)
        if (label := self._waiting.pop(key, None)) is not None:
            self._due.append((label, answer))

    def label(self, label: AnswerLabel) -> None:
        """Take a verdict; of several on an answer the first one counts."""
        if label.chance is None:
            self.unweighable += 1
            return
        key = answer_key(label.stage, label.event_id, label.part)
        if key in self._counted:
            return
        answer = self._answers.get(key)
        if answer is None:
            _put(self._waiting, key, label, MOST_LABELS)
        else:
            self._due.append((label, answer))

    def settle(self, most: int = 1_000_000) -> bool:
        """Count what came, in the order in which people said it; returns whether more is left."""
        self._due.sort(key=lambda pair: pair[0].at)
        due, self._due = self._due[:most], self._due[most:]
        for label, answer in due:
            self._count(label, answer)
        return bool(self._due)

    def _count(self, label: AnswerLabel, answer: SampledAnswer) -> None:
        key = answer_key(answer.stage, answer.event_id, answer.part)
        if key in self._counted:
            return
        once = label.at.date(), answer.whose
        if label.chance is None or label.at < answer.published_at:
            return  # said of an earlier answer to the event
        if answer.published_at <= self.since or once in self._keys:
            return
        _put(self._keys, once, None, MOST_KEYS)
        _put(self._counted, key, None, MOST_ANSWERS)
        # One that was drawn even more seldom than any when it was certified weighs as much as that.
        heaviest = self.certificate.reference.smallest_chance
        stake = min(1.0, heaviest / (answer.chance * label.chance))
        scope: Scope = "haiku" if answer.decided_by.value == "haiku" else "sonnet"
        scopes: tuple[Scope, ...] = (scope, "stream")
        for each in scopes:
            self._bounds[each, ALL].add(not label.right, stake)
            if each in self._detectors:
                self._detectors[each].add(not label.right, stake)
        if answer.label is not None:
            own = scope, answer.label
            if own not in self._bounds and len(self._bounds) < MOST_CHOSEN + len(scopes) + 1:
                self._bounds[own] = Bound()
            if own in self._bounds:
                self._bounds[own].add(not label.right, stake)

    def alarm(self, number: int, at: datetime) -> Alarm | None:
        """The alarm that is to be raised, if one is."""
        for scope, detector in self._detectors.items():
            if detector.is_alarmed:
                bound = self._bounds[scope, ALL]
                return Alarm(
                    schema_="trust.alarm/1",
                    stage=self.stage,
                    number=number,
                    scope=scope,
                    risk=detector.risk,
                    labels=bound.labels,
                    errors=bound.errors,
                    run_length=self.run_length,
                    certificate=self.certificate.id,
                    at=at,
                )
        return None

    def acknowledged(self, at: datetime) -> None:
        """Begin again with what people say after that."""
        if at > self.since:
            self.since = at
            self._begin()

    def shown(self) -> Iterator[Shown]:
        for (scope, label), bound in self._bounds.items():
            detector = self._detectors.get(scope) if label == ALL else None
            level = None if detector is None else detector.level
            yield Shown(scope, label, bound.labels, bound.errors, bound.upper, level)


_NOT_NEEDED: dict[str, Any] = {
    "result": None,
    "haiku_result": None,
    "signals": [],
    "haiku_signals": [],
}
"""Of an answer that waits for its label: it takes a tenth of the memory without."""


def _put(kept: dict[KeyT, ValueT], key: KeyT, value: ValueT, most: int) -> None:
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
