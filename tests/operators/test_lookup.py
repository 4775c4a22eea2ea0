"""Looking up one event: what the topics hold of it, and where it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from pipeline.config import Settings
from pipeline.kafka.reader import End, Start
from pipeline.model.errors import UsageError
from pipeline.model.records import EPOCH, Enriched, Escalation, Handled, Source, Timing, Usage
from pipeline.operators.lookup import Story, look_up
from pipeline.operators.story_entries import SHOWN
from pipeline.stream.records import Received
from pipeline.testing import MemoryBroker, MemoryTopicReader
from tests.operators.dead_letters.examples import buried, raw
from tests.operators.review.items import NOON, RESULT, outgoing, review
from tests.trust.examples import answer, label

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode()),)
TOPICS = (
    *("tickets.raw", "tickets.enriched", "escalations", "review", "review.resolved"),
    *("dead-letters", "dead-letters.replayed", "trust"),
)


class World:
    """A broker with the topics of tickets, each of one partition."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(max_message_bytes=16 << 20)
        for topic in TOPICS:
            self.broker.create_topic(topic, 1)

    def event(
        self, number: int, *, key: bytes = b"customer", body: str = "Charged twice"
    ) -> Source:
        value = json.dumps({"id": f"T-{number}", "body": body}).encode()
        partition, offset = self.broker.publish("tickets.raw", value, key=key, headers=HEADERS)
        return Source(
            topic="tickets.raw", partition=partition.partition, offset=offset, timestamp=NOON
        )

    def escalated(self, number: int, source: Source) -> None:
        made = Escalation(
            event_id=f"T-{number}", stage="tickets", event={"id": f"T-{number}"}, doubts=[],
            haiku_result=RESULT, haiku_model="claude-haiku-4-5", usage=usage(1, "0.0010"),
            source=source, received_at=NOON, model_seconds=1.0,
        )  # fmt: skip
        self.put("escalations", made.model_dump_json(by_alias=True).encode())

    def published(self, number: int, source: Source, *, by: str = "sonnet") -> None:
        made = Enriched[dict[str, Any]](
            schema_="tickets.enriched/1", event_id=f"T-{number}", stage="tickets", result=RESULT,
            decided_by=by, confidence=0.9, escalation=None, model="claude-sonnet-5-5",
            usage=usage(2, "0.0042"), source=source,
            timing=Timing(received_at=NOON, enriched_at=NOON, model_seconds=1.5),
        )  # fmt: skip
        self.put("tickets.enriched", made.model_dump_json(by_alias=True).encode())

    def reviewed(self, number: int, source: Source) -> None:
        self.put("review", outgoing(review(number, source=source)).value)

    def put(self, topic: str, value: bytes | None, key: bytes = b"customer") -> None:
        self.broker.publish(topic, value, key=key)

    async def look_up(self, wanted: str, **options: Any) -> Story:  # noqa: ANN401
        read = MemoryTopicReader(self.broker)
        return await look_up(Settings(), read, TOPICS, wanted, **{"since": None, **options})


def usage(calls: int, cost: str) -> Usage:
    return Usage.model_validate({"calls": calls, "cost_usd": cost})


async def test_what_is_not_there_is_said_with_how_far_was_read() -> None:
    world = World()
    world.event(1)
    found = await world.look_up("T-9", since=EPOCH)
    assert (found.entries, found.passages, found.read) == ([], [], 1)
    assert any("Nothing was found" in each for each in found.sentences())


@pytest.mark.parametrize("wanted", ["", "x" * 1001])
async def test_an_id_that_nothing_can_have_is_refused(wanted: str) -> None:
    with pytest.raises(UsageError, match="1 to 1,000"):
        await World().look_up(wanted)


async def test_an_event_of_which_nothing_came_waits() -> None:
    world = World()
    world.event(1)
    [passage] = (await world.look_up("T-1")).passages
    assert passage.where.startswith("waiting, in work, or passed over")
    assert (passage.event_id, passage.trace_id, passage.cost_usd) == ("T-1", TRACE, None)


async def test_an_event_is_followed_from_stage_to_stage_with_what_it_cost() -> None:
    world = World()
    source = world.event(1)
    world.escalated(1, source)
    [passage] = (await world.look_up("T-1")).passages
    assert passage.where == "in escalation: escalations 0:0"
    assert (passage.calls, passage.cost_usd) == (1, "0.0010")
    world.published(1, source)
    found = await world.look_up("T-1")
    assert [each.kind for each in found.entries] == ["raw", "escalation", "result"]
    [passage] = found.passages
    assert passage.where == "published in tickets.enriched 0:0"
    assert (passage.calls, passage.cost_usd, passage.trace_id) == (2, "0.0042", TRACE)


async def test_a_review_item_waits_until_it_is_settled() -> None:
    world = World()
    world.reviewed(1, world.event(1))
    [passage] = (await world.look_up("T-1")).passages
    assert passage.where == "waits for a person: review item 0:0"
    async with MemoryTopicReader(world.broker)(["review"]) as records:
        [item] = [record async for record in records]
    handled = Handled(
        topic="review", partition=0, offset=0, timestamp=item.timestamp, to="", at=NOON, times=1
    )
    world.put("review.resolved", handled.model_dump_json(by_alias=True).encode(), b"review/0/0")
    [passage] = (await world.look_up("T-1")).passages
    assert passage.where == "review item 0:0, settled 2026-11-22 12:00"


