"""A circuit breaker: stops calls while they cannot succeed, and tries a few now and then.

Pure: the time comes in as seconds of a clock that does not go back.
"""

from dataclasses import dataclass
from math import ceil, log

from pipeline.model.observer import BreakerState

QUIET_SECONDS = 1.0
"""Failures count after so long without a success: under load some calls in a row fail by mere
chance, but not all of a second."""
BY_CHANCE = 1e-6
"""The breaker opens when so many failures in a row are less likely than that by chance."""
MOST_FAILURES = 30
"""The breaker opens then at the latest: even where most calls fail, that is no chance."""
NEGLIGIBLE = 0.001
"""Below that share of calls that fail by chance, `failures` in a row are enough."""
_KEPT = 0.99
"""The weight that each further call leaves to those before it, in the share that fails."""
_WEIGHT = 2
"""Failures needed for each call that may still be answered."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The permission for one call; its end must be reported.

    Args:
        generation: Calls of an earlier generation say nothing about the present.
        probe: Whether it is one of the calls that a half-open breaker lets through.
        control: It should go to a control question: all probes of the last round failed, which
            may have been their own fault.
    """

    generation: int
    probe: bool
    control: bool = False


class Breaker:
    """Closed, open, or half open with a few calls under way.

    Args:
        failures: In a row that open it; more where calls fail by chance now and then.
        open_seconds: Until it lets calls through to probe.
        probes: How many at once; one that succeeds is enough to close it.
    """

    def __init__(self, *, failures: int, open_seconds: float, probes: int = 1) -> None:
        self._least_failures = failures
        self._open_seconds = open_seconds
        self._most_probes = probes
        self.has_failed = False
        """Whether calls failed of late; where none did, all to note of an answer is its time."""
        self._failures = 0
        self._share = 0.0
        self.last_success = float("-inf")
        self.closed_pass = Pass(0, probe=False)
        """Of all calls while it is closed; it changes whenever it opens or closes."""
        self.because: str | None = None
        self._retry_at = 0.0
        self._allowed = 0
        self._probing = 0
        self._rounds = 0

    def state(self, now: float) -> BreakerState:
        if self.because is None:
            return "closed"
        return "half_open" if self._probing or now >= self._retry_at else "open"

    def opens_at(self, now: float) -> float:
        if self.because is None or self._allowed:
            return now
        return max(now, self._retry_at)

    def enter(self, now: float) -> Pass:
        """Let a call through; only when `opens_at` says now."""
        if self.because is None:
            return self.closed_pass
        if not self._allowed:
            # Probes that hang do not keep others from trying a while later.
            self._allowed = self._most_probes
            self._retry_at = now + self._open_seconds
            self._rounds += 1
        control = self._rounds > 1 and self._allowed == self._most_probes
        self._allowed -= 1
        self._probing += 1
        return Pass(self.closed_pass.generation, probe=True, control=control)

    def succeeded(self, passed: Pass, now: float) -> None:
        if passed.generation != self.closed_pass.generation:
            return
        self.last_success = now
        if self._failures:
            self._share = 1 - (1 - self._share) * _KEPT**self._failures
            self._failures = 0
        self._share *= _KEPT
        self.has_failed = self._share > NEGLIGIBLE
        if passed.probe:
            self._begin_generation()
            self.because = None
            self._rounds = 0

    def failed(
        self, passed: Pass, now: float, because: str, *, under_way: int = 0, repeated: bool = False
    ) -> None:
        """The service did not answer, or with an error of its own.

        Errors come quicker than answers, so after a pause failures say nothing as long as a third
        of the calls `under_way` may still be answered. Nor does one that is `repeated`, as
        `Attempts` defines it, unless it is a probe.
        """
        if passed.generation != self.closed_pass.generation:
            return
        if passed.probe:
            self._probing -= 1
            self.because = because
            if not self._probing:
                self._allowed = 0
                self._retry_at = now + self._open_seconds
            return
        if repeated:
            return
        self._failures += 1
        self.has_failed = True
        needed = self._least_failures
        if self._share > 0:
            unlikely = ceil(log(BY_CHANCE) / log(self._share))
            needed = max(needed, min(MOST_FAILURES, unlikely))
        quiet = now - self.last_success >= QUIET_SECONDS
        if quiet and self._failures >= max(needed, _WEIGHT * under_way):
            self._open(now, because)

    def abandoned(self, passed: Pass) -> None:
        if passed.generation == self.closed_pass.generation and passed.probe:
            self._probing -= 1
            self._allowed += 1

    def trip(self, passed: Pass, now: float, because: str) -> None:
        if passed.generation == self.closed_pass.generation:
            self._open(now, because)

    def _open(self, now: float, because: str) -> None:
        self._begin_generation()
        self._failures = self._allowed = self._probing = 0
        self._retry_at = now + self._open_seconds
        self.because = because

    def _begin_generation(self) -> None:
        self.closed_pass = Pass(self.closed_pass.generation + 1, probe=False)
