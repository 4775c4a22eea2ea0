"""What an evaluation comes to, in sentences: for the terminal and for the report alike.

Numbers as people read them, on a terminal and in a report.
"""

from decimal import Decimal

from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.proposal import Part, Proposal
from pipeline.evaluate.strategies import Strategy


def percent(share: float | None) -> str | None:
    """A share of 1 in per cent."""
    return None if share is None else f"{share:.1%}"


def share(part: int, whole: int) -> str | None:
    """A count and what share it is."""
    return f"{part} ({part / whole:.1%})" if whole else None


def dollars(amount: Decimal | None) -> str:
    """US dollars; small amounts keep what matters of them."""
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def number(value: float | None) -> str | None:
    """A small figure without a unit."""
    return None if value is None else f"{value:.3f}"


def seconds(value: float) -> str:
    """Seconds."""
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


HEADINGS = (
    "Strategy", "Right in the end", "Wrong, taken", "Of taken, right", "To a person", "Escalated",
    "Cost", "Seconds, median",
)  # fmt: skip


def rows(evaluation: Evaluation) -> list[list[str]]:
    """The table for a terminal."""
    measures = evaluation.measures
    found = [_row(way.name, way) for way in (measures.haiku, measures.sonnet, measures.cascade)]
    for comparison in evaluation.comparisons:
        found += [
            _row(f"{way.name}, {comparison.changes}", way)
            for way in (comparison.haiku, comparison.sonnet, comparison.cascade)
        ]
    return found


def sentences(evaluation: Evaluation) -> list[str]:
    """What a person should read below that table."""
    measures, outside = evaluation.measures, evaluation.measures.scope
    told = [f"{evaluation.origin.word}: {evaluation.origin.sentence}", evaluation.scoring.rule]
    if outside.items:
        told.append(
            f"Out of scope: {outside.escalated} of {outside.items} escalated, "
            f"{outside.haiku_took + outside.sonnet_took} wrongly accepted; of the others "
            f"{outside.others_escalated} of {outside.others} were escalated."
        )
    if evaluation.dead_letters:
        told.append(f"{len(evaluation.dead_letters)} events are dead letters and in no table.")
    told.append(proposal_sentences(evaluation)[-1])
    if measures.proposal.chosen is not None:
        told.append(
            f"Proposed: thresholds.stages.{evaluation.stage}.low_confidence = "
            f"{measures.proposal.chosen.threshold!r}."
        )
    return told


def warnings(evaluation: Evaluation, fail_under: float | None) -> list[str]:
    """What must not be overlooked."""
    found = list(evaluation.remarks)
    if evaluation.baseline is not None and (stale := evaluation.baseline.warning):
        found.append(stale)
    if fail_under is not None and fails(evaluation, fail_under):
        found.append(
            f"{evaluation.measures.cascade.accuracy:.1%} of the events end well with the cascade; "
            f"at least {fail_under:.1%} were asked for."
        )
    return found


def fails(evaluation: Evaluation, fail_under: float | None) -> bool:
    """Whether fewer events end well than were asked for."""
    return fail_under is not None and evaluation.measures.cascade.accuracy < fail_under


def _row(name: str, way: Strategy) -> list[str]:
    return [
        name,
        share(way.well, way.items) or "-",
        share(way.decided_wrong, way.items) or "-",
        percent(way.accuracy_decided) or "-",
        str(way.undecided),
        share(way.escalated, way.items) or "-",
        dollars(way.cost_usd),
        seconds(way.seconds[1]),
    ]


def certified(proposal: Proposal) -> str:
    """The share of the report's part that may be taken, as far as it is certified."""
    outcome = proposal.outcome
    if outcome is None or not outcome.items:
        return "none"
    return f"{outcome.accepted / outcome.items:.1%}"


def proposal_sentences(evaluation: Evaluation) -> list[str]:
    """What can be said about the target accuracy, and how far it goes."""
    found, parts = evaluation.measures.proposal, evaluation.measures.parts
    tried = len(found.candidates)
    told = [
        (
            f"{tried} thresholds were fixed on {parts[Part.FIT]} events, tried on "
            f"{parts[Part.THRESHOLD]}, and the one that is chosen is judged on "
            f"{parts[Part.REPORT]} more; an event's part follows from its id. The risk is an exact "
            f"upper bound (Clopper and Pearson) that holds for all {tried} together with "
            f"{found.confidence:.0%} confidence."
        )
    ]
    if found.chosen is None:
        return [*told, _not_certifiable(found)]
    outcome = found.outcome
    if outcome is not None and outcome.items:
        told.append(
            f"With low_confidence = {found.chosen.threshold!r} the report's part accepts "
            f"{outcome.accepted} of {outcome.items} answers, {outcome.wrong} of them wrong."
        )
    return told


def settings_to_copy(evaluation: Evaluation) -> str | None:
    """The proposed threshold as `pipeline.toml` takes it, with what it depends on."""
    found = evaluation.measures.proposal
    if found.chosen is None:
        return None
    mark = evaluation.fingerprint
    return (
        f"# {evaluation.origin.word}: accepted answers at least {found.target:.1%} right, "
        f"{found.confidence:.0%} sure.\n"
        f"# Holds for {mark.haiku}, prompt {mark.prompt}, labels {mark.labels},\n"
        f"# {mark.events_per_request} events a request; evaluate again when any of it changes.\n"
        f"[thresholds.stages.{evaluation.stage}]\n"
        f"low_confidence = {found.chosen.threshold!r}\n"
    )


def _not_certifiable(found: Proposal) -> str:
    text = (
        f"Not certifiable with this many items: {found.accepted_needed} accepted answers without "
        f"an error would do for a risk of {1 - found.target:.1%}, and no threshold had that."
    )
    most = max(each.accepted for each in found.candidates)
    if most == 0:
        return f"{text} Of the events that were to certify one, none was accepted at all."
    if found.items_needed is None:
        return text + (
            f" Of the accepted answers, {most} at most, a larger share was wrong at every "
            "threshold than the target allows: if that is so in truth, more events will not help, "
            "but a lower target, a better prompt or better labels may."
        )
    return text + (
        f" If further events were like these, about {found.items_needed:,} labelled ones in all "
        "would be needed."
    )
