"""What the charts show: a few numbers of each stage, every two seconds, for ten minutes.

The last records, for the page: what came of events, never the events themselves.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic import BaseModel

from pipeline.model.records import Doubt, Enriched, Review
from pipeline.observe import catalogue
from pipeline.observe.reading import Reading, quantile_between, rate

_PACE_READINGS = 5
"""Rates are of the last few readings: from one to the next they jump."""
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class StageSeries:
    """One stage's columns, of equal length; None where nothing is known.

    Args:
        lag_events: After the committed offsets.
        lag_seconds: Age of the oldest unprocessed event.
        completed_per_second: Events that came to an end.
        p50_seconds: Receipt to end, median of the last minute.
        p95_seconds: The same, 95 % are faster.
        cost_usd_per_hour: The pace of spending.
    """

    lag_events: Sequence[float | None]
    lag_seconds: Sequence[float | None]
    completed_per_second: Sequence[float | None]
    p50_seconds: Sequence[float | None]
    p95_seconds: Sequence[float | None]
    cost_usd_per_hour: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """The charts' data.

    Args:
        at: Unix times in seconds, ascending.
        stages: By name, in the order to show them.
    """

    at: Sequence[float]
    stages: dict[str, StageSeries]


_Row = tuple[float | None, ...]


class History:
    """Keeps the last points of each stage.

    Args:
        stages: Whose.
        most: Points that are kept.
        epoch: The time, in seconds since 1970.
    """

    def __init__(self, stages: Sequence[str], *, most: int, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._at: deque[float] = deque(maxlen=most)
        self._rows: dict[str, deque[_Row]] = {name: deque(maxlen=most) for name in stages}

    def add(self, readings: Sequence[Reading] | deque[Reading]) -> None:
        """Add a point.

        Args:
            readings: Of the last minute, the newest last.
        """
        oldest, newest = readings[0], readings[-1]
        recent = next(islice(reversed(readings), min(_PACE_READINGS, len(readings) - 1), None))
        self._at.append(round(self._epoch(), 1))
        for name, rows in self._rows.items():
            events = catalogue.EVENT_SECONDS
            rows.append(
                (
                    _short(newest.known_total(catalogue.LAG, stage=name)),
                    _short(newest.largest(catalogue.LAG_SECONDS, stage=name)),
                    _short(rate(recent, newest, catalogue.COMPLETED, stage=name)),
                    _short(quantile_between(oldest, newest, 0.5, events, stage=name)),
                    _short(quantile_between(oldest, newest, 0.95, events, stage=name)),
                    _short(rate(oldest, newest, catalogue.COST, stage=name) * _HOUR),
                )
            )

    def series(self) -> Series:
        """All points."""
        columns = {
            name: list(zip(*rows, strict=True)) or [()] * 6 for name, rows in self._rows.items()
        }
        return Series(
            list(self._at), {name: StageSeries(*found) for name, found in columns.items()}
        )


def _short(value: float | None) -> float | None:
    """No more digits than a chart can show: there are thousands of them in an answer."""
    return None if value is None else float(f"{value:.4g}")


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
