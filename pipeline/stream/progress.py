"""How far consumer groups have come, seen from outside: what all their members got done."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipeline.settings import KafkaSettings
from pipeline.stream.connection import admin_client, patiently
from pipeline.stream.connection_errors import explain
from pipeline.stream.lag import group_offsets
from pipeline.stream.topics import Topics

Offsets = Mapping[TopicPartition, int]
"""The committed offset of each partition that has one."""


def events_between(earlier: Offsets, later: Offsets) -> int:
    """Events that were done between two looks. Pure.

    A partition that is new is not counted until the next look, and one that was set back is not
    counted as less than nothing.
    """
    return sum(
        max(0, offset - earlier[partition])
        for partition, offset in later.items()
        if partition in earlier
    )


class ProgressReader:
    """Looks at committed offsets, over a connection that it keeps; entered with `async with`.

    Args:
        kafka: How the brokers are reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._resources = AsyncExitStack()
        self._admin: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectionFailed: No broker let us in.
        """
        self._admin = await self._resources.enter_async_context(admin_client(self._kafka))
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        await self._resources.aclose()

    async def committed(self, group: str, topics: Sequence[str]) -> Offsets:
        """How far `group` has come in `topics`.

        Raises:
            TopicMissing: A topic does not exist.
            ConnectionFailed, NotPermitted, RequestFailed: The brokers do not answer, or refuse.
        """
        if self._admin is None:
            raise RuntimeError("a progress reader is entered before it is used")
        admin = self._admin
        try:
            partitions = await Topics(admin).partitions(topics)
            found = await patiently(partial(group_offsets, admin, group, partitions))
        except KafkaError as error:
            raise explain(error, self._kafka) from error
        return {partition: each.offset for partition, each in found.items() if each.offset >= 0}

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            TopicMissing: It does not exist.
            ConnectionFailed, NotPermitted, RequestFailed: The brokers do not answer, or refuse.
        """
        if self._admin is None:
            raise RuntimeError("a progress reader is entered before it is used")
        try:
            return len(await Topics(self._admin).partitions([topic]))
        except KafkaError as error:
            raise explain(error, self._kafka) from error
