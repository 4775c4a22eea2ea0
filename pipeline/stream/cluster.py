"""What a cluster looks like from here: brokers, topics, groups and how far they have come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.stream.brokers import Committed, LogBounds, TopicPartition


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
