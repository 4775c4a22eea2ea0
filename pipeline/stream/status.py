"""What a stream says of itself, for `/readyz`, `/api/status` and the log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition.

    Args:
        state: `starting`, `running`, `draining`, `waiting` (before it starts again) or `over`.
        in_flight: Records that are taken and not committed.
        lag: Records that are not committed; None while that is not known.
        oldest_seconds: Age of the oldest record that is not committed; 0 without one, None while
            that is not known.
        problem: What went wrong last and is not fixed, in a sentence.
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
