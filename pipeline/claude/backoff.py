"""How long to wait before the next attempt. It decides; it never sleeps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with jitter, so that what failed together does not come back together.

    Args:
        first: Seconds before the first repetition, at most.
        longest: Seconds before any repetition, at most.
    """

    first: float
    longest: float

    def seconds(self, attempt: int, *, jitter: float, asked: float | None = None) -> float:
        """Seconds to wait after a failed attempt.

        Args:
            attempt: 1 for the first attempt.
            jitter: 0 to 1, drawn by the caller.
            asked: What the API asked for; never less than that.
        """
        if attempt < 1:
            raise ValueError("attempts count from 1")
        # Beyond 64 doublings the power alone would overflow.
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt - 1, 64))
        own = ceiling * (0.5 + jitter / 2)
        return own if asked is None else max(own, asked)
