"""Second opinions: when they are asked for, what they change, and whether they pay."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.policy import LIFTED, StagePolicy, is_wanted, weighed, whether_it_pays
from pipeline.claude.billing import PriceTable
from pipeline.claude.workloads import price_ratio
from pipeline.config import Thresholds, TokenPrices
from pipeline.model.questions import Signal
from pipeline.model.records import Doubt

HAIKU_4_5, SONNET_4_6 = "claude-haiku-4-5", "claude-sonnet-4-6"
PRICES_OF_4_6 = TokenPrices(
    input=Decimal(3),
    output=Decimal(15),
    cache_write_5m=Decimal(0),
    cache_write_1h=Decimal(0),
    cache_read=Decimal(0),
)

signals = st.builds(
    Signal,
    code=st.sampled_from([*sorted(LIFTED), "arithmetic", "unclear"]),
    strength=st.floats(0, 1),
    detail=st.just("a"),
)


def doubt(code: str) -> Doubt:
    return Doubt(code=code, detail="a")


@pytest.mark.parametrize(
    ("confidence", "wanted"),
    [(0.49, False), (0.5, True), (0.84, True), (0.85, False), (5, False), (float("nan"), False)],
)
def test_it_is_wanted_where_an_answer_is_neither_sure_nor_hopeless(
    confidence: float, wanted: bool
) -> None:
    assert is_wanted(confidence=confidence, doubts=[]) == wanted
    lifted = [doubt(code) for code in LIFTED]
    assert is_wanted(confidence=confidence, doubts=lifted) == wanted


def test_it_is_not_wanted_where_the_event_is_escalated_anyway() -> None:
    doubts = [doubt("low_confidence"), doubt("arithmetic")]
    assert not is_wanted(confidence=0.6, doubts=doubts)


@given(st.lists(signals))
def test_an_agreement_lifts_what_the_answer_says_of_itself_in_numbers_and_nothing_else(
    given_signals: list[Signal],
) -> None:
    kept = weighed(given_signals, ())
    assert kept == tuple(signal for signal in given_signals if signal.code not in LIFTED)


@given(st.lists(signals), st.lists(st.text(max_size=5), min_size=1))
def test_a_disagreement_is_a_doubt_and_takes_none_away(
    given_signals: list[Signal], fields: list[str]
) -> None:
    before = StagePolicy(Thresholds()).doubts(given_signals)
    after = StagePolicy(Thresholds()).doubts(weighed(given_signals, fields))
    assert set(before) < set(after)
    assert {each.code for each in set(after) - set(before)} == {"second_opinion"}


def test_a_disagreement_names_the_fields() -> None:
    (signal,) = weighed([], ["intent", "priority"])
    assert signal.detail == "A second answer disagrees: intent, priority."


@pytest.mark.parametrize(
    ("haiku", "sonnet", "price", "pays"),
    [
        ("claude-haiku-5-5", "claude-sonnet-5-5", "0.05", True),
        (HAIKU_4_5, SONNET_4_6, "0.33", False),
        (HAIKU_4_5, "claude-sonnet-5-5", "0.50", False),
    ],
)
def test_whether_it_pays_follows_from_the_price_table(
    haiku: str, sonnet: str, price: str, pays: bool
) -> None:
    ratio = price_ratio(PriceTable({SONNET_4_6: PRICES_OF_4_6}), haiku, sonnet)
    assert ratio is not None
    assert f"{ratio:.2f}" == price
    assert whether_it_pays(ratio, spares=0.3).pays is pays


def test_it_says_why() -> None:
    assert whether_it_pays(Decimal("0.05"), 0.3).because == (
        "it costs 0.05 of a call to the second model and is expected to spare 0.30 of one"
    )
    assert "1.20 of asking the second alone" in whether_it_pays(Decimal("0.5"), 1).because


def test_it_does_not_pay_where_nobody_knows_the_price() -> None:
    assert price_ratio(PriceTable(), "claude-haiku-5-5", "unheard-of") is None
    assert not whether_it_pays(None, 1).pays


@given(st.decimals(0, 2, places=3), st.floats(0, 1))
def test_it_never_pays_to_ask_what_costs_more_than_it_spares(ratio: Decimal, spares: float) -> None:
    verdict = whether_it_pays(ratio, spares)
    assert not verdict.pays or ratio < Decimal(str(spares))
