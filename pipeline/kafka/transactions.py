"""Publishing and committing over aiokafka: exactly once, or at least once."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata

from pipeline.kafka.consumer import KafkaConsumer
from pipeline.stream.ledger import MAX_CHARACTERS
from pipeline.stream.protocols import (
    Aborted,
    Broken,
    BrokerError,
    BrokersUnavailable,
    Committed,
    Fenced,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Outgoing

_START_LIMIT = 30.0
"""Seconds that a producer may take to be ready before that is tried again."""
_CLOSE_LIMIT = 2.0
"""Seconds that a producer may take to stop before it is abandoned."""
_ABANDON_STEP = 0.1
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
The rest are faults of its own, which end that task and are handed to whoever waits next: they cost
the session, and must not cost the other partitions theirs."""
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class TransactionalWriter:
    """Exactly once: results and offset in one transaction.

    The transactional id belongs to the input partition. Starting a producer with it fences the
    partition's previous owner and settles its open transaction, so that what is read as
    committed afterwards is final.

    Args:
        producer: With a transactional id, not started.
        group: The consumer group whose offset is committed.
        partition: The input partition.
        limit: Seconds that one transaction may take.
        refused_together: Called where the brokers refuse several records, which may be too large
            only in one batch: the next session is to send each alone. None if this one does.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        group: str,
        partition: TopicPartition,
        *,
        limit: float,
        refused_together: Callable[[], None] | None = None,
    ) -> None:
        self._refused_together = refused_together
        self._producer = producer
        self._group = group
        self._partition = partition
        self._limit = limit

    async def start(self) -> None:
        """Fence whoever had the partition before."""
        await _start(self._producer)

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """One transaction, from its first record to its end."""
        _check(committed)
        batch = _Batch(self._producer, self._refused_together)
        try:
            async with asyncio.timeout(self._limit):
                await self._transact(batch, records, committed)
        except TimeoutError:
            raise Broken("The brokers did not settle a transaction in time.") from None
        except ProducerFenced:
            raise Fenced(f"{self._partition} has another owner, or took too long.") from None
        except _FAULTS as error:
            raise Broken(f"A transaction failed: {error!r}.") from error
        finally:
            batch.forget()

    async def close(self) -> None:
        """Let go of the producer. An open transaction is settled by the next owner."""
        await _close(self._producer)

    async def _transact(
        self, batch: "_Batch", records: Sequence[Outgoing], committed: Committed | None
    ) -> None:
        await self._producer.begin_transaction()
        try:
            await batch.send(records)
            # A failed send does not fail the transaction: committing it would lose the record.
            # The answers are awaited before the offset goes in, because brokers refuse records
            # while they add something to their transaction, and aiokafka tries again only after
            # 100 ms.
            await batch.settle()
            if committed is not None:
                offset = OffsetAndMetadata(committed.offset, committed.metadata)
                await self._producer.send_offsets_to_transaction(
                    {KafkaPartition(*self._partition): offset}, self._group
                )
        except (Aborted, Unpublishable):
            await self._producer.abort_transaction()
            raise
        await self._producer.commit_transaction()


class AtLeastOnceWriter:
    """At least once: results first, then the offset.

    The commit carries the generation of the group, so a member that was taken for dead cannot
    move the offset; what it published before stays published.

    Args:
        producer: Not started.
        consumer: Whose group the offset belongs to.
        partition: The input partition.
        limit: Seconds that publishing, and then committing, may take.
        refused_together: As of `TransactionalWriter`.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        consumer: KafkaConsumer,
        partition: TopicPartition,
        *,
        limit: float,
        refused_together: Callable[[], None] | None = None,
    ) -> None:
        self._refused_together = refused_together
        self._producer = producer
        self._consumer = consumer
        self._partition = partition
        self._limit = limit

    async def start(self) -> None:
        """Connect."""
        await _start(self._producer)

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """Publish, wait for every answer, commit."""
        _check(committed)
        batch = _Batch(self._producer, self._refused_together)
        try:
            async with asyncio.timeout(self._limit):
                await batch.send(records)
                await batch.settle()
                if committed is not None:
                    await self._consumer.commit(self._partition, committed)
        except TimeoutError:
            raise Broken("The brokers did not take a commit in time.") from None
        except _FAULTS as error:
            raise Broken(f"A commit failed: {error!r}.") from error
        finally:
            batch.forget()

    async def close(self) -> None:
        """Let go of the producer."""
        await _close(self._producer)


