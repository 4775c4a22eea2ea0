"""One call: wait for one's turn, send, judge what comes back, and try again while that helps.

Where a question has failed several times and no other was answered meanwhile, a control question
is asked first: the same prompt about something harmless. Its end says whether the model is unwell
or the question is at fault. It costs a few tokens, and nothing in an outage.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pipeline.claude import failures
from pipeline.claude.attempts import Attempts, Backoff, Bounds
from pipeline.claude.billing.prices import PriceTable, Tokens
from pipeline.claude.cache.prompt_cache import Prompt, Warmup
from pipeline.claude.cache.single_flight import InFlightCall
from pipeline.claude.client import Client
from pipeline.claude.failures import Blocked, Failure, Reject, Retry
from pipeline.claude.http import HttpReply, NoReply
from pipeline.claude.limits.budget import Spending
from pipeline.claude.limits.limiter import Permit
from pipeline.claude.limits.rate_limits import Cost, RateLimitSnapshot, weigh
from pipeline.claude.model_client import ModelClient
from pipeline.claude.redaction import unechoed
from pipeline.claude.requests import content_of
from pipeline.claude.responses import (
    Answered,
    Bill,
    MalformedResponse,
    Unusable,
    read_message,
    read_response,
)
from pipeline.model.errors import (
    AnswerError,
    Malformed,
    NoRoom,
    Refused,
    Rejected,
    TruncatedResponse,
    Unanswered,
)
from pipeline.model.observer import CallEnd, LimitKind, Observer
from pipeline.model.questions import Question, Text
from pipeline.model.records import Tier, Usage

log = logging.getLogger(__name__)
NOTHING = Cost(0.0, 0.0)
CONTROL = (Text("body", "Good morning."),)
"""What a control question is about: the same for all stages, and of no use to anybody."""
CONTROL_FAILURES = 6
"""Of a question, from which on others must have been answered before it is asked again."""
CONTROL_DOUBLINGS = 3
"""Of the pause between two control questions: an open breaker spaces them anyway."""
CONTROL_OUTPUT_TOKENS = 16
"""That it was answered is enough; the answer is not read."""
_ERRORS: dict[str, type[AnswerError]] = {
    "refused": Refused,
    "cut_off": TruncatedResponse,
    "malformed": Malformed,
}


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that is to be made.

    Args:
        question: What is asked.
        body: The request.
        weight: Of the question's content; see `pipeline.claude.limits.rate_limits.weigh`.
        max_output_tokens: In the request.
        bounds: When its failures are its own trouble; None for what the settings say.
    """

    question: Question[Any]
    tier: Tier
    prompt: Prompt
    lane: ModelClient
    body: bytes
    weight: int
    max_output_tokens: int
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class _Controlled:
    """A control question was asked in place of the order's own, and answered."""


@dataclass(frozen=True, slots=True)
class CompletedCall:
    """An answer that was paid."""

    answered: Answered[Any]
    usage: Usage
    seconds: float


