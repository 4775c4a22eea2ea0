"""What a failed call means: wait and try again, wait for a person, or give this request up.

When in doubt it is the service that is at fault, not the event: a request is rejected only where
the API names what the event brought. What is left unclear stops its stage, and what becomes of
others shows whether it was the event after all (`Attempts`). Pure.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan
from typing import Any, ClassVar, Literal, Self

import orjson

from pipeline.claude.rate_limits import RENAMED
from pipeline.claude.responses import HttpReply, NoReply, excerpt
from pipeline.config import ClaudeSettings
from pipeline.model.observer import LimitKind

RetryKind = Literal["rate_limited", "overloaded", "server_error", "timed_out", "disconnected"]
Scope = Literal["stage", "model", "account"]
"""What one stage asks of a model, all that is asked of it, or all with this key."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The same request may succeed later, `after` the seconds that the API asks to wait.

    `detail` is a sentence for a person; `ramp`: usage grows faster than the API allows; `limits`:
    those that it names as exceeded.
    """

    kind: RetryKind
    detail: str
    after: float | None = None
    ramp: bool = False
    limits: frozenset[LimitKind] = frozenset()
    maybe_billed: bool = False
    unclear: ClassVar = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing of that scope can succeed until a person fixes something: `detail` says what.

    `unclear`: the response does not say whose fault it is; it may be this one event's.
    """

    detail: str
    scope: Scope
    unclear: bool = False
    kind: ClassVar = "blocked"
    after: ClassVar[float | None] = None
    maybe_billed: ClassVar = False


@dataclass(frozen=True, slots=True)
class Reject:
    """The API takes everything but this very request; `filtered`: it withheld what was written."""

    detail: str
    filtered: bool = False


