"""Real brokers for the engine: what is published and committed, exactly once or at least once."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from itertools import cycle
from typing import Any, ClassVar

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.structs import OffsetAndMetadata

from pipeline.config import Delivery, KafkaSettings, Settings, StreamSettings, TopicSettings
from pipeline.kafka.connection import (
    NotPermitted,
    RequestFailed,
    SharedClient,
    abandon_producer,
    bare_client,
    check_connection,
    client_options,
    ignore_result,
    patiently,
    producer_client,
)
from pipeline.kafka.consumer import KafkaConsumer
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.model.errors import PipelineError
from pipeline.stream.ledger import MAX_CHARACTERS
from pipeline.stream.protocols import (
    Aborted,
    Broken,
    BrokerError,
    BrokersUnavailable,
    Committed,
    Consumer,
    Fenced,
    OffsetReader,
    PartitionWriter,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Outgoing

_START_LIMIT = 30.0
"""Seconds that a producer may take to be ready before that is tried again."""
_CONNECTIONS = 4
"""To each broker, of all producers of a process, and as many to coordinators of transactions."""
_ONE_RECORD = 1
"""Bytes of a batch that hold no second record; the first one is always let in."""
_PROBE_WITHIN = 30.0
"""Seconds. A first transaction has to wait until its state topic is made."""
_APIS_OF_TRANSACTIONS = {
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
}
_FAULTS = (
    KafkaError,
    AssertionError,
    IllegalOperation,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What may come out of aiokafka's producer. IllegalOperation and AssertionError say that its
background task has given up between two steps of a transaction, and not why: mostly it was fenced.
The rest are faults of its own, which end that task and are handed to whatever waits next: they cost
the session, and must not cost the other partitions theirs."""


@dataclass(kw_only=True, eq=False)
class _Writer(ABC):
    """What both deliveries have in common: a producer of their own, and errors the stream knows."""

    producer: AIOKafkaProducer
    partition: TopicPartition
    limit: float
    """Seconds that one commit may take."""
    refused_together: Callable[[], None] | None = None
    """Called where the brokers refuse several records, which may be too large only in one batch:
    the next session is to send each alone. None if this one does."""
    _answers: list[asyncio.Future[object]] = field(default_factory=list, init=False)
    _timed_out: ClassVar[str]
    _failed: ClassVar[str]

    async def start(self) -> None:
        try:
            async with asyncio.timeout(_START_LIMIT):
                await self.producer.start()
        except (TimeoutError, KafkaConnectionError) as error:
            raise BrokersUnavailable(
                f"The brokers do not let a producer start ({error!r})."
            ) from error
        except KafkaError as error:
            raise BrokerError(f"The brokers refuse a producer: {error!r}.") from error

    async def close(self) -> None:
        """Let go of the producer. An open transaction is settled by the next owner."""
        await abandon_producer(self.producer)

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        if committed is not None and len(committed.metadata) > MAX_CHARACTERS:
            # The brokers' answer to it would kill the producer.
            raise ValueError(f"commit metadata of {len(committed.metadata)} characters")
        try:
            async with asyncio.timeout(self.limit):
                await self._commit(records, committed)
        except TimeoutError:
            raise Broken(self._timed_out) from None
        except ProducerFenced:
            raise Fenced(f"{self.partition} has another owner, or took too long.") from None
        except _FAULTS as error:
            raise Broken(f"{self._failed}: {error!r}.") from error
        finally:
            for answer in self._answers:
                answer.add_done_callback(ignore_result)
            self._answers = []

    @abstractmethod
    async def _commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None: ...

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        """Hand all records to the producer, then wait for every answer.

        After a refusal by the brokers the numbers of the batches have a gap, and the producer is of
        no more use.
        """
        refused: dict[int, BaseException] = {}
        for index, record in enumerate(records):
            # aiokafka asserts a key or a value; a tombstone without a key has neither.
            value = b"" if record.key is None and record.value is None else record.value
            try:
                answer = await self.producer.send(
                    record.topic, value, key=record.key, headers=list(record.headers)
                )
            except MessageSizeTooLargeError as error:
                refused[index] = error
            except (UnknownTopicOrPartitionError, TopicAuthorizationFailedError) as error:
                raise Aborted(f"{record.topic} cannot be written to: {error!r}.") from error
            else:
                self._answers.append(answer)
        if refused:
            raise _unpublishable(refused, is_session_lost=False)
        if self._answers:
            await asyncio.wait(self._answers)
        failures = {
            index: failure
            for index, answer in enumerate(self._answers)
            if (failure := answer.exception()) is not None
        }
        refused = {
            index: failure
            for index, failure in failures.items()
            if isinstance(failure, MessageSizeTooLargeError | RecordListTooLargeError)
        }
        # What came after a refused batch fails for the gap in the numbers, and says that instead.
        if len(refused) > 1 and self.refused_together is not None:
            self.refused_together()
            raise Broken(f"{len(refused)} records are too large, or are together: each goes alone.")
        if refused:
            raise _unpublishable(refused, is_session_lost=True)
        if failures:
            raise next(iter(failures.values()))


