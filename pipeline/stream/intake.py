"""Whether anything shall be taken in at all."""

import logging
from typing import Protocol

from pipeline.stream.deadletters import DeadLetterBreaker
from pipeline.stream.observer import StreamObserver
from pipeline.stream.records import Outcome

_log = logging.getLogger(__name__)


class IntakeGate(Protocol):
    """Says when nothing shall be taken in, and how much may be worked on at once.

    What speaks against it is a budget, a breaker, a missing key.
    """

    def closed_because(self) -> str | None:
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

    def closed_because(self) -> str | None:
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

    def held_because(self) -> str | None:
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

    def held_because(self) -> str | None:
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
        observer: StreamObserver,
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
    def closed_because(self) -> str | None:
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
        gate = self._gate.closed_because()
        because = self._dead_letters.closed_because or gate
        if because != self._closed_because:
            self._closed_because = because
            self._observer.intake(self._stage, closed_because=because)
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
        because = self._throttle.held_because()
        if because != self._held_because:
            self._held_because = because
            self._observer.held(self._stage, because=because)
            _log.info("%s: %s", self._stage, because or "what waited for its turn goes on")
        return because is None

    def completed(self, outcome: Outcome, seconds: float) -> None:
        """A record came to its end, `seconds` after it came in."""
        self._dead_letters.completed(outcome)
        self._observer.completed(self._stage, outcome.end, seconds=seconds)
