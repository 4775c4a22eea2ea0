"""What a cluster looks like from here, for `pipeline doctor`: brokers, topics, groups, limits.

Everything is only read. What a broker does not say, because it is too old or not asked, is None or
missing, and is never taken for a fault.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResourceType
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

from pipeline.config import KafkaSettings, Settings
from pipeline.kafka.assignor import asked_by
from pipeline.kafka.connection import admin_client, bare_client, patiently
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.kafka.topics import Subscription, describe_configs
from pipeline.stream.ledger import MAX_CHARACTERS
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    Committed,
    LogBounds,
    TopicPartition,
)

OPERATIONS: Mapping[int, str] = {3: "Read", 4: "Write", 5: "Create", 8: "Describe"}
"""Those that the pipeline may need, by Kafka's own numbers."""
_NOT_SAID = -(1 << 31)
_PATIENCE = 10.0
_RETRY = 0.1
"""Seconds."""
_TOPIC, _BROKER = ConfigResourceType.TOPIC, ConfigResourceType.BROKER
_TOPIC_CONFIGS = ("cleanup.policy", "max.message.bytes", "min.insync.replicas", "retention.ms")
_BROKER_LIMITS = (
    "offset.metadata.max.bytes",
    "transaction.max.timeout.ms",
    "group.min.session.timeout.ms",
    "group.max.session.timeout.ms",
)
_BROKER_CONFIGS = ("default.replication.factor", "socket.request.max.bytes", *_BROKER_LIMITS)


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
    """A topic, with the replicas of the partition that has fewest, and what we may do with it."""

    name: str
    partitions: int
    replicas: int
    in_sync: int
    may: frozenset[str] | None = None
    configs: Mapping[str, str] = field(default_factory=dict)

    def number(self, config: str) -> int | None:
        value = self.configs.get(config)
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group; `topics` is what it subscribed to.

    `asks` is the digest of what it asks the models; empty where it says none.
    """

    client_id: str
    host: str
    topics: frozenset[str]
    asks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A consumer group: its protocol (empty without members), and what we may do with it."""

    name: str
    kind: str = ""
    members: Sequence[Member] = ()
    may: frozenset[str] | None = None
    is_forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group is in a partition, and whether a timestamp in it is yet to come.

    Below `half_expired` all records have half of their retention behind them; None where that is
    all of them, or retention has no end.
    """

    partition: TopicPartition
    committed: Committed | None
    bounds: LogBounds
    from_the_future: bool = False
    half_expired: int | None = None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was seen; of `forbidden` topics the brokers do not say whether they exist."""

    brokers: Sequence[BrokerAt]
    topics: Mapping[str, TopicSeen]
    forbidden: frozenset[str] = frozenset()
    groups: Mapping[str, GroupSeen] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)


async def inspect(
    kafka: KafkaSettings,
    topics: Collection[str],
    groups: Collection[str],
    read: Collection[Subscription] = (),
) -> Cluster:
    """Look at the cluster, and at these topics and groups; raises as `admin_client`.

    Of what is `read` the topics are looked at that exist.
    """
    async with bare_client(kafka) as client:
        brokers, seen, forbidden = await _metadata(client, topics, read)
    async with admin_client(kafka) as admin:
        node = str(brokers[0].node)
        configs: dict[str, dict[str, str]] = {}
        own: dict[str, dict[str, str]] = {}
        with suppress(KafkaError):
            configs = await describe_configs(admin, _TOPIC, seen, _TOPIC_CONFIGS)
        with suppress(KafkaError):
            own = await describe_configs(admin, _BROKER, [node], _BROKER_CONFIGS)
        found = [await _group(admin, group) for group in groups]
    return Cluster(
        brokers=brokers,
        topics={
            name: replace(topic, configs=_known(configs, name)) for name, topic in seen.items()
        },
        forbidden=forbidden,
        groups={group.name: group for group in found},
        configs=_known(own, node),
    )


def _known(configs: Mapping[str, Mapping[str, str]], name: str) -> Mapping[str, str]:
    return {key: value for key, value in configs.get(name, {}).items() if value}


async def progress_of(
    kafka: KafkaSettings, group: str, topic: TopicSeen, *, now: float, future: float
) -> tuple[list[Progress], list[BrokersUnavailable]]:
    """How far a group is in a topic, and why some partitions did not answer, though asked again.

    What is not permitted is left out. Times are in seconds since the epoch; from `future` on a
    timestamp cannot be right.
    """
    found: list[Progress] = []
    unknown: list[BrokersUnavailable] = []
    retention = topic.number("retention.ms")
    half_expired = None if retention is None or retention < 0 else now - retention / 2000
    reader = KafkaOffsets(kafka, group)
    try:
        await reader.start()
        for number in range(topic.partitions):
            partition = TopicPartition(topic.name, number)
            try:
                found.append(await _progress(reader, partition, future, half_expired))
            except BrokersUnavailable as error:
                unknown.append(error)
            except BrokerError:
                continue
    except BrokersUnavailable as error:
        unknown.append(error)
    finally:
        await reader.close()
    return found, unknown


async def _progress(
    reader: KafkaOffsets, partition: TopicPartition, future: float, half_expired: float | None
) -> Progress:
    """Look until it works, for `_PATIENCE`: a leader may be about to be chosen."""
    now = asyncio.get_running_loop().time
    give_up = now() + _PATIENCE
    while True:
        try:
            return Progress(
                partition,
                await reader.committed(partition),
                await reader.bounds(partition),
                await reader.offset_since(partition, future) is not None,
                None
                if half_expired is None
                else await reader.offset_since(partition, half_expired),
                reader.cluster,
            )
        except BrokersUnavailable:
            if now() > give_up:
                raise
        await asyncio.sleep(_RETRY)


