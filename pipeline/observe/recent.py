"""The last records, for the page: what came of events, never the events themselves."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from pipeline.events import Doubt, Enriched, Review

_MAX_CHARS = 400
_MAX_ITEMS = 12
_MAX_DEPTH = 5


@dataclass(frozen=True, slots=True)
class RecentRecord:
    """One record, as much of it as a page can show.

    Args:
        at: When it was decided.
        end: `enriched` or `review`.
        decided_by: Who gave the result; None where nobody could settle it.
        seconds: From the raw record's receipt to the decision.
        cost_usd: Of all calls for it; None where a price is not known.
        doubts: Why it was escalated, and why it is for review; empty where Haiku was trusted.
        result: The record's own, long texts and lists cut off.
    """

    at: datetime
    stage: str
    event_id: str
    end: str
    decided_by: str | None
    model: str
    confidence: float | None
    seconds: float
    cost_usd: float | None
    doubts: tuple[Mapping[str, str], ...]
    result: Any


class Recent:
    """The newest records in memory, and no more of them than are set.

    Args:
        most: How many are kept; with 0 none is, so that nothing of a result leaves through the
            HTTP port.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._records: deque[Enriched[Any] | Review] = deque(maxlen=most)

    def add(self, record: Enriched[Any] | Review) -> None:
        """An event came to its last record. Quick: it is made presentable when somebody looks."""
        self._records.append(record)

    def newest_first(self) -> Sequence[RecentRecord]:
        """What the page shows."""
        return [_presentable(record) for record in reversed(self._records)]


def _presentable(record: Enriched[Any] | Review) -> RecentRecord:
    timing = record.timing
    doubts: Sequence[Doubt]
    result: Any
    if isinstance(record, Review):
        end, result, decided_by, confidence = "review", record.sonnet_result, None, None
        doubts = record.doubts
    else:
        end, result, decided_by = "enriched", record.result, record.decided_by
        confidence = record.confidence
        doubts = record.escalation.doubts if record.escalation is not None else ()
    cost = record.usage.cost_usd
    return RecentRecord(
        at=timing.enriched_at,
        stage=record.stage,
        event_id=shortened(record.event_id),
        end=end,
        decided_by=decided_by,
        model=record.model,
        confidence=confidence,
        seconds=max(0.0, (timing.enriched_at - timing.received_at).total_seconds()),
        cost_usd=None if cost is None else float(cost),
        doubts=tuple({"code": each.code, "detail": shortened(each.detail)} for each in doubts),
        result=shortened(
            result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        ),
    )


def shortened(value: Any, depth: int = _MAX_DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """JSON with long texts and lists cut off, and an ellipsis where something is missing."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_CHARS else value[:_MAX_CHARS] + "…"
    if isinstance(value, Mapping):
        if depth == 0:
            return "…"
        items = list(value.items())
        shown = {str(name): shortened(item, depth - 1) for name, item in items[:_MAX_ITEMS]}
        return shown | ({"…": f"{len(items) - _MAX_ITEMS} more"} if len(items) > _MAX_ITEMS else {})
    if isinstance(value, Sequence):
        if depth == 0:
            return "…"
        cut = ["…"] if len(value) > _MAX_ITEMS else []
        return [shortened(item, depth - 1) for item in value[:_MAX_ITEMS]] + cut
    return value
