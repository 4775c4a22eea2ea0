"""What a workload costs, as a table for people or rows for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.claude.costing import CostRow, Models, Workload, cost_table
from pipeline.claude.prices import PriceTable
from pipeline.claude.published import UseCaseRow, use_case_rows
from pipeline.errors import WrongUse
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class CostReport:
    """One table.

    Args:
        rows: For programs.
        headings: Of the columns.
        cells: The same rows for people.
        remarks: What a reader must know, a sentence each.
    """

    rows: Sequence[CostRow] | Sequence[UseCaseRow]
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    remarks: Sequence[str]


def of_workload(settings: Settings, *, escalated: float, **workload: Any) -> CostReport:  # noqa: ANN401 - the fields of Workload
    """A workload on each model alone, and as a cascade.

    Raises:
        WrongUse: There can be no such workload.
    """
    try:
        asked = Workload(escalated=Decimal(str(escalated)), **workload)
    except ValueError as error:
        raise WrongUse(f"There is no such workload: {error}.") from error
    rows = cost_table(asked, PriceTable(settings.claude.prices), _models(settings))
    cells = [
        (
            row.way,
            " + ".join(row.models),
            _dollars(row.usd_per_month),
            _dollars(row.usd_per_thousand),
            "?" if row.share is None else f"{row.share:.1%}",
        )
        for row in rows
    ]
    headings = ("Way", "Models", "A month", "1,000 events", "Of Sonnet alone")
    return CostReport(rows, headings, cells, _unique(row.note for row in rows))


def of_published(settings: Settings) -> CostReport:
    """Published figures, what follows from their own inputs, and the same at present prices."""
    rows = use_case_rows(PriceTable(settings.claude.prices), _models(settings))
    cells = [
        (
            row.use_case.task,
            f"${row.use_case.stated_haiku:,} / ${row.use_case.stated_sonnet:,}",
            f"{_dollars(row.haiku)} / {_dollars(row.sonnet)}",
            f"{row.saving:.0%}",
            f"{_dollars(row.haiku_now)} / {_dollars(row.sonnet_now)}",
        )
        for row in rows
    ]
    headings = ("Task, a month", "Haiku / Sonnet, stated", "As computed", "Saving", "Now")
    remarks = [f"{row.use_case.task}: {row.remark}." for row in rows if row.remark]
    return CostReport(rows, headings, cells, ["Input tokens only.", *remarks])


def _models(settings: Settings) -> Models:
    return Models(haiku=settings.models.haiku, sonnet=settings.models.sonnet)


def _dollars(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"${amount:,.2f}"


def _unique(notes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(note for note in notes if note))
