"""What is known of the gateway at a moment: for `/readyz`, the dashboard and `doctor`.

Plain data that any JSON encoder for dataclasses writes as it is.
"""

from dataclasses import dataclass, field

from pipeline.claude.observer import BreakerState


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
        limits: By kind; empty until a response told of them.
    """

    tier: str
    model: str
    closed_because: str | None
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
    closed_because: str | None


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The present state of the gateway.

    Args:
        blocked_because: What a person has to mend before any call can succeed, or None.
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