Failure = Retry | Blocked | Reject
SUSPECT_WEIGHT, SUSPECT_WEIGHT_IF_TIMED_OUT = 1.0, 0.5
"""Failures of that weight make a question suspect; a time-out takes a slot for long."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds. Headers of an hour, of a year and of 2099 were seen, mostly by mistake; who means it
says so again after five minutes, and that costs one request."""
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _TOO_LARGE, _UNPROCESSABLE = 400, 401, 403, 413, 422
_BLOCKED: Mapping[int, tuple[Scope, str]] = {
    401: ("account", "The API key is not accepted ({}): set {credentials}."),
    402: ("account", "Billing must be fixed in the console ({})."),
    403: ("model", "The API key may not ask this model ({})."),
    404: ("model", "The API does not know it ({}): check the model names."),
    405: ("model", "The API answers 405 ({})."),
    407: ("model", "The API answers 407 ({})."),
    410: ("model", "The API answers 410 ({})."),
}
_KINDS: Mapping[int, RetryKind] = {
    429: "rate_limited", 529: "overloaded", 408: "timed_out", 504: "timed_out",
}  # fmt: skip
_CREDENTIAL_TYPES = frozenset({
    "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId",
    "InvalidSignatureException", "IncompleteSignatureException", "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException",
})  # fmt: skip
"""403s of AWS that are about who asks, and not about what that one may do."""
KEY = "ANTHROPIC_API_KEY"
_RAMP = "ramp_limit_exceeded"
_SPEND_CODES = frozenset({
    "enforced_spend_limit_reached", "contract_spend_limit_reached",
    "linked_organization_spend_limit_reached", "linked_organization_billing_unavailable",
})  # fmt: skip
_ACCOUNT_CODES = frozenset({
    "organization_on_hold", "organization_type_not_supported", "organization_not_enrolled_in_beta",
    "parent_organization_required", "workspace_policy_violation",
    "workspace_human_review_disabled", "cmek_key_disabled", "cmek_key_network_blocked",
    "cmek_feature_unsupported", "user_profile_not_found", "user_profile_required",
    "user_profile_not_billable", "user_profile_billing_not_authorized", "key_profile_mismatch",
    "api_key_scope_missing", "organization_level_scoped_api_key_required",
    "claude_code_key_creator_not_member", "claude_code_version_too_old",
    "sandbox_egress_restricted",
})  # fmt: skip
"""They speak about the account, the workspace or the key; from the error classes of the SDK."""
_EVENT_CODES = frozenset({"image_dimensions_too_large", "request_body_too_large_after_decoding"})
"""They speak about what the event brought; from there, too."""
_SPEND_TEXTS = ("reached your specified api usage limits", "credit balance is too low")
"""Two 400s about the account's money that have no code of their own."""
_ACCOUNT_TEXT = re.compile(
    r"organization has been disabled|organization is disabled|account (has been|is) disabled"
    r"|credential is only authorized for|not allowed for this organization"
    r"|organization has disabled",
    re.IGNORECASE,
)
"""400s and 403s about an account or a key that have no code of their own."""
_FILTERED = re.compile(r"\b(blocked|filtered) (by|due to) (our |the )?content", re.IGNORECASE)
"""`Output blocked by content filtering policy`, a 400."""
_EVENT = re.compile(
    # A place in the messages, but for what this program puts there.
    r"(?<![\w.])messages(\.\d+|\[\d+\])(?![^\s:]*\.cache_control)|(?<![\w.])messages: "
    r"|\b(prompt|input|request|document|pdf|image|conversation) is too (long|large|big|small)\b"
    r"|\binput length and `?max_tokens`? exceed"
    r"|\brequest payload size exceeds\b"
    r"|\bexceeds? (the |this )?(model'?s? )?(maximum )?context (length|limit|window)"
    r"|\bcould not (process|decode|read|open|parse) (the |this )?(image|pdf|document|file)\b"
    r"|\bimages? (exceeds?|cannot be|could not|does not match|was specified|must be|is (not|in))\b"
    r"|\bimage dimensions\b|\bunsupported image\b|\binvalid (image|pdf|base64)\b"
    r"|\bpdf (specified )?(is|was) (not valid|invalid|password|encrypted)|\bpdf pages\b"
    r"|\bpassword.protected\b|\btext content blocks must\b",
    re.IGNORECASE,
)
"""What the API, and gateways that pass its words on, say about an event's own content."""
_FRAME = re.compile(
    r"[`'\"]?(model|max_tokens|system|thinking|output_config|output_format|effort|tools|tool_choice"
    r"|temperature|top_p|top_k|stop_sequences|metadata|service_tier|betas?"
    r"|anthropic-(version|beta))\b"
    r"|.*\bschema is too complex\b|.*\bblocks with cache_control\b",
    re.IGNORECASE,
)
"""A 400 that names a place of the request which is the same for every event of a stage, and not
`messages`: no event is at fault, and each would be rejected."""
_LIMITS: Mapping[LimitKind, re.Pattern[str]] = {
    "requests": re.compile(
        r"\brequests per\b|\bRPM\b|_requests_|\bcall rate\b|\btype: requests\b", re.IGNORECASE
    ),
    "input_tokens": re.compile(r"\b(input|prompt)[ _-]tokens\b|_input_token", re.IGNORECASE),
    "output_tokens": re.compile(r"\b(output|completion)[ _-]tokens\b|_output_token", re.IGNORECASE),
}
"""What 429s of the API, of clouds and of gateways call their limits."""
_TOKENS = re.compile(r"\btokens\b|\bTPM\b|\btoken rate\b", re.IGNORECASE)
_NEVER_OF_AN_EVENT = re.compile(r"(system|tools|output_config|output_format)[.:\[]")
"""Places of the request where nothing of an event stands, whatever is said of them."""
_IN_MESSAGES = re.compile(r"messages[.\[]\d")


def is_unauthorized(reply: HttpReply) -> bool:
    """Whether the credentials are not accepted, which other ones may be."""
    kind = reply.headers.get("x-amzn-errortype", "").partition(":")[0]
    return reply.status == _UNAUTHORIZED or (
        reply.status == _FORBIDDEN and kind in _CREDENTIAL_TYPES
    )


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime | None = None,
    credentials: str = KEY,
) -> Failure:
    """What a response means that is no answer; `credentials`: what a person sets to be let in."""
    error = _error_of(body)
    if is_unauthorized(HttpReply(status, headers, body)):
        status = _UNAUTHORIZED
    message = str(error.get("message") or excerpt(body))
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    code = code if isinstance(code, str) else None
    if (blocked := _about_the_account(code, message)) is not None:
        return blocked
    if status == _FORBIDDEN and error and _FILTERED.search(message):
        return _withheld(message)
    if status in _BLOCKED:
        return _blocked(status, message, credentials, is_json=bool(error))
    # A proxy's own 400 says nothing about the request; a 413 may come without JSON.
    is_named = status in {_BAD_REQUEST, _UNPROCESSABLE} and error
    if status == _TOO_LARGE or (is_named and headers.get("x-should-retry") != "true"):
        return _bad_request(status, message, code)
    after = retry_after(headers, now)
    detail = f"The API answered {status}: {message}"
    if after == LONGEST_RETRY_AFTER:
        value = headers.get("retry-after-ms") or headers["retry-after"]
        said = excerpt(value.encode("utf-8", "replace"))
        detail = f"{detail} (retry-after: {said}; tried again after {after:.0f} s all the same)"
    kind = _KINDS.get(status, "server_error")
    limits = _limits_in(message) if kind == "rate_limited" else frozenset()
    return Retry(kind, detail, after, ramp=code == _RAMP, limits=limits)


