"""Sections about what doubting more or less buys, and the threshold that is proposed."""

import html

from pipeline.evaluate.curves import Trade
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.figures import dollars, number, percent, share
from pipeline.evaluate.report.tables import figure, paragraph, section, table
from pipeline.evaluate.verdict import certified, proposal_sentences, settings_to_copy


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
