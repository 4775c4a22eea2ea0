"""How far a backfill is, and what came of it: for a terminal, for programs, as metrics."""

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.backfill.journal import Job, Run, Tally, unfinished
from pipeline.config import Settings
from pipeline.model.records import added
from pipeline.observe.dashboard import instruments
from pipeline.observe.metrics import Metrics
from pipeline.observe.web import serve
from pipeline.runtime.console import Bar


class Report(Tally):
    """A backfill, over all starts of the program."""

    stage: str
    source: str  # the topic, or `file:` and the digest of a file
    events: int  # what there was to do when it began, about; what is in batches, where more
    claimed: int  # events that are in batches
    batches: int
    under_way: int  # batches that are not published
    resumed: int  # batches that this start of the program found unfinished
    found_again: int  # of these, submissions whose answer was lost and whose batch was found
    tombstones: int  # records without a value that this start of the program skipped
    done: bool  # whether all of it is done

    @property
    def cost_usd(self) -> Decimal | None:
        return added(self.batch_usd, self.normal_usd)


def report_of(
    run: Run, jobs: Iterable[Job], *, resumed: int = 0, found_again: int = 0, tombstones: int = 0
) -> Report:
    mine = [job for job in jobs if job.run == run.run]
    tally = sum((job.tally for job in mine), Tally())
    claimed = sum(job.events for job in mine)
    return Report(
        stage=run.stage,
        source=run.source,
        events=claimed if run.ended_at is not None else max(run.events or 0, claimed),
        claimed=claimed,
        batches=len(mine),
        under_way=len(unfinished(mine)),
        resumed=resumed,
        found_again=found_again,
        tombstones=tombstones,
        done=run.ended_at is not None,
        **dict(tally),
    )


def sentence(report: Report) -> str:
    gone = f", {report.gone:,} gone from the log" if report.gone else ""
    skipped = f", {report.tombstones:,} tombstones skipped" if report.tombstones else ""
    over = f", {report.passed_over:,} passed over" if report.passed_over else ""
    returned = (
        f"; {report.returned:,} without an answer in their batch were asked in the normal lane"
        if report.returned
        else ""
    )
    state = "" if report.done else "not finished: "
    return (
        f"{state}{report.published:,} of {report.events:,} events in {report.batches:,} batches: "
        f"{report.enriched:,} enriched, {report.escalated:,} escalated, "
        f"{report.dead_letters:,} dead letters{over}{gone}{skipped}{returned}; "
        f"{dollars(report.batch_usd)} for batches and {dollars(report.normal_usd)} for the normal "
        "lane"
    )


def document_of(report: Report) -> dict[str, Any]:
    """The same for a program; US dollars as decimal strings, null where a price is not known."""
    cost = report.cost_usd
    known = {"stage": report.stage, **report.model_dump(mode="json")}  # logs are searched by it
    known["published"], known["cost_usd"] = report.published, None if cost is None else f"{cost:f}"
    return known


def dollars(usd: Decimal | None) -> str:
    return "an unknown price" if usd is None else f"${usd:,.4f}"


@dataclass(frozen=True, slots=True)
class Watcher:
    """Called with what happens, from the event loop; must be quick and must not raise."""

    changed: Callable[[Report], None] = lambda _: None  # something came further
    happened: Callable[[str], None] = lambda _: None  # a sentence that a person may want to know


def on_terminal(bar: Bar, note: Callable[[str], None]) -> Watcher:
    def changed(report: Report) -> None:
        what = f"{report.under_way} of {report.batches} batches under way"
        bar.show(
            done=report.published + report.passed_over,
            total=report.events,
            what=f"Backfilling {report.stage}: {what}, {dollars(report.cost_usd)} so far",
        )

    return Watcher(changed, note)


def with_metrics(metrics: Metrics, watcher: Watcher) -> Watcher:

    def changed(report: Report) -> None:
        events = {
            "waiting": report.events - report.claimed,
            "under_way": report.claimed - report.published - report.passed_over - report.gone,
            "published": report.published,
        }
        metrics.backfilled(report.stage, events=events, batches=report.under_way)
        for lane, usd in (("batch", report.batch_usd), ("normal", report.normal_usd)):
            if usd is not None:
                metrics.backfill_cost(report.stage, lane=lane, usd=usd)
        watcher.changed(report)

    return Watcher(changed, watcher.happened)


async def open_metrics(
    stack: AsyncExitStack, settings: Settings, stage: str, watcher: Watcher, *, http: bool
) -> Metrics:
    """The metrics of this process; `http` serves them, or `PipelineError`: the port is taken."""
    observed = instruments(settings, [stage], delivery="exactly_once")
    if http:
        observed.health.add_readiness("models", observed.conditions.not_answering)
        address = await stack.enter_async_context(serve(settings.http, observed.views))
        watcher.happened(f"Metrics are at {address}/metrics.")
    return observed.metrics
