"""What a person writes: places and times."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.errors import UsageError
from pipeline.operators.selection import Place, Span, moment, parse_place, span

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.integers(0, 999_999_999), st.integers(0, 10**18 - 1))
def test_a_place_is_read_as_it_is_written(partition: int, offset: int) -> None:
    assert parse_place(str(Place(partition, offset))) == (partition, offset)


@pytest.mark.parametrize("text", ["", "3", "3:", ":3", "3:-1", "a:1", "1:2:3", "٣:1", "1: 2"])
def test_what_is_no_place_is_wrong_use(text: str) -> None:
    with pytest.raises(UsageError, match="PARTITION:OFFSET"):
        parse_place(text)


def test_a_time_is_absolute_with_or_without_a_zone_or_some_time_ago() -> None:
    assert moment("2026-11-22T12:00", NOON) == NOON
    assert moment("2026-11-22T13:00+01:00", NOON) == NOON
    assert moment("2026-11-22T12:00:00Z", NOON) == NOON
    assert moment("2026-11-22", NOON) == NOON - timedelta(hours=12)
    assert moment("90m", NOON) == NOON - timedelta(minutes=90)
    assert moment("7d", NOON) == NOON - timedelta(days=7)


@pytest.mark.parametrize("text", ["", "yesterday", "12", "-5m", "5 m", "2026-13-01"])
def test_what_is_no_time_is_wrong_use(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        moment(text, NOON)


def test_a_span_begins_with_its_first_moment_and_ends_before_its_last() -> None:
    hour = span("2h", "1h", NOON)
    assert NOON - timedelta(hours=2) in hour
    assert NOON - timedelta(hours=1) not in hour
    assert NOON.astimezone(timezone(timedelta(hours=5))) in Span()
