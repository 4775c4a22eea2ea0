"""A circuit breaker: stops calls while they cannot succeed, and tries one now and then.

Pure: the time comes in as seconds of a clock that does not go back.
"""

from dataclasses import dataclass

from pipeline.claude.observer import BreakerState

QUIET_SECONDS = 1.0
"""Without a success for that long before failures count: under load some calls in a row fail by
mere chance, but not all of a second."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The permission for one call; its end must be told.

    Args:
        generation: Calls of an earlier generation say nothing about the present.
        probe: Whether it is the one call that a half-open breaker lets through.
    """

    generation: int
    probe: bool


class Breaker:
    """Closed, open, or half open with one call under way.

    Args:
        failures: In a row, without a success in between, that open it.
        open_seconds: Until it lets one call through to probe.
    """

    def __init__(self, *, failures: int, open_seconds: float) -> None:
        self._most_failures = failures
        self._open_seconds = open_seconds
        self._failures = 0
        self._last_success = float("-inf")
        self._generation = 0
        self._closed_pass = Pass(0, probe=False)
        self._retry_at = 0.0
        self._probing = False
        self._because: str | None = None

    @property
    def because(self) -> str | None:
        """Why it is not closed."""
        return self._because

    def state(self, now: float) -> BreakerState:
        """The present state."""
        if self._because is None:
            return "closed"
        return "half_open" if self._probing or now >= self._retry_at else "open"

    def opens_at(self, now: float) -> float | None:
        """When the next call may go: now, later, or None while a probe is under way."""
        if self._because is None:
            return now
        return None if self._probing else max(now, self._retry_at)

    def enter(self) -> Pass:
        """Let a call through; only when `opens_at` says now."""
        if self._because is None:
            return self._closed_pass
        self._probing = True
        return Pass(self._generation, probe=True)

    def succeeded(self, passed: Pass, now: float) -> None:
        """The service answered, whatever it said."""
        if passed.generation != self._generation:
            return
        self._last_success = now
        self._failures = 0
        if passed.probe:
            self._close()

    def failed(self, passed: Pass, now: float, because: str) -> None:
        """The service did not answer, or said that it is unwell."""
        if passed.generation != self._generation:
            return
        self._failures += 1
        quiet = now - self._last_success >= QUIET_SECONDS
        if passed.probe or (self._failures >= self._most_failures and quiet):
            self._open(now + self._open_seconds, because)

    def abandoned(self, passed: Pass) -> None:
        """The call was given up by its caller and says nothing."""
        if passed.generation == self._generation and passed.probe:
            self._probing = False

    def trip(self, passed: Pass, now: float, because: str, *, seconds: float) -> None:
        """Open at once, for so many seconds: no call can succeed until something is mended."""
        if passed.generation == self._generation:
            self._open(now + seconds, because)

    def _open(self, retry_at: float, because: str) -> None:
        self._generation += 1
        self._failures = 0
        self._probing = False
        self._retry_at = retry_at
        self._because = because

    def _close(self) -> None:
        self._generation += 1
        self._closed_pass = Pass(self._generation, probe=False)
        self._probing = False
        self._because = None
