"""What is on the topics is read for what it says of its source, and doubted where it does not."""

import orjson
import pytest

from tests.faults.audit import End, Ended, Hop, Move, Published
from tests.faults.evidence import NOWHERE, Sorted, Topics, sort_records
from tests.faults.reading import Record

TOPICS = Topics("x.")
SOURCE = {"source": {"topic": "x.tickets.raw", "partition": 3, "offset": 7}}


def record(
    topic: str, value: object, *, offset: int = 0, headers: dict[str, bytes] | None = None
) -> Record:
    return Record(topic, 1, offset, 5.0, "k", orjson.dumps(value), headers or {})


def test_a_raw_record_is_known_by_its_place() -> None:
    found = sort_records([record(TOPICS.raw, {"id": "a"}, offset=4)], TOPICS)
    assert found.published == [Published("a", "k", (1, 4))]


@pytest.mark.parametrize(
    ("topic", "value", "end", "escalated"),
    [
        ("tickets.enriched", {"decided_by": "haiku"}, End.ENRICHED, False),
        ("tickets.enriched", {"decided_by": "sonnet"}, End.ENRICHED, True),
        ("review", {}, End.REVIEW, True),
    ],
)
def test_an_end_is_read_with_its_event_its_source_and_its_way(
    topic: str, value: dict[str, str], end: End, *, escalated: bool
) -> None:
    whole = {"event_id": "a", **SOURCE, **value}
    found = sort_records([record(f"x.{topic}", whole, offset=2)], TOPICS)
    assert found.ended == [Ended("a", (3, 7), end, escalated, "k", 1, 2)]
    assert found.written == {("a", "sonnet" if escalated else "haiku", 0): 5.0}


def test_the_source_of_a_dead_letter_is_read_from_its_headers() -> None:
    place = {"dlq-topic": b"x.tickets.raw", "dlq-partition": b"3", "dlq-offset": b"7"}
    headers = {**place, "dlq-stage": b"tickets"}
    found = sort_records([record("x.dead-letters", {"id": "a"}, headers=headers)], TOPICS)
    assert found.ended == [Ended("a", (3, 7), End.DEAD_LETTER, False, "k", 1, 0)]


def test_a_dead_letter_of_an_escalation_is_the_end_of_the_event_that_it_is_about() -> None:
    place = {"dlq-topic": b"x.escalations", "dlq-partition": b"0", "dlq-offset": b"1"}
    headers = {**place, "dlq-stage": b"escalations"}
    dead_letter = record("x.dead-letters", {"event_id": "a", **SOURCE}, headers=headers)
    assert sort_records([dead_letter], TOPICS).ended == [
        Ended("a", (3, 7), End.DEAD_LETTER, True, "k", 1, 0)
    ]
    at = ("x.tickets.raw", 3, 7)
    assert sort_records([dead_letter], TOPICS, {at: at}).hostile == [(at, "dead_letter")]


def test_an_escalation_is_the_end_of_its_first_hop() -> None:
    found = sort_records([record(TOPICS.escalations, {"event_id": "a", **SOURCE})], TOPICS)
    assert found.escalated == [Hop((3, 7))]
    assert found.written == {("a", "haiku", 0): 5.0}
    assert not found.ended


@pytest.mark.parametrize("value", [b"no JSON", b"[]", b"{}", b'{"source": {"partition": "?"}}'])
def test_what_says_nothing_of_its_source_came_from_nowhere(value: bytes) -> None:
    bad = Record("x.tickets.enriched", 0, 0, 5.0, "k", value, {})
    [ended] = sort_records([bad], TOPICS).ended
    assert ended.source == NOWHERE[1:]


def test_what_came_of_a_hostile_record_is_kept_apart_from_the_events() -> None:
    at, claimed = ("x.escalations", 1, 9), ("nowhere.raw", 0, 1)
    source = {"topic": "nowhere.raw", "partition": 0, "offset": 1}
    records = [
        record("x.escalations", {"event_id": "h"}, offset=9),
        record("x.review", {"event_id": "h", "source": source}),
    ]
    found = sort_records(records, TOPICS, {at: at, claimed: at})
    assert found == Sorted(hostile=[(at, "review")])


def test_what_was_written_after_a_move_of_the_group_is_of_another_epoch() -> None:
    moves = [Move("moved", {3: 0}, {("x.tickets.enriched", 1): end}) for end in (1, 3)]
    whole = {"event_id": "a", "decided_by": "haiku", **SOURCE}
    records = [record("x.tickets.enriched", whole, offset=offset) for offset in range(4)]
    found = sort_records(records, TOPICS, moves=moves)
    assert [ended.epoch for ended in found.ended] == [0, 1, 1, 2]
    assert found.written.keys() == {("a", "haiku", epoch) for epoch in range(3)}
    assert found.decided == {("a", "haiku"): 4}
