"""Which member of a group gets which partitions, so that as few as possible move. Pure.

Kafka's consumers once gave up everything before each rebalance. Here, as in its incremental
protocol (KIP-429), a member serves on what it has, and a partition that is to move goes in two
steps: the assignment leaves it with its owner, who is asked to release it; once that one has
finished what runs, it joins again without the partition, which is then free for the other.
"""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field

from pipeline.stream.protocols import TopicPartition

NEVER = -1
"""The epoch of a member that has not been assigned anything yet."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member says of itself as it joins.

    Args:
        topics: What it reads.
        owned: What it serves.
        releasing: What of that it is finishing, to give it up.
        epoch: Of the assignment that gave it all this. Of two claims the later one holds: the
            other member was taken for dead, and does not know it yet.
        serves_on: Whether it keeps what it owns through a rebalance. Members of earlier releases
            do not: theirs can go to another at once.
    """

    topics: frozenset[str]
    _: KW_ONLY
    owned: frozenset[TopicPartition] = frozenset()
    releasing: frozenset[TopicPartition] = frozenset()
    epoch: int = NEVER
    serves_on: bool = True


@dataclass(slots=True)
class Share:
    """What a member is assigned, and what of it it has to release."""

    partitions: list[TopicPartition] = field(default_factory=list)
    releasing: set[TopicPartition] = field(default_factory=set)


def balance(
    partitions: Collection[TopicPartition], claims: Mapping[str, Claim]
) -> dict[str, Share]:
    """Assign each partition to one of the members that read its topic, evenly.

    A partition that nobody reads is left out. A member whose claim holds keeps its partition
    unless another has at least two fewer.
    """
    owners = _owners(claims)
    readers = {
        topic: [member for member in sorted(claims) if topic in claims[member].topics]
        for topic in {partition.topic for partition in partitions}
    }
    wanted: dict[str, list[TopicPartition]] = {member: [] for member in sorted(claims)}
    read = [partition for partition in sorted(partitions) if readers[partition.topic]]
    for partition in read:
        if partition in owners:
            wanted[owners[partition]].append(partition)
    for partition in read:
        if partition not in owners:
            fewest = min(readers[partition.topic], key=lambda member: len(wanted[member]))
            wanted[fewest].append(partition)
    for member, mine in wanted.items():
        # What is on its way out already goes first, so that a second look changes no plan.
        mine.sort(key=lambda each: (each not in claims[member].releasing, each))
    while _move_one(wanted, readers):
        pass
    shares = {member: Share() for member in wanted}
    for member, mine in wanted.items():
        for partition in mine:
            owner = owners.get(partition, member)
            if owner != member and claims[owner].serves_on:
                shares[owner].partitions.append(partition)
                shares[owner].releasing.add(partition)
            else:
                shares[member].partitions.append(partition)
    return shares


def _owners(claims: Mapping[str, Claim]) -> dict[TopicPartition, str]:
    return {
        partition: member
        for member, claim in sorted(claims.items(), key=lambda item: (item[1].epoch, item[0]))
        for partition in claim.owned
        if partition.topic in claim.topics
    }


def _move_one(wanted: dict[str, list[TopicPartition]], readers: Mapping[str, list[str]]) -> bool:
    """Move a partition from who has the most to one who has two fewer; whether there was one."""
    for giver in sorted(wanted, key=lambda member: -len(wanted[member])):
        for partition in wanted[giver]:
            taker = min(readers[partition.topic], key=lambda member: len(wanted[member]))
            if len(wanted[taker]) + 1 < len(wanted[giver]):
                wanted[giver].remove(partition)
                wanted[taker].append(partition)
                return True
    return False
