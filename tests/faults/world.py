"""Brokers, simulated API and replicas of one run, put together."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.cimpl import NewTopic

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.local.broker import LocalBroker
from pipeline.local.environment import SimulatedApiProcess, kafka_variables
from tests.faults.api import Api
from tests.faults.evidence import Topics
from tests.faults.poison import Poisoner
from tests.faults.publisher import Publisher
from tests.faults.reading import admin, is_read, open_transactions
from tests.faults.replicas import Replica
from tests.faults.waiting import until

SESSION_TIMEOUT = 6.0
HEARTBEAT_INTERVAL = KafkaSettings(session_timeout=SESSION_TIMEOUT).heartbeat_interval
_MAX_MESSAGE_BYTES = TopicSettings().max_message_bytes


@dataclass(frozen=True, slots=True)
class World:
    """What a scenario works with."""

    broker: LocalBroker
    topics: Topics
    partitions: int
    api: Api
    publisher: Publisher
    poisoner: Poisoner
    replicas: tuple[Replica, ...]
    others: tuple[Replica, ...]
    directory: Path

    @property
    def servers(self) -> str:
        """host:port of all nodes."""
        return self.broker.bootstrap_servers

    async def drained(self, within: float) -> bool:
        """Wait until everything that was published is committed, by the brokers' own account.

        Returns:
            Whether that came about in time.
        """
        return await until(self._is_drained, within)

    async def settled(self, within: float) -> bool:
        """Wait until no transaction is open.

        Returns:
            Whether that came about in time.
        """
        return await until(lambda: not open_transactions(self.servers, self.topics.outputs), within)

    async def stop_replicas(self) -> None:
        """SIGTERM for all, and wait for their ends."""
        async with asyncio.TaskGroup() as group:
            for replica in (*self.replicas, *self.others):
                group.create_task(replica.stop())

    def _is_drained(self) -> bool:
        read = {stage: self.topics.raw_of(stage) for stage in self.topics.stages}
        read["escalations"] = self.topics.escalations
        return all(
            is_read(self.servers, self.topics.group(stage), topic) for stage, topic in read.items()
        )


@asynccontextmanager
async def make_world(
    broker: LocalBroker,
    *,
    replicas: int,
    partitions: int,
    stages: tuple[str, ...] = ("tickets",),
    prefix: str = "",
    settings: Mapping[str, str] | None = None,
    others: Sequence[Mapping[str, str]] = (),
    module: str = "pipeline.cli",
    keep: Path | None = None,
    avro: str | None = None,
) -> AsyncIterator[World]:
    """Make the topics and start the simulated API; replicas are started by the scenario.

    Args:
        broker: Running brokers.
        replicas: How many there shall be.
        partitions: Of each topic.
        stages: That the replicas run, beside the escalations; the first has the run's events.
        prefix: Before every topic and group.
        settings: More variables for the replicas.
        others: Of replicas of another deployment, each its further variables.
        module: Whose command line the replicas are.
        keep: Where the replicas' logs go, and what was found; a folder that is removed if None.
        avro: The schema of results that are framed.
    """
    topics = Topics(prefix, stages, avro)
    async with AsyncExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haiku-faults-")))
        keep = keep.absolute()
        keep.mkdir(parents=True, exist_ok=True)
        process = await stack.enter_async_context(SimulatedApiProcess())
        api = await stack.enter_async_context(Api(process.base_url))
        await asyncio.to_thread(_make_topics, broker, topics, partitions)
        environment = {
            **kafka_variables(broker.settings),
            "ANTHROPIC_BASE_URL": process.base_url,
            "PIPELINE_TOPICS__PREFIX": prefix,
            "PIPELINE_KAFKA__GROUP_PREFIX": f"{prefix}pipeline.",
            "PIPELINE_KAFKA__SESSION_TIMEOUT": str(SESSION_TIMEOUT),
            "PIPELINE_CLAUDE__BACKOFF_MAX": "5",
            # What goes over Sonnet is up to the events, not to chance.
            "PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "0",
            "PIPELINE_LOG__FORMAT": "json",
            **(settings or {}),
        }
        served = (*stages, "escalations")
        mine = tuple(Replica(n, served, environment, keep, module=module) for n in range(replicas))
        theirs = tuple(
            Replica(n, served, {**environment, **more}, keep)
            for n, more in enumerate(others, replicas)
        )
        publisher = Publisher(broker.bootstrap_servers, topics.raw)
        poisoner = Poisoner(broker.bootstrap_servers, prefix)
        world = World(broker, topics, partitions, api, publisher, poisoner, mine, theirs, keep)
        try:
            yield world
        finally:
            await world.stop_replicas()


def _make_topics(broker: LocalBroker, topics: Topics, partitions: int) -> None:
    client = admin(broker.bootstrap_servers)
    copies, config = min(3, len(broker.nodes)), {"max.message.bytes": str(_MAX_MESSAGE_BYTES)}
    wanted = [NewTopic(name, partitions, copies, config=config) for name in topics.all]
    for made in client.create_topics(wanted).values():
        made.result()
