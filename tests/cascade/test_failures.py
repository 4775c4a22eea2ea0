"""Calls without a usable answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.policy import (
    FAILURES,
    LARGEST_LIMIT,
    MAX_ATTEMPTS,
    limit_for_repetition,
    signal_of,
)
from pipeline.model.errors import AnswerError, Malformed, Refused, Rejected, TruncatedResponse
from pipeline.model.records import Usage


def failure(kind: type[AnswerError]) -> AnswerError:
    return kind("why", usage=Usage(), model="m", seconds=0.1)


kinds = pytest.mark.parametrize("kind", [Refused, TruncatedResponse, Malformed, Rejected])


def test_what_was_cut_off_gets_twice_the_room_once() -> None:
    assert limit_for_repetition(failure(TruncatedResponse), attempt=1, limit=600) == 1200
    assert limit_for_repetition(failure(TruncatedResponse), attempt=2, limit=1200) is None


def test_room_ends_where_a_request_would_need_streaming() -> None:
    assert (
        limit_for_repetition(failure(TruncatedResponse), attempt=1, limit=15_000) == LARGEST_LIMIT
    )
    assert limit_for_repetition(failure(TruncatedResponse), attempt=1, limit=LARGEST_LIMIT) is None


def test_what_was_malformed_is_asked_once_more() -> None:
    assert limit_for_repetition(failure(Malformed), attempt=1, limit=600) == 600
    assert limit_for_repetition(failure(Malformed), attempt=2, limit=600) is None


@pytest.mark.parametrize("kind", [Refused, Rejected])
def test_what_will_not_change_is_not_repeated(kind: type[AnswerError]) -> None:
    assert limit_for_repetition(failure(kind), attempt=1, limit=600) is None


@given(
    st.sampled_from([Refused, TruncatedResponse, Malformed]),
    st.integers(1, 5),
    st.integers(1, 2 * LARGEST_LIMIT),
)
def test_repetition_ends_and_never_asks_for_less(
    kind: type[AnswerError], attempt: int, limit: int
) -> None:
    again = limit_for_repetition(failure(kind), attempt=attempt, limit=limit)
    assert again is None or (attempt < MAX_ATTEMPTS and again >= limit)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(Refused, "refused"), (TruncatedResponse, "cut_off"), (Malformed, "malformed")],
)
def test_each_failure_is_a_signal_of_full_strength(kind: type[AnswerError], code: str) -> None:
    signal = signal_of(failure(kind))
    assert (signal.code, signal.strength, signal.detail) == (code, 1.0, "why")
    assert code in FAILURES
