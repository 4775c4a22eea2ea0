"""Everything that a report says, worked out of the recorded answers. Pure.

The same figures by label, by field and by doubt, and what is out of scope.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline.cascade.policy import StagePolicy
from pipeline.evaluate import strategies
from pipeline.evaluate.curves import (
    Bin,
    Coverage,
    Doubted,
    Pair,
    Trade,
    area,
    brier,
    calibration_error,
    cheapest,
    cheapest_at_random,
    coverage_at,
    random_area,
    reliability,
    risk_coverage,
    trades,
)
from pipeline.evaluate.proposal import (
    Part,
    Proposal,
    counted_doubts,
    doubt,
    measured,
    propose,
    split,
    takes_with,
    with_confidence,
)
from pipeline.evaluate.strategies import (
    CascadeTrace,
    Case,
    End,
    EscalationValue,
    Strategy,
    TierOutcome,
    cells,
    check_whole,
    ends,
    travel_all,
    worths,
)

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


def by_label(journeys: Sequence[CascadeTrace]) -> list[LabelRow]:
    """A row a label; every event in exactly one of them."""
    groups: dict[str, list[CascadeTrace]] = {}
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


def by_field(journeys: Sequence[CascadeTrace], fields: Sequence[str]) -> list[FieldRow]:
    """A row a field."""
    return [
        _field_row(name, [each for each in journeys if name in each.case.truth]) for name in fields
    ]


def scope(journeys: Sequence[CascadeTrace]) -> Scope:
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


def by_doubt(journeys: Sequence[CascadeTrace], policy: StagePolicy) -> list[DoubtRow]:
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


def _field_row(name: str, journeys: Sequence[CascadeTrace]) -> FieldRow:
    decided = [journey for journey in journeys if journey.end is not End.REVIEW]
    return FieldRow(
        field=name,
        items=len(journeys),
        haiku=sum(journey.case.haiku.fields[name] for journey in journeys),
        sonnet=sum(journey.case.sonnet.fields[name] for journey in journeys),
        decided=len(decided),
        cascade=sum(_taken(journey)[name] for journey in decided),
    )


def _taken(journey: CascadeTrace) -> Mapping[str, bool]:
    return journey.case.haiku.fields if journey.worth is None else journey.case.sonnet.fields


def _name(case: Case) -> str:
    if case.out_of_scope:
        return OUT_OF_SCOPE
    return UNLABELLED if case.label is None else case.label


SWEPT = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
"""Thresholds of the stated confidence that the cascade is worked out for, beside the one set."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the confidence of one model is worth."""

    items: int
    error: float | None
    brier: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """How well doubt tells wrong answers of Haiku from right ones.

    Args:
        curve: Risk by coverage.
        area: Under it; 0 is best.
        random: The same for an order by chance.
        coverage_at_target: The largest share that could be taken at the target accuracy, as seen
            here; no promise.
    """

    curve: tuple[Coverage, ...]
    area: float | None
    random: float | None
    coverage_at_target: float


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What the target accuracy costs.

    Args:
        points: Accuracy and cost by share escalated, the most doubted first; none where a price
            is not known.
        by_doubt: The cheapest that reaches the target; None where none does.
        by_lot: The same where events are escalated at random.
        all_sonnet: Sonnet alone.
    """

    points: tuple[Trade, ...]
    by_doubt: Trade | None
    by_lot: Trade | None
    all_sonnet: Trade | None


@dataclass(frozen=True, slots=True)
class Swept:
    """The cascade with another threshold of the stated confidence.

    Args:
        threshold: Of `low_confidence`.
        is_set: Whether it is the one in force.
        taken: Answers of Haiku that are taken.
        taken_wrong: Of these.
        way: The cascade as a whole.
    """

    threshold: float
    is_set: bool
    taken: int
    taken_wrong: int
    way: Strategy


@dataclass(frozen=True, slots=True)
class Policies:
    """What is a doubt in either tier."""

    haiku: StagePolicy
    sonnet: StagePolicy


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one run. Every table counts each of the `items` once."""

    items: int
    haiku: Strategy
    sonnet: Strategy
    cascade: Strategy
    ends: dict[End, int]
    worths: dict[EscalationValue, int]
    labels: tuple[LabelRow, ...]
    fields: tuple[FieldRow, ...]
    scope: Scope
    doubts: tuple[DoubtRow, ...]
    calibration_haiku: Calibration
    calibration_sonnet: Calibration
    selection: Selection
    bargain: TradeOff
    sweep: tuple[Swept, ...]
    parts: dict[Part, int]
    proposal: Proposal
    journeys: tuple[CascadeTrace, ...]


