from datetime import UTC, datetime
from typing import Any

import orjson

from pipeline.config import TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.local.accounting import DEAD_LETTER, REVIEW, Coordinates, ending_of
from pipeline.stream.records import Headers, Received

TOPICS = TopicNames(TopicSettings(prefix="acme."))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOURCE = {
    "topic": "acme.tickets.raw",
    "partition": 3,
    "offset": 1841,
    "timestamp": "2026-11-22T12:00:00.000Z",
}
EVENT = Coordinates("acme.tickets.raw", 3, 1841)
USAGE = {"calls": 2, "input_tokens": 5, "cost_usd": "0.002"}
DOUBTS = [{"code": "unclear", "detail": "The model says so."}]


def record(topic: str, value: Any = None, headers: Headers = ()) -> Received:  # noqa: ANN401
    content = b"broken" if value is None else orjson.dumps(value)
    return Received(topic, 0, 9, b"k", content, headers, timestamp=NOON, received_at=NOON)


def headers(**fields: str) -> Headers:
    return tuple((f"dlq-{name}", value.encode()) for name, value in fields.items())


def test_an_enriched_record_says_who_decided_and_how_long_it_took() -> None:
    value = {
        "source": SOURCE,
        "decided_by": "sonnet",
        "model": "simulated-x",
        "escalation": {"doubts": DOUBTS, "haiku_result": None},
        "usage": USAGE,
        "timing": {"enriched_at": "2026-11-22T12:00:01.500Z"},
    }
    ending = ending_of(record("acme.tickets.enriched", value), TOPICS)
    assert ending.event == EVENT
    assert ending.outcome == "sonnet"
    assert ending.doubts == ("unclear",)
    assert ending.seconds == 1.5
    assert ending.usage.calls == 2


def test_a_review_says_why_neither_could_decide() -> None:
    value = {
        "source": SOURCE,
        "model": "simulated-x",
        "doubts": DOUBTS,
        "usage": USAGE,
        "timing": {"enriched_at": "2026-11-22T12:00:01.500Z"},
    }
    ending = ending_of(record("acme.review", value), TOPICS)
    assert (ending.event, ending.outcome) == (EVENT, REVIEW)
    assert ending.doubts == ("unclear",)


def test_a_dead_letter_says_where_it_came_from_in_its_headers() -> None:
    about = headers(reason="invalid_json", topic="acme.tickets.raw", partition="3", offset="1841")
    ending = ending_of(record("acme.dead-letters", None, about), TOPICS)
    assert (ending.event, ending.outcome) == (EVENT, DEAD_LETTER)
    assert ending.reason == "invalid_json"


def test_a_dead_letter_of_an_escalation_is_the_end_of_the_raw_event() -> None:
    value = {"source": SOURCE, "doubts": DOUBTS, "haiku_model": "simulated-x", "usage": USAGE}
    about = headers(reason="rejected_by_api", topic="acme.escalations", partition="0", offset="7")
    ending = ending_of(record("acme.dead-letters", value, about), TOPICS)
    assert (ending.event, ending.outcome) == (EVENT, DEAD_LETTER)
    assert ending.usage.calls == 2
