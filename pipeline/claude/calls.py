"""One call: wait until it may go, send, read what comes back, and try again while that helps.

Where a question has failed several times and no other was answered meanwhile, a control question
is asked first: the same prompt about something harmless. Its end says whether the model is unwell
or the question is at fault. It costs a few tokens, and nothing in an outage.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pipeline.claude.billing import Budget, PriceTable, Tokens
from pipeline.claude.client import Client
from pipeline.claude.failures import (
    Attempts,
    Backoff,
    Blocked,
    Bounds,
    Failure,
    Reject,
    Retry,
    failure_of,
    malformed,
)
from pipeline.claude.limiter import Limiter, Permit
from pipeline.claude.prompts import Prompt, Warmup, content_weight
from pipeline.claude.rate_limits import Cost, RateLimitSnapshot
from pipeline.claude.redaction import unechoed
from pipeline.claude.request_body import content_of
from pipeline.claude.responses import (
    Answered,
    Bill,
    HttpReply,
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
from pipeline.model.questions import Question, Response, Text
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
    """A request to be made; `bounds` where others than the settings' hold for its failures."""

    question: Question[Any]
    tier: Tier
    prompt: Prompt
    limiter: Limiter
    body: bytes
    weight: int
    max_output_tokens: int
    bounds: Bounds | None = None


@dataclass(slots=True, eq=False)
class InFlightCall:
    """How many wait for a call, and whether it is on its way and will be paid in any case."""

    waiters: int = 0
    sending: bool = False
    completed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class CompletedCall:
    """An answer that was paid, and its JSON, to be kept for equal requests."""

    response: Response[Any]
    json: bytes


