"""Whether too much ends as a dead letter for the events alone to be at fault."""

from collections import deque


class DeadLetterRatio:
    """The share of dead letters among recent ends. Pure.

    One bad publisher, or one bad release of a stage, can turn a whole topic into dead letters.
    Beyond the ratio that is no longer the events' own fault and a person has to look. What is
    not in the window yet counts as good, so a few bad events at the start close nothing.

    Args:
        window: Recent ends that are looked at.
        ratio: The share of dead letters above which it is exceeded; 1 never is.
    """

    def __init__(self, window: int, ratio: float) -> None:
        self.window = window
        self._ends: deque[bool] = deque(maxlen=window)
        self._limit = window * ratio
        self._dead = 0

    @property
    def exceeded(self) -> bool:
        """Whether more than the set share of the window are dead letters."""
        return self._dead > self._limit

    @property
    def dead(self) -> int:
        """Dead letters in the window."""
        return self._dead

    def add(self, *, is_dead: bool) -> None:
        """An event came to its end."""
        if len(self._ends) == self.window:
            self._dead -= self._ends[0]
        self._ends.append(is_dead)
        self._dead += is_dead
