"""A member of a consumer group, over aiokafka."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from pipeline.config import KafkaSettings, StreamSettings
from pipeline.kafka.assignor import Assignor
from pipeline.kafka.batches import ReadRecord, received
from pipeline.kafka.connection import client_options, stop_consumer
from pipeline.kafka.fetching import DeferredBatches, ReadLimit, fetch_in_turns
from pipeline.kafka.membership import Membership
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    Committed,
    Fenced,
    PositionLost,
    RebalanceListener,
    TopicPartition,
    no_such_topics,
)
from pipeline.stream.records import Received

_log = logging.getLogger(__name__)
REBALANCE_MARGIN = 10.0
"""Seconds that a member has after its drain budget to commit and to join again."""
_MAX_POLL_INTERVAL = 120.0
"""Seconds without a poll after which a member counts as stuck. Polling never waits for an event, so
only a process that stands still comes near it."""
_LEAVE_LIMIT = 10.0
"""Seconds to leave the group, after which the brokers find out by themselves."""
_RETRY = 0.5
"""Seconds before the next poll after an error that may pass."""
_METADATA_AGE = 10.0
"""Seconds after which the brokers are asked again which partitions there are: those that are added,
or of a topic that is made again, are taken up that much later, and a rebalance. aiokafka's own
default is five minutes."""
_FORBIDDEN_FOR = 10.0
"""Seconds after which what we were refused counts as granted, if it was not refused again."""
_BRIEFLY = 0.01
"""Seconds that a poll waits between two idle pauses: enough for one fetch."""
_NOWHERE = KafkaPartition("", -1)
"""A partition that is never assigned. Polling it takes nothing and still shows that we live:
aiokafka takes an empty list of partitions for all of them."""


class CommitGate:
    """Keeps plain commits out of a rebalance.

    One that arrives with the generation before makes aiokafka leave the group and join as another
    member, and those of a new assignment wait for it. A transaction needs no generation.
    """

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._under_way = 0
        self._none_under_way = asyncio.Event()
        self._none_under_way.set()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Wait until commits may go; then one is under way."""
        await self._is_open.wait()
        self._under_way += 1
        self._none_under_way.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._none_under_way.set()

    async def close(self) -> None:
        """Let none go any more, and wait for those under way."""
        self._is_open.clear()
        await self._none_under_way.wait()

    def open(self) -> None:
        """The group is assigned."""
        self._is_open.set()


