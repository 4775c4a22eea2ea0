"""Rate limits that nobody has to configure, shared by replicas that do not talk.

The API keeps a token bucket each for requests, input tokens (mostly without prompt cache reads) and
output tokens. The headers of each response say the limit and what remains of it, for the whole
organisation. That level is the one signal all replicas see, and each sets its own pace by it: the
full rate while the bucket is nearly full, less the emptier it is. Four replicas with enough to do
settle where each takes a quarter, with the bucket more than half full; one alone takes all.

Where no header explains a 429, the pace is learned from 429s (`learned_pace.py`).

Pure: the time comes in as seconds of a clock that does not go back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from math import exp
from typing import get_args

from pipeline.claude.learned_pace import FIRST_RATE, LearnedPace
from pipeline.model.observer import LimitKind

_KINDS: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "anthropic-ratelimit-requests"),
    ("input_tokens", "anthropic-ratelimit-input-tokens"),
    ("output_tokens", "anthropic-ratelimit-output-tokens"),
)
BURST_SECONDS = 0.2
"""What a pause may save up, for timers that come late: the API may enforce a limit over a second,
so there is no room for much."""
FULL_PACE = 0.9
"""Above that share of the bucket the whole rate may be used."""
SLOW_PACE = 0.5
"""At that share the pace is `SLOW_SHARE` of the rate, and below it falls slowly to nothing."""
SLOW_SHARE = 0.1
LEAST_SHARE = 0.005
"""The pace never falls below: without an answer there is no news of the level."""
CAUTION_AFTER_429 = 0.5
CAUTION_RECOVERY = 0.02
PAUSE_WITHOUT_RETRY_AFTER = 2.0
"""Seconds after a 429 that an announced limit explains."""
LITTLE_LEFT = 0.1
"""A 429 is explained by a limit of which no more than that share remains."""
ANNOUNCED_SECONDS = 10.0
"""Announced limits hold until no header came with answers for so long."""
LEARNED_SECONDS = 600.0
"""A learned limit is forgotten when it refused nothing for so long."""
FLOW_SECONDS = 4.0
"""What went in that time, mostly, is what goes at the moment."""
STEADY_AFTER = 60.0
"""Seconds from the first request until what went lately says what the limits allow."""
READS_TELL = 10_000
"""Tokens read from the prompt cache that stand out of what headers are rounded by."""
READS_COUNT_BELOW = 0.25
"""The share of a bucket below which it may be that cache reads count; where they do not, more than
20 replicas had to share it."""
_FALLS = 0.9
"""Of what was used, what the level has to have fallen by: both are rounded."""
ALL_LIMITS: frozenset[LimitKind] = frozenset(get_args(LimitKind))
RENAMED = "llm_provider-"
"""What LiteLLM puts before the names of the headers that it passes on."""


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """What the API says of one limit, a minute; `full_in` is in whole seconds, if it says.

    What remains of tokens is rounded to the nearest thousand.
    """

    limit: float
    remaining: float
    full_in: float | None


def read_limits(headers: Mapping[str, str]) -> dict[LimitKind, RateLimitSnapshot]:
    """Read the limits in headers with lower-case names; what is unreadable is left out.

    Reset times are read against the `date` header: this machine's own clock does not matter.
    Names may be those that LiteLLM gives them.
    """
    return _read_limits(headers, "") or _read_limits(headers, RENAMED)


def _read_limits(headers: Mapping[str, str], before: str) -> dict[LimitKind, RateLimitSnapshot]:
    found: dict[LimitKind, RateLimitSnapshot] = {}
    for kind, name in _KINDS:
        prefix = before + name
        try:
            limit = float(headers[f"{prefix}-limit"])
            remaining = max(0.0, float(headers[f"{prefix}-remaining"]))
        except (KeyError, ValueError):
            continue
        if limit > 0:
            now = headers.get(f"{before}date") or headers.get("date")
            full_in = _seconds_until(headers.get(f"{prefix}-reset"), now)
            found[kind] = RateLimitSnapshot(limit, remaining, full_in)
    return found


def _seconds_until(moment: str | None, now: str | None) -> float | None:
    if moment is None or now is None:
        return None
    try:
        until = datetime.fromisoformat(moment) - parsedate_to_datetime(now)
    except (ValueError, TypeError):
        return None
    return max(0.0, until.total_seconds())


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request takes from the limits; its fields are named like them.

    `cache_read_tokens` count as input tokens with some limits of workspaces only.
    """

    input_tokens: float
    output_tokens: float
    requests: float = 1.0
    cache_read_tokens: float = 0.0


NO_TOKENS = Cost(0.0, 0.0)
"""What a request took that gave no answer."""
NOTHING = Cost(0.0, 0.0, requests=0.0)


