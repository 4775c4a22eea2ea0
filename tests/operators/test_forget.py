"""Forgetting a key on the broker in memory: each thing once, and what remains until when."""

import math
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.claude.response_cache import CACHE_SCHEMA
from pipeline.config import ClaudeSettings, Settings
from pipeline.kafka.topics import TopicMissing, TopicState
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.audit import hash_of_key
from pipeline.operators.dead_letters import ReplayRequest, list_dead_letters, replay
from pipeline.operators.dead_letters import Selection as DeadLetters
from pipeline.operators.forget import Forgotten, forget
from pipeline.operators.handled import IdempotentPublisher
from pipeline.operators.review import Selection, list_items
from pipeline.testing import MemoryBroker, MemoryBrokers, MemoryTopicReader
from pipeline.trust.records import answer_key, label_key
from pipeline.trust.sampling import Lottery
from tests.operators.audited import audited, command
from tests.operators.dead_letters.examples import buried, raw
from tests.operators.review.items import outgoing, review
from tests.stream.virtual import virtual_time
from tests.trust.examples import answer, label

ADA, BOB = b"ada@example.com", b"bob@example.com"
DAY = 86_400.0
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOPICS = ("tickets.raw", "tickets.enriched", "escalations", "review", "dead-letters")
SECRET = b"SECRET"


class World:
    """A broker with two customers in every topic, and what is known of the topics."""

    def __init__(self, directory: Path) -> None:
        self.broker = MemoryBroker()
        self.read = MemoryTopicReader(self.broker)
        claude = ClaudeSettings(state_dir=directory, answer_cache="disk")
        self.settings = Settings(claude=claude)
        self.states = {name: self.state(name) for name in TOPICS}
        for topic in (*TOPICS, "review.resolved", "dead-letters.replayed", "audit"):
            self.broker.create_topic(topic, 2)
        for key in (ADA, BOB):
            for number in range(3):
                for topic in ("tickets.raw", "tickets.enriched", "escalations"):
                    self.broker.publish(topic, SECRET, key=key)
                item = outgoing(review(number), key=key)
                self.broker.publish(item.topic, item.value, key=key, headers=item.headers)
                dead = buried(raw(number, key=key))
                self.broker.publish(dead.topic, dead.value, key=key, headers=dead.headers)

    @staticmethod
    def state(
        name: str, cleanup: str | None = "delete", retention: float | None = 3 * DAY
    ) -> TopicState:
        return TopicState(name, 2, 1, None, cleanup, retention, DAY)

    def publisher(self, topic: str, marks: str) -> AbstractAsyncContextManager[IdempotentPublisher]:
        return IdempotentPublisher(
            topic,
            marks,
            command("forget", "forgotten"),
            group="pipeline.desk",
            name="one",
            brokers=MemoryBrokers(self.broker),
            read=self.read,
            clock=lambda: datetime.now(UTC),
        )

    async def forget(self, *topics: str, execute: bool = True, key: bytes = ADA) -> Forgotten:
        return await forget(
            self.settings,
            self.read,
            self.states,
            key.decode(),
            self.publisher if execute else None,
            now=NOON,
            topics=topics,
        )

    async def replay_again(self) -> int:
        publisher = self.publisher("dead-letters", "dead-letters.replayed")
        request = ReplayRequest(DeadLetters(), rate=1000, again=True)
        async with publisher as entered:
            return (await replay(self.settings, self.read, request, entered)).replayed

    async def open_reviews(self) -> int:
        found = await list_items(self.settings, self.read, Selection(), limit=9, resolved=False)
        return found.matching

    def tombstones(self, topic: str) -> list[bytes | None]:
        return [
            entry.record.key
            for entries in self.broker.committed_records(topic).values()
            for entry in entries
            if entry.record is not None and entry.record.value is None
        ]

    def keep_answers(self, count: int) -> Path:
        path = self.settings.claude.answers_path
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("PRAGMA journal_mode = WAL")
            file.executescript(CACHE_SCHEMA)
            rows = [(bytes([number]), "m", SECRET * 9, 0.0) for number in range(count)]
            file.executemany("INSERT INTO answers VALUES (?, ?, ?, ?)", rows)
        return path


def counts(found: Forgotten) -> Mapping[str, int]:
    return {each.topic: each.records for each in found.remains}


@virtual_time
async def test_a_rehearsal_says_what_is_done_then_and_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    rehearsed = await world.forget(execute=False)
    assert (rehearsed.review_items, rehearsed.dead_letters, rehearsed.executed) == (3, 3, False)
    assert counts(rehearsed) == dict.fromkeys(TOPICS, 3)
    assert await world.open_reviews() == 6
    assert audited(world.broker) == []
    done = await world.forget()
    assert (done.review_items, done.dead_letters, done.executed) == (3, 3, True)
    assert done.remains == rehearsed.remains


@virtual_time
async def test_what_is_open_is_settled_for_good_and_each_thing_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.forget()
    again = await world.forget()
    assert (again.review_items, again.dead_letters, again.settled_before) == (0, 0, 6)
    assert await world.open_reviews() == 3
    assert await world.replay_again() == 3
    listing = await list_dead_letters(
        world.settings, world.read, DeadLetters(), limit=9, replayed=None
    )
    assert {line.key for line in listing.lines if line.forgotten} == {ADA.decode()}


@virtual_time
async def test_a_dead_letter_that_was_replayed_before_cannot_be_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert await world.replay_again() == 6
    assert (await world.forget()).dead_letters == 3
    assert await world.replay_again() == 3