class _Batch:
    """The records of one commit, each with its answer."""

    def __init__(
        self, producer: AIOKafkaProducer, refused_together: Callable[[], None] | None
    ) -> None:
        self._producer = producer
        self._refused_together = refused_together
        self._answers: list[asyncio.Future[object]] = []

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Hand all to the producer.

        Raises:
            Unpublishable: Some are larger than the producer may send; the others were sent.
            Aborted: Their topic cannot be written to, or not yet.
        """
        refused: dict[int, KafkaError] = {}
        for index, record in enumerate(records):
            # aiokafka asserts a key or a value; a tombstone without a key has neither.
            value = b"" if record.key is None and record.value is None else record.value
            try:
                answer = await self._producer.send(
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

    async def settle(self) -> None:
        """Wait for every answer.

        Raises:
            Unpublishable: The brokers refused some for their size. The numbers of the batches
                have a gap then, so the producer is of no more use.
            Broken: They refused several, which are not known to be too large one by one.
            KafkaError: The first other error.
        """
        if not self._answers:
            return
        await asyncio.wait(self._answers)
        errors = {
            index: error
            for index, answer in enumerate(self._answers)
            if (error := answer.exception()) is not None
        }
        refused = {index: error for index, error in errors.items() if isinstance(error, _TOO_LARGE)}
        # What came after a refused batch fails for the gap in the numbers, and says that instead.
        if len(refused) > 1 and self._refused_together is not None:
            self._refused_together()
            raise Broken(f"{len(refused)} records are too large, or are together: each goes alone.")
        if refused:
            raise _unpublishable(refused, is_session_lost=True)
        for error in errors.values():
            raise error

    def forget(self) -> None:
        """Nobody will look at the answers any more."""
        for answer in self._answers:
            answer.add_done_callback(_look_away)


def _look_away(answer: asyncio.Future[object]) -> None:
    if not answer.cancelled():
        answer.exception()


def _unpublishable(errors: Mapping[int, BaseException], *, is_session_lost: bool) -> Unpublishable:
    first = next(iter(errors.values()))
    return Unpublishable(
        f"{len(errors)} records are larger than the brokers take ({first}).",
        list(errors),
        is_session_lost=is_session_lost,
    )


def _check(committed: Committed | None) -> None:
    # The brokers' answer to it would kill the producer.
    if committed is not None and len(committed.metadata) > MAX_CHARACTERS:
        raise ValueError(f"commit metadata of {len(committed.metadata)} characters")


async def _start(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(_START_LIMIT):
            await producer.start()
    except (TimeoutError, KafkaConnectionError) as error:
        raise BrokersUnavailable(f"The brokers do not let a producer start ({error!r}).") from error
    except KafkaError as error:
        raise BrokerError(f"The brokers refuse a producer: {error!r}.") from error


async def _close(producer: AIOKafkaProducer) -> None:
    """Stop a producer, whatever state it is in."""
    _look_away_from_batches(producer)
    stopping = asyncio.create_task(producer.stop())
    try:
        await asyncio.wait({stopping}, timeout=_CLOSE_LIMIT)
    finally:
        stopping.cancel()
    await asyncio.wait({stopping})
    if stopping.cancelled() or stopping.exception() is not None:
        # It waits until every batch is delivered, which may be never. Or a background task of
        # its own had failed, and says so once more, with any error there is: after a fencing
        # they trip over their own state.
        await _abandon(producer)
    transactions = producer._txn_manager  # noqa: SLF001 - there is no public way
    ending = None if transactions is None else transactions.wait_for_transaction_end()
    if ending is not None:
        ending.add_done_callback(_look_away)


def _look_away_from_batches(producer: AIOKafkaProducer) -> None:
    """What waits for a batch that is not sent any more would be logged as an unseen error."""
    accumulator = producer._message_accumulator  # noqa: SLF001 - there is no public way
    waiting = [*chain(*accumulator._batches.values()), *accumulator._pending_batches]  # noqa: SLF001
    for batch in waiting:
        batch._drain_waiter.add_done_callback(_look_away)  # noqa: SLF001


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End what `stop` waits for; there is no public way."""
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001
    sender = producer._sender.sender_task  # noqa: SLF001
    while sender is not None and not sender.done():
        # Cancelled once it waits for its own tasks; cancelled again it gives up on them.
        sender.cancel()
        await asyncio.wait([sender], timeout=_ABANDON_STEP)
    await producer.client.close()
