"""A publisher's own fields, from the raw record to what is published: as they came, and once."""

from collections.abc import Mapping

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Escalations, RawEvents
from pipeline.config import TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.records import Enriched, Escalation, Tier
from pipeline.stages.files.raw_events import read_event
from pipeline.stream.records import Disposition, Outcome, Received
from tests.cascade.stand_ins import (
    NOON,
    Note,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

SURE = NoteAnswer(mood="glad", confidence=0.95, unclear=False)
UNCLEAR = NoteAnswer(mood="glad", confidence=0.9, unclear=True)
OWN = b'"shop" : {"no":1.10,"big":18446744073709551615,"z":"\\u0000 \\u00e9"}, "tags":[ 1e2, null ]'
RAW = b'{"id":"n-1", "text":"all is well", %b}' % OWN


class Notes(NoteStage):
    """Reads its records as the stages of the pipeline do."""

    def parse(self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]) -> Note:
        return read_event(Note, value, max_bytes=1 << 20)


async def of_haiku(answer: NoteAnswer, value: bytes = RAW) -> Outcome:
    judge = CascadePolicy(ScriptedAsker(answer), Policy({}), Tier.HAIKU)
    topics = TopicNames(TopicSettings())
    processor = Processor(
        RawEvents(Notes()), judge, topics, clock=lambda: NOON, observer=Observer()
    )
    return await processor(received(value))


async def of_sonnet(answer: NoteAnswer, record: Received) -> Outcome:
    judge = CascadePolicy(ScriptedAsker(answer), Policy({}), Tier.SONNET)
    topics = TopicNames(TopicSettings())
    processor = Processor(
        Escalations({"notes": Notes()}), judge, topics, clock=lambda: NOON, observer=Observer()
    )
    return await processor(record)


def value_of(outcome: Outcome) -> bytes:
    (out,) = outcome.records
    assert out.value is not None
    return out.value


async def test_they_are_published_letter_for_letter() -> None:
    outcome = await of_haiku(SURE)
    assert outcome.end is Disposition.ENRICHED
    value = value_of(outcome)
    for written in (
        b'"shop":{"no":1.10,"big":18446744073709551615,"z":"\\u0000 \\u00e9"}',
        b'"tags":[ 1e2, null ]',
    ):
        assert value.count(written) == 1
    assert published(outcome)["source"]["extra"] == orjson.loads(b"{%b}" % OWN)
    Enriched.model_validate_json(value)


async def test_an_escalation_has_them_once_in_its_event() -> None:
    outcome = await of_haiku(UNCLEAR)
    assert outcome.end is Disposition.ESCALATED
    value = value_of(outcome)
    assert value.count(b"1.10") == 1
    assert published(outcome)["event"] == orjson.loads(RAW)
    assert published(outcome)["source"]["extra"] == {}
    Escalation.model_validate_json(value)


@pytest.mark.parametrize("extra", [{}, {"shop": "as earlier versions wrote it, too"}])
async def test_what_sonnet_settles_has_them_as_if_haiku_had(extra: dict[str, str]) -> None:
    escalation = published(await of_haiku(UNCLEAR))
    escalation["source"]["extra"] = extra
    outcome = await of_sonnet(SURE, received(escalation, topic="escalations"))
    assert outcome.end is Disposition.ENRICHED
    assert published(outcome)["source"]["extra"] == orjson.loads(b"{%b}" % OWN)


async def test_what_sonnet_cannot_settle_has_them_once_in_its_event() -> None:
    record = received(published(await of_haiku(UNCLEAR)), topic="escalations")
    outcome = await of_sonnet(UNCLEAR, record)
    assert outcome.end is Disposition.REVIEW
    assert published(outcome)["event"] == orjson.loads(RAW)
    assert published(outcome)["source"]["extra"] == {}


async def test_numbers_that_only_a_foreign_record_can_hold_end_no_process() -> None:
    escalation = value_of(await of_haiku(UNCLEAR))
    foreign = escalation.replace(b"18446744073709551615", b"9" * 40)
    outcome = await of_sonnet(SURE, received(foreign, topic="escalations"))
    assert outcome.end is Disposition.ENRICHED
    assert b"9" * 40 in value_of(outcome)


@pytest.mark.parametrize("written", [b'"a":[' * 3 + b"1" + b"]" * 3, b'"a":1e999', b'"a":"\\ud83d'])
async def test_what_is_not_json_for_every_reader_is_one_dead_letter(written: bytes) -> None:
    outcome = await of_haiku(SURE, b'{"id":"n-1","text":"x",%b}' % written)
    assert outcome.end is Disposition.DEAD_LETTER


async def test_a_large_record_is_read_like_a_small_one() -> None:
    large = b'{"id":"n-1","text":"x","blob":"%b"}' % (b"A" * 300_000)
    outcome = await of_haiku(SURE, large)
    assert published(outcome)["source"]["extra"] == {"blob": "A" * 300_000}


async def test_half_a_surrogate_pair_is_no_dead_letter() -> None:
    value = b'{"id":"k13","text":"please refund \\ud83d","\\ud83d":["\\udc00"]}'
    outcome = await of_haiku(SURE, value)
    assert published(outcome)["source"]["extra"] == {"?": ["?"]}
    escalation = published(await of_haiku(UNCLEAR, value))
    assert escalation["event"] == {"id": "k13", "text": "please refund ?", "?": ["?"]}
