"""Which records people have handled, and publishing what comes of a record once.

A compacted topic holds a record `Handled` under the key `TOPIC/PARTITION/OFFSET` for each; it is
published in one transaction with whatever was done and with the audit record of that. One
transactional id belongs to all of a topic: a process that starts with it fences every earlier one,
settles its open transaction, and only then reads the topic. So what is not in it was not handled,
and no other process can handle it any more.

What an unreadable record with one of our keys is about counts as handled, once, until `--again`:
nothing is done twice for an entry that another version wrote or that was damaged.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Self

from pipeline.config import Settings
from pipeline.kafka.brokers import KafkaBrokers, delivery_in_force
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import Topics, why_forgetful
from pipeline.kafka.writer import ProducerFenced, commit_with_retry
from pipeline.model.errors import PipelineError
from pipeline.model.records import (
    EPOCH,
    FORGOTTEN,
    AuditOutcome,
    Handled,
    Unusable,
    now,
    read_record,
)
from pipeline.operators.audit import AuditedCommand
from pipeline.operators.selection import Place, place_of, topic_reader
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
from pipeline.stream.records import Headers, Outgoing, Received

_HEADERS: Headers = (("content-type", b"application/json"),)
_KEY = re.compile(rb"(?P<topic>.+)/(?P<partition>[0-9]{1,9})/(?P<offset>[0-9]{1,18})", re.DOTALL)
_ATTEMPTS = 5
_RETRY_FIRST = (
    0.2  # seconds before a session after a broken one; each later one waits twice as long
)
_TIDIED = 200  # entries of records that are gone, removed with one commit
_GROUP = "desk"  # a group name, after the prefix of groups: it names the transactional ids
_TRANSACTION_LIMIT = 15.0
"""Seconds until brokers abort a transaction. Where a command was killed in the middle of one,
readers of the topics that it wrote to wait for that."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HandledEntry:
    """How often a record was handled; when, and by which process, the last time."""

    # The record's timestamp in milliseconds; None, for any there, if the entry is unreadable.
    stamp: int | None
    at: datetime
    times: int
    by: str
    reason: str = ""

    @property
    def is_forgotten(self) -> bool:
        """Whether it is settled for good: nothing may be published for it any more."""
        return self.reason == FORGOTTEN


@dataclass(eq=False)
class HandledIndex:
    """Which records of `topic` were handled, as read from `handled_topic` and written to it."""

    topic: str
    handled_topic: str
    _entries: dict[Place, HandledEntry] = field(default_factory=dict, init=False)
    _unusable: int = field(default=0, init=False)
    _first_unusable: Place | None = field(default=None, init=False)

    def partitions(self) -> set[int]:
        return {place.partition for place in self._entries}

    def read(self, record: Received) -> Place | None:
        """Take in a record of the topic; a later one about the same place holds.

        Returns the place that it is about by its key, None where that names none of `topic`.
        """
        key, about = _KEY.fullmatch(record.key or b""), None
        if key is not None and key["topic"] == self.topic.encode():
            about = Place(int(key["partition"]), int(key["offset"]))
        if record.value is None:
            if about is not None:
                self._entries.pop(about, None)
            return about
        try:
            handled = read_record(Handled, record.value)
        except Unusable:
            self._unusable += 1
            self._first_unusable = self._first_unusable or place_of(record)
            if about is not None:
                # One that was read before it says more.
                self._entries.setdefault(about, HandledEntry(None, record.timestamp, 1, ""))
            return about
        if handled.topic == self.topic:
            self.written([handled])
        return about

    def warn(self) -> None:
        if self._unusable:
            _log.warning(
                "%d records of %s are no marks that this version can read, the first at %s: they "
                "were left out, and what they are about by their keys counts as done (--again does "
                "it again). Find out who may write to that topic.",
                self._unusable,
                self.handled_topic,
                self._first_unusable,
            )

    def of(self, record: Received) -> HandledEntry | None:
        return self.at(place_of(record), record.timestamp)

    def at(self, place: Place, timestamp: datetime) -> HandledEntry | None:
        """What was done about the record of that place and Kafka timestamp."""
        entry = self._entries.get(place)
        if entry is None or entry.stamp not in {None, _stamp(timestamp)}:
            return None
        return entry

    def next(
        self, record: Received, *, to: str, at: datetime, by: str, reason: str = ""
    ) -> Handled:
        """What is to be written when `by` handles a record now."""
        earlier = self.of(record)
        return Handled(
            schema_="handled/1",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            to=to,
            at=at,
            times=1 if earlier is None else earlier.times + 1,
            by=by,
            reason=reason,
        )

    def outgoing(self, handled: Handled) -> Outgoing:
        key = self._key(Place(handled.partition, handled.offset))
        value = handled.model_dump_json(by_alias=True).encode()
        return Outgoing(self.handled_topic, key, value, _HEADERS)

    def written(self, committed: Iterable[Handled]) -> None:
        for handled in committed:
            self._entries[Place(handled.partition, handled.offset)] = HandledEntry(
                _stamp(handled.timestamp), handled.at, handled.times, handled.by, handled.reason
            )

    def remove_obsolete(self, begins: Mapping[int, int]) -> list[Outgoing]:
        """Forget records below the partitions' `begins`; returns tombstones of their entries."""
        places = [place for place in self._entries if place.offset < begins.get(place.partition, 0)]
        for place in places:
            del self._entries[place]
        return [Outgoing(self.handled_topic, self._key(place), None, ()) for place in places]

    def _key(self, place: Place) -> bytes:
        return f"{self.topic}/{place.partition}/{place.offset}".encode()


