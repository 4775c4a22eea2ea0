"""Moving a group on purpose: what is repeated, skipped, kept and refused."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from pipeline.config import KafkaSettings, Settings
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.offsets import (
    GroupOffsets,
    Plan,
    Seen,
    import_from,
    moved,
    opened,
    price,
    reset,
    show,
    summary,
)
from pipeline.stream.balance import Claim
from pipeline.stream.ledger import CommitPoint, decode, encode
from pipeline.stream.protocols import BrokerError, Committed, Fenced, LogBounds, TopicPartition
from pipeline.testing import MemoryBroker, MemoryBrokers, MemoryGroup

TOPIC = "tickets.raw"
GROUP = "pipeline.tickets"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FIRST, SECOND = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
LEDGER = CommitPoint(20, 30, (20, 24, 27))


class Cluster:
    """A topic with two partitions of 50 records each, and the groups on it."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.settings = Settings()

    async def fill(self) -> None:
        self.broker.create_topic(TOPIC, 2)
        for partition in (FIRST, SECOND):
            while self.broker.bounds(partition).end < 50:
                self.broker.publish(TOPIC, b"{}")

    def commit(self, *points: CommitPoint, group: str = GROUP) -> None:
        for partition, point in zip((FIRST, SECOND), points, strict=False):
            committed = Committed(point.base, encode(point, self.broker.cluster))
            self.broker.group(group).committed[partition] = committed

    def point(self, partition: TopicPartition = FIRST) -> CommitPoint:
        committed = self.broker.group(GROUP).committed[partition]
        return decode(committed.offset, committed.metadata, self.broker.cluster)

    @asynccontextmanager
    async def open_group(self, name: str) -> AsyncIterator[MemoryGroup]:
        yield MemoryGroup(self.broker, name)

    def join(self, group: str = GROUP) -> None:
        claim = Claim(frozenset({TOPIC}))
        joining = self.broker.group(group).join(
            "one", claim, session_timeout=60, rebalance_timeout=60
        )
        assert joining.done()

    async def reset(self, to: str, **options: object) -> Plan:
        return await reset(
            self.settings, "tickets", to, self.open_group, now=NOW, **options  # type: ignore[arg-type]
        )  # fmt: skip

    async def take_over(self, source: str | Path, *, execute: bool = True) -> Plan:
        return await import_from(self.settings, "tickets", source, self.open_group, execute=execute)

    async def shown(self) -> GroupOffsets:
        [found] = [each async for each in show(self.settings, ["tickets"], self.open_group)]
        return found


@pytest.fixture
async def cluster() -> Cluster:
    made = Cluster()
    await made.fill()
    made.commit(LEDGER, CommitPoint(40, 40))
    return made


bases = st.integers(0, 60)
limits = st.builds(lambda begin, size: LogBounds(begin, begin + size), bases, bases)


@st.composite
def points(draw: st.DrawFn) -> CommitPoint:
    base = draw(bases)
    later = draw(st.sets(st.integers(base + 1, base + 30)))
    unfinished = (base, *sorted(later))
    return draw(
        st.sampled_from(
            [CommitPoint(base, base), CommitPoint(base, unfinished[-1] + 2, unfinished)]
        )
    )


def is_done(point: CommitPoint, offset: int) -> bool:
    return offset < point.high and offset not in point.unfinished


@given(points(), points(), limits)
def test_what_is_done_again_is_what_was_done_and_is_not_any_more(
    new: CommitPoint, old: CommitPoint, bounds: LogBounds
) -> None:
    counted = sum(
        is_done(old, offset) and not is_done(new, offset)
        for offset in range(bounds.begin, bounds.end)
    )
    assert opened(new, old, bounds) == counted


@given(points(), limits, st.integers(0, 130), st.booleans())
def test_a_move_does_all_from_its_target_on_but_what_is_kept(
    start: CommitPoint, bounds: LogBounds, target: int, keep_done: bool
) -> None:
    new = moved(Seen(FIRST, bounds, None, start), target, keep_done=keep_done)
    assert decode(new.base, encode(new)) == new
    within = min(max(target, bounds.begin), bounds.end)
    for offset in range(bounds.begin, bounds.end):
        was_kept = keep_done and offset >= start.base and is_done(start, offset)
        assert is_done(new, offset) == (offset < within or was_kept)


async def test_it_shows_what_is_done_above_the_offset_and_what_waits(cluster: Cluster) -> None:
    first, second = (await cluster.shown()).partitions
    assert (first.committed, first.done_above, first.unfinished, first.lag) == (20, 7, 3, 23)
    assert (second.committed, second.done_above, second.unfinished, second.lag) == (40, 0, 0, 10)
    assert first.fault is None