async def test_a_dead_letter_is_found_by_id_and_by_key() -> None:
    world = World()
    letter = buried(raw(3))
    world.broker.publish(letter.topic, letter.value, key=letter.key, headers=letter.headers)
    for wanted in ("x-3", "customer", "tickets.raw/1/3"):
        found = await world.look_up(wanted)
        assert [each.where for each in found.passages] == ["dead letter 0:0"]
        assert found.entries[0].said == "invalid_event: body: missing"


async def test_a_result_without_an_envelope_is_found_by_its_header() -> None:
    world = World()
    world.event(1)
    headers = (("ce_id", b"T-1"), ("ce_type", b"haiku-pipeline.tickets.flat"))
    world.broker.publish("tickets.enriched", b"\0\0\0\0\1avro", key=b"c", headers=headers)
    [passage] = (await world.look_up("T-1")).passages
    assert (passage.stage, passage.where) == ("tickets", "published in tickets.enriched 0:0")


async def test_a_drawn_answer_and_its_verdict_belong_to_the_story() -> None:
    world = World()
    drawn = answer(1)
    said = label(1)
    world.put("trust", drawn.model_dump_json(by_alias=True).encode(), b"answer/1")
    world.put("trust", said.model_dump_json(by_alias=True).encode(), b"label/1")
    found = await world.look_up(drawn.event_id)
    assert [each.kind for each in found.entries] == ["drawn answer", "verdict"]
    assert found.passages == []


async def test_a_raw_record_from_before_the_window_is_read_at_its_place() -> None:
    world = World()
    source = world.event(1, key=b"other")
    world.published(1, source)

    @asynccontextmanager
    async def read(
        topics: Sequence[str],
        *,
        start: Start = "beginning",
        end: End | Literal["never"] = "committed",
    ) -> AsyncIterator[AsyncIterator[Received]]:
        inside = [each for each in topics if each != "tickets.raw"] if start == NOON else topics
        begin: Start = "beginning" if start == NOON else start
        async with MemoryTopicReader(world.broker)(inside, start=begin, end=end) as records:
            yield records

    found = await look_up(Settings(), read, TOPICS, "T-1", since=NOON)
    assert {each.kind for each in found.entries} == {"raw", "result"}


async def test_a_source_that_is_no_topic_of_raw_events_is_not_read() -> None:
    world = World()
    world.put("trust", b"{}", b"x")
    source = Source(topic="trust", partition=0, offset=0, timestamp=NOON)
    world.published(1, source)
    found = await world.look_up("T-1")
    assert [each.kind for each in found.entries] == ["result"]


async def test_no_more_than_the_newest_are_kept_and_texts_are_cut() -> None:
    world = World()
    for number in range(5):
        world.event(number, body="A" * 100_000)
    found = await world.look_up("customer", limit=2)
    assert [each.event_id for each in found.entries] == ["T-3", "T-4"]
    assert found.matching == 5
    assert any("3 older records" in each for each in found.sentences())
    assert all(len(each.texts["value"]) < SHOWN + 100 for each in found.entries)


async def test_hostile_content_commands_the_terminal_nothing_and_breaks_no_search() -> None:
    world = World()
    world.event(1, body="\x1b]0;mine\x07\x1b[2J")
    for value in (b"\x1b[2J\xff T-1", b"[" * 5000 + b"T-1", b'{"id": ["T-1"]}', b"", None):
        for topic in TOPICS[:4]:
            world.put(topic, value, b"\x1b[2J")
            world.put(topic, value)
    for wanted in ("T-1", "customer", "\udcff"):
        found = await world.look_up(wanted)
        assert "\x1b" not in "\n".join(found.lines())
    assert [each.event_id for each in (await world.look_up("T-1")).entries] == ["T-1"]


@pytest.mark.parametrize("event_id", ["Ärger/7", 'a"b', "x y"])
async def test_an_id_that_json_escapes_is_found(event_id: str) -> None:
    world = World()
    text = json.dumps({"id": event_id}).replace("/", "\\/")
    world.put("tickets.raw", text.encode())
    assert [each.event_id for each in (await world.look_up(event_id)).entries] == [event_id]


async def test_records_that_are_all_there_already_do_not_keep_the_time_from_ending() -> None:
    world = World()
    world.event(1)
    async with MemoryTopicReader(world.broker)(["tickets.raw"]) as records:
        [event] = [record async for record in records]

    async def endless() -> AsyncIterator[Received]:
        while True:
            yield event

    @asynccontextmanager
    async def read(
        topics: Sequence[str],
        *,
        start: Start = "beginning",
        end: End | Literal["never"] = "committed",
    ) -> AsyncIterator[AsyncIterator[Received]]:
        yield endless()

    found = await look_up(Settings(), read, TOPICS, "T-9", since=None, seconds=0)
    assert not found.complete


async def test_reading_ends_in_time_and_says_so() -> None:
    @asynccontextmanager
    async def read(
        topics: Sequence[str],
        *,
        start: Start = "beginning",
        end: End | Literal["never"] = "committed",
    ) -> AsyncIterator[AsyncIterator[Received]]:
        await asyncio.Event().wait()
        async with MemoryTopicReader(MemoryBroker())(topics, start=start, end=end) as records:
            yield records

    found = await look_up(Settings(), read, TOPICS, "T-1", since=None, seconds=0)
    assert not found.complete
    assert any("time was over" in each for each in found.sentences())