async def _metadata(
    client: AIOKafkaClient, names: Collection[str], read: Collection[Subscription]
) -> tuple[list[BrokerAt], dict[str, TopicSeen], frozenset[str]]:
    """The brokers, those of the topics that exist, and those that we may not see."""
    # Some brokers make a topic that is asked for by name, so all are asked for first.
    found, version = await _ask(client, None)
    brokers = [BrokerAt(each["node_id"], each["host"], each["port"]) for each in found["brokers"]]
    topics = {
        topic["topic"]: topic
        for topic in found["topics"]
        if for_code(topic["error_code"]) is NoError
        and (topic["topic"] in names or any(each.takes(topic["topic"]) for each in read))
    }
    missing = [name for name in names if name not in topics]
    forbidden: set[str] = set()
    if missing and version == _TopicsRequestV8.API_VERSION:
        found, _ = await _ask(client, missing)
        forbidden = {
            topic["topic"]
            for topic in found["topics"]
            if for_code(topic["error_code"]) is TopicAuthorizationFailedError
        }
    seen = {
        name: TopicSeen(
            name=name,
            partitions=len(topic["partitions"]),
            replicas=min((len(each["replicas"]) for each in topic["partitions"]), default=0),
            in_sync=min((len(each["isr"]) for each in topic["partitions"]), default=0),
            may=_may(topic.get("authorized_operations", _NOT_SAID)),
        )
        for name, topic in topics.items()
    }
    return brokers, seen, frozenset(forbidden)


async def _ask(
    client: AIOKafkaClient, names: Sequence[str] | None
) -> tuple[Mapping[str, Any], int]:
    request = _TopicsRequest(names)
    response = await patiently(lambda: client.send(client.get_random_node(), request))
    return response.to_object(), response.API_VERSION


def _may(bits: int) -> frozenset[str] | None:
    if bits == _NOT_SAID:
        return None
    return frozenset(name for number, name in OPERATIONS.items() if bits & (1 << number))


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
    [described] = response.to_object()["groups"]
    return GroupSeen(
        name,
        kind=described["protocol_type"],
        members=tuple(
            Member(each["client_id"], each["client_host"], *_said_by(each["member_metadata"]))
            for each in described["members"]
        ),
        may=_may(described.get("authorized_operations", _NOT_SAID)),
        is_forbidden=for_code(described["error_code"]) is GroupAuthorizationFailedError,
    )


def _said_by(metadata: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """The topics that a member reads, and the digest of what it asks."""
    try:
        said = ConsumerProtocolMemberMetadata.decode(metadata)
    except (ValueError, TypeError, IndexError):
        return frozenset(), frozenset()
    return frozenset(said.subscription), frozenset(asked_by(said))


def conflicts(configs: Mapping[str, str], settings: Settings) -> tuple[str, ...]:
    """Which settings the brokers, configured like that, will not accept, and what to do."""
    found = []
    metadata, transaction, shortest, longest = (
        int(value) if (value := configs.get(name)) else None for name in _BROKER_LIMITS
    )
    if metadata is not None and metadata < MAX_CHARACTERS:
        found.append(
            f"The brokers' offset.metadata.max.bytes is {metadata} and the ledger may "
            f"need {MAX_CHARACTERS}: raise it, or lower stream.max_unfinished."
        )
    if transaction is not None and transaction / 1000 < settings.stream.transaction_timeout:
        found.append(
            f"The brokers' transaction.max.timeout.ms allows {transaction / 1000:g} s and "
            f"stream.transaction_timeout is {settings.stream.transaction_timeout:g}: lower it."
        )
    session = settings.kafka.session_timeout
    low = 0 if shortest is None else shortest / 1000
    high = session if longest is None else longest / 1000
    if not low <= session <= high:
        found.append(
            f"The brokers allow sessions of {low:g} to {high:g} s and kafka.session_timeout is "
            f"{session:g}: change it."
        )
    return tuple(found)


_TEXT = String("utf-8")
_PARTITION_FIELDS = (
    *(("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32)),
    *(("replicas", Array(Int32)), ("isr", Array(Int32)), ("offline_replicas", Array(Int32))),
)
_TOPIC_FIELDS = (
    *(("error_code", Int16), ("topic", _TEXT), ("is_internal", Boolean)),
    *(("partitions", Array(*_PARTITION_FIELDS)), ("authorized_operations", Int32)),
)


class _TopicsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """Metadata v8, the first version that says what we may do with a topic."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        ("topics", Array(*_TOPIC_FIELDS)),
        ("cluster_authorized_operations", Int32),
    )


class _TopicsRequestV8(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _TopicsRequest(Request[MetadataRequest_v4 | MetadataRequest_v5 | _TopicsRequestV8]):  # type: ignore[misc] # aiokafka has no types
    """Metadata of some topics or, with None, of all; none is made by asking."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: Sequence[str] | None) -> None:
        self._topics = None if topics is None else list(topics)

    def build(self, version: type[Any]) -> RequestStruct:
        if version is _TopicsRequestV8:
            return version(self._topics, False, False, True)
        return version(self._topics, False)