@dataclass(slots=True)
class Bucket:
    """One of the API's buckets; `rate` is this process's own pace, a second.

    `credit` is what may go at that pace; negative: what is owed. `reads_count`: cache reads, too.
    """

    kind: LimitKind
    limit: float = 0.0
    per_second: float = 0.0
    capacity: float = 0.0
    remaining: float = 0.0
    rate: float = 0.0
    credit: float = 0.0
    reads_count: bool = False
    _since: float = float("-inf")
    _remained: float = 0.0
    _used: float = 0.0
    _reads: float = 0.0

    def amount(self, cost: Cost) -> float:
        taken: float = getattr(cost, self.kind)
        return taken + cost.cache_read_tokens if self.reads_count else taken

    def take(self, cost: Cost, instead_of: Cost) -> None:
        amount = self.amount(cost) - self.amount(instead_of)
        self.credit -= amount
        self.remaining -= amount

    def is_nearly_empty(self, cost: Cost) -> bool:
        return self.remaining <= self.amount(cost) + LITTLE_LEFT * self.capacity

    def used(self, cost: Cost) -> None:
        """An answer says what it used; only of input tokens it may be more than it is counted."""
        if self.kind == "input_tokens":
            self._used += cost.input_tokens
            self._reads += cost.cache_read_tokens

    def update(self, snapshot: RateLimitSnapshot, now: float) -> None:
        limit = self.limit = snapshot.limit
        self.per_second = limit / 60
        # The bucket holds a minute's worth or less, and says so by when it will be full.
        missing = limit if snapshot.full_in is None else snapshot.full_in * self.per_second
        self.capacity = min(limit, snapshot.remaining + missing)
        # What is owed is reported as 0; how much it is shows in when the bucket will be full.
        self.remaining = min(snapshot.remaining, max(limit - missing, -limit))
        self._compare(now)

    def _compare(self, now: float) -> None:
        """Whether cache reads count: the level falls by them, too.

        Others that share it make it fall as well. If that was it, it fills up where this process
        counts its reads, and they are no longer counted.
        """
        is_full = self.remaining >= self.capacity
        if not is_full and self._reads < READS_TELL and self._since > float("-inf"):
            return
        fell = self._remained - self.remaining + (now - self._since) * self.per_second
        is_low = self.remaining < READS_COUNT_BELOW * self.capacity
        if is_full:
            self.reads_count = False
        elif is_low and READS_TELL <= self._reads <= fell / _FALLS - self._used:
            self.reads_count = True
        self._since, self._remained = now, self.remaining
        self._used = self._reads = 0.0


def pace(share: float) -> float:
    if share >= FULL_PACE:
        return 1.0
    if share >= SLOW_PACE:
        rise = (share - SLOW_PACE) / (FULL_PACE - SLOW_PACE)
        return SLOW_SHARE + (1 - SLOW_SHARE) * rise
    return SLOW_SHARE * max(0.0, share) / SLOW_PACE


class _Flow:
    """What went lately of each limit, a second."""

    def __init__(self) -> None:
        self.since = float("inf")
        self._amounts = dict.fromkeys(ALL_LIMITS, 0.0)
        self._at = 0.0

    def add(self, cost: Cost, now: float) -> None:
        self.since = min(self.since, now)
        kept = exp((self._at - now) / FLOW_SECONDS)
        self._at = now
        for kind, amount in self._amounts.items():
            self._amounts[kind] = amount * kept + getattr(cost, kind) / FLOW_SECONDS

    def rate(self, now: float) -> float:
        """Requests."""
        return self._amounts["requests"] * exp((self._at - now) / FLOW_SECONDS)

    def size(self, kind: LimitKind) -> float:
        """What a request takes."""
        requests = self._amounts["requests"]
        return max(1.0, self._amounts[kind] / requests) if requests else 1.0


class _LearnedLimit:
    """One that some 429s are about, or one of several: counted is what a request takes most of.

    Its unit is what a request took of it when it was met.
    """

    def __init__(self, sizes: Mapping[LimitKind, float], rate: float, now: float) -> None:
        self._sizes = sizes
        self.pace = LearnedPace(rate, now)
        self.refused_at = now

    def amount(self, cost: Cost) -> float:
        shares: Iterable[float] = (getattr(cost, kind) / size for kind, size in self._sizes.items())
        return max(shares)


