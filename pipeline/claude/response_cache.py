"""Paying once: identical questions under way share a call, and answers are kept for equal ones.

The key is the request itself, byte for byte, and who is asked: a changed prompt is another request
and finds nothing. Answers are kept in memory, and in a file where the settings say so.
"""

import asyncio
import hashlib
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from pipeline.claude.calls import CompletedCall, InFlightCall, ModelRequest
from pipeline.claude.responses import AnswerModelError, validated
from pipeline.model.errors import AnswerError, StageFailed
from pipeline.model.observer import Observer, ReuseKind
from pipeline.model.questions import Response, Signal
from pipeline.model.records import Usage
from pipeline.runtime.database import BUSY_SECONDS, Database

log = logging.getLogger(__name__)
T = TypeVar("T")


class SingleFlight(Generic[T]):
    """All calls under way, by key, each in a task of its own: the first asker may go.

    A call without waiters is cancelled, unless its request is on its way: then it is paid, so its
    answer is waited for and kept.
    """

    def __init__(self) -> None:
        self._calls: dict[bytes, tuple[InFlightCall, asyncio.Task[T]]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(
        self, key: bytes, start: Callable[[InFlightCall], Coroutine[Any, Any, T]]
    ) -> tuple["asyncio.Task[T]", bool]:
        """The call with that key, once it has ended, and whether it was another asker's."""
        under_way = self._calls.get(key)
        # One that nobody waited for any more ends as cancelled: that is no answer to another asker.
        shared = under_way is not None and not under_way[1].cancelled()
        if not shared:
            call = InFlightCall()
            task = asyncio.get_running_loop().create_task(start(call))
            self._calls[key] = call, task
            self._tasks.add(task)
            task.add_done_callback(partial(self._completed, key, call))
        call, task = self._calls[key]
        call.waiters += 1
        try:
            # Not the task itself: cancelling a waiter leaves that alone.
            await asyncio.wait((task,))
        finally:
            call.waiters -= 1
            if not (call.waiters or call.sending or task.done()):
                del self._calls[key]
                task.cancel()
        return task, shared

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _completed(self, key: bytes, call: InFlightCall, task: "asyncio.Task[T]") -> None:
        self._tasks.discard(task)
        if self._calls.get(key) == (call, task):
            del self._calls[key]
        if task.cancelled() or call.waiters:
            return
        error = task.exception()
        if error is not None and not isinstance(error, AnswerError):
            log.error("a call that nobody waited for failed", exc_info=error)


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """JSON that was valid when it was given, by which model, and when, seconds since the epoch."""

    json: bytes
    model: str
    at: float


CACHE_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    request BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    answer BLOB NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);
"""
_COUNT = "SELECT count(*) FROM answers"


@dataclass(slots=True)
class DiskCache:
    """The answers on disk, written now and then; other processes may share them."""

    database: Database
    most: int
    ttl: float
    _unsaved: dict[bytes, CachedAnswer] = field(default_factory=dict)

    async def get(self, key: bytes, now: float) -> CachedAnswer | None:
        if (unsaved := self._unsaved.get(key)) is not None:
            return unsaved
        sql = "SELECT answer, model, at FROM answers WHERE request = ? AND at >= ?"
        values = key, now - self.ttl
        try:
            row = await self.database.run(lambda file: file.execute(sql, values).fetchone())
        except sqlite3.Error as error:
            log.warning("the kept answers cannot be read: %s", error)
            return None
        return None if row is None else CachedAnswer(*row)

    def put(self, key: bytes, answer: CachedAnswer) -> None:
        self._unsaved[key] = answer

    async def save(self, now: float) -> None:
        if not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, {}

        def write(file: sqlite3.Connection) -> None:
            file.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                [(key, new.model, new.json, new.at) for key, new in unsaved.items()],
            )
            file.execute("DELETE FROM answers WHERE at < ?", (now - self.ttl,))
            file.execute(
                "DELETE FROM answers WHERE request IN (SELECT request FROM answers ORDER BY at"
                " LIMIT max(0, (SELECT count(*) FROM answers) - ?))",
                (self.most,),
            )

        try:
            await self.database.run(write)
        except sqlite3.Error as error:
            # A cache that cannot be written costs money, not correctness.
            log.warning("%d answers are not kept on disk: %s", len(unsaved), error)


def count_answers(path: Path) -> int | None:
    """How many answers a file holds; None without a file. Raises `sqlite3.Error`."""
    return _with_answers(path, lambda file: int(file.execute(_COUNT).fetchone()[0]))


def clear_answers(path: Path) -> int | None:
    """Remove all answers that a file holds, so that nothing of them is left in it.

    Processes that use it go on. Returns how many there were; None without a file. Raises
    `sqlite3.Error`.
    """

    def clear(file: sqlite3.Connection) -> int:
        file.execute("PRAGMA secure_delete = ON")
        removed = file.execute("DELETE FROM answers").rowcount
        # What was written since the last checkpoint is in a file beside it.
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    return _with_answers(path, clear)


def _with_answers(path: Path, work: Callable[[sqlite3.Connection], int]) -> int | None:
    if not path.exists():
        return None
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as file:
        file.executescript(CACHE_SCHEMA)
        return work(file)


Call = Callable[[ModelRequest, InFlightCall], Coroutine[Any, Any, CompletedCall]]
NOT_PAID = Usage(reused=1)


def _key(request: ModelRequest) -> bytes:
    """Of what is asked and, as equal requests to two providers are answered by two, of whom."""
    digest, place = hashlib.blake2b(request.body, digest_size=16), request.endpoint.settings
    if place.provider != "anthropic":
        digest.update(place.name.encode())
    return digest.digest()


@dataclass(slots=True, kw_only=True)
class ResponseCache:
    """Looks for an answer before it makes a call.

    Args:
        most: Answers in memory; the least recently used goes first.
        ttl: Seconds for which they are good.
    """

    call: Call
    observer: Observer
    now: Callable[[], datetime]
    most: int
    ttl: float
    disk: DiskCache | None = None
    _memory: OrderedDict[bytes, CachedAnswer] = field(default_factory=OrderedDict)
    _in_flight: SingleFlight[CompletedCall | CachedAnswer] = field(default_factory=SingleFlight)

    async def ask(self, request: ModelRequest) -> Response[Any]:
        key = _key(request)
        cached = self._memory.get(key)
        if cached is not None and self.now().timestamp() - cached.at <= self.ttl:
            self._memory.move_to_end(key)
            if (reused := self._reused(request, cached, "memory")) is not None:
                return reused
        task, shared = await self._in_flight.join(key, partial(self._look_or_call, key, request))
        try:
            found = task.result()
        except AnswerError as error:
            if not shared:
                raise
            self.observer.reused(request.question.stage, request.limiter.model, "in_flight")
            raise type(error)(
                error.detail, usage=NOT_PAID, model=error.model, seconds=0.0
            ) from error
        if isinstance(found, CachedAnswer):
            reused = self._reused(request, found, "in_flight" if shared else "disk")
        elif not shared:
            return found.response
        else:
            paid = found.response
            answer = CachedAnswer(found.json, paid.model, 0.0)
            # It may have been asked elsewhere than where it began.
            asked = replace(request, endpoint=found.request.endpoint, prompt=found.request.prompt)
            reused = self._reused(asked, answer, "in_flight", paid.signals)
        return reused or (await self.call(request, InFlightCall(waiters=1))).response

    async def save(self) -> None:
        if self.disk is not None:
            await self.disk.save(self.now().timestamp())

    async def close(self) -> None:
        await self._in_flight.close()

    async def _look_or_call(
        self, key: bytes, request: ModelRequest, in_flight: InFlightCall
    ) -> CompletedCall | CachedAnswer:
        disk, found = self.disk, None
        answer = None if disk is None else await disk.get(key, self.now().timestamp())
        if answer is None:
            found = await self.call(request, in_flight)
            # What was doubtful once would be trusted the next time.
            if found.response.signals:
                return found
            answer = CachedAnswer(found.json, found.response.model, self.now().timestamp())
            key = _key(found.request)
            if disk is not None:
                disk.put(key, answer)
        self._memory[key] = answer
        self._memory.move_to_end(key)
        while len(self._memory) > self.most:
            self._memory.popitem(last=False)
        return found or answer

    def _reused(
        self,
        request: ModelRequest,
        cached: CachedAnswer,
        kind: ReuseKind,
        signals: tuple[Signal, ...] = (),
    ) -> Response[Any] | None:
        try:
            answer = validated(request.question.answer_model, cached.json)
        except ValidationError:
            # The stage's own checks have changed since, although its request has not.
            return None
        except AnswerModelError as error:
            failure = str(error)
            raise StageFailed(failure, usage=NOT_PAID, model=cached.model, seconds=0.0) from error
        self.observer.reused(request.question.stage, request.limiter.model, kind)
        return request.response(answer, cached.model, NOT_PAID, 0.0, signals)
