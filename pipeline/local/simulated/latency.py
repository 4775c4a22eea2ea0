"""How long answers take: a log-normal time, a heavy tail, and a share for each output token."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of seconds.

    Args:
        median: Seconds, without tail and tokens. 0 answers at once.
        sigma: Spread of the logarithm; 0.3 puts the 95th percentile at 1.6 medians.
        tail: Share of answers that take `tail_factor` times as long.
        tail_factor: See `tail`.
        per_token: Seconds for each output token.
    """

    median: float = 0.0
    sigma: float = 0.3
    tail: float = 0.0
    tail_factor: float = 8.0
    per_token: float = 0.0

    def __post_init__(self) -> None:
        if min(self.median, self.sigma, self.tail, self.per_token) < 0 or self.tail > 1:
            raise ValueError("a latency's median, sigma, tail and per_token are not negative")

    def draw(self, random: random.Random, output_tokens: int) -> float:
        """Seconds for one answer."""
        seconds = self.median * math.exp(self.sigma * random.gauss(0.0, 1.0))
        if self.tail and random.random() < self.tail:
            seconds *= self.tail_factor
        return seconds + self.per_token * output_tokens