async def test_a_ledger_that_is_not_the_pipelines_is_shown_as_a_fault(cluster: Cluster) -> None:
    cluster.broker.group(GROUP).committed[FIRST] = Committed(20, "another program's")
    first, _ = (await cluster.shown()).partitions
    assert "another program" in str(first.fault)
    assert first.lag == 30


async def test_going_back_says_what_is_done_again_and_what_that_costs_and_moves_nothing(
    cluster: Cluster,
) -> None:
    plan = await cluster.reset("earliest")
    assert (plan.again, plan.skipped, plan.executed) == (20 + 7 + 40, 0, False)
    assert plan.usd == price(cluster.settings, "tickets", 67)
    assert "Nothing was moved" in summary(plan)
    assert cluster.point() == LEDGER


async def test_going_back_does_all_again_that_lies_above(cluster: Cluster) -> None:
    plan = await cluster.reset("15", partitions=[0], execute=True)
    assert (plan.again, plan.skipped, plan.executed) == (5 + 7, 0, True)
    assert cluster.point() == CommitPoint(15, 15)
    assert cluster.point(SECOND) == CommitPoint(40, 40)


async def test_going_back_can_keep_what_was_done_above_the_offset(cluster: Cluster) -> None:
    plan = await cluster.reset("15", partitions=[0], keep_done=True, execute=True)
    assert (plan.again, plan.skipped) == (5, 0)
    assert cluster.point() == CommitPoint(15, 30, (15, 16, 17, 18, 19, 20, 24, 27))


async def test_going_forward_skips_and_can_keep_what_was_done(cluster: Cluster) -> None:
    plan = await cluster.reset("22", partitions=[0], keep_done=True, execute=True)
    assert (plan.again, plan.skipped) == (0, 1)
    assert cluster.point() == CommitPoint(24, 30, (24, 27))


async def test_going_to_the_end_skips_what_waits(cluster: Cluster) -> None:
    plan = await cluster.reset("latest", execute=True)
    assert (plan.again, plan.skipped) == (0, 23 + 10)
    assert cluster.point() == cluster.point(SECOND) == CommitPoint(50, 50)


async def test_staying_commits_again_without_what_nobody_can_read(cluster: Cluster) -> None:
    cluster.broker.group(GROUP).committed[FIRST] = Committed(20, "another program's")
    plan = await cluster.reset("current", execute=True)
    assert cluster.broker.group(GROUP).committed[FIRST] == Committed(20, "")
    assert (plan.again, plan.skipped) == (0, 0)
    assert "another program" in plan.notes[0]


async def test_a_time_is_the_first_record_from_then_on_or_the_end(cluster: Cluster) -> None:
    await cluster.reset("1970-01-01", execute=True)
    assert cluster.point() == CommitPoint(0, 0)
    await cluster.reset("2999-01-01", execute=True)
    assert cluster.point() == CommitPoint(50, 50)


async def test_a_group_that_committed_nothing_can_be_given_a_start(cluster: Cluster) -> None:
    cluster.broker.group(GROUP).committed.clear()
    plan = await cluster.reset("45", execute=True)
    assert (plan.again, plan.skipped) == (0, 90)
    assert cluster.point() == CommitPoint(45, 45)


async def test_an_offset_behind_the_log_is_put_within_it(cluster: Cluster) -> None:
    """As after a restore from an older copy, where the log ends before what is committed."""
    cluster.commit(CommitPoint(70, 70))
    plan = await cluster.reset("current", partitions=[0], execute=True)
    assert cluster.point() == CommitPoint(50, 50)
    assert (plan.again, plan.skipped) == (0, 0)
    assert "lost its end" in plan.notes[0]


async def test_what_does_not_fit_beside_the_offset_is_refused(cluster: Cluster) -> None:
    while cluster.broker.bounds(FIRST).end < 10_000:
        cluster.broker.publish(TOPIC, b"{}")
    cluster.commit(CommitPoint(9_000, 9_010, (9_000, 9_004)))
    with pytest.raises(PipelineError, match="without --keep-done"):
        await cluster.reset("100", partitions=[0], keep_done=True, execute=True)
    plan = await cluster.reset("100", partitions=[0], execute=True)
    assert plan.again == 8_900 + 8


async def test_nothing_is_moved_while_the_group_has_members(cluster: Cluster) -> None:
    cluster.join()
    assert (await cluster.reset("earliest")).members == 1
    with pytest.raises(PipelineError, match="members"):
        await cluster.reset("earliest", execute=True)
    with pytest.raises(BrokerError, match="members"):
        await MemoryGroup(cluster.broker, GROUP).commit({FIRST: Committed(0, "")})
    assert cluster.point() == LEDGER


