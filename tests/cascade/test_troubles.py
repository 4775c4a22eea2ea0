"""Events that fail while others do not: to the other tier once, then to review, and named once."""

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest
import structlog

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import QUIET_SECONDS, RETRY_SECONDS, Escalations, RawEvents, Reading
from pipeline.claude.failures import Bounds
from pipeline.config import TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import AnswerError, FileUnavailable, Unanswered, Unavailable
from pipeline.model.observer import Observer
from pipeline.model.questions import Question
from pipeline.model.records import Tier, Usage
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.testing import run_in_virtual_time
from tests.cascade.stand_ins import (
    NOON,
    SPENT,
    Note,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

TOPICS = TopicNames(TopicSettings())
SURE = NoteAnswer(mood="glad", confidence=0.95, unclear=False)
UNPAID = Usage(calls=9, cost_usd=None)
FAILED = Unanswered("No answer in 9 attempts.", usage=UNPAID, model="model", seconds=90.0)
BOUNDS = Bounds(attempts=8, seconds=60)


class StoredNotes(NoteStage):
    """Its files are somewhere that may be away."""

    def __init__(self, is_away: Callable[[Note], bool]) -> None:
        self._is_away = is_away
        self.asked = 0

    def question(self, event: Note) -> Question[NoteAnswer]:
        self.asked += 1
        if self._is_away(event):
            raise Unavailable("The object store refuses to give an object: AccessDenied.")
        return super().question(event)


async def first_tier(
    *script: NoteAnswer | AnswerError, stage: NoteStage | None = None, text: str = "all is well"
) -> Outcome:
    judge = CascadePolicy(ScriptedAsker(*script), Policy({}), Tier.HAIKU, Reading(BOUNDS))
    processor = Processor(
        RawEvents(stage or NoteStage()), judge, TOPICS, clock=lambda: NOON, observer=Observer()
    )
    return await processor(received({"id": "n-1", "text": text}))


async def second_tier(outcome: Outcome, *script: NoteAnswer | AnswerError) -> Outcome:
    (out,) = outcome.records
    judge = CascadePolicy(ScriptedAsker(*script), Policy({}), Tier.SONNET, Reading(BOUNDS))
    processor = Processor(
        Escalations({"notes": NoteStage()}), judge, TOPICS, clock=lambda: NOON, observer=Observer()
    )
    record: Received = received(out.value, topic=out.topic)
    return await processor(record)


async def test_an_event_on_which_calls_fail_at_both_tiers_is_reviewed_with_all_of_its_history() -> (
    None
):
    with structlog.testing.capture_logs() as lines:
        escalated = await first_tier(FAILED)
        outcome = await second_tier(escalated, FAILED)

    assert escalated.end is Disposition.ESCALATED
    assert outcome.end is Disposition.REVIEW
    value = published(outcome)
    assert [doubt["code"] for doubt in value["doubts"]] == ["call_failed", "call_failed"]
    assert value["doubts"][0]["detail"] == "No answer in 9 attempts."
    assert (value["usage"]["calls"], value["usage"]["cost_usd"]) == (18, None)
    assert value["haiku_result"] is value["sonnet_result"] is None
    (named,) = [line for line in lines if line["log_level"] == "warning"]
    assert (named["event"], named["event_id"]) == ("call_failed", "n-1")


async def test_what_fails_at_the_first_tier_may_be_settled_by_the_second() -> None:
    outcome = await second_tier(await first_tier(FAILED), SURE)

    assert outcome.end is Disposition.ENRICHED
    value = published(outcome)
    assert value["decided_by"] == "sonnet"
    assert [doubt["code"] for doubt in value["escalation"]["doubts"]] == ["call_failed"]
    assert value["usage"]["calls"] == 9 + SPENT.calls


async def test_what_fails_at_the_second_tier_only_is_named_there() -> None:
    unsure = NoteAnswer(mood="glad", confidence=0.2, unclear=False)
    with structlog.testing.capture_logs() as lines:
        outcome = await second_tier(await first_tier(unsure), FAILED)

    assert outcome.end is Disposition.REVIEW
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["call_failed"]


def test_one_file_that_cannot_be_had_while_others_can_is_its_events_trouble() -> None:
    async def main() -> None:
        reading = Reading(BOUNDS, clock=asyncio.get_running_loop().time)
        stage = StoredNotes(lambda event: event.id == "lost")
        begin = asyncio.get_running_loop().time()
        with structlog.testing.capture_logs() as lines:
            lost = asyncio.create_task(reading.ask_about(stage, Note(id="lost", text="a")))
            while not lost.done():
                await reading.ask_about(stage, Note(id="other", text="b"))
                await asyncio.sleep(1)
                assert reading.waiting == (not lost.done())
        with pytest.raises(FileUnavailable) as caught:
            lost.result()
        assert 60 <= asyncio.get_running_loop().time() - begin <= 60 + 2 * RETRY_SECONDS
        assert "AccessDenied" in caught.value.detail
        assert (caught.value.usage, caught.value.model) == (Usage(), "none")
        assert [(line["event"], line["event_id"]) for line in lines] == [("file_awaited", "lost")]

    run_in_virtual_time(main())


def test_a_store_that_gives_nobody_a_file_is_waited_for_however_long_it_takes() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        back_at = clock() + 7200
        reading = Reading(BOUNDS, clock=clock)
        stage = StoredNotes(lambda _: clock() < back_at)
        notes = [Note(id=f"n-{n}", text="a") for n in range(20)]
        asked = [asyncio.create_task(reading.ask_about(stage, note)) for note in notes]
        await asyncio.sleep(3600)
        assert reading.waiting == 20
        assert all(isinstance(each, Question) for each in await asyncio.gather(*asked))
        assert clock() - back_at <= RETRY_SECONDS
        assert reading.waiting == 0

    run_in_virtual_time(main())


class Claimed(Note):
    """Its id begins with the place of its file."""

    @property
    def file_place(self) -> str:
        return self.id.partition("/")[0]


def test_what_is_had_elsewhere_makes_no_outage_of_a_store_the_trouble_of_its_events() -> None:
    async def main() -> None:
        reading = Reading(BOUNDS, clock=asyncio.get_running_loop().time)
        stage = StoredNotes(lambda event: event.id.startswith("bucket"))
        lost = asyncio.create_task(reading.ask_about(stage, Claimed(id="bucket/1", text="a")))
        for _ in range(720):
            await reading.ask_about(stage, Claimed(id="record/1", text="b"))
            await asyncio.sleep(10)
        assert not lost.done()
        lost.cancel()

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("scope", "others", "ends"),
    [("file", 0, True), ("file", 1, False), (None, 0, False), ("place", 0, False)],
)
def test_a_file_that_nobody_can_be_compared_with_is_given_up_where_its_place_answers(
    scope: Literal["place", "file"] | None, others: int, *, ends: bool
) -> None:
    class Lost(NoteStage):
        def question(self, event: Note) -> Question[NoteAnswer]:
            raise Unavailable("It cannot be read: Input/output error.", scope=scope)

    async def main() -> None:
        reading = Reading(BOUNDS, clock=asyncio.get_running_loop().time)
        asked = [
            asyncio.create_task(reading.ask_about(Lost(), Note(id=f"n-{n}", text="a")))
            for n in range(1 + others)
        ]
        await asyncio.sleep(QUIET_SECONDS - RETRY_SECONDS)
        assert not any(task.done() for task in asked)
        await asyncio.sleep(QUIET_SECONDS)
        assert asked[0].done() is ends
        if ends:
            with pytest.raises(FileUnavailable, match="while the place of the file answered"):
                asked[0].result()
        for task in asked:
            task.cancel()

    run_in_virtual_time(main())


