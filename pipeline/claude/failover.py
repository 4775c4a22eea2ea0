"""Which endpoint of a tier is asked: the first, or the fallback while the first is out.

The first is out from when its breaker opens, or a person has to fix something, until a probe is
answered; and while it asks for a long pause. Then questions go to the fallback, those that wait
for the first as well. When the first is back it gets a share of the questions that rises to all
within seconds, since the window of calls at once starts small after an outage. One that goes out
again soon after it came back stays out for longer each time.

Where both are out, questions wait for the first; the one that is back sooner gets them.

Pure: the time comes in as seconds of a clock that does not go back.
"""

from dataclasses import dataclass
from math import inf

from pipeline.model.observer import Place
from pipeline.model.records import Usage

LONG_PAUSE_SECONDS = 10.0
"""A pause that an endpoint asks for, or that was learnt, is waited for; a longer one is not."""
RETURN_SECONDS = 8.0
"""Within which all questions go to the first again. A window that doubles with each round of
answers grows from an eighth to all in that time, with answers that take less than 3 s."""
LEAST_SHARE = 0.05
"""What the first gets when it begins to return."""
RELAPSE_SECONDS = 60.0
"""An endpoint that goes out so soon after it returned has not recovered."""
FIRST_HOLD_SECONDS = 30.0
"""The least time that a relapse takes; twice as long after each further one."""
LONGEST_HOLD_SECONDS = 300.0
FAILURES_IN_A_ROW = 3
"""So many failures of one question make it leave an endpoint, where nobody was answered since the
first of them: with little traffic a breaker takes long to open."""


class LeavesEndpoint(Exception):
    """A question is to go to the other endpoint of its tier; `usage` is of its calls here."""

    def __init__(self, usage: Usage | None = None) -> None:
        super().__init__("the question goes to the other endpoint")
        self.usage = usage or Usage()


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an endpoint.

    Args:
        because: Why no call can succeed until a probe does; None where calls can.
        paused_until: Until when it is to be left alone, on the clock.
    """

    because: str | None = None
    paused_until: float = -inf

    def is_out(self, now: float) -> bool:
        return self.because is not None or self.paused_until - now > LONG_PAUSE_SECONDS

    def is_back(self, now: float) -> bool:
        """Whether one that was out can be asked again: not in the last seconds of a pause."""
        return self.because is None and self.paused_until <= now


class Failover:
    """Where the questions of one stage to one tier go.

    Each method takes what is known of both endpoints at the moment.
    """

    def __init__(self) -> None:
        self._out_since: float | None = None
        self._returned_at = -inf
        self._hold = 0.0
        self._due_to_first = 0.0

    def pick(self, first: Standing, fallback: Standing, now: float) -> Place:
        """Where the next question goes."""
        share = self._share_of_first(first, now)
        if share < 1 and not fallback.is_out(now):
            self._due_to_first += share
            if self._due_to_first < 1:
                return "fallback"
            self._due_to_first -= 1
        return "first"

    def leaves(self, place: Place, first: Standing, fallback: Standing, now: float) -> bool:
        """Whether a question that waits there is to go to the other endpoint."""
        if place == "fallback":
            return fallback.is_out(now) and first.is_back(now)
        return self._share_of_first(first, now) == 0 and not fallback.is_out(now)

    def in_use(self, first: Standing, fallback: Standing, now: float) -> tuple[Place, ...]:
        """Where questions go at present: to both while the first returns."""
        share = self._share_of_first(first, now)
        if share == 1 or fallback.is_out(now):
            return ("first",)
        return ("first", "fallback") if share else ("fallback",)

    def _share_of_first(self, first: Standing, now: float) -> float:
        if self._out_since is None:
            if first.is_out(now):
                self._go_out(now)
                return 0.0
        elif first.is_back(now) and now - self._out_since >= self._hold:
            self._out_since = None
            self._returned_at = now
            self._due_to_first = 0.0
        else:
            return 0.0
        return min(1.0, max(LEAST_SHARE, (now - self._returned_at) / RETURN_SECONDS))

    def _go_out(self, now: float) -> None:
        relapse = now - self._returned_at < RELAPSE_SECONDS
        longer = min(LONGEST_HOLD_SECONDS, max(FIRST_HOLD_SECONDS, 2 * self._hold))
        self._hold = longer if relapse else 0.0
        self._out_since = now
