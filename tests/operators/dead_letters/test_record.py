"""What a dead letter says, and what is put back for it."""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.records import DeadLetterReason
from pipeline.operators.dead_letters import (
    Selection,
    dead_letter_of,
    document_of,
    lines_of,
    select,
)
from pipeline.operators.handled import HandledIndex
from pipeline.operators.selection import Place, Span
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received
from tests.operators.dead_letters.examples import NOON, as_read, buried, raw

MARKS = HandledIndex("dead-letters", "dead-letters.replayed")


def test_it_says_why_it_is_here_and_where_it_was() -> None:
    dead_letter = dead_letter_of(as_read(buried(raw(7)), partition=3, offset=9))
    assert (dead_letter.about.reason, dead_letter.about.detail, dead_letter.about.stage) == (
        "invalid_event",
        "body: missing",
        "tickets",
    )
    assert dead_letter.about.source == ("tickets.raw", 1, 7)
    assert dead_letter.about.died_at == NOON
    assert dead_letter.about.attempts == 0


def test_it_goes_back_with_its_key_its_value_and_its_own_headers() -> None:
    record = raw(7)
    back = dead_letter_of(as_read(buried(record), partition=3, offset=9)).replay()
    assert (back.topic, back.key, back.value) == (record.topic, record.key, record.value)
    assert back.headers == (*record.headers, ("replayed-from", b"dead-letters/3/9"))


def test_one_that_failed_again_says_which_it_was_and_carries_no_old_reason() -> None:
    back = dead_letter_of(as_read(buried(raw(7)), partition=3, offset=9)).replay()
    second = dead_letter_of(as_read(buried(as_read(back, offset=20)), partition=3, offset=10))
    assert second.about.replayed_from == "dead-letters/3/9"
    assert second.about.source[2] == 20
    names = [name for name, _ in second.replay().headers]
    assert names == ["traceparent", "replayed-from"]


SMALL = (
    ("dlq-original", b"not_carried"),
    ("dlq-original-sha256", b"ab" * 32),
    ("dlq-original-value-bytes", b"17825814"),
)


def test_one_without_its_record_says_where_that_is() -> None:
    written = buried(raw(7))
    small = replace(written, value=b"", headers=(*written.headers, *SMALL))
    dead_letter = dead_letter_of(as_read(small, partition=3, offset=9))
    where = "offset 7 of partition 1 of tickets.raw"
    assert dead_letter.original is not None
    assert where in dead_letter.original
    assert "17825814 bytes" in dead_letter.original
    assert "ab" * 32 in dead_letter.original
    shown = "\n".join(lines_of(dead_letter, MARKS))
    assert f"not in this dead letter: {where}" in shown
    assert document_of(dead_letter, MARKS)["original"] == dead_letter.original
    assert dead_letter_of(as_read(written, partition=3, offset=9)).original is None


