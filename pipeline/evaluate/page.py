"""The report: one HTML file that needs nothing else, in light and dark."""

import html
from collections.abc import Iterator
from importlib import resources
from string import Template

import orjson

import pipeline
from pipeline.evaluate.breakdown import LabelRow
from pipeline.evaluate.cascade import End, Journey, Worth
from pipeline.evaluate.curves import Trade
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.plots import plots
from pipeline.evaluate.rules import counted_doubts
from pipeline.evaluate.tables import (
    Cell,
    dollars,
    figure,
    number,
    paragraph,
    percent,
    seconds,
    section,
    share,
    table,
    wide,
)
from pipeline.evaluate.verdict import certified, proposal_sentences, settings_to_copy
from pipeline.evaluate.ways import Way

MISTAKES = 100
"""Shown; the JSON file has every event."""

_ENDS = {
    End.HAIKU_RIGHT: "Haiku, right",
    End.HAIKU_WRONG: "Haiku, wrong",
    End.SONNET_RIGHT: "Sonnet, right",
    End.SONNET_WRONG: "Sonnet, wrong",
    End.REVIEW: "to a person",
}
_WORTHS = {
    Worth.FIXED: "fixed: Haiku wrong, Sonnet right",
    Worth.BROKEN: "broken: Haiku right, Sonnet wrong",
    Worth.WASTED: "wasted: both right",
    Worth.HOPELESS: "hopeless: both wrong",
    Worth.CAUGHT: "out of scope, left to a person",
    Worth.MISSED: "out of scope, Sonnet's answer taken",
}


def page(evaluation: Evaluation) -> str:
    """The whole file."""
    measures, origin = evaluation.measures, evaluation.origin
    drawn = plots(measures.selection, measures.bargain, measures.calibration_haiku)
    uplot = resources.files("pipeline.vendor.uplot")
    template = resources.files("pipeline.evaluate").joinpath("page.html").read_text("utf-8")
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
    yield _ways(evaluation)
    yield _where(evaluation)
    yield _pictures(evaluation)
    yield _proposal(evaluation)
    yield _sweep(evaluation)
    yield _labels(evaluation)
    yield _fields(evaluation)
    yield _doubts(evaluation)
    yield _calibration(evaluation)
    yield _mistakes(evaluation)


def _ways(evaluation: Evaluation) -> str:
    measures = evaluation.measures
    rows = [_way(way) for way in (measures.haiku, measures.sonnet, measures.cascade)]
    for comparison in evaluation.comparisons:
        rows += [
            _way(way, comparison.changes)
            for way in (comparison.haiku, comparison.sonnet, comparison.cascade)
        ]
    headings = (
        "way", "right in the end", "wrong and taken", "right of the taken", "to a person",
        "escalated", "calls", "cost", "a thousand events", "seconds, median", "95 %",
    )  # fmt: skip
    notes = [
        (
            "An event ends well with a right answer or, where it is out of scope, with none. A "
            "model alone has every answer taken as it comes; what the cascade leaves to a person "
            "is not counted as right. Cost and time are those of the recorded calls."
        )
    ]
    notes += [
        f"With {comparison.changes}, {comparison.differing} of {measures.items} answers of the "
        "first model went from right to wrong or back."
        for comparison in evaluation.comparisons
    ]
    return section("Each way", table(headings, rows), *map(paragraph, notes))


def _way(way: Way, changes: str = "") -> list[Cell]:
    name = f"{way.name}, {changes}" if changes else way.name
    _, median, slowest = way.seconds
    return [
        name,
        share(way.well, way.items),
        share(way.decided_wrong, way.items),
        percent(way.accuracy_decided),
        way.undecided,
        share(way.escalated, way.items),
        way.calls,
        dollars(way.cost_usd),
        dollars(way.usd_per_thousand),
        seconds(median),
        seconds(slowest),
    ]


