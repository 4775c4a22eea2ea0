"""Whose trouble a failure is: the model's, or that of the event which it hits. Pure.

In an outage everybody fails; where others are answered and one event is not, again and again, it
is the event. So each failure of an event counts for as much as the share of its peers that were
answered since its last one: nothing in an outage, nearly 1 on an ordinary day. Under failures that
strike everybody alike with a chance of p, an event reaches a weight of n with a chance of
(p / (1 + p))^n where one peer ends in between, and of p^(n / (1 - p)) where many do: below 2^-n
however bad the day is.

Peers are the first attempts of other events and control questions. Repetitions are no peers: a
few events that always fail would pass for an outage.

How long to wait before the next attempt. It decides; it never sleeps.

How long to wait for an answer: learnt from those that came.

A call that hangs holds a slot for as long as one waits for it, and a call that is given up too
early is paid for nothing. So the limit lies far above what was measured, and moves up at once
when it was hit. Pure.
"""

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Self

from pipeline.config import ClaudeSettings

HUNG = 0.5
"""A weight that is enough where calls were given up: each takes a slot for long."""


@dataclass(slots=True)
class Peers:
    """What became of first attempts and control questions, of one kind of question to one model.

    Args:
        answered: Ended with a response about themselves, be it a refusal or a rejection.
        failed: Ended with anything else.
    """

    answered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """When an event's failures are its own trouble; both must be reached.

    Args:
        attempts: Failures while its peers were answered, each counted by the share of those.
        seconds: Since the first failure.
    """

    attempts: float
    seconds: float

    @classmethod
    def of(cls, settings: ClaudeSettings) -> Self:
        """As they are set."""
        return cls(settings.attempts_per_event, settings.attempts_seconds)


class Attempts:
    """The failures of one event's question, from its first attempt on.

    Its first attempt is counted among the peers, for the sake of the others.

    Args:
        peers: Of the same kind.
    """

    __slots__ = (
        "_answered_before", "_failed_before", "_first_at", "_last_at", "_last_detail", "_peers",
        "alone", "count", "maybe_billed", "seconds", "timed_out", "weight",
    )  # fmt: skip

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._answered_before = peers.answered
        self._failed_before = peers.failed
        self._first_at = self._last_at = 0.0
        self._last_detail = ""
        self.count = 0
        """Failures so far."""
        self.weight = 0.0
        """The same, each counted by the share of peers answered since the one before."""
        self.alone = False
        """Whether the last one befell this event alone: it had failed before, and others were
        answered in between."""
        self.timed_out = 0
        """How many were time-outs."""
        self.seconds = 0.0
        """Spent in calls."""
        self.maybe_billed = False
        """Whether any of them may have been paid all the same."""

    def others_answered(self) -> bool:
        """Whether a peer was answered since the last failure or, before that, since the start."""
        return self._peers.answered > self._answered_before

    @property
    def in_trouble(self) -> bool:
        """Whether it has failed twice while others were answered, or hung while most were."""
        return self.weight >= (HUNG if self.timed_out else 1)

    def answered(self) -> None:
        """There was a response about the question itself, be it a refusal or a rejection."""
        if not self.count:
            self._peers.answered += 1

    def failed(
        self,
        now: float,
        detail: str,
        *,
        seconds: float = 0.0,
        timed_out: bool = False,
        maybe_billed: bool = False,
        unclear: bool = False,
    ) -> None:
        """Count a failure.

        Args:
            now: Seconds of a clock that does not go back.
            detail: A sentence for a person.
            seconds: Spent in the call.
            timed_out: Whether no answer came in time.
            maybe_billed: Whether it may have been paid all the same.
            unclear: Whether it may have befallen this event alone although it is the first.
        """
        peers = self._peers
        answered = peers.answered - self._answered_before
        ended = answered + peers.failed - self._failed_before
        self.weight += answered / ended if ended else 0.0
        self.alone = answered > 0 and (self.count > 0 or unclear)
        if not self.count:
            self._first_at = now
            peers.failed += 1
        self.count += 1
        self.seconds += seconds
        self.timed_out += timed_out
        self.maybe_billed = self.maybe_billed or maybe_billed
        self._last_at = now
        self._last_detail = detail
        self._answered_before, self._failed_before = peers.answered, peers.failed

    def are_over(self, bounds: Bounds) -> bool:
        """Whether the failures are the event's own trouble."""
        return self.weight >= bounds.attempts and self.lasting >= bounds.seconds

    @property
    def lasting(self) -> float:
        """Seconds from the first failure to the last."""
        return self._last_at - self._first_at

    def history(self, beside: str = "others were answered") -> str:
        """What happened, for a person: how often, over what time, and the last failure.

        Args:
            beside: What worked meanwhile.
        """
        return (
            f"No answer in {self.count} attempts over {self.lasting:.0f} s, while {beside}."
            f" The last one: {self._last_detail}"
        )


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
