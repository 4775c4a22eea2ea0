"""Records of a team's own shape: read, passed over, made to wait, or dead letters."""

import threading
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import RETRY_SECONDS, Case, RawEvents, Reading, adapter_of
from pipeline.config import StageSettings, TopicSettings, load_settings
from pipeline.inputs.adapter import LARGE_BYTES, WALKED_BYTES, Adapted, Adapter, PassedOver
from pipeline.inputs.mapping import FieldMapping
from pipeline.inputs.records import Document, DocumentPart, Format, InputRecord
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.json_bytes import RawJson
from pipeline.model.observer import Observer
from pipeline.model.records import DeadLetterReason, Tier
from pipeline.stages.api import build_stages
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
    made: Adapter,
    value: object,
    observer: Observer,
    reading: Reading | None = None,
    *,
    answers: int = 1,
    tombstones_to: tuple[str, ...] = (),
) -> Outcome:
    processor = Processor(
        RawEvents(NoteStage(), made, reading),
        CascadePolicy(ScriptedAsker(*[SURE] * answers), Policy({}), Tier.HAIKU),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=observer,
        tombstones_to=tombstones_to,
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


@pytest.mark.parametrize(
    ("where", "is_taken"),
    [
        ("$.headers.kind == 'invoice'", True),
        ("$.headers.kind == 'letter'", False),
        ("status == 'new'", False),
        (None, True),
    ],
)
async def test_a_filter_is_asked_about_a_bare_file_too(where: str | None, is_taken: bool) -> None:
    settings = StageSettings.model_validate({"map": {"id": "no"}, "where": where})
    made = Adapter(lambda _, __: None, 1 << 20, None, FieldMapping("notes", settings, Note))
    record = InputRecord("notes.raw", b"k", b"\x89PNG", {"kind": b"invoice"}, NOON)
    found = await made.read(record)
    assert isinstance(found, Adapted if is_taken else PassedOver)


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


class TwoNotes:
    async def read(self, record: InputRecord) -> Document | None:
        parts = [DocumentPart(name, {"text": f"all is well in {name}"}) for name in ("a", "b")]
        return Document({"id": "n-1", "text": "all is well"}, parts=parts)


async def test_each_event_of_a_record_that_holds_several_is_published_in_one_outcome() -> None:
    outcome = await handled(adapter(TwoNotes()), {}, Observer(), answers=2)
    assert outcome.end is Disposition.ENRICHED
    values = [orjson.loads(record.value or b"") for record in outcome.records]
    assert [value["event_id"] for value in values] == ["n-1#1", "n-1#2"]
    assert [value["source"]["part"]["name"] for value in values] == ["a", "b"]


class ManyNotes:
    async def read(self, record: InputRecord) -> Document | None:
        parts = [DocumentPart(str(at), {}) for at in range(250)]
        return Document({"id": "n-1", "text": "x" * 500_000}, parts=parts)


async def test_events_in_a_record_are_not_copied_out_of_all_proportion() -> None:
    counting = Counting()
    outcome = await handled(adapter(ManyNotes()), {}, counting)
    assert outcome.end is Disposition.DEAD_LETTER
    assert counting.dead == [DeadLetterReason.TOO_LARGE]


class LongNotes:
    async def read(self, record: InputRecord) -> Document | None:
        parts = [DocumentPart(str(at), {"text": "x" * 40_000}) for at in range(3)]
        return Document({"id": "n-1", "text": ""}, parts=parts)


async def test_events_that_are_large_together_are_read_outside_the_event_loop() -> None:
    places = []

    class Watching(NoteStage):
        def parse(self, value: bytes, **about: Any) -> Note:  # noqa: ANN401
            places.append(threading.current_thread() is threading.main_thread())
            return super().parse(value, **about)

    case = await RawEvents(Watching(), adapter(LongNotes())).read(received({}))
    assert isinstance(case, Case)
    assert [part.part.name for part in case.given] == ["0", "1", "2"]
    assert places == [False] * 3


def test_attachments_are_not_given_one_by_one_to_a_stage_that_takes_no_files() -> None:
    settings = load_settings(
        stages={
            name: {"input": {"format": "email", "attachments": "each"}}
            for name in ("tickets", "images")
        }
    )
    stages = build_stages(settings.stages)
    assert adapter_of(settings, stages["images"]) is not None
    with pytest.raises(UsageError, match="attachments: tickets takes no files; set `together`"):
        adapter_of(settings, stages["tickets"])


async def test_a_filter_passes_over_some_of_the_events_of_a_record() -> None:
    some = adapter(TwoNotes(), where="text == 'all is well in b'")
    outcome = await handled(some, {}, Observer())
    (value,) = [orjson.loads(record.value or b"") for record in outcome.records]
    assert value["source"]["part"]["name"] == "b"


async def test_a_deletion_in_an_envelope_is_passed_over() -> None:
    counting = Counting()
    outcome = await handled(adapter(Tombstone()), b"deleted", counting)
    assert outcome == Outcome(Disposition.PASSED_OVER, ())
    assert counting.over == 1


async def test_a_deletion_in_an_envelope_is_passed_on_and_counted() -> None:
    counting = Counting()
    made = adapter(Tombstone())
    outcome = await handled(made, b"deleted", counting, tombstones_to=("a", "b"))
    assert [(each.topic, each.key, each.value) for each in outcome.records] == [
        ("a", b"customer-7", None),
        ("b", b"customer-7", None),
    ]
    assert counting.over == 1


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
