"""The group's leader assigns partitions: `pipeline.stream.balance`, in the protocol's own terms.

Members of earlier releases used aiokafka's sticky assignor. This one has its name and reads and
writes its records, with a tail of its own behind them, so that both can be in one group while a
fleet is updated.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyAssignorUserDataV1
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from pipeline.stream.balance import NEVER, Claim, balance
from pipeline.stream.protocols import RebalanceListener, TopicPartition

_VERSION = 0
_TAIL = b"\nhp1 "
"""What is behind the sticky assignor's record: a JSON object follows."""


class Assignor:
    """For one consumer; aiokafka calls what is public here.

    Args:
        listener: Knows what this member serves.
        generation: Of the group, by which this member knows it; below 0 while it is not a
            member. It only grows, so of two claims on a partition it says which is the later.
        asks: A digest of what this member asks the models; may change before it joins again.

    Attributes:
        releasing: What the last assignment asks this member to release.
        asked: The digests of all members, as of the last assignment.
    """

    name = "sticky"

    def __init__(
        self, listener: RebalanceListener, generation: Callable[[], int], *, asks: str
    ) -> None:
        self.asked: frozenset[str] = frozenset()
        self.asks = asks
        self.releasing: frozenset[TopicPartition] = frozenset()
        self._listener = listener
        self._generation = generation
        self._epoch = NEVER

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member says as it joins."""
        if self._generation() < 0:
            # aiokafka says nothing of it, and this is where it can be seen before it joins again.
            self._listener.on_lost()
        sticky = StickyAssignorUserDataV1(_by_topic(self._listener.owned()), self._epoch)
        user_data = sticky.encode() + _tail(self._listener.releasing(), [self.asks])
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), user_data)

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """As the leader: what each member gets."""
        claims = {member: _claim(metadata) for member, metadata in members.items()}
        partitions = [
            TopicPartition(topic, partition)
            for topic in {topic for claim in claims.values() for topic in claim.topics}
            for partition in cluster.partitions_for_topic(topic) or ()
        ]
        asked = sorted({each for metadata in members.values() for each in asked_by(metadata)})
        return {
            member: ConsumerProtocolMemberAssignment(
                _VERSION, _by_topic(share.partitions), _tail(share.releasing, asked)
            )
            for member, share in balance(partitions, claims).items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Note what the leader said beside the partitions; an earlier release says nothing."""
        tail = _read_tail(assignment.user_data)
        self.releasing, self.asked = _partitions(tail["releasing"]), frozenset(tail["asks"])
        self._epoch = self._generation()


def asked_by(metadata: ConsumerProtocolMemberMetadata) -> Sequence[str]:
    """The digest of what a member asks; none of a member of another program or release."""
    asked: Sequence[str] = _read_tail(metadata.user_data)["asks"]
    return asked


def _claim(metadata: ConsumerProtocolMemberMetadata) -> Claim:
    topics, tail = frozenset(metadata.subscription), _read_tail(metadata.user_data)
    try:
        sticky = StickyAssignorUserDataV1.decode(metadata.user_data or b"")
    except (struct.error, ValueError, TypeError):
        # A consumer of another program, which has claimed nothing that is known here.
        return Claim(topics, serves_on=False)
    return Claim(
        topics,
        owned=_partitions(dict(sticky.previous_assignment)),
        releasing=_partitions(tail["releasing"]),
        epoch=sticky.generation,
        serves_on=tail["is_ours"],
    )


def _by_topic(partitions: Collection[TopicPartition]) -> list[tuple[str, list[int]]]:
    by_topic: defaultdict[str, list[int]] = defaultdict(list)
    for topic, partition in sorted(partitions):
        by_topic[topic].append(partition)
    return list(by_topic.items())


def _partitions(by_topic: Mapping[str, Iterable[int]]) -> frozenset[TopicPartition]:
    return frozenset(
        TopicPartition(topic, partition)
        for topic, partitions in by_topic.items()
        for partition in partitions
    )


def _tail(releasing: Collection[TopicPartition], asks: Sequence[str]) -> bytes:
    return _TAIL + orjson.dumps({"releasing": dict(_by_topic(releasing)), "asks": asks})


def _read_tail(user_data: bytes | None) -> dict[str, Any]:
    """What stands behind the sticky assignor's record, as far as this release knows it."""
    _, is_ours, tail = (user_data or b"").rpartition(_TAIL)
    try:
        said = orjson.loads(tail) if is_ours else {}
    except orjson.JSONDecodeError:
        said = {}
    return {"is_ours": bool(is_ours), "releasing": {}, "asks": [], **said}