def _limits_in(message: str) -> frozenset[LimitKind]:
    """The limits that a 429 names; a limit on tokens may be of input, of output, or of both."""
    # What follows is advice, and may speak of tokens, too.
    sentence = message.partition(". ")[0]
    named = {kind for kind, words in _LIMITS.items() if words.search(sentence)}
    if not named and _TOKENS.search(sentence):
        return frozenset({"input_tokens", "output_tokens"})
    return frozenset(named)


def _about_the_account(code: str | None, message: str) -> Blocked | None:
    lowered = message.lower()
    # What is said of a place in the messages may repeat what stands there.
    quotes = _IN_MESSAGES.match(message) is not None
    is_spent = any(text in lowered for text in _SPEND_TEXTS) and not quotes
    if code in _SPEND_CODES or is_spent:
        hint = "raise it in the console, or wait until it begins again"
        return Blocked(f"A spend limit is reached: {hint}. The API says: {message}", "account")
    if code in _ACCOUNT_CODES or (_ACCOUNT_TEXT.search(message) and not quotes):
        hint = "look into the account in the console, and check that ANTHROPIC_API_KEY is a key for"
        return Blocked(f"The API says: {message} Have {hint} the Claude API.", "account")
    return None


def _bad_request(status: int, message: str, code: str | None) -> Blocked | Reject:
    if _FILTERED.search(message):
        return _withheld(message)
    names_event = _EVENT.search(message) and not _NEVER_OF_AN_EVENT.match(message)
    if _FRAME.match(message) and not names_event:
        because = f"The API takes no request of this kind ({message})"
        return Blocked(f"{because}: check the model names, the effort and the stage.", "stage")
    if status == _TOO_LARGE or code in _EVENT_CODES or names_event:
        return Reject(f"The API rejects the request ({status}): {message}")
    hint = "check the account, the model names and ANTHROPIC_BASE_URL"
    because = f"The API rejects a request, and does not say for whose fault: {hint}"
    return Blocked(f"{because}. It says ({status}): {message}", "stage", unclear=True)


def _withheld(message: str) -> Reject:
    return Reject(f"The answer was withheld by a filter: {message}", filtered=True)


def failure_of(reply: HttpReply | NoReply, *, seconds: float, credentials: str = KEY) -> Failure:
    match reply:
        case HttpReply(200, _, body):
            # A page of a proxy is quoted, but not what may be half an answer.
            came = excerpt(body) if body.lstrip().startswith(b"<") else f"{len(body):,} bytes"
            return malformed(f"the API answered with something else than a message: {came}")
        case HttpReply(status, headers, body):
            return classify(status, headers, body, credentials=credentials)
        case NoReply("no_key", detail):
            because = f"No credentials ({detail.rstrip('.')}): set {credentials}."
            return Blocked(because, "account")
        case NoReply("timed_out"):
            # It may have been answered, and paid, all the same.
            return Retry("timed_out", f"No answer within {seconds:.0f} s", maybe_billed=True)
        case NoReply(_, detail, sent):
            because = f"No connection to the API: {detail}"
            return Retry("disconnected", because, maybe_billed=sent)


