"""What may be spent in each hour and day: by a stage, a tenant and all, in one process or in many.

Amounts are US dollars, hours and days those of the clock in UTC. Before a call goes, the most that
it may cost is reserved. Where the budget is shared, each process claims money ahead of its calls:
it writes to a log, which all read in the same order, what it may have spent of the running hour at
most. When it reads its own claim back it knows every claim before it, and only what these leave is
granted. So no two processes are granted the same money, and what one had claimed when it died stays
counted. The last call is granted while anything is left at all: the most that is spent is the
budget and one call.

A stage and a tenant each have an account, from which a call goes only if both have money; those of
stages add up to what all spend.

Pure: the log is written and read by `pipeline.cascade.spending`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Literal

Span = Literal["hour", "day"]
SPANS: tuple[Span, ...] = ("hour", "day")
Caps = Mapping[Span, Decimal | None]
Amounts = Mapping[str, Decimal]
"""US dollars by account: a stage, or a tenant behind `TENANT`."""
TENANT = "tenant/"
NO_TENANT = "(none)"
"""Whose the events are that name no tenant."""
OTHER_TENANTS = "(others)"
"""Whose account those have that have no limits of their own, once `TENANTS_COUNTED` were seen."""
TENANTS_COUNTED = 1000
"""Tenants that have an account each, in a process and day, beside those that settings name."""
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
_NAME_CHARACTERS = 100
"""Of a tenant; a longer name is counted by its hash."""
_ACTIVE = timedelta(seconds=5)
"""After a claim for a tenant, in which a process counts as one that calls for it."""


@dataclass(frozen=True, slots=True)
class UsedUp:
    until: datetime
    because: str


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """What a tenant may spend, and take of the rate limits: `rate_share` of each, at most."""

    caps: Caps = field(default_factory=dict)
    rate_share: float | None = None

    @property
    def is_limited(self) -> bool:
        return self.rate_share is not None or any(cap is not None for cap in self.caps.values())


@dataclass(frozen=True, slots=True)
class TenantBudgets:
    """The limits of every tenant: its own, or the default, which each has for itself."""

    default: TenantLimits = TenantLimits()
    named: Mapping[str, TenantLimits] = field(default_factory=dict)

    def of(self, tenant: str) -> TenantLimits:
        return self.named.get(tenant, self.default)

    @property
    def is_limited(self) -> bool:
        return any(each.is_limited for each in (self.default, *self.named.values()))


class Budget:
    """What was spent, and whether more may be; `now` is aware, in UTC.

    Alone unless `share` is called. `changed` is called when waiting calls may go on.
    """

    def __init__(
        self,
        overall: Caps,
        stages: Mapping[str, Caps],
        tenants: TenantBudgets | None = None,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._caps = {_ALL: overall, **stages}
        self._tenants = tenants or TenantBudgets()
        self._now = now
        self.is_limited = self._tenants.is_limited or any(
            cap is not None for caps in self._caps.values() for cap in caps.values()
        )
        self._accounts: dict[str, str] = {}
        self._active: dict[tuple[str, str], datetime] = {}
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

    def add(self, stage: str, usd: Decimal, *, tenant: str = "") -> None:
        """So much was spent, whether or not it was reserved."""
        if not usd:
            return
        accounts = self._of(stage, tenant)
        for spent in self._running().values():
            for whose in (*accounts, _ALL):
                spent[whose] += usd

    def reserve(self, stage: str, usd: Decimal, *, tenant: str = "") -> None:
        """A call goes that may cost so much; `release` it with the same amount when it ended."""
        for whose in self._of(stage, tenant):
            self._reserved[whose] += usd
            self._note_call(whose, usd)

    def release(self, stage: str, usd: Decimal, *, tenant: str = "") -> None:
        for whose in self._of(stage, tenant):
            self._reserved[whose] -= usd

    def spent(self, stage: str, span: Span) -> Decimal:
        """By all: of other processes what they may have spent."""
        return self._running()[span][stage] + self._others[span][stage]

    def stages(self) -> list[str]:
        """Of which anything was spent or claimed since this began."""
        return sorted(each for each in self._running()["day"] if _is_stage(each))

    def used_up(self, stage: str) -> UsedUp | None:
        """Why a stage may spend nothing more for a while; what is under way here does not count."""
        return self._used_up(stage)

    def tenants_used_up(self) -> dict[str, UsedUp]:
        """By account, those of tenants that may spend nothing more for a while."""
        spent = self._running()["day"].keys() | self._others["day"].keys()
        return {
            whose: used_up
            for whose in sorted(spent)
            if whose.startswith(TENANT) and (used_up := self._used_up(whose)) is not None
        }

    def account(self, tenant: str) -> str | None:
        """From what a tenant's calls are paid; None where nothing limits it."""
        if not self._tenants.of(tenant).is_limited:
            return None
        account = self._accounts.get(tenant)
        if account is None:
            name = tenant or NO_TENANT
            if len(name) > _NAME_CHARACTERS:
                name = sha256(name.encode()).hexdigest()
            if len(self._accounts) >= TENANTS_COUNTED and tenant not in self._tenants.named:
                return TENANT + OTHER_TENANTS
            account = self._accounts[tenant] = TENANT + name
        return account

    def rate_share(self, tenant: str) -> float | None:
        """Of the rate limits, what this process may take for a tenant; None for any.

        The processes that call for it at present have equal parts.
        """
        share = self._tenants.of(tenant).rate_share
        if share is None:
            return None
        whose, earliest = self.account(tenant), self._now() - _ACTIVE
        others = sum(at > earliest and key[0] == whose for key, at in self._active.items())
        return share / (1 + others)

    def wait(self, stage: str, usd: Decimal, *, tenant: str = "") -> float:
        """Seconds until a call that may cost so much can go, or is to be looked at again; 0 now."""
        self._running()
        return max(self._wait(whose, usd) for whose in self._of(stage, tenant))

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
        for whose, usd in claim.items():
            if _is_stage(whose):
                self._spent["day"][whose] += ZERO
            elif usd > before.get(whose, ZERO):
                self._active[whose, process] = self._now()
        for span in SPANS:
            if self._is_in(span, hour):
                _count(self._others[span], before, -1)
                _count(self._others[span], claim, 1)
        self.changed()

    def _of(self, stage: str, tenant: str) -> list[str]:
        """The accounts that a call is paid from."""
        account = self.account(tenant) if self._tenants.is_limited else None
        return [stage] if account is None else [stage, account]

    def _cap(self, whose: str, span: Span) -> Decimal | None:
        if _is_stage(whose) or whose == _ALL:
            return self._caps.get(whose, {}).get(span)
        name = whose.removeprefix(TENANT)
        return self._tenants.of("" if name == NO_TENANT else name).caps.get(span)

    def _limits(self, account: str) -> Iterator[tuple[Span, str, Decimal]]:
        for span in SPANS:
            for whose in (_ALL, account) if _is_stage(account) else (account,):
                if (cap := self._cap(whose, span)) is not None:
                    yield span, whose, cap

    def _used_up(self, account: str) -> UsedUp | None:
        spent = self._running()
        for span, whose, cap in self._limits(account):
            if spent[span][whose] + self._others[span][whose] >= cap:
                until = self._began[span] + (_HOUR if span == "hour" else _DAY)
                of = whose.replace(TENANT, "tenant ", 1)
                name = f"The budget of {of}" if of else "The budget"
                because = (
                    f"{name} of {cap} US dollars for this {span} is used up; "
                    f"it goes on at {until:%Y-%m-%d %H:%M} UTC."
                )
                return UsedUp(until, because)
        return None

    def _wait(self, account: str, usd: Decimal) -> float:
        if self._ask is not None and self._used(account) + usd <= self._granted[account]:
            return 0.0
        if (used_up := self._used_up(account)) is not None:
            return (used_up.until - self._now()).total_seconds()
        left = self._left(account)
        if left is None:
            return 0.0
        if self._ask is None:
            return 0.0 if left > 0 else _ASK_AGAIN
        self._note_call(account, usd)
        if left > 0:
            self._ask()
        return _ASK_AGAIN

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
        mine = set(filter(_is_stage, stages)) if whose == _ALL else {whose}
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
        if begins["day"] != self._began["day"]:
            # Names that come and go are not kept for ever.
            self._accounts = {
                each: whose for each, whose in self._accounts.items() if self._reserved[whose]
            }
        self._active.clear()
        earliest = begins["day"] - _DAYS_KEPT
        latest = begins["day"] + _DAY + _DAYS_KEPT
        self._past = {at: usd for at, usd in self._past.items() if earliest <= at < latest}
        self._claims = {key: each for key, each in self._claims.items() if key[1] >= earliest}
        self._began = dict(begins)
        self._granted, self._at_tick, self._paces = _amounts(), {}, {}
        self._others = _by_span()
        for span in SPANS:
            known = filter(_is_stage, self._spent[span])
            self._spent[span] = defaultdict(Decimal, dict.fromkeys(known, ZERO))
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


def _is_stage(account: str) -> bool:
    return account != _ALL and not account.startswith(TENANT)


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
        if _is_stage(stage):
            totals[_ALL] += sign * usd