def measure(
    cases: Sequence[Case],
    policies: Policies,
    *,
    fields: Sequence[str],
    target: float,
    candidates: int,
) -> Measures:
    """Work out everything.

    Args:
        cases: Answered by both tiers.
        policies: As set.
        fields: That are compared.
        target: The share of accepted answers that shall be right.
        candidates: Thresholds that may be tried for it.
    """
    journeys = _travel(cases, policies)
    parts = split(
        [measured(case.id, case.haiku, policies.haiku) for case in cases], lambda each: each.id
    )
    return Measures(
        items=len(cases),
        haiku=strategies.alone("Haiku alone", cases, lambda case: case.haiku),
        sonnet=strategies.alone("Sonnet alone", cases, lambda case: case.sonnet),
        cascade=strategies.cascade("Cascade", journeys),
        ends=dict(ends(journeys)),
        worths=dict(worths(journeys)),
        labels=tuple(by_label(journeys)),
        fields=tuple(by_field(journeys, fields)),
        scope=scope(journeys),
        doubts=tuple(by_doubt(journeys, policies.haiku)),
        calibration_haiku=_calibration([case.haiku for case in cases]),
        calibration_sonnet=_calibration([case.sonnet for case in cases]),
        selection=_selection(cases, policies.haiku, target),
        bargain=_bargain(cases, policies.haiku, target),
        sweep=tuple(_sweep(cases, policies)),
        parts={part: len(found) for part, found in parts.items()},
        proposal=propose(parts, target, candidates=candidates),
        journeys=tuple(journeys),
    )


def _travel(cases: Sequence[Case], policies: Policies) -> list[CascadeTrace]:
    return travel_all(
        cases, haiku_takes=takes_with(policies.haiku), sonnet_takes=takes_with(policies.sonnet)
    )


def _calibration(outcome: Sequence[TierOutcome]) -> Calibration:
    stated = [(each.confidence, each.right) for each in outcome if each.confidence is not None]
    return Calibration(
        len(stated), calibration_error(stated), brier(stated), tuple(reliability(stated))
    )


def _selection(cases: Sequence[Case], policy: StagePolicy, target: float) -> Selection:
    answers = [Doubted(doubt(case.haiku, policy), case.haiku.right) for case in cases]
    curve = risk_coverage(answers)
    return Selection(
        tuple(curve), area(answers), random_area(answers), coverage_at(curve, 1 - target)
    )


def _bargain(cases: Sequence[Case], policy: StagePolicy, target: float) -> TradeOff:
    pairs = []
    for case in cases:
        first, second = case.haiku.usage.cost_usd, case.sonnet.usage.cost_usd
        if first is None or second is None:
            return TradeOff((), None, None, None)
        pairs.append(
            Pair(
                doubt=doubt(case.haiku, policy),
                haiku=_well(case, case.haiku),
                sonnet=_well(case, case.sonnet),
                haiku_usd=first,
                sonnet_usd=second,
            )
        )
    points = trades(pairs)
    only = sum((pair.sonnet_usd for pair in pairs), Decimal(0))
    accuracy = sum(pair.sonnet for pair in pairs) / len(pairs) if pairs else 0.0
    return TradeOff(
        points=tuple(points),
        by_doubt=cheapest(points, target),
        by_lot=cheapest_at_random(points, target),
        all_sonnet=Trade(1.0, accuracy, only) if pairs else None,
    )


def _well(case: Case, outcome: TierOutcome) -> bool:
    return outcome.gave_up if case.out_of_scope else outcome.right


def _sweep(cases: Sequence[Case], policies: Policies) -> list[Swept]:
    found = []
    for threshold in sorted({*SWEPT, policies.haiku.thresholds.low_confidence}):
        haiku = with_confidence(policies.haiku, threshold)
        journeys = _travel(cases, Policies(haiku, policies.sonnet))
        counted = ends(journeys)
        found.append(
            Swept(
                threshold=threshold,
                is_set=threshold == policies.haiku.thresholds.low_confidence,
                taken=counted[End.HAIKU_RIGHT] + counted[End.HAIKU_WRONG],
                taken_wrong=counted[End.HAIKU_WRONG],
                way=strategies.cascade(f"low_confidence = {threshold:g}", journeys),
            )
        )
    return found
