"""The life of a batch, as its records have it, and which of a list of batches may be one. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backfill.journal import InvalidTransition, Job, Run, State, Tally, custom_id
from pipeline.backfill.lane import candidates
from pipeline.claude.message_batches import Batch, Counts

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def job(**changes: int) -> Job:
    fields: dict[str, Any] = {
        "stage": "notes",
        "source": "notes.raw",
        "partition": 3,
        "first": 10,
        "next": 20,
        "spans": ((10, 14), (16, 20)),
        "events": 8,
        "nonce": "0123456789ab",
        "run": "r",
        "claimed_at": NOON,
    }
    return Job.model_validate(fields | changes)


TURNS: dict[str, Callable[[Job], Job]] = {
    "sending": lambda each: each.sending(NOON, 8),
    "not_sent": lambda each: each.not_sent(),
    "submitted": lambda each: each.submitted("msgbatch_1", NOON),
    "ended": lambda each: each.ended(),
    "without_batch": lambda each: each.without_batch(),
    "abandoned": lambda each: each.abandoned(),
    "half": lambda each: each.progressed(15, Tally(enriched=4)),
    "whole": lambda each: each.progressed(20, Tally(escalated=4)),
    "published": lambda each: each.published(NOON),
}


@given(st.lists(st.sampled_from(sorted(TURNS)), max_size=12))
def test_states_only_go_forward_and_a_record_holds_all_of_a_batch(turns: list[str]) -> None:
    now = job()
    order = list(State)
    for turn in turns:
        try:
            after = TURNS[turn](now)
        except InvalidTransition:
            continue
        assert order.index(after.state) >= order.index(now.state) or turn == "not_sent"
        assert after.published_to >= now.published_to
        assert after.state is not State.SUBMITTED or after.batch_id is not None
        now = after
        assert Job.model_validate_json(now.model_dump_json(by_alias=True)) == now


def test_nothing_is_sent_without_a_record_that_says_so() -> None:
    with pytest.raises(InvalidTransition):
        job().submitted("msgbatch_1", NOON)


def test_what_was_published_is_never_published_again() -> None:
    ended = job().sending(NOON, 8).submitted("msgbatch_1", NOON).ended()
    half = ended.progressed(15, Tally(enriched=4))
    with pytest.raises(InvalidTransition):
        half.progressed(12, Tally())
    assert half.progressed(20, Tally(enriched=3)).published(NOON).tally.gone == 1


def test_a_batch_holds_what_was_not_done_before() -> None:
    assert [offset for offset in range(9, 21) if job().holds(offset)] == [
        *range(10, 14),
        *range(16, 20),
    ]


def test_a_custom_id_is_one_that_the_api_takes() -> None:
    longest = custom_id(job(partition=99_999).prefix, (1 << 63) - 1, "f" * 32)
    assert len(longest) <= 64
    assert set(longest) <= set("0123456789abcdef-")


def test_records_of_a_later_version_are_read_as_far_as_they_are_known() -> None:
    text = job().model_dump_json(by_alias=True)
    assert Job.model_validate_json(text[:-1] + ',"news":1}') == job()
    run = Run(stage="notes", source="notes.raw", run="r", events=None, started_at=NOON)
    assert Run.model_validate_json(run.model_dump_json(by_alias=True)) == run
    assert run.key != job().key


def batch(name: str, *, after: float = 5, requests: int = 8, ended: bool = False) -> Batch:
    counts = Counts(succeeded=requests) if ended else Counts(processing=requests)
    made = NOON + timedelta(seconds=after)
    return Batch(
        id=name,
        processing_status="ended" if ended else "in_progress",
        request_counts=counts,
        created_at=made,
        expires_at=made + timedelta(days=1),
    )


SENT = job().sending(NOON, 8)


def test_only_a_batch_of_the_time_and_the_size_may_be_the_one() -> None:
    listed = [
        batch("right"),
        batch("clock_is_slow", after=-300),
        batch("early", after=-3600),
        batch("small", requests=7),
        batch("of_another", requests=8),
    ]
    found = candidates(listed, SENT, known={"of_another"})
    assert [each.id for each in found] == ["right", "clock_is_slow"]
