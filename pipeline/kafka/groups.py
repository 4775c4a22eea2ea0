"""A consumer group from outside: who is in it, what it committed, and moving that.

Nothing is moved while the group has members. The coordinator refuses it; and before anything is
read, the partitions' former owners are fenced, since one that was frozen and thaws could commit
what it had under way, over what was moved.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipeline.config import Settings
from pipeline.kafka.brokers import KafkaBrokers, delivery_in_force
from pipeline.kafka.connection import admin_client, explain, patiently
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.kafka.topics import Subscription, Topics
from pipeline.stream.protocols import BrokerError, Committed, LogBounds, TopicPartition


@asynccontextmanager
async def open_group(settings: Settings, name: str) -> AsyncIterator["KafkaGroup"]:
    """Connect, for one group; raises as `admin_client`."""
    kafka = settings.kafka
    async with admin_client(kafka) as admin, AsyncExitStack() as resources:
        offsets = KafkaOffsets(kafka, name)
        resources.push_async_callback(offsets.close)
        try:
            await offsets.start()
            yield KafkaGroup(settings, name, admin, offsets)
        except BrokerError as error:
            if isinstance(error.__cause__, KafkaError):
                raise explain(error.__cause__, kafka) from error
            raise


@dataclass(eq=False)
class KafkaGroup:
    """What is committed for the group `name`; made by `open_group`."""

    settings: Settings
    name: str
    admin: AIOKafkaAdminClient
    offsets: KafkaOffsets

    @property
    def cluster(self) -> str:
        return self.offsets.cluster

    async def members(self) -> int:
        [response] = await patiently(lambda: self.admin.describe_consumer_groups([self.name]))
        [described] = response.to_object()["groups"]
        return len(described["members"])

    async def partitions(self, read: Subscription) -> Sequence[TopicPartition]:
        """`TopicMissing` if there is no such topic."""
        return [TopicPartition(*each) for each in await Topics(self.admin).partitions(read)]

    async def committed(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed | None]:
        """As of now: what is open may still change it, unless the partitions were fenced."""
        return await self.offsets.committed_now(partitions)

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        return await self.offsets.bounds(partition)

    async def offset_since(self, partition: TopicPartition, moment: float) -> int | None:
        """The first offset whose timestamp is then or later, in seconds since the epoch, if any."""
        return await self.offsets.offset_since(partition, moment)

    async def fence(self, partitions: Sequence[TopicPartition]) -> None:
        """Nobody who served these can commit any more, and what they had open is settled.

        With at-least-once delivery the group's generation keeps them out.
        """
        delivery = (await delivery_in_force(self.settings)).mode
        if delivery != "exactly_once":
            return
        settings = self.settings
        brokers = KafkaBrokers(settings.kafka, settings.stream, settings.topics, delivery)
        for partition in partitions:
            session = brokers.transactional_session(self.name, partition)
            try:
                await session.start()
                # Waits until what was open is settled.
                await self.offsets.committed(partition)
            finally:
                await session.close()

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit all of these; `BrokerError` where the group has members."""
        await self.offsets.commit(offsets)
