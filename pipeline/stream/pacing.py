"""When partitions commit: soon, and not so often that commits are all that a core does.

What the workers of an engine have in common.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.config import Ordering
from pipeline.model.observer import Observer
from pipeline.stream.handlers import ConcurrencyLimiter
from pipeline.stream.protocols import Consumer, OffsetReader, PartitionWriter, TopicPartition
from pipeline.stream.records import Outcome, Received

COMMIT_COUNT = 500
"""Results of a partition after which it commits before its time: more would make a transaction slow
by its size alone."""
COMMITS_PER_SECOND = 60.0
"""Of all partitions of a stage in a process, in the long run. A commit costs much the same
whatever is in it, some milliseconds of a core, so this bounds what all of them take; what waits
meanwhile shares the next one, and is some tens of milliseconds later after a call of hundreds."""
COMMITS_IN_BACKLOG = 10.0
"""The same while records wait for a slot. They wait longer than a commit takes, so nobody sees
that it comes later, and the core has more left for what is waited for. What bounds it is what a
killed process has to ask again: half a second of results at six partitions."""
BURST = 10.0
"""Commits that may go at once after a pause."""


class CommitPacer:
    """Spreads the commits of all partitions of a stage over time.

    While few events end, each partition commits as soon as it has something to commit. The more
    there are, the longer a partition waits for its turn, and the more goes into its transaction.

    Args:
        per_second: Commits, in the long run.
        in_backlog: The same, while there is a backlog.
        burst: Commits that may go without waiting after a pause.
    """

    def __init__(
        self,
        *,
        per_second: float = COMMITS_PER_SECOND,
        in_backlog: float = COMMITS_IN_BACKLOG,
        burst: float = BURST,
    ) -> None:
        self._gap = 1 / per_second
        self._gap_in_backlog = 1 / in_backlog
        self._head_start = self._gap * burst
        self._next = float("-inf")

    def reserve(self, now: float, *, is_backlog: bool = False) -> float:
        """Take the next turn.

        Args:
            now: On the event loop's clock, in seconds.
            is_backlog: Whether records wait for those that are worked on.

        Returns:
            When it is; never before `now`.
        """
        turn = max(self._next, now - self._head_start)
        self._next = turn + (self._gap_in_backlog if is_backlog else self._gap)
        return max(now, turn)


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
class WorkerContext:
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
    new_session: Callable[[TopicPartition], PartitionWriter]
    slots: ConcurrencyLimiter
    pace: Pace
    pacer: CommitPacer
    observer: Observer
    rescue: Rescue | None
    fail: Callable[[BaseException], None]
    opened: asyncio.Event
