"""The cascade, worked out from recorded answers: where each event ends, and what that costs.

Nothing is asked here. Both tiers have answered every event, and the policy says which of the
answers would have been asked for and taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from pipeline.evaluate.cells import cells
from pipeline.events import Usage
from pipeline.signals import Signal


@dataclass(frozen=True, slots=True)
class Heard:
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
    haiku: Heard
    sonnet: Heard


class End(StrEnum):
    """Where an event ends. Each ends in exactly one of these."""

    HAIKU_RIGHT = "haiku_right"
    HAIKU_WRONG = "haiku_wrong"
    SONNET_RIGHT = "sonnet_right"
    SONNET_WRONG = "sonnet_wrong"
    REVIEW = "review"


class Worth(StrEnum):
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


Takes = Callable[[Heard], bool]
"""A policy: whether an answer is taken as it is."""


@dataclass(frozen=True, slots=True)
class Journey:
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
    worth: Worth | None
    usage: Usage
    seconds: float

    @property
    def well(self) -> bool:
        """Whether it ended as it should: a right answer, or a person for what is out of scope."""
        if self.case.out_of_scope:
            return self.end is End.REVIEW
        return self.end in {End.HAIKU_RIGHT, End.SONNET_RIGHT}


def travel(case: Case, *, haiku_takes: Takes, sonnet_takes: Takes) -> Journey:
    """Send one event through the cascade."""
    haiku, sonnet = case.haiku, case.sonnet
    if haiku_takes(haiku):
        end = End.HAIKU_RIGHT if haiku.right else End.HAIKU_WRONG
        return Journey(case, end, None, haiku.usage, haiku.seconds)
    if sonnet_takes(sonnet):
        end = End.SONNET_RIGHT if sonnet.right else End.SONNET_WRONG
    else:
        end = End.REVIEW
    usage = haiku.usage + sonnet.usage
    return Journey(case, end, _worth(case, end), usage, haiku.seconds + sonnet.seconds)


def travel_all(cases: Sequence[Case], *, haiku_takes: Takes, sonnet_takes: Takes) -> list[Journey]:
    """Send all events through the cascade."""
    return [travel(case, haiku_takes=haiku_takes, sonnet_takes=sonnet_takes) for case in cases]


def ends(journeys: Sequence[Journey]) -> Mapping[End, int]:
    """How many events end where; every event in one cell."""
    return cells(End, [journey.end for journey in journeys])


def worths(journeys: Sequence[Journey]) -> Mapping[Worth, int]:
    """What the escalations were good for; every escalated event in one cell."""
    return cells(Worth, [journey.worth for journey in journeys if journey.worth is not None])


def _worth(case: Case, end: End) -> Worth:
    if case.out_of_scope:
        return Worth.CAUGHT if end is End.REVIEW else Worth.MISSED
    match case.haiku.right, case.sonnet.right:
        case False, True:
            return Worth.FIXED
        case True, False:
            return Worth.BROKEN
        case True, True:
            return Worth.WASTED
        case _:
            return Worth.HOPELESS
