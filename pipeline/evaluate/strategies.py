"""Ways to answer a set of events, each as one row: how accurate, how expensive, how slow.

The cascade is worked out from recorded answers: both tiers have answered every event, and the
policy says which of the answers would have been asked for and accepted. Every item is in exactly
one cell of a table, or there is no table at all.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from pydantic import JsonValue

from pipeline.model.questions import Signal
from pipeline.model.records import Usage

CellT = TypeVar("CellT", bound=StrEnum)


def cells(kinds: type[CellT], items: Iterable[CellT]) -> Mapping[CellT, int]:
    found = Counter(items)
    counted = {kind: found[kind] for kind in kinds}
    check_whole(counted.values(), found.total())
    return counted


def check_whole(counts: Iterable[int], items: int) -> None:
    """`RuntimeError`, a fault of the program, unless each of the items was counted once."""
    if (counted := sum(counts)) != items:
        raise RuntimeError(f"{items} items are in cells that count {counted}")


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What one tier said about a labelled event, beside the truth."""

    right: bool  # whether the answer is what the label says. Of an event out of scope no answer is.
    fields: Mapping[str, bool]  # the same for each field that has a label
    said: str | None  # the label it chose; None where the stage has none
    gave_up: bool  # there was no usable answer, or it says that it is unclear
    confidence: float | None  # as stated; None where there was no usable answer
    signals: tuple[Signal, ...]  # what speaks against the answer
    usage: Usage
    seconds: float
    model: str  # that answered
    result: Mapping[str, JsonValue] | None = field(default=None, repr=False)  # as published


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled event that both tiers have answered."""

    id: str
    key: str  # whose event it is: answers of the same key may be alike
    label: str | None  # the true one; None where the stage gives none
    out_of_scope: bool  # it belongs to no label: the right thing is not to accept any answer
    truth: Mapping[str, JsonValue] = field(repr=False)  # the true value of each field
    haiku: TierOutcome
    sonnet: TierOutcome


class End(StrEnum):
    """Where an event ends. Each ends in exactly one of these."""

    HAIKU_RIGHT = "haiku_right"
    HAIKU_WRONG = "haiku_wrong"
    SONNET_RIGHT = "sonnet_right"
    SONNET_WRONG = "sonnet_wrong"
    REVIEW = "review"


class EscalationValue(StrEnum):
    """What an escalation was good for, by both tiers' answers. Each is exactly one of these."""

    FIXED = "fixed"  # Haiku wrong, Sonnet right
    BROKEN = "broken"  # Haiku right, Sonnet wrong
    WASTED = "wasted"  # both right
    HOPELESS = "hopeless"  # both wrong
    CAUGHT = "out_of_scope_caught"  # there is no right answer, and a person looks at it
    MISSED = "out_of_scope_missed"  # there is no right answer, and Sonnet's was accepted


_BY_ANSWERS = {
    (False, True): EscalationValue.FIXED,
    (True, False): EscalationValue.BROKEN,
    (True, True): EscalationValue.WASTED,
    (False, False): EscalationValue.HOPELESS,
}
Accepts = Callable[[TierOutcome], bool]  # a policy: whether an answer is accepted as it is


@dataclass(frozen=True, slots=True)
class CascadeTrace:
    """One event's way through the cascade."""

    case: Case
    end: End
    escalation: EscalationValue | None  # what it was good for; None where there was none
    usage: Usage  # of the tiers that were asked
    seconds: float  # in their calls

    @property
    def well(self) -> bool:
        """Whether it ended as it should: a right answer, or a person for what is out of scope."""
        if self.case.out_of_scope:
            return self.end is End.REVIEW
        return self.end in {End.HAIKU_RIGHT, End.SONNET_RIGHT}


