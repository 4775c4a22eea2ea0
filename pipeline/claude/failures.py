"""What a failed call means: wait and try again, wait for a person, or give this request up.

Pure. When in doubt it is the service that is unwell, not the event: only the statuses that speak
about one request reject it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson

from pipeline.claude.responses import excerpt

RetryKind = Literal["rate_limited", "overloaded", "server_error", "timed_out", "disconnected"]


@dataclass(frozen=True, slots=True)
class Retry:
    """The same request may succeed later.

    Args:
        kind: What happened.
        detail: A sentence for a person.
        after: Seconds the API asks to wait; None where it does not say.
        ramp: Usage grows faster than the API allows.
        maybe_billed: It is not known whether the request was answered and paid.
    """

    kind: RetryKind
    detail: str
    after: float | None = None
    ramp: bool = False
    maybe_billed: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """No request of this kind can succeed until a person mends something.

    Args:
        because: A sentence for a person: what is wrong and what to do.
        scope: Whether it holds for what one stage asks of a model, for all of a model, or for all
            that this key may ask.
    """

    because: str
    scope: Literal["stage", "model", "account"]


@dataclass(frozen=True, slots=True)
class Reject:
    """The API takes everything but this very request."""

    detail: str


Failure = Retry | Blocked | Reject

_BLOCKED = frozenset({401, 402, 403, 404, 405, 407, 410})
_SPEND_CODES = frozenset({
    "enforced_spend_limit_reached", "contract_spend_limit_reached",
    "linked_organization_spend_limit_reached", "linked_organization_billing_unavailable",
})  # fmt: skip
_ACCOUNT_CODES = frozenset({
    "organization_on_hold", "organization_type_not_supported", "workspace_policy_violation",
    "cmek_key_disabled", "cmek_key_network_blocked", "user_profile_not_found",
    "user_profile_required", "key_profile_mismatch",
})  # fmt: skip
"""400s that speak about the account; from the error classes of the SDK."""
_ACCOUNT_TEXTS = ("reached your specified api usage limits", "credit balance is too low")
"""Two 400s about the account that have no code of their own."""


def classify(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> Failure:
    """Say what a response that is not a 200 means.

    Args:
        status: The HTTP status.
        headers: With lower-case names.
        body: As received; may be HTML.
        now: For a `retry-after` that is a date.
    """
    error = _error_of(body)
    message = str(error.get("message") or excerpt(body))
    code = _code_of(error)
    if _speaks_of_spending(code, message):
        hint = "raise it in the console, or wait until it begins anew"
        return Blocked(f"A spend limit is reached: {hint}. The API says: {message}", "account")
    if code in _ACCOUNT_CODES:
        return Blocked(f"The API says: {message}", "account")
    if status in _BLOCKED:
        return _blocked(status, message, is_json=bool(error))
    if status == _BAD_REQUEST and _FRAME.match(message):
        because = f"The API takes no request of this kind ({message})"
        return Blocked(f"{because}: check the model names, the effort and the stage.", "stage")
    if _rejects(status, is_json=bool(error)) and headers.get("x-should-retry") != "true":
        return Reject(f"The API rejects the request ({status}): {message}")
    detail = f"The API answered {status}: {message}"
    return Retry(_kind(status), detail, retry_after(headers, now), ramp=code == _RAMP)


_RAMP = "ramp_limit_exceeded"
_BAD_REQUEST = 400
_FRAME = re.compile(
    r"[`'\"]?(model|max_tokens|system|thinking|output_config|output_format|effort|tools|tool_choice"
    r"|temperature|top_p|top_k|stop_sequences|metadata|service_tier|betas?"
    r"|anthropic-(version|beta))\b"
    r"|.*\bschema is too complex\b",
    re.IGNORECASE,
)
"""A 400 that names a place of the request which is the same for every event of a stage, and not
`messages`: no event is at fault, and each would be rejected."""


def no_credentials(detail: str) -> Blocked:
    """Nothing was sent, because there is no key to send it with."""
    return Blocked(f"No credentials ({detail.rstrip('.')}): set ANTHROPIC_API_KEY.", "account")


def timed_out(seconds: float) -> Retry:
    """No answer in time. It may have been given, and paid, all the same."""
    detail = f"No answer within {seconds:.0f} s"
    return Retry("timed_out", detail, maybe_billed=True)


def disconnected(detail: str, *, sent: bool) -> Retry:
    """The connection could not be made, or broke.

    Args:
        detail: What the transport says.
        sent: Whether the request may have reached the API.
    """
    return Retry("disconnected", f"No connection to the API: {detail}", maybe_billed=sent)


def garbled(detail: str) -> Retry:
    """A status 200 with something else than an answer: a proxy's page, or half an answer."""
    return Retry("server_error", detail, maybe_billed=True)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after`, which may be seconds or a date."""
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * factor)
        except ValueError:
            if (until := _http_date(value)) is not None:
                return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    return None


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _rejects(status: int, *, is_json: bool) -> bool:
    # A proxy's own 400 says nothing about the request; a 413 may come without JSON.
    return status == 413 or (status in {400, 422} and is_json)  # noqa: PLR2004


def _blocked(status: int, message: str, *, is_json: bool) -> Blocked:
    if not is_json:
        hint = "something between here and the API answers; check ANTHROPIC_BASE_URL and proxies"
        return Blocked(f"Not the API's answer ({status}: {message}): {hint}.", "account")
    match status:
        case 401:
            because = f"The API key is not accepted ({message}): set ANTHROPIC_API_KEY."
            return Blocked(because, "account")
        case 402:
            return Blocked(f"Billing must be mended in the console ({message}).", "account")
        case 403:
            return Blocked(f"The API key may not ask this model ({message}).", "model")
        case 404:
            because = f"The API does not know it ({message}): check the model names."
            return Blocked(because, "model")
        case _:
            return Blocked(f"The API answers {status} ({message}).", "model")


def _kind(status: int) -> RetryKind:
    match status:
        case 429:
            return "rate_limited"
        case 529:
            return "overloaded"
        case 408 | 504:
            return "timed_out"
        case _:
            return "server_error"


def _speaks_of_spending(code: str | None, message: str) -> bool:
    lowered = message.lower()
    return code in _SPEND_CODES or any(text in lowered for text in _ACCOUNT_TEXTS)


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _code_of(error: Mapping[str, Any]) -> str | None:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return code if isinstance(code, str) else None
