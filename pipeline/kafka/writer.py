"""Publishing from outside the engine: raw events, and what commands commit in transactions.

A partition of the engine retries its own commits (`pipeline.stream.partition_worker`), because its
records go on running meanwhile; everything else commits with `commit_with_retry`.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, explain, producer_client
from pipeline.kafka.topics import Topics
from pipeline.model.errors import PipelineError
from pipeline.stream.protocols import (
    Aborted,
    BrokersUnavailable,
    Committed,
    Fenced,
    PartitionWriter,
)
from pipeline.stream.records import Outgoing

_LINGER_MS = 5
_BATCH_BYTES = 256 << 10
_ATTEMPTS = 6
_RETRY_FIRST = 0.2
"""Seconds before the second attempt to commit; each further one waits twice as long."""


class ProducerFenced(PipelineError):
    """Another process does the same by now; what this one committed until then holds."""


async def commit_with_retry(
    session: PartitionWriter,
    records: Sequence[Outgoing],
    committed: Committed | None,
    *,
    if_fenced: str,
) -> None:
    """Commit records, and an offset if there is one; again while the brokers abort it.

    Raises:
        ProducerFenced: The session has another owner, as `if_fenced` says; nothing was committed.
        BrokersUnavailable: They aborted every attempt; nothing was committed.
        Unpublishable: They will never take some of the records; nothing was committed.
        BrokerError: Whether it was committed is not known.
    """
    for attempt in range(_ATTEMPTS):
        try:
            await session.commit(records, committed)
        except Fenced as error:
            raise ProducerFenced(if_fenced) from error
        except Aborted as error:
            if attempt == _ATTEMPTS - 1:
                raise BrokersUnavailable(f"The brokers take nothing: {error}") from error
            await asyncio.sleep(_RETRY_FIRST * 2**attempt)
        else:
            return


class WriteFailed(PipelineError):
    """A record was not published; those before it that were not confirmed may have been."""


@dataclass(eq=False)
class Writer:
    """Publishes raw events, each once however often a request is repeated, with a bound in flight.

    Leaving it waits until every record is confirmed. A record of more than `max_record_bytes` is
    refused here already, one of more than `max_in_flight_bytes` goes alone.
    """

    kafka: KafkaSettings
    _: KW_ONLY
    max_record_bytes: int
    max_in_flight: int = 1000
    max_in_flight_bytes: int = 32 << 20
    on_published: Callable[[Outgoing], None] = lambda _: None
    published: int = field(default=0, init=False)
    _resources: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    _producer: AIOKafkaProducer | None = field(default=None, init=False)
    _known: set[str] = field(default_factory=set, init=False)
    _in_flight: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)
    _failure: PipelineError | None = field(default=None, init=False)
    _settled: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def write(self, record: Outgoing) -> None:
        """Send a record, once there is room in flight.

        Raises `TopicMissing`, or `WriteFailed` where it or an earlier one is not confirmed.
        """
        if self._producer is None:
            raise RuntimeError("a writer is entered before it is used")
        if record.key is None and record.value is None:
            raise WriteFailed(f"A record for {record.topic} has neither a key nor a value.")
        if record.topic not in self._known:
            async with admin_client(self.kafka) as admin:
                await Topics(admin).require([record.topic])
            self._known.add(record.topic)
        size = len(record.key or b"") + len(record.value or b"")
        await self._until(
            lambda: (
                self._in_flight == 0
                or (
                    self._in_flight < self.max_in_flight
                    and self._bytes + size <= self.max_in_flight_bytes
                )
            )
        )
        try:
            confirmed = await self._producer.send(
                record.topic, record.value, record.key, headers=list(record.headers)
            )
        except KafkaError as error:
            raise self._explained(record, error) from error
        self._in_flight += 1
        self._bytes += size
        confirmed.add_done_callback(partial(self._on_settled, record, size))

    async def flush(self) -> None:
        await self._until(lambda: self._in_flight == 0)

    async def __aenter__(self) -> Self:
        compression = self.kafka.compression
        self._producer = await self._resources.enter_async_context(
            producer_client(
                self.kafka,
                enable_idempotence=True,
                compression_type=None if compression == "none" else compression,
                linger_ms=_LINGER_MS,
                max_batch_size=_BATCH_BYTES,
                max_request_size=self.max_record_bytes,
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async with self._resources:
            if kind is None:
                await self.flush()

    async def _until(self, condition: Callable[[], bool]) -> None:
        patience = self.kafka.request_timeout
        while self._failure is None and not condition():
            self._settled.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._settled.wait()
            except TimeoutError:
                raise WriteFailed(
                    f"No broker has confirmed a record for {patience:g} s: look at the brokers at "
                    f"{self.kafka.bootstrap_servers}; {self._in_flight} records are in doubt."
                ) from None
        if self._failure is not None:
            raise self._failure

    def _on_settled(self, record: Outgoing, size: int, confirmed: asyncio.Future[Any]) -> None:
        self._in_flight -= 1
        self._bytes -= size
        error = asyncio.CancelledError() if confirmed.cancelled() else confirmed.exception()
        if error is None:
            self.published += 1
            self.on_published(record)
        else:
            self._failure = self._failure or self._explained(record, error)
        self._settled.set()

    def _explained(self, record: Outgoing, error: BaseException) -> PipelineError:
        if isinstance(error, MessageSizeTooLargeError):
            return WriteFailed(
                f"A record of {len(record.value or b'')} bytes is too large for {record.topic}: "
                "raise topics.max_message_bytes and the max.message.bytes of the topic, or refer "
                "to the content by `uri`."
            )
        if isinstance(error, KafkaError):
            return explain(error, self.kafka)
        # aiokafka's background task ended over a fault of its own.
        return WriteFailed(
            f"A record for {record.topic} was not confirmed, because the client gave up "
            f"({error!r}): look at what the topic holds, then publish the rest again."
        )
