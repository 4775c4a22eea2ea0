"""Who may call a model, and when: the queue in front of one model.

A call goes when nothing is blocked, the breaker is closed, its stage has budget left, a slot is
free and the rate limits allow it. `Limiter` waits; all that decides is pure.
"""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Generic, Literal, TypeVar

from pipeline.claude.billing import Budget
from pipeline.claude.breaker import Breaker, Pass
from pipeline.claude.failures import Blocked, Retry
from pipeline.claude.rate_limits import Cost, Limits, RateLimitSnapshot, read_limits
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.model.observer import BreakerState, LimitKind, Observer

ItemT = TypeVar("ItemT")


class FairQueue(Generic[ItemT]):
    """First in, first out within a stage; a flood of one stage does not hold up the others.

    Start-time fair queueing: a stage's virtual time moves on by what its requests take from the
    limits, and the one furthest behind goes next. One that was idle starts at the present.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[ItemT]] = {}
        self._times: dict[str, float] = {}
        self._now = 0.0
        self.size = 0

    def push(self, stage: str, item: ItemT, *, first: bool = False) -> None:
        queue = self._queues.setdefault(stage, deque())
        if not queue:
            self._times[stage] = max(self._times.get(stage, 0.0), self._now)
        if first:
            queue.appendleft(item)
        else:
            queue.append(item)
        self.size += 1

    def heads(self) -> Iterator[tuple[str, ItemT]]:
        """The first item of each stage that has one; the stage furthest behind first."""
        waiting = [stage for stage, queue in self._queues.items() if queue]
        for stage in sorted(waiting, key=self._times.__getitem__):
            yield stage, self._queues[stage][0]

    def pop(self, stage: str, *, weight: float) -> ItemT:
        """Take the first item of a stage; a weight of 0 says that it is only thrown away."""
        item = self._queues[stage].popleft()
        self.size -= 1
        if weight > 0:
            self._now = self._times[stage]
            self._times[stage] += weight
        return item

    def bring_forward(self, stage: str, is_meant: Callable[[ItemT], bool]) -> None:
        """Put the first item of a stage that is meant at its head, if there is one."""
        queue = self._queues[stage]
        found = next((at for at, item in enumerate(queue) if is_meant(item)), 0)
        if found:
            item = queue[found]
            del queue[found]
            queue.appendleft(item)

    def __contains__(self, stage: str) -> bool:
        return bool(self._queues.get(stage))


START = 8


class Window:
    """The number of calls that may be under way.

    It doubles with every round of answers until the setting is reached, so that neither a start nor
    a recovery is a burst. The API caps how fast usage may grow (`ramp_limit_exceeded`), without
    saying how fast; after such an answer the window is halved and grows by one a round.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = min(START, most)
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
        self._resize(min(self._exact, max(START, self._exact / 4)))

    def _resize(self, exact: float) -> None:
        self._exact = max(1.0, exact)
        self.size = int(self._exact)


BLOCK_SECONDS = 15.0
"""Between probes while no call can succeed; each costs nothing."""
BREAKER_FAILURES = 5
"""In a row, at least, before a model counts as down."""
BREAKER_OPEN_SECONDS = 5.0
"""Before it is probed, and between rounds of probes."""
BREAKER_PROBES = 3
HEADER_SECONDS = 0.02
"""Between readings of the rate-limit headers: more often would bring nothing new."""
LOOK_SECONDS = 1.0
"""Longest time between looks at the limits: others may have left some."""
SOON_SECONDS = 0.0005
"""What is less than that away is now; timers are no finer."""
PAUSE_WITHOUT_RETRY_AFTER = 2.0
QUICK_SECONDS = 3.0
"""An error that takes longer, a time-out above all, is not quicker than answers are."""
WELL: tuple[BreakerState, str | None] = "closed", None
LONG_PAUSE_SECONDS = 2.0
"""From that length on a pause that the API asks for closes the intake."""
HANGING_WINDOWS = 3
"""Answers since a call was sent, in windows, from which on it hangs: it takes that many times as
long as the average one. In an outage there are no answers, and nothing is set aside."""
LEAST_ASIDE = 16
"""Also where the setting is small: what hangs costs a connection, and no work."""


