"""A drawn answer goes to its topic with the result, from either tier, and holds what it may."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.publishing import UnpublishableHandler
from pipeline.cascade.reading import Escalations, RawEvents
from pipeline.cascade.sampler import SIGNALS_HEADER, Sampler
from pipeline.config import Settings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.records import Tier
from pipeline.privacy.masking import Masking, Rules
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.trust.records import SampledAnswer
from pipeline.trust.sampling import Lottery
from tests.cascade.stand_ins import NOON, NoteAnswer, NoteStage, ScriptedAsker, received

SURE = NoteAnswer(mood="sad", confidence=0.95, unclear=False)
DOUBTED = NoteAnswer(mood="glad", confidence=0.9, unclear=False, doubtful=True)
NOTE = {"id": "n-1", "text": "all is well", "room": "blue"}
ALL = Sampler("trust", Lottery(1.0))
TOPICS = TopicNames(TopicSettings())


async def handled(
    answer: NoteAnswer,
    record: Received,
    sampler: Sampler | None = ALL,
    *,
    tier: Tier = Tier.HAIKU,
) -> Outcome:
    stage = NoteStage()
    process = Processor(
        RawEvents(stage) if tier is Tier.HAIKU else Escalations({"notes": stage}),
        CascadePolicy(ScriptedAsker(answer), Policy(), tier),
        TOPICS,
        clock=lambda: NOON,
        observer=Observer(),
        sampler=sampler,
    )
    return await process(record)


async def escalated(sampler: Sampler | None = ALL) -> Received:
    (out,) = (await handled(DOUBTED, received(NOTE), sampler)).records
    assert out.topic == "escalations"
    return received(out.value, topic=out.topic, headers=out.headers)


def sampled(outcome: Outcome) -> SampledAnswer:
    [record] = [each for each in outcome.records if each.topic == "trust"]
    assert record.value is not None
    return SampledAnswer.model_validate_json(record.value)


async def test_an_accepted_answer_is_drawn_with_its_result_and_its_chance() -> None:
    outcome = await handled(SURE, received(NOTE), replace(ALL, lottery=Lottery(1.0)))

    assert [each.topic for each in outcome.records] == ["notes.enriched", "trust"]
    assert outcome.records[1].key == b"answer/notes/0/n-1"
    found = sampled(outcome)
    assert (found.decided_by, found.chance, found.label) == (Tier.HAIKU, 1.0, "sad")
    assert found.result == {"mood": "sad"}
    assert found.confidence == 0.95
    assert [each.code for each in found.signals] == ["low_confidence"]
    assert found.published_at == NOON


async def test_what_the_stage_does_not_know_of_an_event_is_left_out() -> None:
    outcome = await handled(SURE, received(NOTE))
    assert sampled(outcome).source.extra == {}
    assert b"blue" not in (outcome.records[1].value or b"")


async def test_nothing_is_added_to_an_answer_that_is_not_drawn() -> None:
    never = replace(ALL, lottery=Lottery(0.0))
    plain = await handled(SURE, received(NOTE), None)
    assert await handled(SURE, received(NOTE), never) == plain
    assert len(plain.records) == 1


async def test_sonnets_answer_is_drawn_with_what_spoke_against_haikus() -> None:
    found = sampled(await handled(SURE, await escalated(), tier=Tier.SONNET))

    assert found.decided_by is Tier.SONNET
    assert found.result == {"mood": "sad"}
    assert found.haiku_result == {"mood": "glad"}
    assert {each.code for each in found.haiku_signals} == {"low_confidence", "evidence_not_found"}
    assert {each.code for each in found.signals} == {"low_confidence"}


async def test_both_tiers_draw_the_same_events() -> None:
    half = replace(ALL, lottery=Lottery(0.5))
    for number in range(50):
        note = {**NOTE, "id": f"n-{number}"}
        [out] = (await handled(DOUBTED, received(note), half)).records
        record = received(out.value, topic=out.topic, headers=out.headers)
        ended = await handled(SURE, record, half, tier=Tier.SONNET)
        carried = SIGNALS_HEADER in dict(out.headers)
        assert carried == (len(ended.records) == 2)


async def test_an_escalation_that_is_not_drawn_is_as_it_was() -> None:
    never = replace(ALL, lottery=Lottery(0.0))
    assert (await escalated(never)).headers == (await escalated(None)).headers


@pytest.mark.parametrize("header", [b"", b"[1]", b"null", b"[" * 100_000])
async def test_a_forged_header_costs_nothing_but_the_signals(header: bytes) -> None:
    record = await escalated()
    headers = [each for each in record.headers if each[0] != SIGNALS_HEADER]
    forged = replace(record, headers=(*headers, (SIGNALS_HEADER, header)))

    found = sampled(await handled(SURE, forged, tier=Tier.SONNET))

    assert found.haiku_signals == []


async def test_what_goes_to_people_is_not_published_and_not_drawn() -> None:
    outcome = await handled(DOUBTED, await escalated(), tier=Tier.SONNET)
    assert [each.topic for each in outcome.records] == ["review"]


async def test_an_installation_may_keep_no_answers() -> None:
    empty = replace(ALL, keep_answers=False)
    found = sampled(await handled(SURE, await escalated(), empty, tier=Tier.SONNET))
    assert (found.result, found.haiku_result) == (None, None)
    assert found.label == "sad"


async def test_answers_are_kept_masked_and_equal_values_stay_equal() -> None:
    masking = Masking(Rules(frozenset({"email"}), frozenset({"room"})))
    hidden = replace(ALL, masking=masking)

    async def mood(text: str) -> Any:  # noqa: ANN401
        answer = NoteAnswer(mood=text, confidence=0.95, unclear=False)
        return (sampled(await handled(answer, received(NOTE), hidden)).result or {})["mood"]

    ada = await mood("Write to ada@example.com in Blue")
    assert "ada" not in ada
    assert "Blue" not in ada
    assert ada.startswith("Write to [EMAIL:")
    assert "[ROOM:" in ada
    assert ada == await mood("Write to ADA@example.com in blue")
    assert ada != await mood("Write to bob@example.com in blue")


async def test_an_answer_that_cannot_be_carried_with_its_sample_is_published_without() -> None:
    outcome = await handled(SURE, received(NOTE))
    rescue = UnpublishableHandler(
        "notes", "dead-letters", clock=lambda: NOON, observer=Observer(), trust="trust"
    )

    smaller = rescue(received(NOTE), outcome, "It is too large.")

    assert smaller is not None
    assert smaller.end is Disposition.ENRICHED
    assert [each.topic for each in smaller.records] == ["notes.enriched"]
    again = rescue(received(NOTE), smaller, "It is too large.")
    assert again is not None
    assert again.end is Disposition.DEAD_LETTER


def test_a_share_of_none_draws_nothing() -> None:
    assert Sampler.from_settings(Settings(trust={"sample_share": 0})) is None
    found = Sampler.from_settings(Settings(trust={"sample_share": 0.2, "key": "sixteen letters!"}))
    assert found is not None
    assert found.lottery == Lottery(0.2, b"sixteen letters!")


async def test_the_value_is_what_its_schema_says() -> None:
    value = (await handled(SURE, received(NOTE))).records[1].value
    assert value is not None
    assert orjson.loads(value)["schema"] == "trust.answer/1"
