"""Sections about how events end: each way, where, and what did not end well."""

import orjson

from pipeline.evaluate.cascade import End, Journey, Worth
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.figures import dollars, percent, seconds, share
from pipeline.evaluate.report.tables import Cell, paragraph, section, table, wide
from pipeline.evaluate.rules import counted_doubts
from pipeline.evaluate.ways import Way

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
    Worth.FIXED: "fixed: Haiku wrong, Sonnet right",
    Worth.BROKEN: "broken: Haiku right, Sonnet wrong",
    Worth.WASTED: "wasted: both right",
    Worth.HOPELESS: "hopeless: both wrong",
    Worth.CAUGHT: "out of scope, left to a person",
    Worth.MISSED: "out of scope, Sonnet's answer taken",
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
