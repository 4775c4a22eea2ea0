"""What a cluster looks like from here: brokers, topics, groups and how far they have come.

What a cluster looks like from here, for `pipeline doctor`: brokers, topics, groups, permissions.

Everything is only read. What a broker does not tell, because it is too old or does not want to, is
None or missing, and is never taken for a fault.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    NoError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, bare_client, patiently
from pipeline.kafka.offsets import KafkaOffsets, TopicsRequest, TopicsRequestV8
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    Committed,
    LogBounds,
    TopicPartition,
)


@dataclass(frozen=True, slots=True)
class BrokerAt:
    """A broker, and where it says that clients reach it."""

    node: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """A topic.

    Args:
        partitions: How many.
        replicas: Of the partition that has fewest.
        in_sync: Replicas that are in sync, of the partition that has fewest.
        may: What we may do with it; None where the broker does not tell.
        configs: By Kafka's own names.
    """

    name: str
    partitions: int
    replicas: int
    in_sync: int
    may: frozenset[str] | None = None
    configs: Mapping[str, str] = field(default_factory=dict)

    def number(self, config: str) -> int | None:
        """A configuration that is a number; None where it is not told."""
        value = self.configs.get(config)
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group; `topics` is what it subscribed to."""

    client_id: str
    host: str
    topics: frozenset[str]


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A consumer group.

    Args:
        kind: Its protocol; empty while it has no member.
        may: What we may do with it; None where the broker does not tell.
        is_forbidden: We may not even look at it.
    """

    name: str
    kind: str = ""
    members: Sequence[Member] = ()
    may: frozenset[str] | None = None
    is_forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group is in a partition.

    Args:
        from_the_future: Whether there is a record whose timestamp is yet to come.
        half_expired: The offset below which all records have half of their retention behind them;
            None where that is all of them, or retention has no end.
    """

    partition: TopicPartition
    committed: Committed | None
    bounds: LogBounds
    from_the_future: bool = False
    half_expired: int | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was seen.

    Args:
        topics: Those of ours that exist and that we may see.
        forbidden: Those that we may not see; the brokers do not say whether they exist.
        configs: Of one broker, by Kafka's own names.
    """

    brokers: Sequence[BrokerAt]
    topics: Mapping[str, TopicSeen]
    forbidden: frozenset[str] = frozenset()
    groups: Mapping[str, GroupSeen] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)


OPERATIONS: Mapping[int, str] = {3: "Read", 4: "Write", 5: "Create", 8: "Describe"}
"""Those that the pipeline may need, by Kafka's own numbers."""
_NOT_TOLD = -(1 << 31)
_PATIENCE = 10.0
_RETRY = 0.1
"""Seconds."""
_TOPIC_CONFIGS = ("cleanup.policy", "max.message.bytes", "min.insync.replicas", "retention.ms")
_BROKER_CONFIGS = ("default.replication.factor", "socket.request.max.bytes")


async def inspect(
    kafka: KafkaSettings, topics: Collection[str], groups: Collection[str]
) -> Cluster:
    """Look at the cluster, and at these topics and groups.

    Raises:
        ConnectionFailed: No broker lets us in.
        RequestFailed: They let us in and do not answer.
    """
    async with bare_client(kafka) as client:
        brokers, seen, forbidden = await _metadata(client, topics)
    async with admin_client(kafka) as admin:
        configs = await _configs(admin, ConfigResourceType.TOPIC, list(seen), _TOPIC_CONFIGS)
        node = str(brokers[0].node)
        own = await _configs(admin, ConfigResourceType.BROKER, [node], _BROKER_CONFIGS)
        found = [await _group(admin, group) for group in groups]
    return Cluster(
        brokers=brokers,
        topics={
            name: TopicSeen(
                *(topic.name, topic.partitions, topic.replicas, topic.in_sync, topic.may),
                configs.get(name, {}),
            )
            for name, topic in seen.items()
        },
        forbidden=forbidden,
        groups={group.name: group for group in found},
        configs=own.get(node, {}),
    )


async def progress_of(
    kafka: KafkaSettings, group: str, topic: TopicSeen, *, now: float, future: float
) -> tuple[list[Progress], list[BrokersUnavailable]]:
    """How far a group is in a topic, and what was not told although it was asked again.

    What is not permitted is left out of both.

    Args:
        kafka: How brokers are reached.
        group: Which.
        topic: What it reads.
        now: Seconds since the epoch.
        future: Seconds since the epoch from which on a timestamp cannot be right.
    """
    found: list[Progress] = []
    untold: list[BrokersUnavailable] = []
    retention = topic.number("retention.ms")
    half_expired = None if retention is None or retention < 0 else now - retention / 2000
    reader = KafkaOffsets(kafka, group)
    try:
        await reader.start()
        for number in range(topic.partitions):
            look = partial(_progress, reader, TopicPartition(topic.name, number))
            try:
                found.append(await _again(partial(look, future, half_expired)))
            except BrokersUnavailable as error:
                untold.append(error)
            except BrokerError:
                continue
    except BrokersUnavailable as error:
        untold.append(error)
    finally:
        await reader.close()
    return found, untold


