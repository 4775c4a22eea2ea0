"""Money, times and counts that were read can be added up and written again, whatever they were."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipeline.model.records import MOST_COUNT, MOST_MONEY, Money, Source, Timestamp, Usage

MONEY: TypeAdapter[Decimal] = TypeAdapter(Money)
TIME: TypeAdapter[datetime] = TypeAdapter(Timestamp)
COUNTS = st.integers(0, MOST_COUNT)
AMOUNTS = st.decimals(0, MOST_MONEY, places=12) | st.none()


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    return Usage(calls=draw(COUNTS), input_tokens=draw(COUNTS), cost_usd=draw(AMOUNTS))


@given(usages(), usages())
def test_the_sum_of_two_usages_is_one_that_can_be_read_again(one: Usage, other: Usage) -> None:
    total = one + other
    assert Usage.model_validate_json(total.model_dump_json()) == total
    assert total.calls == min(one.calls + other.calls, MOST_COUNT)
    if one.cost_usd is None or other.cost_usd is None:
        assert total.cost_usd is None


@pytest.mark.parametrize(
    "text", ["0", "0.000072", "1234567890.123456789012", "0." + "0" * 59 + "1", "1000000000000"]
)
def test_what_is_published_as_money_is_read_as_the_same(text: str) -> None:
    assert MONEY.validate_python(text) == Decimal(text)
    assert json.loads(MONEY.dump_json(MONEY.validate_python(text))) == text


@pytest.mark.parametrize(
    "value",
    [
        *("1e3", "1E-3", "+1", "-1", " 1", "1_000", "١", ".5", "5.", "", "NaN", "sNaN", "Infinity"),
        *("9" * 14, "0." + "1" * 61, Decimal("1E-61"), Decimal("-0.1"), Decimal("NaN"), -1, 1e13),
        *(Decimal("1E+13"), Decimal("0E-9999999"), float("inf"), float("nan"), None, [], {}),
    ],
)
def test_anything_else_is_no_money(value: object) -> None:
    with pytest.raises(ValidationError):
        MONEY.validate_python(value)


@given(st.text(st.sampled_from("0123456789.eE+-NaInfty_ "), max_size=30))
def test_text_is_money_that_can_be_written_briefly_or_is_refused_in_order(text: str) -> None:
    try:
        found = MONEY.validate_python(text)
    except ValidationError:
        return
    assert len(MONEY.dump_json(found)) < 100


NOON = "2026-11-22T12:00:00Z"
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=ZONES) | st.datetimes(timezones=st.just(UTC)))
def test_a_time_can_be_written_in_utc_or_is_refused_in_order(moment: datetime) -> None:
    try:
        found = TIME.validate_python(moment)
    except ValidationError:
        return
    assert found == moment
    assert datetime.fromisoformat(json.loads(TIME.dump_json(found))).year >= 1970


@pytest.mark.parametrize(
    "text",
    ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59.999Z"],
)
def test_a_time_outside_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TIME.validate_python(text)


def test_the_ends_of_the_calendar_are_taken() -> None:
    for text in ("1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"):
        assert json.loads(TIME.dump_json(TIME.validate_python(text))) == text


def test_places_are_those_that_kafka_has() -> None:
    place = {
        "topic": "t",
        "partition": 2**31 - 1,
        "offset": 2**63 - 1,
        "timestamp": datetime.now(UTC),
    }
    assert Source.model_validate(place).offset == 2**63 - 1
    for name, value in (("partition", 2**31), ("offset", 2**63), ("offset", -1)):
        with pytest.raises(ValidationError):
            Source.model_validate(place | {name: value})