def set_aside(concurrency: int) -> tuple[int, int]:
    """Calls beyond the setting: that hang, and about events in trouble."""
    return max(LEAST_ASIDE, concurrency // 2), max(LEAST_ASIDE, concurrency // 4)


def block() -> Breaker:
    """What trips when nothing can be asked until a person fixes something."""
    return Breaker(failures=1, open_seconds=BLOCK_SECONDS)


@dataclass(slots=True, eq=False)
class Permit:
    """One call that may go now; its end must be reported.

    Args:
        passes: Of the account, the model, the breaker and the stage.
        answers: Of the model before this call.
        suspect: Whether its event is in trouble.
    """

    stage: str
    cost: Cost
    passes: Mapping[Breaker, Pass]
    since: float
    answers: int
    suspect: bool


@dataclass(slots=True, eq=False)
class _Waiter:
    stage: str
    cost: Cost
    again: bool
    suspect: bool
    granted: asyncio.Future[Permit]


class Limiter:
    """The queue of one model; reports what changes.

    Events in trouble do not take the slots of the others. A call that hangs while several windows
    of others are answered is set aside: it does not count against the window any more. So is, from
    its start, a call of an event that has failed while others were answered; those have a queue of
    their own. How many may be aside is bounded.

    Args:
        concurrency: Calls at once at most; the setting.
        account: A `block()` shared by the limiters of all models.
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
        self._most_hanging, self._most_suspects = set_aside(concurrency)
        self.asked = 0
        """Questions that wait for an answer, those in a pause between two calls included."""
        self.in_trouble = 0
        """Of these, how many failed while others were answered: they wait more than they work."""
        self.hanging = 0
        """Calls under way that are set aside because they hang."""
        self._account = account
        self._block = block()
        self._breaker = Breaker(
            failures=BREAKER_FAILURES, open_seconds=BREAKER_OPEN_SECONDS, probes=BREAKER_PROBES
        )
        self._gates = (account, self._block, self._breaker)
        self._stage_blocks: defaultdict[str, Breaker] = defaultdict(block)
        self._limits = Limits()
        self._budget = budget
        self._observer = observer
        self._clock = clock
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._suspects: FairQueue[_Waiter] = FairQueue()
        self._in_flight = 0
        self._counted: OrderedDict[Permit, None] = OrderedDict()
        self._suspects_in_flight = 0
        self._answers = 0
        self._refusal = ""
        self._timer: asyncio.TimerHandle | None = None
        self._headers_read_at = float("-inf")
        self._reported = WELL

    async def acquire(
        self, stage: str, cost: Cost, *, again: bool = False, suspect: bool = False
    ) -> Permit:
        """Wait until a call may go.

        One that has failed before (`again`) goes first, unless calls are probes: those are for
        questions that have not failed, where any wait. A `suspect` failed while others did not.
        """
        now = self._clock()
        queue = self._suspects if suspect else self._queue
        if not queue.size and self._wait(stage, cost, now, suspect=suspect)[0] <= SOON_SECONDS:
            self._observer.waited(stage, self.model, seconds=0.0)
            return self._enter(stage, cost, now, suspect=suspect)
        waiter = _Waiter(stage, cost, again, suspect, asyncio.get_running_loop().create_future())
        queue.push(stage, waiter, first=again and not suspect)
        self._grant()
        try:
            permit = await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.abandoned(waiter.granted.result())
            raise
        self._observer.waited(stage, self.model, seconds=self._clock() - now)
        return permit

    def read_headers(self, reply: HttpReply | NoReply) -> dict[LimitKind, RateLimitSnapshot]:
        """What a response says of the rate limits, read now and then."""
        now = self._clock()
        if isinstance(reply, NoReply) or (
            reply.status == 200 and now - self._headers_read_at < HEADER_SECONDS  # noqa: PLR2004
        ):
            return {}
        self._headers_read_at = now
        snapshots = read_limits(reply.headers)
        for kind, limit in snapshots.items():
            self._observer.limit(self.model, kind, limit=limit.limit, remaining=limit.remaining)
        return snapshots

    def answered(
        self, permit: Permit, used: Cost, snapshots: Mapping[LimitKind, RateLimitSnapshot]
    ) -> None:
        """The API answered, be it with a refusal or a rejection."""
        now = self._clock()
        for gate, passed in permit.passes.items():
            if passed is gate.closed_pass and not gate.has_failed:
                gate.last_success = now
                continue
            gate.succeeded(passed, now)
            if passed.probe and gate in self._gates:
                self.window.recovered()
                self._limits.resumed()
        self._answers += 1
        self.window.succeeded(len(self._counted))
        self._limits.settle(permit.cost, used)
        if snapshots:
            self._limits.update(snapshots, now)
        self._leave(permit)
        if self._reported != WELL:
            self.report()

    def failed(
        self,
        permit: Permit,
        failure: Retry,
        snapshots: Mapping[LimitKind, RateLimitSnapshot],
        *,
        again: bool = False,
        alone: bool = False,
    ) -> None:
        """The call may succeed later.

        `again`: the same question has failed before; `alone`: and others were answered meanwhile.
        """
        now = self._clock()
        if snapshots:
            self._limits.update(snapshots, now)
        breaker = self._breaker
        if failure.kind == "rate_limited":
            # The service is well; it is us who were too fast.
            breaker.succeeded(permit.passes[breaker], now)
            if not alone:
                self._refusal = failure.detail
                self._limits.refused(now, seconds=failure.after or PAUSE_WITHOUT_RETRY_AFTER)
            if failure.ramp:
                self.window.ramped()
        else:
            is_quick = now - permit.since < QUICK_SECONDS
            others = self._in_flight - 1 if is_quick else 0
            passed = permit.passes[breaker]
            breaker.failed(passed, now, failure.detail, under_way=others, again=again)
        for gate, passed in permit.passes.items():
            if gate is not breaker:
                gate.abandoned(passed)
        if not failure.maybe_billed:
            self._limits.settle(permit.cost, Cost(0, 0))
        self._leave(permit)
        self.report()

    def blocked(self, permit: Permit, failure: Blocked, *, alone: bool = False) -> None:
        """No call can succeed until a person fixes something; `alone`: for this question only."""
        now = self._clock()
        self._limits.settle(permit.cost, Cost(0, 0))
        blocks = {"account": self._account, "model": self._block}
        culprit = blocks.get(failure.scope, self._stage_blocks[permit.stage])
        is_over = alone
        # From the widest to the narrowest: what is wider than the one that trips works, and of
        # what is narrower nothing is known.
        for gate, passed in permit.passes.items():
            if gate is self._breaker:
                gate.succeeded(passed, now)
            elif is_over:
                gate.abandoned(passed)
            elif gate is culprit:
                gate.trip(passed, now, failure.detail)
                is_over = True
            else:
                gate.succeeded(passed, now)
        self._leave(permit)
        self.report()

    def abandoned(self, permit: Permit) -> None:
        """The caller gave up; nothing is known."""
        for gate, passed in permit.passes.items():
            gate.abandoned(passed)
        self._leave(permit)

    def paused_reason(self, stage: str) -> str | None:
        """Why no question of a stage can go for a while, or None."""
        if self._budget.is_limited and (used_up := self._budget.used_up(stage)) is not None:
            return used_up.because
        now = self._clock()
        for gate in self._gates:
            if gate.because is not None and self._is_shut(gate, now):
                return gate.because
        pause = self._limits.paused_until - now
        if pause > LONG_PAUSE_SECONDS:
            return f"The API asks to wait for {pause:.0f} s more: {self._refusal}"
        gate = self._stage_blocks[stage]
        if gate.because is not None and self._is_shut(gate, now, stage):
            return gate.because
        return None

    def report(self) -> None:
        """Report what has changed, by a call, by one of another model, or by time."""
        now = self._clock()
        state = self._breaker.state(now)
        if state == "half_open" and not self.asked:
            # No question is there to probe with, so it would be reported until one comes.
            state = "closed"
        because: str | None = None
        for stage, gate in self._stage_blocks.items():
            if gate.because and because is None and self._is_shut(gate, now, stage):
                because = f"{stage}: {gate.because}"
        for gate in (self._block, self._account):
            if gate.because is not None and self._is_shut(gate, now):
                because = gate.because
        before, self._reported = self._reported, (state, because)
        if state != before[0]:
            self._observer.breaker(self.model, state)
        if because != before[1]:
            self._observer.blocked(self.model, because=because)

    def close(self) -> None:
        self._look_in(inf)

    def _is_shut(self, gate: Breaker, now: float, stage: str | None = None) -> bool:
        """Whether a gate that has tripped lets nothing through; a stage's own with its stage."""
        # When it is time to probe and no question waits that could, the next one is the probe.
        if stage is None:
            waits = bool(self._queue.size or self._suspects.size)
        else:
            waits = stage in self._queue or stage in self._suspects
        return waits or gate.opens_at(now) > now

    def _wait(
        self, stage: str, cost: Cost, now: float, *, suspect: bool
    ) -> tuple[float, Literal["stage", "all"]]:
        """Seconds until such a call may go, and for whom; infinite until another call ends."""
        wait = self._budget.wait(stage) if self._budget.is_limited else 0.0
        gate = self._stage_blocks[stage]
        if gate.because is not None:
            wait = max(wait, gate.opens_at(now) - now)
        if wait > SOON_SECONDS:
            return wait, "stage"
        if suspect:
            if self._suspects_in_flight >= self._most_suspects:
                return inf, "all"
        else:
            while len(self._counted) >= self.window.size:
                oldest = next(iter(self._counted))
                hangs = self._answers - oldest.answers >= HANGING_WINDOWS * self.window.size
                if not hangs or self.hanging >= self._most_hanging:
                    return inf, "all"
                del self._counted[oldest]
                self.hanging += 1
        for gate in self._gates:
            if gate.because is not None:
                wait = max(wait, gate.opens_at(now) - now)
        return max(wait, self._limits.wait(cost, now)), "all"

    def _enter(self, stage: str, cost: Cost, now: float, *, suspect: bool) -> Permit:
        passes = {
            gate: gate.closed_pass if gate.because is None else gate.enter(now)
            for gate in (*self._gates, self._stage_blocks[stage])
        }
        permit = Permit(stage, cost, passes, now, self._answers, suspect)
        self._limits.take(cost)
        self._in_flight += 1
        if suspect:
            self._suspects_in_flight += 1
        else:
            self._counted[permit] = None
        return permit

    def _leave(self, permit: Permit) -> None:
        self._in_flight -= 1
        if permit.suspect:
            self._suspects_in_flight -= 1
        elif permit in self._counted:
            del self._counted[permit]
        else:
            self.hanging -= 1
        if self._queue.size or self._suspects.size:
            self._grant()

    def _grant(self) -> None:
        """Let go what may go, and look again when the next may."""
        now = self._clock()
        while self._queue.size or self._suspects.size:
            wait = inf
            for queue in (self._suspects, self._queue):
                if queue.size and wait > 0:
                    wait = min(wait, self._grant_one(queue, now))
            if wait > 0:
                self._look_in(wait)
                return

    def _grant_one(self, queue: FairQueue[_Waiter], now: float) -> float:
        """Grant the next waiter; returns the seconds to wait where none may go now."""
        shortest = inf
        for stage, waiter in queue.heads():
            if waiter.granted.done():
                queue.pop(stage, weight=0)
                return 0
            wait, concerned = self._wait(stage, waiter.cost, now, suspect=waiter.suspect)
            if concerned == "stage":
                shortest = min(shortest, wait)
                continue
            gates = (*self._gates, self._stage_blocks[stage])
            is_probe = any(gate.because is not None for gate in gates)
            if waiter.suspect and stage in self._queue and is_probe:
                continue
            if wait > SOON_SECONDS:
                # What is at the head waits for its turn; smaller ones do not overtake it.
                return min(shortest, wait)
            if waiter.again and is_probe:
                queue.bring_forward(stage, lambda each: not each.again)
            taken = queue.pop(stage, weight=self._limits.weight(waiter.cost))
            if not taken.granted.done():
                permit = self._enter(stage, taken.cost, now, suspect=taken.suspect)
                taken.granted.set_result(permit)
            return 0
        return shortest

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(seconds, LOOK_SECONDS), self._grant)
