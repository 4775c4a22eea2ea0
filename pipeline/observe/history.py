"""What the charts show: a few numbers of each stage, every two seconds, for ten minutes."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

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