@virtual_time
async def test_each_part_is_on_record_and_the_key_is_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.states["tickets.enriched"] = world.state("tickets.enriched", "compact")
    world.keep_answers(4)
    await world.forget()
    await world.forget()
    assert [(each.did, each.topic, each.count, each.outcome) for each in audited(world.broker)] == [
        ("forgotten", "dead-letters", 3, "done"),
        ("forgotten", "review", 3, "done"),
        ("tombstones", "tickets.enriched", 1, "done"),
        ("answers", "", 4, "begun"),
        ("answers", "", 4, "done"),
        ("forgotten", "", 0, "done"),
    ]
    for entries in world.broker.committed_records("audit").values():
        assert all(ADA not in (each.record.value or b"") for each in entries if each.record)


@virtual_time
async def test_compacted_topics_of_the_pipeline_get_one_tombstone(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in ("tickets.enriched", "tickets.raw"):
        world.states[name] = world.state(name, "compact")
    found = await world.forget()
    assert found.tombstones == ["tickets.enriched"]
    assert (await world.forget()).tombstones == []
    assert world.tombstones("tickets.enriched") == [ADA]
    assert world.tombstones("tickets.raw") == []
    removed_by = {each.topic: each.removed_by for each in found.remains}
    assert removed_by["tickets.enriched"] == "compaction"
    assert removed_by["tickets.raw"] == "nothing"
    world.broker.publish("tickets.enriched", SECRET, key=ADA)
    assert (await world.forget()).tombstones == ["tickets.enriched"]


@virtual_time
async def test_what_remains_says_until_when(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.states["review"] = world.state("review", retention=math.inf)
    world.states["escalations"] = world.state("escalations", None, None)
    found = await world.forget(execute=False)
    ends = {each.topic: (each.removed_by, each.until) for each in found.remains}
    [newest] = {each.newest for each in found.remains}
    # A segment of a day goes with its last record.
    assert ends["tickets.raw"] == ("retention", newest + timedelta(days=4))
    assert ends["review"] == ("nothing", None)
    assert ends["escalations"] == ("unknown", None)
    places = [(each.first, each.last) for each in found.remains if each.topic == "tickets.raw"]
    assert all(last - first >= 2 for first, last in places)


@virtual_time
async def test_topics_can_be_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.keep_answers(1)
    found = await world.forget("review")
    assert (found.topics, counts(found)) == (["review"], {"review": 3})
    assert (found.review_items, found.dead_letters, found.answers) == (3, 0, None)
    assert path.exists()
    with pytest.raises(UsageError, match=r"these do: .*review"):
        await world.forget("audit")
    world.states.clear()
    with pytest.raises(TopicMissing):
        await world.forget()


@virtual_time
async def test_answers_on_disk_are_removed_for_all_keys_and_leave_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.keep_answers(40)
    assert SECRET in path.read_bytes()
    rehearsed = await world.forget(execute=False)
    assert rehearsed.answers == 40
    running = sqlite3.connect(path)
    assert rehearsed.answers_until == NOON + timedelta(days=1)
    assert "cannot be found by key" in " ".join(rehearsed.sentences())
    with running:
        running.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (b"new", "m", SECRET, 0.0))
    done = await world.forget()
    assert done.answers == 41
    beside = path.with_name(f"{path.name}-wal")
    assert SECRET not in path.read_bytes() + beside.read_bytes()
    running.close()
    assert (await world.forget()).answers == 0


@virtual_time
async def test_answers_that_cannot_be_removed_end_it_and_that_is_on_record(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.keep_answers(1)
    with closing(sqlite3.connect(path)) as file:
        file.execute(
            "CREATE TRIGGER no BEFORE DELETE ON answers BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
    with pytest.raises(PipelineError, match="cannot be removed"):
        await world.forget()
    assert [each.outcome for each in audited(world.broker)][-2:] == ["begun", "failed"]


@virtual_time
async def test_a_key_that_is_nowhere_is_on_record_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    found = await world.forget(key=b"nobody")
    assert (found.remains, found.key_sha256) == ([], hash_of_key("nobody"))
    assert [(each.did, each.count) for each in audited(world.broker)] == [("forgotten", 0)]


@virtual_time
async def test_drawn_answers_and_labels_of_the_key_get_tombstones_and_no_others(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.broker.create_topic("trust", 2)
    world.states["trust"] = world.state("trust", "compact,delete")
    lottery = Lottery(0.01)
    kept: dict[bytes, bytes] = {}
    for number, key in enumerate((ADA, BOB, ADA)):
        whose = lottery.whose(key, "")
        drawn, given = answer(number, whose=whose), label(number, whose=whose)
        for name, record in (
            (answer_key("tickets", drawn.event_id), drawn),
            (label_key(given), given),
        ):
            kept[name] = key
            world.broker.publish("trust", record.model_dump_json(by_alias=True).encode(), key=name)

    would = await world.forget(execute=False)
    done = await world.forget()
    again = await world.forget()

    assert (would.drawn, done.drawn, again.drawn) == (4, 4, 0)
    gone = {
        entry.record.key
        for entries in world.broker.committed_records("trust").values()
        for entry in entries
        if entry.record is not None and entry.record.value is None
    }
    assert gone == {name for name, key in kept.items() if key == ADA}
    assert "trust" not in {each.topic for each in done.remains}
