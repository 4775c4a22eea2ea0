"""Does something about records, each once: what is published and the mark go together.

One transactional id belongs to all the marks of a topic. Whoever starts with it fences everybody
who had it before and settles their open transaction; only then are the marks read. So what is not
marked was not handled, whoever tried, and cannot be by anybody else any more.

A desk as the settings want it, on real brokers.

The one record that a person names by its place.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Self

from pipeline.config import Settings
from pipeline.kafka.brokers import KafkaBrokers, delivery_in_force
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import TopicReader, read_topics
from pipeline.kafka.topics import Topics, why_forgetful
from pipeline.kafka.writer import ProducerFenced, commit_with_retry
from pipeline.model.errors import PipelineError
from pipeline.model.records import now
from pipeline.operators.arguments import Place, place_of
from pipeline.operators.handled import HandledIndex, Mark
from pipeline.stream.protocols import (
    Broken,
    BrokerError,
    Brokers,
    BrokersUnavailable,
    Consumer,
    PartitionWriter,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Outgoing, Received

_log = logging.getLogger(__name__)
_ATTEMPTS = 5
_RETRY_FIRST = 0.2
"""Seconds before a new session after one that broke; each further one waits twice as long."""
_TIDIED = 200
"""Marks of records that are gone, removed with one commit."""


class NotDone(PipelineError):
    """The brokers do not take what was to be published; what they did take is marked."""


@dataclass(frozen=True, slots=True)
class Action:
    """What to do about a record.

    Args:
        record: Which waits.
        outgoing: What is published for it.
        again: Do it although it was done.
    """

    record: Received
    outgoing: Outgoing
    again: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What came of actions.

    Args:
        done: Carried out now.
        done_before: Left out, because they had been carried out.
        refused: The brokers will never take these, with the reason.
    """

    done: tuple[Action, ...]
    done_before: tuple[Action, ...] = ()
    refused: tuple[tuple[Action, str], ...] = ()


