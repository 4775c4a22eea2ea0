"""Whatever is written to `escalations` costs itself: one dead letter, or Sonnet asked all the same.

Anybody who may write to the topic may have written the record, and what is in it ends up in
records of the pipeline's own.
"""

import json
import threading
import time
from typing import Any

import orjson
import pytest
from hypothesis import given

from pipeline.cascade import reading as cascade_reading
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import LARGE_BYTES, Escalations
from pipeline.config import StagesSettings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.questions import Question, Response
from pipeline.model.records import Tier, read_record
from pipeline.stages.api import build_stages
from pipeline.stages.tickets import TicketAnswer
from pipeline.stream.records import Disposition, Outcome
from tests.cascade.stand_ins import NOON, SPENT, published, received
from tests.hostile import records

STAGES = build_stages(StagesSettings())
MAX_TEXT = 200_000
ACCEPTED: dict[str, Any] = {
    "intent": "billing", "priority": "high", "language": "en", "summary": "A refund is asked for.",
    "queue": "billing", "runner_up": None, "fields": {},
}  # fmt: skip


def escalation(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {
        "schema": "escalations/1",
        "event_id": "F-1",
        "stage": "tickets",
        "event": {"id": "F-1", "body": "My card was charged twice, please refund."},
        "doubts": [{"code": "unclear", "detail": "x"}],
        "haiku_result": None,
        "haiku_model": "m",
        "usage": {
            "calls": 1, "reused": 0, "input_tokens": 1, "cache_read_tokens": 0,
            "cache_write_tokens": 0, "output_tokens": 1, "cost_usd": "0.0001",
        },
        "source": {
            "topic": "tickets.raw", "partition": 0, "offset": 0,
            "timestamp": "2026-11-22T10:00:00.000Z", "extra": {},
        },
        "received_at": "2026-11-22T10:00:00.000Z",
        "model_seconds": 0.1,
        **changes,
    }  # fmt: skip


class Answering:
    """Answers any question about a ticket, surely or not."""

    def __init__(self, *, sure: bool = True) -> None:
        self.asked = 0
        self._answer = TicketAnswer(
            quote="charged twice",
            intent="billing",
            runner_up=None,
            several_matters=False,
            priority="high",
            language="en",
            summary="A refund is asked for.",
            confidence=0.95,
            unclear=not sure,
        )

    async def ask(
        self,
        question: Question[Any],
        tier: Tier,
        *,
        max_output_tokens: int | None = None,
    ) -> Response[Any]:
        self.asked += 1
        return Response(answer=self._answer, model="m", usage=SPENT, seconds=0.5)


def processor(asker: Answering) -> Processor:
    return Processor(
        Escalations(STAGES, {"tickets": MAX_TEXT}),
        CascadePolicy(asker, Policy({}), Tier.SONNET),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=Observer(),
    )


async def outcome_of(value: object, asker: Answering | None = None) -> Outcome:
    return await processor(asker or Answering())(received(value, topic="escalations"))


def detail_of(outcome: Outcome) -> tuple[str, str]:
    headers = dict(outcome.records[0].headers)
    reason, detail = ((headers[name] or b"").decode() for name in ("dlq-reason", "dlq-detail"))
    return reason, detail


async def test_the_record_that_these_tests_change_is_a_good_one() -> None:
    outcome = await outcome_of(escalation(haiku_result=ACCEPTED))
    assert outcome.end is Disposition.ENRICHED
    assert published(outcome)["escalation"]["haiku_result"]["intent"] == "billing"


@pytest.mark.parametrize(
    "earlier",
    [
        {"not": "a result"},
        {},
        {**ACCEPTED, "of_another_version": 1},
        {"intent": ["billing"]},
        {**ACCEPTED, "priority": "an old one"},
    ],
)
@pytest.mark.parametrize("sure", [True, False])
async def test_an_earlier_answer_of_another_version_is_left_out_and_sonnet_is_asked(
    earlier: dict[str, Any], sure: bool
) -> None:
    asker = Answering(sure=sure)
    value = escalation(haiku_result=earlier, doubts=[{"code": "audit", "detail": "x"}])
    outcome = await outcome_of(value, asker)
    assert asker.asked == 1
    if sure:
        assert outcome.end is Disposition.ENRICHED
        assert published(outcome)["escalation"]["haiku_result"] is None
    else:
        # A person sees it as it is in the record.
        assert outcome.end is Disposition.REVIEW
        assert published(outcome)["haiku_result"] == earlier


@pytest.mark.parametrize("earlier", [[], [ACCEPTED], "billing", "", 5, 0.5, True, False])
async def test_an_earlier_answer_that_is_not_an_object_is_one_dead_letter(earlier: object) -> None:
    asker = Answering()
    raw = json.dumps(escalation(haiku_result=earlier)).encode()
    outcome = await outcome_of(raw, asker)
    assert asker.asked == 0
    assert outcome.end is Disposition.DEAD_LETTER
    reason, detail = detail_of(outcome)
    assert (reason, "haiku_result" in detail) == ("invalid_event", True)
    assert outcome.records[0].value == raw


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("source", "timestamp"), "9999-12-31T23:59:59-23:59"),
        (("source", "timestamp"), "0001-01-01T00:00:00+14:00"),
        (("source", "timestamp"), "1969-12-31T23:59:59Z"),
        (("received_at",), "9999-12-31T23:59:59-00:01"),
        (("source", "offset"), 2**63),
        (("source", "partition"), -1),
        (("usage", "cost_usd"), "1E+9999999"),
        (("usage", "cost_usd"), "1E-9999999"),
        (("usage", "cost_usd"), "NaN"),
        (("usage", "cost_usd"), "Infinity"),
        (("usage", "cost_usd"), "-1000000"),
        (("usage", "cost_usd"), "a lot"),
        (("usage", "cost_usd"), "9" * 100),
        (("usage", "calls"), -1),
        (("usage", "input_tokens"), 10**300),
        (("model_seconds",), -1.0),
        (("model_seconds",), 1e308),
    ],
)
async def test_a_cost_a_time_or_a_count_that_cannot_be_is_one_dead_letter(
    where: tuple[str, ...], value: object
) -> None:
    record = escalation()
    place = record
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    asker = Answering()
    raw = json.dumps(record).encode()
    outcome = await outcome_of(raw, asker)
    assert outcome.end is Disposition.DEAD_LETTER
    assert asker.asked == 0
    reason, detail = detail_of(outcome)
    assert reason == "invalid_event"
    assert where[0] in detail
    assert outcome.records[0].value == raw


