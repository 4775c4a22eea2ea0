"""What the workers of an engine have in common."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.settings import Ordering
from pipeline.stream.answers import Slots
from pipeline.stream.brokers import Consumer, OffsetReader, Session, TopicPartition
from pipeline.stream.observer import StreamObserver
from pipeline.stream.pacing import CommitPacer
from pipeline.stream.records import Outcome, Received

Rescue = Callable[[Received, Outcome | None, str], Outcome | None]
"""What to publish instead of an outcome that the brokers will never take (too large, say), given
the sentence that says why: something smaller, or None where there is nothing smaller. Without an
outcome: for a record that could not be read."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a partition commits and comes back from failures, in seconds.

    Args:
        commit_interval: Between two commits of a partition, at least.
        commit_count: Results after which it commits nevertheless.
        fenced: How long it waits after it was fenced. A member that was taken for dead learns so
            from its next heartbeat; starting again before that would fence the new owner.
        retry_first: Before it tries again what failed.
        retry_max: The longest it waits before that.
    """

    commit_interval: float
    commit_count: int
    fenced: float
    retry_first: float = 0.1
    retry_max: float = 10.0


@dataclass(frozen=True, slots=True)
class WorkerTools:
    """What a worker needs that is not its own.

    Args:
        max_unfinished: Unfinished records a partition, at most.
        starts_at_end: Whether a group that committed nothing skips what is there already.
        new_session: Makes a session for a partition.
        slots: What handler calls run in.
        pacer: Spreads the commits of all partitions.
        rescue: Replaces outcomes that cannot be published.
        fail: Ends the engine with an error.
        opened: Set when a partition takes records.
    """

    stage: str
    ordering: Ordering
    max_unfinished: int
    starts_at_end: bool
    consumer: Consumer
    reader: OffsetReader
    new_session: Callable[[TopicPartition], Session]
    slots: Slots
    pace: Pace
    pacer: CommitPacer
    observer: StreamObserver
    rescue: Rescue | None
    fail: Callable[[BaseException], None]
    opened: asyncio.Event