class Desk:
    """Handles the records of one topic; entered with `async with`.

    Args:
        topic: Whose records.
        marks: The topic of their marks.
        group: Names the transactional id, together with `marks`.
        name: Signs the marks; unlike that of any other desk.
        brokers: Makes the sessions.
        read: Reads the marks.
        clock: The time, aware.
    """

    def __init__(
        self,
        topic: str,
        marks: str,
        *,
        group: str,
        name: str,
        brokers: Brokers,
        read: TopicReader,
        clock: Callable[[], datetime],
    ) -> None:
        self._topic = topic
        self._marks_topic = marks
        self._group = group
        self._name = name
        self._brokers = brokers
        self._read = read
        self._clock = clock
        self._resources = AsyncExitStack()
        self._consumer: Consumer | None = None
        self._session: PartitionWriter | None = None
        self._marks = HandledIndex(topic, marks)
        self._obsolete: list[Place] = []
        self._fenced = (
            f"Another process handles {topic} now: these were left to it. Nothing was done twice; "
            "run this again to see what is left."
        )

    async def __aenter__(self) -> Self:
        """Fence everybody else, then learn what was handled.

        Raises:
            BrokerError: The brokers do not answer, or refuse.
        """
        async with AsyncExitStack() as entered:
            # It never joins: sessions of brokers without transactions are made with one.
            self._consumer = self._brokers.consumer(self._group, [self._topic])
            entered.push_async_callback(self._consumer.close)
            entered.push_async_callback(self._close)
            await self._open()
            self._resources = entered.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let go of the connections."""
        await self._resources.aclose()

    def mark(self, record: Received) -> Mark | None:
        """What is known of an earlier time; None if the record was never handled."""
        return self._marks.of(record)

    async def carry_out(self, actions: Sequence[Action]) -> Done:
        """Publish what is not marked yet, and the marks, in one transaction.

        Raises:
            ProducerFenced: Another process has begun meanwhile. Nothing of these was done.
            NotDone: The brokers do not take them for long. All of them were done, or none.
            BrokerError: They refuse.
        """
        before = [self._times(action.record) for action in actions]
        todo = [
            (action, times)
            for action, times in zip(actions, before, strict=True)
            if action.again or not times
        ]
        refused: list[tuple[Action, str]] = []
        problem: BrokerError | None = None
        for attempt in range(_ATTEMPTS):
            # After an answer was lost, the marks alone tell whether these were done.
            open_ = [action for action, times in todo if not self._is_done(action.record, times)]
            if not open_:
                break
            try:
                await self._commit(open_)
            except Unpublishable as error:
                at_fault = [open_[index] for index in error.indices if index < len(open_)]
                refused += [(action, error.detail) for action in at_fault]
                todo = [each for each in todo if each[0] not in at_fault]
                if error.is_session_lost:
                    await self._open()
            except BrokersUnavailable as error:
                raise _not_done(error) from error
            except Broken as error:
                problem = error
                await asyncio.sleep(_RETRY_FIRST * 2**attempt)
                await self._open()
        else:
            raise _not_done(problem)
        done = tuple(action for action, _ in todo)
        left = tuple(
            action
            for action, times in zip(actions, before, strict=True)
            if times and not action.again
        )
        return Done(done, left, tuple(refused))

    async def _commit(self, actions: Sequence[Action]) -> None:
        if self._session is None:
            raise RuntimeError("a desk is entered before it is used")
        marks = [
            self._marks.next(
                action.record, to=action.outgoing.topic, at=self._clock(), by=self._name
            )
            for action in actions
        ]
        tidied, self._obsolete = self._obsolete[:_TIDIED], self._obsolete[_TIDIED:]
        await commit_with_retry(
            self._session,
            [
                *(action.outgoing for action in actions),
                *(self._marks.outgoing(mark) for mark in marks),
                *(self._marks.tombstone(place) for place in tidied),
            ],
            None,
            if_fenced=self._fenced,
        )
        self._marks.written(marks)
        self._marks.removed(tidied)

    async def _open(self) -> None:
        await self._close()
        if self._consumer is None:
            raise RuntimeError("a desk is entered before it is used")
        # The partition only names the transactional id.
        owner = TopicPartition(self._marks_topic, 0)
        self._session = self._brokers.session(self._group, owner, self._consumer)
        await self._session.start()
        self._marks = HandledIndex(self._topic, self._marks_topic)
        async with self._read([self._marks_topic]) as records:
            async for record in records:
                self._marks.read(record)
        self._marks.warn()
        self._obsolete = self._marks.obsolete(await self._begins())

    async def _begins(self) -> dict[int, int]:
        """Where the log of each partition with marks begins now, as far as that is known."""
        begins: dict[int, int] = {}
        reader = self._brokers.reader(self._group)
        await reader.start()
        try:
            for number in sorted(self._marks.partitions()):
                bounds = await reader.bounds(TopicPartition(self._topic, number))
                begins[number] = bounds.begin
        except BrokerError as error:
            # A mark may name a partition that there is not, and marks that are left do no harm.
            _log.warning("not all marks of records that are gone are removed now: %s", error)
        finally:
            await reader.close()
        return begins

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _is_done(self, record: Received, times: int) -> bool:
        """Whether this desk has handled a record that had been handled so often before.

        Raises:
            ProducerFenced: Another process has. Brokers do not always say that one was fenced:
                the client may only notice that its transaction broke.
        """
        mark = self._marks.of(record)
        if mark is None or mark.times == times:
            return False
        if mark.by != self._name:
            raise ProducerFenced(self._fenced)
        return True

    def _times(self, record: Received) -> int:
        mark = self._marks.of(record)
        return 0 if mark is None else mark.times


def _not_done(problem: BrokerError | None) -> NotDone:
    return NotDone(
        f"The brokers did not take it ({problem}): look at them, then run this again; what was "
        "done is marked and is not done twice."
    )


GROUP = "desk"
"""The group of desks, after the prefix of groups: it names their transactional ids."""
_TRANSACTION_LIMIT = 15.0
"""Seconds until brokers abort a transaction. Where a command was killed in the middle of one,
readers of the topics that it wrote to wait for that."""


def topic_reader(settings: Settings) -> TopicReader:
    """Reads topics of the brokers that are set."""
    return partial(read_topics, settings.kafka)


@asynccontextmanager
async def desk_for(
    settings: Settings, topic: str, marks: str, *, tell: Callable[[str], None]
) -> AsyncIterator[Desk]:
    """A desk that is open.

    Args:
        settings: How brokers are reached and topics are called.
        topic: Whose records are handled.
        marks: The topic of their marks.
        tell: Called with a sentence where the brokers allow only a weaker guarantee.

    Raises:
        PipelineError: The brokers cannot be reached, a topic is missing, or the topic of marks
            would forget.
    """
    async with admin_client(settings.kafka) as admin:
        found = await Topics(admin, settings.topics).require([topic, marks])
    if (forgets := why_forgetful(found[marks])) is not None:
        raise PipelineError(forgets)
    delivery = await delivery_in_force(settings)
    if delivery.mode != "exactly_once":
        tell(
            f"At least once, because {delivery.because} What is cut off in the middle may be done "
            "twice."
        )
    limit = min(_TRANSACTION_LIMIT, settings.stream.transaction_timeout)
    stream = settings.stream.model_copy(update={"transaction_timeout": limit})
    brokers = KafkaBrokers(settings.kafka, stream, settings.topics, delivery.mode)
    async with Desk(
        topic,
        marks,
        group=settings.kafka.group_prefix + GROUP,
        name=secrets.token_hex(8),
        brokers=brokers,
        read=topic_reader(settings),
        clock=now,
    ) as desk:
        yield desk


async def marks_of(read: TopicReader, topic: str, marks: str) -> HandledIndex:
    """What was handled so far, without fencing anybody.

    Raises:
        PipelineError: The topic of marks is missing.
    """
    found = HandledIndex(topic, marks)
    async with read([marks]) as records:
        async for record in records:
            found.read(record)
    found.warn()
    return found


async def record_at(read: TopicReader, topic: str, place: Place) -> Received | None:
    """The record at a place; None where there is none (any more)."""
    start = {TopicPartition(topic, place.partition): place.offset}
    async with read([topic], start=start) as records:
        async for record in records:
            return record if place_of(record) == place else None
    return None
