"""What a cluster looks like from here, for `pipeline doctor`: brokers, topics, groups, permissions.

Everything is only read. What a broker does not tell, because it is too old or does not want to, is
None or missing, and is never taken for a fault.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

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
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from pipeline.settings import KafkaSettings
from pipeline.stream.brokers import BrokerError, Committed, LogBounds, TopicPartition
from pipeline.stream.connection import admin_client, bare_client, patiently
from pipeline.stream.kafka.offsets import KafkaOffsets

OPERATIONS: Mapping[int, str] = {3: "Read", 4: "Write", 5: "Create", 8: "Describe"}
"""Those that the pipeline may need, by Kafka's own numbers."""
_NOT_TOLD = -(1 << 31)
_TOPIC_CONFIGS = ("cleanup.policy", "max.message.bytes", "min.insync.replicas", "retention.ms")
_BROKER_CONFIGS = ("default.replication.factor", "socket.request.max.bytes")


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
) -> list[Progress]:
    """How far a group is in a topic; what cannot be read is left out.

    Args:
        kafka: How brokers are reached.
        group: Which.
        topic: What it reads.
        now: Seconds since the epoch.
        future: Seconds since the epoch from which on a timestamp cannot be right.
    """
    found = []
    retention = topic.number("retention.ms")
    reader = KafkaOffsets(kafka, group)
    try:
        await reader.start()
        for number in range(topic.partitions):
            partition = TopicPartition(topic.name, number)
            with suppress(BrokerError):
                found.append(
                    Progress(
                        partition,
                        await reader.committed(partition),
                        await reader.bounds(partition),
                        await reader.offset_since(partition, future) is not None,
                        None
                        if retention is None or retention < 0
                        else await reader.offset_since(partition, now - retention / 2000),
                    )
                )
    except BrokerError:
        return found
    finally:
        await reader.close()
    return found


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
    if missing and version == _MetadataRequestV8.API_VERSION:
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
    request = _MetadataRequest(names)
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


class _MetadataResponseV8(Response):  # type: ignore[misc] # aiokafka has no types
    """Metadata v8, the first version that says what we may do with a topic."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequestV8(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponseV8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[MetadataRequest_v4 | MetadataRequest_v5 | _MetadataRequestV8]):  # type: ignore[misc] # aiokafka has no types
    """Metadata of some topics or, with None, of all; none is made by asking."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: Sequence[str] | None) -> None:
        self._topics = None if topics is None else list(topics)

    def build(self, version: type[Any]) -> RequestStruct:
        if version is _MetadataRequestV8:
            return version(self._topics, False, False, True)
        return version(self._topics, False)
