"""What a backfill does about lost replies, about rivals, and about answers that never come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.backfill.journal import Job, Journal, JournalUnreadable, State
from pipeline.backfill.lane import BatchGone, Stopped, TooManyDeadLetters
from pipeline.backfill.partitions import BacklogPartition, FileBacklog, digest_of
from pipeline.config import StageSettings
from pipeline.inputs.adapter import Adapter
from pipeline.inputs.mapping import FieldMapping
from pipeline.kafka.reader import Start
from pipeline.kafka.writer import ProducerFenced
from pipeline.model.errors import UsageError
from pipeline.model.observer import Observer
from pipeline.stages.files.raw_events import fields_of_record
from pipeline.stream import ledger
from pipeline.stream.ledger import CommitPoint
from pipeline.stream.protocols import Committed, TopicPartition
from pipeline.stream.records import Received, Unread
from pipeline.testing import MemoryBrokers, run_in_virtual_time
from pipeline.testing.memory_clients import MemoryTopicReader
from tests.backfill.api import Result, now
from tests.backfill.world import GROUP, NAMES, RAW, SETTLE, Crash, Fuse, World
from tests.cascade.stand_ins import Note

STRANGE = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}
FINE = [(f"k-{n % 3}", "fine") for n in range(8)]


def world(notes: Sequence[tuple[str, str]] = FINE, **changes: object) -> World:
    made = World(**changes)  # type: ignore[arg-type]
    made.publish(notes)
    return made


def jobs_of(made: World) -> dict[bytes, Job]:
    """The batches as the compacted topic has them."""
    found: dict[bytes, Job] = {}
    for entries in made.broker.committed_records(NAMES.backfills).values():
        for entry in entries:
            assert entry.record is not None
            value = entry.record.value or b""
            if b'"nonce"' in value:
                found[entry.record.key or b""] = Job.model_validate_json(value)
    return found


def test_a_submission_whose_reply_was_lost_is_found_and_not_repeated() -> None:
    async def scenario() -> None:
        made = world()
        made.api.lose_replies = 2
        report = await made.process()
        made.check()
        assert report.found_again == 2

    run_in_virtual_time(scenario())


def test_a_batch_that_the_list_shows_late_is_waited_for() -> None:
    async def scenario() -> None:
        made = world()
        made.api.listed_after = SETTLE * 0.8
        made.api.lose_replies = 3
        await made.process()
        made.check()

    run_in_virtual_time(scenario())


def test_a_submission_that_never_arrived_is_made_once_the_list_has_settled() -> None:
    async def scenario() -> None:
        made = world(FINE[:1])
        fuse = Fuse()
        await made.process(fuse)
        before = fuse.taken.index("submit")
        again = world(FINE[:1])
        with pytest.raises(Crash):
            await again.process(Fuse(before))
        assert [job.state for job in jobs_of(again).values()] == [State.SENDING]
        began = asyncio.get_running_loop().time()
        report = await again.process()
        assert asyncio.get_running_loop().time() - began >= SETTLE
        again.check()
        assert report.found_again == 0

    run_in_virtual_time(scenario())


def test_another_program_s_batch_of_the_same_size_is_not_taken_for_ours() -> None:
    async def scenario() -> None:
        made = world(FINE[:3], partitions=1)
        made.api.takes = 10  # it has ended before ours
        made.api.make([{"custom_id": f"another-{n}", "params": STRANGE} for n in range(3)])
        made.api.takes = 60
        made.api.lose_replies = 1
        await made.process()
        assert made.ends().total() == 3
        assert len(made.api.batches) == 2

    run_in_virtual_time(scenario())


def test_nothing_is_submitted_again_while_a_batch_of_the_same_size_may_be_ours() -> None:
    async def scenario() -> None:
        before = world(FINE[:1])
        fuse = Fuse()
        await before.process(fuse)
        made = world(FINE[:1])
        with pytest.raises(Crash):
            await made.process(Fuse(fuse.taken.index("submit")))
        made.api.takes = 10 * SETTLE
        made.api.make([{"custom_id": "another-0", "params": STRANGE}])
        made.api.takes = 60
        began = asyncio.get_running_loop().time()
        report = await made.process()
        assert asyncio.get_running_loop().time() - began >= 10 * SETTLE
        assert (report.found_again, len(made.api.batches)) == (0, 2)
        assert made.ends().total() == 1

    run_in_virtual_time(scenario())


def test_what_is_waited_for_goes_through_no_more_than_one_process() -> None:
    async def scenario() -> None:
        made = world()
        first = asyncio.ensure_future(made.process())
        await asyncio.sleep(30)  # of virtual time: everything is handed in, nothing has ended
        second = asyncio.ensure_future(made.process())
        with pytest.raises(ProducerFenced, match="Another backfill"):
            await first
        report = await second
        made.check()
        assert report.resumed == 3

    run_in_virtual_time(scenario())


def test_nothing_is_sent_long_after_the_last_proof_of_ownership() -> None:
    async def scenario() -> None:
        made = world(FINE[:1], partitions=1)
        fuse = Fuse(slow={"end": [SETTLE * 0.6] * 5})
        await made.process(fuse)
        made.check()
        sent = fuse.taken.index("submit")
        begins = [at for at, name in enumerate(fuse.taken[:sent]) if name == "begin"]
        assert fuse.taken_at[sent] - fuse.taken_at[begins[-1]] <= SETTLE / 2

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("frozen_at", ["begin", "end", "get", "results", "submit"])
def test_a_process_that_freezes_and_thaws_adds_nothing(frozen_at: str) -> None:
    async def scenario() -> None:
        made = world()
        fuse = Fuse(freezes_at=frozen_at)
        first = asyncio.ensure_future(made.process(fuse))
        await fuse.frozen.wait()
        second = asyncio.ensure_future(made.process())
        # What it was about to hand in may still arrive as long as the other waits for that.
        await asyncio.sleep(SETTLE * 0.8 if frozen_at == "submit" else 10 * SETTLE)
        fuse.thaw()
        with pytest.raises(ProducerFenced):
            await first
        await second
        made.check()

    run_in_virtual_time(scenario())


def test_the_stage_s_consumer_takes_a_partition_from_a_backfill_that_claims() -> None:
    async def scenario() -> None:
        made = world(partitions=1)
        made.settings.batches_at_once = 1
        running = asyncio.ensure_future(made.process())
        await asyncio.sleep(30)
        brokers = MemoryBrokers(made.broker)
        partition = TopicPartition(RAW, 0)
        session = brokers.session(GROUP, partition, brokers.consumer(GROUP, [RAW]))
        await session.start()
        with pytest.raises(ProducerFenced, match="pipeline run notes"):
            await running
        # What was claimed is not given to the consumer; what was not, is.
        committed = made.broker.fetch_offset(GROUP, partition)
        assert committed is not None
        assert committed.offset == 3
        report = await made.process(claims=False)
        assert (report.published, report.done) == (3, False)

    run_in_virtual_time(scenario())


def test_what_the_consumer_had_done_out_of_order_is_left_out() -> None:
    async def scenario() -> None:
        made = world(partitions=1)
        point = CommitPoint(1, 6, (1, 4))
        made.broker.group(GROUP).committed[TopicPartition(RAW, 0)] = Committed(
            1, ledger.encode(point)
        )
        report = await made.process()
        assert set(made.ends()) == {"n-1", "n-4", "n-6", "n-7"}
        assert report.published == report.events == 4

    run_in_virtual_time(scenario())


def test_a_ledger_of_another_cluster_ends_it_since_batches_name_other_offsets_there() -> None:
    async def scenario() -> None:
        made = world(partitions=1)
        ledger_there = ledger.encode(CommitPoint(1, 6, (1, 4)), "another cluster")
        made.broker.group(GROUP).committed[TopicPartition(RAW, 0)] = Committed(1, ledger_there)
        with pytest.raises(ledger.LedgerMoved, match="another cluster"):
            await made.process()
        assert not made.ends()

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("fate", ["expired", "errored", "canceled"])
def test_what_a_batch_does_not_answer_is_asked_in_the_normal_lane(fate: Result) -> None:
    async def scenario() -> None:
        made = world()
        made.api.fate = lambda request: fate if "-1-" in request["custom_id"] else "succeeded"
        report = await made.process()
        made.check()
        asked = len(made.api.asked_alone)
        assert report.returned >= asked > 0  # identical events share a call
        assert report.enriched == len(FINE)
        assert report.normal_usd is not None
        assert report.normal_usd > 0

    run_in_virtual_time(scenario())


def test_outcomes_of_a_key_come_in_the_order_of_its_events() -> None:
    async def scenario() -> None:
        made = world([(f"k-{n % 4}", "fine") for n in range(40)])
        await made.process()
        for entries in made.broker.committed_records("notes.enriched").values():
            names = [entry.record.value for entry in entries if entry.record is not None]
            offsets = [int(str(value).split('"offset":')[1].split(",")[0]) for value in names]
            assert offsets == sorted(offsets)
        made.check()

    run_in_virtual_time(scenario())


def test_events_that_left_the_log_meanwhile_are_reported_and_hold_nothing_up() -> None:
    async def scenario() -> None:
        made = world(partitions=1)
        running = asyncio.ensure_future(made.process())
        await asyncio.sleep(30)
        made.broker.log(TopicPartition(RAW, 0)).trim(2)
        report = await running
        assert (report.published, report.gone) == (6, 2)
        assert report.done

    run_in_virtual_time(scenario())


def test_a_batch_that_is_gone_ends_it_unless_the_normal_lane_is_asked_for() -> None:
    async def scenario() -> None:
        made = world(FINE[:3], partitions=1)
        running = asyncio.ensure_future(made.process())
        await asyncio.sleep(30)
        made.api.batches.clear()
        with pytest.raises(BatchGone, match="--normal-lane"):
            await running
        assert not made.ends()
        report = await made.process(normal_lane=True)
        assert report.returned == report.published == 3
        assert made.ends().total() == 3

    run_in_virtual_time(scenario())


def test_faults_of_a_stage_on_many_keys_end_it() -> None:
    async def scenario() -> None:
        made = world([(f"k-{number}", "a bug") for number in range(12)], partitions=1)
        with pytest.raises(TooManyDeadLetters, match="dead-letters list"):
            await made.process(window=8)
        assert made.ends().total() == 6  # more than half of the window
        report = await made.process(window=200)
        assert report.dead_letters == 12

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("value", [b"", b"{}", b'{"schema": "backfills/2"}', b"[" * 100_000])
@pytest.mark.parametrize("key", [b"", b"junk", b"notes/notes.raw", b"tickets/a/0/0/b", b"\xff"])
def test_records_that_no_backfill_writes_are_left_out(value: bytes, key: bytes) -> None:
    async def scenario() -> None:
        made = world([("k", "good")], partitions=1)
        made.broker.publish(NAMES.backfills, value, key=key)
        report = await made.process()
        assert report.enriched == 1
        made.check()

    run_in_virtual_time(scenario())


def test_a_batch_of_the_stage_that_cannot_be_read_ends_its_backfill() -> None:
    async def scenario() -> None:
        made = world([("k", "good")], partitions=1)
        made.broker.publish(NAMES.backfills, b"junk", key=b"notes/notes.raw/0/0/0123")
        with pytest.raises(JournalUnreadable, match="tombstone"):
            await made.process()

    run_in_virtual_time(scenario())


def test_junk_ends_no_backfill() -> None:
    async def scenario() -> None:
        made = world([(f"k-{number}", "bad") for number in range(12)], partitions=1)
        report = await made.process(window=8)
        assert report.dead_letters == 12
        made.check()

    run_in_virtual_time(scenario())


def test_what_no_dead_letter_can_carry_becomes_a_small_one() -> None:
    async def scenario() -> None:
        made = world(partitions=1)
        made.broker.max_message_bytes = 10_000
        made.broker.publish(RAW, b"x" * 40_000, key=b"k")
        report = await made.process()
        assert (report.enriched, report.dead_letters) == (len(FINE), 1)
        ((outcome,), *_) = [
            entries
            for entries in made.broker.committed_records(NAMES.dead_letters).values()
            if entries
        ]
        assert outcome.record is not None
        headers = dict(outcome.record.headers)
        assert outcome.record.value == b""
        assert headers["dlq-offset"] == str(len(FINE)).encode()
        assert headers["dlq-original-value-bytes"] == b"40000"

    run_in_virtual_time(scenario())


def test_what_was_not_read_becomes_a_small_dead_letter_and_is_not_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        made = world([*FINE, ("k", "bomb")], partitions=1)
        read = MemoryTopicReader._records

        async def read_within_limits(
            reader: MemoryTopicReader,
            partitions: Sequence[TopicPartition],
            start: Start,
            ends: Mapping[TopicPartition, int],
        ) -> AsyncGenerator[Received, None]:
            async for each in read(reader, partitions, start, ends):
                if b"bomb" in (each.value or b""):
                    unread = Unread("It would take 9 GB.", each.original)
                    yield replace(each, value=None, unread=unread)
                else:
                    yield each

        monkeypatch.setattr(MemoryTopicReader, "_records", read_within_limits)
        report = await made.process()
        assert (report.enriched, report.dead_letters) == (len(FINE), 1)
        letters = made.broker.committed_records(NAMES.dead_letters).values()
        [headers] = [dict(e.record.headers) for part in letters for e in part if e.record]
        assert headers["dlq-reason"] == b"too_large"
        assert headers["dlq-original"] == b"not_carried"

    run_in_virtual_time(scenario())


class Tombstones(Observer):
    """Remembers the stages of tombstones."""

    def __init__(self, found: list[str]) -> None:
        self._found = found

    def tombstone(self, stage: str) -> None:
        self._found.append(stage)


def test_a_tombstone_is_not_an_event_and_is_counted() -> None:
    async def scenario() -> None:
        made = world(FINE[:4], partitions=1)
        made.broker.publish(RAW, None, key=b"k-0")
        made.publish(FINE[4:])
        counted: list[str] = []
        report = await made.process(observer=Tombstones(counted))
        assert (report.enriched, report.dead_letters, report.tombstones) == (len(FINE), 0, 1)
        assert counted == ["notes"]
        made.check()

    run_in_virtual_time(scenario())


class PassedOver(Observer):
    def __init__(self) -> None:
        self.records = 0

    def passed_over(self, stage: str) -> None:
        self.records += 1


def test_records_are_read_through_the_mapping_and_the_filter_of_the_stage() -> None:
    async def scenario() -> None:
        made = world([*FINE, ("k", "good"), ("k", "good")], partitions=1)
        filtered = StageSettings(map={"text": "'good' && text"}, where="text == 'good'")
        counting = PassedOver()
        report = await made.process(
            observer=counting,
            adapter=Adapter(
                lambda value, headers: fields_of_record(Note, value, headers, max_bytes=9_999),
                max_bytes=9_999,
                mapping=FieldMapping("notes", filtered, Note),
            ),
        )
        assert (report.enriched, report.passed_over) == (2, len(FINE))
        assert report.dead_letters == report.escalated == 0
        assert counting.records == len(FINE)
        assert sum(len(batch.requests) for batch in made.api.batches) == 2

    run_in_virtual_time(scenario())


def test_nothing_is_claimed_or_handed_in_while_the_budget_is_used_up() -> None:
    async def scenario() -> None:
        made = world()
        clock = asyncio.get_running_loop().time

        def closed() -> str | None:
            return "The budget of the day is used up." if clock() < 100 else None

        running = asyncio.ensure_future(made.process(paused_reason=closed))
        await asyncio.sleep(99)
        assert not jobs_of(made)
        assert not made.api.batches
        await running
        made.check()

    run_in_virtual_time(scenario())


def test_being_stopped_leaves_everything_for_the_next_start() -> None:
    async def scenario() -> None:
        made = world()
        stop = asyncio.Event()
        running = asyncio.ensure_future(made.process(stop=stop))
        await asyncio.sleep(30)
        stop.set()
        with pytest.raises(Stopped):
            await running
        assert all(job.state is State.SUBMITTED for job in jobs_of(made).values())
        await made.process()
        made.check()

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("after", [0.5, 3, 5, 7, 9, 11])
def test_being_stopped_leaves_no_submission_in_doubt(after: float) -> None:
    async def scenario() -> None:
        made = world()
        made.api.replies_after = 2
        stop = asyncio.Event()
        running = asyncio.ensure_future(made.process(stop=stop))
        await asyncio.sleep(after)
        stop.set()
        with pytest.raises(Stopped):
            await running
        states = {job.state for job in jobs_of(made).values()}
        assert State.SENDING not in states
        await made.process()
        made.check()

    run_in_virtual_time(scenario())


def test_a_second_backfill_of_a_topic_takes_what_has_come_since() -> None:
    async def scenario() -> None:
        made = world()
        first = await made.process()
        assert (await made.process()).batches == first.batches
        made.publish([("k", "fine")])
        report = await made.process()
        assert (report.published, report.batches) == (1, 1)
        made.check()

    run_in_virtual_time(scenario())


def written(folder: Path, count: int) -> Path:
    path = folder / "notes.jsonl"
    path.write_text(
        "".join(f'{{"id": "n-{n}", "text": "fine", "customer": "c"}}\n' for n in range(count))
    )
    return path


@pytest.mark.parametrize("steps", [*range(0, 60, 3), None])
def test_each_event_of_a_file_is_published_once(tmp_path: Path, steps: int | None) -> None:
    path = written(tmp_path, 7)
    source = f"file:{digest_of(path)}"

    def partitions(journal: Journal) -> Sequence[BacklogPartition]:
        return [FileBacklog(path, journal, key_field="customer", now=now)]

    async def scenario() -> None:
        made = World()
        with contextlib.suppress(Crash):
            await made.process(Fuse(steps), backlog_of=partitions, source=source)
        report = await made.process(backlog_of=partitions, source=source)
        assert report.published == report.events == 7
        outcomes = made.outcomes()
        assert sorted(outcomes) == [f"n-{n}" for n in range(7)]
        for number in range(7):
            (outcome,) = outcomes[f"n-{number}"]
            assert outcome["source"]["topic"] == "file:notes.jsonl"
            assert outcome["source"]["offset"] == number
        assert set(made.api.paid().values()) == {1}
        again = await made.process(backlog_of=partitions, source=source)
        assert again.published == 7
        assert made.ends().total() == 7

    run_in_virtual_time(scenario())


def test_a_file_is_known_by_what_it_contains(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert digest_of(path) == digest_of(copy)
    copy.write_bytes(path.read_bytes() + b"{}\n")
    assert digest_of(path) != digest_of(copy)
    assert len(digest_of(tmp_path)) == len(digest_of(path))
    with pytest.raises(UsageError, match="missing"):
        digest_of(tmp_path / "missing")