def _unpublishable(errors: Mapping[int, BaseException], *, is_session_lost: bool) -> Unpublishable:
    first = next(iter(errors.values()))
    return Unpublishable(
        f"{len(errors)} records are larger than the brokers take ({first}).",
        list(errors),
        is_session_lost=is_session_lost,
    )


@dataclass(kw_only=True, eq=False)
class TransactionalWriter(_Writer):
    """Exactly once: results and offset in one transaction.

    The transactional id belongs to the input partition: starting a producer with it fences the
    previous owner and settles its open transaction, so what is read as committed then is final.
    """

    _timed_out = "The brokers did not settle a transaction in time."
    _failed = "A transaction failed"

    group: str

    async def _commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        await self.producer.begin_transaction()
        try:
            # A failed send does not fail the transaction: committing it would lose the record.
            # The answers are awaited before the offset goes in, because brokers refuse records
            # while they add something to their transaction, and aiokafka tries again only after
            # 100 ms.
            await self._publish(records)
            if committed is not None:
                offset = OffsetAndMetadata(committed.offset, committed.metadata)
                await self.producer.send_offsets_to_transaction(
                    {KafkaPartition(*self.partition): offset}, self.group
                )
        except (Aborted, Unpublishable):
            await self.producer.abort_transaction()
            raise
        await self.producer.commit_transaction()


@dataclass(kw_only=True, eq=False)
class AtLeastOnceWriter(_Writer):
    """At least once: results first, then the offset, with the generation of the group.

    So a member that was taken for dead cannot move the offset; what it published stays published.
    """

    _timed_out = "The brokers did not take a commit in time."
    _failed = "A commit failed"

    commit_offset: Callable[[TopicPartition, Committed], Awaitable[None]]

    async def _commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        await self._publish(records)
        if committed is not None:
            await self.commit_offset(self.partition, committed)


