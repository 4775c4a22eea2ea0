"""Heartbeats come from the event loop, and no hostile record keeps it from sending them."""

import asyncio
import time
from itertools import islice

import pytest

from pipeline.config import KafkaSettings
from pipeline.local.apache import ApacheKafka
from tests.brokers import FreshName
from tests.faults.poison import KINDS, hostile_records
from tests.faults.soak import STAGES
from tests.faults.watched import REPORTED, Watch, blocks
from tests.faults.world import make_world

MOST = KafkaSettings().heartbeat_interval
"""Seconds; nineteen times as many more may pass until the group takes a member for dead."""


async def test_a_loop_that_computes_or_waits_is_seen_and_what_it_did() -> None:
    seen: list[tuple[float, str]] = []
    watch = Watch(asyncio.get_running_loop(), lambda *block: seen.append(block))
    watch.start()
    await asyncio.sleep(3 * REPORTED)
    assert not seen
    time.sleep(3 * REPORTED)  # noqa: ASYNC251 - that is what is to be seen
    await asyncio.sleep(REPORTED)
    sum(range(20_000_000))
    await asyncio.sleep(REPORTED)
    watch.stop()
    assert len(seen) == 2
    assert "time.sleep" in seen[0][1]


@pytest.mark.drill
@pytest.mark.kafka
@pytest.mark.timeout(600)
async def test_no_hostile_record_keeps_the_event_loop_for_a_heartbeat(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    async with make_world(
        apache_kafka,
        replicas=1,
        partitions=2,
        stages=STAGES,
        prefix=f"{fresh_name('hostile')}.",
        module="tests.faults.watched",
    ) as world:
        [replica] = world.replicas
        replica.start()
        assert await replica.joined(60)
        await world.poisoner.publish(islice(hostile_records(), KINDS), rate=4.0)
        assert await world.drained(240)
        await world.stop_replicas()
        longest, *_ = [*blocks(replica.said), (0.0, "")]
    assert longest[0] < MOST, longest
