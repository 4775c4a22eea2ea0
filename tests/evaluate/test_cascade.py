"""A cascade worked out from recorded answers: every event once, every cent counted."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.policy import StagePolicy
from pipeline.config import SonnetThresholds, Thresholds
from pipeline.evaluate import strategies
from pipeline.evaluate.measures import by_doubt, by_label, field_row, scope
from pipeline.evaluate.proposal import accepts_with
from pipeline.evaluate.strategies import (
    Accepts,
    CascadeTrace,
    Case,
    End,
    EscalationValue,
    TierOutcome,
    check_whole,
    ends,
    escalations,
    trace,
)
from tests.evaluate.making import case, outcome

SURE, UNSURE = 0.95, 0.4
HAIKU, SONNET = StagePolicy(Thresholds()), StagePolicy(SonnetThresholds())


def sonnet(right: bool, *, confidence: float = 0.9, gave_up: bool = False) -> TierOutcome:
    return outcome(right, confidence=confidence, usd="0.02", seconds=2.0, gave_up=gave_up)


TEN = [
    case("taken-right-1", outcome(True, confidence=SURE), sonnet(True)),
    case("taken-right-2", outcome(True, confidence=SURE), sonnet(False)),
    case("taken-right-3", outcome(True, confidence=SURE), sonnet(True)),
    case("taken-wrong", outcome(False, confidence=SURE), sonnet(True)),
    case("fixed", outcome(False, confidence=UNSURE), sonnet(True)),
    case("broken", outcome(True, confidence=UNSURE), sonnet(False)),
    case("wasted", outcome(True, confidence=UNSURE), sonnet(True)),
    case("hopeless", outcome(False, confidence=None), sonnet(False, confidence=0.2)),
    case("caught", outcome(False, confidence=UNSURE), sonnet(False, gave_up=True), oos=True),
    case("missed", outcome(False, confidence=UNSURE), sonnet(False), oos=True),
]


def traces_of(
    found: list[Case], *, haiku_accepts: Accepts, sonnet_accepts: Accepts
) -> list[CascadeTrace]:
    return [
        trace(each, haiku_accepts=haiku_accepts, sonnet_accepts=sonnet_accepts) for each in found
    ]


def test_ten_events_come_to_what_was_computed_by_hand() -> None:
    traces = traces_of(TEN, haiku_accepts=accepts_with(HAIKU), sonnet_accepts=accepts_with(SONNET))
    assert ends(traces) == {
        End.HAIKU_RIGHT: 3,
        End.HAIKU_WRONG: 1,
        End.SONNET_RIGHT: 2,
        End.SONNET_WRONG: 2,
        End.REVIEW: 2,
    }
    assert escalations(traces) == {
        EscalationValue.FIXED: 1,
        EscalationValue.BROKEN: 1,
        EscalationValue.WASTED: 1,
        EscalationValue.HOPELESS: 1,
        EscalationValue.CAUGHT: 1,
        EscalationValue.MISSED: 1,
    }
    row = strategies.cascade("Cascade", traces)
    # Ten answers of Haiku at 0.001 and six of Sonnet at 0.02.
    assert row.cost_usd == Decimal("0.130")
    assert row.usd_per_thousand == Decimal("13.0")
    # Three from Haiku, two from Sonnet, and one that neither should decide.
    assert (row.well, row.accuracy) == (6, 0.6)
    assert (row.decided, row.decided_right, row.undecided, row.escalated) == (8, 5, 2, 6)
    assert row.accuracy_decided == 0.625
    # Four events of one second, six of three.
    assert row.seconds == (2.2, 3.0, 3.0)
    assert row.calls == 16


def test_each_model_alone_comes_to_what_was_computed_by_hand() -> None:
    first = strategies.alone("Haiku alone", TEN, lambda each: each.haiku)
    second = strategies.alone("Sonnet alone", TEN, lambda each: each.sonnet)
    assert (first.well, first.decided, first.undecided) == (5, 9, 1)
    assert first.cost_usd == Decimal("0.010")
    # Five right, and one out of scope that it calls unclear.
    assert (second.well, second.decided, second.undecided) == (6, 9, 1)
    assert second.cost_usd == Decimal("0.20")


def test_out_of_scope_is_counted_apart() -> None:
    traces = traces_of(TEN, haiku_accepts=accepts_with(HAIKU), sonnet_accepts=accepts_with(SONNET))
    found = scope(traces)
    assert (found.items, found.escalated, found.haiku_took, found.sonnet_took) == (2, 2, 0, 1)
    assert (found.reviewed, found.others, found.others_escalated) == (1, 8, 4)


def test_a_price_that_is_not_known_makes_the_cost_unknown() -> None:
    unknown = case("x", outcome(True, usd=None), sonnet(True))
    row = strategies.alone("Haiku alone", [unknown], lambda each: each.haiku)
    assert row.cost_usd is None
    assert row.usd_per_thousand is None


confidences = st.none() | st.sampled_from([0.1, 0.5, 0.69, 0.7, 0.71, 0.95])
answers = st.builds(
    lambda right, confidence, gave_up: outcome(
        right and confidence is not None, confidence=confidence, gave_up=gave_up
    ),
    st.booleans(),
    confidences,
    st.booleans(),
)


@st.composite
def cases(draw: st.DrawFn) -> list[Case]:
    found = []
    for number in range(draw(st.integers(0, 25))):
        oos = draw(st.booleans())
        pair = [draw(answers), draw(answers)]
        if oos:
            pair = [
                outcome(False, confidence=each.confidence, gave_up=each.gave_up) for each in pair
            ]
        label = draw(st.sampled_from(["billing", "sales"]))
        found.append(case(f"E-{number}", *pair, label=label, oos=oos))
    return found


@given(cases(), st.floats(0, 1))
def test_every_event_is_in_exactly_one_cell_of_each_table(
    found: list[Case], threshold: float
) -> None:
    policy = StagePolicy(Thresholds(low_confidence=threshold))
    traces = traces_of(
        found, haiku_accepts=accepts_with(policy), sonnet_accepts=accepts_with(SONNET)
    )
    assert sum(ends(traces).values()) == len(found)
    assert sum(row.items for row in by_label(traces)) == len(found)
    assert all(sum(row.ends.values()) == row.items for row in by_label(traces))
    outside = scope(traces)
    assert outside.items + outside.others == len(found)
    assert outside.haiku_took + outside.sonnet_took + outside.reviewed == outside.items
    escalated = sum(escalations(traces).values())
    assert escalated == outside.escalated + outside.others_escalated
    row = strategies.cascade("Cascade", traces)
    assert row.escalated == escalated
    assert row.decided + row.undecided == row.items == len(found)
    of_field = field_row(traces, "intent")
    assert of_field.items == outside.others
    assert of_field.haiku == sum(each.haiku.right for each in found)
    assert all(each.alone <= each.items for each in by_doubt(traces, policy))


@given(cases())
def test_taking_everything_is_haiku_alone_and_taking_nothing_asks_sonnet_about_all(
    found: list[Case],
) -> None:
    everything = traces_of(found, haiku_accepts=lambda _: True, sonnet_accepts=lambda _: True)
    nothing = traces_of(found, haiku_accepts=lambda _: False, sonnet_accepts=lambda _: True)
    haiku = strategies.alone("", found, lambda each: each.haiku)
    assert strategies.cascade("", everything).cost_usd == haiku.cost_usd
    both = sum((each.haiku.usage + each.sonnet.usage).calls for each in found)
    assert strategies.cascade("", nothing).calls == both


def test_a_table_that_does_not_add_up_is_a_fault() -> None:
    with pytest.raises(RuntimeError, match="cells"):
        check_whole([1, 2], 4)
