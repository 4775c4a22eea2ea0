"""What the stream tells whoever watches it; `pipeline.observe` turns it into metrics.

What a stream says of itself, for `/readyz`, `/api/status` and the log.
"""

from dataclasses import dataclass
from typing import Protocol

from pipeline.stream.records import Disposition


class StreamObserver(Protocol):
    """Receives what happens, from the event loop; must be quick and must not raise."""

    def received(self, stage: str, topic: str, partition: int, *, size: int) -> None:
        """A record came in; `size` in bytes."""
        ...

    def tombstone(self, stage: str) -> None:
        """A record without a value came in: it is no event, and is only committed over."""
        ...

    def completed(self, stage: str, end: Disposition, *, seconds: float) -> None:
        """A record came to an end, `seconds` after it was received; not yet committed."""
        ...

    def committed(self, stage: str, *, records: int, seconds: float) -> None:
        """A commit of `records` results succeeded and took `seconds`."""
        ...

    def commit_failed(self, stage: str, *, outcome: str) -> None:
        """A commit did not: `aborted`, `fenced` or `dead`; its results are kept or redone."""
        ...

    def failing(self, stage: str, *, partitions: int) -> None:
        """How many partitions here cannot commit at present, or not even begin to."""
        ...

    def in_flight(self, stage: str, topic: str, partition: int, *, count: int) -> None:
        """How many records of a partition are taken and not committed."""
        ...

    def lag(
        self, stage: str, topic: str, partition: int, *, records: int, oldest_seconds: float | None
    ) -> None:
        """Records that are not processed; the age of the oldest, None while that is not known."""
        ...

    def revoked(self, stage: str, topic: str, partition: int) -> None:
        """A partition is not ours any more: what is known of it is stale."""
        ...

    def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
        """A rebalance ended with that many partitions here, after `seconds` of standing still."""
        ...

    def intake(self, stage: str, *, paused_reason: str | None) -> None:
        """Intake was closed, with the reason, or opened."""
        ...

    def held(self, stage: str, *, because: str | None) -> None:
        """Records wait for their turn although nothing is wrong, with the reason, or go on."""
        ...

    def stuck(self, stage: str, *, is_stuck: bool) -> None:
        """The consumer is alive but makes no progress, or does again."""
        ...


class NoObserver:
    """Nobody watches; also the base of observers that care about some of it."""

    def received(self, stage: str, topic: str, partition: int, *, size: int) -> None:
        """Ignore."""

    def tombstone(self, stage: str) -> None:
        """Ignore."""

    def completed(self, stage: str, end: Disposition, *, seconds: float) -> None:
        """Ignore."""

    def committed(self, stage: str, *, records: int, seconds: float) -> None:
        """Ignore."""

    def commit_failed(self, stage: str, *, outcome: str) -> None:
        """Ignore."""

    def failing(self, stage: str, *, partitions: int) -> None:
        """Ignore."""

    def in_flight(self, stage: str, topic: str, partition: int, *, count: int) -> None:
        """Ignore."""

    def lag(
        self, stage: str, topic: str, partition: int, *, records: int, oldest_seconds: float | None
    ) -> None:
        """Ignore."""

    def revoked(self, stage: str, topic: str, partition: int) -> None:
        """Ignore."""

    def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
        """Ignore."""

    def intake(self, stage: str, *, paused_reason: str | None) -> None:
        """Ignore."""

    def held(self, stage: str, *, because: str | None) -> None:
        """Ignore."""

    def stuck(self, stage: str, *, is_stuck: bool) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition.

    Args:
        state: `starting`, `running`, `draining`, `waiting` (before it starts again) or `over`.
        in_flight: Records that are taken and not committed.
        lag: Records that are not committed; None while that is not known.
        oldest_seconds: Age of the oldest record that is not committed; 0 without one, None while
            that is not known.
        problem: What went wrong last and is not mended, in a sentence.
    """

    topic: str
    partition: int
    state: str
    in_flight: int
    lag: int | None
    oldest_seconds: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stage's stream.

    Args:
        partitions: Those that are assigned to this process.
        in_flight: Records that are taken and not committed, all partitions.
        lag: Records that are not committed, all partitions; None while that is not known, as
            in a rebalance.
        intake_closed_because: Why nothing is taken at present; None if it may be.
        is_ready: Whether it is assigned, polling, and taking what comes.
        reason: Why it is not ready, in a sentence.
    """

    stage: str
    partitions: tuple[PartitionStatus, ...]
    in_flight: int
    lag: int | None
    intake_closed_because: str | None
    is_ready: bool
    reason: str | None
