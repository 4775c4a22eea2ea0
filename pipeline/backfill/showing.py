"""How a backfill looks on a terminal and to a program."""

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from pipeline.backfill.progress import Report
from pipeline.console import Bar


class Board:
    """A `Watcher` that draws a bar and writes what happens beside it.

    Args:
        bar: Shows how far it is.
        note: Tells a person something.
    """

    def __init__(self, bar: Bar, note: Callable[[str], None]) -> None:
        self._bar = bar
        self._note = note

    def changed(self, report: Report) -> None:
        """Move the bar."""
        what = f"{report.under_way} of {report.batches} batches under way"
        self._bar.show(
            done=report.published,
            total=report.events,
            what=f"Backfilling {report.stage}: {what}, {dollars(report.cost_usd)} so far",
        )

    def happened(self, sentence: str) -> None:
        """Write it."""
        self._note(sentence)


def sentence(report: Report) -> str:
    """What came of it, for a person."""
    gone = f", {report.gone:,} gone from the log" if report.gone else ""
    returned = (
        f"; {report.returned:,} without an answer in their batch were asked in the normal lane"
        if report.returned
        else ""
    )
    state = "" if report.done else "not finished: "
    return (
        f"{state}{report.published:,} of {report.events:,} events in {report.batches:,} batches: "
        f"{report.enriched:,} enriched, {report.escalated:,} escalated, "
        f"{report.dead_letters:,} dead letters{gone}{returned}; {dollars(report.batch_usd)} for "
        f"batches and {dollars(report.normal_usd)} for the normal lane"
    )


def document_of(report: Report) -> dict[str, Any]:
    """The same for a program; US dollars as decimal strings, null where a price is not known."""
    document = asdict(report)
    for name, usd in (
        ("batch_usd", report.batch_usd),
        ("normal_usd", report.normal_usd),
        ("cost_usd", report.cost_usd),
    ):
        document[name] = None if usd is None else format(usd, "f")
    return document


def dollars(usd: Decimal | None) -> str:
    """An amount for a person."""
    return "an unknown price" if usd is None else f"${usd:,.4f}"
