"""One way to answer a set of events, as one row: how accurate, how expensive, how slow.

The cascade, worked out from recorded answers: where each event ends, and what that costs.

Nothing is asked here. Both tiers have answered every event, and the policy says which of the
answers would have been asked for and taken.

Counting into cells: every item in exactly one, or there is no table at all.

Other settings to compare with those in force, given as `NAME=VALUE`.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, JsonValue, ValidationError

from pipeline.config import Settings, StageThresholds
from pipeline.model.errors import UsageError
from pipeline.model.questions import Signal
from pipeline.model.records import Usage

CellT = TypeVar("CellT", bound=StrEnum)


def cells(kinds: type[CellT], items: Iterable[CellT]) -> Mapping[CellT, int]:
    """Count items by kind; a kind without items has a 0.

    Raises:
        RuntimeError: The cells do not add up to the items: a fault of the program.
    """
    found = Counter(items)
    counted = {kind: found[kind] for kind in kinds}
    check_whole(counted.values(), found.total())
    return counted


def check_whole(counts: Iterable[int], items: int) -> None:
    """Make sure that each of the items was counted once.

    Raises:
        RuntimeError: It was not: a fault of the program.
    """
    if (counted := sum(counts)) != items:
        raise RuntimeError(f"{items} items are in cells that count {counted}")


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What one tier said about a labelled event, beside the truth.

    Args:
        right: Whether the answer is what the label says. Of an event out of scope no answer is.
        fields: The same for each field that has a label.
        said: The label it chose; None where the stage has none.
        gave_up: There was no usable answer, or it says that it is unclear.
        confidence: As stated; None where there was no usable answer.
        signals: What speaks against the answer.
        usage: What it cost.
        seconds: In calls.
        model: Who answered.
        result: What would have been published; None where there was no usable answer.
    """

    right: bool
    fields: Mapping[str, bool]
    said: str | None
    gave_up: bool
    confidence: float | None
    signals: tuple[Signal, ...]
    usage: Usage
    seconds: float
    model: str
    result: Mapping[str, JsonValue] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled event that both tiers have answered.

    Args:
        id: The event's.
        label: The true one; None where the stage gives none.
        out_of_scope: It belongs to no label: the right thing is not to take any answer.
        truth: The true value of each field.
        haiku: The first tier's.
        sonnet: The second tier's.
    """

    id: str
    label: str | None
    out_of_scope: bool
    truth: Mapping[str, JsonValue] = field(repr=False)
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

    FIXED = "fixed"
    """Haiku was wrong, Sonnet is right."""
    BROKEN = "broken"
    """Haiku was right, Sonnet is wrong."""
    WASTED = "wasted"
    """Both are right: Haiku's answer would have done."""
    HOPELESS = "hopeless"
    """Both are wrong."""
    CAUGHT = "out_of_scope_caught"
    """There is no right answer, and none was taken: a person looks at it."""
    MISSED = "out_of_scope_missed"
    """There is no right answer, and Sonnet's was taken."""


Takes = Callable[[TierOutcome], bool]
"""A policy: whether an answer is taken as it is."""


@dataclass(frozen=True, slots=True)
class CascadeTrace:
    """One event's way through the cascade.

    Args:
        case: The event.
        end: Where it ended.
        worth: Of its escalation; None where it was not escalated.
        usage: Of the tiers that were asked.
        seconds: The same.
    """

    case: Case
    end: End
    worth: EscalationValue | None
    usage: Usage
    seconds: float

    @property
    def well(self) -> bool:
        """Whether it ended as it should: a right answer, or a person for what is out of scope."""
        if self.case.out_of_scope:
            return self.end is End.REVIEW
        return self.end in {End.HAIKU_RIGHT, End.SONNET_RIGHT}


def travel(case: Case, *, haiku_takes: Takes, sonnet_takes: Takes) -> CascadeTrace:
    """Send one event through the cascade."""
    haiku, sonnet = case.haiku, case.sonnet
    if haiku_takes(haiku):
        end = End.HAIKU_RIGHT if haiku.right else End.HAIKU_WRONG
        return CascadeTrace(case, end, None, haiku.usage, haiku.seconds)
    if sonnet_takes(sonnet):
        end = End.SONNET_RIGHT if sonnet.right else End.SONNET_WRONG
    else:
        end = End.REVIEW
    usage = haiku.usage + sonnet.usage
    return CascadeTrace(case, end, _worth(case, end), usage, haiku.seconds + sonnet.seconds)


