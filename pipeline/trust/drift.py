"""When labels say that what was certified no longer holds. Pure.

An e-detector (Shin, Ramdas and Rinaldo 2024): at each label a new bet begins that from now on the
share of errors is above the risk; the capital of all bets together is compared with the run length
that is wanted. While the share stays at or below the risk, it takes on average at least so many
labels until an alarm, whenever one begins to count; nothing is assumed of how the share changes.
"""

import math
from dataclasses import dataclass, field

RUN_LENGTH = 1000
"""Labels until a false alarm, at least, on average."""
_BETS = 16
_LARGEST_BET = 0.9
_SMALLEST_BET = 0.02


@dataclass(slots=True)
class Detector:
    """Watches labels of one stage, tier or label, one by one.

    Args:
        risk: The share of errors that was certified.
        run_length: Labels until a false alarm, on average, at least.
    """

    risk: float
    run_length: float = RUN_LENGTH
    labels: int = 0
    _capital: list[float] = field(default_factory=lambda: [0.0] * _BETS)

    def __post_init__(self) -> None:
        if not 0 < self.risk < 1 or self.run_length < 1:
            raise ValueError("a risk lies between 0 and 1, and a run length is 1 or more")

    def add(self, is_wrong: bool, stake: float = 1.0) -> bool:
        """Take a label; returns whether it is time for an alarm.

        `stake`: what it weighs, of the largest weight that any label has.
        """
        self.labels += 1
        excess = stake * ((1.0 if is_wrong else 0.0) - self.risk)
        for number, size in enumerate(_sizes(self.risk)):
            self._capital[number] = (self._capital[number] + 1) * (1 + size * excess)
        return self.is_alarmed

    @property
    def level(self) -> float:
        """The capital of all bets as a share of what an alarm takes."""
        return math.fsum(self._capital) / _BETS / self.run_length

    @property
    def is_alarmed(self) -> bool:
        return self.level >= 1

    def restart(self) -> None:
        """Begin again, as after an alarm that somebody has dealt with."""
        self.labels = 0
        self._capital = [0.0] * _BETS


def _sizes(risk: float) -> list[float]:
    """Parts of the capital that are staked, evenly on a logarithmic scale."""
    low, high = _SMALLEST_BET / risk, _LARGEST_BET / risk
    ratio = (high / low) ** (1 / (_BETS - 1))
    return [low * ratio**number for number in range(_BETS)]
