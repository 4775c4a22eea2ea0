"""Everything that a report says, worked out of the recorded answers. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline.escalation.policy import StagePolicy
from pipeline.evaluate import ways
from pipeline.evaluate.breakdown import (
    DoubtRow,
    FieldRow,
    LabelRow,
    Scope,
    by_doubt,
    by_field,
    by_label,
    scope,
)
from pipeline.evaluate.calibration import Bin, brier, calibration_error, reliability
from pipeline.evaluate.cascade import Case, End, Heard, Journey, Worth, ends, travel_all, worths
from pipeline.evaluate.curves import (
    Coverage,
    Doubted,
    Pair,
    Trade,
    area,
    cheapest,
    cheapest_at_random,
    coverage_at,
    random_area,
    risk_coverage,
    trades,
)
from pipeline.evaluate.parts import Part, split
from pipeline.evaluate.proposal import Proposal, propose
from pipeline.evaluate.rules import doubt, measured, takes_with, with_confidence
from pipeline.evaluate.ways import Way

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
class Bargain:
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
    way: Way


@dataclass(frozen=True, slots=True)
class Policies:
    """What is a doubt in either tier."""

    haiku: StagePolicy
    sonnet: StagePolicy


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one run. Every table counts each of the `items` once."""

    items: int
    haiku: Way
    sonnet: Way
    cascade: Way
    ends: dict[End, int]
    worths: dict[Worth, int]
    labels: tuple[LabelRow, ...]
    fields: tuple[FieldRow, ...]
    scope: Scope
    doubts: tuple[DoubtRow, ...]
    calibration_haiku: Calibration
    calibration_sonnet: Calibration
    selection: Selection
    bargain: Bargain
    sweep: tuple[Swept, ...]
    parts: dict[Part, int]
    proposal: Proposal
    journeys: tuple[Journey, ...]


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
        haiku=ways.alone("Haiku alone", cases, lambda case: case.haiku),
        sonnet=ways.alone("Sonnet alone", cases, lambda case: case.sonnet),
        cascade=ways.cascade("Cascade", journeys),
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


def _travel(cases: Sequence[Case], policies: Policies) -> list[Journey]:
    return travel_all(
        cases, haiku_takes=takes_with(policies.haiku), sonnet_takes=takes_with(policies.sonnet)
    )


def _calibration(heard: Sequence[Heard]) -> Calibration:
    stated = [(each.confidence, each.right) for each in heard if each.confidence is not None]
    return Calibration(
        len(stated), calibration_error(stated), brier(stated), tuple(reliability(stated))
    )


def _selection(cases: Sequence[Case], policy: StagePolicy, target: float) -> Selection:
    answers = [Doubted(doubt(case.haiku, policy), case.haiku.right) for case in cases]
    curve = risk_coverage(answers)
    return Selection(
        tuple(curve), area(answers), random_area(answers), coverage_at(curve, 1 - target)
    )


def _bargain(cases: Sequence[Case], policy: StagePolicy, target: float) -> Bargain:
    pairs = []
    for case in cases:
        first, second = case.haiku.usage.cost_usd, case.sonnet.usage.cost_usd
        if first is None or second is None:
            return Bargain((), None, None, None)
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
    return Bargain(
        points=tuple(points),
        by_doubt=cheapest(points, target),
        by_lot=cheapest_at_random(points, target),
        all_sonnet=Trade(1.0, accuracy, only) if pairs else None,
    )


def _well(case: Case, heard: Heard) -> bool:
    return heard.gave_up if case.out_of_scope else heard.right


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
                way=ways.cascade(f"low_confidence = {threshold:g}", journeys),
            )
        )
    return found
