"""Who may call a model, and when: the queue in front of one model.

A call goes when nothing is blocked, the breaker is closed, its stage has budget left, a slot is
free and the rate limits allow it. `Limiter` waits; all that decides is pure.
"""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from math import inf
from typing import Generic, TypeVar

from pipeline.claude.breaker import Breaker, Pass
from pipeline.claude.budget import ZERO, Budget
from pipeline.claude.failover import LeavesEndpoint, Standing
from pipeline.claude.failures import Attempts, Blocked, Retry
from pipeline.claude.rate_limits import (
    ALL_LIMITS,
    NO_TOKENS,
    NOTHING,
    Cost,
    Limits,
    read_limits,
)
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.claude.tenant_shares import TenantShares
from pipeline.model.observer import BreakerState, Observer

ItemT = TypeVar("ItemT")
Class = tuple[str, str]
"""A stage, and a tenant: empty where there are none."""
_CLASSES_KEPT = 1000
FIRST_WINDOW = 8
"""Calls under way at once at a start, where the setting allows as many."""
BLOCK_SECONDS = 15.0
"""Seconds between probes while no call can succeed; each costs nothing."""
BREAKER_FAILURES = 5
"""At least so many failures in a row make a model count as down."""
BREAKER_OPEN_SECONDS = 5.0
"""Seconds before a model that is down is probed, and between rounds of probes."""
BREAKER_PROBES = 3
HEADER_SECONDS = 0.02
"""Seconds between readings of the rate-limit headers: more often would bring nothing new."""
POLL_SECONDS = 1.0
"""The longest time until the limits are asked again: other replicas may have left some."""
SOON_SECONDS = 0.0005
"""What is less than that away is now; timers are no finer."""
LEARNED_FROM = 2
"""A question's 429s that a pace is learned from: more may be its own trouble."""
LONG_PAUSE_SECONDS = 2.0
"""A pause of that length that the API asks for closes the intake."""
QUICK_SECONDS = 3.0
"""An error that takes longer, a time-out above all, is not quicker than answers are."""
HANGING_WINDOWS = 3
"""A call hangs once that many windows of answers came since it was sent: it takes that many times
as long as the average one. In an outage there are no answers, and nothing hangs."""
LEAST_EXTRA = 16
"""Extra slots there are at least: what hangs costs a connection, and no work."""
LEAST_AHEAD = 8
"""The least number of questions that wait, so that the next call can go when one has ended."""
SUSPECT_SHARE = 0.1
"""Of what others take from the limits, what suspect questions get while others wait for it."""
HEALTHY: tuple[BreakerState, str | None] = "closed", None


class FairQueue(Generic[ItemT]):
    """First in, first out within a class; a flood of one class does not hold up the others.

    A class is a stage, and a tenant where there are any. What is pushed `first` goes before the
    rest of its class, in its own order.

    Start-time fair queueing: the virtual time of a class moves on by what its requests take from
    the limits, and the one furthest behind goes next. One that was idle starts at the present.
    """

    def __init__(self) -> None:
        self._queues: dict[Class, tuple[deque[ItemT], deque[ItemT]]] = {}
        self._times: dict[Class, float] = {}
        self._now = 0.0
        self.size = 0

    def push(self, whose: Class, item: ItemT, *, first: bool = False) -> None:
        if whose not in self._queues:
            self._queues[whose] = deque(), deque()
            self._times[whose] = max(self._times.get(whose, 0.0), self._now)
        first_ones, others = self._queues[whose]
        (first_ones if first else others).append(item)
        self.size += 1

    def classes(self) -> list[Class]:
        """Those that have an item; the one furthest behind first."""
        return sorted(self._queues, key=self._times.__getitem__)

    def head(self, whose: Class, *, first: bool = True) -> ItemT:
        """What `pop` would take."""
        return self._next(whose, first=first)[0]

    def pop(self, whose: Class, *, weight: float, first: bool = True) -> ItemT:
        """Take the first item of a class; not `first`: of what was not pushed so, if there is any.

        A weight of 0 says that it is only thrown away.
        """
        item = self._next(whose, first=first).popleft()
        self.size -= 1
        if weight > 0:
            self._now = self._times[whose]
            self._times[whose] += weight
        if not any(self._queues[whose]):
            del self._queues[whose]
            if len(self._times) > _CLASSES_KEPT:
                # Those that do not wait begin at the present, as if they were new.
                self._times = {each: self._times[each] for each in self._queues}
        return item

    def waiting(self, whose: Class) -> int:
        """How many items a class has."""
        return sum(map(len, self._queues.get(whose, ())))

    def is_passed_over(self, whose: Class) -> bool:
        """Whether all items of a class were pushed `first`, and not all of its stage."""
        if self._queues[whose][1]:
            return False
        return any(others for each, (_, others) in self._queues.items() if each[0] == whose[0])

    def _next(self, whose: Class, *, first: bool) -> deque[ItemT]:
        first_ones, others = self._queues[whose]
        return (first_ones or others) if first else (others or first_ones)

    def __contains__(self, stage: str) -> bool:
        return any(each[0] == stage for each in self._queues)

    def __iter__(self) -> Iterator[ItemT]:
        for queues in self._queues.values():
            yield from chain(*queues)


