"""What each documented error means."""

from datetime import UTC, datetime

import orjson
import pytest

from pipeline.claude.failures import (
    LONGEST_RETRY_AFTER,
    Blocked,
    Reject,
    Retry,
    RetryKind,
    classify,
    retry_after,
)
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
def test_what_a_person_must_fix_blocks_and_says_so(name: str, scope: str, hint: str) -> None:
    failure = meaning(name)
    assert isinstance(failure, Blocked)
    assert failure.scope == scope
    assert hint in failure.detail


@pytest.mark.parametrize("name", ["bad_request", "too_large", "html_413"])
def test_what_speaks_about_one_request_rejects_it(name: str) -> None:
    assert isinstance(meaning(name), Reject)


def test_growing_too_fast_is_distinguished_from_other_429s() -> None:
    ramp, other = meaning("ramp_limit"), meaning("rate_limited")
    assert isinstance(ramp, Retry)
    assert isinstance(other, Retry)
    assert (ramp.ramp, other.ramp) == (True, False)
    assert (ramp.after, other.after) == (10.0, 7.0)


BOTH = {"input_tokens", "output_tokens"}
ADVICE = "Please reduce the prompt length or the maximum tokens requested, or try again later."


@pytest.mark.parametrize(
    ("message", "limits"),
    [
        (f"Your organization's rate limit of 50 requests per minute. {ADVICE}", {"requests"}),
        (f"Above 20,000 input tokens per minute (org: 1, model: 2). {ADVICE}", {"input_tokens"}),
        (
            "The rate limit for your organization (x) of 8,000 output tokens per minute.",
            {"output_tokens"},
        ),
        (f"Number of tokens has exceeded your per-minute rate limit. {ADVICE}", BOTH),
        ("Too many tokens, please wait before trying again.", BOTH),
        ("Quota exceeded for online_prediction_requests_per_base_model", {"requests"}),
        ("Quota exceeded for online_prediction_input_tokens_per_minute", {"input_tokens"}),
        ("You have exceeded the token rate limit of your tier. Retry after 10 seconds.", BOTH),
        ("You have exceeded the call rate limit of your tier.", {"requests"}),
        ("Crossed TPM limit", BOTH),
        ("Crossed RPM limit", {"requests"}),
        ("Too many requests.", set()),
        (f"Slow down. {ADVICE}", set()),
    ],
)
def test_a_429_may_name_its_limit(message: str, limits: set[str]) -> None:
    failure = classify(429, {}, error(message))
    assert isinstance(failure, Retry)
    assert failure.limits == limits


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
        ({"llm_provider-retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "3600"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "1e12"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "inf"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "-inf"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Thu, 31 Dec 2099 23:59:59 GMT"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "Thu, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after-ms": "1e15", "retry-after": "7"}, LONGEST_RETRY_AFTER),
        ({"retry-after-ms": "nan", "retry-after": "7"}, 7.0),
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
        ("system: text content blocks must be non-empty", True),
        ("system.0: text content blocks must contain non-whitespace text", True),
        ("tools.0.input_schema: not like messages.0", True),
        ("messages.0.content.1.image.source.base64: image exceeds 5 MB maximum", False),
        ("messages: text content blocks must be non-empty", False),
        ("prompt is too long: 1200000 tokens > 1000000 maximum", False),
        ("The model of the image cannot be told", False),
        ("messages.0.content.0.text: 'This organization has been disabled' is not allowed", False),
        ("messages.0.content.0: your credit balance is too low, it says", False),
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


def error(message: str, code: str | None = None) -> bytes:
    details = {} if code is None else {"details": {"error_code": code}}
    return orjson.dumps(
        {"type": "error", "error": {"type": "invalid_request_error", "message": message, **details}}
    )


