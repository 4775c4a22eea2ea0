"""A pace learned from 429s alone, where no header states a limit, by replicas that do not talk.

Additive increase, multiplicative decrease, on the logarithm of the pace: it grows by a share of
itself with time and falls by a share with a 429. 429s strike whoever asks more the more often, and
every process aims at the same time between its own. So those that ask more fall until all ask
about the same, whatever the limit is.

What a 429 means depends on how it comes. A single one after a long time is the edge of the limit:
a small decrease. Several among the next few requests say by how much the limit is exceeded. Where
none comes for long, there is room, and the pace grows faster and faster. At a start decreases are
large and often, so that replicas even out; they become small and rare within a minute.

Pure: the time comes in as seconds of a clock that does not go back.
"""

from math import exp, log, sqrt

BURST_SECONDS = 0.2
"""What a pause may save up, for timers that come late."""
FIRST_RATE = 1.0
"""Requests a second from which a process starts again after a burst of which all was refused: all
replicas from the same, so that their shares are."""
LEAST_RATE = 0.01
"""Requests a second: with fewer there would be no news."""
FIRST_INTERVAL, USUAL_INTERVAL = 6.0, 50.0
"""Seconds between its own 429s that a process aims at: at a start, and at `USUAL_RATE`. 4 replicas
have 5 a minute then, 0.8 % of 600 requests."""
USUAL_RATE = 2.5
"""Requests a second of one process. More can do with a shorter interval at fewer 429s in a hundred,
fewer need a longer one, by the third root: shares even out the more slowly the larger the power."""
INTERVAL_FACTORS = 0.3, 1.5
INTERVAL_DOUBLES = 12.0
"""Seconds of use in which the interval doubles until it is the usual one."""
RENEWED_INTERVAL = 25.0
"""The interval after a limit was found that is much higher than the last one."""
SETTLED = 0.4
"""From that share of the usual interval on, several 429s say that the limit was lowered; before,
that replicas have not found it yet, and how many each gets is chance."""
FIRST_DECREASE, USUAL_DECREASE = 0.3, 0.13
"""Of the logarithm of the pace."""
LARGEST_DECREASE = 0.7
INCREASE = 0.7
"""The logarithm grows by that share of a decrease in an interval, and faster where no 429 came."""
IMPATIENT_FROM = 0.7
"""Intervals without a 429 from which the pace grows faster, ..."""
IMPATIENCE = 10.0
"""... by so many times the square of what it is beyond that."""
FIRST_INCREASE, FASTEST_INCREASE = 0.25, 0.05
"""Of the logarithm in a second, at most: until the limit is found, and afterwards."""
DOUBLED, INCREASE_WHEN_DOUBLED = 1.0, 0.01
"""The logarithm has grown by that since the last 429: what lets it through may be what was saved up
meanwhile, and it grows that much in a second."""
MUCH_GROWN = 0.4
WATCH_REQUESTS, WATCH_SECONDS = 20, 4.0
"""After a decrease, requests and seconds in which other replicas are given time for theirs."""
REPEATED = 2
"""429s in that time that a lowered limit is known by."""
ALL_REFUSED = 8
"""429s without an answer in between that a limit is known by of which nothing is left."""
PROBE_RATE = 0.1
"""Requests a second that ask whether something is left again."""


class LearnedPace:
    """The pace of one process at a limit that nobody announces, since its first 429.

    Its unit is a usual request; one that takes more from the limit is several.

    Args:
        rate: Requests a second from which it begins.
        now: When the first one was refused.
    """

    def __init__(self, rate: float, now: float) -> None:
        self.rate = max(rate * exp(-FIRST_DECREASE), LEAST_RATE)
        """What may go at the moment, a second."""
        self._credit = 0.0
        self._interval = FIRST_INTERVAL
        self._is_found = False
        self._in_a_row = 1
        self._at = now
        self._begin(now)

    def wait(self, now: float) -> float:
        """Seconds until a request may go: one goes as soon as nothing is owed, however large."""
        self._advance(now)
        return max(0.0, -self._credit / self.rate)

    def sent(self, amount: float) -> None:
        self._credit -= amount
        self._sent += 1

    def answered(self, difference: float) -> None:
        """A request was answered, and took that much more than was estimated, or less."""
        self._credit -= difference
        self._in_a_row = 0

    def refused(self, sent_at: float, now: float) -> None:
        """A 429 came for what was sent then."""
        self._in_a_row += 1
        if sent_at <= self._since:
            # It was on its way at the last decrease, and says nothing new.
            return
        self._advance(now)
        self._refused += 1
        is_settled = self._interval > SETTLED * self._usual_interval()
        is_watching = self._sent < WATCH_REQUESTS and now - self._since < WATCH_SECONDS
        if is_watching and not self._is_found and self.rate > FIRST_RATE:
            self.rate = FIRST_RATE
            self._begin(now)
            return
        if is_watching and not (is_settled and self._refused >= REPEATED):
            return
        if self._in_a_row >= ALL_REFUSED:
            # It is used up; how fast it may be used shows when it is refilled.
            self._is_found = False
            self._interval = FIRST_INTERVAL
            self.rate = min(self.rate, max(PROBE_RATE, self.rate * exp(-FIRST_DECREASE)))
            self._begin(now)
            return
        excess = (self._refused - 0.5) / (self._sent + 1) if is_settled else 0.0
        if self._grown > MUCH_GROWN:
            self._interval = min(self._interval, RENEWED_INTERVAL)
        # What was gained until the limit was found lay below it and above it in equal parts.
        gained = min(LARGEST_DECREASE, self._grown / 2)
        decrease = max(gained, self._decrease - log(1 - excess))
        self.rate = max(LEAST_RATE, self.rate * exp(-decrease))
        self._is_found = True
        self._begin(now)

    def pause(self) -> None:
        """A time in which nothing could go saved up no claim to a burst."""
        self._credit = min(self._credit, 0.0)

    @property
    def _decrease(self) -> float:
        return max(USUAL_DECREASE, FIRST_DECREASE * sqrt(FIRST_INTERVAL / self._interval))

    def _begin(self, now: float) -> None:
        self._since = now
        self._quiet = self._grown = 0.0
        self._sent = self._refused = 0
        self.pause()

    def _advance(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed <= 0:
            return
        self._at = now
        most = max(self.rate * BURST_SECONDS, 1.0)
        # A pace that is not used up does not grow: nothing is learnt about what lies beyond.
        used = min(elapsed, max(0.0, most - self._credit) / self.rate)
        self._credit = min(most, self._credit + elapsed * self.rate)
        if self._is_found:
            self._interval = min(
                self._usual_interval(), self._interval * 2 ** (used / INTERVAL_DOUBLES)
            )
        beyond = max(0.0, self._quiet / self._interval - IMPATIENT_FROM)
        growth = INCREASE * self._decrease / self._interval * (1 + IMPATIENCE * beyond**2)
        grown = used * min(growth, self._fastest_increase())
        self._quiet += used
        self._grown += grown
        self.rate *= exp(grown)

    def _fastest_increase(self) -> float:
        if not self._is_found:
            return FIRST_INCREASE
        return FASTEST_INCREASE if self._grown < DOUBLED else INCREASE_WHEN_DOUBLED

    def _usual_interval(self) -> float:
        least, most = INTERVAL_FACTORS
        factor: float = (USUAL_RATE / self.rate) ** (1 / 3)
        return USUAL_INTERVAL * min(most, max(least, factor))
