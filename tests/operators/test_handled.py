"""Marks of what was handled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.operators.handled import HandledIndex
from pipeline.stream.records import Outgoing, Received
from tests.hostile import records

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def record(partition: int = 0, offset: int = 0, *, topic: str = "dead-letters") -> Received:
    return Received(topic, partition, offset, b"k", b"v", (), NOON, NOON)


def as_read(outgoing: Outgoing) -> Received:
    return replace(record(topic=outgoing.topic), key=outgoing.key, value=outgoing.value)


def marks() -> HandledIndex:
    return HandledIndex("dead-letters", "dead-letters.replayed")


def test_what_was_written_is_known_to_the_next_reader() -> None:
    writer, reader = marks(), marks()
    handled = writer.next(record(3, 7), to="tickets.raw", at=NOON, by="ada")
    reader.read(as_read(writer.outgoing(handled)))
    entry = reader.of(record(3, 7))
    assert entry is not None
    assert (entry.at, entry.times, entry.by) == (NOON, 1, "ada")
    assert reader.of(record(7, 3)) is None


def test_each_time_is_counted() -> None:
    mine = marks()
    for times in (1, 2, 3):
        handled = mine.next(record(), to="t", at=NOON, by="ada")
        mine.written([handled])
        assert handled.times == times


@given(st.integers(0, 2**41), st.integers(1, 10**6))
def test_a_record_in_the_place_of_another_is_not_taken_for_it(at: int, later: int) -> None:
    first = replace(record(), timestamp=datetime.fromtimestamp(at / 1000, UTC))
    second = replace(first, timestamp=first.timestamp + timedelta(milliseconds=later))
    mine = marks()
    mine.read(as_read(mine.outgoing(mine.next(first, to="t", at=NOON, by="ada"))))
    assert mine.of(first) is not None
    assert mine.of(second) is None


def test_marks_of_another_topic_do_not_count() -> None:
    other = HandledIndex("acme.dead-letters", "dead-letters.replayed")
    mine = marks()
    handled = other.next(record(topic="acme.dead-letters"), to="t", at=NOON, by="ada")
    mine.read(as_read(other.outgoing(handled)))
    assert not mine.partitions()


def test_marks_of_what_has_left_its_topic_are_obsolete_and_go() -> None:
    mine, reader = marks(), marks()
    for offset in range(4):
        mine.written([mine.next(record(1, offset), to="t", at=NOON, by="ada")])
    assert mine.partitions() == {1}
    tombstones = mine.remove_obsolete({1: 2})
    assert [each.key for each in tombstones] == [b"dead-letters/1/0", b"dead-letters/1/1"]
    assert mine.remove_obsolete({1: 2}) == []
    reader.read(as_read(mine.outgoing(mine.next(record(1, 0), to="t", at=NOON, by="ada"))))
    reader.read(as_read(tombstones[0]))
    assert not reader.partitions()


NO_MARKS = [b"", b"{}", b'{"schema": "handled/2"}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("value", NO_MARKS)
@pytest.mark.parametrize("key", [None, b"", b"k", b"other/3/7", b"dead-letters/x/7", b"/" * 10_000])
def test_what_is_no_mark_is_left_out_and_reported_once(
    value: bytes, key: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    mine = marks()
    mine.written([mine.next(record(3, 7), to="t", at=NOON, by="ada")])
    for offset in (9, 10):
        mine.read(replace(record(3, offset), key=key, value=value))
    assert mine.partitions() == {3}
    mine.warn()
    (line,) = caplog.messages
    assert line.startswith("2 records of dead-letters.replayed are no marks")
    assert "the first at 3:9" in line


@pytest.mark.parametrize("value", NO_MARKS)
def test_what_an_unreadable_mark_is_about_counts_as_handled_until_it_is_again(value: bytes) -> None:
    mine = marks()
    mine.read(replace(record(0, 3), key=b"dead-letters/3/7", value=value))
    entry = mine.of(record(3, 7))
    assert entry is not None
    assert entry.times == 1
    assert mine.of(record(3, 8)) is None
    mine.written([mine.next(record(3, 7), to="t", at=NOON, by="ada")])
    again = mine.of(record(3, 7))
    assert again is not None
    assert (again.times, again.by) == (2, "ada")


def test_an_unreadable_mark_hides_no_readable_one() -> None:
    mine = marks()
    mine.written([mine.next(record(3, 7), to="t", at=NOON, by="ada")])
    mine.read(replace(record(), key=b"dead-letters/3/7", value=b"junk"))
    entry = mine.of(record(3, 7))
    assert entry is not None
    assert entry.by == "ada"


VALID = {
    "schema": "handled/1", "topic": "dead-letters", "partition": 3, "offset": 7,
    "timestamp": "2026-11-22T12:00:00.000Z", "to": "tickets.raw",
    "at": "2026-11-22T12:00:00.000Z", "times": 1, "by": "ada",
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    records(VALID),
    st.sampled_from([None, b"", b"dead-letters/3/7", b"dead-letters/" + b"9" * 5000 + b"/7"]),
)
def test_whatever_is_in_the_topic_can_be_read_and_handled_again(
    value: bytes, key: bytes | None
) -> None:
    mine = marks()
    for given_value in (value, value, None):
        mine.read(replace(record(), key=key, value=given_value))
        handled = mine.next(record(3, 7), to="t", at=NOON, by="bob")
        assert mine.outgoing(handled).value
        mine.remove_obsolete({3: 100})
        assert mine.of(record(3, 7)) is None


@pytest.mark.parametrize("key", [None, b"", b"dead-letters", b"a/b/c", b"\xff/1/2"])
def test_an_unknown_tombstone_removes_nothing(key: bytes | None) -> None:
    mine = marks()
    mine.written([mine.next(record(), to="t", at=NOON, by="ada")])
    mine.read(replace(record(), key=key, value=None))
    assert mine.of(record()) is not None