async def _progress(
    reader: KafkaOffsets, partition: TopicPartition, future: float, half_expired: float | None
) -> Progress:
    return Progress(
        partition,
        await reader.committed(partition),
        await reader.bounds(partition),
        await reader.offset_since(partition, future) is not None,
        None if half_expired is None else await reader.offset_since(partition, half_expired),
    )


async def _again(look: Callable[[], Awaitable[Progress]]) -> Progress:
    """Look until it works, for `_PATIENCE`: a leader may be about to be chosen."""
    now = asyncio.get_running_loop().time
    give_up = now() + _PATIENCE
    while True:
        try:
            return await look()
        except BrokersUnavailable:
            if now() > give_up:
                raise
        await asyncio.sleep(_RETRY)


async def _metadata(
    client: AIOKafkaClient, names: Collection[str]
) -> tuple[list[BrokerAt], dict[str, TopicSeen], frozenset[str]]:
    """The brokers, and those of the topics that exist.

    Some brokers make a topic that is asked for by name, so all are asked for first.
    """
    told, version = await _ask(client, None)
    brokers = [BrokerAt(each["node_id"], each["host"], each["port"]) for each in told["brokers"]]
    topics = {
        topic["topic"]: topic
        for topic in told["topics"]
        if topic["topic"] in names and for_code(topic["error_code"]) is NoError
    }
    missing = [name for name in names if name not in topics]
    forbidden: set[str] = set()
    if missing and version == TopicsRequestV8.API_VERSION:
        told, _ = await _ask(client, missing)
        forbidden = {
            topic["topic"]
            for topic in told["topics"]
            if for_code(topic["error_code"]) is TopicAuthorizationFailedError
        }
    return brokers, {name: _seen(topic) for name, topic in topics.items()}, frozenset(forbidden)


async def _ask(
    client: AIOKafkaClient, names: Sequence[str] | None
) -> tuple[Mapping[str, Any], int]:
    request = TopicsRequest(names)
    response = await patiently(lambda: client.send(client.get_random_node(), request))
    return response.to_object(), response.API_VERSION


def _seen(topic: Mapping[str, Any]) -> TopicSeen:
    partitions = topic["partitions"]
    return TopicSeen(
        name=topic["topic"],
        partitions=len(partitions),
        replicas=min((len(each["replicas"]) for each in partitions), default=0),
        in_sync=min((len(each["isr"]) for each in partitions), default=0),
        may=_may(topic.get("authorized_operations", _NOT_TOLD)),
    )


def _may(bits: int) -> frozenset[str] | None:
    if bits == _NOT_TOLD:
        return None
    return frozenset(name for number, name in OPERATIONS.items() if bits & (1 << number))


async def _configs(
    admin: AIOKafkaAdminClient, kind: ConfigResourceType, names: Iterable[str], keys: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Configurations by resource; one that we may not see is left out."""
    resources = [ConfigResource(kind, name, dict.fromkeys(keys)) for name in names]
    if not resources:
        return {}
    try:
        responses = await patiently(lambda: admin.describe_configs(resources))
    except KafkaError:
        return {}
    return {
        name: {key: value for key, value, *_ in entries if key in keys and value not in {None, ""}}
        for response in responses
        for code, _, _, name, entries in response.resources
        if for_code(code) is NoError
    }


async def _group(admin: AIOKafkaAdminClient, name: str) -> GroupSeen:
    try:
        try:
            [response] = await patiently(
                lambda: admin.describe_consumer_groups(
                    [name], None, include_authorized_operations=True
                )
            )
        except (IncompatibleBrokerVersion, UnknownTopicOrPartitionError):
            [response] = await patiently(lambda: admin.describe_consumer_groups([name]))
    except GroupAuthorizationFailedError:
        return GroupSeen(name, is_forbidden=True)
    except KafkaError:
        return GroupSeen(name)
    [told] = response.to_object()["groups"]
    return GroupSeen(
        name,
        kind=told["protocol_type"],
        members=tuple(
            Member(each["client_id"], each["client_host"], _topics(each["member_metadata"]))
            for each in told["members"]
        ),
        may=_may(told.get("authorized_operations", _NOT_TOLD)),
        is_forbidden=for_code(told["error_code"]) is GroupAuthorizationFailedError,
    )


def _topics(metadata: bytes) -> frozenset[str]:
    try:
        return frozenset(ConsumerProtocolMemberMetadata.decode(metadata).subscription)
    except (ValueError, TypeError, IndexError):
        return frozenset()