@dataclass(eq=False)
class KafkaBrokers:
    """Makes the engine's clients, which connect when they are started; `wrap` goes around writers.

    Exactly once needs brokers with transactions: `delivery_in_force` finds out.
    """

    kafka: KafkaSettings
    stream: StreamSettings
    topics: TopicSettings
    delivery: Delivery
    _: KW_ONLY
    wrap: Callable[[PartitionWriter], PartitionWriter] = lambda writer: writer
    _refused_together: set[TopicPartition] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._clients = cycle([SharedClient(self.kafka) for _ in range(_CONNECTIONS)])

    @property
    def starts_at_end(self) -> bool:
        return self.kafka.auto_offset_reset == "latest"

    def consumer(
        self, group: str, topics: Sequence[str], *, pattern: str | None = None, asks: str = ""
    ) -> KafkaConsumer:
        return KafkaConsumer(
            self.kafka,
            self.stream,
            group,
            topics,
            pattern=pattern,
            max_record_bytes=self.topics.max_message_bytes,
            asks=asks,
        )

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> PartitionWriter:
        if self.delivery == "exactly_once":
            return self.transactional_session(group, partition)
        if not isinstance(consumer, KafkaConsumer):
            raise TypeError("the consumer is of other brokers")
        options, refused_together = self._options(partition)
        # Not idempotent: brokers without transactions need not know idempotent producers either,
        # and each partition has one request in flight, so the order holds.
        producer = AIOKafkaProducer(**options, acks="all")
        next(self._clients).lend(producer)
        return self.wrap(
            AtLeastOnceWriter(
                producer=producer,
                partition=partition,
                limit=self.stream.transaction_timeout,
                refused_together=refused_together,
                commit_offset=consumer.commit,
            )
        )

    def transactional_session(self, group: str, partition: TopicPartition) -> PartitionWriter:
        """One that needs no member of the group: starting it is enough to fence the last owner."""
        limit = self.stream.transaction_timeout
        options, refused_together = self._options(partition)
        producer = AIOKafkaProducer(
            **options,
            transactional_id=f"{group}-{partition.topic}-{partition.partition}",
            transaction_timeout_ms=round(limit * 1000),
        )
        next(self._clients).lend(producer)
        return self.wrap(
            TransactionalWriter(
                producer=producer,
                partition=partition,
                limit=limit,
                refused_together=refused_together,
                group=group,
            )
        )

    def _options(
        self, partition: TopicPartition
    ) -> tuple[dict[str, Any], Callable[[], None] | None]:
        compression = self.kafka.compression
        options = client_options(self.kafka) | {
            "compression_type": None if compression == "none" else compression,
            "max_request_size": self.topics.max_message_bytes,
        }
        if partition in self._refused_together:
            self._refused_together.discard(partition)
            return options | {"max_batch_size": _ONE_RECORD}, None
        return options, partial(self._refused_together.add, partition)

    def reader(self, group: str) -> OffsetReader:
        return KafkaOffsets(self.kafka, group)


class ProbeFailed(PipelineError):
    """Whether the brokers take transactions could not be found out."""


@dataclass(frozen=True, slots=True)
class DeliveryInForce:
    """The guarantee that holds, which may be less than the one that is set; why, in a sentence."""

    mode: Delivery
    because: str


async def delivery_in_force(settings: Settings) -> DeliveryInForce:
    """Find out whether the brokers do transactions, if the settings ask for them.

    Raises:
        ConnectionFailed: No broker lets us in.
        ProbeFailed: They should, and did not in time: a weaker guarantee is never an accident.
    """
    if settings.delivery == "at_least_once":
        await check_connection(settings.kafka)
        return DeliveryInForce("at_least_once", "the setting delivery says so.")
    refusal = await why_no_transactions(settings)
    if refusal is None:
        return DeliveryInForce("exactly_once", "the brokers take transactions.")
    return DeliveryInForce("at_least_once", f"the brokers take no transactions ({refusal}).")


async def why_no_transactions(settings: Settings) -> str | None:
    """Why no transactional producer can start; None where one can; raises as `delivery_in_force`.

    It starts one under an id of its own, which disturbs no other.
    """
    async with bare_client(settings.kafka) as client:
        response = await patiently(
            lambda: client.send(client.get_random_node(), ApiVersionRequest())
        )
    offered = {key for key, *_ in response.api_versions}
    missing = [name for key, name in _APIS_OF_TRANSACTIONS.items() if key not in offered]
    if missing:
        return f"they do not offer {', '.join(missing)}"
    try:
        async with (
            asyncio.timeout(_PROBE_WITHIN),
            producer_client(
                settings.kafka,
                transactional_id=f"{settings.kafka.group_prefix}probe",
                transaction_timeout_ms=round(settings.stream.transaction_timeout * 1000),
            ),
        ):
            return None
    except NotPermitted as error:
        return f"they do not allow them: {error}"
    except (TimeoutError, RequestFailed) as error:
        why = f"none within {_PROBE_WITHIN:g} s" if isinstance(error, TimeoutError) else str(error)
        raise ProbeFailed(
            f"The brokers offer transactions but did not start one ({why}): look at their topic "
            "__transaction_state, or set delivery to at_least_once."
        ) from error
