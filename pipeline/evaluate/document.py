"""An evaluation as JSON, for programs: `evaluation/1`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import orjson

import pipeline
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.proposal import Proposal
from pipeline.evaluate.report.page import page
from pipeline.evaluate.strategies import CascadeTrace, Strategy
from pipeline.model.errors import UsageError

SCHEMA = "evaluation/1"
_DIGITS = 6


def document(evaluation: Evaluation) -> dict[str, Any]:
    """Everything that the report shows."""
    measures = evaluation.measures
    return {
        "schema": SCHEMA,
        "version": pipeline.__version__,
        "stage": evaluation.stage,
        "file": evaluation.file,
        "at": evaluation.at.isoformat(timespec="seconds"),
        "origin": _plain(evaluation.origin),
        "events": {
            "lines": evaluation.lines,
            "measured": measures.items,
            "dead_letters": [_plain(each) for each in evaluation.dead_letters],
        },
        "compared": {
            "rule": evaluation.scoring.rule,
            "label": evaluation.scoring.label,
            "deciding": evaluation.scoring.deciding,
            "fields": [_plain(each) for each in evaluation.scoring.truths],
            "not_compared": evaluation.scoring.ignored,
        },
        "ways": [
            *(way_row(way) for way in (measures.haiku, measures.sonnet, measures.cascade)),
            *(
                {**way_row(way), "settings": comparison.changes, "differing": comparison.differing}
                for comparison in evaluation.comparisons
                for way in (comparison.haiku, comparison.sonnet, comparison.cascade)
            ),
        ],
        "ends": _plain(measures.ends),
        "escalations": _plain(measures.worths),
        "labels": [{**_plain(row), "escalated": row.escalated} for row in measures.labels],
        "fields": [_plain(row) for row in measures.fields],
        "out_of_scope": _plain(measures.scope),
        "doubts": [_plain(row) for row in measures.doubts],
        "calibration": {
            "haiku": _plain(measures.calibration_haiku),
            "sonnet": _plain(measures.calibration_sonnet),
        },
        "risk_coverage": _plain(measures.selection),
        "cost_accuracy": _plain(measures.bargain),
        "sweep": [{**_plain(row), "way": way_row(row.way)} for row in measures.sweep],
        "parts": _plain(measures.parts),
        "proposal": proposal(measures.proposal, evaluation),
        "remarks": evaluation.remarks,
        "fingerprint": _plain(evaluation.fingerprint),
        "baseline": None
        if evaluation.baseline is None
        else {**_plain(evaluation.baseline), "warning": evaluation.baseline.warning},
        "cases": [_case(journey) for journey in measures.journeys],
    }


def write(evaluation: Evaluation, base: Path) -> tuple[Path, Path]:
    """Write the report and the JSON file beside each other.

    Args:
        evaluation: To be written.
        base: Their name, without an ending.

    Raises:
        UsageError: They cannot be written there.
    """
    html, data = (base.with_name(f"{base.name}.{ending}") for ending in ("html", "json"))
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(evaluation), "utf-8")
        data.write_bytes(
            orjson.dumps(document(evaluation), default=str, option=orjson.OPT_INDENT_2)
        )
    except OSError as error:
        raise UsageError(
            f"{html} cannot be written ({error.strerror}): name another --output."
        ) from error
    return html, data


def way_row(way: Strategy) -> dict[str, Any]:
    """A way as a row."""
    mean, median, slowest = way.seconds
    return {
        "way": way.name,
        "items": way.items,
        "accuracy": round(way.accuracy, _DIGITS),
        "accuracy_decided": None
        if way.accuracy_decided is None
        else round(way.accuracy_decided, _DIGITS),
        "well": way.well,
        "decided": way.decided,
        "decided_right": way.decided_right,
        "decided_wrong": way.decided_wrong,
        "undecided": way.undecided,
        "escalated": way.escalated,
        "calls": way.calls,
        "cost_usd": None if way.cost_usd is None else format(way.cost_usd, "f"),
        "usd_per_thousand": None
        if way.usd_per_thousand is None
        else format(round(way.usd_per_thousand, _DIGITS), "f"),
        "seconds": {
            "mean": round(mean, _DIGITS),
            "median": round(median, _DIGITS),
            "p95": round(slowest, _DIGITS),
        },
    }


def proposal(found: Proposal, evaluation: Evaluation) -> dict[str, Any]:
    """What is proposed, with what it depends on: it is worth nothing without that."""
    return {
        **_plain(found),
        "setting": None
        if found.chosen is None
        else f"thresholds.stages.{evaluation.stage}.low_confidence",
        "fingerprint": _plain(evaluation.fingerprint),
        "origin": evaluation.origin.word,
    }


def _case(journey: CascadeTrace) -> dict[str, Any]:
    case = journey.case
    return {
        "id": case.id,
        "label": case.label,
        "out_of_scope": case.out_of_scope,
        "end": journey.end,
        "escalation": journey.worth,
        "haiku": {"right": case.haiku.right, "confidence": case.haiku.confidence},
        "sonnet": {"right": case.sonnet.right, "confidence": case.sonnet.confidence},
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a measure holds
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(each) for name, each in asdict(value).items() if name != "way"}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
