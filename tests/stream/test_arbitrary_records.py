"""Any records at all, through an engine: each event comes to one end, and all are committed."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.publishing import UnpublishableHandler, dead_letter
from pipeline.model.errors import InvalidEvent
from pipeline.model.observer import Observer
from pipeline.model.records import DeadLetterReason
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Disposition, Headers, Outcome, Outgoing, Received
from pipeline.testing import run_in_virtual_time
from tests.stream.workbench import Bench, running, until

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ROOM = 10_000
"""Bytes of the largest record that the topics take: a small dead letter, and a little more."""

contents = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from([b"ok", b"ok" * 3000, b"x" * ROOM, b"x" * 4 * ROOM, b"\xff\xfe"]),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(["a", "dlq-reason", "dlq-original", "traceparent", "n" * 6000]), contents
    ),
    max_size=4,
).map(tuple)
records = st.lists(st.tuples(contents, contents, headers), min_size=1, max_size=12)


async def handle(record: Received) -> Outcome:
    """What begins with `ok` grows to twice its size; the rest is put aside."""
    if (record.value or b"").startswith(b"ok"):
        value = (record.value or b"") * 2
        return Outcome(Disposition.ENRICHED, (Outgoing("out", record.key, value, record.headers),))
    invalid = InvalidEvent(DeadLetterReason.INVALID_JSON, "It is not ok.")
    return dead_letter(record, "dead", invalid, stage="stage", now=NOW)


@settings(max_examples=60, deadline=None)
@given(records)
def test_whatever_is_published_each_event_comes_to_one_end(
    published: list[tuple[bytes | None, bytes | None, Headers]],
) -> None:
    run_in_virtual_time(_check(published))


async def _check(published: list[tuple[bytes | None, bytes | None, Headers]]) -> None:
    bench = Bench()
    bench.broker.create_topic("dead")
    bench.broker.max_message_bytes = ROOM
    for key, value, some in published:
        bench.broker.publish("in", value, key=key, headers=some)
    rescue = UnpublishableHandler("stage", "dead", clock=lambda: NOW, observer=Observer())
    async with running(bench, handler=handle, rescue=rescue, dead_letter_ratio=1):
        await until(lambda: bench.committed() == len(published), within=600)
    dead_letters = bench.broker.committed_records("dead")[TopicPartition("dead", 0)]
    events = sum(value is not None for _, value, _ in published)
    assert len(bench.output()) + len(dead_letters) == events
    places = Counter(
        content
        for dead_letter in dead_letters
        if dead_letter.record
        for name, content in dead_letter.record.headers
        if name == "dlq-offset"
    )
    assert places.total() == len(places) == len(dead_letters)
