"""The report: one HTML file that needs nothing else, in light and dark.

The plots of a report, as data for uPlot.
"""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

import orjson

import pipeline
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.measures import Calibration, Selection, TradeOff
from pipeline.evaluate.report.sections import (
    calibration,
    doubts,
    fields,
    labels,
    mistakes,
    paragraph,
    pictures,
    proposal,
    sweep,
    ways,
    where,
)

_Points = Iterable[tuple[float, float]]


def plots(
    selection: Selection, bargain: TradeOff, calibration: Calibration
) -> list[dict[str, Any]]:
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


def _cost(bargain: TradeOff) -> dict[str, Any]:
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


def page(evaluation: Evaluation) -> str:
    """The whole file."""
    measures, origin = evaluation.measures, evaluation.origin
    drawn = plots(measures.selection, measures.bargain, measures.calibration_haiku)
    uplot = resources.files("pipeline.vendor.uplot")
    template = resources.files("pipeline.evaluate.report").joinpath("page.html").read_text("utf-8")
    return Template(template).substitute(
        title=html.escape(f"Evaluation of {evaluation.stage} on {evaluation.file}"),
        subtitle=html.escape(_subtitle(evaluation)),
        origin=html.escape(origin.word),
        origin_sentence=html.escape(origin.sentence),
        warnings="".join(paragraph(each, kind="warn") for each in _warnings(evaluation)),
        body="".join(_sections(evaluation)),
        footer=html.escape(
            f"{origin.word}. haiku-pipeline {pipeline.__version__}, "
            f"{evaluation.at.isoformat(timespec='minutes')}."
        ),
        uplot_css=uplot.joinpath("uPlot.min.css").read_text("utf-8"),
        uplot_js=uplot.joinpath("uPlot.iife.min.js").read_text("utf-8"),
        # In a script element only `<` could end it, and JSON may write it otherwise.
        plots=orjson.dumps(drawn).decode().replace("<", "\\u003c"),
    )


def _subtitle(evaluation: Evaluation) -> str:
    found = evaluation.fingerprint
    dead = len(evaluation.dead_letters)
    left_out = f", {dead} of them dead letters and in no table" if dead else ""
    return (
        f"{evaluation.lines} labelled events{left_out}. First {found.haiku}; then {found.sonnet}. "
        f"{evaluation.scoring.rule}"
    )


def _warnings(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.baseline is not None and (warning := evaluation.baseline.warning):
        yield warning
    yield from evaluation.remarks


def _sections(evaluation: Evaluation) -> Iterator[str]:
    yield ways(evaluation)
    yield where(evaluation)
    yield pictures(evaluation)
    yield proposal(evaluation)
    yield sweep(evaluation)
    yield labels(evaluation)
    yield fields(evaluation)
    yield doubts(evaluation)
    yield calibration(evaluation)
    yield mistakes(evaluation)
