"""When partitions commit: soon, and not so often that commits are all that a core does."""

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
