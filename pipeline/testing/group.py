"""The coordinator of one consumer group: eager rebalances with a sticky assignment."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from pipeline.stream.protocols import Committed, TopicPartition


class Beat(Enum):
    """The answer to a heartbeat."""

    STABLE = auto()
    REBALANCING = auto()
    UNKNOWN_MEMBER = auto()


@dataclass(frozen=True, slots=True)
class Generation:
    """What a member is told when a rebalance is over."""

    number: int
    partitions: Sequence[TopicPartition]


@dataclass(eq=False, slots=True)
class _Member:
    name: str
    topics: frozenset[str]
    session_timeout: float
    rebalance_timeout: float
    partitions: list[TopicPartition] = field(default_factory=list)
    joining: "asyncio.Future[Generation] | None" = None
    expiry: asyncio.TimerHandle | None = None


class Group:
    """Members, their partitions, and what was committed for the group.

    `committed` is what a reader gets now; `generations` is who got what in each rebalance so far.

    Args:
        partitions_of: The partitions of a topic.
    """

    def __init__(self, partitions_of: Callable[[str], Sequence[TopicPartition]]) -> None:
        self._partitions_of = partitions_of
        self._members: dict[str, _Member] = {}
        self._generation = 0
        self._deadline: asyncio.TimerHandle | None = None
        self.committed: dict[TopicPartition, Committed] = {}
        self.generations: list[Mapping[TopicPartition, str]] = []

    @property
    def generation(self) -> int:
        """How many rebalances there were."""
        return self._generation

    @property
    def owners(self) -> Mapping[TopicPartition, str]:
        """Who has which partition, as of the last rebalance."""
        return {
            partition: member.name
            for member in self._members.values()
            for partition in member.partitions
        }

    def join(
        self,
        name: str,
        topics: Sequence[str],
        *,
        session_timeout: float,
        rebalance_timeout: float,
    ) -> "asyncio.Future[Generation]":
        """Join, or join again after a rebalance began; done when all have, or time is up."""
        member = self._members.get(name)
        if member is None:
            member = _Member(name, frozenset(topics), session_timeout, rebalance_timeout)
            self._members[name] = member
        if member.expiry is not None:
            # Who waits for the others sends no heartbeats.
            member.expiry.cancel()
        joining: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        member.joining = joining
        self._rebalance()
        self._finish_if_complete()
        return joining

    def heartbeat(self, name: str, generation: int) -> Beat:
        """The member lives."""
        member = self._members.get(name)
        if member is None:
            return Beat.UNKNOWN_MEMBER
        if member.joining is None:
            self._keep_alive(member)
        if self._deadline is not None or generation != self._generation:
            return Beat.REBALANCING
        return Beat.STABLE

    def leave(self, name: str) -> None:
        """The member goes, of its own will or because it was taken for dead."""
        member = self._members.pop(name, None)
        if member is None:
            return
        if member.expiry is not None:
            member.expiry.cancel()
        if member.joining is not None and not member.joining.done():
            member.joining.cancel()
        if self._members:
            self._rebalance()
            self._finish_if_complete()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def may_commit(self, name: str, generation: int) -> bool:
        """Whether a plain commit comes from a member of this generation."""
        return name in self._members and generation == self._generation

    def _keep_alive(self, member: _Member) -> None:
        if member.expiry is not None:
            member.expiry.cancel()
        loop = asyncio.get_running_loop()
        member.expiry = loop.call_later(member.session_timeout, self.leave, member.name)

    def _rebalance(self) -> None:
        if self._deadline is None:
            patience = max(member.rebalance_timeout for member in self._members.values())
            self._deadline = asyncio.get_running_loop().call_later(patience, self._finish)

    def _finish_if_complete(self) -> None:
        if all(member.joining is not None for member in self._members.values()):
            self._finish()

    def _finish(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for late in [member for member in self._members.values() if member.joining is None]:
            del self._members[late.name]
            if late.expiry is not None:
                late.expiry.cancel()
        self._generation += 1
        self._assign()
        self.generations.append(self.owners)
        for member in self._members.values():
            joining, member.joining = member.joining, None
            self._keep_alive(member)
            if joining is not None and not joining.done():
                joining.set_result(Generation(self._generation, tuple(member.partitions)))

    def _assign(self) -> None:
        """Evenly, and as before as far as that allows."""
        members = sorted(self._members.values(), key=lambda member: member.name)
        topics = sorted({topic for member in members for topic in member.topics})
        free = [partition for topic in topics for partition in self._partitions_of(topic)]
        share, rest = divmod(len(free), max(1, len(members)))
        for number, member in enumerate(members):
            quota = share + (number < rest)
            member.partitions = [p for p in member.partitions if p in free][:quota]
            free = [partition for partition in free if partition not in member.partitions]
        for number, member in enumerate(members):
            quota = share + (number < rest)
            while len(member.partitions) < quota:
                member.partitions.append(free.pop(0))