class Window:
    """The number of calls that may be under way.

    It doubles with every round of answers until the setting is reached, so that neither a start nor
    a recovery is a burst. The API caps how fast usage may grow (`ramp_limit_exceeded`), without
    saying how fast; after such an answer the window is halved and grows by one a round.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = min(FIRST_WINDOW, most)
        self._exact = float(self.size)
        self._doubles_below = float(most)

    def succeeded(self, in_flight: int) -> None:
        """An answer came while so many calls, this one included, were under way."""
        # A window that is not used does not grow: nothing was learnt about what lies beyond.
        if in_flight >= self._exact / 2 and self.size < self.most:
            step = 1.0 if self._exact < self._doubles_below else 1.0 / self._exact
            self._resize(min(self.most, self._exact + step))

    def ramped(self) -> None:
        """Usage grew faster than the API allows."""
        self._resize(self._exact / 2)
        self._doubles_below = self._exact

    def recovered(self) -> None:
        """The API answers again after an outage: start small, and grow fast."""
        self._resize(min(self._exact, max(FIRST_WINDOW, self._exact / 4)))

    def _resize(self, exact: float) -> None:
        self._exact = max(1.0, exact)
        self.size = int(self._exact)


def extra_slots(concurrency: int) -> tuple[int, int]:
    """Calls beyond the setting: that hang, and of suspect questions."""
    return max(LEAST_EXTRA, concurrency // 2), max(LEAST_EXTRA, concurrency // 4)


def block_breaker() -> Breaker:
    """Opens when no call can succeed until a person fixes something; one call probes it."""
    return Breaker(failures=1, open_seconds=BLOCK_SECONDS)


@dataclass(slots=True, eq=False)
class Permit:
    """One call that may go now; its end must be reported.

    Args:
        passes: Of the account, the model, the breaker and the stage, from wide to narrow.
        answers: Of the model before this call.
        suspect: Whether its question is, as `Attempts` defines it.
        usd: That are reserved of the budget until its end.
        ended: Whether the call's end was reported.
    """

    stage: str
    cost: Cost
    passes: Mapping[Breaker, Pass]
    since: float
    answers: int
    suspect: bool
    usd: Decimal
    tenant: str = ""
    ended: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    stage: str
    cost: Cost
    usd: Decimal
    suspect: bool
    leaves: Callable[[], bool] | None
    granted: asyncio.Future[Permit]


class Limiter:
    """The queue of one model; reports what changes.

    A call that hangs, and each call of a suspect question, has an extra slot outside of the window,
    so that it does not take that of another. Suspect questions have a queue of their own, too: what
    the rate limits leave goes to the others first, and to suspects where none of these waits for
    it. While some do, suspects get `SUSPECT_SHARE` of what they take, so that each is answered or
    given up one day.

    Args:
        concurrency: Calls at once at most; the setting.
        account: A `block_breaker()` shared by the limiters of all models.
        clock: Seconds that do not go back; the event loop's own time.
    """

    def __init__(
        self,
        model: str,
        concurrency: int,
        *,
        account: Breaker,
        budget: Budget,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self.model = model
        self.window = Window(concurrency)
        self.questions = 0
        """Questions that wait for an answer, those in a pause between two calls included."""
        self.suspects = 0
        """How many of these are suspect: they wait more than they work."""
        self.hanging = 0
        """Calls under way that hang."""
        self._most_hanging, self._most_suspect_calls = extra_slots(concurrency)
        self._account = account
        self._model_block = block_breaker()
        self._breaker = Breaker(
            failures=BREAKER_FAILURES, open_seconds=BREAKER_OPEN_SECONDS, probes=BREAKER_PROBES
        )
        self._gates = (account, self._model_block, self._breaker)
        self._stage_blocks: defaultdict[str, Breaker] = defaultdict(block_breaker)
        self._limits = Limits()
        self._shares = TenantShares(budget.rate_share)
        self._budget = budget
        self._observer = observer
        self._clock = clock
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._suspect_queue: FairQueue[_Waiter] = FairQueue()
        self._in_window: OrderedDict[Permit, None] = OrderedDict()
        self._suspect_calls = 0
        self._due_to_suspects = 0.0
        """Of the limits, as a share; above 0 it is their turn, below they had more than theirs."""
        self._answers = 0
        self._refusal = ""
        self._timer: asyncio.TimerHandle | None = None
        self._headers_read_at = -inf
        self._reported = HEALTHY

    async def acquire(
        self,
        stage: str,
        cost: Cost,
        attempts: Attempts,
        usd: Decimal = ZERO,
        *,
        tenant: str = "",
        leaves: Callable[[], bool] | None = None,
    ) -> Permit:
        """Wait until a call may go; `usd` is what it may cost at most.

        Those that are retried go first, in the order in which they came back, unless calls are
        probes: those are for questions that have not failed, where any wait.

        Raises:
            LeavesEndpoint: `leaves`, which is asked when something has changed, says so.
        """
        if leaves is not None and leaves():
            raise LeavesEndpoint
        now, suspect = self._clock(), attempts.suspect
        queue = self._suspect_queue if suspect else self._queue
        if (
            not queue.size
            and not (suspect and self._queue.size)
            and self._stage_wait((stage, tenant), usd, now) <= SOON_SECONDS
            and self._wait(cost, now, suspect=suspect) <= SOON_SECONDS
        ):
            self._observer.waited(stage, self.model, seconds=0.0)
            return self._enter((stage, tenant), cost, usd, now, suspect=suspect)
        granted: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(stage, cost, usd, suspect, leaves, granted)
        queue.push((stage, tenant), waiter, first=attempts.count > 0 and not suspect)
        self._grant()
        try:
            permit = await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                # Nothing was sent, so what was reserved for it is not used.
                self._limits.settle(NOTHING, instead_of=cost)
                self.release(granted.result())
            raise
        self._observer.waited(stage, self.model, seconds=self._clock() - now)
        return permit

    def answered(self, permit: Permit, used: Cost, reply: HttpReply | NoReply) -> None:
        """The API answered, be it with a refusal or a rejection."""
        now = self._clock()
        for gate, passed in permit.passes.items():
            if passed is gate.closed_pass and not gate.has_failed:
                gate.last_success = now
                continue
            self._gate_succeeded(gate, passed, now)
        self._answers += 1
        self.window.succeeded(len(self._in_window))
        self._limits.settle(used, instead_of=permit.cost)
        self._read_headers(reply, now)
        self._leave(permit)
        if self._reported != HEALTHY:
            self.report()

    def failed(
        self, permit: Permit, failure: Retry, reply: HttpReply | NoReply, attempts: Attempts
    ) -> None:
        """The call may succeed later; `attempts` include this one."""
        now = self._clock()
        self._read_headers(reply, now)
        breaker, passed = self._breaker, permit.passes[self._breaker]
        if failure.kind == "rate_limited":
            # The service works: it was asked too fast.
            self._gate_succeeded(breaker, passed, now)
            limits = failure.limits or ALL_LIMITS
            if not attempts.isolated:
                self._refusal = failure.detail
                self._limits.refused(
                    permit.cost, limits, now, sent_at=permit.since, seconds=failure.after
                )
            elif attempts.count <= LEARNED_FROM:
                self._limits.learn(limits, now, sent_at=permit.since)
            if failure.ramp:
                self.window.ramped()
        else:
            others = len(self._in_window) + self.hanging + self._suspect_calls - 1
            under_way = others if now - permit.since < QUICK_SECONDS else 0
            repeated = attempts.repeated
            breaker.failed(passed, now, failure.detail, under_way=under_way, repeated=repeated)
        for gate, passed in permit.passes.items():
            if gate is not breaker:
                gate.abandoned(passed)
        if not failure.maybe_billed:
            self._limits.settle(NO_TOKENS, instead_of=permit.cost)
        self._leave(permit)
        self.report()

    def blocked(self, permit: Permit, failure: Blocked, attempts: Attempts) -> None:
        """No call can succeed until a person fixes something."""
        now = self._clock()
        self._limits.settle(NO_TOKENS, instead_of=permit.cost)
        blocks = {"account": self._account, "model": self._model_block}
        culprit = blocks.get(failure.scope, self._stage_blocks[permit.stage])
        # What is wider than the culprit works, and of what is narrower nothing is known.
        is_known = not attempts.isolated
        for gate, passed in permit.passes.items():
            if is_known and gate is culprit:
                gate.trip(passed, now, failure.detail)
                is_known = False
            elif is_known or gate is self._breaker:
                self._gate_succeeded(gate, passed, now)
            else:
                gate.abandoned(passed)
        self._leave(permit)
        self.report()

    def release(self, permit: Permit) -> None:
        """The caller is through with it; where no end was reported, it gave up or has a bug."""
        if permit.ended:
            return
        for gate, passed in permit.passes.items():
            gate.abandoned(passed)
        self._leave(permit)

    def at_once(self, together: int = 1) -> int:
        """How many questions are worth asking at once: what is under way, and the next few.

        Those that are suspect or hang come on top: they must not take the place of others.
        """
        calls = self.window.size
        return (calls + max(LEAST_AHEAD, calls // 4)) * together + self.suspects + self.hanging

    def paused_reason(self, stage: str) -> str | None:
        """Why no question of a stage can go for a while, or None."""
        if self._budget.is_limited and (used_up := self._budget.used_up(stage)) is not None:
            return used_up.because
        now = self._clock()
        for gate in self._gates:
            if gate.because is not None and self._is_closed(gate, now):
                return gate.because
        pause = self._limits.paused_until - now
        if pause > LONG_PAUSE_SECONDS:
            return f"The API asks to wait for {pause:.0f} s more: {self._refusal}"
        gate = self._stage_blocks[stage]
        if gate.because is not None and self._is_closed(gate, now, stage):
            return gate.because
        return None

    def standing(self, stage: str) -> Standing:
        """Whether a stage can ask this endpoint, as far as calls have shown."""
        gates = (*self._gates, self._stage_blocks[stage])
        because = next((gate.because for gate in gates if gate.because is not None), None)
        return Standing(because, self._limits.paused_until)

    def report(self) -> None:
        """Report what has changed, by a call, by one of another model, or by time."""
        self._let_leave()
        now = self._clock()
        state = self._breaker.state(now)
        if state == "half_open" and not self.questions:
            # No question is there to probe with, so it would be reported until one comes.
            state = "closed"
        blocks = (self._account, self._model_block)
        reasons = [gate.because for gate in blocks if self._is_closed(gate, now)]
        for stage, gate in self._stage_blocks.items():
            if self._is_closed(gate, now, stage):
                reasons.append(f"{stage}: {gate.because}")
        because = reasons[0] if reasons else None
        before, self._reported = self._reported, (state, because)
        if state != before[0]:
            self._observer.breaker(self.model, state)
        if because != before[1]:
            self._observer.blocked(self.model, because=because)

    def resume(self) -> None:
        """Grant what may go now that the budget has changed."""
        if self._queue.size or self._suspect_queue.size:
            self._grant()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _let_leave(self) -> None:
        leaving = [
            waiter
            for waiter in chain(self._queue, self._suspect_queue)
            if waiter.leaves is not None and not waiter.granted.done() and waiter.leaves()
        ]
        for waiter in leaving:
            waiter.granted.set_exception(LeavesEndpoint())
        if leaving:
            self._grant()

    def _gate_succeeded(self, gate: Breaker, passed: Pass, now: float) -> None:
        gate.succeeded(passed, now)
        if passed.probe and gate in self._gates:
            self.window.recovered()
            self._limits.resumed()

    def _is_closed(self, gate: Breaker, now: float, stage: str | None = None) -> bool:
        """Whether a gate, of one stage or of all, is to stop intake."""
        if gate.because is None:
            return False
        # When it is time to probe and no question waits that could, the next one is the probe.
        queues = (self._queue, self._suspect_queue)
        waits = any(queue.size if stage is None else stage in queue for queue in queues)
        return waits or gate.opens_at(now) > now

    def tenants_over_share(self) -> dict[str, float]:
        """Those whose calls wait for their share of the rate limits: how many seconds' worth."""
        found: dict[str, float] = {}
        for whose in self._queue.classes():
            weight = self._limits.weight(self._queue.head(whose).cost)
            seconds = self._shares.seconds_for(whose[1], weight * self._queue.waiting(whose))
            if seconds and self._limits.are_known:
                found[whose[1]] = found.get(whose[1], 0.0) + seconds
        return found

    def waiting(self, tenants: Container[str]) -> int:
        """Questions of these tenants that wait for their turn."""
        queue = self._queue
        return sum(queue.waiting(each) for each in queue.classes() if each[1] in tenants)

    def _stage_wait(self, whose: Class, usd: Decimal, now: float) -> float:
        """Seconds until budgets, a tenant's share and the block of a stage let their calls go."""
        stage, tenant = whose
        wait = 0.0
        if self._budget.is_limited:
            wait = self._budget.wait(stage, usd, tenant=tenant)
            if self._limits.are_known:
                wait = max(wait, self._shares.wait(tenant, now))
        gate = self._stage_blocks[stage]
        return wait if gate.because is None else max(wait, gate.opens_at(now) - now)

    def _wait(self, cost: Cost, now: float, *, suspect: bool) -> float:
        """Seconds until such a call of any stage may go; infinite until another call ends."""
        taken, slots = len(self._in_window), self.window.size
        if suspect:
            taken, slots = self._suspect_calls, self._most_suspect_calls
        if taken >= slots:
            return inf
        wait = self._limits.wait(cost, now)
        for gate in self._gates:
            if gate.because is not None:
                wait = max(wait, gate.opens_at(now) - now)
        return wait

    def _enter(
        self, whose: Class, cost: Cost, usd: Decimal, now: float, *, suspect: bool
    ) -> Permit:
        stage, tenant = whose
        passes = {
            gate: gate.closed_pass if gate.because is None else gate.enter(now)
            for gate in (*self._gates, self._stage_blocks[stage])
        }
        permit = Permit(stage, cost, passes, now, self._answers, suspect, usd, tenant)
        self._limits.take(cost)
        if usd:
            self._budget.reserve(stage, usd, tenant=tenant)
            if self._limits.are_known:
                self._shares.take(tenant, self._limits.weight(cost), now)
        if suspect:
            self._suspect_calls += 1
        else:
            self._in_window[permit] = None
        return permit

    def _leave(self, permit: Permit) -> None:
        permit.ended = True
        if permit.usd:
            self._budget.release(permit.stage, permit.usd, tenant=permit.tenant)
        if permit.suspect:
            self._suspect_calls -= 1
        elif permit in self._in_window:
            del self._in_window[permit]
        else:
            self.hanging -= 1
        if self._queue.size or self._suspect_queue.size:
            self._grant()

    def _free_hanging(self) -> None:
        """Free the slots of calls that hang, where the window is full."""
        size = self.window.size
        while len(self._in_window) >= size and self.hanging < self._most_hanging:
            oldest = next(iter(self._in_window))
            if self._answers - oldest.answers < HANGING_WINDOWS * size:
                return
            del self._in_window[oldest]
            self.hanging += 1

    def _grant(self) -> None:
        """Grant what may go, and call this again when the next may."""
        now = self._clock()
        while self._queue.size or self._suspect_queue.size:
            wait = inf
            queues = self._queue, self._suspect_queue
            for queue in queues if self._due_to_suspects <= 0 else reversed(queues):
                if not queue.size:
                    continue
                if queue is self._queue:
                    self._free_hanging()
                seconds, is_next = self._grant_one(queue, now)
                wait = min(wait, seconds)
                if is_next:
                    break
            if wait > 0:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                if wait < inf:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(min(wait, POLL_SECONDS), self._grant)
                return

    def _grant_one(self, queue: FairQueue[_Waiter], now: float) -> tuple[float, bool]:
        """Grant the next waiter; returns the seconds to wait where none may go now.

        And whether the other queue is to wait as well: for a budget and a slot it is not.
        """
        shortest = inf
        for whose in queue.classes():
            stage = whose[0]
            gates = (*self._gates, self._stage_blocks[stage])
            is_probe = any(gate.because is not None for gate in gates)
            waiter = queue.head(whose, first=not is_probe)
            if waiter.granted.done():
                queue.pop(whose, weight=0, first=not is_probe)
                return 0, True
            wait = self._stage_wait(whose, waiter.usd, now)
            if wait > SOON_SECONDS:
                shortest = min(shortest, wait)
                continue
            others_may = waiter.suspect and stage in self._queue
            if is_probe and (others_may or queue.is_passed_over(whose)):
                continue
            wait = self._wait(waiter.cost, now, suspect=waiter.suspect)
            if wait > SOON_SECONDS:
                # What is at the head waits for its turn; smaller ones do not overtake it.
                return min(shortest, wait), wait < inf
            weight = self._limits.weight(waiter.cost)
            queue.pop(whose, weight=weight, first=not is_probe)
            if not self._limits.are_known:
                # Nothing is scarce, and weights are no shares.
                pass
            elif waiter.suspect:
                if self._due_to_suspects > 0 and self._queue.size:
                    self._due_to_suspects -= weight
            elif self._due_to_suspects <= 0 and self._suspect_queue.size:
                self._due_to_suspects += SUSPECT_SHARE * weight
            permit = self._enter(whose, waiter.cost, waiter.usd, now, suspect=waiter.suspect)
            waiter.granted.set_result(permit)
            return 0, True
        return shortest, False

    def _read_headers(self, reply: HttpReply | NoReply, now: float) -> None:
        """Take over what a response says of the rate limits; of answers only now and then."""
        if isinstance(reply, NoReply) or (
            reply.status == 200 and now - self._headers_read_at < HEADER_SECONDS  # noqa: PLR2004
        ):
            return
        self._headers_read_at = now
        snapshots = read_limits(reply.headers)
        for kind, limit in snapshots.items():
            self._observer.limit(self.model, kind, limit=limit.limit, remaining=limit.remaining)
        if snapshots or reply.status == 200:  # noqa: PLR2004
            self._limits.update(snapshots, now)
