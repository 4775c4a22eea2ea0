"""One call: wait for one's turn, send, judge what comes back, and try again while that helps."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.claude import failures
from pipeline.claude.backoff import Backoff
from pipeline.claude.client import Client
from pipeline.claude.echoes import unechoed
from pipeline.claude.failures import Blocked, Failure, Reject, Retry
from pipeline.claude.flights import Flight
from pipeline.claude.lanes import Lane
from pipeline.claude.limits import Cost
from pipeline.claude.observer import CallEnd, ClaudeObserver
from pipeline.claude.prices import PriceTable, Tokens
from pipeline.claude.prompts import Prompt
from pipeline.claude.replies import HttpReply, NoReply
from pipeline.claude.responses import (
    Answered,
    Bill,
    Garbled,
    Unusable,
    read_message,
    read_response,
)
from pipeline.claude.spending import Spending
from pipeline.claude.warmup import Warmup
from pipeline.errors import AnswerError, CutOff, Malformed, NoRoom, Refused, Rejected
from pipeline.events import Tier, Usage
from pipeline.questions import Question

log = logging.getLogger(__name__)

NOTHING = Cost(0.0, 0.0)
_ERRORS: dict[str, type[AnswerError]] = {
    "refused": Refused,
    "cut_off": CutOff,
    "malformed": Malformed,
}


@dataclass(frozen=True, slots=True)
class Order:
    """A request that is to be made.

    Args:
        question: What is asked.
        body: The request.
        weight: Of the question's content; see `pipeline.claude.estimates.weigh`.
        max_output_tokens: In the request.
    """

    question: Question[Any]
    tier: Tier
    prompt: Prompt
    lane: Lane
    body: bytes
    weight: int
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class Delivery:
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
        observer: ClaudeObserver,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._client = client
        self._prices = prices
        self._spending = spending
        self._backoff = backoff
        self._observer = observer
        self._clock = clock
        self._jitter = jitter

    async def call(self, order: Order, flight: Flight[Any] | None = None) -> Delivery:
        """Ask until there is an answer.

        Args:
            order: What to ask.
            flight: Whose call it is, where several may wait for it.

        Raises:
            AnswerError: The answer is no use.
        """
        order.lane.asked += 1
        try:
            return await self._until_answered(order, flight)
        finally:
            order.lane.asked -= 1

    async def _until_answered(self, order: Order, flight: Flight[Any] | None) -> Delivery:
        failed, again = 0, False
        while True:
            warming = await order.prompt.enter()
            try:
                ended = await self._attempt(order, flight, warming, again=again)
            finally:
                if warming is not None:
                    warming.left()
            if isinstance(ended, Delivery):
                return ended
            if flight is not None and not flight.is_wanted:
                raise asyncio.CancelledError("nobody waits for this answer any more")
            again = True
            log.debug("%s: asked again: %s", order.question.stage, _why(ended))
            # Blocks and 429s are waited out in the queue, where they hold up everyone alike.
            if isinstance(ended, Retry) and ended.kind != "rate_limited":
                failed += 1
                jitter = self._jitter()
                seconds = self._backoff.seconds(failed, jitter=jitter, asked=ended.after)
                await asyncio.sleep(seconds)

    def receive(self, order: Order, message: Mapping[str, Any]) -> Delivery:
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
            return Delivery(verdict, usage, 0.0)
        raise _error_of(verdict, usage, 0.0)

    async def _attempt(
        self, order: Order, flight: Flight[Any] | None, warming: Warmup | None, *, again: bool
    ) -> Delivery | Retry | Blocked:
        lane, stage = order.lane, order.question.stage
        cost = order.prompt.estimates.cost(order.weight, max_output_tokens=order.max_output_tokens)
        queued = self._clock()
        permit = await lane.limiter.acquire(stage, cost, again=again)
        started = self._clock()
        self._observer.waited(stage, lane.model, seconds=started - queued)
        limit = order.prompt.timeout.seconds
        if flight is not None:
            flight.sending = True
        if warming is not None:
            warming.sent()
        try:
            result = await self._client.send(order.body, seconds=limit)
        except BaseException:
            lane.limiter.abandoned(permit)
            self._maybe_billed(order, cost)
            raise
        finally:
            if flight is not None:
                flight.sending = False
        seconds = self._clock() - started
        told = lane.news(result)
        verdict = _judge(result, order, limit)
        usage: Usage | None = None
        if isinstance(verdict, (Answered, Unusable)):
            usage = self._settle(order, verdict, cost, started=started, seconds=seconds)
            lane.limiter.answered(permit, _counted(verdict.bill, cost), told)
        elif isinstance(verdict, Reject):
            usage = Usage(calls=1)
            lane.limiter.answered(permit, NOTHING, told)
        elif isinstance(verdict, Blocked):
            lane.limiter.blocked(permit, verdict)
        else:
            lane.limiter.failed(permit, verdict, told)
            self._failed(order, verdict, cost)
        lane.tell()
        end = _end_of(verdict)
        self._observer.call(stage, lane.model, end, seconds=seconds, usage=usage)
        return _outcome(order, verdict, usage, seconds)

    def _settle(
        self,
        order: Order,
        verdict: Answered[Any] | Unusable,
        cost: Cost,
        *,
        started: float,
        seconds: float,
    ) -> Usage:
        """Learn from an answer, and price it."""
        bill = verdict.bill
        if bill.is_known:
            counted = _counted(bill, cost)
            order.prompt.learn(order.weight, counted, bill.tokens, started=started, seconds=seconds)
        return self._paid(order, verdict.model, bill, cost)

    def _paid(self, order: Order, model: str, bill: Bill, estimate: Cost) -> Usage:
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

    def _failed(self, order: Order, failure: Retry, cost: Cost) -> None:
        if failure.kind == "timed_out":
            order.prompt.timeout.expired()
        if failure.maybe_billed:
            self._maybe_billed(order, cost)

    def _maybe_billed(self, order: Order, cost: Cost) -> None:
        """Count a call without an answer against the budget: it may have been paid all the same."""
        tokens = _at_least(Tokens(), cost)
        usd = self._prices.cost(order.lane.model, tokens)
        self._spending.add(
            order.question.stage,
            self._prices.at_most(order.lane.model, tokens) if usd is None else usd,
        )
        self._observer.maybe_billed(order.question.stage, order.lane.model, usd=usd)


def _why(failure: Retry | Blocked) -> str:
    return failure.detail if isinstance(failure, Retry) else failure.because


def _judge(
    result: HttpReply | NoReply, order: Order, limit: float
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
            if isinstance(read, Garbled):
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
        case Reject():
            return "rejected"
        case Retry(kind):
            return kind
        case Blocked():
            return "blocked"


def _outcome(
    order: Order,
    verdict: Answered[Any] | Unusable | Failure,
    usage: Usage | None,
    seconds: float,
) -> Delivery | Retry | Blocked:
    """What the verdict means for whoever asked.

    Raises:
        AnswerError: The answer is no use, or the request is rejected.
    """
    match verdict:
        case Answered():
            return Delivery(verdict, usage or Usage(), seconds)
        case Unusable():
            raise _error_of(verdict, usage or Usage(), seconds)
        case Reject(detail):
            model = order.lane.model
            raise Rejected(detail, usage=usage or Usage(), model=model, seconds=seconds)
        case Retry() | Blocked():
            return verdict


def _error_of(unusable: Unusable, usage: Usage, seconds: float) -> AnswerError:
    no_room = unusable.why == "cut_off" and unusable.is_final
    error = NoRoom if no_room else _ERRORS[unusable.why]
    return error(unusable.detail, usage=usage, model=unusable.model, seconds=seconds)