class Limits:
    def __init__(self) -> None:
        self._buckets: dict[LimitKind, Bucket] = {}
        self._learned: dict[frozenset[LimitKind], _LearnedLimit] = {}
        self._flow = _Flow()
        self._caution = 1.0
        self._at = float("-inf")
        self._announced_at = float("-inf")
        self.paused_until = float("-inf")
        """Until when the API asks to wait, whatever the buckets say."""

    def wait(self, cost: Cost, now: float) -> float:
        wait = max(0.0, self.paused_until - now)
        self._advance(now)
        for bucket in self._buckets.values():
            # It goes as soon as nothing is owed, and owes what it takes: so large ones go, too.
            missing = min(bucket.amount(cost), bucket.capacity) - bucket.remaining
            if bucket.credit < 0 or missing > 0:
                wait = max(wait, -bucket.credit / bucket.rate, missing / bucket.per_second)
        for learned in self._learned.values():
            wait = max(wait, learned.pace.wait(now))
        return wait

    def take(self, cost: Cost) -> None:
        """Reserve what a request will take that goes now."""
        self._flow.add(cost, self._at)
        for bucket in self._buckets.values():
            bucket.take(cost, NOTHING)
        for learned in self._learned.values():
            learned.pace.sent(learned.amount(cost))

    def settle(self, cost: Cost, *, instead_of: Cost) -> None:
        """Count what a request took instead of what was reserved for it."""
        for bucket in self._buckets.values():
            bucket.take(cost, instead_of)
            bucket.used(cost)
        if cost.output_tokens > 0:
            for learned in self._learned.values():
                learned.pace.answered(learned.amount(cost) - learned.amount(instead_of))
        # What was refused keeps what was reserved for it: it would be asked again without a pause.

    def update(self, limits: Mapping[LimitKind, RateLimitSnapshot], now: float) -> None:
        """Take over what the headers of a response say."""
        self._advance(now)
        if self._learned:
            self._learned = {
                kinds: learned
                for kinds, learned in self._learned.items()
                if now - learned.refused_at < LEARNED_SECONDS
            }
        if not limits:
            if now - self._announced_at > ANNOUNCED_SECONDS:
                self._buckets.clear()
            return
        self._announced_at = now
        if not self._buckets:
            self._learned.clear()
        for kind, snapshot in limits.items():
            if (bucket := self._buckets.get(kind)) is None:
                bucket = self._buckets[kind] = Bucket(kind, rate=snapshot.limit / 60)
            bucket.update(snapshot, now)

    def refused(
        self,
        cost: Cost,
        kinds: frozenset[LimitKind],
        now: float,
        *,
        sent_at: float,
        seconds: float | None,
    ) -> None:
        """A 429 for what was sent then, about one of the limits of those kinds.

        Nothing goes for the seconds that it asks for; where an announced limit explains it, for
        some if it asks for none. Then it goes more carefully.
        """
        self._advance(now)
        buckets = (bucket for kind, bucket in self._buckets.items() if kind in kinds)
        if any(bucket.is_nearly_empty(cost) for bucket in buckets):
            seconds = seconds or PAUSE_WITHOUT_RETRY_AFTER
            if now >= self.paused_until:
                self._caution *= CAUTION_AFTER_429
        elif kinds in self._learned:
            self.learn(kinds, now, sent_at=sent_at)
        else:
            sizes = {kind: self._flow.size(kind) for kind in kinds}
            is_steady = now - self._flow.since > STEADY_AFTER
            rate = self._flow.rate(now) if is_steady else FIRST_RATE
            self._learned[kinds] = _LearnedLimit(sizes, rate, now)
        self.paused_until = max(self.paused_until, now + (seconds or 0.0))

    def learn(self, kinds: frozenset[LimitKind], now: float, *, sent_at: float) -> None:
        """Let a 429 count for the learned pace alone, if there is one."""
        if (learned := self._learned.get(kinds)) is not None:
            learned.pace.refused(sent_at, now)
            learned.refused_at = now

    def resumed(self) -> None:
        """Calls succeed again after a time in which none did: it saved up no claim to a burst."""
        for bucket in self._buckets.values():
            bucket.credit = min(bucket.credit, 0.0)
        for learned in self._learned.values():
            learned.pace.pause()

    @property
    def are_known(self) -> bool:
        return bool(self._buckets or self._learned)

    def weight(self, cost: Cost) -> float:
        """The largest share of any limit that a request takes: what it costs its neighbours."""
        announced = (bucket.amount(cost) / bucket.limit for bucket in self._buckets.values())
        learned = (limit.amount(cost) / (60 * limit.pace.rate) for limit in self._learned.values())
        return max(chain(announced, learned), default=1.0)

    def _advance(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed <= 0:
            return
        self._at = now
        caution = self._caution = min(1.0, self._caution + elapsed * CAUTION_RECOVERY)
        for bucket in self._buckets.values():
            capacity = bucket.capacity
            remaining = min(capacity, bucket.remaining + elapsed * bucket.per_second)
            share = pace(remaining / capacity) if capacity > 0 else 1.0
            rate = bucket.per_second * max(LEAST_SHARE, caution * share)
            bucket.credit = min(max(rate * BURST_SECONDS, 1.0), bucket.credit + elapsed * rate)
            bucket.remaining, bucket.rate = remaining, rate
