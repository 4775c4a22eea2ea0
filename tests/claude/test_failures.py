"""What each documented error means."""

from datetime import UTC, datetime

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