async def test_the_largest_values_that_are_taken_can_still_be_added_to() -> None:
    record = escalation(model_seconds=1e9)
    record["usage"] = dict.fromkeys(record["usage"], 2**53 - 1) | {"cost_usd": str(10**12)}
    record["source"]["timestamp"] = "9999-12-31T23:59:59.999Z"
    record["doubts"] = [{"code": f"c-{number}", "detail": ""} for number in range(1000)]
    for sure in (True, False):
        outcome = await outcome_of(record, Answering(sure=sure))
        assert outcome.end is (Disposition.ENRICHED if sure else Disposition.REVIEW)
        value = published(outcome)
        assert value["usage"]["calls"] == 2**53 - 1
        assert value["usage"]["cost_usd"] is None  # beyond the bounds: unknown, never guessed
        assert value["timing"]["model_seconds"] == 1e9
        assert value["source"]["timestamp"] == "9999-12-31T23:59:59.999Z"


async def test_a_text_that_the_stage_would_not_take_is_not_taken_from_an_escalation() -> None:
    value = escalation(event={"id": "F-1", "body": "refund " * 1_000_000})
    asker = Answering()
    outcome = await outcome_of(value, asker)
    assert asker.asked == 0
    assert detail_of(outcome) == (
        "too_large",
        "body: has 7,000,000 characters; at most 200,000 are taken.",
    )


@pytest.mark.parametrize(
    "value",
    [
        b'{"doubts":[' + b"0," * 4_999_999 + b"0]}",
        json.dumps(escalation(event={"id": "F-1", "body": "x", "more": [[]] * 60_000})).encode(),
        json.dumps(escalation(event={"id": "F-1", "x": dict.fromkeys(map(str, range(60_000)))})),
        json.dumps(escalation() | dict.fromkeys(map(str, range(60_000)))).encode(),
        b"[" * 5_000_000,
        b'"' * 5_000_000,
    ],
    ids=["doubts", "lists", "names", "unknown", "open", "quotes"],
)
async def test_a_record_of_millions_of_values_is_one_dead_letter_in_no_time(
    value: bytes | str,
) -> None:
    raw = value if isinstance(value, bytes) else value.encode()
    started = time.process_time()
    outcome = await outcome_of(raw)
    assert time.process_time() - started < 0.5
    assert outcome.end is Disposition.DEAD_LETTER
    assert detail_of(outcome)[0] == "invalid_event"


async def test_megabytes_of_text_full_of_commas_are_not_taken_for_values() -> None:
    event = {**escalation()["event"], "more": "a, [b]: {c}" * 500_000}
    assert (await outcome_of(escalation(event=event))).end is Disposition.ENRICHED


async def test_a_large_record_is_read_outside_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readers: list[threading.Thread] = []

    def reading(*arguments: Any) -> Any:  # noqa: ANN401 - those of read_record
        readers.append(threading.current_thread())
        return read_record(*arguments)

    monkeypatch.setattr(cascade_reading, "read_record", reading)
    for padding in (1, LARGE_BYTES):
        event = {"id": "F-1", "body": "My card was charged twice.", "more": "x" * padding}
        assert (await outcome_of(escalation(event=event))).end is Disposition.ENRICHED
    small, large = readers
    assert small is threading.main_thread()
    assert large is not small


async def test_more_doubts_than_there_can_be_are_one_dead_letter() -> None:
    doubts = [{"code": "unclear", "detail": ""}] * 1001
    assert detail_of(await outcome_of(escalation(doubts=doubts)))[0] == "invalid_event"


async def test_what_is_said_of_a_record_does_not_quote_it() -> None:
    secret = "\x1b]0;owned\x07" + "stage" * 1000
    _, detail = detail_of(await outcome_of(escalation(stage=secret)))
    assert detail.isprintable()
    assert len(detail) < 300
    _, detail = detail_of(await outcome_of(escalation(**{"4111 1111 1111 1111": 1})))
    assert "4111" not in detail


@given(
    records(
        escalation(),
        escalation(
            haiku_result=ACCEPTED,
            doubts=[{"code": "audit", "detail": "x"}],
            event={"id": "F-1", "body": "My card was charged twice.", "subject": "x", "y": [1]},
        ),
    )
)
async def test_no_record_does_more_than_come_to_one_end(value: bytes) -> None:
    for sure in (True, False):
        outcome = await outcome_of(value, Answering(sure=sure))
        (record,) = outcome.records
        if outcome.end is Disposition.DEAD_LETTER:
            assert record.value == value
            # A fault of ours would count against the stage.
            assert detail_of(outcome)[0] in {"invalid_event", "too_large"}
        else:
            orjson.loads(record.value or b"")
