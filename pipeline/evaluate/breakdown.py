"""The same figures by label, by field and by doubt, and what is out of scope."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.escalation.policy import StagePolicy
from pipeline.evaluate.cascade import Case, End, Journey
from pipeline.evaluate.cells import cells, check_whole
from pipeline.evaluate.rules import counted_doubts

OUT_OF_SCOPE = "(out of scope)"
UNLABELLED = "(all)"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The events of one true label.

    Args:
        label: The true one.
        items: Events.
        haiku: Haiku's answers that are right.
        sonnet: Sonnet's.
        ends: Where the cascade's ended; together all items.
    """

    label: str
    items: int
    haiku: int
    sonnet: int
    ends: Mapping[End, int]

    @property
    def escalated(self) -> int:
        """Those that were not taken from Haiku."""
        return self.items - self.ends[End.HAIKU_RIGHT] - self.ends[End.HAIKU_WRONG]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field, of the events that have a label for it.

    Args:
        field: Of the result.
        items: Events with a label for it.
        haiku: Haiku's answers that have it right.
        sonnet: Sonnet's.
        decided: Events with an answer that the cascade took.
        cascade: Of these, the ones that have it right.
    """

    field: str
    items: int
    haiku: int
    sonnet: int
    decided: int
    cascade: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What became of events that belong to no label, beside the others.

    Args:
        items: Out of scope.
        escalated: Of these.
        haiku_took: Wrongly accepted from Haiku.
        sonnet_took: Wrongly accepted from Sonnet.
        reviewed: Left to a person, as they should be.
        others: In scope.
        others_escalated: Of these.
    """

    items: int
    escalated: int
    haiku_took: int
    sonnet_took: int
    reviewed: int
    others: int
    others_escalated: int


@dataclass(frozen=True, slots=True)
class DoubtRow:
    """A reason for escalation; an event may have several.

    Args:
        code: Of the doubt.
        items: Escalated for it, among others.
        alone: Escalated for nothing else.
        haiku_wrong: Of the items, those that Haiku had wrong: the doubt was right.
    """

    code: str
    items: int
    alone: int
    haiku_wrong: int


def by_label(journeys: Sequence[Journey]) -> list[LabelRow]:
    """A row a label; every event in exactly one of them."""
    groups: dict[str, list[Journey]] = {}
    for journey in journeys:
        groups.setdefault(_name(journey.case), []).append(journey)
    rows = [
        LabelRow(
            label=label,
            items=len(group),
            haiku=sum(journey.case.haiku.right for journey in group),
            sonnet=sum(journey.case.sonnet.right for journey in group),
            ends=cells(End, (journey.end for journey in group)),
        )
        for label, group in sorted(groups.items())
    ]
    check_whole((row.items for row in rows), len(journeys))
    return rows


def by_field(journeys: Sequence[Journey], fields: Sequence[str]) -> list[FieldRow]:
    """A row a field."""
    return [
        _field_row(name, [each for each in journeys if name in each.case.truth]) for name in fields
    ]


def scope(journeys: Sequence[Journey]) -> Scope:
    """Count what is out of scope."""
    outside = [journey for journey in journeys if journey.case.out_of_scope]
    inside = [journey for journey in journeys if not journey.case.out_of_scope]
    ended = cells(End, (journey.end for journey in outside))
    found = Scope(
        items=len(outside),
        escalated=sum(journey.worth is not None for journey in outside),
        haiku_took=ended[End.HAIKU_WRONG],
        sonnet_took=ended[End.SONNET_WRONG],
        reviewed=ended[End.REVIEW],
        others=len(inside),
        others_escalated=sum(journey.worth is not None for journey in inside),
    )
    check_whole((found.haiku_took, found.sonnet_took, found.reviewed), found.items)
    return found


def by_doubt(journeys: Sequence[Journey], policy: StagePolicy) -> list[DoubtRow]:
    """A row a reason, the most frequent first."""
    items: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for journey in journeys:
        codes = list(counted_doubts(journey.case.haiku, policy))
        items.update(codes)
        alone.update(codes if len(codes) == 1 else [])
        wrong.update(codes if not journey.case.haiku.right else [])
    return [DoubtRow(code, count, alone[code], wrong[code]) for code, count in items.most_common()]


def _field_row(name: str, journeys: Sequence[Journey]) -> FieldRow:
    decided = [journey for journey in journeys if journey.end is not End.REVIEW]
    return FieldRow(
        field=name,
        items=len(journeys),
        haiku=sum(journey.case.haiku.fields[name] for journey in journeys),
        sonnet=sum(journey.case.sonnet.fields[name] for journey in journeys),
        decided=len(decided),
        cascade=sum(_taken(journey)[name] for journey in decided),
    )


def _taken(journey: Journey) -> Mapping[str, bool]:
    return journey.case.haiku.fields if journey.worth is None else journey.case.sonnet.fields


def _name(case: Case) -> str:
    if case.out_of_scope:
        return OUT_OF_SCOPE
    return UNLABELLED if case.label is None else case.label