@dataclass(frozen=True, slots=True)
class _Sent:
    verdict: Answered[Any] | Unusable | Failure
    snapshots: Mapping[LimitKind, RateLimitSnapshot]
    started: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    client: Client
    prices: PriceTable
    budget: Budget
    backoff: Backoff
    bounds: Bounds
    observer: Observer
    clock: Callable[[], float]

    async def call(
        self, request: ModelRequest, in_flight: InFlightCall | None = None
    ) -> CompletedCall:
        """Ask until there is an answer; `in_flight` is whose call it is, where several may wait.

        Raises:
            AnswerError: The answer is no use.
        """
        peers = request.prompt.peers
        attempts = Attempts(peers, peers.answered, peers.failed)
        request.limiter.asked += 1
        try:
            while True:
                ended = await self._attempt(request, in_flight, attempts)
                if isinstance(ended, CompletedCall):
                    return ended
                if in_flight is not None and not in_flight.waiters:
                    raise asyncio.CancelledError("no caller waits for this answer any more")
                if ended is None:
                    continue
                if attempts.are_over(request.bounds or self.bounds):
                    raise Unanswered(
                        attempts.history(),
                        usage=Usage(
                            calls=attempts.count,
                            cost_usd=None if attempts.maybe_billed else Decimal(0),
                        ),
                        model=request.limiter.model,
                        seconds=attempts.seconds,
                    )
                log.debug("%s: asked again: %s", request.question.stage, ended.detail)
                await self._pause(ended, attempts)
                await self._await_peers(request, attempts)
        finally:
            request.limiter.asked -= 1
            request.limiter.in_trouble -= attempts.in_trouble

    def receive(self, request: ModelRequest, message: Mapping[str, Any]) -> Response[Any]:
        """Take an answer that came with a batch.

        Raises:
            AnswerError: The answer is no use.
        """
        prompt, weight = request.prompt, request.weight
        verdict = read_message(message, request.question.answer_model, prompt.enums)
        cost = prompt.estimate(weight, request.max_output_tokens)
        usage = self._paid(request, verdict.model, replace(verdict.bill, batch=True), cost)
        end: CallEnd = "answered" if isinstance(verdict, Answered) else verdict.why
        stage, model = request.question.stage, request.limiter.model
        self.observer.call(stage, model, end, seconds=0.0, usage=usage)
        if isinstance(verdict, Unusable):
            raise _error_of(verdict, usage, 0.0)
        return Response(verdict.answer, verdict.model, usage, 0.0, verdict.signals)

    async def _attempt(
        self, request: ModelRequest, in_flight: InFlightCall | None, attempts: Attempts
    ) -> CompletedCall | Retry | Blocked | None:
        """Ask once; None where a control question was asked in its place, and answered."""
        prompt, again = request.prompt, attempts.count > 0
        warmup = prompt.warmup if prompt.warmup and await prompt.warmup.enter() else None
        try:
            permit = await request.limiter.acquire(
                request.question.stage,
                prompt.estimate(request.weight, request.max_output_tokens),
                again=again,
                suspect=attempts.in_trouble,
            )
            # What has failed before is no fit probe.
            if any(each.probe and (again or each.control) for each in permit.passes.values()):
                return await self._control(_control_of(request), permit)
            seconds = prompt.time_limit(attempts.timed_out)
            sent = await self._send(request, permit, seconds, in_flight, warmup)
            # Of failures in a row it counts once; an answer to another one ends the row.
            counted = again and not attempts.others_answered()
            if isinstance(sent.verdict, Retry | Blocked):
                self._count(request, attempts, sent.verdict, sent.seconds)
            elif not again:
                prompt.peers.answered += 1
            usage = self._end(request, permit, sent, counted=counted, alone=attempts.alone)
        finally:
            if warmup is not None:
                warmup.left()
        match sent.verdict:
            case Answered(answer, as_json, model, signals=signals):
                return CompletedCall(Response(answer, model, usage, sent.seconds, signals), as_json)
            case Unusable() as unusable:
                raise _error_of(unusable, usage, sent.seconds)
            case Reject(detail, filtered):
                error, model = Refused if filtered else Rejected, request.limiter.model
                raise error(detail, usage=usage, model=model, seconds=sent.seconds)
            case failure:
                return failure

    async def _pause(self, failure: Retry | Blocked, attempts: Attempts) -> None:
        # Blocks and 429s are waited out in the queue, where they hold up everyone alike; unless
        # they concern one event alone.
        if failure.kind in {"blocked", "rate_limited"} and not attempts.alone:
            return
        tried = max(1, attempts.count)
        await asyncio.sleep(self.backoff.seconds(tried, asked=failure.after))

    async def _await_peers(self, request: ModelRequest, attempts: Attempts) -> None:
        """Wait until others are answered, where the question has failed too often for chance."""
        if attempts.count < CONTROL_FAILURES or attempts.others_answered():
            return
        control, tried = _control_of(request), 0
        # One asks for all who wait here, so that all go on as soon as it is answered.
        async with request.prompt.controlling:
            while not attempts.others_answered():
                cost = control.prompt.estimate(control.weight, control.max_output_tokens)
                permit = await control.limiter.acquire(control.question.stage, cost)
                ended = await self._control(control, permit)
                if isinstance(ended, Retry):
                    tried = min(tried + 1, CONTROL_DOUBLINGS)
                    await asyncio.sleep(self.backoff.seconds(tried))

    async def _control(self, control: ModelRequest, permit: Permit) -> Retry | Blocked | None:
        """Ask a control question; None where it was answered."""
        sent = await self._send(control, permit, control.prompt.time_limit(), None, None)
        peers, verdict = control.prompt.peers, sent.verdict
        failure = verdict if isinstance(verdict, Retry | Blocked) else None
        peers.failed += failure is not None
        peers.answered += failure is None
        self._end(control, permit, sent, counted=False, alone=False)
        return failure

    async def _send(
        self,
        request: ModelRequest,
        permit: Permit,
        limit: float,
        in_flight: InFlightCall | None,
        warmup: Warmup | None,
    ) -> _Sent:
        started = self.clock()
        if in_flight is not None:
            in_flight.sending = True
        if warmup is not None:
            warmup.sent()
        try:
            reply = await self.client.send(request.body, seconds=limit)
        except BaseException:
            request.limiter.abandoned(permit)
            self._maybe_billed(request, permit.cost)
            raise
        finally:
            if in_flight is not None:
                in_flight.sending = False
        question = request.question
        verdict: Answered[Any] | Unusable | Failure
        match reply:
            case HttpReply(200):
                read = read_response(reply, question.answer_model, request.prompt.enums)
                verdict = (
                    unechoed(malformed(read), question.parts) if isinstance(read, str) else read
                )
            case HttpReply():
                verdict = unechoed(failure_of(reply, seconds=limit), question.parts)
            case _:
                verdict = failure_of(reply, seconds=limit)
        snapshots = request.limiter.read_headers(reply)
        return _Sent(verdict, snapshots, started, self.clock() - started)

    def _count(
        self, request: ModelRequest, attempts: Attempts, failure: Retry | Blocked, seconds: float
    ) -> None:
        was_in_trouble = attempts.in_trouble
        timed_out = failure.kind == "timed_out"
        if timed_out and not attempts.timed_out:
            request.prompt.timed_out()
        attempts.failed(
            self.clock(),
            failure.detail,
            seconds=seconds,
            timed_out=timed_out,
            maybe_billed=failure.maybe_billed,
            unclear=failure.unclear,
        )
        request.limiter.in_trouble += attempts.in_trouble - was_in_trouble

    def _end(
        self, request: ModelRequest, permit: Permit, sent: _Sent, *, counted: bool, alone: bool
    ) -> Usage:
        """Report the end of a call to all whom it concerns; returns what it cost.

        `counted`: the question is among the failures in a row already; `alone`: it failed alone.
        """
        limiter, usage = request.limiter, None
        end: CallEnd
        match sent.verdict:
            case Answered(bill=bill) | Unusable(bill=bill) as verdict:
                end = "answered" if isinstance(verdict, Answered) else verdict.why
                usage, used = self._paid(request, verdict.model, bill, permit.cost), permit.cost
                if bill.is_known:
                    # Prompt cache reads are free.
                    used = Cost(usage.input_tokens + usage.cache_write_tokens, usage.output_tokens)
                    began, took = sent.started, sent.seconds
                    request.prompt.learn(request.weight, usage, started=began, seconds=took)
                limiter.answered(permit, used, sent.snapshots)
            case Reject(filtered=filtered):
                end = "refused" if filtered else "rejected"
                # What a filter withheld was written, and may be paid.
                usage = Usage(calls=1, cost_usd=None if filtered else Decimal(0))
                limiter.answered(permit, NOTHING, sent.snapshots)
            case Blocked() as failure:
                end = "blocked"
                limiter.blocked(permit, failure, alone=alone)
            case Retry(end) as failure:
                limiter.failed(permit, failure, sent.snapshots, again=counted, alone=alone)
                if failure.maybe_billed:
                    self._maybe_billed(request, permit.cost)
        stage = request.question.stage
        self.observer.call(stage, limiter.model, end, seconds=sent.seconds, usage=usage)
        return usage or Usage()

    def _paid(self, request: ModelRequest, model: str, bill: Bill, estimate: Cost) -> Usage:
        """Price an answer by the model that gave it, and count it against the budget.

        Where the bill or the price is not known, budgets count what it may have cost at most.
        """
        tokens = bill.tokens
        terms = {"batch": bill.batch, "us_only": bill.us_only}
        cost = self.prices.cost(model, tokens, **terms) if bill.is_known else None
        counted = cost
        if counted is None:
            likely = tokens if bill.is_known else _at_least(tokens, estimate)
            counted = self.prices.at_most(model, likely, **terms)
        self.budget.add(request.question.stage, counted)
        return Usage(
            calls=1,
            input_tokens=tokens.input,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write_5m + tokens.cache_write_1h,
            output_tokens=tokens.output,
            cost_usd=cost,
        )

    def _maybe_billed(self, request: ModelRequest, cost: Cost) -> None:
        """Count a call without an answer against the budget: it may have been paid all the same."""
        stage, model = request.question.stage, request.limiter.model
        tokens = _at_least(Tokens(), cost)
        self.budget.add(stage, self.prices.at_most(model, tokens))
        self.observer.maybe_billed(stage, model, usd=self.prices.cost(model, tokens))


def _control_of(request: ModelRequest) -> ModelRequest:
    """The same prompt, about something harmless."""
    limit = CONTROL_OUTPUT_TOKENS
    return replace(
        request,
        question=replace(request.question, parts=CONTROL),
        body=request.prompt.template.body(content_of(CONTROL), max_output_tokens=limit),
        weight=content_weight(CONTROL),
        max_output_tokens=limit,
    )


def _at_least(tokens: Tokens, estimate: Cost) -> Tokens:
    return replace(
        tokens,
        input=max(tokens.input, int(estimate.input_tokens)),
        output=max(tokens.output, int(estimate.output_tokens)),
    )


def _error_of(unusable: Unusable, usage: Usage, seconds: float) -> AnswerError:
    no_room = unusable.why == "cut_off" and unusable.is_final
    error = NoRoom if no_room else _ERRORS[unusable.why]
    return error(unusable.detail, usage=usage, model=unusable.model, seconds=seconds)