def malformed(detail: str) -> Retry:
    """A status 200 with a proxy's page, or half an answer."""
    return Retry("server_error", detail, maybe_billed=True)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after`; None where neither says a time."""
    for before in ("", RENAMED):
        for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            if (seconds := _seconds(headers.get(before + name, ""), factor, now)) is not None:
                return min(LONGEST_RETRY_AFTER, max(0.0, seconds))
    return None


def _seconds(value: str, factor: float, now: datetime | None) -> float | None:
    try:
        seconds = float(value) * factor
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        return (until - (now or datetime.now(UTC))).total_seconds()
    return None if isnan(seconds) else seconds


def _blocked(status: int, message: str, credentials: str, *, is_json: bool) -> Blocked:
    if not is_json:
        hint = "something between here and the API answers; check ANTHROPIC_BASE_URL and proxies"
        because = f"Not the API's answer ({status}: {message})"
        # A firewall between here and there may dislike one event's words, and nothing else.
        return Blocked(f"{because}: {hint}.", "account", unclear=True)
    scope, text = _BLOCKED[status]
    return Blocked(text.format(message, credentials=credentials), scope)


def _error_of(body: bytes) -> dict[str, Any]:
    """The error in a body: as the API writes it, or as gateways do, without a frame around it."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    error = parsed.get("error", parsed)
    return error if isinstance(error, dict) else {"message": str(error)}


@dataclass(slots=True)
class Peers:
    """What became of first attempts and control questions, of one kind of question to one model.

    A refusal or a rejection is an answer, too.
    """

    answered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """When failures are the event's own fault: weight and seconds, both must be reached."""

    attempts: float
    seconds: float

    @classmethod
    def of(cls, settings: ClaudeSettings) -> Self:
        return cls(settings.attempts_per_event, settings.attempts_seconds)


@dataclass(slots=True)
class Attempts:
    """The failures of one event's question, from its first attempt on: whose fault are they?

    In an outage everybody fails; where others are answered and one event is not, again and again,
    it is the event. So each failure of an event counts for as much as the share of its peers that
    were answered since its last one: nothing in an outage, nearly 1 on an ordinary day. Under
    failures that strike everybody alike with a chance of p, an event reaches a weight of n with a
    chance of (p / (1 + p))^n where one peer ends in between, and of p^(n / (1 - p)) where many do:
    below 2^-n however bad the day is.

    Peers are the first attempts of other events and control questions. Retries are no peers: a few
    events that always fail would pass for an outage. The first attempt of this event is counted
    among the peers, for the sake of the others.

    Args:
        peers: Of the same kind; `answered_before` and `failed_before` are their counts at the
            last failure, or at the start.
        count: The failures; once there is one, the question is retried.
        weight: The failures, each counted by the share of peers answered since the one before.
        in_a_row: The last failures between which no peer was answered.
        repeated: Whether there are several of those: both count as one.
        isolated: Whether the last failure concerns this event alone: it had failed before, and
            peers were answered in between.
        suspect: Whether it has failed twice while others were answered, or timed out while most
            were: its calls must not take the slots of others.
        seconds: Spent in calls; `lasting`: from the first failure to the last.
    """

    peers: Peers
    answered_before: int
    failed_before: int
    count: int = 0
    weight: float = 0.0
    in_a_row: int = 0
    isolated: bool = False
    suspect: bool = False
    timed_out: int = 0
    seconds: float = 0.0
    lasting: float = 0.0
    maybe_billed: int = 0
    last_detail: str = ""
    _first_at: float = 0.0

    @property
    def repeated(self) -> bool:
        return self.in_a_row > 1

    def others_answered(self) -> bool:
        """Whether a peer was answered since the last failure or, before that, since the start."""
        return self.peers.answered > self.answered_before

    def failed(
        self, now: float, detail: str, *, seconds: float = 0.0, unclear: bool = False
    ) -> None:
        """Count a failure; `unclear`: it may be this event's alone although it is the first."""
        peers = self.peers
        answered = peers.answered - self.answered_before
        ended = answered + peers.failed - self.failed_before
        self.weight += answered / ended if ended else 0.0
        self.in_a_row = 1 if answered else self.in_a_row + 1
        self.isolated = answered > 0 and (self.count > 0 or unclear)
        if not self.count:
            self._first_at = now
            peers.failed += 1
        self.count += 1
        self.seconds += seconds
        least = SUSPECT_WEIGHT_IF_TIMED_OUT if self.timed_out else SUSPECT_WEIGHT
        self.suspect = self.weight >= least
        self.lasting = now - self._first_at
        self.last_detail = detail
        self.answered_before, self.failed_before = peers.answered, peers.failed

    def are_over(self, bounds: Bounds) -> bool:
        return self.weight >= bounds.attempts and self.lasting >= bounds.seconds

    def history(self, beside: str = "others were answered") -> str:
        return (
            f"No answer in {self.count} attempts over {self.lasting:.0f} s, while {beside}."
            f" The last one: {self.last_detail}"
        )


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, in seconds, with jitter: what failed together does not come back together."""

    first: float
    longest: float
    jitter: Callable[[], float]
    """Draws 0 to 1."""

    def seconds(self, attempt: int, *, asked: float | None = None) -> float:
        """Seconds to wait after the first, second, ... failed attempt; never less than `asked`."""
        # Beyond 64 doublings the power alone would overflow.
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt - 1, 64))
        own = ceiling * (0.5 + self.jitter() / 2)
        return own if asked is None else max(own, asked)
