"""One model, the queue in front of it, and what was reported of both.

What is known of the gateway at a moment: for `/readyz`, the dashboard and `doctor`.

Plain data that any JSON encoder for dataclasses writes as it is.

Asking the API about a model without paying: for `doctor`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.claude import failures
from pipeline.claude.client import Client
from pipeline.claude.failures import Blocked, Reject, Retry
from pipeline.claude.http import HttpReply, NoReply
from pipeline.claude.limits.breaker import Breaker
from pipeline.claude.limits.fairness import Window
from pipeline.claude.limits.limiter import Limiter
from pipeline.claude.limits.rate_limits import RateLimitSnapshot, read_limits
from pipeline.claude.requests import Style, Template, content_of
from pipeline.config import ClaudeSettings
from pipeline.model.observer import BreakerState, LimitKind, Observer
from pipeline.model.questions import Text
from pipeline.model.records import Tier


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """A rate limit, a minute, and what remained of it by the last response."""

    limit: float
    remaining: float


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is known of a model.

    Args:
        tier: `haiku` or `sonnet`.
        model: Its id.
        closed_because: Why no call can go out now; None where it can.
        breaker: Of the model's own failures.
        in_flight: Calls under way.
        window: Calls that may be under way.
        waiting: Questions that wait for their turn, by stage.
        limits: By kind; empty until a response named them.
    """

    tier: str
    model: str
    paused_reason: str | None
    breaker: BreakerState
    in_flight: int
    window: int
    waiting: dict[str, int]
    limits: dict[str, LimitStatus]


@dataclass(frozen=True, slots=True)
class PromptStatus:
    """What was learnt of a stage's prompt.

    Args:
        calls: Answers so far.
        cached_calls: Those whose static part was read from the prompt cache.
        too_short: Whether the API does not cache the static part, because it is too short.
        timeout: Seconds after which a call is given up.
    """

    stage: str
    model: str
    calls: int
    cached_calls: int
    too_short: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class SpendStatus:
    """What a stage has spent in the running hour and day, in US dollars."""

    stage: str
    usd_this_hour: str
    usd_today: str
    paused_reason: str | None


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The present state of the gateway.

    Args:
        blocked_because: What a person has to fix before any call can succeed, or None.
        models: One for each tier.
        prompts: Those in use.
        spending: Of the stages that spent anything.
        kept_answers: In memory, for identical questions.
    """

    blocked_because: str | None
    models: tuple[ModelStatus, ...]
    prompts: tuple[PromptStatus, ...] = ()
    spending: tuple[SpendStatus, ...] = ()
    kept_answers: int = field(default=0)


@dataclass(frozen=True, slots=True)
class Probe:
    """What `doctor` found out about a model.

    Args:
        ok: Whether it can be asked.
        detail: What is wrong and what to do, or what is right.
    """

    model: str
    ok: bool
    detail: str


BLOCK_SECONDS = 15.0
"""Between probes while no call can succeed; each costs nothing."""
BREAKER_FAILURES = 5
"""In a row, at least, before a model counts as down."""
BREAKER_OPEN_SECONDS = 5.0
"""Before it is probed, and between rounds of probes."""
BREAKER_PROBES = 3
NEWS_SECONDS = 0.02
"""Between readings of the rate-limit headers: more often would tell nothing new."""


def account_breaker() -> Breaker:
    """What trips when nothing can be asked with this key; shared by all lanes."""
    return Breaker(failures=1, open_seconds=BLOCK_SECONDS)


class ModelClient:
    """One model.

    Args:
        model: Its id.
        settings: Window and breaker.
        account: See `account_breaker`.
        budget_wait: Seconds until a stage may spend again.
        observer: Receives changes.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        model: str,
        settings: ClaudeSettings,
        *,
        account: Breaker,
        budget_wait: Callable[[str], float],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self.model = model
        self.asked = 0
        """Questions that wait for an answer, those in a pause between two calls included."""
        self.in_trouble = 0
        """Of these, how many failed while others were answered: they wait more than they work."""
        self.limiter = Limiter(
            breaker=Breaker(
                failures=BREAKER_FAILURES,
                open_seconds=BREAKER_OPEN_SECONDS,
                probes=BREAKER_PROBES,
            ),
            block=Breaker(failures=1, open_seconds=BLOCK_SECONDS),
            account=account,
            stage_block=lambda: Breaker(failures=1, open_seconds=BLOCK_SECONDS),
            window=Window(settings.concurrency),
            budget_wait=budget_wait,
            clock=clock,
        )
        self._observer = observer
        self._clock = clock
        self._read_at = float("-inf")
        self._reported_state: BreakerState = "closed"
        self._reported_block: str | None = None

    def status(self, tier: Tier) -> ModelStatus:
        """What is known."""
        limiter = self.limiter
        return ModelStatus(
            tier=tier.value,
            model=self.model,
            paused_reason=limiter.paused_reason(),
            breaker=limiter.breaker.state(self._clock()),
            in_flight=limiter.in_flight,
            window=limiter.window.size,
            waiting=limiter.waiting,
            limits={
                kind: LimitStatus(level.limit, level.remaining)
                for kind, level in limiter.limits.levels.items()
            },
        )

    def limits_of(self, result: HttpReply | NoReply) -> dict[LimitKind, RateLimitSnapshot]:
        """What a response says of the rate limits, read now and then."""
        now = self._clock()
        if isinstance(result, NoReply) or (
            result.status == 200 and now - self._read_at < NEWS_SECONDS  # noqa: PLR2004
        ):
            return {}
        self._read_at = now
        snapshots = read_limits(result.headers)
        for kind, limit in snapshots.items():
            self._observer.limit(self.model, kind, limit=limit.limit, remaining=limit.remaining)
        return snapshots

    def report(self) -> None:
        """Tell the watchers what has changed, by a call, by one of another lane, or by time."""
        state, because = self.limiter.breaker.state(self._clock()), self.limiter.blocked_because()
        if state == "half_open" and not self.asked:
            # Nobody is there who could try, so it would be reported for as long as nobody comes.
            state = "closed"
        if state != self._reported_state:
            self._reported_state = state
            self._observer.breaker(self.model, state)
        if because != self._reported_block:
            self._reported_block = because
            self._observer.blocked(self.model, because=because)


