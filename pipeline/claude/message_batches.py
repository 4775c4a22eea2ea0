"""Message batches: many requests submitted together, answered within a day, at half the price.

Submitting has no idempotency key, so a batch whose submission got no answer may have been taken or
not: the caller writes down what it is about to do, and finds its batch again by its custom ids,
which must be unlike those of any other batch.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, ValidationError

from pipeline.claude import failures
from pipeline.claude.calls import Caller, ModelRequest
from pipeline.claude.failures import Backoff, Blocked, Failure, Reject, Retry
from pipeline.claude.redaction import foreign_words, without_echoes, without_words, words_of
from pipeline.claude.responses import Client, HttpReply, NoReply, load
from pipeline.model.errors import PipelineError
from pipeline.model.questions import AnswerT, Question, Response, Text
from pipeline.model.records import Tier
from pipeline.privacy.masking import Masked, Masking

ModelT = TypeVar("ModelT", bound=BaseModel)
PATH = "/v1/messages/batches"
MAX_REQUESTS = 100_000
CALL_SECONDS = 60.0
SUBMIT_SECONDS = 600.0
BLOCK_SECONDS = 15.0
_RATE_LIMITED = 429
_INDEX = re.compile(r"\brequests\.(\d+)\b")


class BatchFailed(PipelineError):
    """The API takes no such batch, or knows no such batch."""


class SubmissionUnknown(PipelineError):
    """No answer came to a submission: the batch may have been taken, or not."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request as it would be sent by itself; its id is 1 to 64 letters, digits, `_` and `-`."""

    custom_id: str
    body: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.body) + len(self.custom_id) + 32


class Counts(BaseModel):
    """Requests of a batch by what became of them; all are `processing` until the batch ends."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class Batch(BaseModel):
    id: str
    processing_status: Literal["in_progress", "canceling", "ended"]
    request_counts: Counts
    created_at: AwareDatetime
    expires_at: AwareDatetime
    ended_at: AwareDatetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.processing_status == "ended"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An answer; `BatchLane.reply` reads it."""

    custom_id: str
    message: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """No answer, and nothing paid. What the API says is not kept: it may repeat the content."""

    custom_id: str
    why: Literal["errored", "canceled", "expired"]


def body_of(requests: Iterable[BatchRequest]) -> bytes:
    items = [
        b'{"custom_id":%b,"params":%b}' % (orjson.dumps(request.custom_id), request.body)
        for request in requests
    ]
    return b'{"requests":[%b]}' % b",".join(items)


def result_of(line: str) -> Succeeded | NotAnswered | None:
    """Read a line of the results of a batch; None if it is something else, or half of one."""
    try:
        item = load(line)
    except ValueError:
        return None
    match item:
        case {
            "custom_id": str(custom_id),
            "result": {"type": "succeeded", "message": dict(message)},
        }:
            return Succeeded(custom_id, message)
        case {"custom_id": str(custom_id), "result": {"type": "canceled" | "expired" as why}}:
            return NotAnswered(custom_id, why)
        case {"custom_id": str(custom_id), "result": {"type": str(_)}}:
            return NotAnswered(custom_id, "errored")
        case _:
            return None


class _Page(BaseModel):
    data: list[Batch]
    has_more: bool = False
    last_id: str | None = None


def _parsed(model: type[ModelT], reply: HttpReply) -> ModelT | None:
    """The body as that; None if it is something else, of which nothing must be shown."""
    try:
        return model.model_validate_json(reply.body)
    except ValidationError:
        return None


