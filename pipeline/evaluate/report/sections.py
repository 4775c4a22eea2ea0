"""Sections that take the result apart: by label, field, doubt and stated confidence.

Sections about how events end: each way, where, and what did not end well.

Sections about what doubting more or less buys, and the threshold that is proposed.

HTML as a report shows it; everything that comes from outside is escaped.
"""

import html
from collections.abc import Iterable, Sequence

import orjson

from pipeline.evaluate.curves import Trade
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.measures import LabelRow
from pipeline.evaluate.proposal import counted_doubts
from pipeline.evaluate.strategies import CascadeTrace, End, EscalationValue, Strategy
from pipeline.evaluate.verdict import (
    certified,
    dollars,
    number,
    percent,
    proposal_sentences,
    seconds,
    settings_to_copy,
    share,
)


class Markup(str):
    """HTML that is already safe."""

    __slots__ = ()


_ROW = "<tr>"
_CHOSEN = '<tr class="chosen">'
Cell = str | int | Markup | None


def table(
    headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, chosen: int | None = None
) -> str:
    """A table; the first column is what a row is about, the others are right-aligned.

    Args:
        headings: Of the columns.
        rows: Cells; None is shown as a dash.
        chosen: The row that stands out, from 0.
    """
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"{_CHOSEN if index == chosen else _ROW}{''.join(map(_cell, row))}</tr>"
        for index, row in enumerate(rows)
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{whole}</div>'


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph."""
    shown = f' class="{html.escape(kind)}"' if kind else ""
    return f"<p{shown}>{text if isinstance(text, Markup) else html.escape(text)}</p>"


def section(title: str, *parts: str) -> str:
    """A section with a heading."""
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def figure(identity: str, caption: str) -> str:
    """A place for a plot."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure><div id="{identity}"></div>{below}</figure>'


def wide(text: str) -> Markup:
    """A cell of text: left-aligned, and broken where it is long."""
    return Markup(f'<td class="text">{html.escape(text)}</td>')


def _cell(cell: Cell) -> str:
    if isinstance(cell, Markup):
        return cell
    return f"<td>{'–' if cell is None else html.escape(str(cell))}</td>"


MISTAKES = 100
"""Shown; the JSON file has every event."""
ENDS = {
    End.HAIKU_RIGHT: "Haiku, right",
    End.HAIKU_WRONG: "Haiku, wrong",
    End.SONNET_RIGHT: "Sonnet, right",
    End.SONNET_WRONG: "Sonnet, wrong",
    End.REVIEW: "to a person",
}
_WORTHS = {
    EscalationValue.FIXED: "fixed: Haiku wrong, Sonnet right",
    EscalationValue.BROKEN: "broken: Haiku right, Sonnet wrong",
    EscalationValue.WASTED: "wasted: both right",
    EscalationValue.HOPELESS: "hopeless: both wrong",
    EscalationValue.CAUGHT: "out of scope, left to a person",
    EscalationValue.MISSED: "out of scope, Sonnet's answer taken",
}
_LONGEST = 160


def ways(evaluation: Evaluation) -> str:
    """Each model alone beside the cascade, for every variant that was compared."""
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


def _way(way: Strategy, changes: str = "") -> list[Cell]:
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


def where(evaluation: Evaluation) -> str:
    """Who decided, and what escalating was worth."""
    measures, outside = evaluation.measures, evaluation.measures.scope
    ended = table(
        ("the cascade's end", "events"),
        [
            *((ENDS[end], share(count, measures.items)) for end, count in measures.ends.items()),
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


def mistakes(evaluation: Evaluation) -> str:
    """The events that did not end well, and the dead letters."""
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


def _mistake(evaluation: Evaluation, journey: CascadeTrace) -> list[Cell]:
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
        ENDS[journey.end],
        wide("out of scope" if case.out_of_scope else _values(names, dict(case.truth))),
        wide(_values(names, dict(case.haiku.result or {}))),
        wide(_values(names, dict(case.sonnet.result or {}))),
        wide(", ".join(doubts)),
    ]


def _values(names: list[str], values: dict[str, object]) -> str:
    text = "; ".join(
        f"{name}: {orjson.dumps(values.get(name), default=str).decode()}" for name in names
    )
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def labels(evaluation: Evaluation) -> str:
    """How each label fared; nothing where the stage has no label."""
    if evaluation.scoring.label is None:
        return ""
    headings = (
        "label", "events", "Haiku right", "Sonnet right", "escalated",
        *(ENDS[end] for end in End),
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


def fields(evaluation: Evaluation) -> str:
    """How each field fared, and how it was compared."""
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


def doubts(evaluation: Evaluation) -> str:
    """Why answers were escalated, and how often that was right."""
    rows = [
        (row.code, row.items, row.alone, share(row.haiku_wrong, row.items))
        for row in evaluation.measures.doubts
    ]
    headings = ("reason for escalation", "events", "for this alone", "Haiku was wrong")
    return section("Reasons", table(headings, rows), paragraph("An event may have several."))


def calibration(evaluation: Evaluation) -> str:
    """How far a stated confidence can be believed."""
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


def pictures(evaluation: Evaluation) -> str:
    """Doubt against mistakes, cost against accuracy, confidence against accuracy."""
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


def proposal(evaluation: Evaluation) -> str:
    """The thresholds that were tried, and the one that is proposed, to be copied."""
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


def sweep(evaluation: Evaluation) -> str:
    """What other thresholds would have done with the same answers."""
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
