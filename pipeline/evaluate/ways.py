"""One way to answer a set of events, as one row: how accurate, how dear, how slow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline.evaluate.cascade import Case, End, Heard, Journey
from pipeline.evaluate.cells import check_whole
from pipeline.events import Usage


@dataclass(frozen=True, slots=True)
class Way:
    """A row.

    Args:
        name: Of the way.
        items: Events.
        well: Those that ended as they should: with a right answer, or undecided where no answer
            is right.
        decided: Those with an answer that was taken.
        decided_right: Of these.
        undecided: Those that a person has to look at.
        escalated: Those that the second model was asked about after the first.
        calls: Requests, as they were recorded.
        cost_usd: Of all events; None where a price is not known.
        seconds: Spent in calls for an event: mean, median, and what 95 % stay within.
    """

    name: str
    items: int
    well: int
    decided: int
    decided_right: int
    undecided: int
    escalated: int
    calls: int
    cost_usd: Decimal | None
    seconds: tuple[float, float, float]

    @property
    def decided_wrong(self) -> int:
        """Wrong answers that were taken: what nobody looks at before it does harm."""
        return self.decided - self.decided_right

    @property
    def accuracy(self) -> float:
        """The share of all events that ended as they should."""
        return self.well / self.items if self.items else 0.0

    @property
    def accuracy_decided(self) -> float | None:
        """The share of the taken answers that is right; None where none was taken."""
        return self.decided_right / self.decided if self.decided else None

    @property
    def usd_per_thousand(self) -> Decimal | None:
        """What a thousand such events cost."""
        if self.cost_usd is None or not self.items:
            return None
        return self.cost_usd / self.items * 1000


def alone(name: str, cases: Sequence[Case], tier: Callable[[Case], Heard]) -> Way:
    """One model, every answer taken as it comes.

    An event out of scope ends well when the model says that it is unclear, or gives no answer.
    """
    heard = [tier(case) for case in cases]
    # Without a policy an answer is only missing where there is none; what is out of scope, and
    # said to be unclear, nobody takes for a label.
    undecided = [
        each.result is None or (case.out_of_scope and each.gave_up)
        for case, each in zip(cases, heard, strict=True)
    ]
    right = sum(each.right for each in heard)
    out = sum(case.out_of_scope and lost for case, lost in zip(cases, undecided, strict=True))
    return _row(
        name,
        [(each.usage, each.seconds) for each in heard],
        well=right + out,
        decided_right=right,
        undecided=sum(undecided),
        escalated=0,
    )


def cascade(name: str, journeys: Sequence[Journey]) -> Way:
    """Both models, as the policy decides."""
    right = {End.HAIKU_RIGHT, End.SONNET_RIGHT}
    return _row(
        name,
        [(journey.usage, journey.seconds) for journey in journeys],
        well=sum(journey.well for journey in journeys),
        decided_right=sum(journey.end in right for journey in journeys),
        undecided=sum(journey.end is End.REVIEW for journey in journeys),
        escalated=sum(journey.worth is not None for journey in journeys),
    )


def _row(
    name: str,
    spent: Sequence[tuple[Usage, float]],
    *,
    well: int,
    decided_right: int,
    undecided: int,
    escalated: int,
) -> Way:
    decided = len(spent) - undecided
    check_whole((decided_right, decided - decided_right, undecided), len(spent))
    usage = Usage.total(each for each, _ in spent)
    seconds = sorted(each for _, each in spent)
    return Way(
        name=name,
        items=len(spent),
        well=well,
        decided=decided,
        decided_right=decided_right,
        undecided=undecided,
        escalated=escalated,
        calls=usage.calls,
        cost_usd=usage.cost_usd,
        seconds=(
            math.fsum(seconds) / len(seconds) if seconds else 0.0,
            _percentile(seconds, 0.5),
            _percentile(seconds, 0.95),
        ),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0
