"""Everything that a report says, worked out of the recorded answers. Pure.

The figures of each strategy, by label, by field and by doubt; what accepting more of the answers
costs in errors and what escalating more of them buys; whether a stated confidence means what it
says. Answers with equal doubt cannot be ranked, so a curve has a point where a group of them
ends, and none within it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from pipeline.cascade.policy import StagePolicy
from pipeline.evaluate import strategies
from pipeline.evaluate.proposal import (
    Aim,
    Proposal,
    accepts_with,
    counted_doubts,
    doubt,
    measured,
    propose,
    published_by,
    with_confidence,
)
from pipeline.evaluate.strategies import (
    CascadeTrace,
    Case,
    End,
    EscalationValue,
    Strategy,
    TierOutcome,
    check_whole,
    ends,
    escalations,
    trace,
)
from pipeline.model.records import Tier

OUT_OF_SCOPE = "(out of scope)"
UNLABELLED = "(all)"
SWEPT = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
"""Thresholds of the stated confidence that the cascade is worked out for, beside the one set."""
BINS = 10


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The events of one true label: how many each model has right, and where they ended."""

    label: str
    items: int
    haiku: int
    sonnet: int
    escalated: int
    ends: Mapping[End, int]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field, of the events that have a label for it: how many each model has right."""

    field: str
    items: int
    haiku: int
    sonnet: int
    decided: int  # events with an answer that the cascade accepted
    cascade: int  # of these, the ones that have it right


@dataclass(frozen=True, slots=True)
class Scope:
    items: int  # out of scope
    escalated: int  # of these
    haiku_took: int  # wrongly accepted from Haiku
    sonnet_took: int  # wrongly accepted from Sonnet
    reviewed: int  # left to a person, as they should be
    others: int  # in scope
    others_escalated: int  # of these


@dataclass(frozen=True, slots=True)
class DoubtRow:
    """A reason for escalation; an event may have several."""

    code: str
    items: int  # escalated for it, among others
    alone: int  # escalated for nothing else
    haiku_wrong: int  # of the items, those that Haiku had wrong: the doubt was right


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence lies in one interval; the last one includes its end."""

    low: float
    high: float
    items: int
    confidence: float | None  # their mean; None where there are none
    accuracy: float | None  # the share of them that is right; None where there are none


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the confidence of one model is worth: 0 is best, None where none was stated."""

    items: int
    error: float | None  # expected calibration error: the mean gap of confidence and accuracy
    brier: float | None  # the mean squared difference between confidence and truth
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    coverage: float  # the share of all answers that is accepted: those with the least doubt
    risk: float  # the share of the accepted ones that is wrong


@dataclass(frozen=True, slots=True)
class Selection:
    """How well doubt separates wrong answers of Haiku from right ones."""

    curve: tuple[Coverage, ...]
    area: float | None  # under the curve (AURC): the mean risk over all coverages; None: no answers
    random: float | None  # the same for an order by chance: the share of errors
    coverage_at_target: float  # the largest at the target accuracy, as seen here; no promise


@dataclass(frozen=True, slots=True)
class Pair:
    """One event, answered by both models: Haiku's doubt, and whether each is right."""

    doubt: float
    haiku: bool
    sonnet: bool
    haiku_usd: Decimal
    sonnet_usd: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """What a share of escalations comes to: the accuracy of final answers, the cost of all."""

    escalated: float
    accuracy: float
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class TradeOff:
    """None of it where a price is not known, or there are no events."""

    points: tuple[Trade, ...] = ()  # by share escalated, the most doubted first
    by_doubt: Trade | None = None  # the cheapest that reaches the target; None where none does
    by_lot: Trade | None = None  # the same where events are escalated at random, on average
    all_sonnet: Trade | None = None