def _stamp(moment: datetime) -> int:
    """In Kafka's own precision, and that of what is published: milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


async def read_handled(read: TopicReader, topic: str, handled_topic: str) -> HandledIndex:
    """What was handled so far, without fencing any process."""
    found = HandledIndex(topic, handled_topic)
    async with read([handled_topic]) as records:
        async for record in records:
            found.read(record)
    found.warn()
    return found


class NotDone(PipelineError):
    """The brokers do not take what was to be published; what they did take counts as handled."""


@dataclass(frozen=True, slots=True)
class Action:
    """What to publish about a record; `again` although it was handled before.

    Without anything to publish it is only marked, with the reason. What is published `beside`
    `outgoing` says the same in another form.
    """

    record: Received
    outgoing: Outgoing | None
    again: bool = False
    reason: str = ""
    beside: tuple[Outgoing, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """What came of actions; those that the brokers will never take are refused, with the reason."""

    done: tuple[Action, ...]
    done_before: tuple[Action, ...]
    refused: tuple[tuple[Action, str], ...]


@dataclass(eq=False)
class IdempotentPublisher:
    """Publishes what comes of the records of `topic`, each once, in the name of `command`.

    It is entered with `async with`.

    `group` and `handled_topic` name the transactional id; `name`, which signs the entries, is
    unlike that of any other publisher.
    """

    topic: str
    handled_topic: str
    command: AuditedCommand
    _: KW_ONLY
    group: str
    name: str
    brokers: Brokers
    read: TopicReader
    clock: Callable[[], datetime]
    _resources: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    _consumer: Consumer = field(init=False)
    _session: PartitionWriter | None = field(default=None, init=False)
    _handled: HandledIndex = field(init=False)
    _obsolete: list[Outgoing] = field(default_factory=list, init=False)

    @property
    def _fenced(self) -> str:
        return (
            f"Another process handles {self.topic} now: these were left to it. Nothing was done "
            "twice; run this again to see what is left."
        )

    async def __aenter__(self) -> Self:
        """Fence every other process, then learn what was handled; raises `BrokerError`."""
        async with AsyncExitStack() as entered:
            # It never joins: sessions of brokers without transactions are made with one.
            self._consumer = self.brokers.consumer(self.group, [self.topic])
            entered.push_async_callback(self._consumer.close)
            entered.push_async_callback(self._close)
            await self._open()
            self._resources = entered.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._resources.aclose()

    def entry(self, record: Received) -> HandledEntry | None:
        return self._handled.of(record)

    async def publish(self, actions: Sequence[Action]) -> Done:
        """Publish what was not handled yet, that it is, and who did it, in one transaction.

        Raises:
            ProducerFenced: Another process has begun meanwhile. Nothing of these was done.
            NotDone: The brokers do not take them for long. All of them were done, or none.
            BrokerError: They refuse.
        """
        todo: list[tuple[Action, int]] = []
        done_before: list[Action] = []
        for action in actions:
            entry = self._handled.of(action.record)
            if entry is None or (action.again and not entry.is_forgotten):
                todo.append((action, 0 if entry is None else entry.times))
            else:
                done_before.append(action)
        refused: list[tuple[Action, str]] = []
        problem: BrokerError | None = None
        for attempt in range(_ATTEMPTS):
            # After an answer was lost, only what was read again says whether these were done.
            open_ = [action for action, times in todo if not self._is_done(action.record, times)]
            if not open_:
                break
            try:
                await self._commit(open_)
            except Unpublishable as error:
                owners = _owners(open_)
                named = {id(owners[index]) for index in error.indices if index in owners}
                at_fault = [action for action in open_ if id(action) in named]
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
        return Done(tuple(action for action, _ in todo), tuple(done_before), tuple(refused))

    async def publish_unmarked(
        self,
        records: Sequence[Outgoing],
        count: int,
        *,
        did: str,
        about: str,
        outcome: AuditOutcome = AuditOutcome.DONE,
    ) -> None:
        """Publish what is about no single record, and who did it, in one transaction.

        It has to be harmless if it is published twice. Raises as `publish`.
        """
        entry = self.command.entry(count, at=self.clock(), about=about, did=did, outcome=outcome)
        try:
            await self._commit_together([*records, entry])
        except (BrokersUnavailable, Broken) as error:
            raise _not_done(error) from error

    async def _commit(self, actions: Sequence[Action]) -> None:
        now = self.clock()
        handled = [
            self._handled.next(
                action.record,
                to="" if action.outgoing is None else action.outgoing.topic,
                at=now,
                by=self.name,
                reason=action.reason,
            )
            for action in actions
        ]
        tidied, self._obsolete = self._obsolete[:_TIDIED], self._obsolete[_TIDIED:]
        marks = [self._handled.outgoing(each) for each in handled]
        pairs = list(zip(actions, marks, strict=True))
        await self._commit_together(
            [
                # In this order, since `Unpublishable` names them by their indices: `_owners`.
                *(action.outgoing or mark for action, mark in pairs),
                *(record for action in actions for record in action.beside),
                *(mark for action, mark in pairs if action.outgoing is not None),
                self.command.entry(len(actions), at=now, about=self.topic),
                *tidied,
            ]
        )
        self._handled.written(handled)

    async def _commit_together(self, records: Sequence[Outgoing]) -> None:
        if self._session is None:
            raise RuntimeError("a publisher is entered before it is used")
        await commit_with_retry(self._session, records, None, if_fenced=self._fenced)

    async def _open(self) -> None:
        await self._close()
        # The partition only names the transactional id.
        owner = TopicPartition(self.handled_topic, 0)
        self._session = self.brokers.session(self.group, owner, self._consumer)
        await self._session.start()
        self._handled = await read_handled(self.read, self.topic, self.handled_topic)
        begins: dict[int, int] = {}
        reader = self.brokers.reader(self.group)
        await reader.start()
        try:
            for number in sorted(self._handled.partitions()):
                begins[number] = (await reader.bounds(TopicPartition(self.topic, number))).begin
        except BrokerError as error:
            # An entry may name a partition that there is not, and one that is left does no harm.
            _log.warning("not all marks of records that are gone are removed now: %s", error)
        finally:
            await reader.close()
        self._obsolete = self._handled.remove_obsolete(begins)

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _is_done(self, record: Received, times: int) -> bool:
        """Whether this process has handled a record that had been handled so often before.

        `ProducerFenced` if another process has: brokers do not always say so, and the client may
        only notice that its transaction broke.
        """
        entry = self._handled.of(record)
        if entry is None or entry.times == times:
            return False
        if entry.by != self.name:
            raise ProducerFenced(self._fenced)
        return True


def _owners(actions: Sequence[Action]) -> dict[int, Action]:
    """Whose the records of a commit are, by their indices: first one of each, then those beside."""
    beside = (action for action in actions for _ in action.beside)
    return dict(enumerate((*actions, *beside)))


def _not_done(problem: BrokerError | None) -> NotDone:
    return NotDone(
        f"The brokers did not take it ({problem}): look at them, then run this again; what was "
        "done is marked and is not done twice."
    )


@asynccontextmanager
async def open_publisher(
    settings: Settings,
    topic: str,
    handled_topic: str,
    command: AuditedCommand,
    *,
    note: Callable[[str], None],
) -> AsyncIterator[IdempotentPublisher]:
    """A publisher on the configured brokers, ready; a weaker guarantee is reported to `note`."""
    async with admin_client(settings.kafka) as admin:
        found = await Topics(admin, settings.topics).require([topic, handled_topic, command.topic])
    if (forgets := why_forgetful(found[handled_topic])) is not None:
        raise PipelineError(forgets)
    delivery = await delivery_in_force(settings)
    if delivery.mode != "exactly_once":
        note(
            f"At least once, because {delivery.because} What is cut off in the middle may be done "
            "twice."
        )
    limit = min(_TRANSACTION_LIMIT, settings.stream.transaction_timeout)
    stream = settings.stream.model_copy(update={"transaction_timeout": limit})
    async with IdempotentPublisher(
        topic,
        handled_topic,
        command,
        group=settings.kafka.group_prefix + _GROUP,
        name=secrets.token_hex(8),
        brokers=KafkaBrokers(settings.kafka, stream, settings.topics, delivery.mode),
        read=topic_reader(settings),
        clock=now,
    ) as publisher:
        yield publisher
