"""When dead letters stop intake, and how it opens again. Pure.

Junk must not be an off-switch: any client that may publish can send any number of bad events,
and each of them costs one dead letter and no more. So what is counted are distinct keys, and what
stops intake is one of two things:

- a fault of ours (`stage_failed`, `rejected_by_api`) on more than the set share of recent keys:
  a bad release, or a request that the API does not take any more;
- an input that has changed as a whole: most keys whose events came through before become dead
  letters, or most of all keys do and nothing at all has come through for a while. Junk of one
  publisher is neither, however much of it there is: the others still come through.

It opens by itself: now and then a few events are let through, and intake opens when they succeed.
Where the input is at fault more are let through each time, so that what looks like a change of all
and is a flood of junk at a quiet hour is worked off soon.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from pipeline.model.records import DeadLetterReason
from pipeline.stream.records import Disposition, Outcome

OURS = frozenset({DeadLetterReason.STAGE_FAILED, DeadLetterReason.REJECTED_BY_API})
"""Reasons that say more about the stage than about the event."""
WINDOW_KEYS = 200
"""The keys seen last, of which the share of dead letters is taken."""
FEWEST_KEYS = 20
"""As many keys are looked at, at least: those that are not there yet count as good. Where an input
has fewer, a long row of dead letters without a good end in between stands for them."""
QUIET_SECONDS = 30.0
"""So long nothing may have come through before the input as a whole is taken to have changed."""
PROBE_EVENTS = 10
"""Events that are let through in the first round, to see whether the cause is gone."""
MOST_PROBE_EVENTS = 10_000
PROBE_FIRST_SECONDS = 10.0
PROBE_LONGEST_SECONDS = 300.0
"""Between two rounds: after each that met a fault of ours twice as long, up to this."""
ROUND_SECONDS = 60.0
"""After which a round is judged by what has ended: the rest may have gone to another process."""


class _Last(IntEnum):
    """How the latest event of a key ended."""

    GOOD = 0
    OURS = 1
    INPUT = 2
    INPUT_AFTER_GOOD = 3


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why something else than single events is at fault."""

    is_ours: bool
    """A fault of the stage or its requests; else the input has changed."""
    because: str


@dataclass(slots=True)
class _Round:
    """Events that are let through while intake is closed, and what came of them."""

    left: int
    until: float
    taken: int = 0
    good: int = 0
    dead: int = 0
    ours: int = 0


