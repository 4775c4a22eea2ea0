"""One call: wait until it may go, send, read what comes back, and try again while that helps.

Where a question has failed several times and no other was answered meanwhile, a control question
is asked first: the same prompt about something harmless. Its end says whether the model or the
question is at fault. It costs a few tokens, and nothing in an outage.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from math import inf
from typing import Any, Protocol

from pipeline.claude import failures
from pipeline.claude.billing import PriceTable, Tokens
from pipeline.claude.budget import ZERO, Budget
from pipeline.claude.failover import LeavesEndpoint
from pipeline.claude.failures import Attempts, Backoff, Blocked, Bounds, Failure, Reject, Retry
from pipeline.claude.limiter import Limiter, Permit
from pipeline.claude.prompts import Prompt, content_weight
from pipeline.claude.providers import PROVIDERS, ProviderTraits, credentials_of
from pipeline.claude.rate_limits import NO_TOKENS, Cost
from pipeline.claude.redaction import unechoed
from pipeline.claude.request_body import content_of
from pipeline.claude.responses import (
    Answered,
    Bill,
    Client,
    HttpReply,
    NoReply,
    UnusableAnswer,
    read_message,
)
from pipeline.config import EndpointSettings
from pipeline.model import errors
from pipeline.model.observer import CallEnd, Observer
from pipeline.model.questions import Question, Response, Signal, Text
from pipeline.model.records import Tier, Usage

log = logging.getLogger(__name__)
CONTROL = (Text("body", "Good morning."),)
"""What a control question is about: the same for all stages, and of no use to anybody."""
_OK = 200
CONTROL_FAILURES = 6
"""A question that failed so often is asked again only after others were answered."""
CONTROL_DOUBLINGS = 3
"""How often the pause between control questions doubles: an open breaker spaces them anyway."""
CONTROL_OUTPUT_TOKENS = 16
"""Enough for a control question: its answer is not read."""
_ENDS: Mapping[type[errors.AnswerError], CallEnd] = {
    errors.Refused: "refused",
    errors.TruncatedResponse: "cut_off",
    errors.NoRoom: "cut_off",
    errors.Malformed: "malformed",
    errors.Rejected: "rejected",
    errors.StageFailed: "answered",
}


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One place where a model is asked: what is in front of it, and how it is reached.

    `regional`: whether inference is bound to a region by what is set, which costs more.
    """

    settings: EndpointSettings
    limiter: Limiter
    client: Client
    regional: bool = False

    @property
    def provider(self) -> ProviderTraits:
        return PROVIDERS[self.settings.provider]


