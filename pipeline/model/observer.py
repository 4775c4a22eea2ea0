"""What the rooms report; `pipeline.observe` turns it into metrics."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from pipeline.model.records import CertificateState, Decider, Enriched, Review, Tier, Usage

CallEnd = Literal[
    "answered", "refused", "cut_off", "malformed", "rejected", "rate_limited", "overloaded",
    "server_error", "timed_out", "disconnected", "blocked",
]  # fmt: skip
OffsetFault = Literal["ledger_moved", "log_shorter", "records_expired"]
LimitKind = Literal["requests", "input_tokens", "output_tokens"]
BreakerState = Literal["closed", "open", "half_open"]
Place = Literal["first", "fallback"]
"""An endpoint of a tier: where it is asked as a rule, and where else."""
ReuseKind = Literal["in_flight", "memory", "disk"]
AuditVerdict = Literal["agreed", "differed", "unsettled", "not_compared"]
"""What the second tier said to an answer of the first that nothing but chance sent on; the last
where the stage does not say which fields decide."""


class Observer:
    """Called with what happens, from the event loop; must be quick and must not raise.

    It ignores everything: an observer overrides what it cares about.
    """

    # From the stream.

    def received(self, stage: str, topic: str, partition: int, *, size: int) -> None:
        """A record came in; `size` in bytes."""

    def tombstone(self, stage: str) -> None:
        """A record without a value came in: it is no event, and is committed over or passed on."""

    def passed_over(self, stage: str) -> None:
        """A record was left out by the stage's filter, or is a deletion: it is no event of it."""

    def completed(self, stage: str, end: str, *, seconds: float) -> None:
        """A record came to an end, `seconds` after it was received; not yet committed."""

    def committed(self, stage: str, *, records: int, seconds: float) -> None:
        """A commit of `records` results succeeded and took `seconds`."""

    def commit_failed(self, stage: str, *, outcome: str) -> None:
        """A commit did not: `aborted`, `fenced` or `dead`; its results are kept or redone."""

    def offset_fault(self, stage: str, fault: OffsetFault) -> None:
        """A partition was started whose committed offset is not, or not wholly, of its log."""

    def failing(self, stage: str, *, partitions: int) -> None:
        """How many partitions here cannot commit at present, or not even begin to."""

    def reachable(self, stage: str, *, are_brokers: bool) -> None:
        """Whether the brokers answered when last asked what waits."""

    def in_flight(self, stage: str, topic: str, partition: int, *, count: int) -> None:
        """How many records of a partition are taken and not committed."""

    def lag(
        self, stage: str, topic: str, partition: int, *, records: int, oldest_seconds: float | None
    ) -> None:
        """Records that are not processed; the age of the oldest, None while that is not known."""

    def revoked(self, stage: str, topic: str, partition: int) -> None:
        """A partition is not ours any more: what is known of it is stale."""

    def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
        """A rebalance ended with that many partitions here, `seconds` after it was noticed."""

    def members_differ(self, stage: str, *, differ: bool) -> None:
        """Members of the group began to ask the models different things, or ask the same again."""

    def intake(self, stage: str, *, paused_reason: str | None) -> None:
        """Intake was closed, with the reason, or opened."""

    def held(self, stage: str, *, because: str | None) -> None:
        """Records wait for their turn although nothing is wrong, with the reason, or go on."""

    def tenants_waiting(self, stage: str, *, count: int) -> None:
        """So many tenants of whom events are here may spend nothing more for now."""

    def stuck(self, stage: str, *, is_stuck: bool) -> None:
        """The consumer is alive but makes no progress, or does again."""

    # From the gateway to the models.

    def call(
        self, stage: str, model: str, end: CallEnd, *, seconds: float, usage: Usage | None
    ) -> None:
        """One request ended; `usage` where the API gave one."""

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        """A call ended without an answer and may have been paid all the same: an estimate."""

    def moved(self, stage: str, model: str, *, maybe_billed: int) -> None:
        """A question left an endpoint for the other one of its tier.

        So many of its calls there ended without an answer and may have been paid all the same.
        """

    def in_use(self, tier: Tier, model: str, place: Place, *, in_use: bool) -> None:
        """Whether a tier asks one of its endpoints at present."""

    def waited(self, stage: str, model: str, *, seconds: float) -> None:
        """A question waited that long for limits, breaker, budget or a slot before it was sent."""

    def reused(self, stage: str, model: str, kind: ReuseKind) -> None:
        """An answer was not paid again."""

    def limit(self, model: str, kind: LimitKind, *, limit: float, remaining: float) -> None:
        """What is known of a rate limit, per minute."""

    def breaker(self, model: str, state: BreakerState) -> None:
        """The breaker of a model changed."""

    def blocked(self, model: str, *, because: str | None) -> None:
        """No call can succeed until a person fixes something (key, spend limit), or can again."""

    def spent(self, stage: str, *, window: Literal["hour", "day"], usd: Decimal) -> None:
        """What a stage has spent in the running window."""

    # From the cascade.

    def decided(
        self,
        stage: str,
        tier: Decider,
        end: str,
        *,
        model: str,
        record: Enriched[Any] | Review | None = None,
    ) -> None:
        """A result was decided on, and the event ends there: one of `Disposition`.

        It is a tier's answer, or what the event says itself. `record` is the event's last one,
        which is about to be published.
        """

    def doubted(self, stage: str, code: str) -> None:
        """An answer was not accepted, for this reason among others."""

    def audited(self, stage: str, verdict: AuditVerdict) -> None:
        """An answer of the first tier was looked at by the second, for chance alone."""

    def dead_lettered(self, stage: str, reason: str) -> None:
        """An event became a dead letter."""

    # From certificates.

    def certificate(self, stage: str, state: CertificateState, *, id: str, because: str) -> None:  # noqa: A002
        """Whether a certificate is of what a stage runs with; `because` says why not."""

    def certified(self, stage: str, tier: Tier, state: CertificateState) -> None:
        """What the record of an answer that is about to be published says of it."""

    def certified_share(self, stage: str, *, lower: float, upper: float) -> None:
        """Between which shares the second tier decided when the stage was certified."""

    def alarmed(self, stage: str, *, because: str | None) -> None:
        """Labels show that what was certified no longer holds, or a person has dealt with that."""

    def labelled(
        self, stage: str, scope: str, label: str, *, labels: int, upper: float, level: float | None
    ) -> None:
        """What labels say of a scope: an upper bound of the share of errors.

        `level` is how far an alarm is, as a share of what it takes; None where none watches that.
        """

    def distant(self, stage: str, distances: Mapping[str, float]) -> None:
        """How far answers are from those that were certified, as shares of their limits."""
