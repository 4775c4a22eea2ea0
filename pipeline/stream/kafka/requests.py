"""Requests of newer versions than aiokafka has, with the older ones for brokers that lack them."""

from collections.abc import Sequence
from typing import Any, ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v3
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from pipeline.stream.brokers import TopicPartition


class _StableOffsetsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch v7, the first version that can wait for transactions."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class StableOffsetsRequestV7(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch v7."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _StableOffsetsResponse
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffsetsRequest(Request[OffsetFetchRequest_v3 | StableOffsetsRequestV7]):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch of one partition, with `require_stable` where the broker knows it.

    A transaction's markers may reach the offsets topic a moment after the producer that settles
    it has started; until then the broker answers UNSTABLE_OFFSET_COMMIT instead of an offset
    that is about to change. aiokafka's own request ends at v3, which cannot ask for that.
    """

    API_KEY: ClassVar[int] = 9

    def __init__(self, group: str, partition: TopicPartition) -> None:
        self._group = group
        self._partition = partition

    def build(self, version: type[Any]) -> RequestStruct:
        """The request in the version that the broker and aiokafka agreed on."""
        topic, partition = self._partition
        if version is StableOffsetsRequestV7:
            return version(self._group, [(topic, [partition], {})], True, {})
        return version(self._group, [(topic, [partition])])


class _TopicsResponse(Response):  # type: ignore[misc] # aiokafka has no types
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


class TopicsRequestV8(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """Metadata v8."""

    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicsRequest(Request[MetadataRequest_v4 | MetadataRequest_v5 | TopicsRequestV8]):  # type: ignore[misc] # aiokafka has no types
    """Metadata of some topics or, with None, of all; none is made by asking."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: Sequence[str] | None) -> None:
        self._topics = None if topics is None else list(topics)

    def build(self, version: type[Any]) -> RequestStruct:
        """The request in the version that the broker and aiokafka agreed on."""
        if version is TopicsRequestV8:
            return version(self._topics, False, False, True)
        return version(self._topics, False)
