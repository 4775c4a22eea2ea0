from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.billing import PriceTable
from pipeline.claude.request_body import CacheTtl
from pipeline.claude.workloads import CostRow, Models, Workload, cost_table, use_case_rows

MODELS = Models()
TABLE = PriceTable()


def table(workload: Workload, models: Models = MODELS) -> dict[str, CostRow]:
    return {row.way: row for row in cost_table(workload, TABLE, models)}


def test_the_published_rows_follow_from_their_own_prices_but_for_the_first() -> None:
    rows = use_case_rows(TABLE, MODELS)
    assert [(int(row.haiku), int(row.sonnet)) for row in rows] == [
        (160, 600),
        (80, 300),
        (600, 2250),
        (800, 3000),
    ]
    assert {row.saving for row in rows} == {Decimal("0.73")}
    first, *others = rows
    assert first.remark == (
        "does not follow from 1,000,000 requests of 200 tokens: "
        "Sonnet $3,000 should be $600, a saving of 95% should be 73%"
    )
    assert not any(row.remark for row in others)


def test_the_same_rows_at_todays_prices() -> None:
    rows = use_case_rows(TABLE, MODELS)
    assert [f"{row.haiku_now} / {row.sonnet_now}" for row in rows] == [
        "20.00 / 400.00",
        "10.00 / 200.00",
        "75.00 / 1500.00",
        "100.00 / 2000.00",
    ]


@pytest.mark.parametrize(("escalated", "times_haiku"), [("0", 1), ("0.1", 3), ("0.2", 5)])
def test_a_cascade_costs_haiku_and_the_escalated_share_of_sonnet(
    escalated: str, times_haiku: int
) -> None:
    rows = table(Workload(1_000_000, 412, 61, escalated=Decimal(escalated)))
    haiku, cascade = rows["haiku"].usd_per_thousand, rows["cascade"].usd_per_thousand
    assert haiku is not None
    assert cascade == haiku * times_haiku


def test_the_prompt_cache_and_batches_make_it_cheaper() -> None:
    plain = table(Workload(1_000_000, 740, 60, static_tokens=700))["haiku"]
    cached = table(Workload(1_000_000, 740, 60, static_tokens=700, cached=True))["haiku"]
    batch = table(Workload(1_000_000, 740, 60, static_tokens=700, batch=True))["haiku"]
    eight = table(Workload(1_000_000, 740, 60, static_tokens=700, events_per_request=8))["haiku"]
    assert plain.usd_per_month == Decimal("104.00")
    assert cached.usd_per_month == Decimal("41.00")
    assert batch.usd_per_month == Decimal("52.00")
    assert eight.usd_per_month == Decimal("42.75")


def test_a_static_part_that_is_too_short_is_not_cached_and_the_row_says_so() -> None:
    workload = Workload(1_000, 500, 60, static_tokens=400, cached=True)
    row = table(workload)["haiku"]
    assert "less than 512" in row.note
    assert row.usd_per_month == table(Workload(1_000, 500, 60))["haiku"].usd_per_month


def test_long_prompts_pay_the_higher_band() -> None:
    short, long = table(Workload(1_000, 100_000)), table(Workload(1_000, 100_001))
    assert short["haiku"].usd_per_month == Decimal("10.00")
    assert long["haiku"].usd_per_month == Decimal("50.00")


def test_an_unknown_model_has_no_figure_rather_than_a_wrong_one() -> None:
    row = table(Workload(1_000, 100), Models(haiku="claude-next"))["haiku"]
    assert row.usd_per_month is None
    assert "not known" in row.note


@pytest.mark.parametrize(
    "wrong",
    [
        {"events": -1},
        {"static_tokens": 101},
        {"events_per_request": 0},
        {"escalated": Decimal("1.1")},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Workload(**{"events": 1, "input_tokens": 100, **wrong})  # type: ignore[arg-type]


@given(st.integers(0, 10**7), st.integers(0, 10**5), st.integers(0, 10**4))
def test_haiku_never_costs_more_than_sonnet_nor_sonnet_than_opus(
    events: int, tokens: int, output: int
) -> None:
    rows = table(Workload(events, tokens, output))
    costs = [rows[way].usd_per_month for way in ("haiku", "sonnet", "opus")]
    assert costs == sorted(cost for cost in costs if cost is not None)


def test_only_haiku_shares_requests() -> None:
    alone, shared = (
        table(Workload(1_000_000, 740, 60, static_tokens=700, events_per_request=size))
        for size in (1, 8)
    )
    assert alone["sonnet"].usd_per_month == shared["sonnet"].usd_per_month
    both = Workload(
        1_000_000, 740, 60, static_tokens=700, events_per_request=8, escalated=Decimal("0.1")
    )
    assert both.events_per_request == 8
    haiku, sonnet = shared["haiku"].usd_per_month, shared["sonnet"].usd_per_month
    assert haiku is not None
    assert sonnet is not None
    assert table(both)["cascade"].usd_per_month == haiku + sonnet / 10


def test_what_comes_seldom_finds_the_prompt_cache_cold_and_pays_for_writing_it() -> None:
    def each(events: int, ttl: CacheTtl = "5m") -> Decimal:
        row = table(Workload(events, 740, 0, static_tokens=700, cached=True, cache_ttl=ttl))
        usd = row["haiku"].usd_per_thousand
        assert usd is not None
        return usd

    often, seldom = each(10_000_000), each(0)
    # 700 tokens read for a tenth of the price, or written for a quarter more of it.
    assert (often, seldom) == (Decimal("0.011"), Decimal("0.0915"))
    assert often < each(20_000) < seldom
    # An entry that lives for an hour is found by more, and costs more to write.
    assert each(20_000, "1h") < each(20_000)
    assert each(0, "1h") > seldom


def test_it_is_said_where_what_is_escalated_finds_the_cache_cold() -> None:
    few = Workload(20_000, 740, 60, static_tokens=700, cached=True, escalated=Decimal("0.1"))
    assert "of what is escalated finds the prompt cache cold" in table(few)["cascade"].note
    assert not table(few)["haiku"].note
    many = Workload(2_000_000, 740, 60, static_tokens=700, cached=True, escalated=Decimal("0.1"))
    assert not table(many)["cascade"].note


@given(st.integers(0, 10**9), st.integers(1, 100))
def test_the_cold_share_is_a_share(events: int, together: int) -> None:
    workload = Workload(events, 100, cached=True)
    assert 0 <= workload.cold_share(together=together) <= 1
