"""How many calls to a model may be under way at once.

Few at first, and one more for each success: the number doubles with every round of answers until
the setting is reached, so that neither a start nor a recovery is a burst. The API caps how fast
usage may grow (`ramp_limit_exceeded`), without saying how fast; after such an answer the window
is halved and grows by one a round.
"""

START = 8


class Window:
    """The number of calls that may be under way.

    Args:
        most: The setting.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = float(min(START, most))
        self._doubles_below = float(most)

    @property
    def most(self) -> int:
        """The setting."""
        return self._most

    @property
    def size(self) -> int:
        """Calls at once."""
        return int(self._size)

    def succeeded(self, in_flight: int) -> None:
        """An answer came.

        Args:
            in_flight: Calls under way, this one included. A window that is not used does not
                grow: nothing was learnt about what lies beyond.
        """
        if in_flight < self._size / 2:
            return
        step = 1.0 if self._size < self._doubles_below else 1.0 / self._size
        self._size = min(self._most, self._size + step)

    def ramped(self) -> None:
        """Usage grew faster than the API allows."""
        self._size = max(1.0, self._size / 2)
        self._doubles_below = self._size

    def recovered(self) -> None:
        """The API answers again after an outage: start small, and grow fast."""
        self._size = max(1.0, min(self._size, max(START, self._size / 4)))
