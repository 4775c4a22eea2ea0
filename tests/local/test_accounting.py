from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.billing import PriceTable
from pipeline.config import TokenPrices
from pipeline.local.accounting import (
    DEAD_LETTER,
    REVIEW,
    Coordinates,
    Ending,
    account,
    alternatives,
    percentile,
)
from pipeline.model.records import Usage

STAGES = ("tickets", "images")


def event(offset: int, stage: str = "tickets", partition: int = 0) -> Coordinates:
    return Coordinates(f"{stage}.raw", partition, offset)


def published(*events: Coordinates) -> dict[Coordinates, str]:
    return {each: each.topic.removesuffix(".raw") for each in events}


def test_each_event_with_one_end_is_fine() -> None:
    found = account(
        published(event(0), event(1), event(2), event(0, "images")),
        [
            Ending(event(0), "haiku"),
            Ending(event(1), REVIEW, doubts=("unclear", "low_confidence")),
            Ending(event(2), "sonnet", doubts=("unclear",)),
            Ending(event(0, "images"), DEAD_LETTER, reason="bad_image"),
        ],
        STAGES,
    )
    assert found.ok
    tickets = found.stages["tickets"]
    assert tickets.published == 3
    assert tickets.outcomes == {"haiku": 1, "sonnet": 1, REVIEW: 1}
    assert tickets.doubts == {"unclear": 2, "low_confidence": 1}
    assert found.stages["images"].reasons == {"bad_image": 1}


def test_nothing_published_is_fine() -> None:
    assert account({}, [], STAGES).ok


def test_an_event_without_an_end_is_lost() -> None:
    found = account(published(event(0), event(1)), [Ending(event(1), REVIEW)], STAGES)
    assert not found.ok
    assert found.lost == (event(0),)


def test_two_ends_are_one_too_many_even_of_the_same_kind() -> None:
    ends = [Ending(event(0), "haiku"), Ending(event(0), "haiku")]
    found = account(published(event(0)), ends, STAGES)
    assert not found.ok
    assert found.repeated == (event(0),)


def test_one_lost_and_one_repeated_do_not_make_up_for_each_other() -> None:
    ends = [Ending(event(0), "haiku"), Ending(event(0), DEAD_LETTER)]
    found = account(published(event(0), event(1)), ends, STAGES)
    assert found.stages["tickets"].published == sum(found.stages["tickets"].outcomes.values())
    assert not found.ok
    assert (found.lost, found.repeated) == ((event(1),), (event(0),))


def test_an_end_of_what_nobody_published_is_not_fine() -> None:
    found = account({}, [Ending(event(7), "haiku")], STAGES)
    assert not found.ok
    assert found.unknown == (event(7),)


@pytest.mark.parametrize("field", ["topic", "partition", "offset"])
def test_events_are_distinguished_by_their_place_in_kafka(field: str) -> None:
    other = {
        "topic": event(0, "images"),
        "partition": event(0, partition=1),
        "offset": event(1),
    }[field]
    ends = [Ending(event(0), "haiku"), Ending(other, "haiku")]
    assert account(published(event(0), other), ends, STAGES).ok


def test_costs_are_summed_and_unknown_if_one_is() -> None:
    def with_cost(usd: Decimal | None) -> Ending:
        return Ending(event(0), "haiku", usage=Usage(calls=1, cost_usd=usd))

    known = account(published(event(0)), [with_cost(Decimal("0.01"))] * 2, STAGES)
    unknown = account(published(event(0)), [with_cost(Decimal(1)), with_cost(None)], STAGES)
    assert known.total.usage.cost_usd == Decimal("0.02")
    assert unknown.total.usage.cost_usd is None


def test_events_are_also_counted_by_kind_and_in_all() -> None:
    kinds = {event(0): "routine", event(1): "hard"}
    ends = [Ending(event(0), "haiku"), Ending(event(1), REVIEW, doubts=("unclear",))]
    found = account(published(event(0), event(1), event(2)), ends, STAGES, kinds=kinds)
    assert found.total.published == 3
    assert found.total.outcomes == {"haiku": 1, REVIEW: 1}
    assert found.kinds["hard"].outcomes == {"review": 1}
    assert found.kinds["hard"].doubts == {"unclear": 1}
    assert found.kinds["routine"].published == 1


def test_the_first_answer_of_an_escalated_event_is_what_its_escalation_says() -> None:
    first, both = Usage(calls=1, input_tokens=10), Usage(calls=2, input_tokens=30)
    ends = [
        Ending(event(0), "haiku", usage=Usage(calls=1, input_tokens=7)),
        Ending(event(1), REVIEW, usage=both),
        Ending(event(2), DEAD_LETTER),
    ]
    events = published(event(0), event(1), event(2))
    found = account(events, ends, STAGES, escalated={event(1): first})
    assert [usage.input_tokens for usage in found.first] == [7, 10]
    assert found.escalated == 1


def test_costs_are_split_by_tier_also_while_an_escalation_waits() -> None:
    def cost(usd: str) -> Usage:
        return Usage(calls=1, cost_usd=Decimal(usd))

    found = account(
        published(event(0), event(1), event(2)),
        [
            Ending(event(0), "haiku", usage=cost("0.01")),
            Ending(event(1), "sonnet", usage=cost("0.07")),
        ],
        STAGES,
        escalated={event(1): cost("0.02"), event(2): cost("0.04")},
    )
    assert found.haiku_usd == Decimal("0.07")
    assert found.sonnet_usd == Decimal("0.05")


def test_other_ways_are_priced_with_the_tokens_of_the_first_answers() -> None:
    usage = Usage(
        calls=1,
        input_tokens=1_000_000,
        cache_read_tokens=3_000_000,
        cache_write_tokens=2_000_000,
        output_tokens=500_000,
    )
    rates = {
        "small": prices_of(input=1, output=5, write=2, read=Decimal("0.1")),
        "large": prices_of(input=10, output=50, write=20, read=1),
    }
    found = alternatives([usage], PriceTable(rates), haiku="small", sonnet="large")
    assert found.sonnet_alone == 10 + 3 + 40 + 25
    assert found.plain_loop == 6 + Decimal("2.5")
    reused = alternatives([usage, Usage(reused=1)], PriceTable(rates), haiku="small", sonnet="no")
    assert reused.plain_loop == 2 * (6 + Decimal("2.5"))
    assert reused.sonnet_alone is None


def prices_of(*, input: int, output: int, write: int, read: int | Decimal) -> TokenPrices:  # noqa: A002
    return TokenPrices(
        input=Decimal(input),
        output=Decimal(output),
        cache_write_5m=Decimal(write),
        cache_write_1h=Decimal(write),
        cache_read=Decimal(read),
    )


def test_what_a_simulated_model_decided_is_called_simulated() -> None:
    def by(model: str) -> bool:
        ends = [Ending(event(0), "haiku", model=model)]
        return account(published(event(0)), ends, STAGES).is_simulated

    assert by("simulated-claude-haiku-5-5")
    assert not by("claude-haiku-5-5")


coordinates = st.builds(event, st.integers(0, 8), st.sampled_from(STAGES), st.integers(0, 2))


@given(st.sets(coordinates), st.lists(coordinates))
def test_it_is_fine_exactly_if_the_ends_are_the_events(
    events: set[Coordinates], ended: list[Coordinates]
) -> None:
    found = account(published(*events), [Ending(each, "haiku") for each in ended], STAGES)
    assert found.ok == (Counter(ended) == Counter(events))


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_value_that_enough_others_do_not_exceed(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_of_no_values_there_is_no_percentile() -> None:
    assert percentile([], 0.5) is None