class Caller:
    """Makes calls.

    Args:
        client: Sends.
        prices: Price answers.
        spending: Counts what they cost.
        backoff: Decides about pauses.
        bounds: When an event's failures are its own trouble.
        observer: Told of every call.
        clock: Seconds that do not go back.
        jitter: Draws 0 to 1.
    """

    def __init__(
        self,
        client: Client,
        *,
        prices: PriceTable,
        spending: Spending,
        backoff: Backoff,
        bounds: Bounds,
        observer: Observer,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._client = client
        self._prices = prices
        self._spending = spending
        self._backoff = backoff
        self._bounds = bounds
        self._observer = observer
        self._clock = clock
        self._jitter = jitter

    async def call(
        self, order: ModelRequest, flight: InFlightCall[Any] | None = None
    ) -> CompletedCall:
        """Ask until there is an answer.

        Args:
            order: What to ask.
            flight: Whose call it is, where several may wait for it.

        Raises:
            AnswerError: The answer is no use.
        """
        attempts = Attempts(order.prompt.peers)
        order.lane.asked += 1
        try:
            return await self._until_answered(order, flight, attempts)
        finally:
            order.lane.asked -= 1
            order.lane.in_trouble -= attempts.in_trouble

    async def _until_answered(
        self, order: ModelRequest, flight: InFlightCall[Any] | None, attempts: Attempts
    ) -> CompletedCall:
        while True:
            warming = await order.prompt.enter()
            try:
                ended = await self._attempt(order, flight, warming, attempts)
            finally:
                if warming is not None:
                    warming.left()
            if isinstance(ended, CompletedCall):
                return ended
            if flight is not None and not flight.is_wanted:
                raise asyncio.CancelledError("nobody waits for this answer any more")
            if isinstance(ended, _Controlled):
                continue
            if attempts.are_over(order.bounds or self._bounds):
                raise _given_up(order, attempts)
            log.debug("%s: asked again: %s", order.question.stage, _why(ended))
            await self._pause(ended, attempts)
            await self._ask_about_others(order, attempts)

    async def _pause(self, failure: Retry | Blocked, attempts: Attempts) -> None:
        # Blocks and 429s are waited out in the queue, where they hold up everyone alike; unless
        # they befall one event alone.
        waited_out = isinstance(failure, Blocked) or failure.kind == "rate_limited"
        if waited_out and not attempts.alone:
            return
        after = None if isinstance(failure, Blocked) else failure.after
        tried = max(1, attempts.count)
        await asyncio.sleep(self._backoff.seconds(tried, jitter=self._jitter(), asked=after))

    async def _ask_about_others(self, order: ModelRequest, attempts: Attempts) -> None:
        """Wait until others are answered, where the question has failed too often for chance."""
        if attempts.count < CONTROL_FAILURES or attempts.others_answered():
            return
        control, tried = _control_of(order), 0
        # One asks for all who wait here, so that all go on as soon as it is answered.
        async with order.prompt.controlling:
            while not attempts.others_answered():
                ended = await self._control(control, await self._turn(control))
                if isinstance(ended, Retry):
                    tried = min(tried + 1, CONTROL_DOUBLINGS)
                    await asyncio.sleep(self._backoff.seconds(tried, jitter=self._jitter()))

    def receive(self, order: ModelRequest, message: Mapping[str, Any]) -> CompletedCall:
        """Take an answer that came with a batch.

        Raises:
            AnswerError: The answer is no use.
        """
        verdict = read_message(message, order.question.answer_model, order.prompt.repair)
        cost = order.prompt.estimates.cost(order.weight, max_output_tokens=order.max_output_tokens)
        usage = self._paid(order, verdict.model, replace(verdict.bill, batch=True), cost)
        end = _end_of(verdict)
        self._observer.call(order.question.stage, order.lane.model, end, seconds=0.0, usage=usage)
        if isinstance(verdict, Answered):
            return CompletedCall(verdict, usage, 0.0)
        raise _error_of(verdict, usage, 0.0)

    async def _attempt(
        self,
        order: ModelRequest,
        flight: InFlightCall[Any] | None,
        warming: Warmup | None,
        attempts: Attempts,
    ) -> CompletedCall | Retry | Blocked | _Controlled:
        again = attempts.count > 0
        permit = await self._turn(order, again=again, suspect=attempts.in_trouble)
        if permit.wants_control(failed=again):
            return await self._control(_control_of(order), permit)
        limit = order.prompt.timeout.after(attempts.timed_out)
        sent = await self._send(order, permit, limit, flight, warming)
        # Of failures in a row it counts once; an answer to another one ends the row.
        counted = again and not attempts.others_answered()
        if isinstance(sent.verdict, (Retry, Blocked)):
            self._count(order, attempts, sent)
        else:
            attempts.answered()
        usage = self._end(order, permit, sent, counted=counted, alone=attempts.alone)
        return _outcome(order, sent.verdict, usage, sent.seconds)

    async def _control(
        self, control: ModelRequest, permit: Permit
    ) -> Retry | Blocked | _Controlled:
        sent = await self._send(control, permit, control.prompt.timeout.seconds, None, None)
        peers, verdict = control.prompt.peers, sent.verdict
        failed = isinstance(verdict, (Retry, Blocked))
        peers.failed += failed
        peers.answered += not failed
        self._end(control, permit, sent)
        return verdict if isinstance(verdict, (Retry, Blocked)) else _Controlled()

    async def _turn(
        self, order: ModelRequest, *, again: bool = False, suspect: bool = False
    ) -> Permit:
        lane, stage, queued = order.lane, order.question.stage, self._clock()
        cost = order.prompt.estimates.cost(order.weight, max_output_tokens=order.max_output_tokens)
        permit = await lane.limiter.acquire(stage, cost, again=again, suspect=suspect)
        self._observer.waited(stage, lane.model, seconds=self._clock() - queued)
        return permit

    async def _send(
        self,
        order: ModelRequest,
        permit: Permit,
        limit: float,
        flight: InFlightCall[Any] | None,
        warming: Warmup | None,
    ) -> "_Sent":
        started = self._clock()
        if flight is not None:
            flight.sending = True
        if warming is not None:
            warming.sent()
        try:
            result = await self._client.send(order.body, seconds=limit)
        except BaseException:
            order.lane.limiter.abandoned(permit)
            self._maybe_billed(order, permit.cost)
            raise
        finally:
            if flight is not None:
                flight.sending = False
        return _Sent(
            _judge(result, order, limit),
            order.lane.limits_of(result),
            started=started,
            seconds=self._clock() - started,
        )

    def _count(self, order: ModelRequest, attempts: Attempts, sent: "_Sent") -> None:
        """Count a failure of a question."""
        failure, was_in_trouble = sent.verdict, attempts.in_trouble
        retry = failure if isinstance(failure, Retry) else None
        timed_out = retry is not None and retry.kind == "timed_out"
        if timed_out and not attempts.timed_out:
            order.prompt.timeout.expired()
        attempts.failed(
            self._clock(),
            _why(failure),
            seconds=sent.seconds,
            timed_out=timed_out,
            maybe_billed=retry is not None and retry.maybe_billed,
            unclear=isinstance(failure, Blocked) and failure.unclear,
        )
        order.lane.in_trouble += attempts.in_trouble - was_in_trouble

    def _end(
        self,
        order: ModelRequest,
        permit: Permit,
        sent: "_Sent",
        *,
        counted: bool = False,
        alone: bool = False,
    ) -> Usage | None:
        """Report the end of a call to all whom it concerns; returns what it cost, if that is known.

        Args:
            order: What was sent.
            permit: The call's.
            sent: What came back.
            counted: Whether the same question is among the failures in a row already.
            alone: Whether it failed alone.
        """
        lane, stage, verdict = order.lane, order.question.stage, sent.verdict
        usage: Usage | None = None
        if isinstance(verdict, (Answered, Unusable)):
            usage = self._settle(order, verdict, permit.cost, sent)
            lane.limiter.answered(permit, _counted(verdict.bill, permit.cost), sent.snapshots)
        elif isinstance(verdict, Reject):
            # What a filter withheld was written, and may be paid.
            usage = Usage(calls=1, cost_usd=None if verdict.filtered else Decimal(0))
            lane.limiter.answered(permit, NOTHING, sent.snapshots)
        elif isinstance(verdict, Blocked):
            lane.limiter.blocked(permit, verdict, alone=alone)
        else:
            lane.limiter.failed(permit, verdict, sent.snapshots, again=counted, alone=alone)
            if verdict.maybe_billed:
                self._maybe_billed(order, permit.cost)
        lane.report()
        end = _end_of(verdict)
        self._observer.call(stage, lane.model, end, seconds=sent.seconds, usage=usage)
        return usage

    def _settle(
        self,
        order: ModelRequest,
        verdict: Answered[Any] | Unusable,
        cost: Cost,
        sent: "_Sent",
    ) -> Usage:
        """Learn from an answer, and price it."""
        bill = verdict.bill
        if bill.is_known:
            counted = _counted(bill, cost)
            began, took = sent.started, sent.seconds
            order.prompt.learn(order.weight, counted, bill.tokens, started=began, seconds=took)
        return self._paid(order, verdict.model, bill, cost)

    def _paid(self, order: ModelRequest, model: str, bill: Bill, estimate: Cost) -> Usage:
        """Price an answer by the model that gave it, and count it against the budget.

        What it cost is not known where the bill or the price is not. Budgets then count what it
        may have: tokens by the estimate, a price by that of the most expensive model.
        """
        tokens = bill.tokens
        terms = {"batch": bill.batch, "us_only": bill.us_only}
        cost = self._prices.cost(model, tokens, **terms) if bill.is_known else None
        if cost is None:
            likely = tokens if bill.is_known else _at_least(tokens, estimate)
            self._spending.add(order.question.stage, self._prices.at_most(model, likely, **terms))
        else:
            self._spending.add(order.question.stage, cost)
        return Usage(
            calls=1,
            input_tokens=tokens.input,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write,
            output_tokens=tokens.output,
            cost_usd=cost,
        )

    def _maybe_billed(self, order: ModelRequest, cost: Cost) -> None:
        """Count a call without an answer against the budget: it may have been paid all the same."""
        tokens = _at_least(Tokens(), cost)
        usd = self._prices.cost(order.lane.model, tokens)
        self._spending.add(
            order.question.stage,
            self._prices.at_most(order.lane.model, tokens) if usd is None else usd,
        )
        self._observer.maybe_billed(order.question.stage, order.lane.model, usd=usd)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A call that was made, and what its response means."""

    verdict: "Answered[Any] | Unusable | Failure"
    snapshots: Mapping[LimitKind, RateLimitSnapshot]
    started: float
    seconds: float


def _control_of(order: ModelRequest) -> ModelRequest:
    """The same prompt, about something harmless."""
    limit = CONTROL_OUTPUT_TOKENS
    return replace(
        order,
        question=replace(order.question, parts=CONTROL),
        body=order.prompt.template.body(content_of(CONTROL), max_output_tokens=limit),
        weight=weigh(CONTROL),
        max_output_tokens=limit,
    )


def _given_up(order: ModelRequest, attempts: Attempts) -> Unanswered:
    cost = None if attempts.maybe_billed else Decimal(0)
    usage = Usage(calls=attempts.count, cost_usd=cost)
    model = order.lane.model
    return Unanswered(attempts.history(), usage=usage, model=model, seconds=attempts.seconds)


def _why(failure: Answered[Any] | Unusable | Failure) -> str:
    match failure:
        case Retry(detail=why) | Blocked(because=why) | Reject(detail=why) | Unusable(detail=why):
            return why
        case Answered():
            return ""


def _judge(
    result: HttpReply | NoReply, order: ModelRequest, limit: float
) -> Answered[Any] | Unusable | Failure:
    match result:
        case NoReply("no_key", detail):
            return failures.no_credentials(detail)
        case NoReply("timed_out"):
            return failures.timed_out(limit)
        case NoReply(_, detail, sent):
            return failures.disconnected(detail, sent=sent)
        case HttpReply(200, _, body):
            repair = order.prompt.repair
            read = read_response(body, order.question.answer_model, repair)
            if isinstance(read, MalformedResponse):
                return unechoed(failures.garbled(read.detail), order.question.parts)
            return read
        case HttpReply(status, _, body):
            failure = failures.classify(status, result.headers, body)
            return unechoed(failure, order.question.parts)


def _counted(bill: Bill, estimate: Cost) -> Cost:
    """What an answer takes from the rate limits: prompt cache reads are free."""
    if not bill.is_known:
        return estimate
    return Cost(bill.tokens.input + bill.tokens.cache_write, bill.tokens.output)


def _at_least(tokens: Tokens, estimate: Cost) -> Tokens:
    """Those tokens, and no fewer than were expected."""
    return replace(
        tokens,
        input=max(tokens.input, int(estimate.input_tokens)),
        output=max(tokens.output, int(estimate.output_tokens)),
    )


def _end_of(verdict: Answered[Any] | Unusable | Failure) -> CallEnd:
    match verdict:
        case Answered():
            return "answered"
        case Unusable(why):
            return why
        case Reject(filtered=filtered):
            return "refused" if filtered else "rejected"
        case Retry(kind):
            return kind
        case Blocked():
            return "blocked"


def _outcome(
    order: ModelRequest,
    verdict: Answered[Any] | Unusable | Failure,
    usage: Usage | None,
    seconds: float,
) -> CompletedCall | Retry | Blocked:
    """What the verdict means for whoever asked.

    Raises:
        AnswerError: The answer is no use, or the request is rejected.
    """
    match verdict:
        case Answered():
            return CompletedCall(verdict, usage or Usage(), seconds)
        case Unusable():
            raise _error_of(verdict, usage or Usage(), seconds)
        case Reject(detail, filtered):
            error = Refused if filtered else Rejected
            model = order.lane.model
            raise error(detail, usage=usage or Usage(), model=model, seconds=seconds)
        case Retry() | Blocked():
            return verdict


def _error_of(unusable: Unusable, usage: Usage, seconds: float) -> AnswerError:
    no_room = unusable.why == "cut_off" and unusable.is_final
    error = NoRoom if no_room else _ERRORS[unusable.why]
    return error(unusable.detail, usage=usage, model=unusable.model, seconds=seconds)
