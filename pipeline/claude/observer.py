"""What the gateway tells whoever watches it; `pipeline.observe` turns it into metrics."""

from decimal import Decimal
from typing import Literal, Protocol

from pipeline.model.records import Usage

CallEnd = Literal[
    "answered", "refused", "cut_off", "malformed", "rejected", "rate_limited", "overloaded",
    "server_error", "timed_out", "disconnected", "blocked",
]  # fmt: skip
LimitKind = Literal["requests", "input_tokens", "output_tokens"]
BreakerState = Literal["closed", "open", "half_open"]
ReuseKind = Literal["in_flight", "memory", "disk"]


class ClaudeObserver(Protocol):
    """Told of what happens, from the event loop; must be quick and must not raise."""

    def call(
        self, stage: str, model: str, end: CallEnd, *, seconds: float, usage: Usage | None
    ) -> None:
        """One request ended; `usage` where the API gave one."""
        ...

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        """A call ended without an answer and may have been paid all the same: an estimate."""
        ...

    def waited(self, stage: str, model: str, *, seconds: float) -> None:
        """A question waited that long for limits, breaker, budget or a slot before it was sent."""
        ...

    def reused(self, stage: str, model: str, kind: ReuseKind) -> None:
        """An answer was not paid again."""
        ...

    def limit(self, model: str, kind: LimitKind, *, limit: float, remaining: float) -> None:
        """What is known of a rate limit, per minute."""
        ...

    def breaker(self, model: str, state: BreakerState) -> None:
        """The breaker of a model changed."""
        ...

    def blocked(self, model: str, *, because: str | None) -> None:
        """No call can succeed until a person mends something (key, spend limit), or can again."""
        ...

    def spent(self, stage: str, *, window: Literal["hour", "day"], usd: Decimal) -> None:
        """What a stage has spent in the running window."""
        ...


class NoObserver:
    """Nobody watches; also the base of observers that care about some of it."""

    def call(
        self, stage: str, model: str, end: CallEnd, *, seconds: float, usage: Usage | None
    ) -> None:
        """Ignore."""

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        """Ignore."""

    def waited(self, stage: str, model: str, *, seconds: float) -> None:
        """Ignore."""

    def reused(self, stage: str, model: str, kind: ReuseKind) -> None:
        """Ignore."""

    def limit(self, model: str, kind: LimitKind, *, limit: float, remaining: float) -> None:
        """Ignore."""

    def breaker(self, model: str, state: BreakerState) -> None:
        """Ignore."""

    def blocked(self, model: str, *, because: str | None) -> None:
        """Ignore."""

    def spent(self, stage: str, *, window: Literal["hour", "day"], usd: Decimal) -> None:
        """Ignore."""