PROBE_SECONDS = 15.0


async def probe_model(client: Client, model: str) -> Probe:
    """Find out whether the API is reachable, accepts the key and knows the model."""
    result = await client.get(f"/v1/models/{model}", seconds=PROBE_SECONDS)
    if isinstance(result, HttpReply) and result.status == 404:  # noqa: PLR2004
        # Some gateways in front of the API have no models endpoint; counting tokens is free, too.
        counted = await client.post(
            "/v1/messages/count_tokens", _question(model), seconds=PROBE_SECONDS
        )
        if isinstance(counted, HttpReply) and counted.status == 200:  # noqa: PLR2004
            result = counted
    match result:
        case HttpReply(200):
            return Probe(model, ok=True, detail="reachable, the key is accepted")
        case HttpReply(status, _, body):
            return Probe(model, ok=False, detail=_detail(status, result.headers, body))
        case NoReply("no_key", detail):
            return Probe(model, ok=False, detail=failures.no_credentials(detail).because)
        case NoReply(_, detail):
            hint = "check the network and ANTHROPIC_BASE_URL"
            return Probe(model, ok=False, detail=f"The API cannot be reached ({detail}): {hint}.")


def _detail(status: int, headers: dict[str, str], body: bytes) -> str:
    match failures.classify(status, headers, body):
        case Blocked(because):
            return because
        case Retry(_, detail) | Reject(detail):
            return detail


def _question(model: str) -> bytes:
    template = Template(Style(model, "low", None), "Answer.", {"type": "object", "properties": {}})
    return template.body_to_count(content_of((Text("body", "Hello."),)))