@pytest.mark.parametrize("group", [GROUP, "old.tickets"])
async def test_a_process_that_was_frozen_cannot_commit_over_a_move(
    cluster: Cluster, group: str
) -> None:
    brokers = MemoryBrokers(cluster.broker)
    cluster.commit(LEDGER, LEDGER, group="old.tickets")
    frozen = brokers.session(group, FIRST, brokers.consumer(group, [TOPIC]))
    await frozen.start()
    await cluster.take_over("old.tickets")
    with pytest.raises(Fenced):
        await frozen.commit([], Committed(49, ""))
    assert cluster.point() == LEDGER


@pytest.mark.parametrize(
    ("to", "partitions"), [("yesterday", []), ("earliest", [2]), ("-5", []), ("", [])]
)
async def test_what_cannot_be_meant_is_wrong_use(
    cluster: Cluster, to: str, partitions: list[int]
) -> None:
    with pytest.raises(UsageError):
        await cluster.reset(to, partitions=partitions)


async def test_a_renamed_group_takes_over_offsets_and_what_is_done_above_them(
    cluster: Cluster,
) -> None:
    cluster.broker.group(GROUP).committed.clear()
    cluster.commit(LEDGER, CommitPoint(40, 40), group="old.tickets")
    assert not (await cluster.take_over("old.tickets", execute=False)).executed
    assert not cluster.broker.group(GROUP).committed
    plan = await cluster.take_over("old.tickets")
    assert (plan.again, plan.skipped, plan.executed) == (0, 0, True)
    assert (cluster.point(), cluster.point(SECOND)) == (LEDGER, CommitPoint(40, 40))


async def test_taking_over_says_what_it_changes_of_what_was_committed(cluster: Cluster) -> None:
    cluster.commit(CommitPoint(10, 10), CommitPoint(45, 45), group="old.tickets")
    plan = await cluster.take_over("old.tickets")
    assert (plan.again, plan.skipped) == (10 + 7, 5)


async def test_what_was_shown_can_be_taken_back(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "offsets.json"
    file.write_bytes(to_json([asdict(await cluster.shown())]))
    await cluster.reset("earliest", execute=True)
    plan = await cluster.take_over(file)
    assert (plan.again, plan.skipped) == (0, 67)
    assert (cluster.point(), cluster.point(SECOND)) == (LEDGER, CommitPoint(40, 40))


async def test_a_file_of_something_else_is_wrong_use(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "offsets.json"
    file.write_text(json.dumps([{"stage": "tickets"}]))
    with pytest.raises(UsageError, match="show --json"):
        await cluster.take_over(file)


async def test_a_partition_that_the_source_does_not_know_is_left_as_it_is(
    cluster: Cluster,
) -> None:
    cluster.commit(LEDGER, group="old.tickets")
    plan = await cluster.take_over("old.tickets")
    assert "left as it is" in plan.notes[0]
    assert cluster.point(SECOND) == CommitPoint(40, 40)


async def test_a_ledger_that_moved_is_left_behind(cluster: Cluster) -> None:
    translated = Committed(12, encode(LEDGER))
    cluster.broker.group("old.tickets").committed[FIRST] = translated
    plan = await cluster.take_over("old.tickets")
    assert "another offset" in plan.notes[0]
    assert cluster.point() == CommitPoint(12, 12)


@pytest.mark.parametrize(
    ("source", "error", "why"),
    [
        (GROUP, UsageError, "itself"),
        ("nobody.tickets", PipelineError, "committed nothing"),
        ("longer.tickets", PipelineError, "another log"),
        ("busy.tickets", PipelineError, "members"),
    ],
)
async def test_a_source_that_cannot_be_taken_over_is_refused(
    cluster: Cluster, source: str, error: type[Exception], why: str
) -> None:
    cluster.commit(CommitPoint(60, 60), group="longer.tickets")
    cluster.commit(LEDGER, group="busy.tickets")
    cluster.join("busy.tickets")
    with pytest.raises(error, match=why):
        await cluster.take_over(source)
    assert cluster.point() == LEDGER


def test_the_escalations_are_priced_by_the_second_model_alone() -> None:
    settings = Settings(kafka=KafkaSettings())
    first, second = (price(settings, stage, 1000) for stage in ("tickets", "escalations"))
    assert first is not None
    assert second is not None
    assert second > first
    assert price(settings, "tickets", 0) == 0
