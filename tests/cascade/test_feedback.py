"""Corrections that come back: each is one label or one dead letter, once."""

from typing import Any

import orjson
import pytest

from pipeline.cascade.feedback import FeedbackHandler
from pipeline.config import Settings
from pipeline.model.observer import Observer
from pipeline.stream.records import Disposition, Outcome
from pipeline.trust.records import AnswerLabel
from pipeline.trust.sampling import Lottery
from tests.cascade.stand_ins import NOON, received
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, running, until

TWO = ("tickets", "invoices", "escalations")


def handler(**settings: Any) -> FeedbackHandler:  # noqa: ANN401
    given = {"enabled": ["tickets", "escalations"], "topics": {"feedback": "feedback"}}
    return FeedbackHandler.from_settings(
        Settings(**(given | settings)), clock=lambda: NOON, observer=Observer()
    )


async def came_of(record: object, **settings: Any) -> Outcome:  # noqa: ANN401
    return await handler(**settings)(received(record, topic="feedback"))


async def label(record: object, **settings: Any) -> AnswerLabel:  # noqa: ANN401
    outcome = await came_of(record, **settings)
    [out] = outcome.records
    assert (out.topic, outcome.end) == ("trust", Disposition.PASSED_OVER)
    assert out.value is not None
    return AnswerLabel.model_validate_json(out.value)


async def test_a_verdict_becomes_a_label_without_a_chance() -> None:
    found = await label({"event_id": "T-1", "right": True, "more": "of theirs"})
    assert (found.event_id, found.stage, found.right) == ("T-1", "tickets", True)
    assert (found.origin, found.chance, found.person) == ("feedback", None, "feedback")
    assert found.at == NOON


async def test_a_correction_says_that_what_was_published_is_wrong() -> None:
    right = {"intent": "sales"}
    found = await label({"event_id": "T-1", "correction": right, "person": "crm"})
    assert (found.right, found.correction, found.person) == (False, right, "crm")


async def test_it_is_found_by_the_key_of_its_event() -> None:
    found = await label({"event_id": "T-1", "right": False})
    assert found.whose == Lottery(0.01).whose(b"customer-7", "T-1")


async def test_personal_data_in_a_correction_is_kept_as_the_settings_say() -> None:
    record = {"event_id": "T-1", "correction": {"summary": "Write to ada@example.com"}}
    masked = await label(record, privacy={"mask": ["email"]})
    assert "ada" not in orjson.dumps(masked.correction).decode()
    unknown = await label(record, privacy={"stages": {"tickets": {"fields": ["name"]}}})
    assert unknown.correction is None
    assert (await label(record, trust={"keep_answers": False})).correction is None


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"", "empty"),
        (b"[", "no correction"),
        (b'{"event_id": "T-1"}', "neither `right` nor"),
        (b'{"right": true}', "event_id"),
        (b'{"event_id": "T-1", "right": true, "stage": "no\\u001bne"}', "There is no stage 'no\\u"),
    ],
)
async def test_a_bad_record_is_one_dead_letter_with_its_bytes(record: bytes, said: str) -> None:
    outcome = await came_of(record)
    [out] = outcome.records
    assert (out.topic, out.value) == ("dead-letters", record)
    headers = {name: content or b"" for name, content in out.headers}
    assert said in headers["dlq-detail"].decode()
    assert headers["dlq-stage"] == b"feedback"


async def test_a_record_that_names_no_stage_of_several_is_a_dead_letter() -> None:
    record = {"event_id": "T-1", "right": True}
    assert (await came_of(record, enabled=list(TWO))).end is Disposition.DEAD_LETTER
    named = await label({**record, "stage": "invoices"}, enabled=list(TWO))
    assert named.stage == "invoices"


@virtual_time
async def test_each_is_there_once_although_a_process_is_killed() -> None:
    bench = Bench()
    for topic in ("trust", "dead-letters"):
        bench.broker.create_topic(topic)
    for number in range(20):
        value = orjson.dumps({"event_id": f"T-{number}", "right": True})
        bench.publish(value if number % 5 else b"bad")
    first = bench.engine(handler=handler(), process="one", max_in_flight=4).start()
    await until(lambda: bool(bench.committed()))
    await first.kill()
    async with running(bench, handler=handler(), process="two"):
        await until(lambda: bench.committed() == 20)
    counts = {
        topic: sum(map(len, bench.broker.committed_records(topic).values()))
        for topic in ("trust", "dead-letters")
    }
    assert counts == {"trust": 16, "dead-letters": 4}
