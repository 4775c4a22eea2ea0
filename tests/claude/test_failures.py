"""What each documented error means."""

from datetime import UTC, datetime

import orjson
import pytest

from pipeline.claude.failures import Blocked, Reject, Retry, RetryKind, classify, retry_after
from tests.claude.server import body_of, shape

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def meaning(name: str) -> Retry | Blocked | Reject:
    recorded = shape(name)
    headers = {key.lower(): value for key, value in recorded["headers"].items()}
    return classify(recorded["status"], headers, body_of(recorded), now=NOW)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("overloaded", "overloaded"),
        ("server_error", "server_error"),
        ("gateway_timeout", "timed_out"),
        ("request_timeout", "timed_out"),
        ("conflict", "server_error"),
        ("rate_limited", "rate_limited"),
        ("rate_limited_bare", "rate_limited"),
        ("ramp_limit", "rate_limited"),
        ("html_502", "server_error"),
        ("html_400", "server_error"),
        ("empty_503", "server_error"),
    ],
)
def test_what_passes_is_asked_again(name: str, kind: RetryKind) -> None:
    failure = meaning(name)
    assert isinstance(failure, Retry)
    assert failure.kind == kind
    assert not failure.maybe_billed


@pytest.mark.parametrize(
    ("name", "scope", "hint"),
    [
        ("bad_key", "account", "ANTHROPIC_API_KEY"),
        ("billing", "account", "console"),
        ("forbidden", "model", "permission"),
        ("unknown_model", "model", "claude-haiku-9"),
        ("spend_limit_of_tier", "account", "monthly"),
        ("spend_limit_of_contract", "account", "contract"),
        ("spend_limit_of_own", "account", "usage limits"),
        ("credit_too_low", "account", "credit"),
        ("organization_on_hold", "account", "on hold"),
        ("html_404", "account", "ANTHROPIC_BASE_URL"),
    ],
)
def test_what_a_person_must_mend_blocks_and_says_so(name: str, scope: str, hint: str) -> None:
    failure = meaning(name)
    assert isinstance(failure, Blocked)
    assert failure.scope == scope
    assert hint in failure.because


@pytest.mark.parametrize("name", ["bad_request", "too_large", "html_413"])
def test_what_speaks_about_one_request_rejects_it(name: str) -> None:
    assert isinstance(meaning(name), Reject)


def test_growing_too_fast_is_told_apart_from_other_429s() -> None:
    ramp, other = meaning("ramp_limit"), meaning("rate_limited")
    assert isinstance(ramp, Retry)
    assert isinstance(other, Retry)
    assert (ramp.ramp, other.ramp) == (True, False)
    assert (ramp.after, other.after) == (10.0, 7.0)


def test_the_api_may_say_itself_that_a_400_is_worth_another_try() -> None:
    recorded = shape("bad_request")
    assert isinstance(classify(400, {"x-should-retry": "true"}, body_of(recorded)), Retry)


@pytest.mark.parametrize("status", [418, 451, 500, 502, 503, 520, 599])
def test_a_status_nobody_expects_is_the_services_fault_not_the_events(status: int) -> None:
    assert isinstance(classify(status, {}, b"?"), Retry)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("message", "is_ours"),
    [
        ("output_config.format.schema: Schema is too complex for compilation", True),
        ("Schema is too complex for compilation", True),
        ("thinking.type: 'disabled' is not supported by claude-sonnet-5-5", True),
        ("max_tokens: 200000 > 128000", True),
        ("model: claude-haiku-9 does not take images", True),
        ("`temperature` is not allowed", True),
        ("messages.0.content.1.image.source.base64: image exceeds 5 MB maximum", False),
        ("messages: text content blocks must be non-empty", False),
        ("prompt is too long: 1200000 tokens > 1000000 maximum", False),
        ("The model of the image cannot be told", False),
    ],
)
def test_a_400_about_the_frame_of_a_request_is_no_events_fault(message: str, is_ours: bool) -> None:
    body = orjson.dumps({"error": {"type": "invalid_request_error", "message": message}})
    failure = classify(400, {}, body)
    if is_ours:
        assert isinstance(failure, Blocked)
        assert failure.scope == "stage"
    else:
        assert isinstance(failure, Reject)
