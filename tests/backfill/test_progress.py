"""What operators and programs see of a backfill."""

from contextlib import AsyncExitStack
from decimal import Decimal

import aiohttp
from prometheus_client import CollectorRegistry

from pipeline.backfill.progress import (
    Report,
    Watcher,
    document_of,
    on_terminal,
    open_metrics,
    sentence,
    with_metrics,
)
from pipeline.config import Settings
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.runtime.console import Bar

REPORT = Report(
    stage="tickets",
    source="tickets.raw",
    events=12_000,
    claimed=10_000,
    enriched=6_000,
    escalated=990,
    dead_letters=10,
    returned=3,
    gone=5,
    batches=4,
    under_way=2,
    resumed=1,
    found_again=1,
    tombstones=2,
    batch_usd=Decimal("1.25"),
    normal_usd=Decimal("0.01"),
    done=False,
)


def test_metrics_follow_the_report_and_all_is_passed_on() -> None:
    registry, reports, notes = CollectorRegistry(), list[Report](), list[str]()
    watcher = with_metrics(Metrics(registry, Conditions()), Watcher(reports.append, notes.append))
    watcher.changed(REPORT)
    watcher.happened("It goes on.")
    assert (reports, notes) == ([REPORT], ["It goes on."])
    events = {
        state: registry.get_sample_value(
            "pipeline_backfill_events", {"stage": "tickets", "state": state}
        )
        for state in ("waiting", "under_way", "published")
    }
    assert events == {"waiting": 2000, "under_way": 2995, "published": 7000}
    cost = {"stage": "tickets", "lane": "batch"}
    assert registry.get_sample_value("pipeline_backfill_cost_usd", cost) == 1.25


async def test_metrics_are_served_where_that_is_wished() -> None:
    settings, notes = Settings(), list[str]()
    watcher = Watcher(happened=notes.append)
    settings.http.port = 0
    async with AsyncExitStack() as stack:
        metrics = await open_metrics(stack, settings, "tickets", watcher, http=True)
        with_metrics(metrics, watcher).changed(REPORT)
        (said,) = notes
        address = said.removeprefix("Metrics are at ").rstrip(".")
        async with aiohttp.ClientSession() as http, http.get(address) as response:
            page = await response.text()
    assert 'pipeline_backfill_events{stage="tickets",state="published"} 7000' in page


def test_a_person_reads_what_came_of_it_and_what_it_cost() -> None:
    said = sentence(REPORT.model_copy(update={"done": True}))
    assert "7,000 of 12,000 events in 4 batches" in said
    assert "$1.2500 for batches and $0.0100 for the normal lane" in said
    assert "3 without an answer" in said
    assert ", 2 tombstones skipped" in said
    assert "tombstones" not in sentence(REPORT.model_copy(update={"tombstones": 0}))
    assert sentence(REPORT).startswith("not finished")
    assert "unknown price" in sentence(REPORT.model_copy(update={"batch_usd": None}))


def test_a_program_reads_exact_amounts() -> None:
    document = document_of(REPORT)
    assert next(iter(document)) == "stage"
    assert (document["batch_usd"], document["cost_usd"]) == ("1.25", "1.26")
    assert document_of(REPORT.model_copy(update={"batch_usd": None}))["cost_usd"] is None
    assert document["events"] == 12_000


def test_the_bar_shows_how_far_it_is_and_what_it_has_cost() -> None:
    class Shown(Bar):
        def __init__(self) -> None:
            self.shown: dict[str, object] = {}

        def show(self, *, done: int, total: int, what: str) -> None:
            self.shown = {"done": done, "total": total, "what": what}

    bar, notes = Shown(), list[str]()
    board = on_terminal(bar, notes.append)
    board.changed(REPORT)
    board.happened("It goes on.")
    assert (bar.shown["done"], bar.shown["total"]) == (7000, 12_000)
    assert "2 of 4 batches under way, $1.2600 so far" in str(bar.shown["what"])
    assert notes == ["It goes on."]