@dataclass(frozen=True, slots=True)
class Batches:
    """The batch endpoints; waits out what can be waited out.

    `on_wait` is called with why it waits for the API, and with None when it goes on.
    """

    client: Client
    _: KW_ONLY
    backoff: Backoff
    on_wait: Callable[[str | None], None] = lambda _: None

    async def submit(
        self,
        requests: Iterable[BatchRequest],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Batch:
        """Submit a batch; `before` is awaited before each sending, and may prevent it by raising.

        Raises:
            SubmissionUnknown: It may have been taken; look for it before doing it again.
            BatchFailed: The API takes no such batch.
        """
        requests = tuple(requests)
        body = body_of(requests)

        async def send() -> HttpReply | NoReply:
            if before is not None:
                await before()
            return await self.client.post(PATH, body, seconds=SUBMIT_SECONDS)

        reply = await self._until_answered(send, seconds=SUBMIT_SECONDS, submitted=requests)
        batch = _parsed(Batch, reply)
        if batch is None or batch.request_counts.total != len(requests):
            came = "no batch" if batch is None else "another batch"
            raise SubmissionUnknown(f"The API answered a submission with {came}.")
        return batch

    async def get(self, batch_id: str) -> Batch:
        """How far a batch is; BatchFailed where there is no such."""
        attempt = 0
        while True:
            batch = _parsed(Batch, await self._get(f"{PATH}/{batch_id}"))
            if batch is None:
                raise BatchFailed("The API answered with something else than a batch.")
            if batch.id == batch_id:
                return batch
            attempt += 1
            await self._wait_out(failures.malformed("the API answered with another batch"), attempt)

    async def since(self, moment: datetime) -> AsyncIterator[Batch]:
        path = f"{PATH}?limit=100"
        while True:
            page = _parsed(_Page, await self._get(path))
            if page is None:
                raise BatchFailed("The API answered with something else than a list of batches.")
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
            lines = self.client.lines(f"{PATH}/{batch_id}/results", seconds=CALL_SECONDS)
            async with aclosing(lines):
                async for line in lines:
                    if not isinstance(line, str):
                        failure = failures.failure_of(line, seconds=CALL_SECONDS)
                        break
                    result = result_of(line)
                    if result is None:
                        failure = failures.malformed("a line of a batch's results is no result")
                        break
                    yield result
            if failure is None:
                if attempt > 1:
                    self.on_wait(None)
                return
            await self._wait_out(failure, attempt)

    async def _get(self, path: str) -> HttpReply:
        return await self._until_answered(lambda: self.client.get(path, seconds=CALL_SECONDS))

    async def _until_answered(
        self,
        send: Callable[[], Awaitable[HttpReply | NoReply]],
        *,
        seconds: float = CALL_SECONDS,
        submitted: Sequence[BatchRequest] = (),
    ) -> HttpReply:
        """Send until there is an answer; the batch of `submitted` is not sent twice by mistake."""
        attempt = 0
        while True:
            attempt += 1
            reply = await send()
            if isinstance(reply, HttpReply) and reply.status == 200:  # noqa: PLR2004
                if attempt > 1:
                    self.on_wait(None)
                return reply
            failure = failures.failure_of(reply, seconds=seconds)
            if submitted:
                failure = _unechoed(failure, submitted)
            if submitted and not _was_not_taken(reply, failure):
                because = failure.detail.rstrip(".")
                raise SubmissionUnknown(f"It is not known whether the batch was taken: {because}.")
            await self._wait_out(failure, attempt)

    async def _wait_out(self, failure: Failure, attempt: int) -> None:
        if _is_refused(failure):
            raise BatchFailed(failure.detail)
        self.on_wait(failure.detail)
        seconds = BLOCK_SECONDS
        if isinstance(failure, Retry):
            seconds = self.backoff.seconds(attempt, asked=failure.after)
        await asyncio.sleep(seconds)


def _was_not_taken(reply: HttpReply | NoReply, failure: Failure) -> bool:
    """Whether it is certain that a submission which failed so made no batch.

    Whatever else comes back, 529 included, may come back after the work was done.
    """
    if isinstance(reply, NoReply):
        return not reply.sent
    return _is_refused(failure) or reply.status == _RATE_LIMITED


def _is_refused(failure: Failure) -> bool:
    """Whether the API takes no such batch, or no batches at all, and will not later."""
    match failure:
        case Reject() | Blocked(scope="model") | Blocked(scope="stage", unclear=True):
            return True
        case _:
            return False


def _unechoed(failure: Failure, requests: Sequence[BatchRequest]) -> Failure:
    """The same failure, without what its text has in common with the content of the requests.

    Of the requests that it names, no words in a row are left. Any other may be the one that it
    repeats: what is left of those are the words that errors are made of.
    """
    text = failure.detail
    named = {int(number) for number in _INDEX.findall(text)}
    shown, foreign, hidden = text, foreign_words(text), set[str]()
    # A large batch is not taken apart for words that are nowhere in it.
    sought = [word.encode("utf-8", "surrogatepass") for word in foreign]
    is_literal = all(word.isprintable() for word in foreign)
    for number, request in enumerate(requests):
        is_named = number in named or len(requests) == 1 or request.custom_id in text
        if is_literal and not is_named and not any(word in request.body for word in sought):
            continue
        messages = orjson.loads(request.body).get("messages", [])
        blocks = [block for message in messages for block in message["content"]]
        content = [Text("", block["text"]) for block in blocks if block["type"] == "text"]
        if len(requests) > 1:
            hidden |= foreign & words_of(content)
        if is_named:
            shown = without_echoes(shown, content)
    return replace(failure, detail=without_words(shown, hidden))


@dataclass(frozen=True, slots=True)
class BatchLane:
    """Turns questions into requests of a batch, and its results into responses."""

    api: Batches
    caller: Caller
    make: Callable[[Masked[Any], Tier, int], ModelRequest]
    masking: Masking

    def digest(self, question: Question[Any]) -> str:
        """Of the question as it is sent: one of what is masked would let that be guessed.

        Raises:
            NotMaskable: It may not be asked.
        """
        return self.masking.masked(question).question.digest

    def request(self, question: Question[Any], tier: Tier, custom_id: str) -> BatchRequest:
        masked = self.masking.masked(question)
        body = self.make(masked, tier, question.max_output_tokens).body
        return BatchRequest(custom_id, body)

    def reply(
        self, question: Question[AnswerT], tier: Tier, result: Succeeded
    ) -> Response[AnswerT]:
        """The response to a question; counts what it cost, so it is to be read once.

        Raises:
            AnswerError: The answer is no use.
        """
        masked = self.masking.masked(question)
        request = self.make(masked, tier, question.max_output_tokens)
        return masked.restored(self.caller.receive(request, result.message))
