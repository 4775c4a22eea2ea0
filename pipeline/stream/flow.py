"""When to take records in: gates with hysteresis, and what they say together. Pure."""

from dataclasses import dataclass

POLL_RECORDS = 100
"""Records that one poll brings at most. A gate closes that much below its limit, so that the
poll that is under way when it closes cannot overshoot."""

_FIRST_GUESS = 1 << 14
"""Bytes that a record is taken for before one was seen."""


class FlowGate:
    """Closes at a high-water mark and opens again at a low one.

    The distance keeps a partition from being closed and opened for every record.

    Args:
        limit: The level that is never exceeded.
        step: The most the level rises between two looks.
        reopen: The share of the limit at which it opens again.
    """

    def __init__(self, limit: int, *, step: int, reopen: float = 0.5) -> None:
        self._high = limit - step
        self._low = min(int(limit * reopen), self._high)
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """As of the last `update`."""
        return self._is_open

    def update(self, level: int) -> bool:
        """Look at the level; returns whether the gate is open."""
        self._is_open = level <= (self._high if self._is_open else self._low)
        return self._is_open


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """How much may be held at once.

    Args:
        unfinished: Records of a partition that are not done.
        active: Records of all partitions that run, or could if there were a slot.
        held_bytes: Payload of all records that are not committed.
        running: Records that run at once.
    """

    unfinished: int
    active: int
    held_bytes: int
    running: int

    @property
    def poll_records(self) -> int:
        """Records that one poll may bring."""
        return max(1, min(POLL_RECORDS, self.unfinished // 4, self.active // 4))


@dataclass(frozen=True, slots=True)
class Load:
    """What one partition, or all together, hold.

    Args:
        held: Records that are not committed.
        unfinished: Records that have come in and are not done. What an earlier owner left
            unfinished counts when it comes in again: it must be let in, or it never gets done.
        active: Records that run, or could if there were a slot.
        held_bytes: Payload of the held ones.
    """

    held: int = 0
    unfinished: int = 0
    active: int = 0
    held_bytes: int = 0

    def __add__(self, other: "Load") -> "Load":
        """Both together."""
        return Load(
            self.held + other.held,
            self.unfinished + other.unfinished,
            self.active + other.active,
            self.held_bytes + other.held_bytes,
        )


class PartitionFlow:
    """Whether one partition may bring more.

    One partition may fill a part of the memory, never all of it: a partition that waits for one
    slow key must not close the others.

    Args:
        limits: For the whole process.
    """

    _BYTES_SHARE = 4

    def __init__(self, limits: FlowLimits) -> None:
        self._records = FlowGate(limits.unfinished, step=limits.poll_records)
        self._bytes = FlowGate(limits.held_bytes // self._BYTES_SHARE, step=0)

    def update(self, load: Load) -> bool:
        """Look at the load; returns whether the partition may bring more."""
        records = self._records.update(load.unfinished)
        return self._bytes.update(load.held_bytes) and records


class Flow:
    """Whether the partitions together may bring more, and whose turn it is.

    Args:
        limits: For the whole process.
    """

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        # Twice as many records are active as can run: opening at three quarters keeps every slot
        # busy while the next poll is on its way.
        self._active = FlowGate(limits.active, step=limits.poll_records, reopen=0.75)
        self._bytes = FlowGate(limits.held_bytes, step=0)
        self._mean_bytes: float = _FIRST_GUESS

    def update(self, total: Load) -> bool:
        """Look at the load of all partitions; returns whether any may bring more."""
        if total.held:
            self._mean_bytes = total.held_bytes / total.held
        active = self._active.update(total.active)
        return self._bytes.update(total.held_bytes) and active

    def poll_records(self, total: Load) -> int:
        """How many records the next poll may bring: fewer where they have been large."""
        room = self._limits.held_bytes - total.held_bytes
        return max(1, min(self._limits.poll_records, int(room / max(1, self._mean_bytes))))

    def share(self, total: Load, partitions: int) -> int:
        """The active records up to which a partition may bring more.

        While slots are free every partition may. Once all are taken, only those that have less
        than their share, so that one partition's backlog does not hold up the others.
        """
        if total.active < self._limits.running:
            return self._limits.active
        return max(1, self._limits.active // max(1, partitions))
