"""Telling a consumer that has nothing to do from one that is alive and stuck. Pure."""

from dataclasses import dataclass

from pipeline.errors import PipelineError

POLL_EXPECTED = 30.0
"""Seconds without a poll, or of one rebalance, after which a stream is not ready. A rebalance
takes a drain budget and a few seconds; its polls wait for it."""


class Stuck(PipelineError):
    """The consumer lives but makes no progress. Only a new process helps; a supervisor starts it.

    Consumers are known to stay assigned and fetch nothing after a rebalance went wrong.
    """


@dataclass(frozen=True, slots=True)
class Signs:
    """What is to be seen of a stream at one moment; all times in seconds.

    Args:
        rebalancing: How long it has been without an assignment; None with one.
        since_poll: Since a poll came back.
        since_progress: Since a record came in, was answered or was committed; since the
            assignment, where nothing has happened yet.
        unread: Records that the brokers have and this process did not poll, although it may.
        uncommitted: Results that are ready.
    """

    rebalancing: float | None
    since_poll: float
    since_progress: float
    unread: int
    uncommitted: int


def why_stuck(signs: Signs, after: float) -> str | None:
    """Why a stream must be called stuck; None if it need not.

    Calls that take long are no reason: a model may be slow or away for hours, and the breaker
    says so. What counts is work that is the stream's own: polls that do not come back, records
    that are there and do not come in, results that are ready and not committed.

    Args:
        signs: What is to be seen.
        after: Seconds that each may last.
    """
    if signs.rebalancing is not None:
        if signs.rebalancing > after:
            return f"no partitions were assigned for {signs.rebalancing:.0f} s"
        return None
    if signs.since_poll > after:
        return f"no poll came back for {signs.since_poll:.0f} s"
    if signs.since_progress > after:
        if signs.unread:
            return f"{signs.unread} records did not come in for {signs.since_progress:.0f} s"
        if signs.uncommitted:
            return (
                f"{signs.uncommitted} results were not committed for {signs.since_progress:.0f} s"
            )
    return None


def why_not_polling(signs: Signs) -> str | None:
    """Why a stream is not ready, long before it counts as stuck; None if it is."""
    if signs.rebalancing is not None and signs.rebalancing > POLL_EXPECTED:
        return f"no partitions have been assigned for {signs.rebalancing:.0f} s"
    if signs.rebalancing is None and signs.since_poll > POLL_EXPECTED:
        return f"the last poll was {signs.since_poll:.0f} s ago"
    return None