@settings(max_examples=50)
@given(
    st.binary() | st.none(),
    st.binary() | st.none(),
    st.lists(
        st.tuples(
            st.sampled_from(["dlq-offset", "dlq-timestamp", "dlq-topic", "dlq-attempts", "x"])
            | st.text(max_size=5),
            st.binary(max_size=20) | st.just(b"2026-11-22T10:00"),
        ),
        max_size=6,
    ),
)
def test_any_record_can_be_looked_at_and_commands_the_terminal_nothing(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    record = replace(as_read(buried(raw())), key=key, value=value, headers=tuple(headers))
    dead_letter = dead_letter_of(record)
    for line in lines_of(dead_letter, MARKS):
        assert all(char.isprintable() or char == "\t" for char in line)
    assert document_of(dead_letter, MARKS)["size"] == len(value or b"")


def test_a_large_value_is_cut_and_says_by_how_much() -> None:
    dead_letter = dead_letter_of(as_read(buried(raw(value=b"a" * 10_000))))
    *_, last = lines_of(dead_letter, MARKS, limit=4096)
    assert last == "... (5,904 characters more)"
    *_, last = lines_of(dead_letter, MARKS, limit=None)
    assert last == "a" * 10_000


def test_what_is_no_text_is_shown_in_hexadecimal() -> None:
    dead_letter = dead_letter_of(as_read(buried(raw(value=b"\x89PNG\r\n\x1a\n"))))
    *_, last = lines_of(dead_letter, MARKS)
    assert last == f"00000000  {'89 50 4e 47 0d 0a 1a 0a':<47}  .PNG...."


def selected(**fields: object) -> bool:
    dead_letter = dead_letter_of(as_read(buried(raw(7)), partition=3, offset=9))
    return dead_letter in Selection(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [
        ({"places": [Place(3, 9)]}, {"places": [Place(9, 3)]}),
        ({"stages": ["tickets", "images"]}, {"stages": ["images"]}),
        ({"reasons": ["invalid_event"]}, {"reasons": ["too_large"]}),
        ({"topics": ["tickets.raw"]}, {"topics": ["escalations"]}),
        ({"key": "customer"}, {"key": "custom"}),
        ({"key": "customer"}, {"key": os.fsdecode(b"bytes that are no UTF-8: \xff")}),
        ({"span": Span(since=NOON)}, {"span": Span(since=NOON + timedelta(seconds=1))}),
        ({"span": Span(until=NOON + timedelta(seconds=1))}, {"span": Span(until=NOON)}),
    ],
)
def test_each_filter_takes_what_fits_and_leaves_the_rest(
    fits: dict[str, object], does_not: dict[str, object]
) -> None:
    assert selected()
    assert selected(**fits)
    assert not selected(**does_not)
    assert not selected(**{"key": "no", "places": [Place(9, 3)], **does_not})


def test_places_are_read_from_the_first_of_each_partition() -> None:
    places = Selection(places=[Place(3, 9), Place(3, 4), Place(0, 1)])
    assert places.start("dlq") == {TopicPartition("dlq", 3): 4, TopicPartition("dlq", 0): 1}
    assert Selection(span=Span(since=NOON)).start("dlq") == NOON


async def test_reading_ends_once_every_place_was_found() -> None:
    read: list[int] = []

    @asynccontextmanager
    async def endless(topics: object, **_: object) -> AsyncIterator[AsyncIterator[Received]]:
        async def records() -> AsyncIterator[Received]:
            for offset in count():
                read.append(offset)
                yield as_read(buried(raw(offset)), partition=3, offset=offset)

        yield records()

    places = Selection(places=[Place(3, 4), Place(3, 2)])
    async with aclosing(select(endless, "dlq", places)) as found:
        assert [each.record.offset async for each in found] == [2, 4]
    assert read == [0, 1, 2, 3, 4]


def test_a_reason_of_a_later_version_is_still_a_reason() -> None:
    outgoing = buried(raw(), reason=DeadLetterReason.TOO_LARGE)
    headers = tuple(
        (name, b"quite_new" if name == "dlq-reason" else value) for name, value in outgoing.headers
    )
    assert dead_letter_of(as_read(replace(outgoing, headers=headers))).about.reason == "quite_new"


def test_a_dead_letter_without_its_record_says_what_is_known_of_it_and_where_it_is() -> None:
    about = (
        ("dlq-topic", b"tickets.raw"),
        ("dlq-partition", b"3"),
        ("dlq-offset", b"41"),
        ("dlq-original", b"not_carried"),
        ("dlq-original-sha256", b"ab" * 32),
        ("dlq-original-value-bytes", b"17825792"),
    )
    record = Received("dead-letters", 0, 1, b"k", None, about, NOON, NOON)
    dead_letter = dead_letter_of(record)
    shown = "\n".join(lines_of(dead_letter, MARKS))
    assert "original   not in this dead letter: offset 41 of partition 3 of tickets.raw" in shown
    assert f"17825792 bytes, SHA-256 {'ab' * 32}" in shown
    assert "from       tickets.raw 3:41" in shown