class KafkaConsumer:
    """A consumer that has not started; must be made inside the event loop.

    It reads `topics` and, with a `pattern`, all that match it, those too that are made later.
    Records of more than `max_record_bytes` come without their value. `asks` is a digest of what is
    asked about them, by which members of a group see that they ask the same.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        stream: StreamSettings,
        group: str,
        topics: Sequence[str],
        *,
        pattern: str | None = None,
        max_record_bytes: int,
        asks: str = "",
    ) -> None:
        self._topics = topics
        self._pattern = pattern
        self._what = ", ".join(topics) or f"topics like {pattern}"
        # Brokers that answer an idle fetch at once would burn a core where one waits for records.
        self._idle_pause = kafka.idle_fetch_pause
        self._paused: set[KafkaPartition] = set()
        self._next: dict[KafkaPartition, int] = {}
        self._forbidden: tuple[str, float] | None = None
        self._commits = CommitGate()
        self._membership = Membership(kafka.session_timeout)
        self.confirmed = self._membership.confirmed
        self._asks = asks
        # The assignor needs a listener, which is there once the consumer starts.
        self._assignors: list[Assignor] = []
        self._client = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=group,
            group_instance_id=kafka.group_instance_id,
            partition_assignment_strategy=self._assignors,
            enable_auto_commit=False,
            # Events of a transaction that was aborted never happened.
            isolation_level="read_committed",
            # Left to itself it would go to another place in the log, unnoticed.
            auto_offset_reset="none",
            session_timeout_ms=_milliseconds(kafka.session_timeout),
            heartbeat_interval_ms=_milliseconds(kafka.heartbeat_interval),
            max_poll_interval_ms=_milliseconds(_MAX_POLL_INTERVAL),
            # The group waits that long for each member to join again, and aiokafka would take the
            # session's time-out for it. Members of earlier releases drain before they do.
            rebalance_timeout_ms=_milliseconds(stream.drain_budget + REBALANCE_MARGIN),
            fetch_max_bytes=kafka.fetch_max_bytes,
            max_partition_fetch_bytes=kafka.partition_fetch_max_bytes,
            value_deserializer=ReadLimit(max_record_bytes),
            metadata_max_age_ms=_milliseconds(_METADATA_AGE),
        )
        self._deferred = DeferredBatches(self._client)
        self._is_turn_of_deferred = False

    async def start(self, listener: RebalanceListener) -> None:
        assignor = Assignor(listener, self._generation, asks=self._asks)
        self._assignors.append(assignor)
        handed_on = _Listener(listener, assignor, self)
        if self._pattern is None:
            self._client.subscribe(topics=list(self._topics), listener=handed_on)
        else:
            # aiokafka takes either; it matches where names begin, and looks every `_METADATA_AGE`.
            named = "".join(rf"{re.escape(topic)}\Z|" for topic in self._topics)
            self._client.subscribe(pattern=f"{named}{self._pattern}", listener=handed_on)
        try:
            await self._client.start()
        except KafkaConnectionError as error:
            raise BrokersUnavailable(f"The brokers cannot be reached ({error}).") from error
        except UnknownTopicOrPartitionError as error:
            raise BrokerError(f"{self._what} cannot be consumed: {self.trouble()}.") from error
        except KafkaError as error:
            raise _refused(self._what, error) from error
        self._note_heartbeats()

    async def close(self) -> None:
        try:
            await stop_consumer(self._client, _LEAVE_LIMIT)
        except KafkaError as error:
            # Its background task had failed before, and raises that once more.
            _log.warning("%s: leaving the group failed: %r", self._what, error)

    def rejoin(self, *, asks: str | None = None) -> None:
        if asks is not None:
            self._asks = asks
            for assignor in self._assignors:
                assignor.asks = asks
        # aiokafka has no public way to it, and no coordinator before it has started.
        if (coordinator := self._client._coordinator) is not None:  # noqa: SLF001
            coordinator.request_rejoin()

    async def poll(
        self,
        partitions: Collection[TopicPartition],
        *,
        seconds: float,
        records: int,
        each: int | None = None,
    ) -> Mapping[TopicPartition, Sequence[Received]]:
        asked = [KafkaPartition(*partition) for partition in partitions] or [_NOWHERE]
        if self._idle_pause:
            seconds = min(seconds, _BRIEFLY)
        try:
            if self._deferred.partitions:
                seconds = 0.0
                self._is_turn_of_deferred = not self._is_turn_of_deferred
                if self._is_turn_of_deferred:
                    # It is a sign of life; nothing is awaited once the piece is there.
                    await self._client.getmany(_NOWHERE, timeout_ms=0)
                    return self._hand_on(await self._deferred.read(asked, records))
            fetched = await self._fetch(asked, seconds, records, each or records)
        except OffsetOutOfRangeError as error:
            [(partition, offset)] = error.args[0].items()
            raise PositionLost(TopicPartition(*partition), offset) from error
        except TopicAuthorizationFailedError as error:
            # Others may be read, and a person may grant it at any time.
            if self.trouble() is None:
                _log.error("%s: this user may not read it", error.args[0])
            self._forbidden = error.args[0], asyncio.get_running_loop().time()
            await asyncio.sleep(_RETRY)
            return {}
        except KafkaError as error:
            if not error.retriable:
                raise _refused(self._what, error) from error
            _log.warning("%s: polling failed, and is tried again: %r", self._what, error)
            await asyncio.sleep(_RETRY)
            return {}
        if self._idle_pause and not fetched and partitions:
            await self._rest()
        return self._hand_on(fetched)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        assigned = self._client.assignment()
        for partition in partitions:
            if partition in assigned:
                self._deferred.drop(KafkaPartition(*partition))
                self._client.pause(KafkaPartition(*partition))
                self._paused.add(KafkaPartition(*partition))

    def start_at(self, partition: TopicPartition, offset: int) -> None:
        itself = KafkaPartition(*partition)
        try:
            self._client.seek(itself, offset)
            self._client.resume(itself)
        except IllegalStateError:
            raise Fenced(f"{partition} is not assigned any more.") from None
        self._paused.discard(itself)
        self._deferred.drop(itself)
        self._next[itself] = offset

    async def commit(self, partition: TopicPartition, committed: Committed) -> None:
        """Commit an offset as a member of the group.

        Raises:
            Fenced: The group has given the partition to another member.
            KafkaError: Anything else that will not get better.
        """
        offset = OffsetAndMetadata(committed.offset, committed.metadata)
        try:
            async with self._commits.under_way():
                await self._client.commit({KafkaPartition(*partition): offset})
        except (CommitFailedError, IllegalStateError) as error:
            raise Fenced(f"{partition} has another owner now ({error}).") from None

    async def position(self, partition: TopicPartition) -> int | None:
        try:
            # It is there, or has to be asked for: that is not worth waiting.
            async with asyncio.timeout(0):
                position: int = await self._client.position(KafkaPartition(*partition))
        except (IllegalStateError, TimeoutError):
            return None
        return position

    def end(self, partition: TopicPartition) -> int | None:
        """The last stable offset, or the high-water mark of brokers without transactions."""
        if partition not in self._client.assignment():
            return None
        itself = KafkaPartition(*partition)
        stable: int | None = self._client.last_stable_offset(itself)
        end: int | None = self._client.highwater(itself) if stable in {None, -1} else stable
        return end

    def members_differ(self) -> bool:
        return any(len(assignor.asked) > 1 for assignor in self._assignors)

    def trouble(self) -> str | None:
        if self._forbidden is not None:
            topic, when = self._forbidden
            if asyncio.get_running_loop().time() - when < _FORBIDDEN_FOR:
                return f"this user may not read {topic}: grant Read on it; it is tried again"
        return no_such_topics(
            [topic for topic in self._topics if not self._client.partitions_for_topic(topic)]
        )

    async def begin_rebalance(self) -> None:
        """The group is about to be assigned again: polls go on, plain commits wait."""
        subscription = self._client._subscription.subscription  # noqa: SLF001
        if subscription.assignment is not None:
            # aiokafka would let every poll wait until the group has settled; its fetches go on.
            subscription._reassignment_in_progress = False  # noqa: SLF001
        await self._commits.close()

    def end_rebalance(self) -> None:
        """It was: what was kept of other partitions is of no use any more."""
        self._membership.confirm(asyncio.get_running_loop().time())
        assigned = self._client.assignment()
        self._paused &= assigned
        for partition in set(self._deferred.partitions) - assigned:
            self._deferred.drop(partition)
        self._commits.open()

    def _note_heartbeats(self) -> None:
        """Learn when each that the group took was sent; aiokafka has no public way to it."""
        coordinator = self._client._coordinator  # noqa: SLF001
        beat = coordinator._do_heartbeat  # noqa: SLF001
        now = asyncio.get_running_loop().time

        async def noted() -> bool:
            sent = now()
            is_taken: bool = await beat()
            if is_taken:
                self._membership.confirm(sent)
            return is_taken

        coordinator._do_heartbeat = noted  # noqa: SLF001

    def _generation(self) -> int:
        # There is no public way to it.
        generation: int = self._client._coordinator.generation  # noqa: SLF001
        return generation

    async def _fetch(
        self, partitions: Sequence[KafkaPartition], seconds: float, records: int, each: int
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        fetched: Mapping[KafkaPartition, Sequence[Any]]
        has_arrived = False
        try:
            fetched = await fetch_in_turns(
                self._client,
                partitions,
                timeout_ms=_milliseconds(seconds),
                most=records,
                each=each,
            )
            has_arrived = True
        except NoOffsetForPartitionError:
            # aiokafka looked for a place by itself before the partition was started at its own.
            fetched = {}
        finally:
            if not has_arrived:
                # Where a poll fails at one partition, aiokafka has moved on in others whose records
                # it had collected, and drops them: go back to what was handed on last.
                assigned = self._client.assignment()
                for partition in partitions:
                    if partition in assigned and partition in self._next:
                        self._client.seek(partition, self._next[partition])
        return self._deferred.split(fetched)

    def _hand_on(
        self, fetched: Mapping[KafkaPartition, Sequence[ConsumerRecord | ReadRecord]]
    ) -> Mapping[TopicPartition, Sequence[Received]]:
        now = datetime.now(UTC)
        polled: dict[TopicPartition, Sequence[Received]] = {}
        for partition, records in fetched.items():
            self._next[partition] = records[-1].offset + 1
            polled[TopicPartition(*partition)] = [received(record, now) for record in records]
        return polled

    async def _rest(self) -> None:
        """Fetch nothing for a moment, and leave those alone that are paused for other reasons."""
        resting = self._client.assignment() - self._paused - set(self._deferred.partitions)
        self._client.pause(*resting)
        await asyncio.sleep(self._idle_pause)
        # Meanwhile a rebalance may have taken some, or paused them on purpose.
        held = self._paused | set(self._deferred.partitions)
        self._client.resume(*((resting & self._client.assignment()) - held))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Hands aiokafka's callbacks on, in the stream's own terms."""

    def __init__(
        self, target: RebalanceListener, assignor: Assignor, consumer: KafkaConsumer
    ) -> None:
        self._target = target
        self._assignor = assignor
        self._consumer = consumer

    async def on_partitions_revoked(self, _: Collection[KafkaPartition]) -> None:
        await self._target.on_rebalance()
        await self._consumer.begin_rebalance()

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        self._consumer.end_rebalance()
        partitions = [TopicPartition(*partition) for partition in assigned]
        await self._target.on_assigned(partitions, self._assignor.releasing & set(partitions))


def _refused(what: str, error: KafkaError) -> BrokerError:
    return BrokerError(f"{what} cannot be consumed: {error!r}.")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
