"""What an evaluation comes to: for the terminal, as JSON for programs, and as a page for people.

The page is `report.html`, one file that needs nothing else; its template escapes everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined
from pydantic_core import to_jsonable_python

import pipeline
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.measures import Measures, Trade
from pipeline.evaluate.proposal import Certified, Proposal, counted_doubts
from pipeline.evaluate.strategies import CascadeTrace, End, EscalationValue, Strategy, TierOutcome
from pipeline.model.records import Tier
from pipeline.operators.files import usable

SCHEMA = "evaluation/2"
HEADINGS = (
    "Strategy", "Right in the end", "Wrong, taken", "Of taken, right", "To a person", "Escalated",
    "Cost", "Seconds, median",
)  # fmt: skip
_MEASURED = (
    "ends", "escalations", "labels", "fields", "out_of_scope", "doubts", "calibration",
    "risk_coverage", "cost_accuracy",
)  # fmt: skip
MISTAKES = 100  # shown on the page; the JSON file has every event
ENDS = {
    End.HAIKU_RIGHT: "Haiku, right",
    End.HAIKU_WRONG: "Haiku, wrong",
    End.SONNET_RIGHT: "Sonnet, right",
    End.SONNET_WRONG: "Sonnet, wrong",
    End.REVIEW: "to a person",
}
_ESCALATIONS = {
    EscalationValue.FIXED: "fixed: Haiku wrong, Sonnet right",
    EscalationValue.BROKEN: "broken: Haiku right, Sonnet wrong",
    EscalationValue.WASTED: "wasted: both right",
    EscalationValue.HOPELESS: "hopeless: both wrong",
    EscalationValue.CAUGHT: "out of scope, left to a person",
    EscalationValue.MISSED: "out of scope, Sonnet's answer taken",
}
_DIGITS = 6
_LONGEST = 160  # characters of a cell with values


def percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def share(part: int, whole: int) -> str | None:
    return f"{part} ({part / whole:.1%})" if whole else None


def dollars(amount: Decimal | None) -> str:
    """US dollars; small amounts keep what matters of them."""
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


def _named(evaluation: Evaluation) -> list[tuple[str, Strategy]]:
    found = [(each.name, each) for each in evaluation.strategies]
    for comparison in evaluation.comparisons:
        found += [(f"{each.name}, {comparison.changes}", each) for each in comparison.strategies]
    return found


def rows(evaluation: Evaluation) -> list[list[str]]:
    return [
        [
            name,
            share(each.well, each.items) or "-",
            share(each.decided_wrong, each.items) or "-",
            percent(each.accuracy_decided) or "-",
            str(each.undecided),
            share(each.escalated, each.items) or "-",
            dollars(each.cost_usd),
            seconds(each.seconds[1]),
        ]
        for name, each in _named(evaluation)
    ]


def sentences(evaluation: Evaluation) -> list[str]:
    outside, chosen = evaluation.measures.out_of_scope, evaluation.measures.proposal.chosen
    said = [f"{evaluation.origin.word}: {evaluation.origin.sentence}", evaluation.scoring.rule]
    if outside.items:
        said.append(
            f"Out of scope: {outside.escalated} of {outside.items} escalated, "
            f"{outside.haiku_took + outside.sonnet_took} wrongly accepted; of the others "
            f"{outside.others_escalated} of {outside.others} were escalated."
        )
    if evaluation.dead_letters:
        said.append(f"{len(evaluation.dead_letters)} events are dead letters and in no table.")
    said += proposal_sentences(evaluation)[1:]
    if chosen is not None:
        said.append(
            f"Proposed: thresholds.stages.{evaluation.stage}.low_confidence = {chosen.threshold!r}."
        )
    return said


def warnings(evaluation: Evaluation, fail_under: float | None) -> list[str]:
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
    return fail_under is not None and evaluation.measures.cascade.accuracy < fail_under


def proposal_sentences(evaluation: Evaluation) -> list[str]:
    found, steps = evaluation.measures.proposal, evaluation.measures.proposal.steps
    said = [
        (
            f"{len(steps)} thresholds were fixed by what they accept alone, and tested one after "
            f"the other until one failed, so each may err in {found.alpha:.1%} of cases and all "
            "together no more. The test is exact; answers of the same key are taken together."
        )
    ]
    if found.chosen is None:
        said.append(_not_certifiable(found))
    else:
        said.append(
            f"With low_confidence = {found.chosen.threshold!r} {found.chosen.accepted} of "
            f"{found.chosen.items} answers of Haiku are accepted, {found.chosen.wrong} of them "
            "wrong."
        )
    said.append(published_sentence(found))
    return said


def published_sentence(found: Proposal) -> str:
    """What is certified of all that the settings in force publish, and what is not."""

    def words(each: Certified) -> str:
        labels, wrong = each.finding.labels, each.finding.errors
        below = "" if each.upper is None else f", below {each.upper:.1%} in truth"
        verdict = "certified" if each.holds else "not certified"
        return f"{each.what}: {wrong} of {labels} wrong{below} ({verdict})"

    return (
        f"As the settings are, of what is published at least {found.target:.1%} right, each "
        f"statement by itself with {1 - found.alpha:.1%} confidence: "
        + "; ".join(words(each) for each in found.published)
        + "."
    )


def _not_certifiable(found: Proposal) -> str:
    text = (
        f"Not certifiable with this many items: {found.accepted_needed} accepted answers without "
        f"an error would do for a risk of {1 - found.target:.1%}, and the first threshold did not "
        "have that."
    )
    first = found.steps[0]
    if not first.accepted:
        return f"{text} No answer was accepted at all."
    if found.items_needed is None:
        return text + (
            f" Of the {first.accepted} answers that it accepts a larger share was wrong than the "
            "target allows: if that is so in truth, more events will not help, but a lower target, "
            "a better prompt or better labels may."
        )
    return text + (
        f" If further events were like these, about {found.items_needed:,} labelled ones in all "
        "would have a chance of 80 %."
    )


def settings_to_copy(evaluation: Evaluation) -> str | None:
    found, mark = evaluation.measures.proposal, evaluation.fingerprint
    if found.chosen is None:
        return None
    return (
        f"# {evaluation.origin.word}: accepted answers at least {found.target:.1%} right, "
        f"{1 - found.alpha:.1%} sure.\n"
        f"# Holds for {mark.haiku}, prompt {mark.prompt}, labels {mark.labels},\n"
        f"# {mark.events_per_request} events a request; evaluate again when any of it changes.\n"
        f"[thresholds.stages.{evaluation.stage}]\n"
        f"low_confidence = {found.chosen.threshold!r}\n"
    )


def write(evaluation: Evaluation, base: Path) -> tuple[Path, Path]:
    """Write the page and the JSON file, named `base` and an ending; `UsageError` if that fails."""
    html, data = (base.with_name(f"{base.name}.{ending}") for ending in ("html", "json"))
    with usable(html, "written", otherwise="name another --output."):
        base.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(evaluation), "utf-8")
        data.write_bytes(
            orjson.dumps(document(evaluation), default=str, option=orjson.OPT_INDENT_2)
        )
    return html, data


def document(evaluation: Evaluation) -> dict[str, Any]:
    """Everything that the page shows: `evaluation/2`."""
    measures, scoring, baseline = evaluation.measures, evaluation.scoring, evaluation.baseline
    chosen = measures.proposal.chosen
    whole = {
        "schema": SCHEMA,
        "version": pipeline.__version__,
        "stage": evaluation.stage,
        "file": evaluation.file,
        "at": evaluation.at.isoformat(timespec="seconds"),
        "origin": evaluation.origin,
        "events": {
            "lines": evaluation.lines,
            "measured": measures.items,
            "dead_letters": evaluation.dead_letters,
        },
        "compared": {
            "rule": scoring.rule,
            "label": scoring.label,
            "deciding": scoring.deciding,
            "fields": scoring.truths,
            "not_compared": scoring.ignored,
        },
        "ways": [
            *(_way(each) for each in evaluation.strategies),
            *(
                {**_way(each), "settings": other.changes, "differing": other.differing}
                for other in evaluation.comparisons
                for each in other.strategies
            ),
        ],
        **{name: getattr(measures, name) for name in _MEASURED},
        "sweep": [
            {"way": _way(row.strategy), **to_jsonable_python(row, exclude={"strategy"})}
            for row in measures.sweep
        ],
        # With what it depends on: it is worth nothing without that.
        "proposal": {
            **asdict(measures.proposal),
            "setting": chosen and f"thresholds.stages.{evaluation.stage}.low_confidence",
            "fingerprint": evaluation.fingerprint,
            "origin": evaluation.origin.word,
        },
        "remarks": evaluation.remarks,
        "fingerprint": evaluation.fingerprint,
        "baseline": baseline and {**asdict(baseline), "warning": baseline.warning},
        "cases": [
            {
                "id": each.case.id,
                "key": each.case.key,
                "label": each.case.label,
                "out_of_scope": each.case.out_of_scope,
                "end": each.end,
                "escalation": each.escalation,
                "haiku": _answered(each.case.haiku),
                "sonnet": _answered(each.case.sonnet),
            }
            for each in measures.traces
        ],
    }
    found: dict[str, Any] = to_jsonable_python(whole)
    return found


def _answered(outcome: TierOutcome) -> dict[str, Any]:
    signals = [
        {"code": each.code, "strength": each.strength, "fields": each.fields}
        for each in outcome.signals
    ]
    return {
        "right": outcome.right,
        "confidence": outcome.confidence,
        "said": outcome.said,
        "fields": outcome.fields,
        "signals": signals,
    }


def _way(strategy: Strategy) -> dict[str, Any]:
    decided, usd = strategy.accuracy_decided, strategy.usd_per_thousand
    mean, median, slowest = (round(each, _DIGITS) for each in strategy.seconds)
    return {
        "way": strategy.name,
        **to_jsonable_python(strategy, exclude={"name"}),
        "accuracy": round(strategy.accuracy, _DIGITS),
        "accuracy_decided": None if decided is None else round(decided, _DIGITS),
        "decided_wrong": strategy.decided_wrong,
        "cost_usd": None if strategy.cost_usd is None else format(strategy.cost_usd, "f"),
        "usd_per_thousand": None if usd is None else format(round(usd, _DIGITS), "f"),
        "seconds": {"mean": mean, "median": median, "p95": slowest},
    }


def page(evaluation: Evaluation) -> str:
    folder = resources.files("pipeline.evaluate")
    uplot = resources.files("pipeline.vendor.uplot")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent, "dollars": dollars, "number": number, "seconds": seconds,
    }  # fmt: skip
    wrong = [each for each in evaluation.measures.traces if not each.well]
    return environment.from_string(folder.joinpath("report.html").read_text("utf-8")).render(
        evaluation=evaluation,
        measures=evaluation.measures,
        version=pipeline.__version__,
        warnings=warnings(evaluation, None),
        named=_named(evaluation),
        share=share,
        trade=_trade,
        ends=ENDS,
        escalations=_ESCALATIONS,
        proposal_sentences=proposal_sentences(evaluation),
        settings_to_copy=settings_to_copy(evaluation),
        mistakes=[_mistake(evaluation, each) for each in wrong[:MISTAKES]],
        wrong=len(wrong),
        plots=_plots(evaluation.measures),
        uplot_css=uplot.joinpath("uPlot.min.css").read_text("utf-8"),
        uplot_js=uplot.joinpath("uPlot.iife.min.js").read_text("utf-8"),
    )


def _trade(trade: Trade | None) -> str:
    if trade is None:
        return "out of reach"
    return (
        f"{dollars(trade.cost_usd)} ({trade.escalated:.1%} escalated, {trade.accuracy:.1%} right)"
    )


def _mistake(evaluation: Evaluation, trace: CascadeTrace) -> list[str]:
    case = trace.case
    doubts = counted_doubts(case.haiku, evaluation.policies[Tier.HAIKU])
    wrong = [
        truth.field
        for truth in evaluation.scoring.truths
        if case.out_of_scope
        or not case.haiku.fields.get(truth.field, True)
        or not case.sonnet.fields.get(truth.field, True)
    ]
    names = [name for name in wrong if name in evaluation.scoring.deciding] or wrong

    def values(of: Mapping[str, object] | None) -> str:
        text = "; ".join(
            f"{name}: {orjson.dumps((of or {}).get(name), default=str).decode()}" for name in names
        )
        return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

    return [
        case.id,
        ENDS[trace.end],
        "out of scope" if case.out_of_scope else values(case.truth),
        values(case.haiku.result),
        values(case.sonnet.result),
        ", ".join(doubts),
    ]


def _plots(measures: Measures) -> dict[str, list[Sequence[tuple[float, float]]]]:
    random, trade_off = measures.risk_coverage.random or 0.0, measures.cost_accuracy
    costs = [(float(each.cost_usd), each.accuracy) for each in trade_off.points]
    found: dict[str, list[Sequence[tuple[float, float]]]] = {
        "risk-coverage": [
            [(each.coverage, each.risk) for each in measures.risk_coverage.curve],
            [(0.0, random), (1.0, random)],
        ],
        "reliability": [
            [
                (each.confidence, each.accuracy)
                for each in measures.calibration[Tier.HAIKU].bins
                if each.confidence is not None and each.accuracy is not None
            ],
            [(0.0, 0.0), (1.0, 1.0)],
        ],
    }
    if costs and (only := trade_off.all_sonnet) is not None:
        alone = [(float(only.cost_usd), only.accuracy)]
        found["cost-accuracy"] = [costs, [costs[0], costs[-1]], alone]
    return found
