"""What may be spent in each hour and day: by a stage and by all, in one process or in many.

Amounts are US dollars, hours and days those of the clock in UTC. Before a call goes, the most that
it may cost is reserved. Where the budget is shared, each process claims money ahead of its calls:
it writes to a log, which all read in the same order, what it may have spent of the running hour at
most. When it reads its own claim back it knows every claim before it, and only what these leave is
granted. So no two processes are granted the same money, and what one had claimed when it died stays
counted. The last call is granted while anything is left at all: the most that is spent is the
budget and one call.

Pure: the log is written and read by `pipeline.cascade.spending`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

Span = Literal["hour", "day"]
SPANS: tuple[Span, ...] = ("hour", "day")
Caps = Mapping[Span, Decimal | None]
Amounts = Mapping[str, Decimal]
"""US dollars by stage."""
ZERO = Decimal(0)
_ALL = ""
_NOTHING_PASSED, _HOUR = timedelta(0), timedelta(hours=1)
_DAY = timedelta(days=1)
_DAYS_KEPT = timedelta(days=2)
"""How far from the present hours are remembered: a clock that was a day off may be put right."""
_CALLS_AHEAD = 8
"""Calls that are claimed ahead at least while a stage calls: as many as begin at once."""
_PACES_AHEAD = 2
"""How many times what was spent since the last tick is claimed ahead: what is spent until the next
claim is granted, with as much to spare."""
_ASK_AGAIN = 1.0
"""Seconds until a call that waits for money of others looks again."""


@dataclass(frozen=True, slots=True)
class UsedUp:
    until: datetime
    because: str


class Budget:
    """What was spent, and whether more may be; `now` is aware, in UTC.

    Alone unless `share` is called. `changed` is called when waiting calls may go on.
    """

    def __init__(
        self, overall: Caps, stages: Mapping[str, Caps], *, now: Callable[[], datetime]
    ) -> None:
        self._caps = {_ALL: overall, **stages}
        self._now = now
        self.is_limited = any(
            cap is not None for caps in self._caps.values() for cap in caps.values()
        )
        self.changed: Callable[[], object] = lambda: None
        self._ask: Callable[[], object] | None = None
        self._began = _begins(now())
        self._spent: dict[Span, defaultdict[str, Decimal]] = _by_span()
        self._reserved: defaultdict[str, Decimal] = _amounts()
        self._granted: defaultdict[str, Decimal] = _amounts()
        self._past: dict[datetime, Amounts] = {}
        self._claims: dict[tuple[str, datetime], Amounts] = {}
        self._others: dict[Span, defaultdict[str, Decimal]] = _by_span()
        self._calls: tuple[dict[str, Decimal], dict[str, Decimal]] = ({}, {})
        self._paces: dict[str, Decimal] = {}
        self._at_tick: Amounts = {}

    def add(self, stage: str, usd: Decimal) -> None:
        """So much was spent, whether or not it was reserved."""
        if not usd:
            return
        for spent in self._running().values():
            for whose in (stage, _ALL):
                spent[whose] += usd

    def reserve(self, stage: str, usd: Decimal) -> None:
        """A call goes that may cost so much; `release` it with the same amount when it ended."""
        self._reserved[stage] += usd
        self._reserved[_ALL] += usd
        self._note_call(stage, usd)

    def release(self, stage: str, usd: Decimal) -> None:
        self._reserved[stage] -= usd
        self._reserved[_ALL] -= usd

    def spent(self, stage: str, span: Span) -> Decimal:
        """By all: of other processes what they may have spent."""
        return self._running()[span][stage] + self._others[span][stage]

    def stages(self) -> list[str]:
        """Of which anything was spent or claimed since this began."""
        return sorted(self._running()["day"].keys() - {_ALL})

    def used_up(self, stage: str) -> UsedUp | None:
        """Why a stage may spend nothing more for a while; what is under way here does not count."""
        spent = self._running()
        for span, whose, cap in self._limits(stage):
            if spent[span][whose] + self._others[span][whose] >= cap:
                until = self._began[span] + (_HOUR if span == "hour" else _DAY)
                name = "The budget" if whose == _ALL else f"The budget of {stage}"
                because = (
                    f"{name} of {cap} US dollars for this {span} is used up; "
                    f"it goes on at {until:%Y-%m-%d %H:%M} UTC."
                )
                return UsedUp(until, because)
        return None

    def wait(self, stage: str, usd: Decimal) -> float:
        """Seconds until a call that may cost so much can go, or is to be looked at again; 0 now."""
        self._running()
        if self._ask is not None and self._used(stage) + usd <= self._granted[stage]:
            return 0.0
        if (used_up := self.used_up(stage)) is not None:
            return (used_up.until - self._now()).total_seconds()
        left = self._left(stage)
        if left is None:
            return 0.0
        if self._ask is None:
            return 0.0 if left > 0 else _ASK_AGAIN
        self._note_call(stage, usd)
        if left > 0:
            self._ask()
        return _ASK_AGAIN

    def share(self, ask: Callable[[], object]) -> None:
        """From now on only what is granted is spent; `ask` is called when more is to be claimed."""
        self._ask = ask

    def claims(self, *, tick: bool = False, last: bool = False) -> dict[datetime, Amounts]:
        """What this process may have spent at most, by hour of today, to be written to the log.

        What is not needed any more is given back with it: it must be written, or a later one. The
        running hour comes first.

        Args:
            tick: A second has passed since the last one.
            last: No call is under way or will come.
        """
        spent = self._running()["hour"]
        if tick:
            self._paces = {each: usd - self._at_tick.get(each, ZERO) for each, usd in spent.items()}
            self._at_tick = dict(spent)
            self._calls = ({}, self._calls[0])
        found = {}
        for stage in (spent.keys() | self._reserved.keys() | self._calls[0].keys()) - {_ALL}:
            claim = self._used(stage)
            if not last:
                claim += self._ahead(stage)
            self._granted[stage] = min(self._granted[stage], claim)
            if claim:
                found[stage] = claim
        past = {at: usd for at, usd in self._past.items() if self._is_in("day", at)}
        return {self._began["hour"]: found, **past}

    def read_own(self, hour: datetime, claim: Amounts) -> None:
        """The latest claim of this process was read back: grant what earlier ones leave of it."""
        self._running()
        if hour != self._began["hour"]:
            return
        for stage, usd in claim.items():
            left, used = self._left(stage), self._used(stage)
            if left is not None and left > 0:
                most = used + max(left, self._call(stage))
                self._granted[stage] = max(self._granted[stage], min(usd, most))
        self.changed()

    def read_other(self, process: str, hour: datetime, claim: Amounts) -> None:
        """What another process may have spent in an hour, in place of what it said before."""
        self._running()
        before = self._claims.get((process, hour), {})
        if hour < self._began["day"] - _DAYS_KEPT:
            return
        self._claims[process, hour] = claim
        for stage in claim:
            self._spent["day"][stage] += ZERO
        for span in SPANS:
            if self._is_in(span, hour):
                _count(self._others[span], before, -1)
                _count(self._others[span], claim, 1)
        self.changed()

    def _limits(self, stage: str) -> Iterator[tuple[Span, str, Decimal]]:
        for span in SPANS:
            for whose in (_ALL, stage):
                cap = self._caps.get(whose, {}).get(span)
                if cap is not None:
                    yield span, whose, cap

    def _left(self, stage: str) -> Decimal | None:
        """What a stage may use on top of what it uses; None without a limit."""
        left = min(
            (
                cap - self._others[span][whose] - self._own(span, whose)
                for span, whose, cap in self._limits(stage)
            ),
            default=None,
        )
        if left is None:
            return None
        # What is granted and not used may be used for another call.
        return left + max(ZERO, self._granted[stage] - self._used(stage))

    def _own(self, span: Span, whose: str) -> Decimal:
        stages = self._granted.keys() | self._reserved.keys() | self._spent["hour"].keys()
        mine = (stages - {_ALL}) if whose == _ALL else {whose}
        total = sum((max(self._granted[each], self._used(each)) for each in mine), ZERO)
        if span == "day":
            total += self._spent["day"][whose] - self._spent["hour"][whose]
        return total

    def _used(self, stage: str) -> Decimal:
        return self._spent["hour"][stage] + self._reserved[stage]

    def _ahead(self, stage: str) -> Decimal:
        """What is to be claimed beyond what is used."""
        left, call = self._left(stage), self._call(stage)
        ahead = _PACES_AHEAD * self._paces.get(stage, ZERO) + _CALLS_AHEAD * call
        if left is None:
            return ZERO
        return min(ahead, max(left, call)) if left > 0 else ZERO

    def _call(self, stage: str) -> Decimal:
        """The most that a call of late may cost."""
        return max(each.get(stage, ZERO) for each in self._calls)

    def _note_call(self, stage: str, usd: Decimal) -> None:
        self._calls[0][stage] = max(usd, self._calls[0].get(stage, ZERO))

    def _running(self) -> dict[Span, defaultdict[str, Decimal]]:
        now = self._now()
        if not _NOTHING_PASSED <= now - self._began["hour"] < _HOUR:
            self._begin(_begins(now))
        return self._spent

    def _begin(self, begins: Mapping[Span, datetime]) -> None:
        """Begin a new hour. What is under way then counts there, where it will be paid."""
        ended = {each: usd for each, usd in self._spent["hour"].items() if usd and each != _ALL}
        self._past[self._began["hour"]] = ended
        # Its clock may have been put back into an hour that it knows.
        begun = self._past.pop(begins["hour"], {})
        earliest = begins["day"] - _DAYS_KEPT
        latest = begins["day"] + _DAY + _DAYS_KEPT
        self._past = {at: usd for at, usd in self._past.items() if earliest <= at < latest}
        self._claims = {key: each for key, each in self._claims.items() if key[1] >= earliest}
        self._began = dict(begins)
        self._granted, self._at_tick, self._paces = _amounts(), {}, {}
        self._others = _by_span()
        for span in SPANS:
            self._spent[span] = defaultdict(Decimal, dict.fromkeys(self._spent[span], ZERO))
            _count(self._spent[span], begun, 1)
            for at, usd in self._past.items():
                if self._is_in(span, at):
                    _count(self._spent[span], usd, 1)
            for (_, hour), claim in self._claims.items():
                if self._is_in(span, hour):
                    _count(self._others[span], claim, 1)

    def _is_in(self, span: Span, hour: datetime) -> bool:
        """Whether an hour is in the running hour or day."""
        return self._began[span] <= hour < self._began[span] + _length(span)


def _begins(now: datetime) -> dict[Span, datetime]:
    hour = now.replace(minute=0, second=0, microsecond=0)
    return {"hour": hour, "day": hour.replace(hour=0)}


def _length(span: Span) -> timedelta:
    return _HOUR if span == "hour" else _DAY


def _amounts() -> defaultdict[str, Decimal]:
    return defaultdict(Decimal)


def _by_span() -> dict[Span, defaultdict[str, Decimal]]:
    return {span: _amounts() for span in SPANS}


def _count(totals: defaultdict[str, Decimal], claim: Amounts, sign: int) -> None:
    for stage, usd in claim.items():
        totals[stage] += sign * usd
        totals[_ALL] += sign * usd