def _where(evaluation: Evaluation) -> str:
    measures, outside = evaluation.measures, evaluation.measures.scope
    ended = table(
        ("the cascade's end", "events"),
        [
            *((_ENDS[end], share(count, measures.items)) for end, count in measures.ends.items()),
            ("all", measures.items),
        ],
    )
    escalated = sum(measures.worths.values())
    worth = table(
        ("an escalation", "events"),
        [
            *((_WORTHS[each], share(count, escalated)) for each, count in measures.worths.items()),
            ("all", escalated),
        ],
    )
    parts = [ended, worth]
    if outside.items:
        parts.append(
            paragraph(
                f"Out of scope: {outside.items} events, of which {outside.escalated} "
                f"({outside.escalated / outside.items:.1%}) were escalated, against "
                f"{outside.others_escalated} of {outside.others} others "
                f"({outside.others_escalated / max(1, outside.others):.1%}). Wrongly accepted: "
                f"{outside.haiku_took} from Haiku, {outside.sonnet_took} from Sonnet; "
                f"{outside.reviewed} went to a person."
            )
        )
    return section("Where events end", *parts)


def _pictures(evaluation: Evaluation) -> str:
    measures, target = evaluation.measures, evaluation.measures.proposal.target
    selection, bargain = measures.selection, measures.bargain
    text = [
        (
            f"Area under the risk-coverage curve: {number(selection.area)}; "
            f"by lot it would be {number(selection.random)}. With a risk of {1 - target:.1%}, "
            f"{selection.coverage_at_target:.1%} of the events could be taken as seen here, "
            f"{certified(measures.proposal)} certified."
        )
    ]
    if bargain.points:
        text.append(
            f"What {target:.1%} right in the end costs: {_trade(bargain.by_doubt)} if the most "
            f"doubted are escalated, {_trade(bargain.by_lot)} if events are escalated by lot, "
            f"{_trade(bargain.all_sonnet)} if Sonnet answers all."
        )
    figures = "".join(
        (
            figure("risk-coverage", "Wrong answers among those taken from Haiku."),
            figure("cost-accuracy", "What escalating more buys.") if bargain.points else "",
            figure("reliability", "Haiku's stated confidence beside its accuracy."),
        )
    )
    return section("Doubt and cost", *map(paragraph, text), f'<div class="plots">{figures}</div>')


def _trade(trade: Trade | None) -> str:
    if trade is None:
        return "out of reach"
    return (
        f"{dollars(trade.cost_usd)} ({trade.escalated:.1%} escalated, {trade.accuracy:.1%} right)"
    )


def _proposal(evaluation: Evaluation) -> str:
    found = evaluation.measures.proposal
    rows = [
        (
            f"{each.threshold:g}",
            share(each.accepted, each.items),
            each.wrong,
            percent(each.upper),
            "yes" if each.accepted and each.upper <= 1 - found.target else "no",
        )
        for each in found.candidates
    ]
    chosen = None if found.chosen is None else found.candidates.index(found.chosen)
    headings = ("low_confidence", "accepted", "wrong", "risk at most", "holds")
    parts = [paragraph(each) for each in proposal_sentences(evaluation)]
    copy = settings_to_copy(evaluation)
    if copy is not None:
        parts.append(f"<pre>{html.escape(copy)}</pre>")
    return section(
        f"A threshold for {found.target:.1%} accuracy",
        table(headings, rows, chosen=chosen),
        *parts,
    )


def _sweep(evaluation: Evaluation) -> str:
    swept = evaluation.measures.sweep
    rows = [
        (
            f"{each.threshold:g}" + (" (set)" if each.is_set else ""),
            share(each.taken, each.way.items),
            percent(each.taken_wrong / each.taken if each.taken else None),
            share(each.way.escalated, each.way.items),
            each.way.undecided,
            percent(each.way.accuracy),
            dollars(each.way.cost_usd),
        )
        for each in swept
    ]
    headings = (
        "low_confidence", "taken from Haiku", "wrong of these", "escalated", "to a person",
        "right in the end", "cost",
    )  # fmt: skip
    chosen = next((index for index, each in enumerate(swept) if each.is_set), None)
    note = (
        "Worked out of the same recorded answers, all other thresholds as they are set. To choose "
        "one here by its looks would be to choose it on the events that judge it."
    )
    return section("Other thresholds", table(headings, rows, chosen=chosen), paragraph(note))


