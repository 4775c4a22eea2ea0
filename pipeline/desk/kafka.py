"""What the desk needs of Kafka, so that tests can give it a broker in memory."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pipeline.config import Settings
from pipeline.desk.queue import FindPartitions
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import Topics
from pipeline.kafka.writer import Writer
from pipeline.operators.audit import AuditedCommand
from pipeline.operators.handled import IdempotentPublisher, open_publisher
from pipeline.operators.selection import topic_reader
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Outgoing

Publisher = Callable[[str, str, AuditedCommand], AbstractAsyncContextManager[IdempotentPublisher]]
"""Opens what publishes in the name of a command, about records of the first topic; the second has
the marks of those that are handled."""


class RecordWriter(Protocol):
    """Publishes what is harmless where it is there twice."""

    async def write(self, record: Outgoing) -> None:
        """Send a record, soon."""

    async def flush(self) -> None:
        """Return once all are taken; raises `PipelineError` where the brokers do not take them."""


@dataclass(frozen=True, slots=True)
class Kafka:
    """The topics that the desk reads, and what publishes there."""

    read: TopicReader
    existing: Callable[[], Awaitable[Collection[str]]]
    partitions: FindPartitions
    publisher: Publisher
    writer: Callable[[], AbstractAsyncContextManager[RecordWriter]]

    @classmethod
    def under(cls, settings: Settings, note: Callable[[str], None]) -> "Kafka":
        """The configured brokers; a weaker guarantee than exactly once is reported to `note`."""

        async def existing() -> Collection[str]:
            async with admin_client(settings.kafka) as admin:
                return await Topics(admin).existing()

        async def partitions(topics: Sequence[str]) -> Sequence[TopicPartition]:
            async with admin_client(settings.kafka) as admin:
                return await Topics(admin).partitions(topics)

        size = settings.topics.max_message_bytes
        return cls(
            topic_reader(settings),
            existing,
            partitions,
            partial(open_publisher, settings, note=note),
            partial(Writer, settings.kafka, max_record_bytes=size),
        )