@dataclass(frozen=True, slots=True)
class Swept:
    threshold: float  # of `low_confidence`
    is_set: bool  # whether it is the one in force
    taken: int  # answers of Haiku that are accepted
    taken_wrong: int  # of these
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one run. Every table counts each of the `items` once."""

    items: int
    haiku: Strategy
    sonnet: Strategy
    cascade: Strategy
    ends: Mapping[End, int]
    escalations: Mapping[EscalationValue, int]
    labels: tuple[LabelRow, ...]
    fields: tuple[FieldRow, ...]
    out_of_scope: Scope
    doubts: tuple[DoubtRow, ...]
    calibration: Mapping[Tier, Calibration]
    risk_coverage: Selection
    cost_accuracy: TradeOff
    sweep: tuple[Swept, ...]
    proposal: Proposal
    traces: tuple[CascadeTrace, ...]


def measure(
    cases: Sequence[Case],
    policies: Mapping[Tier, StagePolicy],
    *,
    fields: Sequence[str],
    aim: Aim,
) -> Measures:
    """Work out everything; `aim` says what is to be certified."""
    first = policies[Tier.HAIKU]
    traces = _traces(cases, first, policies[Tier.SONNET])
    answers = [(doubt(case.haiku, first), case.haiku.right) for case in cases]
    tested = [measured(case.haiku, first, case.key) for case in cases]
    return Measures(
        items=len(cases),
        haiku=strategies.alone("Haiku alone", cases, lambda case: case.haiku),
        sonnet=strategies.alone("Sonnet alone", cases, lambda case: case.sonnet),
        cascade=strategies.cascade("Cascade", traces),
        ends=ends(traces),
        escalations=escalations(traces),
        labels=tuple(by_label(traces)),
        fields=tuple(field_row(traces, name) for name in fields),
        out_of_scope=scope(traces),
        doubts=tuple(by_doubt(traces, first)),
        calibration={
            Tier.HAIKU: calibration(case.haiku for case in cases),
            Tier.SONNET: calibration(case.sonnet for case in cases),
        },
        risk_coverage=selection(answers, aim.risk),
        cost_accuracy=_trade_off(cases, first, aim.target),
        sweep=tuple(_sweep(cases, policies)),
        proposal=propose(tested, aim, published_by(traces)),
        traces=tuple(traces),
    )


def _traces(cases: Sequence[Case], haiku: StagePolicy, sonnet: StagePolicy) -> list[CascadeTrace]:
    first, second = accepts_with(haiku), accepts_with(sonnet)
    return [trace(case, haiku_accepts=first, sonnet_accepts=second) for case in cases]


def by_label(traces: Sequence[CascadeTrace]) -> list[LabelRow]:
    groups: dict[str, list[CascadeTrace]] = {}
    for each in traces:
        label = OUT_OF_SCOPE if each.case.out_of_scope else each.case.label
        groups.setdefault(UNLABELLED if label is None else label, []).append(each)
    rows = [
        LabelRow(
            label=label,
            items=len(group),
            haiku=sum(each.case.haiku.right for each in group),
            sonnet=sum(each.case.sonnet.right for each in group),
            escalated=sum(each.escalation is not None for each in group),
            ends=ends(group),
        )
        for label, group in sorted(groups.items())
    ]
    check_whole((row.items for row in rows), len(traces))
    return rows


def field_row(traces: Sequence[CascadeTrace], name: str) -> FieldRow:
    labelled = [each for each in traces if name in each.case.truth]
    decided = [each for each in labelled if each.end is not End.REVIEW]
    taken = [each.case.sonnet if each.escalation else each.case.haiku for each in decided]
    return FieldRow(
        field=name,
        items=len(labelled),
        haiku=sum(each.case.haiku.fields[name] for each in labelled),
        sonnet=sum(each.case.sonnet.fields[name] for each in labelled),
        decided=len(decided),
        cascade=sum(each.fields[name] for each in taken),
    )


def scope(traces: Sequence[CascadeTrace]) -> Scope:
    outside = [each for each in traces if each.case.out_of_scope]
    inside = [each for each in traces if not each.case.out_of_scope]
    ended = ends(outside)
    found = Scope(
        items=len(outside),
        escalated=sum(each.escalation is not None for each in outside),
        haiku_took=ended[End.HAIKU_WRONG],
        sonnet_took=ended[End.SONNET_WRONG],
        reviewed=ended[End.REVIEW],
        others=len(inside),
        others_escalated=sum(each.escalation is not None for each in inside),
    )
    check_whole((found.haiku_took, found.sonnet_took, found.reviewed), found.items)
    return found


def by_doubt(traces: Sequence[CascadeTrace], policy: StagePolicy) -> list[DoubtRow]:
    items: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for each in traces:
        codes = list(counted_doubts(each.case.haiku, policy))
        items.update(codes)
        alone.update(codes if len(codes) == 1 else [])
        wrong.update(codes if not each.case.haiku.right else [])
    return [DoubtRow(code, count, alone[code], wrong[code]) for code, count in items.most_common()]


def calibration(outcomes: Iterable[TierOutcome]) -> Calibration:
    """Hold confidences against what was right, in ten intervals of equal width."""
    stated = [(each.confidence, each.right) for each in outcomes if each.confidence is not None]
    sorted_in: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, right in stated:
        sorted_in[min(int(confidence * BINS), BINS - 1)].append((confidence, right))
    bins, gaps = [], []
    for index, within in enumerate(sorted_in):
        mean = accuracy = None
        if within:
            mean = math.fsum(confidence for confidence, _ in within) / len(within)
            accuracy = sum(right for _, right in within) / len(within)
            gaps.append(len(within) * abs(mean - accuracy))
        bins.append(Bin(index / BINS, (index + 1) / BINS, len(within), mean, accuracy))
    squares = math.fsum((confidence - right) ** 2 for confidence, right in stated)
    error, brier = (
        (math.fsum(gaps) / len(stated), squares / len(stated)) if stated else (None, None)
    )
    return Calibration(len(stated), error, brier, tuple(bins))


def selection(answers: Sequence[tuple[float, bool]], risk: float) -> Selection:
    """The curve, from the least doubted answers to all of them.

    Each answer is its doubt, from 0 to infinity where it cannot be accepted, and whether it is
    right. Within a group of equal doubt the area is the mean over all orders it could be in.
    """
    points, risks, accepted, wrong = [], [], 0, 0
    for _, equal in groupby(sorted(answers), key=itemgetter(0)):
        group = list(equal)
        errors = sum(not right for _, right in group)
        risks += [
            (wrong + errors * taken / len(group)) / (accepted + taken)
            for taken in range(1, len(group) + 1)
        ]
        accepted += len(group)
        wrong += errors
        points.append(Coverage(accepted / len(answers), wrong / accepted))
    return Selection(
        curve=tuple(points),
        area=math.fsum(risks) / len(answers) if answers else None,
        random=wrong / len(answers) if answers else None,
        coverage_at_target=max(
            (each.coverage for each in points if each.risk <= risk), default=0.0
        ),
    )


def _trade_off(cases: Sequence[Case], policy: StagePolicy, target: float) -> TradeOff:
    pairs = []
    for case in cases:
        first, second = case.haiku.usage.cost_usd, case.sonnet.usage.cost_usd
        if first is None or second is None:
            return TradeOff()
        haiku, sonnet = (
            each.gave_up if case.out_of_scope else each.right for each in (case.haiku, case.sonnet)
        )
        pairs.append(Pair(doubt(case.haiku, policy), haiku, sonnet, first, second))
    return trade_off(pairs, target)


def trade_off(pairs: Sequence[Pair], target: float) -> TradeOff:
    if not pairs:
        return TradeOff()
    right, escalated = sum(pair.haiku for pair in pairs), 0
    cost = sum((pair.haiku_usd for pair in pairs), Decimal(0))
    points = [Trade(0.0, right / len(pairs), cost)]
    ordered = sorted(pairs, key=lambda pair: -pair.doubt)
    for _, group in groupby(ordered, key=lambda pair: pair.doubt):
        for pair in group:
            escalated += 1
            right += pair.sonnet - pair.haiku
            cost += pair.sonnet_usd
        points.append(Trade(escalated / len(pairs), right / len(pairs), cost))
    none, everything = points[0], points[-1]
    by_lot = None
    if none.accuracy >= target:
        by_lot = none
    elif everything.accuracy >= target:
        share = (target - none.accuracy) / (everything.accuracy - none.accuracy)
        between = everything.cost_usd - none.cost_usd
        by_lot = Trade(share, target, none.cost_usd + between * Decimal(str(share)))
    sonnet_usd = sum((pair.sonnet_usd for pair in pairs), Decimal(0))
    return TradeOff(
        points=tuple(points),
        by_doubt=next((point for point in points if point.accuracy >= target), None),
        by_lot=by_lot,
        all_sonnet=Trade(1.0, sum(pair.sonnet for pair in pairs) / len(pairs), sonnet_usd),
    )


def _sweep(cases: Sequence[Case], policies: Mapping[Tier, StagePolicy]) -> list[Swept]:
    found = []
    first, second = policies[Tier.HAIKU], policies[Tier.SONNET]
    in_force = first.thresholds.low_confidence
    for threshold in sorted({*SWEPT, in_force}):
        traces = _traces(cases, with_confidence(first, threshold), second)
        counted = ends(traces)
        found.append(
            Swept(
                threshold=threshold,
                is_set=threshold == in_force,
                taken=counted[End.HAIKU_RIGHT] + counted[End.HAIKU_WRONG],
                taken_wrong=counted[End.HAIKU_WRONG],
                strategy=strategies.cascade(f"low_confidence = {threshold:g}", traces),
            )
        )
    return found
