"""Review items for tests."""

from datetime import UTC, datetime
from typing import Any

from pipeline.config import TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Doubt, Review, Source, Timing, Usage
from pipeline.operators.review import ReviewItem, review_item_of
from pipeline.stream.records import Outgoing, Received

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAMES = TopicNames(TopicSettings())
RESULT: dict[str, Any] = {
    "intent": "billing",
    "priority": "normal",
    "language": "en",
    "summary": "A customer was charged twice.",
    "queue": "billing",
    "runner_up": None,
    "fields": {},
}


def review(number: int = 0, **changes: object) -> Review:
    """A review of a ticket on which the models differ."""
    fields: dict[str, Any] = {
        "schema": "review/1",
        "event_id": f"T-{number}",
        "stage": "tickets",
        "event": {"id": f"T-{number}", "body": "Charged twice", "shop": "north"},
        "doubts": [Doubt(code="unclear", detail="The model says that it is not settled.")],
        "haiku_result": RESULT,
        "sonnet_result": RESULT | {"intent": "sales", "queue": "sales"},
        "model": "claude-sonnet-5-5",
        "usage": Usage(calls=2, input_tokens=10, output_tokens=5, cost_usd="0.0042"),
        "source": Source(topic="tickets.raw", partition=1, offset=number, timestamp=NOON),
        "timing": Timing(received_at=NOON, enriched_at=NOON, model_seconds=1.5),
    }
    return Review.model_validate(fields | changes)


def outgoing(made: Review, *, key: bytes = b"customer", topic: str = "review") -> Outgoing:
    """What the pipeline writes for it."""
    value = made.model_dump_json(by_alias=True).encode()
    return Outgoing(topic, key, value, (("traceparent", b"00-abc"), ("ce_type", b"review")))


def case(number: int = 0, /, **changes: object) -> ReviewItem:
    """A case as a reader gets it."""
    record = outgoing(review(number, **changes))
    return review_item_of(
        Received("review", 3, number, record.key, record.value, record.headers, NOON, NOON)
    )
