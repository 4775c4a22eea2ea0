"""The report: one HTML file that needs nothing else, in light and dark."""

import html
from collections.abc import Iterator
from importlib import resources
from string import Template

import orjson

import pipeline
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.report.breakdowns import calibration, doubts, fields, labels
from pipeline.evaluate.report.endings import mistakes, ways, where
from pipeline.evaluate.report.plots import plots
from pipeline.evaluate.report.tables import paragraph
from pipeline.evaluate.report.thresholds import pictures, proposal, sweep


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
