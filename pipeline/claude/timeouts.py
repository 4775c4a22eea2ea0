"""How long to wait for an answer: learnt from those that came.

A call that hangs holds a slot for as long as one waits for it, and a call that is given up too
early is paid for nothing. So the limit lies far above what was measured, and moves up at once
when it was hit. Pure.
"""

from math import exp, log, sqrt

LEAST_SECONDS = 10.0
"""Never less: a slow moment of the API must not double the bill."""
DEVIATIONS = 5.0
SAMPLES_NEEDED = 20
LEARNING_RATE = 0.02
GROWTH = 2.0
SHRINKING = 0.98
"""After each time-out the limit doubles, and comes back with the answers."""


class Timeout:
    """The limit for the calls of one stage to one model.

    Latencies are taken as log-normal: the limit is the geometric mean times that many geometric
    standard deviations.

    Args:
        most: Seconds; the setting.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._least = min(LEAST_SECONDS, most)
        self._mean = 0.0
        self._variance = 0.0
        self._samples = 0
        self._factor = 1.0

    @property
    def seconds(self) -> float:
        """The limit for the next call."""
        if self._samples < SAMPLES_NEEDED:
            return self._most
        learnt = exp(min(50.0, self._mean + DEVIATIONS * sqrt(self._variance)))
        return min(self._most, max(self._least, learnt) * self._factor)

    def after(self, timed_out: int) -> float:
        """The limit for a call whose question was given up so many times: twice as long each time.

        It may be a long question; the limit of all others is no longer for that.
        """
        return min(self._most, self.seconds * GROWTH ** min(timed_out, 20))

    def answered(self, seconds: float) -> None:
        """An answer came after that time."""
        self._samples += 1
        rate = max(LEARNING_RATE, 1 / self._samples)
        deviation = log(max(seconds, 1e-3)) - self._mean
        self._mean += rate * deviation
        self._variance = (1 - rate) * (self._variance + rate * deviation**2)
        self._factor = max(1.0, self._factor * SHRINKING)

    def expired(self) -> None:
        """No answer came in time, to a question that had not been given up before."""
        self._factor = min(self._factor * GROWTH, 2.0**20)
