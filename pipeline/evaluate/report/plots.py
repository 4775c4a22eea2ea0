"""The plots of a report, as data for uPlot."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.evaluate.measures import Bargain, Calibration, Selection

_Points = Iterable[tuple[float, float]]


def plots(selection: Selection, bargain: Bargain, calibration: Calibration) -> list[dict[str, Any]]:
    """All of them; each names the element that it is drawn in."""
    found = [_risk(selection), _confidence(calibration)]
    return [*found, _cost(bargain)] if bargain.points else found


def _risk(selection: Selection) -> dict[str, Any]:
    curve = [(point.coverage, point.risk) for point in selection.curve]
    random = selection.random or 0.0
    return _plot(
        "risk-coverage",
        {"label": "taken from Haiku", "unit": "%", "range": [0, 1]},
        {"label": "wrong among the taken", "unit": "%"},
        {
            "by doubt": (curve, {"colour": "--first"}),
            "by lot": ([(0.0, random), (1.0, random)], {"colour": "--quiet", "dash": True}),
        },
    )


def _confidence(calibration: Calibration) -> dict[str, Any]:
    seen = [
        (each.confidence, each.accuracy)
        for each in calibration.bins
        if each.confidence is not None and each.accuracy is not None
    ]
    return _plot(
        "reliability",
        {"label": "stated confidence", "unit": "%", "range": [0, 1]},
        {"label": "share that is right", "unit": "%", "range": [0, 1]},
        {
            "Haiku": (seen, {"colour": "--first", "points": True}),
            "honest": ([(0.0, 0.0), (1.0, 1.0)], {"colour": "--quiet", "dash": True}),
        },
    )


def _cost(bargain: Bargain) -> dict[str, Any]:
    items = [(float(point.cost_usd), point.accuracy) for point in bargain.points]
    only = bargain.all_sonnet
    series: dict[str, tuple[_Points, Mapping[str, Any]]] = {
        "by doubt": (items, {"colour": "--first"}),
        "by lot": ([items[0], items[-1]], {"colour": "--quiet", "dash": True}),
    }
    if only is not None:
        point = [(float(only.cost_usd), only.accuracy)]
        series["Sonnet alone"] = (point, {"colour": "--second", "points": True})
    return _plot(
        "cost-accuracy",
        {"label": "cost of all events", "unit": "$"},
        {"label": "right in the end", "unit": "%"},
        series,
    )


def _plot(
    identity: str,
    x: dict[str, Any],
    y: dict[str, Any],
    series: Mapping[str, tuple[_Points, Mapping[str, Any]]],
) -> dict[str, Any]:
    """A plot; all series share their x values, and have a null where they have no point."""
    by_x = {label: dict(points) for label, (points, _) in series.items()}
    values: Sequence[float] = sorted({each for points in by_x.values() for each in points})
    return {
        "id": identity,
        "x": {**x, "values": values},
        "y": y,
        "series": [
            {
                "label": label,
                **style,
                "values": [by_x[label].get(value) for value in values],
            }
            for label, (_, style) in series.items()
        ],
    }
