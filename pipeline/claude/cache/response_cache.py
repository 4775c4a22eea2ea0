"""Answers that were paid once: kept in memory, and in a file where the settings say so.

The key is the request itself, byte for byte: model, prompt, schema and content. A changed prompt
is another request and finds nothing.

Paying once: identical questions share a call, and what was answered is answered again.
"""

import hashlib
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from pipeline.claude.cache.single_flight import InFlightCall, SingleFlight
from pipeline.claude.calls import CompletedCall, ModelRequest
from pipeline.model.errors import AnswerError
from pipeline.model.observer import Observer, ReuseKind
from pipeline.model.questions import Response
from pipeline.model.records import Usage
from pipeline.runtime.database import Database

log = logging.getLogger(__name__)
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    request BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    answer BLOB NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it is kept.

    Args:
        json: The answer, valid when it was given.
        model: The model that gave it.
        at: When, seconds since the epoch.
    """

    json: bytes
    model: str
    at: float


def key_of(body: bytes) -> bytes:
    """The key of a request."""
    return hashlib.blake2b(body, digest_size=16).digest()


class Answers:
    """The answers in memory; the least recently used goes first.

    Args:
        most: Kept at most; 0 keeps none.
        ttl: Seconds an answer may be used.
        now: Seconds since the epoch.
    """

    def __init__(self, *, most: int, ttl: float, now: Callable[[], float] = time.time) -> None:
        self._most = most
        self._ttl = ttl
        self._now = now
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Kept | None:
        """The answer to that very request, if it is not too old."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._now() - kept.at > self._ttl:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an answer."""
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


class AnswerFile:
    """The answers on disk: they survive a restart, and other processes may share them.

    Written now and then, so what was answered in the last moment before a crash may be missing.

    Args:
        database: The file.
        most: Kept at most.
        ttl: Seconds an answer may be used.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        *,
        most: int,
        ttl: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._most = most
        self._ttl = ttl
        self._now = now
        self._unsaved: dict[bytes, Kept] = {}

    async def get(self, key: bytes) -> Kept | None:
        """The answer to that very request, if it is not too old."""
        oldest = self._now() - self._ttl

        def look(connection: sqlite3.Connection) -> Kept | None:
            row = connection.execute(
                "SELECT answer, model, at FROM answers WHERE request = ? AND at >= ?",
                (key, oldest),
            ).fetchone()
            return None if row is None else Kept(*row)

        if (unsaved := self._unsaved.get(key)) is not None:
            return unsaved
        try:
            return await self._database.run(look)
        except sqlite3.Error as error:
            log.warning("the kept answers cannot be read: %s", error)
            return None

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an answer, from the next `save` on."""
        self._unsaved[key] = kept

    async def save(self) -> None:
        """Write down what is new, and drop what is too old or too much."""
        if not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, {}
        try:
            await self._database.run(self._saving(unsaved))
        except sqlite3.Error as error:
            # A cache that cannot be written costs money, not correctness.
            log.warning("%d answers are not kept on disk: %s", len(unsaved), error)

    def _saving(self, unsaved: Mapping[bytes, Kept]) -> Callable[[sqlite3.Connection], None]:
        oldest = self._now() - self._ttl

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                [(key, kept.model, kept.json, kept.at) for key, kept in unsaved.items()],
            )
            connection.execute("DELETE FROM answers WHERE at < ?", (oldest,))
            (kept_now,) = connection.execute("SELECT count(*) FROM answers").fetchone()
            if kept_now > self._most:
                connection.execute(
                    "DELETE FROM answers WHERE request IN"
                    " (SELECT request FROM answers ORDER BY at LIMIT ?)",
                    (kept_now - self._most,),
                )

        return work


Landed = CompletedCall | Kept
Call = Callable[[ModelRequest, InFlightCall[Landed]], Coroutine[Any, Any, CompletedCall]]
NOT_PAID = Usage(reused=1)


class Reuse:
    """Looks for an answer before it makes a call.

    Args:
        answers: In memory.
        file: On disk; None where the settings keep none.
        call: Makes a call.
        observer: Receives what was not paid again.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        answers: Answers,
        file: AnswerFile | None,
        call: Call,
        *,
        observer: Observer,
        now: Callable[[], float],
    ) -> None:
        self._answers = answers
        self._file = file
        self._call = call
        self._observer = observer
        self._now = now
        self._flights: SingleFlight[Landed] = SingleFlight()

    async def ask(self, order: ModelRequest) -> Response[Any]:
        """Answer from what is known, from a call under way, or by a call.

        Raises:
            AnswerError: The answer is no use.
        """
        key = key_of(order.body)
        kept = self._answers.get(key)
        if kept is not None and (reply := self._again(order, kept, "memory")) is not None:
            return reply

        async def fly(flight: InFlightCall[Landed]) -> Landed:
            return await self._look_or_call(key, order, flight)

        task, shared = await self._flights.join(key, fly)
        try:
            completed = task.result()
        except AnswerError as error:
            if not shared:
                raise
            self._tell(order, "in_flight")
            raise type(error)(
                error.detail, usage=NOT_PAID, model=error.model, seconds=0.0
            ) from error
        if isinstance(completed, CompletedCall) and not shared:
            return reply_of(completed)
        found = completed if isinstance(completed, Kept) else self._kept(completed)
        reply = self._again(order, found, "in_flight" if shared else "disk")
        if reply is None:
            return reply_of(await self._call(order, InFlightCall(key, 1)))
        if isinstance(completed, CompletedCall):
            return replace(reply, signals=completed.answered.signals)
        return reply

    async def save(self) -> None:
        """Write down what is new."""
        if self._file is not None:
            await self._file.save()

    async def close(self) -> None:
        """Give up the calls under way."""
        await self._flights.close()

    async def _look_or_call(
        self, key: bytes, order: ModelRequest, flight: InFlightCall[Landed]
    ) -> Landed:
        if self._file is not None and (kept := await self._file.get(key)) is not None:
            self._answers.put(key, kept)
            return kept
        delivery = await self._call(order, flight)
        if delivery.answered.signals:
            # What was doubtful once would be trusted the next time.
            return delivery
        kept = self._kept(delivery)
        self._answers.put(key, kept)
        if self._file is not None:
            self._file.put(key, kept)
        return delivery

    def _kept(self, delivery: CompletedCall) -> Kept:
        answered = delivery.answered
        return Kept(answered.json, answered.model, self._now())

    def _again(self, order: ModelRequest, kept: Kept, kind: ReuseKind) -> Response[Any] | None:
        """The reply that an answer makes for this question; None where it is no answer to it."""
        try:
            answer = order.question.answer_model.model_validate_json(kept.json)
        except ValidationError:
            # The stage's own checks have changed since, although its request has not.
            return None
        self._tell(order, kind)
        return Response(answer, kept.model, NOT_PAID, 0.0)

    def _tell(self, order: ModelRequest, kind: ReuseKind) -> None:
        self._observer.reused(order.question.stage, order.lane.model, kind)


def reply_of(delivery: CompletedCall) -> Response[Any]:
    """The reply of a call that was made."""
    answered = delivery.answered
    return Response(
        answered.answer, answered.model, delivery.usage, delivery.seconds, answered.signals
    )
