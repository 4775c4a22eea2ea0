"""Telling a consumer that has nothing to do from one that is alive and stuck. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import PipelineError

POLL_EXPECTED = 30.0
"""Seconds without a poll, or of one rebalance, after which a stream is not ready. A rebalance
takes a drain budget and a few seconds; polls wait for it."""


class Stuck(PipelineError):
    """The consumer lives but makes no progress. Only a new process helps; a supervisor starts it.

    Consumers are known to stay assigned and fetch nothing after a rebalance went wrong.
    """


@dataclass(frozen=True, slots=True)
class PartitionSigns:
    """What is to be seen of a partition that takes records; times in seconds.

    Args:
        since_progress: Since a record came in, was answered or was committed.
        since_asked: Since it was polled, whether or not something came.
        unread: Records that the brokers have, by their own account, and that did not come in.
        in_flight: Records that are taken and not committed.
        uncommitted: Results that are ready, and whose commit has not failed.
    """

    since_progress: float
    since_asked: float
    unread: int
    in_flight: int
    uncommitted: int


@dataclass(frozen=True, slots=True)
class Signs:
    """What is to be seen of a stream; times in seconds.

    Args:
        rebalancing: How long it has been without an assignment; None with one.
        since_poll: Since a poll came back.
        partitions: The assigned ones that take records.
    """

    rebalancing: float | None
    since_poll: float
    partitions: Sequence[PartitionSigns] = ()


def why_stuck(signs: Signs, after: float) -> str | None:
    """Why a stream must be called stuck; None if it need not.

    Calls that take long are no reason: a model may be slow or away for hours, and a restart
    would only pay for them again. What counts is the stream's own work.

    Args:
        signs: What is to be seen.
        after: Seconds that anything may last.
    """
    if signs.rebalancing is not None:
        if signs.rebalancing > after:
            return f"no partitions were assigned for {signs.rebalancing:.0f} s"
        return None
    if signs.since_poll > after:
        return f"no poll came back for {signs.since_poll:.0f} s"
    for partition in signs.partitions:
        waited = partition.since_progress
        if waited <= after:
            continue
        if partition.uncommitted:
            return f"{partition.uncommitted} results were not committed for {waited:.0f} s"
        if partition.unread and not partition.in_flight and partition.since_asked < after:
            return f"{partition.unread} records did not come in for {waited:.0f} s"
    return None


def why_not_polling(signs: Signs) -> str | None:
    """Why a stream is not ready, long before it counts as stuck; None if it is."""
    if signs.rebalancing is not None and signs.rebalancing > POLL_EXPECTED:
        return f"no partitions have been assigned for {signs.rebalancing:.0f} s"
    if signs.rebalancing is None and signs.since_poll > POLL_EXPECTED:
        return f"the last poll was {signs.since_poll:.0f} s ago"
    return None
