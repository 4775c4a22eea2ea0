"""Sections that take the result apart: by label, field, doubt and stated confidence."""

from pipeline.evaluate.breakdown import LabelRow
from pipeline.evaluate.cascade import End
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.figures import number, share
from pipeline.evaluate.report.endings import ENDS
from pipeline.evaluate.report.tables import Cell, paragraph, section, table, wide


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