@pytest.mark.parametrize("status", [429, 503])
def test_what_a_capped_retry_after_said_is_in_the_reason(status: int) -> None:
    failure = classify(status, {"retry-after": "4294967"}, error("Later."))
    assert isinstance(failure, Retry)
    assert failure.after == LONGEST_RETRY_AFTER
    assert "retry-after: 4294967" in failure.detail


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    "message",
    [
        "This organization has been disabled.",
        (
            "This credential is only authorized for use with Claude Code and cannot be used for"
            " other API requests."
        ),
        "OAuth authentication is currently not allowed for this organization.",
        "Your credit balance is too low to access the Anthropic API.",
        "You have reached your specified API usage limits.",
    ],
)
def test_nothing_that_is_said_of_an_account_is_any_events_fault(status: int, message: str) -> None:
    failure = classify(status, {}, error(message))
    assert isinstance(failure, Blocked)
    assert (failure.scope, failure.unclear) == ("account", False)
    assert message in failure.detail


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "organization_on_hold"),
        (400, "claude_code_key_creator_not_member"),
        (400, "claude_code_version_too_old"),
        (400, "workspace_human_review_disabled"),
        (400, "workspace_policy_violation"),
        (400, "parent_organization_required"),
        (400, "organization_not_enrolled_in_beta"),
        (400, "cmek_key_disabled"),
        (402, "linked_organization_billing_unavailable"),
        (403, "api_key_scope_missing"),
        (403, "user_profile_not_billable"),
        (403, "sandbox_egress_restricted"),
        (429, "enforced_spend_limit_reached"),
    ],
)
def test_codes_of_an_account_stop_the_account(status: int, code: str) -> None:
    failure = classify(status, {}, error("No.", code))
    assert isinstance(failure, Blocked)
    assert failure.scope == "account"


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "message",
    [
        "Something new that nobody has seen.",
        "The request is invalid.",
        "messages.0.content.0.cache_control: not allowed here",
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        "This model is not available in your region.",
        "Access to this beta is not enabled for your workspace.",
        "",
    ],
)
def test_a_400_that_names_no_content_ends_no_event(status: int, message: str) -> None:
    failure = classify(status, {}, error(message))
    assert isinstance(failure, Blocked)
    assert failure.scope == "stage"


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 1200000 tokens > 1000000 maximum",
        "Prompt is too long",
        "Input is too long for requested model.",
        "Request payload size exceeds the limit: 31457280 bytes.",
        (
            "input length and `max_tokens` exceed context limit: 174167 + 64000 > 200000, decrease"
            " input length or `max_tokens` and try again"
        ),
        (
            "messages.0.content.2.image.source.base64.data: At least one of the image dimensions"
            " exceed max allowed size: 8000 pixels"
        ),
        "messages.0.content.0.image.source.base64: image cannot be empty",
        "messages: text content blocks must be non-empty",
        "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes",
        "Could not process image",
        "Could not process PDF",
        "The PDF specified was not valid.",
        "The PDF specified is password protected.",
        "A maximum of 600 PDF pages may be provided.",
        "Image was specified using the image/png media type, but it is image/jpeg",
        "Invalid base64 data",
        (
            'litellm.BadRequestError: AnthropicException - {"type":"error","error":{"type":'
            '"invalid_request_error","message":"messages.0.content.1.image.source.base64: odd"}}'
        ),
        "litellm.ContextWindowExceededError: AnthropicError - prompt is too long: 209303 tokens",
        "ValidationException: messages.0.content.0: too odd",
        "messages[0].content[1]: odd",
    ],
)
def test_a_400_that_names_what_the_event_brought_rejects_it(message: str) -> None:
    failure = classify(400, {}, error(message))
    assert isinstance(failure, Reject)
    assert not failure.filtered


def test_a_code_of_an_image_rejects_it_and_a_413_always_does() -> None:
    assert isinstance(classify(400, {}, error("No.", "image_dimensions_too_large")), Reject)
    code = "request_body_too_large_after_decoding"
    assert isinstance(classify(413, {}, error("No.", code)), Reject)
    assert isinstance(classify(413, {}, b""), Reject)


@pytest.mark.parametrize("status", [400, 403])
def test_what_a_filter_withheld_is_no_dead_letter_and_stops_nobody_else(status: int) -> None:
    said = "Output blocked by content filtering policy"
    failure = classify(status, {}, error(said))
    assert isinstance(failure, Reject)
    assert failure.filtered
    assert isinstance(classify(403, {}, f"<html>{said}</html>".encode()), Blocked)


@pytest.mark.parametrize(
    "body",
    [b'{"message":"Input is too long for requested model."}', b'{"error":"prompt is too long"}'],
)
def test_gateways_may_leave_out_the_frame_around_an_error(body: bytes) -> None:
    assert isinstance(classify(400, {}, body), Reject)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 410])
def test_a_page_between_here_and_the_api_may_dislike_one_event_or_all(status: int) -> None:
    failure = classify(status, {}, b"<html>Forbidden</html>")
    assert isinstance(failure, Blocked)
    assert (failure.scope, failure.unclear) == ("account", True)
