"""Records of a team's own shape: read, passed over, made to wait, or dead letters."""

import threading
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import CascadePolicy, Processor
from pipeline.cascade.reading import RETRY_SECONDS, RawEvents, Reading
from pipeline.config import StageSettings, TopicSettings
from pipeline.inputs.adapter import LARGE_BYTES, WALKED_BYTES, Adapter
from pipeline.inputs.mapping import FieldMapping
from pipeline.inputs.records import Document, Format, InputRecord
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.json_bytes import RawJson
from pipeline.model.observer import Observer
from pipeline.model.records import DeadLetterReason, Tier
from pipeline.stages.files.raw_events import fields_of_record
from pipeline.stream.records import Disposition, Outcome
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
NOTE = {"no": 7, "status": "new", "message": "all is well", "room": "blue"}
MAP = {"id": "no", "text": "message"}


class Counting(Observer):
    def __init__(self) -> None:
        self.over = 0
        self.dead: list[str] = []

    def passed_over(self, stage: str) -> None:
        assert stage == "notes"
        self.over += 1

    def dead_lettered(self, stage: str, reason: str) -> None:
        self.dead.append(reason)


def json_fields(value: bytes, headers: Mapping[str, bytes]) -> Mapping[str, RawJson] | None:
    return fields_of_record(Note, value, headers, max_bytes=1 << 20)


def adapter(format_: Format | None = None, **table: Any) -> Adapter:  # noqa: ANN401
    settings = StageSettings.model_validate(table)
    mapping = FieldMapping("notes", settings, Note) if table else None
    return Adapter(json_fields, 1 << 20, format_, mapping)


async def handled(
    made: Adapter, value: object, observer: Observer, reading: Reading | None = None
) -> Outcome:
    processor = Processor(
        RawEvents(NoteStage(), made, reading),
        CascadePolicy(ScriptedAsker(SURE), Policy({}), Tier.HAIKU),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=observer,
    )
    return await processor(received(value))


async def test_a_record_of_another_shape_is_enriched_and_the_rest_of_it_passed_on() -> None:
    outcome = await handled(adapter(map=MAP), NOTE, Observer())
    assert outcome.end is Disposition.ENRICHED
    value = published(outcome)
    assert value["event_id"] == "7"
    assert value["source"]["extra"] == {"status": "new", "room": "blue"}


async def test_what_is_passed_over_is_counted_and_publishes_nothing() -> None:
    counting = Counting()
    outcome = await handled(adapter(map=MAP, where="status == 'old'"), NOTE, counting)
    assert outcome == Outcome(Disposition.PASSED_OVER, ())
    assert (counting.over, counting.dead) == (1, [])


async def test_a_dead_letter_has_the_record_as_it_came() -> None:
    counting = Counting()
    came = {"no": 7, "message": None}
    outcome = await handled(adapter(map=MAP), came, counting)
    assert outcome.end is Disposition.DEAD_LETTER
    assert outcome.records[0].value == orjson.dumps(came)
    assert outcome.records[0].key == b"customer-7"
    detail = dict(outcome.records[0].headers)["dlq-detail"]
    assert detail == (b"stages.notes.map.text: nothing is at `message`, and every event needs it.")
    assert counting.dead == [DeadLetterReason.INVALID_EVENT]


class Awaited:
    """A format whose registry does not answer at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def read(self, record: InputRecord) -> Document | None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("The registry does not answer.", scope="place")
        return Document({"id": "7", "text": "all is well"})


async def test_a_record_waits_as_long_as_the_registry_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = Reading()
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append((seconds, reading.waiting))

    monkeypatch.setattr("pipeline.cascade.reading.asyncio.sleep", sleep)
    counting = Counting()
    outcome = await handled(adapter(Awaited(3)), b"framed", counting, reading)
    assert outcome.end is Disposition.ENRICHED
    assert waited == [(RETRY_SECONDS, 1)] * 3
    assert (reading.waiting, counting.dead) == (0, [])


class Broken:
    async def read(self, record: InputRecord) -> Document | None:
        raise KeyError("secret")


class Tombstone:
    async def read(self, record: InputRecord) -> Document | None:
        return None


async def test_a_fault_of_a_format_costs_one_dead_letter() -> None:
    counting = Counting()
    outcome = await handled(adapter(Broken()), b"framed", counting)
    assert counting.dead == [DeadLetterReason.STAGE_FAILED]
    assert b"secret" not in dict(outcome.records[0].headers)["dlq-detail"]  # type: ignore[operator]


async def test_a_deletion_in_an_envelope_is_passed_over() -> None:
    outcome = await handled(adapter(Tombstone()), b"deleted", Counting())
    assert outcome.end is Disposition.PASSED_OVER


@pytest.mark.parametrize(
    ("expression", "size", "is_apart"),
    [
        ("message", LARGE_BYTES // 2, False),
        ("message", LARGE_BYTES, True),
        ("items[*].text", WALKED_BYTES // 2, False),
        ("items[*].text", WALKED_BYTES, True),
    ],
)
async def test_what_may_take_long_is_mapped_outside_the_event_loop(
    expression: str, size: int, is_apart: bool
) -> None:
    where = []

    def fields(value: bytes, headers: Mapping[str, bytes]) -> Mapping[str, RawJson] | None:
        where.append(threading.current_thread() is threading.main_thread())
        return json_fields(value, headers)

    settings = StageSettings.model_validate({"map": {"id": "no", "text": expression}})
    made = Adapter(fields, 1 << 20, None, FieldMapping("notes", settings, Note))
    value = orjson.dumps({**NOTE, "items": [{"text": "x"}], "more": "x" * size})
    await made.read(InputRecord("notes.raw", None, value, {}, NOON))
    assert where == [not is_apart]


async def test_a_record_that_is_too_large_is_refused_before_its_format_reads_it() -> None:
    with pytest.raises(InvalidEvent) as refused:
        await adapter(Broken()).read(InputRecord("t", None, b" " * (2 << 20), {}, NOON))
    assert refused.value.reason is DeadLetterReason.TOO_LARGE