class DeadLetterBreaker:
    """Closes intake on an alarm, and lets a few events through now and then until they succeed.

    Args:
        window: Keys that are remembered, those that were seen last.
        ratio: The share of keys above which there is an alarm; 1 for never.
        clock: Seconds that do not go back.
        quiet: Seconds without a good end before a new input is taken for changed.

    Attributes:
        paused_reason: Why intake is closed, as of the last `update`; None where it is not.
    """

    def __init__(
        self,
        window: int,
        ratio: float,
        *,
        clock: Callable[[], float],
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self.paused_reason: str | None = None
        self._window = window
        self._ratio = ratio
        self._clock = clock
        self._quiet = quiet
        self._closed_by: Alarm | None = None
        self._pause = PROBE_FIRST_SECONDS
        self._events = PROBE_EVENTS
        self._next_round = 0.0
        self._round: _Round | None = None
        self._in_a_row = 0
        self._clear()

    def completed(self, outcome: Outcome) -> None:
        """An event came to its end. One without a key is a key of its own.

        A record that was passed over says nothing: another may come in its place.
        """
        if outcome.end is Disposition.PASSED_OVER:
            if self._round is not None:
                self._round.taken -= 1
                self._round.left += 1
            return
        if self._closed_by is not None:
            if self._round is not None:
                self._round.good += outcome.reason is None
                self._round.dead += outcome.reason is not None
                self._round.ours += outcome.reason in OURS
            return
        # A key may be as large as a record, and nothing but its identity matters.
        given = outcome.records[0].key if outcome.records else None
        key = object() if given is None else hash(given)
        before = self._last.pop(key, None)
        self._counts[before] -= 1
        self._in_a_row += 1
        if outcome.reason is None:
            last = _Last.GOOD
            self._good_at, self._in_a_row = self._clock(), 0
        elif outcome.reason in OURS:
            last = _Last.OURS
        elif before in {_Last.GOOD, _Last.INPUT_AFTER_GOOD}:
            last = _Last.INPUT_AFTER_GOOD
        else:
            last = _Last.INPUT
        self._last[key] = last
        self._counts[last] += 1
        if len(self._last) > self._window:
            self._counts[self._last.pop(next(iter(self._last)))] -= 1

    @property
    def alarm(self) -> Alarm | None:
        """What is wrong, if more is than single events."""
        good, ours, new, turned = (self._counts[last] for last in _Last)
        keys = len(self._last)
        if self._ratio >= 1:
            return None
        fewest = min(self._window, FEWEST_KEYS)
        is_long_row = self._in_a_row > self._ratio * self._window
        if self._are_many(ours, of=keys if is_long_row else max(keys, fewest)):
            return Alarm(
                is_ours=True,
                because=f"events of {ours} of the last {keys} keys became dead letters by a fault "
                "of the stage or of its requests",
            )
        if self._are_many(turned, of=max(good + turned, fewest)):
            return Alarm(
                is_ours=False,
                because=f"events of {turned} of {good + turned} keys that came through before "
                "became dead letters: the input as a whole has changed",
            )
        dead, silence = new + turned, self._clock() - self._good_at
        if is_long_row and self._are_many(dead, of=keys) and silence >= self._quiet:
            return Alarm(
                is_ours=False,
                because=f"the last {self._in_a_row} events, of {dead} keys, became dead letters, "
                f"and nothing came through for {silence:.0f} s: the input as a whole has changed",
            )
        return None

    def update(self) -> int | None:
        """Look at the clock and at what has ended; how many may be taken now, None for any."""
        now = self._clock()
        if self._closed_by is None:
            is_all_good = self._counts[_Last.GOOD] == len(self._last)
            self._closed_by = None if is_all_good else self.alarm
            if self._closed_by is None:
                return None
            self.paused_reason = (
                f"{self._closed_by.because}; look at them (`pipeline dead-letters list`) and fix "
                "the cause: a few events are let through now and then, and intake opens by itself "
                "when they succeed"
            )
            self._pause, self._events = PROBE_FIRST_SECONDS, PROBE_EVENTS
            self._next_round = now + self._pause
        elif self._round is None and now >= self._next_round:
            self._round = _Round(left=self._events, until=now + ROUND_SECONDS)
        elif (seen := self._round) is not None:
            all_ended = seen.left == 0 and seen.good + seen.dead >= seen.taken
            # Those that have not ended may have gone to another process.
            if all_ended or (seen.taken > 0 and now >= seen.until):
                self._judge(self._closed_by, seen, now)
        if self.paused_reason is None:
            return None
        return 0 if self._round is None else self._round.left

    def took(self, records: int) -> None:
        """So many came in."""
        if self._round is not None:
            self._round.taken += records
            self._round.left = max(0, self._round.left - records)

    def _judge(self, alarm: Alarm, seen: _Round, now: float) -> None:
        self._round = None
        faults = seen.ours if alarm.is_ours else 0
        if seen.good > faults:
            self._closed_by = self.paused_reason = None
            self._clear()
            return
        if faults:
            self._pause = min(2 * self._pause, PROBE_LONGEST_SECONDS)
            self._events = PROBE_EVENTS
        elif seen.dead:
            self._events = min(2 * self._events, MOST_PROBE_EVENTS)
        self._next_round = now + self._pause

    def _clear(self) -> None:
        """Forget everything: what comes from here on decides."""
        self._last: dict[object, _Last] = {}
        self._counts: Counter[_Last | None] = Counter()
        self._good_at, self._in_a_row = self._clock(), 0

    def _are_many(self, keys: int, *, of: int) -> bool:
        # One key is one publisher at most, however small the share and the window are set.
        return keys > max(1, self._ratio * of)
