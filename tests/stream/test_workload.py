"""Ledger, lanes and results of a partition, kept in step."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream import ledger
from pipeline.stream.ledger import CommitPoint
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from pipeline.stream.tenants import (
    CROWD,
    FIELD_BYTES,
    TENANT_HEADER,
    Tenants,
    carried_tenant_reader,
    tenant_reader,
)
from pipeline.stream.workload import Held, Load, Workload

NOW = datetime.now(UTC)


def record(offset: int, key: bytes | None = None, size: int = 10) -> Received:
    return Received("in", 0, offset, key, b"x" * size, (), NOW, NOW)


def outcome(*values: bytes) -> Outcome:
    return Outcome(
        Disposition.ENRICHED, tuple(Outgoing("out", None, value, ()) for value in values)
    )


Ticket = tuple[bytes | None, Held]


def finish(made: Workload, started: Ticket, ended: Outcome) -> None:
    lane, held = started
    made.finish(lane, held.record, ended)


def workload(start: CommitPoint | None = None, *, is_new: bool = False) -> Workload:
    return Workload(start or CommitPoint(0, 0), is_new=is_new, ordering="key", limit=1000)


def test_a_batch_holds_all_that_is_done_in_the_order_in_which_it_was() -> None:
    made = workload()
    for offset in range(3):
        assert made.take(record(offset), 0.0)
    tickets = [made.start() for _ in range(3)]
    finish(made, tickets[2], outcome(b"c"))
    finish(made, tickets[0], outcome(b"a1", b"a2"))
    batch = made.batch()
    assert [sent.value for sent in batch.records] == [b"c", b"a1", b"a2"]
    assert batch.committed.offset == 1


def test_what_is_done_while_a_commit_is_under_way_is_left_for_the_next() -> None:
    made = workload()
    for offset in range(2):
        made.take(record(offset), 0.0)
    first, second = made.start(), made.start()
    finish(made, first, outcome(b"a"))
    batch = made.batch()
    finish(made, second, outcome(b"b"))
    made.settle(batch)
    assert [sent.value for sent in made.batch().records] == [b"b"]
    assert len(made.held) == 1


def test_a_batch_that_was_not_committed_is_in_the_next_one() -> None:
    made = workload()
    for offset in range(2):
        made.take(record(offset), 0.0)
    first, second = made.start(), made.start()
    finish(made, first, outcome(b"a"))
    made.batch()
    finish(made, second, outcome(b"b"))
    assert [sent.value for sent in made.batch().records] == [b"a", b"b"]


def test_what_cannot_be_committed_can_be_replaced() -> None:
    made = workload()
    for offset in range(3):
        made.take(record(offset), 0.0)
    for values in ((b"a1", b"a2"), (b"too large", b"b2"), (b"c",)):
        finish(made, made.start(), outcome(*values))
    made.replace(made.batch(), [2, 3], lambda result: outcome(b"instead"))
    assert [sent.value for sent in made.batch().records] == [b"a1", b"a2", b"instead", b"c"]
    with pytest.raises(IndexError):
        made.replace(made.batch(), [4], lambda result: outcome())


def test_the_load_is_what_is_held() -> None:
    made = workload()
    made.take(record(0, b"k", size=9), 0.0)
    made.take(record(1, b"k", size=19), 0.0)
    made.take(record(2, b"l", size=29), 0.0)
    assert made.load == Load(held=3, unfinished=3, active=2, held_bytes=60)
    finish(made, made.start(), outcome())
    assert made.load == Load(held=3, unfinished=2, active=2, held_bytes=60)
    made.settle(made.batch())
    assert made.load == Load(held=2, unfinished=2, active=2, held_bytes=50)


def has_news(made: Workload) -> bool:
    return made.has_news


def test_where_a_group_starts_is_news_until_it_is_committed() -> None:
    made = workload(CommitPoint(7, 7), is_new=True)
    assert has_news(made)
    made.settle(made.batch())
    assert not has_news(made)


def test_a_base_that_moves_without_results_is_news_once_nothing_is_held() -> None:
    made = workload()
    made.take(record(0), 0.0)
    made.ledger.advance(5)
    assert not has_news(made)
    finish(made, made.start(), outcome())
    assert has_news(made)
    made.settle(made.batch())
    assert not has_news(made)
    made.ledger.advance(6)
    assert has_news(made)
    assert made.batch().committed.offset == 6


@given(st.lists(st.sampled_from(["take", "start", "finish", "commit"]), max_size=200))
def test_what_was_committed_is_what_was_done(steps: list[str]) -> None:
    """Whatever the order: reading the commit back gives the records that have no result."""
    made = workload()
    taken = 0
    running: list[Ticket] = []
    committed = CommitPoint(0, 0)
    published: set[int] = set()
    for step in steps:
        if step == "take":
            made.take(record(taken, b"%d" % (taken % 5)), 0.0)
            taken += 1
        elif step == "start" and made.ready:
            running.append(made.start())
        elif step == "finish" and running:
            finish(made, running.pop(len(running) // 2), outcome())
        elif step == "commit":
            batch = made.batch()
            made.settle(batch)
            published |= {result.record.offset for result in batch.results}
            committed = ledger.decode(batch.committed.offset, batch.committed.metadata)
    again = workload(committed)
    left = [o for o in range(taken) if o >= committed.base and again.take(record(o), 0.0)]
    assert sorted([*published, *left]) == list(range(taken))


def by_tenant() -> Workload:
    tenants = Tenants.by("key_prefix:/")
    return Workload(CommitPoint(0, 0), is_new=False, ordering="key", limit=1000, tenants=tenants)


def test_a_flood_of_one_tenant_does_not_hold_up_the_others() -> None:
    made = by_tenant()
    for offset in range(300):
        made.take(record(offset, b"loud/%d" % offset), 0.0)
    for _ in range(100):
        made.start()
    for offset, tenant in enumerate((b"a", b"b", b"c"), start=300):
        made.take(record(offset, tenant + b"/1"), 0.0)
    started = [made.start()[0] for _ in range(3)]
    assert started == [b"a/1", b"b/1", b"c/1"]
    assert made.start()[0] == b"loud/100"


def test_a_crowd_of_one_tenant_does_not_count_as_active_so_that_others_are_let_in() -> None:
    made = by_tenant()
    for offset in range(300):
        made.take(record(offset, b"loud/%d" % offset), 0.0)
    assert made.load.active == CROWD
    assert made.load.unfinished == 300
    made.take(record(300, b"a/1"), 0.0)
    assert made.load.active == CROWD + 1
    while made.ready:
        made.start()
    assert made.load.active == 301


def test_without_tenants_all_count_and_the_oldest_goes_first() -> None:
    made = workload()
    for offset in range(100):
        made.take(record(offset, b"loud/%d" % offset), 0.0)
    assert made.load.active == 100
    assert [made.start()[1].record.offset for _ in range(100)] == list(range(100))


def test_a_tenant_is_named_by_a_header_or_by_the_beginning_of_the_key() -> None:
    by_header, by_key = tenant_reader("header:tenant"), tenant_reader("key_prefix:/")
    assert by_header is not None
    assert by_key is not None
    plain = record(0, b"acme/eu/7")
    named = Received("in", 0, 0, b"k", b"x", (("tenant", b"acme"),), NOW, NOW)
    assert (by_header(named), by_header(plain)) == ("acme", "")
    assert (by_key(plain), by_key(named), by_key(record(0))) == ("acme", "", "")
    assert tenant_reader(None) is None


@pytest.mark.parametrize(
    ("value", "tenant"),
    [
        (b'{"body": {"tenant": "no"}, "tenant": "acme"}', "acme"),
        (b'{"tenant": 17}', "17"),
        (b'{"tenant": {"id": 1}}', ""),
        (b'{"tenant": true}', ""),
        (b'{"body": "no tenant"}', ""),
        (b"[1, 2]", ""),
        (b"no JSON", ""),
        (b'{"a":' * 100_000, ""),
        (b'{"tenant": "acme", "body": "%b"}' % (b"x" * FIELD_BYTES), ""),
        (None, ""),
    ],
)
def test_a_tenant_is_named_by_a_field(value: bytes | None, tenant: str) -> None:
    by_field = tenant_reader("field:tenant")
    assert by_field is not None
    assert by_field(Received("in", 0, 0, b"k", value, (), NOW, NOW)) == tenant


def test_what_was_escalated_carries_its_tenant() -> None:
    carried = carried_tenant_reader("key_prefix:/")
    assert carried is not None
    headers = ((TENANT_HEADER, b"acme"),)
    assert carried(Received("in", 0, 0, b"k", b"x", headers, NOW, NOW)) == "acme"
    assert carried(record(0, b"older/7")) == "older"
    assert carried_tenant_reader(None) is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.booleans()), max_size=60))
def test_tenants_change_nothing_about_the_order_of_a_key(
    steps: list[tuple[str, int, bool]],
) -> None:
    made, running, seen = by_tenant(), list[Ticket](), dict[bytes | None, list[int]]()
    for offset, (tenant, key, finishes) in enumerate(steps):
        made.take(record(offset, f"{tenant}/{key}".encode()), 0.0)
        while made.ready:
            running.append(made.start())
            lane, held = running[-1]
            assert [each[0] for each in running].count(lane) == 1, "one at a time"
            seen.setdefault(lane, []).append(held.record.offset)
        if finishes:
            finish(made, running.pop(0), outcome())
    assert all(offsets == sorted(offsets) for offsets in seen.values())