def travel_all(
    cases: Sequence[Case], *, haiku_takes: Takes, sonnet_takes: Takes
) -> list[CascadeTrace]:
    """Send all events through the cascade."""
    return [travel(case, haiku_takes=haiku_takes, sonnet_takes=sonnet_takes) for case in cases]


def ends(journeys: Sequence[CascadeTrace]) -> Mapping[End, int]:
    """How many events end where; every event in one cell."""
    return cells(End, [journey.end for journey in journeys])


def worths(journeys: Sequence[CascadeTrace]) -> Mapping[EscalationValue, int]:
    """What the escalations were good for; every escalated event in one cell."""
    return cells(
        EscalationValue, [journey.worth for journey in journeys if journey.worth is not None]
    )


def _worth(case: Case, end: End) -> EscalationValue:
    if case.out_of_scope:
        return EscalationValue.CAUGHT if end is End.REVIEW else EscalationValue.MISSED
    match case.haiku.right, case.sonnet.right:
        case False, True:
            return EscalationValue.FIXED
        case True, False:
            return EscalationValue.BROKEN
        case True, True:
            return EscalationValue.WASTED
        case _:
            return EscalationValue.HOPELESS


@dataclass(frozen=True, slots=True)
class Strategy:
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


def alone(name: str, cases: Sequence[Case], tier: Callable[[Case], TierOutcome]) -> Strategy:
    """One model, every answer taken as it comes.

    An event out of scope ends well when the model says that it is unclear, or gives no answer.
    """
    outcome = [tier(case) for case in cases]
    # Without a policy an answer is only missing where there is none; what is out of scope, and
    # said to be unclear, nobody takes for a label.
    undecided = [
        each.result is None or (case.out_of_scope and each.gave_up)
        for case, each in zip(cases, outcome, strict=True)
    ]
    right = sum(each.right for each in outcome)
    out = sum(case.out_of_scope and lost for case, lost in zip(cases, undecided, strict=True))
    return _row(
        name,
        [(each.usage, each.seconds) for each in outcome],
        well=right + out,
        decided_right=right,
        undecided=sum(undecided),
        escalated=0,
    )


def cascade(name: str, journeys: Sequence[CascadeTrace]) -> Strategy:
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
) -> Strategy:
    decided = len(spent) - undecided
    check_whole((decided_right, decided - decided_right, undecided), len(spent))
    usage = Usage.total(each for each, _ in spent)
    seconds = sorted(each for _, each in spent)
    return Strategy(
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


_BETWEEN = re.compile(r",(?=\s*[\w.]+=)")
"""A comma before the next name; those within a value are the value's."""
_ROOTS = frozenset({"stages", "models", "claude", "escalation"})


def variant(settings: Settings, stage: str, changes: str) -> Settings:
    """The settings with some of them changed.

    Args:
        settings: In force.
        stage: Whose settings, and whose thresholds, are meant where a name does not begin with
            a table.
        changes: Comma-separated, e.g. `events_per_request=8` or
            `models.haiku=claude-haiku-4-5,thresholds.low_confidence=0.2`.

    Raises:
        UsageError: There is no such setting, or it cannot have that value.
    """
    changed = settings
    for change in _BETWEEN.split(changes):
        name, equals, value = change.strip().partition("=")
        if not equals:
            raise UsageError(f"{change!r} is not NAME=VALUE, e.g. events_per_request=8.")
        path = name.split(".")
        if path[0] == "thresholds" and path[1:]:
            table = changed.thresholds
            own = table.stages.get(stage, StageThresholds())
            stages = {**table.stages, stage: _with(own, path[1:], _value(value), name)}
            changed = changed.model_copy(
                update={"thresholds": table.model_copy(update={"stages": stages})}
            )
            continue
        if path[0] not in _ROOTS:
            path = ["stages", stage, *path]
        changed = _with(changed, path, _value(value), name)
    return changed


def _with(section: Any, path: Sequence[str], value: object, name: str) -> Any:  # noqa: ANN401 - any table of settings
    first, *rest = path
    if not isinstance(section, BaseModel) or first not in type(section).model_fields:
        raise UsageError(f"There is no setting {name!r}.")
    new = _with(getattr(section, first), rest, value, name) if rest else value
    if rest:
        return section.model_copy(update={first: new})
    try:
        return type(section).model_validate({**_fields(section), first: new})
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise UsageError(f"{name} cannot be {value!r}: {why}.") from error


def _fields(section: BaseModel) -> dict[str, object]:
    """Those that are set: an override says nothing of the others."""
    return {name: getattr(section, name) for name in section.model_fields_set}


def _value(text: str) -> object:
    """JSON where it is some, else the text as it stands."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
