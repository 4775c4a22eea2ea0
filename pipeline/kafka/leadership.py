"""One of several processes leads: the member of a consumer group that has partition 0 of a topic.

The coordinator gives a partition to one member at a time, and to another when that one dies. What
the leader keeps is metadata of the group's offset of that partition: a member that has lost the
partition meanwhile cannot commit, so a leader that was frozen does not overwrite what the next
one keeps. Nothing is consumed.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import consumer_client, explain
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.model.errors import PipelineError
from pipeline.stream.protocols import TopicPartition


class _Paused(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Nothing is fetched of what is assigned."""

    def __init__(self, client: AIOKafkaConsumer) -> None:
        self._client = client

    async def on_partitions_revoked(self, _: Collection[KafkaPartition]) -> None:
        """Nothing is under way."""

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        self._client.pause(*assigned)


class GroupLeadership:
    """Made by `open_leadership`."""

    def __init__(
        self, kafka: KafkaSettings, topic: str, client: AIOKafkaConsumer, offsets: KafkaOffsets
    ) -> None:
        self._kafka = kafka
        self._partition = KafkaPartition(topic, 0)
        self._client = client
        self._offsets = offsets

    async def note(self) -> str | None:
        """What the last leader kept; None where this process does not lead.

        To be called often: a member that does not for five minutes is taken for dead.
        """
        try:
            await self._client.getmany(timeout_ms=0)
        except KafkaError as error:
            raise explain(error, self._kafka) from error
        if self._partition not in self._client.assignment():
            return None
        partition = TopicPartition(*self._partition)
        committed = (await self._offsets.committed_now([partition]))[partition]
        return "" if committed is None else committed.metadata

    async def keep(self, note: str) -> None:
        """Raises `PipelineError` where another process leads, or the brokers do not take it."""
        try:
            ends = await self._client.end_offsets([self._partition])
            offset = OffsetAndMetadata(ends[self._partition], note)
            await self._client.commit({self._partition: offset})
        except (KafkaError, ValueError) as error:
            raise PipelineError(
                f"What was notified of cannot be kept ({type(error).__name__}): another process "
                "leads by now, or look at the brokers. One notification may come twice."
            ) from error


@asynccontextmanager
async def open_leadership(
    kafka: KafkaSettings, group: str, topic: str
) -> AsyncIterator[GroupLeadership]:
    """Be a member of the group, for as long as the context lasts; raises as `admin_client`."""
    async with consumer_client(
        kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="latest",
        session_timeout_ms=round(kafka.session_timeout * 1000),
        heartbeat_interval_ms=round(kafka.heartbeat_interval * 1000),
    ) as client:
        client.subscribe([topic], listener=_Paused(client))
        offsets = KafkaOffsets(kafka, group)
        try:
            await offsets.start()
            yield GroupLeadership(kafka, topic, client, offsets)
        finally:
            await offsets.close()
