"""Token buckets and the headers that state them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.simulated.rate_limiting import (
    Bucket,
    Limits,
    ModelLimiter,
    SentHeaders,
    as_sent,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_an_empty_bucket_refuses_and_says_how_long() -> None:
    limiter = ModelLimiter(Limits(requests=2), 0)
    assert limiter.admit(10, 0) is None
    assert limiter.admit(10, 0) is None
    assert limiter.admit(10, 0) == ("requests", 30.0)


def test_a_bucket_refills_continuously() -> None:
    limiter = ModelLimiter(Limits(requests=60), 0)
    for _ in range(60):
        assert limiter.admit(1, 0) is None
    assert limiter.admit(1, 0.5) is not None
    assert limiter.admit(1, 1.0) is None


def test_input_tokens_are_taken_at_the_start_and_output_tokens_at_the_end() -> None:
    limiter = ModelLimiter(Limits(input_tokens=1000, output_tokens=100), 0)
    assert limiter.admit(900, 0) is None
    assert limiter.admit(200, 0) == ("input-tokens", 6.0)
    limiter.settle(160, 0)
    refused = limiter.admit(100, 0)
    assert refused is not None
    assert refused[0] == "output-tokens"
    assert 36 < refused[1] < 37


def test_a_request_larger_than_the_bucket_waits_for_a_full_one() -> None:
    limiter = ModelLimiter(Limits(input_tokens=600), 0)
    assert limiter.admit(6000, 0) is None
    refused = limiter.admit(6000, 0)
    assert refused is not None
    assert refused[1] == 600


def test_a_smaller_limit_holds_at_once_and_keeps_the_share() -> None:
    limiter = ModelLimiter(Limits(requests=100), 0)
    for _ in range(50):
        limiter.admit(1, 0)
    limiter.change(Limits(requests=50), 0)
    assert limiter.headers(0, NOON)["anthropic-ratelimit-requests-remaining"] == "25"
    limiter.change(Limits(), 0)
    assert limiter.headers(0, NOON) == {}


def test_a_limit_may_be_enforced_over_a_shorter_window() -> None:
    limiter = ModelLimiter(Limits(requests=600), 0, window=1)
    admitted = sum(limiter.admit(1, 0) is None for _ in range(100))
    assert admitted == 10


def test_headers_are_as_documented() -> None:
    limiter = ModelLimiter(Limits(1000, 2_000_000, 400_000), 0)
    limiter.admit(1600, 0)
    limiter.settle(100_000, 0)
    headers = limiter.headers(0, NOON)
    prefix = "anthropic-ratelimit"
    assert headers[f"{prefix}-requests-limit"] == "1000"
    assert headers[f"{prefix}-requests-remaining"] == "999"
    assert headers[f"{prefix}-requests-reset"] == "2026-11-22T12:00:00Z"
    assert headers[f"{prefix}-input-tokens-remaining"] == "1998000"
    assert headers[f"{prefix}-output-tokens-reset"] == "2026-11-22T12:00:15Z"
    # The most restrictive of the two stands for all tokens.
    assert headers[f"{prefix}-tokens-limit"] == "400000"
    assert headers[f"{prefix}-tokens-remaining"] == "300000"


@given(
    st.integers(1, 200),
    st.lists(st.floats(0, 5), min_size=1, max_size=300),
)
def test_never_more_than_a_full_bucket_and_its_refill_is_let_in(
    per_minute: int, pauses: list[float]
) -> None:
    limiter, now, admitted = ModelLimiter(Limits(requests=per_minute), 0), 0.0, 0
    for pause in pauses:
        now += pause
        admitted += limiter.admit(1, now) is None
    assert admitted <= per_minute + now * per_minute / 60 + 1e-6


@given(st.integers(1, 1000), st.floats(0, 1000), st.floats(0, 100))
def test_after_the_time_that_it_names_a_bucket_has_what_was_wanted(
    per_minute: int, taken: float, later: float
) -> None:
    bucket = Bucket(per_minute, 0)
    bucket.take(taken, 0)
    seconds = bucket.seconds_until(1, later)
    assert bucket.level(later + seconds) >= 1 - 1e-6


def test_a_workspaces_limit_counts_what_is_read_from_the_cache_beside_the_organisations() -> None:
    limiter = ModelLimiter(Limits(input_tokens=2_000, all_input_tokens=10_000), 0)
    assert limiter.admit(100, 0, cache_reads=8_000) is None
    headers = limiter.headers(0, NOON)
    assert headers["anthropic-ratelimit-input-tokens-limit"] == "10000"
    assert headers["anthropic-ratelimit-input-tokens-remaining"] == "2000"
    refused = limiter.admit(100, 0, cache_reads=8_000)
    assert refused is not None
    assert refused[0] == "all-input-tokens"
    assert refused[1] == pytest.approx(37.2)
    assert limiter.admit(100, 0) is None


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ("announced", {"retry-after", "anthropic-ratelimit-requests-limit"}),
        (
            "renamed",
            {"llm_provider-retry-after", "llm_provider-anthropic-ratelimit-requests-limit"},
        ),
        ("retry_after", {"retry-after"}),
        ("none", set()),
    ],
)
def test_a_gateway_passes_on_what_it_likes_of_the_limits(
    sent: SentHeaders, names: set[str]
) -> None:
    headers = {"retry-after": "7", "anthropic-ratelimit-requests-limit": "1000"}
    assert as_sent(headers, sent).keys() == names