def trace(case: Case, *, haiku_accepts: Accepts, sonnet_accepts: Accepts) -> CascadeTrace:
    haiku, sonnet = case.haiku, case.sonnet
    if haiku_accepts(haiku):
        end = End.HAIKU_RIGHT if haiku.right else End.HAIKU_WRONG
        return CascadeTrace(case, end, None, haiku.usage, haiku.seconds)
    if not sonnet_accepts(sonnet):
        end = End.REVIEW
    else:
        end = End.SONNET_RIGHT if sonnet.right else End.SONNET_WRONG
    value = _BY_ANSWERS[haiku.right, sonnet.right]
    if case.out_of_scope:
        value = EscalationValue.CAUGHT if end is End.REVIEW else EscalationValue.MISSED
    usage, seconds = haiku.usage + sonnet.usage, haiku.seconds + sonnet.seconds
    return CascadeTrace(case, end, value, usage, seconds)


def ends(traces: Iterable[CascadeTrace]) -> Mapping[End, int]:
    return cells(End, (each.end for each in traces))


def escalations(traces: Iterable[CascadeTrace]) -> Mapping[EscalationValue, int]:
    return cells(EscalationValue, (each.escalation for each in traces if each.escalation))


@dataclass(frozen=True, slots=True)
class Strategy:
    name: str
    items: int
    well: int  # ended as they should: right, or undecided where no answer is right
    decided: int  # those with an answer that was accepted
    decided_right: int  # of these
    undecided: int  # those that a person has to look at
    escalated: int  # those that the second model was asked about after the first
    calls: int  # requests, as they were recorded
    cost_usd: Decimal | None  # of all events; None where a price is not known
    seconds: tuple[float, float, float]  # in calls, an event: mean, median, 95th percentile

    @property
    def decided_wrong(self) -> int:
        """Wrong answers that were accepted: they do harm before a person looks."""
        return self.decided - self.decided_right

    @property
    def accuracy(self) -> float:
        """The share of all events that ended as they should."""
        return self.well / self.items if self.items else 0.0

    @property
    def accuracy_decided(self) -> float | None:
        """The share of the accepted answers that is right; None where none was accepted."""
        return self.decided_right / self.decided if self.decided else None

    @property
    def usd_per_thousand(self) -> Decimal | None:
        if self.cost_usd is None or not self.items:
            return None
        return self.cost_usd / self.items * 1000


def alone(name: str, cases: Sequence[Case], tier: Callable[[Case], TierOutcome]) -> Strategy:
    """One model, every answer accepted as it comes.

    An event out of scope ends well when the model says that it is unclear, or gives no answer.
    """
    outcomes = [tier(case) for case in cases]
    # Without a policy an answer is only missing where there is none, or where an event out of
    # scope is said to be unclear.
    undecided = [
        each.result is None or (case.out_of_scope and each.gave_up)
        for case, each in zip(cases, outcomes, strict=True)
    ]
    right = sum(each.right for each in outcomes)
    out = sum(case.out_of_scope and lost for case, lost in zip(cases, undecided, strict=True))
    return _strategy(
        name, outcomes, well=right + out, right=right, undecided=sum(undecided), escalated=0
    )


def cascade(name: str, traces: Sequence[CascadeTrace]) -> Strategy:
    ended = ends(traces)
    return _strategy(
        name,
        traces,
        well=sum(each.well for each in traces),
        right=ended[End.HAIKU_RIGHT] + ended[End.SONNET_RIGHT],
        undecided=ended[End.REVIEW],
        escalated=sum(each.escalation is not None for each in traces),
    )


def _strategy(
    name: str,
    spent: Sequence[TierOutcome | CascadeTrace],
    *,
    well: int,
    right: int,
    undecided: int,
    escalated: int,
) -> Strategy:
    decided = len(spent) - undecided
    check_whole((right, decided - right, undecided), len(spent))
    usage = sum((each.usage for each in spent), Usage())
    seconds = sorted(each.seconds for each in spent) or [0.0]
    median, slow = (seconds[max(0, math.ceil(len(seconds) * q) - 1)] for q in (0.5, 0.95))
    return Strategy(
        name=name,
        items=len(spent),
        well=well,
        decided=decided,
        decided_right=right,
        undecided=undecided,
        escalated=escalated,
        calls=usage.calls,
        cost_usd=usage.cost_usd,
        seconds=(math.fsum(seconds) / len(seconds), median, slow),
    )
