"""Replaying on the broker in memory, in time that the test drives."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pipeline.config import Settings
from pipeline.operators.dead_letters import Replayed, ReplayRequest, Selection, replay
from pipeline.operators.handled import IdempotentPublisher
from pipeline.operators.selection import Place
from pipeline.testing import Entry, MemoryBroker, MemoryBrokers, MemoryTopicReader
from tests.operators.audited import command
from tests.operators.dead_letters.examples import buried, raw
from tests.stream.virtual import virtual_time

SETTINGS = Settings()
OTHERS = ("dead-letters.replayed", "audit")


class World:
    """A broker with the topics of the pipeline."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.read = MemoryTopicReader(self.broker)
        for topic in ("tickets.raw", "escalations", "dead-letters", *OTHERS):
            self.broker.create_topic(topic, 2)

    def bury(self, count: int, **about: str) -> None:
        for number in range(count):
            topic = about.get("topic", "tickets.raw")
            record = raw(number, topic=topic, key=b"key-%d" % (number % 5))
            dead = buried(record, stage=about.get("stage", "tickets"))
            self.broker.publish(dead.topic, dead.value, key=dead.key, headers=dead.headers)

    async def replay(
        self, request: ReplayRequest, on_done: Callable[[int], None] = lambda _: None
    ) -> Replayed:
        publisher = IdempotentPublisher(
            "dead-letters",
            "dead-letters.replayed",
            command(),
            group="pipeline.desk",
            name="one",
            brokers=MemoryBrokers(self.broker),
            read=self.read,
            clock=lambda: datetime.now(UTC),
        )
        async with publisher:
            return await replay(SETTINGS, self.read, request, publisher, on_done=on_done)

    def of(self, topic: str) -> list[Entry]:
        found = self.broker.committed_records(topic).values()
        return [entry for entries in found for entry in entries]


def request(*, rate: float = 1000, limit: int | None = None, again: bool = False) -> ReplayRequest:
    return ReplayRequest(Selection(), rate=rate, limit=limit, again=again)


@virtual_time
async def test_each_goes_back_to_its_own_topic_once() -> None:
    world = World()
    world.bury(20)
    world.bury(3, topic="escalations", stage="escalations")
    first = await world.replay(request())
    assert first.topics == {"tickets.raw": 20, "escalations": 3}
    second = await world.replay(request())
    assert (second.replayed, second.done_before) == (0, 23)
    assert len(world.of("tickets.raw")) == 20
    assert len(world.of("escalations")) == 3


@virtual_time
async def test_one_without_its_record_is_left_out_and_says_where_that_is() -> None:
    world = World()
    world.bury(2)
    dead_letter = buried(raw(7))
    headers = (*dead_letter.headers, ("dlq-original", b"not_carried"))
    world.broker.publish(dead_letter.topic, b"", key=dead_letter.key, headers=headers)
    result = await world.replay(request())
    assert (result.replayed, result.refused) == (2, 1)
    assert "offset 7 of partition 1 of tickets.raw" in result.refusals[0].because
    assert len(world.of("tickets.raw")) == 2


@virtual_time
async def test_a_key_keeps_its_order() -> None:
    world = World()
    world.bury(40)
    await world.replay(request(rate=7))
    seen: dict[bytes | None, list[bytes | None]] = {}
    for entry in world.of("tickets.raw"):
        assert entry.record is not None
        seen.setdefault(entry.record.key, []).append(entry.record.value)
    for number in range(5):
        wanted = [b'{"id": "x-%d"}' % each for each in range(number, 40, 5)]
        assert seen[b"key-%d" % number] == wanted


@virtual_time
async def test_no_more_go_in_a_second_than_allowed() -> None:
    world = World()
    world.bury(35)
    clock = asyncio.get_running_loop().time
    sent: list[tuple[float, int]] = []
    await world.replay(request(rate=10), on_done=lambda count: sent.append((clock(), count)))
    assert sum(count for _, count in sent) == 35
    for moment, _ in sent:
        assert sum(count for when, count in sent if moment <= when < moment + 1) <= 10
    assert 3 <= clock() < 4


@virtual_time
async def test_a_rate_below_one_a_second_is_kept_too() -> None:
    world = World()
    world.bury(3)
    await world.replay(request(rate=0.5))
    assert asyncio.get_running_loop().time() >= 4


@virtual_time
async def test_a_rehearsal_says_what_a_replay_then_does_and_does_nothing() -> None:
    world = World()
    world.bury(12)
    world.bury(1, topic="elsewhere")
    world.broker.publish("dead-letters", b"junk", key=b"k")
    await world.replay(request(limit=5))
    said = await replay(SETTINGS, world.read, request(), None)
    assert len(world.of("tickets.raw")) == 5
    assert await world.replay(request()) == replace(said, dry_run=False)
    assert (said.replayed, said.done_before, said.refused) == (7, 5, 2)
    reasons = {refusal.because for refusal in said.refusals}
    assert reasons == {
        "the pipeline does not read its topic 'elsewhere'",
        "it has no header dlq-topic, so the pipeline did not write it",
    }


@virtual_time
async def test_a_limit_counts_those_that_are_replayed() -> None:
    world = World()
    world.bury(10)
    for _ in range(5):
        assert (await world.replay(request(limit=2))).replayed == 2
    assert (await world.replay(request(limit=2))).replayed == 0


@virtual_time
async def test_one_can_be_replayed_again_on_purpose() -> None:
    world = World()
    world.bury(4)
    await world.replay(request())
    one = ReplayRequest(Selection(places=[Place(0, 0)]), rate=50, again=True)
    assert (await world.replay(one)).replayed == 1
    assert len(world.of("tickets.raw")) == 5


@virtual_time
async def test_what_becomes_a_dead_letter_meanwhile_is_left_for_the_next_time() -> None:
    world = World()
    world.bury(3)

    def bury_one_more(_: int) -> None:
        world.bury(1)

    assert (await world.replay(request(rate=1), on_done=bury_one_more)).replayed == 3
