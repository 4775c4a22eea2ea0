"""Drawn answers and verdicts on them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.model.records import Provenance, Source, Tier
from pipeline.trust.records import AnswerLabel, AnswerSignal, SampledAnswer

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def answer(number: int = 1, **changed: Any) -> SampledAnswer:  # noqa: ANN401 - any field
    """The answer to the event `T-<number>`, published a minute after the one before."""
    at = NOON + timedelta(minutes=number)
    given: dict[str, Any] = {
        "event_id": f"T-{number}",
        "stage": "tickets",
        "whose": f"key-{number}",
        "chance": 0.01,
        "decided_by": Tier.HAIKU,
        "model": "claude-haiku-5-5",
        "label": "billing",
        "confidence": 0.95,
        "signals": [AnswerSignal(code="low_confidence", strength=0.05)],
        "result": {"intent": "billing", "priority": "high"},
        "source": Source(topic="tickets.raw", partition=0, offset=number, timestamp=at),
        "provenance": Provenance(provider="anthropic", prompt="p", settings="s"),
        "published_at": at,
    }
    return SampledAnswer(**(given | changed))


def label(number: int = 1, **changed: Any) -> AnswerLabel:  # noqa: ANN401 - any field
    """A verdict on that answer, an hour later."""
    given: dict[str, Any] = {
        "event_id": f"T-{number}",
        "stage": "tickets",
        "right": True,
        "person": "ada",
        "origin": "sample",
        "chance": 0.5,
        "at": NOON + timedelta(hours=1, minutes=number),
    }
    return AnswerLabel(**(given | changed))
