"""What can be done to brokers, and when they have got over it."""

import asyncio
import time

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.local.broker import LocalBroker
from tests.faults.reading import admin
from tests.faults.waiting import until

_HEAL_WITHIN = 90.0
_ANSWER_WITHIN = 10.0


class NotHealed(Exception):
    """The brokers did not get over a fault: the run proves nothing."""


class Cluster:
    """Brokers of this machine.

    Args:
        broker: All of them.
    """

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self._admin: AdminClient = admin(broker.bootstrap_servers)
        self.leaders_moved = 0

    @property
    def size(self) -> int:
        """How many nodes."""
        return len(self._broker.nodes)

    async def end(self, node: int, *, cleanly: bool, down: float) -> float:
        """End a node, start it again after a while; returns when it ended."""
        itself = self._broker.nodes[node]
        await (itself.stop() if cleanly else itself.kill())
        at = time.time()
        await asyncio.sleep(down)
        await itself.start()
        return at

    async def heal(self) -> None:
        """Wait until every replica of every partition is in sync.

        Raises:
            NotHealed: That takes too long.
        """
        if not await until(self._is_whole, _HEAL_WITHIN):
            raise NotHealed(f"not all replicas are in sync after {_HEAL_WITHIN:g} s")

    async def move_leaders(self) -> int:
        """Give every partition back to its preferred leader; returns how many moved."""
        before = await asyncio.to_thread(self._leaders)
        await asyncio.to_thread(self._elect)
        after = await asyncio.to_thread(self._leaders)
        moved = sum(after.get(place) != leader for place, leader in before.items())
        self.leaders_moved += moved
        return moved

    def _is_whole(self) -> bool:
        known = self._admin.list_topics(timeout=_ANSWER_WITHIN)
        return len(known.brokers) == self.size and all(
            set(partition.isrs) == set(partition.replicas)
            for topic in known.topics.values()
            for partition in topic.partitions.values()
        )

    def _leaders(self) -> dict[tuple[str, int], int]:
        try:
            known = self._admin.list_topics(timeout=_ANSWER_WITHIN)
        except KafkaException:
            return {}
        return {
            (name, number): partition.leader
            for name, topic in known.topics.items()
            for number, partition in topic.partitions.items()
        }

    def _elect(self) -> None:
        try:
            self._admin.elect_leaders(ElectionType.PREFERRED).result(_ANSWER_WITHIN)
        except (KafkaException, TimeoutError):
            return
