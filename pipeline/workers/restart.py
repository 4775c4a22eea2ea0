"""When to start a process again that ended: a decision, never a sleep."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Exponential backoff that forgets a failure once a process has lived long enough.

    Args:
        first: Seconds before the first restart.
        longest: Seconds between restarts at most.
        healthy_after: Seconds of life after which an end counts as the first again.
    """

    first: float = 0.5
    longest: float = 30.0
    healthy_after: float = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """What is known of one process slot: how many times in a row it ended early."""

    early_ends: int = 0

    def ended(self, policy: RestartPolicy, *, lived: float) -> tuple["Restarts", float]:
        """The process ended after `lived` seconds: what is known now, and seconds to wait."""
        if lived >= policy.healthy_after:
            return Restarts(early_ends=1), policy.first
        # The exponent is capped only so that it stays a number: the delay is capped below.
        delay = policy.first * 2.0 ** min(self.early_ends, 60)
        return Restarts(self.early_ends + 1), min(delay, policy.longest)