def test_no_event_pays_for_a_place_that_is_away_while_others_are_had() -> None:
    async def main() -> None:
        reading = Reading(BOUNDS, clock=asyncio.get_running_loop().time)

        class Mounts(NoteStage):
            def question(self, event: Note) -> Question[NoteAnswer]:
                if event.id == "lost":
                    raise Unavailable("The directory cannot be read.", scope="place")
                return super().question(event)

        lost = asyncio.create_task(reading.ask_about(Mounts(), Note(id="lost", text="a")))
        for _ in range(720):
            await reading.ask_about(Mounts(), Note(id="other", text="b"))
            await asyncio.sleep(10)
        assert not lost.done()
        lost.cancel()

    run_in_virtual_time(main())


def test_a_wait_for_a_file_can_be_given_up() -> None:
    async def main() -> None:
        reading = Reading(BOUNDS, clock=asyncio.get_running_loop().time)
        stage = StoredNotes(lambda _: True)
        waiting = asyncio.create_task(reading.ask_about(stage, Note(id="n", text="a")))
        await asyncio.sleep(12)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert reading.waiting == 0

    run_in_virtual_time(main())


async def test_an_event_without_its_file_is_escalated_and_nothing_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = FileUnavailable("No answer.", usage=Usage(), model="none", seconds=0.0)

    async def read_or_ask(self: Reading, stage: object, event: object) -> None:
        raise lost

    monkeypatch.setattr(Reading, "read_or_ask", read_or_ask)
    escalated = await first_tier()
    assert escalated.end is Disposition.ESCALATED
    value = published(escalated)
    assert [doubt["code"] for doubt in value["doubts"]] == ["file_unavailable"]
    assert (value["haiku_model"], value["usage"]["calls"]) == ("none", 0)
    assert (await second_tier(escalated)).end is Disposition.REVIEW
