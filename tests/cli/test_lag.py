import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.kafka.offsets import PartitionLag
from pipeline.operators.inspection import LAG_HEADINGS, StageLag, duration, lag_notes, lag_rows
from tests.cli.conftest import Run

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def partition(number: int, lag: int, fault: str | None = None) -> PartitionLag:
    oldest = NOON - timedelta(seconds=90) if lag else None
    return PartitionLag("tickets.raw", number, 0, 10, 10 - lag, 0, lag, oldest, fault)


def stage(*partitions: PartitionLag, members: int = 1) -> StageLag:
    lag = sum(each.lag for each in partitions)
    return StageLag(
        "tickets", "pipeline.tickets", NOON, members, lag, 90.0, None, tuple(partitions)
    )


def test_partitions_are_listed_before_their_sum() -> None:
    first, second, total = lag_rows([stage(partition(0, 4), partition(1, 0))])
    assert dict(zip(LAG_HEADINGS, first, strict=True)) == {
        "Topic": "tickets.raw",
        "Partition": "0",
        "End": "10",
        "Committed": "6",
        "Done above": "0",
        "Lag": "4",
        "Oldest": "90.0 s",
        "Drained in": "",
    }
    assert second[6] == ""
    assert (total[0], total[5]) == ("tickets, 1 consumers", "4")


def test_a_lag_without_consumers_is_reported() -> None:
    assert list(lag_notes([stage(partition(0, 4), members=0)])) == [
        "tickets: nobody consumes; start it with `pipeline run tickets`."
    ]
    assert list(lag_notes([stage(partition(0, 0), members=0)])) == []


def test_a_ledger_that_cannot_be_read_is_reported() -> None:
    (note,) = lag_notes([stage(partition(2, 1, "not a ledger"))])
    assert note == "tickets.raw, partition 2: not a ledger"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-0.5, "0.0 s"), (1.25, "1.2 s"), (130, "2 min"), (7300, "2 h")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.usefixtures("prefix")
def test_what_was_published_and_not_consumed_is_the_lag(run: Run) -> None:
    run("topics", "create")
    run("publish", "tickets", "samples/tickets.jsonl")
    ran = run("lag", "tickets", "--json", "--interval", "0.1")
    assert ran.code == 0
    (tickets,) = json.loads(ran.out)
    assert tickets["lag"] == 72
    assert tickets["members"] == 0
    assert sum(each["lag"] for each in tickets["partitions"]) == 72
    assert "nobody consumes" in run("lag", "tickets").err


@pytest.mark.usefixtures("prefix")
def test_without_events_there_is_no_lag(run: Run) -> None:
    run("topics", "create")
    ran = run("lag")
    assert ran.code == 0
    assert "escalations" in ran.out
    assert ran.err == ""


@pytest.mark.usefixtures("nowhere")
def test_brokers_that_do_not_answer_are_reported(run: Run) -> None:
    assert run("lag").code == 1


def test_a_stage_that_does_not_exist_is_wrong_use(run: Run) -> None:
    assert run("lag", "faxes").code == 2
