"""Whether anything shall be taken in at all.

When to take records in: gates with hysteresis, and what they say together. Pure.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

from pipeline.model.observer import Observer
from pipeline.stream.dead_letter_breaker import DeadLetterBreaker
from pipeline.stream.records import Outcome

_log = logging.getLogger(__name__)


class IntakeGate(Protocol):
    """Says when nothing shall be taken in, and how much may be worked on at once.

    What speaks against it is a budget, a breaker, a missing key.
    """

    def paused_reason(self) -> str | None:
        """The reason in a sentence; None if records may be taken. Asked often: must be quick."""
        ...

    def at_once(self) -> int | None:
        """How many handler calls are of use at once; None for any number. Asked often, too.

        More would wait for each other. Where a partition is drained they would still get their
        turn, be paid for, and come too late to be committed.
        """
        ...


class OpenGate:
    """Never closed."""

    def paused_reason(self) -> str | None:
        """Nothing speaks against it."""
        return None

    def at_once(self) -> int | None:
        """Any number."""
        return None


class Throttle(Protocol):
    """Says how many records may be taken where all is well, and yet not everything at once."""

    def room(self) -> int | None:
        """How many records may be taken now; None for any number. Asked often: must be quick."""
        ...

    def throttled_reason(self) -> str | None:
        """Why none may be taken now, in a sentence; None where some may."""
        ...

    def took(self, records: int) -> None:
        """So many were taken."""
        ...


class NoThrottle:
    """Takes what comes."""

    def room(self) -> int | None:
        """Any number."""
        return None

    def throttled_reason(self) -> str | None:
        """Nothing is held."""
        return None

    def took(self, records: int) -> None:
        """Ignore."""


class Intake:
    """Closed by the gate, or by too many dead letters; held by the throttle; tells who watches.

    Args:
        stage: Of which stream.
        gate: Closes it from outside.
        dead_letters: Closes it but for a few events now and then, until these succeed.
        observer: Told when it closes or opens, and when it is held or goes on.
        throttle: Holds it now and then although nothing is wrong.
    """

    def __init__(
        self,
        stage: str,
        gate: IntakeGate,
        dead_letters: DeadLetterBreaker,
        observer: Observer,
        throttle: Throttle | None = None,
    ) -> None:
        self._stage = stage
        self._gate = gate
        self._dead_letters = dead_letters
        self._observer = observer
        self._throttle = throttle or NoThrottle()
        self._closed_because: str | None = None
        self._held_because: str | None = None

    @property
    def paused_reason(self) -> str | None:
        """The reason, as of the last `update`."""
        return self._closed_because

    @property
    def is_probing(self) -> bool:
        """Whether a few events are let through although dead letters close it."""
        return self._dead_letters.room() is not None

    def update(self) -> bool:
        """Ask again; returns whether anything may be taken.

        While dead letters close it that may be a few events, to see whether the cause is gone.
        """
        self._dead_letters.update()
        gate = self._gate.paused_reason()
        because = self._dead_letters.paused_reason or gate
        if because != self._closed_because:
            self._closed_because = because
            self._observer.intake(self._stage, paused_reason=because)
            if because is None:
                _log.info("%s: intake is open again", self._stage)
            else:
                _log.warning("%s: intake is closed: %s", self._stage, because)
        return self._update_held() and gate is None and self._dead_letters.room() != 0

    def room(self) -> int | None:
        """How many records the next poll may bring; None for any number."""
        rooms = (self._throttle.room(), self._dead_letters.room())
        return min((room for room in rooms if room is not None), default=None)

    def took(self, records: int) -> None:
        """So many records came in."""
        self._throttle.took(records)
        self._dead_letters.took(records)

    def _update_held(self) -> bool:
        because = self._throttle.throttled_reason()
        if because != self._held_because:
            self._held_because = because
            self._observer.held(self._stage, because=because)
            _log.info("%s: %s", self._stage, because or "what waited for its turn goes on")
        return because is None

    def completed(self, outcome: Outcome, seconds: float) -> None:
        """A record came to its end, `seconds` after it came in."""
        self._dead_letters.completed(outcome)
        self._observer.completed(self._stage, outcome.end, seconds=seconds)


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
