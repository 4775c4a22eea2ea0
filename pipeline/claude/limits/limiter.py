"""Who may call a model, and when: the queue in front of one model.

A call goes when nothing is blocked, the breaker is closed, its stage has budget left, a slot is
free and the rate limits allow it. Everything that decides is pure; this is the shell that waits.

Events in trouble do not take the slots of the others. A call that hangs while several windows of
others are answered is set aside: it does not count against the window any more. So is, from its
start, a call of an event that has failed while others were answered; those have a queue of their
own. How many may be aside is bounded.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from pipeline.claude.failures import Blocked, Retry
from pipeline.claude.limits.breaker import Breaker, Pass
from pipeline.claude.limits.fairness import FairQueue, Window
from pipeline.claude.limits.rate_limits import Cost, Limits, RateLimitSnapshot
from pipeline.model.observer import LimitKind

LOOK_SECONDS = 1.0
"""Longest time between looks at the limits: others may have left some."""
SOON_SECONDS = 0.0005
"""What is less than that away is now; timers are no finer."""
PAUSE_WITHOUT_RETRY_AFTER = 2.0
QUICK_SECONDS = 3.0
"""An error that takes longer, a time-out above all, is not quicker than answers are."""
LONG_PAUSE_SECONDS = 2.0
"""From that length on a pause that the API asks for closes the intake."""
OVERTAKEN_WINDOWS = 3
"""Answers since a call was sent, in windows, from which on it hangs: it takes that many times as
long as the average one. In an outage there are no answers, and nothing is set aside."""
LEAST_ASIDE = 16
"""Also where the setting is small: what hangs costs a connection, and no work."""


def most_overtaken(concurrency: int) -> int:
    """Calls that may hang beyond the setting."""
    return max(LEAST_ASIDE, concurrency // 2)


def most_suspects(concurrency: int) -> int:
    """Calls about events in trouble that may be under way beyond the setting."""
    return max(LEAST_ASIDE, concurrency // 4)


@dataclass(slots=True, eq=False)
class Permit:
    """One call that may go now; its end must be reported.

    Args:
        answers: Of the model before this call.
        suspect: Whether its event is in trouble.
    """

    stage: str
    cost: Cost
    passes: tuple[Pass, ...]
    stage_pass: Pass
    since: float
    answers: int
    suspect: bool

    def wants_control(self, *, failed: bool) -> bool:
        """Whether a harmless question should be asked in place of the event's own.

        Args:
            failed: Whether the event has failed before: it is no fit probe.
        """
        for passed in (*self.passes, self.stage_pass):
            if passed.probe and (failed or passed.control):
                return True
        return False


@dataclass(slots=True, eq=False)
class _Waiter:
    stage: str
    cost: Cost
    again: bool
    suspect: bool
    granted: asyncio.Future[Permit]


def _is_fresh(waiter: _Waiter) -> bool:
    return not waiter.again


class Limiter:
    """The queue of one model.

    Args:
        breaker: Opens when the model's calls fail.
        block: Trips when nothing can be asked of this model until a person mends it.
        account: The same for all models; shared with their limiters.
        stage_block: Makes what trips when nothing that one stage asks can be asked.
        window: How many calls at once.
        budget_wait: Seconds until a stage may spend again; 0 now.
        clock: Seconds that do not go back; the event loop's own time.
    """

    def __init__(
        self,
        *,
        breaker: Breaker,
        block: Breaker,
        account: Breaker,
        stage_block: Callable[[], Breaker],
        window: Window,
        budget_wait: Callable[[str], float],
        clock: Callable[[], float],
    ) -> None:
        self.breaker = breaker
        self.block = block
        self.account = account
        self.window = window
        self.limits = Limits()
        self.in_flight = 0
        self._gates = (account, block, breaker)
        self._stage_blocks: dict[str, Breaker] = {}
        self._new_stage_block = stage_block
        self._budget_wait = budget_wait
        self._clock = clock
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._suspects: FairQueue[_Waiter] = FairQueue()
        self._counted: OrderedDict[Permit, None] = OrderedDict()
        self._suspects_in_flight = 0
        self._answers = 0
        self._refusal = ""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> dict[str, int]:
        """Questions that wait, by stage."""
        return dict(Counter(self._queue.sizes()) + Counter(self._suspects.sizes()))

    @property
    def overtaken(self) -> int:
        """Calls under way that hang."""
        return self.in_flight - len(self._counted) - self._suspects_in_flight

    async def acquire(
        self, stage: str, cost: Cost, *, again: bool = False, suspect: bool = False
    ) -> Permit:
        """Wait until a call may go.

        Args:
            stage: Whose call it is.
            cost: What it is expected to take.
            again: Whether it has failed before. It goes before those that have not been sent,
                unless calls are probes: those are for questions that have not failed, where any
                wait.
            suspect: Whether it failed while others were answered.
        """
        now = self._clock()
        queue = self._suspects if suspect else self._queue
        if not queue and self._wait(stage, cost, now, suspect=suspect) <= SOON_SECONDS:
            return self._enter(stage, cost, now, suspect=suspect)
        waiter = _Waiter(stage, cost, again, suspect, asyncio.get_running_loop().create_future())
        queue.push(stage, waiter, first=again and not suspect)
        self.pump()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.abandoned(waiter.granted.result())
            raise

    def answered(
        self, permit: Permit, used: Cost, snapshots: Mapping[LimitKind, RateLimitSnapshot]
    ) -> None:
        """The API answered, be it with a refusal or a rejection."""
        now = self._clock()
        for gate, passed in zip(self._gates, permit.passes, strict=True):
            gate.succeeded(passed, now)
            if passed.probe:
                self.window.recovered()
                self.limits.resumed()
        self.stage_block(permit.stage).succeeded(permit.stage_pass, now)
        self._answers += 1
        self.window.succeeded(len(self._counted))
        self.limits.settle(permit.cost, used)
        self.limits.update(snapshots, now)
        self._left(permit)

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

        Args:
            permit: The call's.
            failure: What came back.
            snapshots: What it says of the limits, by kind.
            again: Whether the same question has failed before.
            alone: Whether it has, and others were answered meanwhile.
        """
        now = self._clock()
        self.limits.update(snapshots, now)
        account, block, breaker = permit.passes
        if failure.kind == "rate_limited":
            # The service is well; it is us who were too fast.
            self.breaker.succeeded(breaker, now)
            if not alone:
                self._refusal = failure.detail
                self.limits.refused(now, seconds=failure.after or PAUSE_WITHOUT_RETRY_AFTER)
            if failure.ramp:
                self.window.ramped()
        else:
            is_quick = now - permit.since < QUICK_SECONDS
            others = self.in_flight - 1 if is_quick else 0
            self.breaker.failed(breaker, now, failure.detail, under_way=others, again=again)
        self.account.abandoned(account)
        self.block.abandoned(block)
        self.stage_block(permit.stage).abandoned(permit.stage_pass)
        if not failure.maybe_billed:
            self.limits.settle(permit.cost, Cost(0, 0))
        self._left(permit)

    def blocked(self, permit: Permit, failure: Blocked, *, alone: bool = False) -> None:
        """No call can succeed until a person fixes something.

        Args:
            permit: The call's.
            failure: What came back.
            alone: Whether others were answered meanwhile: then it holds for this question only.
        """
        now = self._clock()
        account, block, breaker = permit.passes
        self.breaker.succeeded(breaker, now)
        self.limits.settle(permit.cost, Cost(0, 0))
        if alone:
            self.account.abandoned(account)
            self.block.abandoned(block)
            self.stage_block(permit.stage).abandoned(permit.stage_pass)
            self._left(permit)
            return
        stage_block = self.stage_block(permit.stage)
        if failure.scope == "stage":
            self.account.succeeded(account, now)
            self.block.succeeded(block, now)
            stage_block.trip(permit.stage_pass, now, failure.because)
        else:
            stage_block.abandoned(permit.stage_pass)
            if failure.scope == "account":
                self.block.abandoned(block)
                self.account.trip(account, now, failure.because)
            else:
                self.account.succeeded(account, now)
                self.block.trip(block, now, failure.because)
        self._left(permit)

    def abandoned(self, permit: Permit) -> None:
        """The caller gave up; nothing is known."""
        for gate, passed in zip(self._gates, permit.passes, strict=True):
            gate.abandoned(passed)
        self.stage_block(permit.stage).abandoned(permit.stage_pass)
        self._left(permit)

    def stage_block(self, stage: str) -> Breaker:
        """What trips when nothing that this stage asks of the model can be asked."""
        found = self._stage_blocks.get(stage)
        if found is None:
            found = self._stage_blocks[stage] = self._new_stage_block()
        return found

    def stage_paused_reason(self, stage: str) -> str | None:
        """Why this stage's questions cannot be asked of the model, whatever others can."""
        block = self._stage_blocks.get(stage)
        if block is None or block.because is None:
            return None
        now = self._clock()
        waits = stage in self.waiting
        return block.because if waits or block.opens_at(now) > now else None

    def blocked_because(self) -> str | None:
        """What a person has to fix before a question can be answered, or None."""
        now = self._clock()
        for gate in (self.account, self.block):
            if self._is_shut(gate, now):
                return gate.because
        for stage in self._stage_blocks:
            because = self.stage_paused_reason(stage)
            if because is not None:
                return f"{stage}: {because}"
        return None

    def paused_reason(self) -> str | None:
        """Why nothing can go for a while, or None; budgets not included."""
        now = self._clock()
        for gate in self._gates:
            if self._is_shut(gate, now):
                return gate.because
        pause = self.limits.pause(now)
        if pause > LONG_PAUSE_SECONDS:
            return f"The API asks to wait for {pause:.0f} s more: {self._refusal}"
        return None

    def pump(self) -> None:
        """Let go what may go; to be called when something it depends on has changed."""
        now = self._clock()
        while self._is_awaited():
            wait = self._let_one_go(now)
            if wait > 0:
                self._look_in(wait)
                return

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_one_go(self, now: float) -> float:
        """Grant the next waiter; returns the seconds to wait where none may go now."""
        shortest = inf
        for queue in (self._suspects, self._queue):
            if not queue:
                continue
            wait = self._let_one_of(queue, now)
            if wait <= 0:
                return 0
            shortest = min(shortest, wait)
        return shortest

    def _let_one_of(self, queue: FairQueue[_Waiter], now: float) -> float:
        shortest = inf
        for stage, waiter in queue.heads():
            if waiter.granted.done():
                queue.pop(stage, weight=0)
                return 0
            own = self._own_wait(stage, now)
            if own > SOON_SECONDS:
                shortest = min(shortest, own)
                continue
            if waiter.suspect and stage in self._queue.sizes() and self._probes(stage):
                continue
            wait = self._wait(stage, waiter.cost, now, suspect=waiter.suspect)
            if wait > SOON_SECONDS:
                # What is at the head waits for its turn; smaller ones do not overtake it.
                return min(shortest, wait)
            if waiter.again and self._probes(stage):
                queue.bring_forward(stage, _is_fresh)
            taken = queue.pop(stage, weight=self.limits.weight(waiter.cost))
            if not taken.granted.done():
                permit = self._enter(stage, taken.cost, now, suspect=taken.suspect)
                taken.granted.set_result(permit)
            return 0
        return shortest

    def _probes(self, stage: str) -> bool:
        """Whether the next call of a stage would be a probe."""
        gates = (*self._gates, self.stage_block(stage))
        return any(gate.because is not None for gate in gates)

    def _is_shut(self, gate: Breaker, now: float) -> bool:
        # When the time has come to try and nobody waits who could, the way is open: the next
        # question is the probe.
        return gate.because is not None and (gate.opens_at(now) > now or self._is_awaited())

    def _is_awaited(self) -> bool:
        return bool(self._queue or self._suspects)

    def _wait(self, stage: str, cost: Cost, now: float, *, suspect: bool) -> float:
        """Seconds until such a call may go; infinite where the end of another call decides."""
        if not self._has_room(suspect=suspect):
            return inf
        wait = self._own_wait(stage, now)
        for gate in self._gates:
            if gate.because is not None:
                wait = max(wait, gate.opens_at(now) - now)
        return max(wait, self.limits.wait(cost, now))

    def _has_room(self, *, suspect: bool) -> bool:
        if suspect:
            return self._suspects_in_flight < most_suspects(self.window.most)
        while len(self._counted) >= self.window.size:
            oldest = next(iter(self._counted))
            overtaken = self._answers - oldest.answers >= OVERTAKEN_WINDOWS * self.window.size
            if not overtaken or self.overtaken >= most_overtaken(self.window.most):
                return False
            del self._counted[oldest]
        return True

    def _own_wait(self, stage: str, now: float) -> float:
        """Seconds until a stage may ask, by what concerns it alone."""
        wait = self._budget_wait(stage)
        block = self._stage_blocks.get(stage)
        if block is not None and block.because is not None:
            wait = max(wait, block.opens_at(now) - now)
        return wait

    def _enter(self, stage: str, cost: Cost, now: float, *, suspect: bool) -> Permit:
        self.in_flight += 1
        self.limits.take(cost)
        account, block, breaker = self._gates
        passes = account.enter(now), block.enter(now), breaker.enter(now)
        stage_pass = self.stage_block(stage).enter(now)
        permit = Permit(stage, cost, passes, stage_pass, now, self._answers, suspect=suspect)
        if suspect:
            self._suspects_in_flight += 1
        else:
            self._counted[permit] = None
        return permit

    def _left(self, permit: Permit) -> None:
        self.in_flight -= 1
        if permit.suspect:
            self._suspects_in_flight -= 1
        else:
            self._counted.pop(permit, None)
        self.pump()

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(seconds, LOOK_SECONDS), self.pump)
