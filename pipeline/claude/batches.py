"""The endpoints for message batches.

Handing a batch in has no idempotency key, so a hand-in whose answer was lost may or may not have
been taken: the caller writes down what it is about to do, and finds its batch again by the custom
ids, which must be unlike those of any other batch.

Questions that may wait: as requests of a batch, and back as replies at half the price.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from pipeline.claude import failures
from pipeline.claude.attempts import Backoff
from pipeline.claude.batch import Batch, BatchRequest, NotAnswered, Succeeded, body_of, result_of
from pipeline.claude.cache.response_cache import reply_of
from pipeline.claude.calls import Caller, ModelRequest
from pipeline.claude.client import Client
from pipeline.claude.failures import Blocked, Failure, Reject, Retry
from pipeline.claude.http import HttpReply, NoReply
from pipeline.claude.redaction import (
    foreign_words,
    with_text,
    without_echoes,
    without_words,
    words_of,
)
from pipeline.model.errors import PipelineError
from pipeline.model.questions import AnswerT, Question, Response, Text
from pipeline.model.records import Tier

PATH = "/v1/messages/batches"
CALL_SECONDS = 60.0
HAND_IN_SECONDS = 600.0
BLOCK_SECONDS = 15.0
POLL_SECONDS = 30.0
"""Between looks at a batch, which takes minutes to hours."""
_RATE_LIMITED = 429
_INDEX = re.compile(r"\brequests\.(\d+)\b")


class BatchFailed(PipelineError):
    """The API takes no such batch, or knows no such batch."""


class SubmissionUnknown(PipelineError):
    """No answer came to a hand-in: the batch may have been taken, or not."""


class _Page(BaseModel):
    """A part of the list of batches."""

    data: list[Batch]
    has_more: bool = False
    last_id: str | None = None


class Batches:
    """The batch endpoints; waits out what can be waited out.

    Args:
        client: Sends.
        backoff: Decides about pauses.
        jitter: Draws 0 to 1.
        on_wait: Called with why it waits for the API, and with None when it goes on.
    """

    def __init__(
        self,
        client: Client,
        *,
        backoff: Backoff,
        jitter: Callable[[], float] = random.random,
        on_wait: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._backoff = backoff
        self._jitter = jitter
        self._on_wait = on_wait

    async def submit(
        self,
        requests: Iterable[BatchRequest],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Batch:
        """Hand a batch in.

        Args:
            requests: Of the batch.
            before: Awaited right before each sending, of which there are several while the API
                is overloaded; what it raises ends the attempt with nothing sent.

        Raises:
            SubmissionUnknown: It may have been taken; look for it before doing it again.
            BatchFailed: The API takes no such batch.
        """
        requests = tuple(requests)
        body = body_of(requests)

        async def send() -> HttpReply | NoReply:
            if before is not None:
                await before()
            return await self._client.post(PATH, body, seconds=HAND_IN_SECONDS)

        reply = await self._until_answered(send, seconds=HAND_IN_SECONDS, handed_in=requests)
        try:
            batch = Batch.model_validate_json(reply.body)
        except ValidationError as error:
            raise SubmissionUnknown("The API answered a hand-in with no batch.") from error
        if batch.request_counts.total != len(requests):
            raise SubmissionUnknown("The API answered a hand-in with another batch.")
        return batch

    async def get(self, batch_id: str) -> Batch:
        """How far a batch is.

        Raises:
            BatchFailed: There is no such batch.
        """
        attempt = 0
        while (batch := _batch(await self._get(f"{PATH}/{batch_id}"))).id != batch_id:
            attempt += 1
            await self._wait_out(failures.garbled("the API answered with another batch"), attempt)
        return batch

    async def ended(
        self,
        batch_id: str,
        *,
        every: float = POLL_SECONDS,
        seen: Callable[[Batch], None] = lambda _: None,
    ) -> Batch:
        """Wait until a batch has ended.

        Args:
            batch_id: Of the batch.
            every: Seconds between looks.
            seen: Told of the batch at each look.

        Raises:
            BatchFailed: There is no such batch.
        """
        while True:
            batch = await self.get(batch_id)
            seen(batch)
            if batch.has_ended:
                return batch
            await asyncio.sleep(every)

    async def since(self, moment: datetime) -> AsyncIterator[Batch]:
        """The batches of this workspace that were submitted since, the latest first.

        Raises:
            BatchFailed: The API answers with something else.
        """
        path = f"{PATH}?limit=100"
        while True:
            page = _page(await self._get(path))
            for batch in page.data:
                if batch.created_at < moment:
                    return
                yield batch
            if not page.has_more:
                return
            path = f"{PATH}?limit=100&after_id={page.last_id}"

    async def results(self, batch_id: str) -> AsyncGenerator[Succeeded | NotAnswered, None]:
        """The results of a batch that has ended, in any order.

        A connection that breaks, or a line that is no result, begins again: a result may come
        twice.

        Raises:
            BatchFailed: There is no such batch, or it has not ended.
        """
        attempt = 0
        while True:
            attempt += 1
            failure: Failure | None = None
            lines = self._client.lines(f"{PATH}/{batch_id}/results", seconds=CALL_SECONDS)
            async with aclosing(lines):
                async for line in lines:
                    if not isinstance(line, str):
                        failure = _failure_of(line, CALL_SECONDS)
                        break
                    result = result_of(line)
                    if result is None:
                        failure = failures.garbled("a line of a batch's results is no result")
                        break
                    yield result
            if failure is None:
                if attempt > 1:
                    self._on_wait(None)
                return
            await self._wait_out(failure, attempt)

    async def _get(self, path: str) -> HttpReply:
        async def send() -> HttpReply | NoReply:
            return await self._client.get(path, seconds=CALL_SECONDS)

        return await self._until_answered(send)

    async def _until_answered(
        self,
        send: Callable[[], Awaitable[HttpReply | NoReply]],
        *,
        seconds: float = CALL_SECONDS,
        handed_in: Sequence[BatchRequest] = (),
    ) -> HttpReply:
        """Send until there is an answer; what was submitted is not sent twice by mistake.

        Args:
            send: Sends once.
            seconds: It may take.
            handed_in: The requests of the batch, if one is submitted.
        """
        attempt = 0
        while True:
            attempt += 1
            reply = await send()
            if isinstance(reply, HttpReply) and reply.status == 200:  # noqa: PLR2004
                if attempt > 1:
                    self._on_wait(None)
                return reply
            failure = _failure_of(reply, seconds)
            if handed_in:
                failure = _unechoed(failure, handed_in)
            if handed_in and not _was_not_taken(reply, failure):
                because = failure.because if isinstance(failure, Blocked) else failure.detail
                raise SubmissionUnknown(
                    f"It is not known whether the batch was taken: {because.rstrip('.')}."
                )
            await self._wait_out(failure, attempt)

    async def _wait_out(self, failure: Failure, attempt: int) -> None:
        match failure:
            case Reject(detail):
                raise BatchFailed(detail)
            case Blocked(because, "model"):
                # What is not found or not allowed here is this batch, or batches altogether.
                raise BatchFailed(because)
            case Blocked(because, "stage", unclear=True):
                raise BatchFailed(because)
            case Blocked(because):
                self._on_wait(because)
                await asyncio.sleep(BLOCK_SECONDS)
            case Retry(_, detail, after):
                self._on_wait(detail)
                seconds = self._backoff.seconds(attempt, jitter=self._jitter(), asked=after)
                await asyncio.sleep(seconds)


def _failure_of(reply: HttpReply | NoReply, seconds: float) -> Failure:
    match reply:
        case HttpReply(200):
            return failures.garbled("the API answered with something else than was asked for")
        case HttpReply(status, _, body):
            return failures.classify(status, reply.headers, body)
        case NoReply("no_key", detail):
            return failures.no_credentials(detail)
        case NoReply("timed_out"):
            return failures.timed_out(seconds)
        case NoReply(_, detail, sent):
            return failures.disconnected(detail, sent=sent)


def _was_not_taken(reply: HttpReply | NoReply, failure: Failure) -> bool:
    """Whether it is certain that a hand-in which failed so made no batch.

    It is after a 429, where nothing was sent, and where the API says that it takes no such batch
    or no batches.
    Whatever else comes back, 529 included, may come back after the work was done.
    """
    if isinstance(reply, NoReply):
        return not reply.sent
    match failure:
        case Reject() | Blocked(scope="model") | Blocked(scope="stage", unclear=True):
            return True
        case _:
            return reply.status == _RATE_LIMITED


def _unechoed(failure: Failure, requests: Sequence[BatchRequest]) -> Failure:
    """The same failure, without what its text has in common with the content of the requests.

    Of the requests that it names, no words in a row are left. Any other may be the one that it
    repeats, and in thousands of events all ordinary words occur: what is left of those are the
    words that errors are made of.
    """

    def cleaned(text: str) -> str:
        named = {int(number) for number in _INDEX.findall(text)}
        shown, foreign, hidden = text, foreign_words(text), set[str]()
        # A large batch is not taken apart for words that are nowhere in it.
        sought = [word.encode("utf-8", "surrogatepass") for word in foreign]
        is_literal = all(word.isprintable() for word in foreign)
        for number, request in enumerate(requests):
            is_named = number in named or len(requests) == 1 or request.custom_id in text
            if is_literal and not is_named and not any(word in request.body for word in sought):
                continue
            content = _content(request)
            if len(requests) > 1:
                hidden |= foreign & words_of(content)
            if is_named:
                shown = without_echoes(shown, content)
        return without_words(shown, hidden)

    return with_text(failure, cleaned)


def _content(request: BatchRequest) -> list[Text]:
    messages = orjson.loads(request.body).get("messages", [])
    blocks = [block for message in messages for block in message["content"]]
    return [Text(block["type"], block["text"]) for block in blocks if block["type"] == "text"]


def _batch(reply: HttpReply) -> Batch:
    try:
        return Batch.model_validate_json(reply.body)
    except ValidationError as error:
        raise BatchFailed("The API answered with something else than a batch.") from error


def _page(reply: HttpReply) -> _Page:
    try:
        return _Page.model_validate_json(reply.body)
    except ValidationError:
        # Its detail would show what was answered instead.
        raise BatchFailed("The API answered with something else than a list of batches.") from None


class BatchLane:
    """Turns questions into requests of a batch, and its results into replies.

    Args:
        api: The batch endpoints.
        caller: Reads and prices answers.
        order: Makes the request of a question.
    """

    def __init__(
        self,
        api: Batches,
        caller: Caller,
        order: Callable[[Question[Any], Tier, int], ModelRequest],
    ) -> None:
        self.api = api
        self._caller = caller
        self._order = order

    def request(self, question: Question[Any], tier: Tier, custom_id: str) -> BatchRequest:
        """The request that asks a question: the same as if it were asked by itself.

        Args:
            question: Of a stage.
            tier: Who is asked.
            custom_id: 1 to 64 letters, digits, `_` and `-`; unique.
        """
        order = self._order(question, tier, question.max_output_tokens)
        return BatchRequest(custom_id, order.body)

    def reply(
        self, question: Question[AnswerT], tier: Tier, result: Succeeded
    ) -> Response[AnswerT]:
        """The reply to a question; counts what it cost, so it is to be read once.

        Raises:
            AnswerError: The answer is no use.
        """
        order = self._order(question, tier, question.max_output_tokens)
        return reply_of(self._caller.receive(order, result.message))