class Stay(Protocol):
    """A question's time at one of the two endpoints of its tier."""

    def is_over(self) -> bool:
        """Whether the endpoint is out, and the other is not."""
        ...

    def end_after(self, attempts: Attempts) -> None:
        """Raises `LeavesEndpoint` where its failures are reason enough to go to the other."""

    def moved(self) -> "ModelRequest":
        """The request for the same question to the other."""
        ...


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request to be made.

    Args:
        stay: None where it is made at this endpoint or nowhere.
        bounds: Where others than the settings' hold for its failures.
    """

    question: Question[Any]
    tier: Tier
    prompt: Prompt
    endpoint: Endpoint
    body: bytes
    weight: int
    max_output_tokens: int
    stay: Stay | None = None
    bounds: Bounds | None = None

    @property
    def limiter(self) -> Limiter:
        return self.endpoint.limiter

    def response(
        self,
        answer: Any,  # noqa: ANN401 - of the question's own model
        model: str,
        usage: Usage,
        seconds: float,
        signals: tuple[Signal, ...] = (),
    ) -> Response[Any]:
        """An answer to it, by which model, and with what was sent."""
        prompt, provider = self.prompt.template.digest, self.endpoint.settings.provider
        return Response(answer, model, usage, seconds, signals, prompt, provider)

    @property
    def leaves(self) -> Callable[[], bool] | None:
        return None if self.stay is None else self.stay.is_over


@dataclass(slots=True, eq=False)
class InFlightCall:
    """How many wait for a call, and whether it is on its way and will be paid in any case."""

    waiters: int = 0
    sending: bool = False


@dataclass(frozen=True, slots=True)
class CompletedCall:
    """An answer that was paid, and its JSON, to be kept for requests equal to the one it is to."""

    response: Response[Any]
    json: bytes
    request: ModelRequest


@dataclass(frozen=True, slots=True)
class _Sent:
    reply: HttpReply | NoReply
    verdict: Answered[Any] | UnusableAnswer | Failure
    started: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
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
            LeavesEndpoint: It is to be asked elsewhere; nothing of it is under way here any more.
        """
        limiter, peers = request.limiter, request.prompt.peers
        self._check_size(request)
        attempts = Attempts(peers, peers.answered, peers.failed)
        in_flight = in_flight or InFlightCall(waiters=1)
        limiter.questions += 1
        try:
            while True:
                ended = await self._attempt(request, in_flight, attempts)
                if isinstance(ended, CompletedCall):
                    return ended
                if not in_flight.waiters:
                    raise asyncio.CancelledError("no caller waits for this answer any more")
                if ended is None:
                    continue
                if request.stay is not None and ended.kind != "rate_limited":
                    request.stay.end_after(attempts)
                if attempts.are_over(request.bounds or self.bounds):
                    cost = None if attempts.maybe_billed else Decimal(0)
                    raise errors.Unanswered(
                        attempts.history(),
                        usage=Usage(calls=attempts.count, cost_usd=cost),
                        model=limiter.model,
                        seconds=attempts.seconds,
                    )
                log.debug("%s: asked again: %s", request.question.stage, ended.detail)
                # Blocks and 429s are waited out in the queue, where they hold up everyone alike.
                if attempts.isolated or ended.kind not in {"blocked", "rate_limited"}:
                    tried = max(1, attempts.count)
                    await asyncio.sleep(self.backoff.seconds(tried, asked=ended.after))
                await self._await_peers(request, attempts)
        except LeavesEndpoint as leaves:
            leaves.usage = Usage(unanswered=attempts.maybe_billed)
            stage, maybe_billed = request.question.stage, attempts.maybe_billed
            self.observer.moved(stage, limiter.model, maybe_billed=maybe_billed)
            raise
        finally:
            limiter.questions -= 1
            limiter.suspects -= attempts.suspect

    def receive(self, request: ModelRequest, message: Mapping[str, Any]) -> Response[Any]:
        """Take an answer that came with a batch.

        Raises:
            AnswerError: The answer is no use.
        """
        prompt, weight = request.prompt, request.weight
        verdict = read_message(message, request.question.answer_model, prompt.enums)
        cost = prompt.estimate(weight, request.max_output_tokens)
        usage = self._paid(request, verdict.model, replace(verdict.bill, batch=True), cost)
        end = "answered" if isinstance(verdict, Answered) else _ENDS[verdict.error]
        stage, model = request.question.stage, request.limiter.model
        self.observer.call(stage, model, end, seconds=0.0, usage=usage)
        if isinstance(verdict, UnusableAnswer):
            raise verdict.error(verdict.detail, usage=usage, model=verdict.model, seconds=0.0)
        return request.response(verdict.answer, verdict.model, usage, 0.0, verdict.signals)

    @staticmethod
    def _check_size(request: ModelRequest) -> None:
        size, most = len(request.body), request.endpoint.provider.largest_request
        if size > most:
            raise errors.Rejected(
                f"The request has {size:,} bytes; {request.endpoint.settings.provider} takes "
                f"{most:,}: send smaller files, or in parts.",
                usage=Usage(),
                model=request.limiter.model,
                seconds=0.0,
            )

    async def _attempt(
        self, request: ModelRequest, in_flight: InFlightCall, attempts: Attempts
    ) -> CompletedCall | Retry | Blocked | None:
        """Ask once; None where a control question was asked in its place, and answered."""
        prompt, retrying = request.prompt, attempts.count > 0
        # A suspect may wait long for its slot and then hang, so nobody waits for it to warm.
        warmup = None if attempts.suspect else prompt.warmup
        if warmup and (self.clock() < warmup.warm_until or not await warmup.enter()):
            warmup = None
        try:
            cost = prompt.estimate(request.weight, request.max_output_tokens)
            most = self._at_most(request)
            permit = await request.limiter.acquire(
                request.question.stage,
                cost,
                attempts,
                most,
                tenant=request.question.tenant,
                leaves=request.leaves,
            )
            try:
                # What has failed before is no fit probe.
                if any(
                    each.probe and (retrying or each.control) for each in permit.passes.values()
                ):
                    return await self.ask_control(request, permit)
                if warmup is not None:
                    warmup.sent()
                seconds = prompt.time_limit(attempts.timed_out)
                sent = await self._send(request, permit, seconds, in_flight)
                if isinstance(sent.verdict, Retry | Blocked):
                    self._count_failure(request, attempts, sent.verdict, sent.seconds)
                elif not retrying:
                    prompt.peers.answered += 1
                usage = self._report(request, permit, sent, attempts)
            finally:
                request.limiter.release(permit)
        finally:
            if warmup is not None:
                warmup.left()
        match sent.verdict:
            case Answered(answer, as_json, model, signals=signals):
                response = request.response(answer, model, usage, sent.seconds, signals)
                return CompletedCall(response, as_json, request)
            case UnusableAnswer(error, detail, model):
                raise error(detail, usage=usage, model=model, seconds=sent.seconds)
            case Reject(detail, filtered):
                error, model = (
                    errors.Refused if filtered else errors.Rejected,
                    request.limiter.model,
                )
                raise error(detail, usage=usage, model=model, seconds=sent.seconds)
            case failure:
                return failure

    async def _await_peers(self, request: ModelRequest, attempts: Attempts) -> None:
        """Wait until others are answered, where the question has failed too often for chance."""
        if attempts.count < CONTROL_FAILURES or attempts.others_answered():
            return
        tried = 0
        # One asks for all who wait here, so that all go on as soon as it is answered.
        async with request.prompt.controlling:
            while not attempts.others_answered():
                if isinstance(await self.ask_control(request), Retry):
                    tried = min(tried + 1, CONTROL_DOUBLINGS)
                    await asyncio.sleep(self.backoff.seconds(tried))

    async def ask_control(
        self, request: ModelRequest, permit: Permit | None = None, *, within: float = inf
    ) -> Retry | Blocked | None:
        """Ask the same prompt about something harmless; None where it was answered.

        Without a permit it waits for one. It may take the prompt's time limit, or `within` if that
        is less.

        Raises:
            LeavesEndpoint: As `call`.
        """
        prompt, peers, limit = request.prompt, request.prompt.peers, CONTROL_OUTPUT_TOKENS
        control = replace(
            request,
            question=replace(request.question, parts=CONTROL),
            body=prompt.template.body(content_of(CONTROL), max_output_tokens=limit),
            weight=content_weight(CONTROL),
            max_output_tokens=limit,
        )
        first = Attempts(peers, peers.answered, peers.failed)
        if permit is None:
            cost = prompt.estimate(control.weight, limit)
            most = self._at_most(control)
            stage = control.question.stage
            permit = await control.limiter.acquire(stage, cost, first, most, leaves=control.leaves)
        try:
            seconds = min(within, prompt.time_limit())
            sent = await self._send(control, permit, seconds, InFlightCall())
            failure = sent.verdict if isinstance(sent.verdict, Retry | Blocked) else None
            peers.failed += failure is not None
            peers.answered += failure is None
            self._report(control, permit, sent, first)
        finally:
            control.limiter.release(permit)
        return failure

    async def _send(
        self, request: ModelRequest, permit: Permit, seconds: float, in_flight: InFlightCall
    ) -> _Sent:
        started = self.clock()
        in_flight.sending = True
        try:
            reply = await request.endpoint.client.send(request.body, seconds=seconds)
            verdict = _read(request, reply, seconds)
        except BaseException:
            self._maybe_billed(request, permit.cost)
            raise
        finally:
            in_flight.sending = False
        return _Sent(reply, verdict, started, self.clock() - started)

    def _count_failure(
        self, request: ModelRequest, attempts: Attempts, failure: Retry | Blocked, seconds: float
    ) -> None:
        was_suspect = attempts.suspect
        attempts.maybe_billed += failure.maybe_billed
        if failure.kind == "timed_out":
            if not attempts.timed_out:
                request.prompt.timed_out()
            attempts.timed_out += 1
        attempts.failed(self.clock(), failure.detail, seconds=seconds, unclear=failure.unclear)
        request.limiter.suspects += attempts.suspect - was_suspect

    def _report(
        self, request: ModelRequest, permit: Permit, sent: _Sent, attempts: Attempts
    ) -> Usage:
        """Report the end of a call to all whom it concerns; returns what it cost."""
        limiter, usage = request.limiter, None
        end: CallEnd
        match sent.verdict:
            case Answered(bill=bill) | UnusableAnswer(bill=bill) as verdict:
                end = "answered" if isinstance(verdict, Answered) else _ENDS[verdict.error]
                usage, used = self._paid(request, verdict.model, bill, permit.cost), permit.cost
                if bill.is_known:
                    used = Cost(
                        usage.input_tokens + usage.cache_write_tokens,
                        usage.output_tokens,
                        cache_read_tokens=usage.cache_read_tokens,
                    )
                    began, took = sent.started, sent.seconds
                    request.prompt.learn(request.weight, usage, started=began, seconds=took)
                limiter.answered(permit, used, sent.reply)
            case Reject(filtered=filtered):
                end = "refused" if filtered else "rejected"
                # What a filter withheld was written, and may be paid.
                usage = Usage(calls=1, cost_usd=None if filtered else Decimal(0))
                limiter.answered(permit, NO_TOKENS, sent.reply)
            case Blocked() as failure:
                end = "blocked"
                limiter.blocked(permit, failure, attempts)
            case Retry(end) as failure:
                # Counted before what was reserved for it is free for another call.
                if failure.maybe_billed:
                    self._maybe_billed(request, permit.cost)
                limiter.failed(permit, failure, sent.reply, attempts)
        stage = request.question.stage
        self.observer.call(stage, limiter.model, end, seconds=sent.seconds, usage=usage)
        return usage or Usage()

    def _paid(self, request: ModelRequest, model: str, bill: Bill, estimate: Cost) -> Usage:
        """Price an answer by the model that gave it, and count it against the budget.

        Where the bill or the price is not known, budgets count what it may have cost at most.
        """
        tokens = bill.tokens
        regional = request.endpoint.regional if bill.regional is None else bill.regional
        terms = {"batch": bill.batch, "regional": regional}
        cost = self.prices.cost(model, tokens, **terms) if bill.is_known else None
        counted = cost
        if counted is None:
            likely = tokens if bill.is_known else _at_least(tokens, estimate)
            counted = self.prices.at_most(model, likely, **terms)
        self.budget.add(request.question.stage, counted, tenant=request.question.tenant)
        return Usage(
            calls=1,
            input_tokens=tokens.input,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write_5m + tokens.cache_write_1h,
            output_tokens=tokens.output,
            cost_usd=cost,
        )

    def _at_most(self, request: ModelRequest) -> Decimal:
        """The most that a call may cost, in US dollars; 0 where no budget asks."""
        if not self.budget.is_limited:
            return ZERO
        tokens = request.prompt.at_most(request.weight, request.max_output_tokens)
        return self.prices.at_most(request.endpoint.settings.model, tokens, regional=True)

    def _maybe_billed(self, request: ModelRequest, cost: Cost) -> None:
        """Count a call without an answer against the budget: it may have been paid all the same."""
        stage, model = request.question.stage, request.endpoint.settings.model
        tokens = _at_least(Tokens(), cost)
        regional = request.endpoint.regional
        most = self.prices.at_most(model, tokens, regional=regional)
        self.budget.add(stage, most, tenant=request.question.tenant)
        usd = self.prices.cost(model, tokens, regional=regional)
        self.observer.maybe_billed(stage, request.limiter.model, usd=usd)


def _read(
    request: ModelRequest, reply: HttpReply | NoReply, seconds: float
) -> Answered[Any] | UnusableAnswer | Failure:
    document = reply.document() if isinstance(reply, HttpReply) and reply.status == _OK else {}
    if document.get("type") == "message":
        return read_message(document, request.question.answer_model, request.prompt.enums)
    verdict = failures.failure_of(
        reply, seconds=seconds, credentials=credentials_of(request.endpoint.settings)
    )
    return unechoed(verdict, request.question.parts) if isinstance(reply, HttpReply) else verdict


def _at_least(tokens: Tokens, estimate: Cost) -> Tokens:
    return replace(
        tokens,
        input=max(tokens.input, int(estimate.input_tokens)),
        output=max(tokens.output, int(estimate.output_tokens)),
    )