def _labels(evaluation: Evaluation) -> str:
    if evaluation.scoring.label is None:
        return ""
    headings = (
        "label", "events", "Haiku right", "Sonnet right", "escalated",
        *(_ENDS[end] for end in End),
    )  # fmt: skip
    rows = [_label(row) for row in evaluation.measures.labels]
    return section(f"By {evaluation.scoring.label}", table(headings, rows))


def _label(row: LabelRow) -> list[Cell]:
    return [
        row.label,
        row.items,
        share(row.haiku, row.items),
        share(row.sonnet, row.items),
        share(row.escalated, row.items),
        *(row.ends[end] for end in End),
    ]


def _fields(evaluation: Evaluation) -> str:
    kinds = {each.field: each.kind.value for each in evaluation.scoring.truths}
    rows = [
        (
            row.field,
            row.items,
            share(row.haiku, row.items),
            share(row.sonnet, row.items),
            share(row.cascade, row.decided),
            wide(kinds[row.field]),
        )
        for row in evaluation.measures.fields
    ]
    headings = (
        "field",
        "labelled",
        "Haiku right",
        "Sonnet right",
        "cascade, of taken",
        "compared by",
    )
    note = (
        "Names are compared by letters and digits, without case, spaces and punctuation; dates and "
        "amounts by value. Free text, such as a summary, is not compared."
    )
    ignored = evaluation.scoring.ignored
    left = f" Labels that nothing was compared with: {', '.join(ignored)}." if ignored else ""
    return section("By field", table(headings, rows), paragraph(note + left))


def _doubts(evaluation: Evaluation) -> str:
    rows = [
        (row.code, row.items, row.alone, share(row.haiku_wrong, row.items))
        for row in evaluation.measures.doubts
    ]
    headings = ("reason for escalation", "events", "for this alone", "Haiku was wrong")
    return section("Reasons", table(headings, rows), paragraph("An event may have several."))


def _calibration(evaluation: Evaluation) -> str:
    measures = evaluation.measures
    rows = [
        (name, each.items, number(each.error), number(each.brier))
        for name, each in (
            ("Haiku", measures.calibration_haiku),
            ("Sonnet", measures.calibration_sonnet),
        )
    ]
    headings = ("model", "answers", "calibration error", "Brier score")
    return section(
        "What a stated confidence is worth",
        table(headings, rows),
        paragraph(
            "Of events out of scope no answer is right. Calibration error: the mean gap between "
            "confidence and accuracy in ten intervals of confidence; 0 is best in both columns."
        ),
    )


def _mistakes(evaluation: Evaluation) -> str:
    wrong = [each for each in evaluation.measures.journeys if not each.well]
    headings = ("event", "end", "true", "Haiku", "Sonnet", "doubts")
    rows = [_mistake(evaluation, journey) for journey in wrong[:MISTAKES]]
    more = f"The first {MISTAKES} of {len(wrong)}." if len(wrong) > MISTAKES else ""
    dead = table(
        ("dead letter", "reason", "because"),
        [(each.id, each.reason, wide(each.detail)) for each in evaluation.dead_letters],
    )
    return section(
        "Events that did not end well",
        table(headings, rows) if rows else paragraph("None."),
        paragraph(more) if more else "",
        dead if evaluation.dead_letters else "",
    )


def _mistake(evaluation: Evaluation, journey: Journey) -> list[Cell]:
    case = journey.case
    doubts = counted_doubts(case.haiku, evaluation.policies.haiku)
    names = [
        truth.field
        for truth in evaluation.scoring.truths
        if case.out_of_scope
        or (not case.haiku.fields.get(truth.field, True))
        or (not case.sonnet.fields.get(truth.field, True))
    ]
    names = [name for name in names if name in evaluation.scoring.deciding] or names
    return [
        case.id,
        _ENDS[journey.end],
        wide("out of scope" if case.out_of_scope else _values(names, dict(case.truth))),
        wide(_values(names, dict(case.haiku.result or {}))),
        wide(_values(names, dict(case.sonnet.result or {}))),
        wide(", ".join(doubts)),
    ]


_LONGEST = 160


def _values(names: list[str], values: dict[str, object]) -> str:
    text = "; ".join(
        f"{name}: {orjson.dumps(values.get(name), default=str).decode()}" for name in names
    )
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
